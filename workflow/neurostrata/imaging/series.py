"""Image series (4-D) and masks: reading them with checks a user can act on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from neurostrata.core.errors import UserError
from neurostrata.imaging.images import Grid, Image, check_affine

_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, nib.spatialimages.HeaderDataError)


@dataclass(frozen=True, eq=False)
class Series:
    """A series of images: `data` of shape (X, Y, Z, measurements), float32, on `grid`."""

    data: np.ndarray
    grid: Grid


def _open(path: Path, label: str) -> tuple[Any, Grid]:
    if not Path(path).is_file():
        raise UserError(f"{label}: the file does not exist; check the path in the cohort sheet")
    try:
        source: Any = nib.load(path)
        affine = np.asarray(source.affine, dtype=float)
        shape = tuple(int(side) for side in source.shape)
    except _UNREADABLE as error:
        raise UserError(f"{label}: cannot be read ({_first_line(error)}); copy it again") from error
    if len(shape) < 3:
        raise UserError(f"{label}: is {len(shape)}-dimensional with shape {shape}")
    check_affine(affine, label)
    return source, Grid((shape[0], shape[1], shape[2]), affine)


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _values(source: Any, label: str, index: Any = ...) -> np.ndarray:
    """Read voxels as float32 without a float64 copy of the whole series."""
    try:
        chosen = source.dataobj if index is ... else source.dataobj[index]
        return np.asarray(chosen, dtype=np.float32)
    except _UNREADABLE as error:
        raise UserError(
            f"{label}: cannot be read, perhaps truncated ({_first_line(error)}); copy it again"
        ) from error


def read_series(path: Path, subject: str, what: str = "dwi") -> Series:
    """Read a 4-D NIfTI image as float32.

    Raises
    ------
    UserError
        When the file is missing, truncated or not 4-D, or its affine is unusable.
    """
    label = f"subject {subject}: {what} {path}"
    source, grid = _open(path, label)
    if len(source.shape) != 4:
        raise UserError(f"{label}: has shape {tuple(source.shape)}; a 4-D series of volumes is needed")
    return Series(_values(source, label), grid)


def read_map(path: Path, subject: str, what: str, component: int | None = None) -> Image:
    """Read a 3-D map, or one volume of a 4-D file.

    Parameters
    ----------
    path
        A NIfTI file.
    subject, what
        Whose image and which one, for the messages.
    component
        Position of the volume in a 4-D file, from 0; None for a 3-D file.

    Raises
    ------
    UserError
        When the file is missing or truncated, has another number of dimensions, has no such volume, holds
        NaN or infinite values, or its affine is unusable.
    """
    label = f"subject {subject}: {what} {path}"
    source, grid = _open(path, label)
    shape = tuple(source.shape)
    while len(shape) > 3 and shape[-1] == 1 and component is None:
        shape = shape[:-1]
    if component is None:
        if len(shape) != 3:
            raise UserError(
                f"{label}: has shape {shape}; one 3-D volume is needed (for a 4-D file set the modality's "
                "'components' to its number of volumes)"
            )
        data = _values(source, label).reshape(shape)
    else:
        if len(shape) != 4 or component >= shape[3]:
            raise UserError(f"{label}: has shape {shape}, there is no volume {component + 1}")
        data = _values(source, label, np.s_[..., component])
    bad = int(data.size - np.isfinite(data).sum())
    if bad:
        raise UserError(f"{label}: has {bad} NaN or infinite voxels; replace them and run again")
    return Image(data, grid)


def read_mask(path: Path, subject: str, grid: Grid, what: str = "mask") -> np.ndarray:
    """Read a mask that belongs to an image on `grid`, as (X, Y, Z) bool: above zero is inside.

    Raises
    ------
    UserError
        When it cannot be read, lies on another grid, or is empty.
    """
    label = f"subject {subject}: {what} {path}"
    source, own = _open(path, label)
    if not own.same_as(grid, tolerance=0.05):
        raise UserError(
            f"{label}: has shape {own.shape} and the image {grid.shape}, or their affines differ; a mask must "
            "be on its image's grid"
        )
    mask = _values(source, label).reshape(own.shape) > 0
    if not mask.any():
        raise UserError(f"{label}: is empty")
    return mask


def check_finite(signals: np.ndarray, label: str) -> None:
    """Raise a :class:`UserError` when signals inside a mask hold NaN or infinite values."""
    bad = int(signals.size - np.isfinite(signals).sum())
    if bad:
        raise UserError(f"{label}: has {bad} NaN or infinite values inside the mask; preprocess it again")
