"""The stages that explain codes: explain (a fold), summarise-explanation, map-codes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_directory, read_json, settings_record, sha256_file, write_sidecar
from neurostrata.core.people import require_people
from neurostrata.core.tables import read_table, write_table
from neurostrata.prediction.targets import Target, as_target

#: t-SNE: perplexity, iterations, and how many volumes at most (whole people are drawn when there are more).
PERPLEXITY, ITERATIONS, MOST_POINTS = 30.0, 1000, 10_000


def _targets(people: Path, settings: dict[str, Any]) -> list[tuple[Target, tuple[str, str]]]:
    """Return the targets of two classes with their classes, the reference first."""
    sheet = read_table(people, text=("subject", "family", *settings["targets"])).set_index("subject")
    label = settings["experiment"].get("label")
    found = []
    for name in settings["targets"]:
        target = as_target(name, sheet[name])
        own = label is not None and label["column"] == name
        classes = label["classes"] if own else sorted(target.values.dropna().unique())
        if target.kind == "classes" and len(classes) == 2:
            found.append((target, (str(classes[0]), str(classes[1]))))
    return found


def map_labels(targets: Sequence[str]) -> dict[str, str]:
    """Return target -> its letters and digits, as file names have it; those that would be the same get a number."""
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
    """Say which modalities tell two classes apart in a fold, and decode the difference of the classes' mean codes.

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
    from neurostrata.fusion.data.splits import people_of
    from neurostrata.fusion.data.stage import load_model, read_splits, study_people
    from neurostrata.fusion.data.volumes import open_volumes, read_mask
    from neurostrata.fusion.training.machine import Machine
    from neurostrata.imaging.images.io import Grid, write_image
    from neurostrata.prediction.explanation import (
        DIFFERENCE_COLUMNS,
        IMPORTANCE_COLUMNS,
        class_means,
        codes_without,
        decoded_difference,
        map_correlation,
        modality_importance,
        present_rows,
    )

    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    affine = opened[0].info["affine"]
    brain = read_mask(mask, opened[0].array.shape[1:], affine)
    network = load_model(model, opened)
    if not network.decodes:
        raise UserError(f"{model}: '{network.name}' with these options does not decode codes")
    network.prepare(Machine(threads, gpus, memory_mb))
    known, table = read_embeddings(embeddings), read_splits(splits)
    if set(known.subjects) != set(people_of(table, fold)):
        raise UserError(f"{embeddings}: not the people of {splits}; embed the fold again")
    if known.values.shape[1] != network.code_size:
        raise UserError(f"{embeddings}: codes of another size than {model} makes; embed the fold again")
    role = known.table["role"].to_numpy()
    train, test = known.select(role == "train"), known.select(role == "test")
    scaling = read_json(limits)["limits"]
    sets = {
        "train": study_people(opened, train.subjects, scaling, settings),
        "test": study_people(opened, test.subjects, scaling, settings),
    }
    there = present_rows(train.table.get("missing"), len(train.subjects), network.modalities)
    family = read_table(people, text=("subject", "family")).set_index("subject")["family"]
    require_people(people, family.index, known.subjects, embeddings)
    groups = np.array(
        [family.get(s) if isinstance(family.get(s), str) else f"person {s}" for s in train.subjects]
    )

    targets = []
    members: dict[str, dict[tuple[str, str], np.ndarray]] = {"train": {}, "test": {}}
    for target, classes in _targets(people, settings):
        found = {part: target.values.reindex(sets[part].subjects).to_numpy(object) for part in sets}
        if set(classes) <= set(found["train"]):
            targets.append((target.name, classes, found))
            for part, values in found.items():
                members[part] |= {(target.name, c): values == c for c in classes}
    means, scale = class_means(sets["train"], members["train"], network)
    test_means, _ = class_means(sets["test"], members["test"], network)
    # of all training people, whether or not they have a target
    usual = train.values.mean(axis=0)
    mean_image = sets["train"].mean() if not network.handles_missing else np.empty(0)
    without = codes_without(network, sets["test"], test.values, usual, mean_image)

    labels = map_labels([name for name, _, _ in targets])
    tables, rows = [], []
    with atomic_directory(maps) as folder:
        for name, classes, found in targets:
            own, tested = (np.isin(found[part], classes) for part in ("train", "test"))
            frame = modality_importance(
                train.values[own],
                found["train"][own].astype(str),
                groups[own],
                test.values[tested],
                found["test"][tested].astype(str),
                {modality: codes[tested] for modality, codes in without.items()},
                network.code_modalities,
                settings["seed"],
            )
            tables.append(frame.assign(target=name, fold=fold))
            second = found["train"][own] == classes[1]
            pictures = {
                "decoded": decoded_difference(network, train.values[own], there[own], second, scale),
                "train": means[name, classes[1]] - means[name, classes[0]],
                "test": test_means[name, classes[1]] - test_means[name, classes[0]],
            }
            rows.append(
                pd.DataFrame(
                    {
                        "target": name,
                        "modality": network.modalities,
                        "fold": fold,
                        "decoded_train": map_correlation(pictures["decoded"], pictures["train"], brain),
                        "decoded_test": map_correlation(pictures["decoded"], pictures["test"], brain),
                        "train_test": map_correlation(pictures["train"], pictures["test"], brain),
                    }
                )
            )
            for kind, picture in pictures.items():
                path = folder / f"target-{labels[name]}_desc-{kind}_difference.nii.gz"
                inside = np.nan_to_num(np.where(brain, picture, 0)).transpose(1, 2, 3, 0)
                x, y, z = brain.shape
                write_image(path, inside, Grid((x, y, z), np.array(affine)))
                write_sidecar(
                    path,
                    Description=f"{classes[1]} minus {classes[0]}: "
                    + {
                        "decoded": "mean codes of the training people, decoded",
                        "train": "mean images of the training people",
                        "test": "mean images of the test people (0 throughout where a class has nobody)",
                    }[kind],
                    Target=name,
                    Classes=list(classes),
                    Volumes=network.modalities,
                    Units="of the volumes scaled to [0, 1] by the fold's limits",
                    Fold=fold,
                    Model=network.name,
                )
    facts = {"Fold": fold, "Model": network.name, "Settings": settings_record(settings)}
    write_table(
        importance,
        _together(tables, IMPORTANCE_COLUMNS),
        IMPORTANCE_COLUMNS,
        Description="How much each modality counts for telling two classes apart (Geenjaar 2021, III.B).",
        **facts,
    )
    write_table(
        differences,
        _together(rows, DIFFERENCE_COLUMNS),
        DIFFERENCE_COLUMNS,
        Description="Decoded differences between classes beside voxelwise ones (Geenjaar 2021, IV.A).",
        **facts,
    )


def _together(parts: list[pd.DataFrame], columns: dict[str, str]) -> pd.DataFrame:
    """Return the tables one below the other; an empty one without any."""
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


def map_codes(
    *, embeddings: Path, people: Path | None = None, output: Path, settings: dict[str, Any]
) -> None:
    """Lay the codes of all modalities of the final model out in two dimensions (Geenjaar 2021, Fig. 1).

    Each point is one volume: a person's modality. Modalities that somebody lacks are left out.

    Parameters
    ----------
    embeddings
        Codes with one part per modality, of equal size, in the experiment's order.
    people
        Subject and the targets; without any: no classes.
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
    there = present_rows(known.table.get("missing"), len(known.subjects), modalities)
    parts = known.values.reshape(len(known.subjects), count, -1)
    rows, columns = np.nonzero(there)
    places = tsne_map(parts[rows, columns], PERPLEXITY, ITERATIONS, settings["seed"])
    frame = pd.DataFrame(
        {
            "subject": np.array(known.subjects)[rows],
            "modality": np.array(modalities)[columns],
            "x": places[:, 0],
            "y": places[:, 1],
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
