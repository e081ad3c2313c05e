"""Intensity normalisation of single images."""

from __future__ import annotations

import numpy as np

from neurostrata.core.errors import UserError

#: Share of voxels, the brightest, whose mean a PET image is divided by.
BRIGHTEST = 0.001
#: Share of that mean below which a voxel is background.
BACKGROUND = 0.1


def brain_intensity(data: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Divide a map by its mean inside the brain.

    Parameters
    ----------
    data
        (X, Y, Z) map in any unit.
    inside
        (X, Y, Z) bool: the brain, on the same grid.

    Raises
    ------
    UserError
        When that mean is not positive.
    """
    mean = float(data[inside].mean(dtype=np.float64))
    if mean <= 0:
        raise UserError("has no signal inside the brain, 'intensity: brain' cannot be applied")
    return (data / mean).astype(np.float32)


def pet_intensity(data: np.ndarray) -> np.ndarray:
    """Divide a PET image by the mean of its brightest voxels and clear its background (Arco 2023, 4.2.2).

    Parameters
    ----------
    data
        Image in any unit, shape (x, y, z). The brightest 0.1% (at least one voxel) of all its voxels count.

    Returns
    -------
    ndarray, shape (x, y, z), float32
        Relative uptake; 0 where it is below 0.1.

    Raises
    ------
    UserError
        When the image is not positive anywhere.
    """
    number = max(1, round(BRIGHTEST * data.size))
    reference = float(np.partition(data, data.size - number, axis=None)[-number:].mean(dtype=np.float64))
    if reference <= 0:
        raise UserError("has no positive voxels, 'intensity: pet' cannot be applied")
    relative = np.asarray(data, np.float32) / np.float32(reference)
    return np.where(relative < BACKGROUND, np.float32(0), relative)
