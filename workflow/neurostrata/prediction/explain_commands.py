"""The stages that explain codes: explain (one fold), summarise-explanation, map-codes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of, family_names
from neurostrata.core.files import atomic_directory, settings_record, sha256_file, write_sidecar
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.prediction.targets import Target, as_target

if TYPE_CHECKING:
    from neurostrata.fusion.data.experiment import ExperimentData
    from neurostrata.fusion.models.interface import FusionModel
    from neurostrata.prediction.fold_explanation import Explanation

#: t-SNE of modalities: perplexity, iterations, and the most volumes (of more, whole people are drawn).
PERPLEXITY, ITERATIONS, MOST_POINTS = 30.0, 1000, 10_000


def _targets(people: Path, settings: dict[str, Any]) -> list[tuple[Target, tuple[str, str]]]:
    """Return the targets of two classes with their classes, the reference first."""
    sheet = read_table(people, text=("subject", "family", *settings["targets"])).set_index("subject")
    label = settings["experiment"].get("label")
    found = []
    for name in settings["targets"]:
        target = as_target(name, sheet[name])
        is_label = label is not None and label["column"] == name
        classes = label["classes"] if is_label else sorted(target.values.dropna().unique())
        if target.kind == "classes" and len(classes) == 2:
            found.append((target, (str(classes[0]), str(classes[1]))))
    return found


def map_labels(targets: Sequence[str]) -> dict[str, str]:
    """Return each target's letters and digits for file names; targets that would share them get a number."""
    labels: dict[str, str] = {}
    for target in targets:
        label = plain = re.sub(r"[^A-Za-z0-9]+", "", target)
        number = 1
        while label in labels.values():
            number += 1
            label = f"{plain}x{number}"
        labels[target] = label
    return labels


def explain(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    embeddings: Path,
    people: Path,
    fold: str,
    importance: Path,
    differences: Path,
    maps: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Measure which modalities separate two classes in a fold, and decode the difference of the classes' mean codes.

    Writes a row per target and modality to `importance` and `differences`, and to the folder `maps` difference maps
    (second class minus first, one volume per modality, in units of the scaled volumes): decoded, and voxelwise of
    the training and of the test people.

    Parameters
    ----------
    embeddings
        The fold's codes of everybody.
    people
        Subject, family and the targets.
    settings
        ``experiment``, ``targets`` (columns of two classes).
    """
    from neurostrata.fusion.data.experiment import ExperimentData
    from neurostrata.fusion.training.machine import Machine
    from neurostrata.prediction.explanation import DIFFERENCE_COLUMNS, IMPORTANCE_COLUMNS
    from neurostrata.prediction.fold_explanation import Part, explain_fold, learnable

    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=fold, mask=mask, limits=limits)
    network = data.load_model(model, Machine(threads, gpus, memory_mb))
    if not network.decodes:
        raise UserError(f"{model}: '{network.name}' with these options does not decode codes")
    known = read_embeddings(embeddings)
    if set(known.subjects) != set(data.subjects()):
        raise UserError(f"{embeddings}: not the people of {splits}; embed the fold again")
    if known.values.shape[1] != network.code_size:
        raise UserError(f"{embeddings}: codes of another size than {model} makes; embed the fold again")
    role = known.table["role"].to_numpy()
    train, test = (
        Part(codes, data.people(codes.subjects))
        for codes in (known.select(role == "train"), known.select(role == "test"))
    )
    sheet = read_table(people, text=("subject", "family")).set_index("subject")
    require_people(people, sheet.index, known.subjects, embeddings)
    subjects = train.codes.subjects
    families = np.array(family_names(subjects, families_of(sheet, subjects)))
    targets = learnable(_targets(people, settings), train)
    labels = map_labels([target.name for target, _ in targets])
    tables, rows = [], []
    with atomic_directory(maps) as folder:
        for found in explain_fold(network, train, test, families, targets, data.mask, settings["seed"]):
            tables.append(found.importance.assign(target=found.target, fold=fold))
            rows.append(found.differences.assign(target=found.target, fold=fold))
            _write_maps(folder, labels[found.target], found, data, network)
    write_table(
        importance,
        _concatenated(tables, IMPORTANCE_COLUMNS),
        IMPORTANCE_COLUMNS,
        Description="How much each modality counts for telling two classes apart (Geenjaar 2021, III.B).",
        **data.facts(network),
    )
    write_table(
        differences,
        _concatenated(rows, DIFFERENCE_COLUMNS),
        DIFFERENCE_COLUMNS,
        Description="Decoded differences between classes beside voxelwise ones (Geenjaar 2021, IV.A).",
        **data.facts(network),
    )


def _write_maps(
    folder: Path, label: str, found: Explanation, data: ExperimentData, network: FusionModel
) -> None:
    """Write a target's difference maps, one volume per modality, 0 outside the brain mask."""
    from neurostrata.imaging.images.io import Grid, write_image
    from neurostrata.prediction.fold_explanation import MAPS

    x, y, z = data.mask.shape
    for kind, difference in found.maps.items():
        path = folder / f"target-{label}_desc-{kind}_difference.nii.gz"
        inside = np.nan_to_num(np.where(data.mask, difference, 0)).transpose(1, 2, 3, 0)
        write_image(path, inside, Grid((x, y, z), np.array(data.affine)))
        write_sidecar(
            path,
            Description=f"{found.classes[1]} minus {found.classes[0]}: {MAPS[kind]}",
            Target=found.target,
            Classes=list(found.classes),
            Volumes=network.modalities,
            Units="of the volumes divided by their maxima"
            if data.maximum
            else "of the volumes scaled to [0, 1] by the fold's limits",
            Fold=data.fold,
            Model=network.name,
        )


def _concatenated(parts: list[pd.DataFrame], columns: dict[str, str]) -> pd.DataFrame:
    """Return the tables concatenated; an empty one for none."""
    return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns)))[
        list(columns)
    ]


def summarise_explanation(
    *,
    importance: list[Path],
    differences: list[Path],
    output: Path,
    correlations: Path,
    settings: dict[str, Any],
) -> None:
    """Gather the folds' tables: mean and standard deviation over folds, modalities ranked."""
    from neurostrata.prediction.explanation import DIFFERENCE_COLUMNS, IMPORTANCE_COLUMNS, ranked, summarise

    def gathered(paths: list[Path]) -> pd.DataFrame:
        frames = [read_table(path, text=("target", "modality", "fold")) for path in paths]
        return pd.concat(frames, ignore_index=True)

    def described(columns: dict[str, str], measures: list[str]) -> dict[str, str]:
        kept = {key: columns[key] for key in ("target", "modality")} | {
            "folds": "Folds that it was measured in"
        }
        for measure in measures:
            kept |= {
                measure: f"{columns[measure]}; mean over folds",
                f"{measure}_sd": "Standard deviation over folds",
            }
        return kept

    measures = ["weight_share", "auc", "auc_without", "auc_drop", "separation_drop"]
    write_table(
        output,
        ranked(summarise(gathered(importance), measures)),
        described(IMPORTANCE_COLUMNS, measures)
        | {"rank": "1: counts most; by weight_share, where the code is fused by separation_drop"},
        Description="How much each modality counts for telling two classes apart (Geenjaar 2021, Fig. 2).",
        Settings=settings_record(settings),
    )
    measures = ["decoded_train", "decoded_test", "train_test"]
    write_table(
        correlations,
        summarise(gathered(differences), measures),
        described(DIFFERENCE_COLUMNS, measures),
        Description="Decoded differences between classes beside voxelwise ones (Geenjaar 2021, Fig. 3).",
        Settings=settings_record(settings),
    )


def tsne_of_modalities(
    *, embeddings: Path, people: Path | None = None, output: Path, settings: dict[str, Any]
) -> None:
    """Write a t-SNE map of the codes of all modalities of the final model (Geenjaar 2021, Fig. 1).

    Each point is one volume: one modality of one person. Missing modalities are left out.

    Parameters
    ----------
    embeddings
        Codes with one part per modality, of equal size, in the experiment's order.
    people
        Subject and the targets; None: the map has no classes.
    settings
        ``experiment`` (modalities, label), ``targets``.
    """
    from neurostrata.prediction.explanation import present_rows
    from neurostrata.strata.tsne import tsne_map, tsne_perplexity

    known, modalities = read_embeddings(embeddings), settings["experiment"]["modalities"]
    count = len(modalities)
    if known.values.shape[1] % count:
        raise UserError(
            f"{embeddings}: {known.values.shape[1]} numbers are not divided among {count} modalities"
        )
    order = np.random.default_rng(settings["seed"]).permutation(len(known.subjects))
    known = known.select(np.sort(order[: max(MOST_POINTS // count, 1)]))
    present = present_rows(known.table.get("missing"), len(known.subjects), modalities)
    parts = known.values.reshape(len(known.subjects), count, -1)
    rows, columns = np.nonzero(present)
    positions = tsne_map(parts[rows, columns], PERPLEXITY, ITERATIONS, settings["seed"])
    frame = pd.DataFrame(
        {
            "subject": np.array(known.subjects)[rows],
            "modality": np.array(modalities)[columns],
            "x": positions[:, 0],
            "y": positions[:, 1],
        }
    )
    about = {
        "subject": "Person",
        "modality": "Modality",
        "x": "First t-SNE coordinate",
        "y": "Second t-SNE coordinate",
    }
    for target, _ in _targets(people, settings) if people is not None else []:
        frame[f"class_{target.name}"] = target.values.reindex(frame["subject"]).to_numpy(object)
        about[f"class_{target.name}"] = f"The person's {target.name}"
    write_table(
        output,
        frame,
        about,
        Description="t-SNE of the codes of all modalities (Geenjaar 2021, Fig. 1). For the eye only.",
        Perplexity=tsne_perplexity(len(frame), PERPLEXITY),
        Iterations=ITERATIONS,
        People=len(known.subjects),
        Settings=settings_record(settings),
        Inputs={str(embeddings): sha256_file(embeddings)},
    )
