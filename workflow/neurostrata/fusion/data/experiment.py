"""The data of one fold of an experiment, as every stage of fusion needs them: volumes, mask, splits, limits, model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.config import later_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.core.families import families_of
from neurostrata.core.files import read_json, settings_record, sidecar_path
from neurostrata.core.people import require_number, require_people
from neurostrata.core.records import is_expected
from neurostrata.core.tables import read_table
from neurostrata.fusion.data.splits import joined_strata, people_of
from neurostrata.fusion.data.volumes import (
    VolumeSet,
    fold_limits,
    open_volumes,
    read_grid_mask,
    read_grid_regions,
)
from neurostrata.fusion.models.interface import FusionModel
from neurostrata.fusion.training.machine import Machine


def read_splits(path: Path) -> pd.DataFrame:
    """Read the training and test people of every fold.

    Raises
    ------
    UserError
        When people are missing in a fold, compared with the other folds or with the table's sidecar.
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


class ExperimentData:
    """One fold of an experiment.

    Parameters
    ----------
    settings
        Settings of the stage; ``experiment`` is read here.
    volumes
        One array per modality, in the experiment's order.
    splits
        Table of training and test people.
    fold
        Name of the fold; "all" for the final model.
    mask
        Brain mask on the grid of the volumes; None where the stage needs none.
    limits
        The fold's intensity limits (JSON); None where the training people's are to be found.
    labels
        Classes and families of people (subject, family, the label's column), for supervised models.
    regions
        Image of region numbers.
    people
        Families of people and what may be stratified by (subject, family, diagnosis, site), for models with the option
        ``validation_stratify_by``.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        volumes: list[Path],
        splits: Path,
        fold: str,
        mask: Path | None = None,
        limits: Path | None = None,
        labels: Path | None = None,
        regions: Path | None = None,
        people: Path | None = None,
    ) -> None:
        self.settings = settings
        self.experiment = {**later_defaults(load_schema("experiments")), **settings["experiment"]}
        self.fold, self.splits = fold, splits
        self.volumes = open_volumes(volumes, self.experiment["modalities"])
        self.shape, self.affine = self.volumes[0].array.shape[1:], self.volumes[0].info["affine"]
        self._mask = None if mask is None else read_grid_mask(mask, self.shape, self.affine)
        self._regions = None if regions is None else read_grid_regions(regions, self.shape, self.affine)
        self._limits, self._labels, self._people = limits, labels, people

    @property
    def mask(self) -> np.ndarray:
        """Brain mask, shape (x, y, z), bool."""
        if self._mask is None:
            raise ValueError("this stage was given no brain mask")
        return self._mask

    @property
    def regions(self) -> np.ndarray:
        """Region number of each voxel (0: none), shape (x, y, z)."""
        if self._regions is None:
            raise ValueError("this stage was given no regions")
        return self._regions

    @cached_property
    def split_table(self) -> pd.DataFrame:
        """All folds: subject, fold, role."""
        return read_splits(self.splits)

    def subjects(self, role: str | None = None) -> list[str]:
        """Return the people of the fold, of one role ("train", "test") or all of them."""
        return people_of(self.split_table, self.fold, role)

    def tested(self, purpose: str) -> list[str]:
        """Return the fold's test people.

        Raises
        ------
        UserError
            When there are none; `purpose` ("evaluate") says what they are needed for.
        """
        found = self.subjects("test")
        if not found:
            raise UserError(
                f"{self.splits}: fold '{self.fold}' has no test people, there is nothing to {purpose}"
            )
        return found

    def roles(self, subjects: list[str]) -> list[str]:
        """Return "train" or "test" for each of these people."""
        roles = self.split_table[self.split_table["fold"] == self.fold].set_index("subject")["role"]
        return [roles[subject] for subject in subjects]

    @cached_property
    def maximum(self) -> bool:
        """Whether volumes are divided by their maxima: as in the training, whose limits say so (those of earlier releases: no)."""
        if self._limits is not None:
            return read_json(self._limits).get("scaling") == "maximum"
        return self.experiment["scaling"] == "maximum"

    @cached_property
    def scaling(self) -> dict[str, dict[str, float]]:
        """Modality -> the limits {"low", "high"} that its intensities are scaled by; none where they are divided by maxima."""
        if self._limits is not None:
            return read_json(self._limits)["limits"]
        scaled = [v for v in self.volumes if not self.maximum or v.info.get("kind") == "mask"]
        return fold_limits(scaled, self.mask, self.subjects("train"), self.experiment["limits"])

    def people(self, subjects: list[str], incomplete: bool | None = None) -> VolumeSet:
        """Return the volumes of some people, with their classes, strata and regions where the stage was given them.

        Parameters
        ----------
        subjects
            The people, in order.
        incomplete
            Whether they may lack modalities; by default as the experiment's `missing` says.
        """
        classes, families = None, None
        if self.experiment.get("label") and self._labels is not None:
            column = self.experiment["label"]["column"]
            table = read_table(self._labels, text=("subject", "family", column)).set_index("subject")
            classes = table[column].to_dict()
            # None, not "", since checkpoints of earlier releases were labelled with it
            families = {s: f or None for s, f in zip(table.index, families_of(table, table.index))}
        strata = None
        if self._people is not None:
            columns = self.experiment["options"]["validation_stratify_by"]
            table = read_table(self._people, text=("subject", "family", *columns)).set_index("subject")
            require_people(self._people, table.index, subjects, self.splits)
            strata = joined_strata(table, columns).to_dict()
            families = {s: f or None for s, f in zip(table.index, families_of(table, table.index))}
        if incomplete is None:
            incomplete = self.experiment.get("missing") == "include"
        return VolumeSet(
            self.volumes,
            subjects,
            self.scaling,
            incomplete,
            classes,
            self._regions,
            families,
            strata,
            self.maximum,
        )

    def training_people(self) -> VolumeSet:
        """Return the volumes of the fold's training people."""
        return self.people(self.subjects("train"))

    def load_model(self, folder: Path, machine: Machine) -> FusionModel:
        """Read a trained model, ready to encode.

        Raises
        ------
        UserError
            When it was trained on other modalities or on another grid.
        """
        from neurostrata.fusion.models.bundle import load_bundle

        model, description = load_bundle(folder)
        names = [volume.name for volume in self.volumes]
        if model.modalities != names:
            raise UserError(
                f"{folder}: was trained on {', '.join(model.modalities)}, given are {', '.join(names)}"
            )
        if model.shape != tuple(self.shape):
            raise UserError(f"{folder}: was trained on a grid of {model.shape}, given is {self.shape}")
        if not np.allclose(description["grid"]["affine"], self.affine, atol=1e-3):
            raise UserError(f"{folder}: was trained on another grid in space (affines differ)")
        if model.maximum != self.maximum:
            raise UserError(f"{folder}: was trained on volumes of another scaling than {self._limits} has")
        model.prepare(machine)
        return model

    def facts(self, model: FusionModel | None = None) -> dict[str, Any]:
        """Return what the sidecars of the fold's tables say: fold, model, settings."""
        named = {} if model is None else {"Model": model.name}
        return {"Fold": self.fold, **named, "Settings": settings_record(self.settings)}
