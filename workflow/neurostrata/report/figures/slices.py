"""Slices of volumes, with the person's left on the left and millimetres of equal size in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from neurostrata.imaging.images.io import UNREADABLE, Grid, Image, read_voxels

#: Planes by the axis that they are cut across.
PLANES = ("sagittal", "coronal", "axial")
#: Letters at the left and right edge of a slice across each axis: the person's left is on the left.
SIDES = (("P", "A"), ("L", "R"), ("L", "R"))


@dataclass(frozen=True)
class Volume:
    """A 3-D image turned to RAS axes.

    Attributes
    ----------
    data : array, shape (x, y, z)
        First axis to the right, second to the front, third up.
    zooms : tuple of three floats
        Voxel sizes in mm along these axes.
    """

    data: np.ndarray
    zooms: tuple[float, float, float]


def try_image(path: Path) -> Image | None:
    """Return a 3-D image, or the first volume of a 4-D one; None when it is absent or cannot be read.

    One that is not as its stage wrote it raises :class:`~neurostrata.core.records.DamagedError`.
    """
    if not path.is_file():
        return None
    try:
        data, source = read_voxels(path)
    except UNREADABLE:
        return None
    while data.ndim > 3:
        data = data[..., 0]
    if data.ndim < 3:
        return None
    return Image(data, Grid((data.shape[0], data.shape[1], data.shape[2]), np.asarray(source.affine)))


def try_upright(path: Path) -> Image | None:
    """Return an image as :func:`try_image` does, turned to the closest RAS axes; None also where it has no axes."""
    image = try_image(path)
    if image is None:
        return None
    try:
        turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(image.data, image.grid.affine))
    except UNREADABLE:
        return None
    data = np.asarray(turned.dataobj, dtype=np.float32)
    return Image(data, Grid((data.shape[0], data.shape[1], data.shape[2]), np.asarray(turned.affine, float)))


def try_volume(path: Path) -> Volume | None:
    """Return an image as :func:`try_upright` does, with its voxel sizes; the page says where there is none."""
    image = try_upright(path)
    if image is None:
        return None
    right, front, up = (float(side) for side in image.grid.spacing)
    return Volume(image.data, (right, front, up))


def display_range(image: Volume | Image, mask: Volume | Image | None = None) -> tuple[float, float]:
    """Return the grey window: the 1st to the 99.5th percentile inside a mask of the same size, else of values that are not 0."""
    same = mask is not None and mask.data.shape == image.data.shape
    values = image.data[mask.data > 0] if mask is not None and same else image.data
    values = values[np.isfinite(values) & (values != 0)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, [1, 99.5]))
    return (low, high) if high > low else (low, low + 1.0)


def bounding_box(mask: np.ndarray, margin: int = 2) -> tuple[slice, slice, slice]:
    """Return the box round the non-zero voxels of a 3-D array, with a margin in voxels; all of an empty one."""
    filled = np.nan_to_num(mask) != 0
    if not filled.any():
        return (slice(0, mask.shape[0]), slice(0, mask.shape[1]), slice(0, mask.shape[2]))
    box = []
    for axis, length in enumerate(mask.shape):
        along = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(along[0] - margin, 0), min(along[-1] + margin + 1, length)))
    return (box[0], box[1], box[2])


def trim(image: np.ndarray, background: float = 1e-6) -> tuple[slice, slice]:
    """Return the slices that cut empty borders off a 2-D picture (NaN and zeros are empty).

    Parameters
    ----------
    image : array, shape (rows, columns)
    background
        Absolute values up to this are empty.
    """
    filled = np.abs(np.nan_to_num(image)) > background
    if not filled.any():
        return slice(0, image.shape[0]), slice(0, image.shape[1])
    rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def positions(box: tuple[slice, slice, slice], axis: int, count: int) -> list[int]:
    """Return `count` slice indices spread evenly inside a box along one axis, ends left out."""
    start, stop = box[axis].start, box[axis].stop
    return [round(start + (stop - start - 1) * (i + 1) / (count + 1)) for i in range(count)]


def cut(volume: Volume, axis: int, index: int, box: tuple[slice, slice, slice]) -> tuple[np.ndarray, float]:
    """Return one slice ready for ``imshow(origin="lower")`` and its pixel aspect (height / width).

    Sagittal slices (axis 0) look to the left, coronal and axial ones have the person's left on the picture's left.
    """
    others = [other for other in range(3) if other != axis]
    index = min(max(index, 0), volume.data.shape[axis] - 1)
    picture = np.take(volume.data, index, axis=axis)[box[others[0]], box[others[1]]].T
    return picture, volume.zooms[others[1]] / volume.zooms[others[0]]
