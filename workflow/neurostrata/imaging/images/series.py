"""Reading of 4-D image series, maps and masks, with checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.gate.headers import SAME_GRID_MM, trimmed
from neurostrata.imaging.images.io import (
    Grid,
    Image,
    check_affine,
    open_image,
    read_grid_array,
    read_volumes,
    readable,
)

#: Larger deviations of a gradient field from a linear one (fractions of 1) are implausible inside a head.
_LARGEST_DEVIATION = 0.5


@dataclass(frozen=True, eq=False)
class Series:
    """A series of images: `data` of shape (X, Y, Z, measurements), float32, on `grid`."""

    data: np.ndarray
    grid: Grid


def read_series(path: Path, subject: str, what: str = "dwi") -> Series:
    """Read a 4-D NIfTI image as float32.

    Raises
    ------
    UserError
        When the file is missing, truncated or not 4-D, or its affine is unusable.
    """
    file = open_series(path, subject, what)
    data = np.empty((*file.grid.shape, file.measurements), dtype=np.float32, order="F")
    for number, volume in enumerate(file.volumes()):
        data[..., number] = volume
    return Series(data, file.grid)


@dataclass(frozen=True, eq=False)
class SeriesFile:
    """A series of images on the disk, of which one volume at a time is read.

    Attributes
    ----------
    path, label
        The file, and how messages begin.
    grid
        Of every volume.
    measurements
        Number of volumes.
    """

    path: Path
    label: str
    grid: Grid
    measurements: int

    def volumes(self) -> Iterator[np.ndarray]:
        """Yield the volumes in order, (X, Y, Z) float32; a file that turns out to be damaged raises a :class:`UserError`."""
        volumes = read_volumes(self.path)
        while True:
            with readable(self.path, self.label):
                volume = next(volumes, None)
            if volume is None:
                return
            yield volume

    def signals(self, mask: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Read a part of the series; the whole may need several times the memory.

        Parameters
        ----------
        mask
            (X, Y, Z) bool: voxels.
        chosen
            (measurements,) bool: volumes.

        Returns
        -------
        (voxels, chosen measurements), float32
            Their signals.
        """
        places = np.cumsum(chosen) - 1
        signals = np.empty((int(mask.sum()), int(chosen.sum())), dtype=np.float32)
        for number, volume in enumerate(self.volumes()):
            if chosen[number]:
                signals[:, places[number]] = volume[mask]
        return signals


def open_series(path: Path, subject: str, what: str = "dwi") -> SeriesFile:
    """Read the header of a 4-D NIfTI image.

    Raises
    ------
    UserError
        When the file is missing or not 4-D, or its affine is unusable.
    """
    label = f"subject {subject}: {what} {path}"
    shape, grid = _read_header(path, label)
    if len(shape) != 4:
        raise UserError(f"{label}: has shape {shape}; a 4-D series of volumes is needed")
    return SeriesFile(Path(path), label, grid, shape[3])


def _read_header(path: Path, label: str) -> tuple[tuple[int, ...], Grid]:
    """Return the shape of an image, without trailing ones beyond three, and the grid of its volumes."""
    with readable(path, label):
        source, _ = open_image(path)
        affine = np.asarray(source.affine, dtype=float)
    shape = trimmed(source.shape)
    if len(shape) < 3:
        raise UserError(f"{label}: is {len(shape)}-dimensional with shape {shape}; a 3-D image is needed")
    check_affine(affine, label)
    return shape, Grid((shape[0], shape[1], shape[2]), affine)


def read_map(
    path: Path, subject: str, what: str, component: int | None = None, *, gaps: bool = False
) -> Image:
    """Read a map of values, which may all be alike: 3-D, or one volume of a 4-D file.

    For images to register or to segment there is :func:`neurostrata.imaging.images.io.read_image`.

    Parameters
    ----------
    path
        A NIfTI file.
    subject, what
        Subject and kind of image, for error messages.
    component
        Position of the volume in a 4-D file, from 0; None for a 3-D file.
    gaps
        Set NaN to 0 as background, unless every voxel is NaN.

    Raises
    ------
    UserError
        When the file is missing or truncated, has another number of dimensions, has no such volume, holds
        NaN or infinite values, or its affine is unusable.
    """
    label = f"subject {subject}: {what} {path}"
    if component is None:
        data, grid = read_grid_array(path, label)
        if data.ndim != 3:
            raise UserError(
                f"{label}: has shape {data.shape}; one 3-D volume is needed (for a 4-D file set the modality's "
                "'components' to its number of volumes)"
            )
    else:
        data, grid = _read_component(path, label, component)
    if gaps and not np.isnan(data).all():
        data = np.nan_to_num(data, copy=True, nan=0.0, posinf=np.inf, neginf=-np.inf)
    check_finite(data, label, "")
    return Image(data, grid)


def _read_component(path: Path, label: str, component: int) -> tuple[np.ndarray, Grid]:
    """Read one volume of a 4-D file; the whole file may need a hundred times the memory."""
    shape, grid = _read_header(path, label)
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or component >= shape[3]:
        raise UserError(f"{label}: has shape {shape}, there is no volume {component + 1}")
    if shape[3] == 1:
        return read_grid_array(path, label)
    chosen = None
    for number, volume in enumerate(SeriesFile(Path(path), label, grid, shape[3]).volumes()):
        if number == component:
            chosen = volume  # and on: a damaged file shows at its end
    return np.ascontiguousarray(chosen), grid


def read_image_mask(path: Path, subject: str, grid: Grid, what: str = "mask") -> np.ndarray:
    """Read a mask that belongs to an image on `grid`, as (X, Y, Z) bool: above 0.5 is inside.

    Raises
    ------
    UserError
        When it cannot be read, lies on another grid, or is empty.
    """
    label = f"subject {subject}: {what} {path}"
    data, found_grid = read_grid_array(path, label)
    if data.ndim != 3 or not found_grid.same_as(grid, tolerance=SAME_GRID_MM):
        raise UserError(
            f"{label}: has shape {data.shape} and the image {grid.shape}, or their affines differ; a mask must "
            "be on its image's grid"
        )
    # a mask that was resampled or smoothed has a rim of small values around the brain
    mask = data > 0.5
    if not mask.any():
        raise UserError(f"{label}: is empty (no value above 0.5)")
    return mask


def check_finite(values: np.ndarray, label: str, where: str = " inside the mask") -> None:
    """Raise a :class:`UserError` that begins with `label` when values are NaN or infinite."""
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise UserError(f"{label}: has {bad} NaN or infinite values{where}; replace them and run again")


def read_deviations(path: Path, subject: str, grid: Grid, inside: np.ndarray) -> np.ndarray:
    """Read how a gradient coil's field deviates from a linear one, in the voxels `inside` a mask.

    Parameters
    ----------
    path
        Nine volumes as FSL's ``calc_grad_perc_dev`` and the HCP (``grad_dev.nii.gz``) write them: the 3x3
        matrix L of every voxel, column by column, as a fraction of 1.
    grid, inside
        Of the diffusion series; (X, Y, Z) bool.

    Returns
    -------
    numpy.ndarray
        (voxels, 3, 3), float32; the gradient g acts as ``(I + L) g``.

    Raises
    ------
    UserError
        When it cannot be read, lies on another grid, does not have nine volumes, or its values are implausible.
    """
    label = f"subject {subject}: grad_dev {path}"
    data, found_grid = read_grid_array(path, label)
    if data.ndim != 4 or data.shape[3] != 9 or not found_grid.same_as(grid, tolerance=SAME_GRID_MM):
        raise UserError(
            f"{label}: has shape {data.shape} and the diffusion image {grid.shape}, or their affines differ; nine "
            "volumes on its grid are needed"
        )
    values = data[inside]
    check_finite(values, label)
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST_DEVIATION:
        raise UserError(
            f"{label}: deviates by up to {largest:.3g}; fractions of 1 are expected (divide per cent by 100)"
        )
    return values.reshape(-1, 3, 3).transpose(0, 2, 1).astype(np.float32)
