"""What the stages of fusion have in common: reading splits, people and models as an experiment wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json, sidecar_path
from neurostrata.core.people import require_number, require_people
from neurostrata.core.records import is_expected
from neurostrata.core.tables import read_table
from neurostrata.fusion.data.volumes import ModalityVolumes, VolumeSet, read_labels
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings


def read_splits(path: Path) -> pd.DataFrame:
    """Read who trains and who is tested in which fold.

    Raises
    ------
    UserError
        When people are missing in a fold: of another fold, or of as many as the table's sidecar says.
    """
    table = read_table(path, text=("subject", "fold", "role"))
    for fold, people in table.groupby("fold")["subject"]:
        require_people(path, people, table["subject"], f"its other folds in fold {fold}")
    if is_expected(sidecar_path(path)):
        counts = table.groupby(["fold", "role"]).size()
        for key, number in read_json(sidecar_path(path)).get("People", {}).items():
            fold, _, role = key.rpartition(" ")
            require_number(path, int(counts.get((fold, role), 0)), number, sidecar_path(path))
    return table


def training_settings(settings: dict[str, Any]) -> TrainingSettings:
    """Return how an experiment trains."""
    return TrainingSettings.resolve(
        settings["training"], settings["experiment"]["training"], settings["seed"]
    )


def no_training(settings: dict[str, Any]) -> TrainingSettings:
    """Return what a stage fits its baselines with, which read nothing of the section `training`."""
    return TrainingSettings.resolve({}, {}, settings["seed"])


def study_people(
    opened: list[ModalityVolumes],
    subjects: list[str],
    scaling: dict[str, dict[str, float]],
    settings: dict[str, Any],
    labels: Path | None = None,
    regions: Path | None = None,
) -> VolumeSet:
    """Return the volumes of people as the experiment wants them: who may lack what, with which classes."""
    experiment = settings["experiment"]
    classes, families = None, None
    if experiment.get("label") and labels is not None:
        column = experiment["label"]["column"]
        table = read_table(labels, text=("subject", "family", column))
        classes = dict(zip(table["subject"], table[column]))
        families = {s: f if isinstance(f, str) else None for s, f in zip(table["subject"], table["family"])}
    numbers = None
    if regions is not None:
        numbers = read_labels(regions, opened[0].array.shape[1:], opened[0].info["affine"])
    incomplete = experiment.get("missing") == "include"
    return VolumeSet(opened, subjects, scaling, incomplete, classes, numbers, families)


def load_model(folder: Path, volumes: list[ModalityVolumes]) -> FusionModel:
    """Read a bundle and see that it was trained on such volumes."""
    from neurostrata.fusion.models.bundle import load_bundle

    model, description = load_bundle(folder)
    names = [volume.name for volume in volumes]
    if model.modalities != names:
        raise UserError(
            f"{folder}: was trained on {', '.join(model.modalities)}, given are {', '.join(names)}"
        )
    if model.shape != tuple(volumes[0].array.shape[1:]):
        raise UserError(
            f"{folder}: was trained on a grid of {model.shape}, given is {volumes[0].array.shape[1:]}"
        )
    if not np.allclose(description["grid"]["affine"], volumes[0].info["affine"], atol=1e-3):
        raise UserError(f"{folder}: was trained on another grid in space (affines differ)")
    return model
