"""The volumes of a set of people, scaled to [0, 1] as they are read; no torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.imaging.images import read_image
from neurostrata.imaging.volumes import apply_limits, limits, load_volumes


@dataclass(frozen=True)
class ModalityVolumes:
    """One modality of a cohort: unscaled volumes on disk and what is known about them.

    Attributes
    ----------
    name : str
    array : ndarray, shape (people, x, y, z), float32
        Memory-mapped.
    row : dict
        Subject -> row of `array`.
    info : dict
        The JSON beside the array: subjects, affine, limits of the whole cohort.
    mask : ndarray, shape (x, y, z), bool
        The brain mask that belongs to the array.
    """

    name: str
    array: np.ndarray
    row: dict[str, int]
    info: dict[str, Any]
    mask: np.ndarray


def read_mask(path: Path, shape: Sequence[int], affine: Any) -> np.ndarray:
    """Read a brain mask that must lie on a given grid.

    Returns
    -------
    ndarray, shape (x, y, z), bool

    Raises
    ------
    UserError
        When it is on another grid, empty or no image.
    """
    image = read_image(path, what="fusion mask")
    if image.data.shape != tuple(shape) or not np.allclose(image.grid.affine, affine, atol=1e-3):
        raise UserError(f"{path}: the mask is not on the grid of the volumes; rerun grid_mask and normalise")
    return image.data > 0


def open_volumes(paths: Sequence[Path], modalities: Sequence[str]) -> list[ModalityVolumes]:
    """Open one volume file per modality, in the experiment's order.

    Raises
    ------
    UserError
        When a file holds another modality than expected, or grids differ between modalities.
    """
    if len(paths) != len(modalities):
        raise UserError(
            f"volumes: {len(paths)} files for {len(modalities)} modalities ({', '.join(modalities)})"
        )
    opened: list[ModalityVolumes] = []
    for path, name in zip(paths, modalities):
        array, info = load_volumes(path)
        if info["modality"] != name:
            raise UserError(f"{path}: holds modality '{info['modality']}', '{name}' is wanted here")
        if opened and array.shape[1:] != opened[0].array.shape[1:]:
            raise UserError(
                f"{path}: grid {array.shape[1:]} differs from that of '{opened[0].name}' "
                f"{opened[0].array.shape[1:]}"
            )
        mask = read_mask(Path(path).parent / info["mask"], array.shape[1:], info["affine"])
        rows = {subject: row for row, subject in enumerate(info["subjects"])}
        opened.append(ModalityVolumes(name, array, rows, info, mask))
    return opened


def fold_limits(
    volumes: Sequence[ModalityVolumes], mask: np.ndarray, training: Sequence[str], scope: str
) -> dict[str, dict[str, float]]:
    """Return the intensity limits that each modality is scaled by.

    Parameters
    ----------
    volumes
        The modalities.
    mask
        Brain mask on the same grid, shape (x, y, z).
    training
        The training people of the fold. With `scope` "train" nobody else's voxels are looked at.
    scope
        "train", or "cohort" for the limits of everybody (Dimitri 2022, 2.3.5).

    Returns
    -------
    dict
        Modality -> {"low", "high"}.
    """
    result = {}
    for volume in volumes:
        known = volume.info["limits"]
        if scope == "cohort":
            low, high = known["low"], known["high"]
        else:
            low, high = limits(volume.array, mask, [volume.row[s] for s in training], known["percentiles"])
        result[volume.name] = {"low": float(low), "high": float(high)}
    return result


class VolumeSet:
    """The volumes of some people, all modalities, scaled to [0, 1] when they are read.

    Outside the brain mask they are 0: a Jacobian has values in the background too, which are no data.

    Parameters
    ----------
    volumes
        The modalities, in order.
    subjects
        The people, in order.
    scaling
        Modality -> {"low", "high"} (:func:`fold_limits`).

    Raises
    ------
    UserError
        When somebody has no volume of a modality.
    """

    def __init__(
        self,
        volumes: Sequence[ModalityVolumes],
        subjects: Sequence[str],
        scaling: Mapping[str, Mapping[str, float]],
    ) -> None:
        for volume in volumes:
            for subject in subjects:
                if subject not in volume.row:
                    raise UserError(
                        f"subject {subject}: has no '{volume.name}' volume, but is in this experiment's "
                        "splits; rerun volumes and splits"
                    )
        self.volumes = list(volumes)
        self.subjects = list(subjects)
        self.scaling = {name: dict(values) for name, values in scaling.items()}
        self._memory: np.ndarray | None = None

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities, in order."""
        return [volume.name for volume in self.volumes]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        return self.volumes[0].array.shape[1:]

    @property
    def nbytes(self) -> int:
        """Bytes that all scaled volumes take."""
        return 4 * len(self.subjects) * len(self.volumes) * int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.subjects)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return one person's volumes, shape (modalities, x, y, z), float32 in [0, 1]."""
        if self._memory is not None:
            return self._memory[index]
        subject = self.subjects[index]
        images = []
        for volume in self.volumes:
            image = self._scaled(volume, volume.array[volume.row[subject]])
            if not np.isfinite(image[volume.mask]).all():
                raise UserError(
                    f"subject {subject}: the '{volume.name}' volume has values that are not finite; "
                    "mend its map and rerun normalise"
                )
            images.append(np.where(volume.mask, image, np.float32(0)))
        return np.stack(images)

    def _scaled(self, volume: ModalityVolumes, values: np.ndarray) -> np.ndarray:
        scale = self.scaling[volume.name]
        return apply_limits(values, scale["low"], scale["high"])

    def slab(self, modality: int, start: int, stop: int) -> np.ndarray:
        """Return everybody's scaled voxels of one modality with start <= x < stop.

        Returns
        -------
        ndarray, shape (people, stop - start, y, z), float32
            For sums over people that must not hold everybody's whole brain in memory.
        """
        volume = self.volumes[modality]
        if self._memory is not None:
            return self._memory[:, modality, start:stop]
        rows = [volume.row[subject] for subject in self.subjects]
        values = self._scaled(volume, np.stack([volume.array[row, start:stop] for row in rows]))
        return np.where(volume.mask[start:stop], values, np.float32(0))

    def subset(self, positions: Sequence[int]) -> VolumeSet:
        """Return some of the people, by their positions."""
        return VolumeSet(self.volumes, [self.subjects[i] for i in positions], self.scaling)

    def load(self) -> None:
        """Read and scale everybody now and keep them in memory."""
        if self._memory is None:
            memory = np.empty((len(self), len(self.volumes), *self.shape), np.float32)
            for index in range(len(self)):
                memory[index] = self[index]
            self._memory = memory

    def mean(self) -> np.ndarray:
        """Return the mean image of these people, shape (modalities, x, y, z), float32."""
        total = np.zeros((len(self.volumes), *self.shape))
        for index in range(len(self)):
            total += self[index]
        return (total / len(self)).astype(np.float32)
