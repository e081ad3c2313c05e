"""Principal components of whole images by the people x people Gram matrix: the linear baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.training.machine import Machine

#: Planes along x that are held in memory at once for everybody.
SLAB = 8


class PrincipalComponents(FusionModel):
    """``pca``: components of the scaled volumes of all modalities, concatenated, inside the mask.

    Decoded values are clipped to the range of the inputs; outside the mask the training mean is
    returned. Attributes with a trailing underscore exist after :meth:`fit`.

    With the option ``balance`` each modality is divided by the square root of its total variance first (multiblock PCA:
    the weights of a consensus PCA, Westerhuis et al. 1998), so that no modality leads because its numbers vary more.

    Learned from the people who have every modality. A person without one of them gets the expected scores given
    the others (probabilistic PCA: scores of the components' variances, equal noise in all voxels).
    """

    name = "pca"
    handles_missing = True
    decodes = True

    mean_: np.ndarray  #: (modalities, x, y, z)
    scale_: np.ndarray  #: (modalities,), what centred values are divided by
    components_: np.ndarray  #: (components, voxels of the mask x modalities), orthonormal rows
    variance_: np.ndarray  #: variance of each component over the training people (ddof 1)
    total_variance_: float

    @property
    def code_size(self) -> int:
        """Number of components."""
        return len(self.components_)

    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Find the components of the training people.

        With n people and v voxels, n << v: eigenvectors u of the n x n Gram matrix of the centred data X
        give the components X'u / sqrt(eigenvalue). X is never held as a whole.

        Raises
        ------
        UserError
            With fewer than two training people or an empty mask.
        """
        people = people.subset(np.flatnonzero(people.present().all(axis=1)).tolist())
        if len(people) < 2:
            raise UserError(f"pca: {len(people)} training people with all modalities, at least 2 are needed")
        if not mask.any():
            raise UserError("pca: the brain mask is empty")
        self.maximum = people.maximum
        self.mask_ = mask.astype(bool)
        self.mean_ = people.mean()
        self.scale_ = np.ones(len(people.modalities))
        if self.options["balance"]:
            total = np.zeros(len(people.modalities))
            for modality, _, centred in self._centred_slabs(people):
                total[modality] += (centred**2).sum()
            if (total <= 0).any():
                flat = people.modalities[int(total.argmin())]
                raise UserError(f"pca: the training people's volumes of {flat} do not differ inside the mask")
            # relative to the mean over modalities, so that codes are of the usual size
            self.scale_ = np.sqrt(total / total.mean())
        gram = np.zeros((len(people), len(people)))
        for modality, _, centred in self._centred_slabs(people):
            scaled = centred / self.scale_[modality]
            gram += scaled @ scaled.T
        values, vectors = np.linalg.eigh(gram)
        order = np.argsort(values)[::-1]
        values, vectors = values[order].clip(0), vectors[:, order]
        rank = int((values > values[0] * 1e-7).sum()) if values[0] > 0 else 0
        if rank == 0:
            raise UserError(
                "pca: the training people's volumes do not differ from each other inside the mask"
            )
        number = min(self.options["max_components"], len(people) - 1, rank)
        values, vectors = values[:number], vectors[:, :number]
        self.components_ = np.empty((number, len(people.modalities) * int(mask.sum())), np.float32)
        for modality, where, centred in self._centred_slabs(people):
            scaled = centred / self.scale_[modality]
            self.components_[:, where] = ((vectors / np.sqrt(values)).T @ scaled).astype(np.float32)
        self._fix_signs()
        self.variance_ = values / (len(people) - 1)
        self.total_variance_ = float(np.trace(gram) / (len(people) - 1))
        explained = float(self.variance_.sum() / self.total_variance_)
        return pd.DataFrame({"components": [number], "explained_variance": [explained]})

    def _centred_slabs(self, people: VolumeSet) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Yield (modality, columns of the components, centred data in float64), slab after slab."""
        column = 0
        for modality in range(len(people.modalities)):
            for start in range(0, self.shape[0], SLAB):
                inside = self.mask_[start : start + SLAB]
                count = int(inside.sum())
                if count:
                    values = people.slab(modality, start, start + SLAB)[:, inside].astype(np.float64)
                    yield (
                        modality,
                        slice(column, column + count),
                        values - self.mean_[modality, start : start + SLAB][inside],
                    )
                    column += count

    def _fix_signs(self) -> None:
        """Make the largest weight of each component positive: eigenvectors come with either sign."""
        largest = np.abs(self.components_).argmax(axis=1)
        signs = np.sign(self.components_[np.arange(len(self.components_)), largest])
        self.components_ *= signs[:, None]

    def encode(self, volumes: np.ndarray) -> np.ndarray:
        """Return the scores on the components; the expected ones where modalities are missing."""
        centred = (volumes - self.mean_)[:, :, self.mask_] / self.scale_[:, None]
        present = ~np.isnan(centred).all(axis=2)
        scores = np.nan_to_num(centred).reshape(len(volumes), -1) @ self.components_.T
        for pattern in np.unique(present[~present.all(axis=1)], axis=0):
            rows = (present == pattern).all(axis=1)
            scores[rows] = scores[rows] @ self._given(pattern)
        return np.asarray(scores)

    def _given(self, pattern: np.ndarray) -> np.ndarray:
        """Return what turns the projection of some modalities alone into expected scores (components, components)."""
        parts = self.components_.reshape(len(self.components_), len(self.modalities), -1)[:, pattern]
        seen = parts.reshape(len(parts), -1)
        voxels = self.components_.shape[1]
        noise = max(self.total_variance_ - self.variance_.sum(), self.variance_.min()) / voxels
        precision = seen @ seen.T.astype(np.float64) + noise * np.diag(1 / self.variance_)
        return np.linalg.inv(precision)

    def reconstruct(self, volumes: np.ndarray) -> np.ndarray:
        """Return the volumes' projection on the components."""
        return self.decode(self.encode(volumes))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the mean image plus the components weighted by scores, in the range of the inputs."""
        decoded = np.repeat(self.mean_[None], len(codes), axis=0)
        inside = (codes @ self.components_).reshape(len(codes), len(self.modalities), -1)
        decoded[:, :, self.mask_] += inside * self.scale_[:, None]
        return decoded.clip(*self.value_range)

    def weights(self) -> dict[str, np.ndarray]:
        """Return mean, mask, components and variances."""
        return {
            "mean": self.mean_,
            "scale": self.scale_,
            "mask": self.mask_.astype(np.uint8),
            "components": self.components_,
            "variance": self.variance_,
            "total_variance": np.array([self.total_variance_]),
        }

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`weights` returned."""
        self.mean_, self.components_ = weights["mean"], weights["components"]
        # models of earlier releases have no scale
        self.scale_ = weights.get("scale", np.ones(len(self.modalities)))
        self.mask_ = weights["mask"].astype(bool)
        self.variance_, self.total_variance_ = weights["variance"], float(weights["total_variance"][0])

    def facts(self) -> dict[str, Any]:
        """Return the share of the training people's variance that the components hold."""
        return {
            "components": self.code_size,
            "explained_variance": float(self.variance_.sum() / self.total_variance_),
        }
