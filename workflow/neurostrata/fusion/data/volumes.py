"""The volumes of a set of people, scaled as they are read; no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import read_image
from neurostrata.imaging.volumes.arrays import MASK_LIMITS, CheckedArray, apply_limits, limits, load_volumes

#: People read at once, where volumes are worked through a few people at a time.
CHUNK = 4


@dataclass(frozen=True)
class ModalityVolumes:
    """One modality of a cohort: unscaled volumes on disk and what is known about them.

    Attributes
    ----------
    name : str
    array : ndarray or CheckedArray, shape (people, x, y, z), float32
        Memory-mapped.
    row : dict
        Subject -> row of `array`.
    info : dict
        The array's sidecar (JSON): subjects, affine, limits of the whole cohort.
    mask : ndarray, shape (x, y, z), bool
        The brain mask that belongs to the array.
    """

    name: str
    array: np.ndarray | CheckedArray
    row: dict[str, int]
    info: dict[str, Any]
    mask: np.ndarray


def read_grid_mask(path: Path, shape: Sequence[int], affine: Any) -> np.ndarray:
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


def read_grid_regions(path: Path, shape: Sequence[int], affine: Any) -> np.ndarray:
    """Read an image of region numbers that must lie on a given grid.

    Returns
    -------
    ndarray, shape (x, y, z), int
        0 outside the regions.

    Raises
    ------
    UserError
        When it is on another grid, has no regions or is no image.
    """
    image = read_image(path, what="regions")
    if image.data.shape != tuple(shape) or not np.allclose(image.grid.affine, affine, atol=1e-3):
        raise UserError(f"{path}: the regions are not on the grid of the volumes; rerun grid_regions")
    numbers = np.rint(image.data).astype(np.int32)
    if not numbers.any():
        raise UserError(f"{path}: the image has no regions")
    return numbers


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
            raise UserError(f"{path}: expected modality '{name}', got '{info['modality']}'")
        if opened and array.shape[1:] != opened[0].array.shape[1:]:
            raise UserError(
                f"{path}: grid {array.shape[1:]} differs from that of '{opened[0].name}' "
                f"{opened[0].array.shape[1:]}"
            )
        mask = read_grid_mask(Path(path).parent / info["mask"], array.shape[1:], info["affine"])
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
        The training people of the fold. With `scope` "train" nobody else's voxels are read. Masks are not
        scaled.
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
        elif volume.info.get("kind") == "mask":
            low, high = MASK_LIMITS  # percentiles of a mask of few voxels would be 0 and 0
        else:
            rows = [volume.row[s] for s in training if s in volume.row]
            if not rows:
                raise UserError(f"'{volume.name}': none of the training people has it")
            low, high = limits(volume.array, mask, rows, known["percentiles"])
        result[volume.name] = {"low": float(low), "high": float(high)}
    return result


def value_range(maximum: bool) -> tuple[float, float]:
    """Return the least and greatest value of scaled volumes: over their maxima, or between limits."""
    return (-1.0, 1.0) if maximum else (0.0, 1.0)


class VolumeSet:
    """The volumes of some people, all modalities, scaled when they are read: to [0, 1] by limits, or each by its maximum.

    Outside the brain mask they are 0: a Jacobian has values in the background too, which are no data. A
    missing modality is NaN throughout.

    Parameters
    ----------
    volumes
        The modalities, in order.
    subjects
        The people, in order.
    scaling
        Modality -> {"low", "high"} (:func:`fold_limits`); with `maximum` only those of masks are read.
    incomplete
        Whether people may lack modalities (everybody has at least one).
    labels
        Subject -> class, for models that learn to separate classes.
    regions
        Region number of each voxel (0: none), shape (x, y, z), for models that use regions.
    groups
        Subject -> family (None or "": a family of one), for models that divide the training people once more.
    strata
        Subject -> stratum, for models that hold out people of each.
    maximum
        Whether each volume is divided by its largest absolute value inside the mask instead, which keeps its sign and cuts nothing
        (Geenjaar 2021, III.C); a volume that is 0 throughout stays so. Masks are scaled by their limits.

    Raises
    ------
    UserError
        When somebody has no volume of a modality (with `incomplete`: of any), or no label.
    """

    def __init__(
        self,
        volumes: Sequence[ModalityVolumes],
        subjects: Sequence[str],
        scaling: Mapping[str, Mapping[str, float]],
        incomplete: bool = False,
        labels: Mapping[str, str] | None = None,
        regions: np.ndarray | None = None,
        groups: Mapping[str, str | None] | None = None,
        strata: Mapping[str, str] | None = None,
        maximum: bool = False,
    ) -> None:
        for subject in subjects:
            lacking = [volume.name for volume in volumes if subject not in volume.row]
            if lacking and (not incomplete or len(lacking) == len(volumes)):
                raise UserError(
                    f"subject {subject}: has no '{lacking[0]}' volume, but is in this experiment's "
                    "splits; rerun volumes and splits"
                )
            if labels is not None and not labels.get(subject):
                raise UserError(f"subject {subject}: has no class label, but is in this experiment's splits")
        self.volumes = list(volumes)
        self.subjects = list(subjects)
        self.scaling = {name: dict(values) for name, values in scaling.items()}
        self.incomplete = incomplete
        self.labels = None if labels is None else {subject: labels[subject] for subject in subjects}
        self.regions = regions
        self.groups = None if groups is None else {subject: groups.get(subject) for subject in subjects}
        self.strata = None if strata is None else {subject: strata[subject] for subject in subjects}
        self.maximum = maximum
        self._maxima: dict[tuple[str, str], np.float32] = {}
        self._memory: np.ndarray | None = None

    @property
    def value_range(self) -> tuple[float, float]:
        """Least and greatest value that a scaled volume can have."""
        return value_range(self.maximum)

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities, in order."""
        return [volume.name for volume in self.volumes]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        _, x, y, z = self.volumes[0].array.shape
        return x, y, z

    @property
    def nbytes(self) -> int:
        """Bytes that all scaled volumes take."""
        return 4 * len(self.subjects) * len(self.volumes) * int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.subjects)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return one person's volumes, shape (modalities, x, y, z), float32; NaN where missing."""
        if self._memory is not None:
            return self._memory[index]
        subject = self.subjects[index]
        images = []
        for volume in self.volumes:
            if subject not in volume.row:
                images.append(np.full(self.shape, np.nan, np.float32))
                continue
            image = self._scaled(volume, subject, volume.array[volume.row[subject]])
            self._check(image[volume.mask], subject, volume.name)
            images.append(np.where(volume.mask, image, np.float32(0)))
        return np.stack(images)

    def _scaled(self, volume: ModalityVolumes, subject: str, values: np.ndarray) -> np.ndarray:
        """Return values of a person's volume, or of a part of it, scaled as the whole volume is."""
        if self.maximum and volume.info.get("kind") != "mask":
            return np.asarray(values, dtype=np.float32) / self._largest(volume, subject)
        scale = self.scaling[volume.name]
        return apply_limits(values, scale["low"], scale["high"])

    def _largest(self, volume: ModalityVolumes, subject: str) -> np.float32:
        """Return the largest absolute value of a person's volume inside the mask; 1 of a volume that is 0 throughout."""
        key = volume.name, subject
        if key not in self._maxima:
            inside = np.asarray(volume.array[volume.row[subject]])[volume.mask]
            self._check(inside, subject, volume.name)
            self._maxima[key] = np.float32(np.abs(inside).max(initial=0) or 1)
        return self._maxima[key]

    def slab(self, modality: int, start: int, stop: int) -> np.ndarray:
        """Return everybody's scaled voxels of one modality with start <= x < stop.

        Returns
        -------
        ndarray, shape (people, stop - start, y, z), float32
            For sums over people that do not fit in memory with their whole brains. NaN where it is missing.
        """
        volume = self.volumes[modality]
        if self._memory is not None:
            return self._memory[:, modality, start:stop]
        inside = volume.mask[start:stop]
        values = np.full((len(self), *inside.shape), np.nan, np.float32)
        for position, subject in enumerate(self.subjects):
            if subject in volume.row:
                part = np.asarray(volume.array[volume.row[subject], start:stop])
                read = self._scaled(volume, subject, part)
                values[position] = np.where(inside, read, np.float32(0))
        return values

    def box(self, where: tuple[slice, slice, slice]) -> np.ndarray:
        """Return everybody's scaled voxels in a box; of the rest no more than each volume's maximum is read.

        Returns
        -------
        ndarray, shape (people, modalities, x, y, z), float32
            NaN where a modality is missing.

        Raises
        ------
        UserError
            When somebody has a value there that is not finite, inside the mask.
        """
        if self._memory is not None:
            return self._memory[(..., *where)]
        shape = self.volumes[0].mask[where].shape
        values = np.full((len(self), len(self.volumes), *shape), np.nan, np.float32)
        for number, volume in enumerate(self.volumes):
            inside = volume.mask[where]
            for position, subject in enumerate(self.subjects):
                if subject in volume.row:
                    part = np.asarray(volume.array[(volume.row[subject], *where)])
                    read = self._scaled(volume, subject, part)
                    self._check(read[inside], subject, volume.name)
                    values[position, number] = np.where(inside, read, np.float32(0))
        return values

    @staticmethod
    def _check(values: np.ndarray, subject: str, modality: str) -> None:
        if not np.isfinite(values).all():
            raise UserError(
                f"subject {subject}: the '{modality}' volume has values that are not finite; "
                "repair its map and rerun normalise"
            )

    def subset(self, positions: Sequence[int]) -> VolumeSet:
        """Return some of the people, by their positions."""
        chosen = [self.subjects[i] for i in positions]
        part = VolumeSet(
            self.volumes,
            chosen,
            self.scaling,
            self.incomplete,
            self.labels,
            self.regions,
            self.groups,
            self.strata,
            self.maximum,
        )
        part._maxima = self._maxima
        return part

    def present(self) -> np.ndarray:
        """Return which modalities each person has, shape (people, modalities), bool."""
        return np.array([[subject in volume.row for volume in self.volumes] for subject in self.subjects])

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield (subjects, volumes of shape (people, modalities, x, y, z)) a few people at a time."""
        for start in range(0, len(self), size):
            members = range(start, min(start + size, len(self)))
            yield [self.subjects[i] for i in members], np.stack([self[i] for i in members])

    def load(self) -> None:
        """Read and scale everybody now and keep them in memory."""
        if self._memory is None:
            memory = np.empty((len(self), len(self.volumes), *self.shape), np.float32)
            for index in range(len(self)):
                memory[index] = self[index]
            self._memory = memory

    def mean(self) -> np.ndarray:
        """Return the mean image of these people, shape (modalities, x, y, z), float32; of those who have each.

        Raises
        ------
        UserError
            When nobody has a modality.
        """
        total = np.zeros((len(self.volumes), *self.shape))
        counts = self.present().sum(axis=0)
        if not counts.all():
            raise UserError(
                f"'{self.modalities[int(np.argmin(counts))]}': none of the training people has it"
            )
        for index in range(len(self)):
            total += np.nan_to_num(self[index], nan=0.0)
        return (total / counts[:, None, None, None]).astype(np.float32)
