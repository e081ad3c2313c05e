"""The stages of a fusion model: split, train, embed, summarise-experiment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import PARTS
from neurostrata.core.errors import UserError
from neurostrata.core.files import (
    atomic_directory,
    atomic_path,
    read_json,
    settings_record,
    sidecar_path,
    write_json,
    write_sidecar,
)
from neurostrata.core.records import check
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.data.experiment import ExperimentData
from neurostrata.fusion.data.splits import make_splits
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.training.machine import Machine
from neurostrata.planning.options import training_keys


def split(*, subjects: Path, output: Path, settings: dict[str, Any]) -> None:
    """Divide the people of an experiment into training and test sets, families kept together.

    `subjects` has the columns subject, family, diagnosis, site (cells may be empty). `output` gets one row
    per person and fold; fold "all" has everybody in training.
    """
    people = read_table(subjects, text=("subject", "family", "diagnosis", "site"))
    splits = make_splits(people, settings["experiment"]["validation"], settings["seed"])
    counts = splits.groupby(["fold", "role"]).size()
    write_table(
        output,
        splits,
        columns={
            "subject": "Person",
            "fold": "Fold; in 'all' everybody trains",
            "role": "train or test",
        },
        Description="Who trains and who is tested; members of a family always share a role.",
        People={f"{fold} {role}": int(count) for (fold, role), count in counts.items()},
        Settings=settings_record(settings),
    )


def _history_columns(history: pd.DataFrame, modalities: list[str]) -> dict[str, str]:
    """Return what the columns of a training history hold."""
    known = {
        "region": "Region that a network was trained on; empty for the attention module",
        "part": "Inner fold of the training people that was left out, or 'all'; 'attention'",
        "epochs": "Passes over the training people until the network was finished",
        "epoch": "Pass over the training people",
        "loss": "Mean training loss over the modalities",
        **{f"loss_{name}": f"Training loss of {name}" for name in modalities},
        "validation_loss": "Loss over held-out training people, which decides when to stop",
        "best_epoch": "Epoch whose weights were kept; 0: those that training started from",
        "seconds": "Wall time of the epoch, or of the whole network",
        "components": "Principal components kept",
        "explained_variance": "Their share of the training people's variance",
    }
    return {column: text for column, text in known.items() if column in history}


def train(
    *,
    volumes: list[Path],
    splits: Path,
    mask: Path,
    fold: str,
    model: Path,
    history: Path,
    limits: Path,
    checkpoints: Path,
    settings: dict[str, Any],
    labels: Path | None = None,
    regions: Path | None = None,
    people: Path | None = None,
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Train the experiment's model on the training people of one fold.

    Writes the model's bundle (folder), its history (TSV) and the intensity limits that its inputs were scaled
    by (JSON). A killed job resumes from its last checkpoint. Supervised models learn from the classes
    in `labels` (subject and the label's column), some models from `regions` (an image of region numbers). With `people`
    (subject, family, diagnosis, site) those who are held out are stratified.
    """
    from neurostrata.fusion.models.bundle import save_bundle
    from neurostrata.fusion.models.registry import build_model

    data = ExperimentData(
        settings,
        volumes=volumes,
        splits=splits,
        fold=fold,
        mask=mask,
        labels=labels,
        regions=regions,
        people=people,
    )
    experiment, learning = settings["experiment"], data.training_people()
    if experiment["options"].get("validation_stratify_by") and learning.strata is None:
        raise UserError(
            "train: options.validation_stratify_by needs the people's families and strata (--people)"
        )
    network = build_model(
        experiment["model"], experiment["options"], learning.modalities, learning.shape, settings["seed"]
    )
    how = TrainingSettings.resolve(
        settings["training"], experiment["training"], settings["seed"], training_keys(experiment["model"])
    )
    progress = network.fit(learning, data.mask, how, Machine(threads, gpus, memory_mb), checkpoints)
    ways = {
        "limits": "Intensities are clipped to these limits and scaled to [0, 1].",
        "maximum": "Each volume is divided by its largest absolute value inside the mask; masks are scaled by these limits.",
    }
    write_json(
        limits,
        {
            "Description": ways[data.experiment["scaling"]],
            "scaling": data.experiment["scaling"],
            "scope": experiment["limits"],
            "fold": fold,
            "people": len(learning) if experiment["limits"] == "train" else "cohort",
            "limits": data.scaling,
        },
    )
    write_table(
        history,
        progress,
        columns=_history_columns(progress, learning.modalities),
        Description="How the training went.",
        **data.facts(),
    )
    save_bundle(
        model,
        network,
        scaling=data.scaling,
        affine=data.affine,
        training_people=learning.subjects,
        settings=settings_record(settings),
    )
    # not before: a job that is killed while it writes goes on from here
    shutil.rmtree(checkpoints, ignore_errors=True)


def embed(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    fold: str,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Write the code of everybody in the splits: columns subject, role (in this fold), z0001, z0002, ...

    Where modalities may be missing, `missing` names them; a supervised model adds `probability`.
    """
    data = ExperimentData(settings, volumes=volumes, splits=splits, fold=fold, limits=limits)
    network = data.load_model(model, Machine(threads, gpus, memory_mb))
    people = data.people(data.subjects())
    codes = np.concatenate([network.encode(batch) for _, batch in people.chunks()])
    if not np.isfinite(codes).all():
        raise UserError(f"{model}: the codes are not finite; train the model again (fold {fold})")
    frame = code_table(codes, people.subjects, data.roles(people.subjects))
    further = {}
    if people.incomplete:
        lacking = [[n for n, has in zip(people.modalities, row) if not has] for row in people.present()]
        frame.insert(2, "missing", [", ".join(names) for names in lacking])
        further["missing"] = "Modalities that the person lacks; the code is guessed from the others"
    if network.supervised:
        predicted = np.concatenate([network.predict(batch) for _, batch in people.chunks()])
        classes = settings["experiment"]["label"]["classes"]
        if classes[1] < classes[0]:  # a model gives the probability of the class that sorts last
            predicted = 1 - predicted
        frame.insert(frame.shape[1] - codes.shape[1], "probability", predicted)
        further["probability"] = f"Of the class {classes[1]}"
    numbers = codes.shape[1]
    write_table(
        output,
        frame,
        columns={
            "subject": "Person",
            "role": f"Whether the model of fold {fold} was trained on this person",
            **further,
            **({"z0001": f"First of {numbers} numbers of the fused code"} if numbers else {}),
        },
        Description="The model's code in evaluation mode. Codes of different folds are not comparable.",
        Model=network.name,
        Modalities=network.modalities,
        **({} if None in network.code_modalities else {PARTS: network.code_modalities}),
        **data.facts(),
    )


def code_table(codes: np.ndarray, subjects: list[str], roles: list[str]) -> pd.DataFrame:
    """Return codes (people, numbers) as a table: subject, role, z0001, z0002, ..."""
    frame = pd.DataFrame(codes, columns=[f"z{number + 1:04d}" for number in range(codes.shape[1])])
    frame.insert(0, "subject", subjects)
    frame.insert(1, "role", roles)
    return frame


def summarise_experiment(
    *,
    folds: list[Path],
    final: Path,
    reconstruction: Path,
    embeddings: Path,
    model: Path,
    settings: dict[str, Any],
) -> None:
    """Put the folds' tables together, and take embeddings and model from the final fold.

    Models of different folds have unrelated codes: only the model trained on everybody is passed on.
    """
    from neurostrata.fusion.evaluation.reconstruction import COLUMNS

    tables = [
        read_table(folder / "reconstruction.tsv", text=("subject", "fold", "method", "modality"))
        for folder in folds
    ]
    frame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    write_table(
        reconstruction,
        frame,
        columns=COLUMNS,
        Description="How well people whom the models have not seen are decoded, all folds.",
        Folds=[folder.name for folder in folds],
        Settings=settings_record(settings),
    )
    copied = [
        final / "embeddings.tsv",
        final / "model" / "model.json",
        final / "model" / "weights.safetensors",
    ]
    for path in copied:
        check(path)  # a copy of a damaged file would have a record of its own
    with atomic_path(embeddings) as temporary:
        shutil.copyfile(final / "embeddings.tsv", temporary)
    facts = read_json(sidecar_path(final / "embeddings.tsv"))
    facts.pop("GeneratedBy", None)
    write_sidecar(embeddings, **facts)
    with atomic_directory(model) as folder:
        shutil.copytree(final / "model", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
