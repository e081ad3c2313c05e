"""How well one experiment decodes people whom its models have not seen (Figures 4 and 5 of Dimitri 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.wording import count, join_words
from neurostrata.fusion.evaluation.baselines import PCA
from neurostrata.report.data.decoding import (
    RECONSTRUCTION_COLUMNS,
    better_baselines,
    modality_order,
    ordered_methods,
    shares_decoded,
)
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import (
    Section,
    Text,
    cut_off,
    experiment_anchor,
    format_number,
    frame_table,
    model_name,
    parts,
)
from neurostrata.report.html.page import Page
from neurostrata.report.sections.decoding import mean_sd
from neurostrata.report.text.glossary import words_block

#: Modalities in the figure of the methods, at most; the tables have all.
MOST_MODALITIES = 12
#: Columns of ``reconstruction.tsv`` in the table of all measures, and their names.
MEASURES = {
    "mse": "Squared error",
    "mse_mask": "Squared error in the brain",
    "abs_normdiff": "Brightness difference, absolute",
    "normdiff": "Brightness difference",
    "cnr_normdiff": "Contrast difference",
    "ssim": "Structural similarity (SSIM)",
    "psnr": "Peak signal to noise (dB)",
}


def experiment_decoding(page: Page, experiment: Experiment, config: Mapping[str, Any]) -> Section:
    """Return the section with Figures 4 and 5, the baselines and the training curves of one experiment."""
    section = Section(
        f"{experiment_anchor(experiment.name)}-decoding", "Decoding of unseen people by this model"
    )
    why = "" if config["analyses"]["reconstruction"] else "analyses: reconstruction is off"
    _examples(page, section, experiment, config, why)
    path = experiment.file("reconstruction.tsv")
    frame = page.study.table(path, f"Decoding measures of {experiment.name}", RECONSTRUCTION_COLUMNS, why)
    if frame is None:
        section.add(Text(f"Not evaluated: {why or 'reconstruction.tsv was not made'}.", kind="note"))
    else:
        _measures(page, section, experiment, config, frame)
    _training(page, section, experiment, config)
    return section


def _measures(
    page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any], frame: pd.DataFrame
) -> None:
    """Add the figures and the table of the measures of ``reconstruction.tsv``."""
    from neurostrata.report.figures.reconstruction import fold_figure, methods_figure

    path = experiment.file("reconstruction.tsv")
    methods, modalities = ordered_methods(frame, config), modality_order(frame, config)
    own = frame[frame["method"] == methods[0]]
    name = model_name(methods[0])
    section.add(
        beats_baselines(frame, methods, modalities, page, path),
        words_block("share decoded", "squared error (MSE)", "contrast difference", "brightness difference"),
    )
    if len(modalities) <= 8:
        people = count(int(own["subject"].nunique()), "test person", "test people")
        section.add(
            page.figure(
                partial(fold_figure, frame, modalities, methods),
                f"{experiment.name}/folds.svg",
                f"{name[:1].upper()}{name[1:]}: measures per fold",
                f"{count(own['fold'].nunique(), 'fold')} of {people}; each point is one. Boxes: median "
                "and quartiles; red dotted: the model's median over all folds; blue band: as far to either side as its median absolute "
                "deviation (MAD). "
                + ("As Fig. 5, with the baselines beside the model." if len(methods) > 1 else "As Fig. 5."),
                path,
                alt=f"Points and box plots per fold of contrast, squared error and brightness of decoded images, experiment {experiment.name}",
            )
        )
    if len(methods) > 1:
        section.add(
            page.figure(
                partial(methods_figure, frame, methods, modalities[:MOST_MODALITIES]),
                f"{experiment.name}/methods.svg",
                "The model and its baselines",
                "Each point is a test person; the line is the median."
                + cut_off(len(modalities), MOST_MODALITIES, "modalities"),
                path,
                alt="Squared error of every test person, by method: "
                + "; ".join(
                    f"{model_name(method)} {modality.upper()} median {format_number(part['mse'].median(), 2)}"
                    for modality in modalities[:MOST_MODALITIES]
                    for method in methods
                    if len(part := frame[(frame["method"] == method) & (frame["modality"] == modality)])
                ),
            )
        )
    measures = [measure for measure in MEASURES if measure in frame]
    values = dict(iter(frame.groupby(["method", "modality"])))
    shares = shares_decoded(frame)
    rows = [
        {"Method": model_name(method), "Decoded": modality.upper()}
        | ({"Share decoded": format_number(shares.get((method, modality), np.nan), 2)} if shares else {})
        | {
            MEASURES[measure]: mean_sd(values[method, modality][measure])
            if (method, modality) in values
            else "n/a"
            for measure in measures
        }
        for modality in modalities
        for method in methods
    ]
    table = frame_table(
        pd.DataFrame(rows),
        "All measures",
        caption="Mean ± standard deviation over test people. Structural similarity: 1 is best."
        + (
            " Share decoded: of the variance about the mean training image, inside the mask; 0 is the mean image, below 0 is worse."
            if shares
            else ""
        ),
        sources=page.sources(path),
        folded=True,
    )
    table.numeric = [False, False, *[True] * (len(measures) + bool(shares))]
    section.add(table)


def without_progress(histories: dict[str, pd.DataFrame]) -> Text | None:
    """Return a warning where held-out people were decoded no better after any epoch than before the first one.

    Parameters
    ----------
    histories
        Fold name -> table with the column ``best_epoch`` where people were held out for early stopping.
    """
    kept = [
        "the final model" if fold == "all" else f"fold {fold}"
        for fold, table in histories.items()
        if "best_epoch" in table and (table["best_epoch"] == 0).all()
    ]
    if not kept:
        return None
    return Text(
        f"Training did not help {join_words(kept)}: held-out people were decoded no better after any epoch than before the first, "
        "and the weights that training started from were kept.",
        kind="warning",
    )


def _training(page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any]) -> None:
    from neurostrata.report.figures.reconstruction import history_figure

    tables = {fold: page.study.table(fold.history) for fold in experiment.folds()}
    histories = {fold: table for fold, table in tables.items() if table is not None}
    drawn = {fold.name: table for fold, table in histories.items() if len(table) > 1}
    drawing = history_figure(drawn)
    if drawing is not None:
        lines = ["blue: the folds"] if drawn.keys() - {"all"} else []
        if "all" in drawn:
            clustered = ", whose embeddings are clustered" if config["analyses"]["strata"] else ""
            lines.append(f"black: the final model, trained on everybody{clustered}")
        caption = "; ".join(lines)
        section.add(
            page.figure(
                drawing,
                f"{experiment.name}/training.svg",
                "Training curves",
                f"{caption[:1].upper()}{caption[1:]}.",
                *[fold.history for fold in histories][-1:],
                wide=False,
            )
        )
    section.add(without_progress({fold.name: table for fold, table in histories.items()}))


def beats_baselines(
    frame: pd.DataFrame, methods: list[str], modalities: list[str], page: Page, path: Any
) -> Text | None:
    """Return a sentence on whether the model decodes unseen people better than its baselines do."""
    if len(methods) < 2:
        return None
    worse = [
        f"{modality.upper()} ({model_name(other)} {format_number(theirs, 2)}, "
        f"{model_name(methods[0])} {format_number(ours, 2)})"
        for modality, other, theirs, ours in better_baselines(frame, methods, modalities)
    ]
    if not worse:
        names = " and the ".join(model_name(method) for method in methods[1:])
        own = set(frame.loc[frame["method"] == methods[0], "modality"])
        decoded = join_words([m.upper() for m in modalities if m in own])
        without = join_words([m.upper() for m in modalities if m not in own])
        where = f"in {decoded}. It does not decode {without}" if without else "in every modality"
        return Text(
            f"By median MSE the model decodes unseen people better than the {names}, {where}.",
            kind="good",
            sources=page.sources(path),
        )
    return Text(
        "By median MSE a baseline decodes unseen people as well as or better than the model: "
        + "; ".join(worse)
        + ".",
        kind="warning",
        sources=page.sources(path),
    )


def _examples(
    page: Page, section: Section, experiment: Experiment, config: Mapping[str, Any], why: str
) -> None:
    """Add the slices of the first test people; all modalities of a person come from one file."""
    from neurostrata.report.figures.reconstruction import example_figure

    what = f"Real and decoded slices of {experiment.name}"
    paths = [fold.examples for fold in experiment.folds() if fold.examples.is_file()]
    if not paths:
        page.study.note(what, why or f"experiments/{experiment.name}/fold-*/examples.npz was not made")
        return
    limit = int(page.study.config["report"]["example_people"])
    read = {path: page.study.arrays(path, what) for path in paths}
    needed = {"real", "decoded", "subjects", "modalities"}
    files = {path: arrays for path, arrays in read.items() if needed <= set(arrays)}
    if not files:
        return
    shape = next(iter(files.values()))["real"].shape[1:]
    files = {path: arrays for path, arrays in files.items() if arrays["real"].shape[1:] == shape}
    rows = {
        name: np.concatenate([_example_rows(arrays, config)[name] for arrays in files.values()])[:limit]
        for name in _example_rows(next(iter(files.values())), config)
    }
    subjects = np.concatenate([arrays["subjects"] for arrays in files.values()])[:limit]
    if not len(subjects):
        return
    used, people = [], 0
    for path, arrays in files.items():
        used += [path] if people < limit and len(arrays["real"]) else []
        people += len(arrays["real"])
    modalities = [str(modality) for modality in next(iter(files.values()))["modalities"]]
    for part, end in parts(range(len(modalities)), 4):
        names = [modalities[i] for i in part]
        section.add(
            page.figure(
                partial(
                    example_figure,
                    {name: images[:, part] for name, images in rows.items()},
                    [str(s) for s in subjects],
                    names,
                    limit,
                ),
                f"{experiment.name}/examples{end}.svg",
                "Real and decoded images of people the model has not seen",
                "Slices through the middle of the brain. All slices of a person and modality have one grey scale, that of the real image; "
                "the bar shows the first person's. As Fig. 4.",
                *used,
                alt=f"Slices of {', '.join(name.upper() for name in names)} of {join_words([f'sub-{s}' for s in subjects])}: "
                f"{join_words(list(rows))}",
                picture=True,
            )
        )


def _example_rows(arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what is drawn of each person: the real slices, then those of the model and, where they were kept, its baselines."""
    model = model_name(config["model"]) if config["model"] else "the model"
    rows = {"real": arrays["real"], f"decoded by {model}": arrays["decoded"]}
    # results of an earlier release have none
    for name, images in zip(arrays.get("baseline_names", []), arrays.get("baselines", [])):
        rows[f"decoded by {model_name(str(name))}" if str(name) == PCA else model_name(str(name))] = images
    return rows
