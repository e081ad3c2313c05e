"""Which voxels of a T1-weighted image are brain, or at least head, before anything is registered."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.images import Image

#: An extracted brain has at least this share of exact zeros along the border of its grid ...
_ZERO_BORDER = 0.98
#: ... and holds between these volumes of tissue, in mm^3 (0.3 to 2.3 litres).
_BRAIN_MM3 = (0.3e6, 2.3e6)


def _border_zeros(data: np.ndarray) -> float:
    inner = np.zeros(data.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    return float((data[~inner] == 0).mean())


def _otsu(values: np.ndarray) -> float:
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(centres[np.nanargmax(spread)])


def initial_mask(
    image: Image, given: Image | None, extracted: str | bool, label: str
) -> tuple[np.ndarray, bool]:
    """Return the voxels to work on and whether they are the brain alone.

    Parameters
    ----------
    image
        The T1-weighted image, in its own space.
    given
        The person's brain mask on the same grid, or None.
    extracted
        ``"auto"``, True or False: whether the image shows the brain alone (``anatomy.brain_extracted``).
    label
        Names the image in messages.

    Returns
    -------
    mask
        (X, Y, Z) bool: the given mask; else the non-zero voxels of an extracted brain, holes filled; else
        the head, by Otsu's threshold.
    extracted
        True when the mask is the brain's.

    Raises
    ------
    UserError
        When the mask is empty.
    """
    if given is not None:
        mask = given.data > 0
    else:
        tissue = image.data != 0
        volume = tissue.sum() * abs(np.linalg.det(image.grid.affine[:3, :3]))
        if extracted == "auto":
            extracted = bool(
                _border_zeros(image.data) >= _ZERO_BORDER and _BRAIN_MM3[0] <= volume <= _BRAIN_MM3[1]
            )
        mask = tissue if extracted else image.data > _otsu(image.data[np.isfinite(image.data)])
        mask = ndimage.binary_fill_holes(mask)
    if not mask.any():
        raise UserError(f"{label}: the brain mask is empty")
    return mask, bool(extracted) if given is None else True
