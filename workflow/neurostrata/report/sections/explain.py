"""What the codes of a model show: important modalities, decoded differences, t-SNE, generated images (Geenjaar 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.config import adjusting_columns, modality_domains
from neurostrata.core.files import sidecar_path
from neurostrata.core.wording import join_words
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import Cell, Section, Table, Text, anchor, format_number
from neurostrata.report.html.page import Page

#: Modalities in the tables at most.
ROWS = 10
#: Below this correlation with the same people's mean images a decoded difference shows something else.
ALIKE = 0.5


def explain_section(page: Page, experiment: Experiment, config: Mapping[str, Any]) -> Section:
    """Return the experiment's section on importance, decoded differences and codes; empty without any of them."""
    section = Section(f"explain-{experiment.name}", "Content of the codes")
    _importance(page, section, experiment, config)
    _code_map(page, section, experiment)
    _generated(page, section, experiment)
    return section


def _with_sd(row: pd.Series, measure: str, decimals: int = 2) -> str:
    value, sd = row[measure], row[f"{measure}_sd"]
    if pd.isna(value):
        return "n/a"
    text = f"{value:.{decimals}f}"
    return text if pd.isna(sd) else f"{text} ± {sd:.{decimals}f}"


def _importance(page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any]) -> None:
    """Add a table, a figure and maps for each target."""
    path, other = experiment.file("importance.tsv"), experiment.file("group_differences.tsv")
    if not path.is_file():
        return
    frame = page.study.table(path, columns=("target", "modality", "rank", "weight_share", "separation_drop"))
    correlations = page.study.table(other, columns=("target", "modality", "decoded_train"))
    if frame is None:
        return
    from neurostrata.report.figures.explain import importance_figure

    for target, part in frame.groupby("target", sort=False):
        ordered = part.sort_values("rank")
        weighed = bool(ordered["weight_share"].notna().any())
        measure = "weight_share" if weighed else "separation_drop"
        found = correlations[correlations["target"] == target] if correlations is not None else None
        own = found.set_index("modality") if found is not None else None
        table = _importance_table(str(target), ordered, measure, own)
        table.caption += _unadjusted(config)
        table.sources = page.sources(path, other)
        section.add(table)
        if len(ordered) > 1:
            section.add(
                page.figure(
                    importance_figure(
                        ordered,
                        measure,
                        "share of the weights" if weighed else "separation lost without it (sd)",
                        1 / len(ordered) if weighed else 0.0,
                    ),
                    f"{experiment.name}/importance-{anchor(str(target))}.svg",
                    f"Importance of modalities for {target}",
                    "Lines: standard deviation over folds; dotted: "
                    + ("an even share" if weighed else "nothing lost")
                    + " (Geenjaar 2021, Fig. 2).",
                    path,
                    wide=False,
                )
            )
        first = ordered["modality"].iloc[0]
        if own is not None and own["decoded_train"][first] < ALIKE:
            section.add(
                Text(
                    f"The decoded difference does not resemble the difference of the same people's images in "
                    f"{str(first).upper()}, the most important modality: whatever the codes hold about "
                    f"{target}, decoding them does not show where it is.",
                    kind="warning",
                )
            )
        _maps(page, section, experiment, str(target), list(ordered["modality"]))


def _unadjusted(config: Mapping[str, Any]) -> str:
    """Return the sentence that these codes still have what was removed before the predictions; "" where nothing was."""
    removed = {key: columns for key, columns in adjusting_columns(config).items() if key != "harmonise.keep"}
    names = list(dict.fromkeys(name for columns in removed.values() for name in columns))
    if not names:
        return ""
    return (
        f" The codes are as the model gives them here: the effects of {join_words(names)}, which are removed before "
        "the predictions, are still in them."
    )


def _importance_table(
    target: str, ordered: pd.DataFrame, measure: str, correlations: pd.DataFrame | None
) -> Table:
    weighed = measure == "weight_share"
    rows = []
    for _, row in ordered.head(ROWS).iterrows():
        modality = row["modality"]
        cells = [str(modality).upper(), _with_sd(row, measure, 3), _with_sd(row, "auc_drop", 3)]
        known = correlations is not None and modality in correlations.index
        for likeness in ("decoded_train", "decoded_test", "train_test"):
            cells.append(
                _with_sd(correlations.loc[modality], likeness) if correlations is not None and known else ""
            )
        rows.append([Cell(cell) for cell in cells])
    columns = [
        "Modality",
        "Share of the weights" if weighed else "Separation lost without it",
        "AUC lost without it",
        "Decoded ~ training",
        "Decoded ~ test",
        "Training ~ test",
    ]
    more = f" The {ROWS} most important of {len(ordered)} modalities." if len(ordered) > ROWS else ""
    share = (
        f"Share of the weights: of a linear support vector machine's absolute weights (an even share is "
        f"{1 / len(ordered):.3f}). "
        if weighed
        else "The code belongs to all modalities together, so its weights have no modality. Separation lost: of the classes' "
        "mean decision values, in standard deviations. "
    )
    return Table(
        title=f"Importance of modalities for {target}",
        columns=columns,
        rows=rows,
        numeric=[False, *[True] * (len(columns) - 1)],
        caption=(
            f"{share}AUC lost: of test people, with the modality taken from them (all: "
            f"{format_number(ordered['auc'].iloc[0], 2)}). The last three: correlation over voxels of the difference "
            "between the classes' decoded mean codes with the voxelwise difference of the same (training) and of "
            "other (test) people, and of these two with each other; where the second is at least as large as the third, "
            f"decoding keeps differences that other people show as well. Mean ± standard deviation over folds.{more}"
        ),
    )


def _map_of(folder: Path, target: str, kind: str) -> Path | None:
    """Return the image of a kind of map of a target."""
    from neurostrata.core.files import read_json

    for image in sorted(folder.glob(f"*_desc-{kind}_difference.nii.gz")):
        if sidecar_path(image).is_file() and read_json(sidecar_path(image))["Target"] == target:
            return image
    return None


def _maps(page: Page, section: Section, experiment: Experiment, target: str, ranked: list[str]) -> None:
    """Add the figure of the first fold's maps."""
    folds = [fold for fold in experiment.folds() if (fold.folder / "group_maps").is_dir()]
    paths = (
        [_map_of(folds[0].folder / "group_maps", target, kind) for kind in ("decoded", "train")]
        if folds
        else []
    )
    mask = page.study.tree.volume("mask.nii.gz")
    if not paths or None in paths:
        return
    from neurostrata.imaging.images.io import UNREADABLE, read_voxels
    from neurostrata.report.figures.explain import SUMMED, difference_figure, largest_voxels

    facts = page.study.sidecar(paths[0])  # type: ignore[arg-type]
    chosen = [facts["Volumes"].index(name) for name in ranked[:SUMMED]]
    try:
        brain = read_voxels(mask)[0]
        maps = [read_voxels(path)[0][..., chosen] for path in paths if path is not None]
    except UNREADABLE as error:
        page.study.note(f"Differences of {target} in {experiment.name}", f"a map cannot be read ({error})")
        return
    titles = ("decoded mean codes", "mean images")
    shown = {t: largest_voxels(np.moveaxis(m, -1, 0), brain > 0) for t, m in zip(titles, maps)}
    first, second = facts["Classes"]
    section.add(
        page.figure(
            difference_figure(shown, brain, "difference (scaled)"),
            f"{experiment.name}/difference-{anchor(target)}.svg",
            f"Where {second} differs from {first}",
            f"{second} minus {first}, training people of fold {folds[0].name}: mean codes decoded, and mean images. Of each "
            f"modality the 1% of voxels that differ most, summed over {', '.join(str(m).upper() for m in ranked[:SUMMED])} "
            "(Geenjaar 2021, Fig. 3). Both come from the same people: their likeness shows that the code keeps the "
            "difference, not that other people have it.",
            *(path for path in paths if path is not None),
            picture=True,
        )
    )


def _code_map(page: Page, section: Section, experiment: Experiment) -> None:
    path = experiment.file("code_map.tsv")
    frame = page.study.table(path, columns=("modality", "x", "y")) if path.is_file() else None
    if frame is None:
        return
    from neurostrata.report.figures.explain import code_map_figure

    known = modality_domains(page.study.config["modalities"])
    domains = {modality: known[modality] for modality in frame["modality"].unique() if modality in known}
    colours = " Colours: domains of the modalities (modalities.<name>.domain)." if domains else ""
    section.add(
        page.figure(
            code_map_figure(frame, domains),
            f"{experiment.name}/codes.svg",
            "Codes of all modalities (t-SNE)",
            f"Each point is one modality of one person, final model (Geenjaar 2021, Fig. 1).{colours} For display only: distances "
            "between groups of points and their sizes mean little.",
            path,
        )
    )


def _generated(page: Page, section: Section, experiment: Experiment) -> None:
    path = experiment.file("generated.npz")
    if not path.is_file():
        return
    arrays = page.study.arrays(path, f"Generated images of {experiment.name}")
    if not arrays:
        return
    from neurostrata.report.figures.explain import generated_figure

    section.add(
        page.figure(
            generated_figure(
                arrays["draws"],
                arrays.get("real"),
                arrays.get("steps"),
                [str(name) for name in arrays.get("modalities", [])],
                [str(name) for name in arrays.get("subjects", [])],
            ),
            f"{experiment.name}/generated.svg",
            "Images made from codes",
            "First row: draws from the prior, which belong to no modality in particular, over the volume's maximum. Below, "
            "between two people's images, their codes decoded and steps on the straight line from one to the other. Axial mid "
            "slices, final model, which was trained on both people.",
            path,
            picture=True,
        ),
    )
