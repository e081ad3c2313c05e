"""The interface of every fusion model.

A new model is one module with a subclass of :class:`FusionModel` (of
:class:`neurostrata.fusion.models.network.NetworkModel` when it is a torch network) and one schema,
``workflow/schemas/models/NAME.schema.yaml``: its options, its class, what it can do, and what texts say of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.config import later_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.core.training_presets import PRESETS
from neurostrata.fusion.data.volumes import VolumeSet, value_range
from neurostrata.fusion.training.machine import Machine

#: A feature counts as relevant when it is weighted above this (Arco 2023, 5, Fig. 6).
RELEVANT = 0.9
#: Array axis of a volume that the slices of a plane are counted along.
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
#: A volume's mean intensity is taken to be at least this where volumes are divided by it.
LEAST_MEAN = 1e-6


@dataclass(frozen=True)
class TrainingSettings:
    """How to train: the `training` section with its preset resolved, plus the seed.

    Those of a stage hold what its model reads, as the model's schema says under `training`; asking for another
    is an error, since a change of it would not train the model anew.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    precision: str
    compile: bool
    deterministic: bool
    batch_norm_statistics: str
    schedule: str
    adam_epsilon: float
    modality_losses: str
    seed: int

    @property
    def losses_are_added(self) -> bool:
        """Whether the sum of the modalities' losses is made least, not their mean; no for models that do not have one for each."""
        return "modality_losses" in vars(self) and self.modality_losses == "sum"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"training.{name} is read but not among `training` of the model's schema, so no change of it would be noticed"
        )

    @classmethod
    def resolve(
        cls,
        section: Mapping[str, Any],
        override: Mapping[str, Any],
        seed: int,
        keys: Collection[str] | None = None,
    ) -> TrainingSettings:
        """Build them from the `training` section, an experiment's own keys, and the preset's values.

        Parameters
        ----------
        section, override
            Only keys that are in one of them can be read afterwards; null takes the preset's value.
        seed
            Seed of the training.
        keys
            What the model reads; None: all keys. Of these, keys that a later release added have their defaults where they are in
            neither.

        Raises
        ------
        UserError
            When the experiment's `training` has an unknown key.
        """
        known = sorted({"preset"} | {field.name for field in fields(cls)} - {"seed"})
        unknown = sorted(set(override) - set(known))
        if unknown:
            raise UserError(
                f"experiments.training: unknown key '{unknown[0]}'; known keys: {', '.join(known)}"
            )
        later = later_defaults(load_schema("training"))
        merged = {key: value for key, value in later.items() if keys is None or key in keys}
        merged |= {**section, **override}
        preset = PRESETS[merged.pop("preset")] if "preset" in merged else {}
        resolved = object.__new__(cls)
        for key, value in merged.items():
            object.__setattr__(resolved, key, preset[key] if value is None else value)
        object.__setattr__(resolved, "seed", seed)
        return resolved


class FusionModel(ABC):
    """A model that turns the volumes of a person into one code and, where it can, back.

    Parameters
    ----------
    options
        The model's options, defaults filled in from its schema.
    modalities
        Names of the modalities, in the order in which they come.
    shape
        Voxels along x, y, z.
    seed
        Seed of initial weights.
    """

    #: Name in the configuration.
    name: str
    #: Whether people may lack modalities: these are NaN throughout, in training and in use.
    handles_missing = False
    #: Whether it learns from class labels (``people.labels``) and has :meth:`predict`.
    supervised = False
    #: Whether it decodes: :meth:`reconstruct` gives images.
    reconstructs = True
    #: Whether a code alone can be decoded: :meth:`decode` gives images.
    decodes = False
    #: Whether it looks at regions (``people.regions``): it has :meth:`relevance` and :meth:`region_weights`.
    regions = False
    #: Whether it synthesises missing modalities from any subset of `inputs`: it has :meth:`synthesise`.
    synthesises = False

    def __init__(
        self, options: Mapping[str, Any], modalities: Sequence[str], shape: Sequence[int], seed: int
    ) -> None:
        self.options = dict(options)
        self.modalities = list(modalities)
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.seed = seed
        #: Whether it learned from volumes over their maxima (``experiments.scaling``); set by :meth:`fit`.
        self.maximum = False

    @property
    def value_range(self) -> tuple[float, float]:
        """Least and greatest value of the volumes that it learned from, and that it decodes."""
        return value_range(self.maximum)

    @property
    @abstractmethod
    def code_size(self) -> int:
        """How many numbers the code has."""

    @abstractmethod
    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Learn from the training people, and from nobody else.

        Parameters
        ----------
        people
            The training people.
        mask
            Brain mask, shape (x, y, z).
        training
            Settings of the training.
        machine
            Threads, memory and GPUs.
        checkpoints
            Folder for checkpoints; a killed run resumes from them. They stay until the caller has written the model.

        Returns
        -------
        DataFrame
            The history, one row per epoch (or one row altogether).
        """

    @abstractmethod
    def encode(self, volumes: np.ndarray) -> np.ndarray:
        """Return the codes, shape (people, code_size), of volumes (people, modalities, x, y, z)."""

    @abstractmethod
    def reconstruct(self, volumes: np.ndarray) -> np.ndarray:
        """Encode and decode: volumes (people, modalities, x, y, z) in :attr:`value_range`, the same shape out."""

    @abstractmethod
    def weights(self) -> dict[str, np.ndarray]:
        """Return everything that was learned, as named arrays."""

    @abstractmethod
    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`weights` returned."""

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes to volumes, where a code alone is enough (:attr:`decodes`).

        Parameters
        ----------
        codes
            (people, code_size).

        Returns
        -------
        ndarray, shape (people, modalities, x, y, z)
            In units of the volumes over their :meth:`scales`.
        """
        raise NotImplementedError(f"{self.name} does not decode codes")

    def scales(self, volumes: np.ndarray) -> np.ndarray:
        """Return what each volume is divided by before it is encoded, shape (people, modalities); 1 for most models."""
        return np.ones(volumes.shape[:2])

    @property
    def code_modalities(self) -> list[str | None]:
        """The modality that each number of the code belongs to; None: to all of them together."""
        return [None] * self.code_size

    def predict(self, volumes: np.ndarray) -> np.ndarray:
        """Return the probability of the second class (of the sorted labels), shape (people,); supervised models only."""
        raise NotImplementedError(f"{self.name} does not predict classes")

    def relevance(self, volumes: np.ndarray, subjects: Sequence[str]) -> pd.DataFrame:
        """Return how relevant each region and modality is for each person, where the model has :attr:`regions`.

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z).
        subjects
            Their names.

        Returns
        -------
        DataFrame
            subject, region, modality (and "fused": all of them together), features (how many are weighted above
            :data:`RELEVANT`), mean_mask (mean of the weights).
        """
        raise NotImplementedError(f"{self.name} does not weigh regions")

    def region_weights(self) -> pd.DataFrame:
        """Return how much each region weighs, whoever the person is: region, modality (and "fused"), weight."""
        raise NotImplementedError(f"{self.name} does not weigh regions")

    @property
    def inputs(self) -> list[str]:
        """Modalities that others are synthesised from."""
        return self.modalities

    @property
    def outputs(self) -> list[str]:
        """Modalities that can be synthesised."""
        return self.modalities

    @property
    def always_given(self) -> list[str]:
        """Modalities that are given to the model with every subset of inputs (a lesion mask)."""
        return []

    @property
    def slice_plane(self) -> str | None:
        """Plane of the slices that are synthesised one by one (axial, coronal, sagittal); None for whole volumes."""
        return None

    def synthesise(self, volumes: np.ndarray) -> np.ndarray:
        """Return every output, made from the inputs that are present, where the model :attr:`synthesises`.

        Parameters
        ----------
        volumes
            (people, modalities, x, y, z), NaN throughout for what is missing.

        Returns
        -------
        ndarray, shape of `volumes`
            In units of each image's mean intensity; NaN for modalities that are no outputs.
        """
        raise NotImplementedError(f"{self.name} does not synthesise modalities")

    def prepare(self, machine: Machine) -> None:  # noqa: B027 (optional)
        """Get ready for encoding on a machine."""

    def facts(self) -> dict[str, Any]:
        """Return further facts for the model's description (numbers of parameters, explained variance)."""
        return {}
