"""Initial brain mask of a T1-weighted image, before any registration."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Image, foreground

#: Volumes (litres) that a brain can have, from a newborn's to the largest adult's with generous extraction. Heads
#: are larger.
BRAIN_LITRES = (0.3, 2.5)


def _signal(data: np.ndarray) -> np.ndarray:
    """Return the voxels of an extracted brain: neither zero nor ringing from resampling."""
    positive = data[data > 0]
    return np.abs(data) > (0.01 * np.percentile(positive, 99) if positive.size else 0)


def looks_extracted(image: Image) -> bool:
    """Tell whether an image shows the brain alone: its border is zero, and the rest has the volume of a brain."""
    inside = _signal(image.data)
    border = np.ones(image.data.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    litres = inside.sum() * image.grid.voxel_volume / 1e6
    return bool(inside[border].mean() < 0.05 and BRAIN_LITRES[0] <= litres <= BRAIN_LITRES[1])


def initial_mask(
    image: Image, given: Image | None, brain_extracted: str | bool, label: str
) -> tuple[np.ndarray, bool]:
    """Return the initial mask, and whether it covers the brain alone.

    Parameters
    ----------
    image
        T1-weighted image.
    given
        Brain mask of the same person on the same grid (any value above 0.5 is inside), or None.
    brain_extracted
        Whether the image is brain-extracted; ``auto`` asks :func:`looks_extracted`. Ignored with a given mask.
    label
        Subject and file, for error messages.

    Returns
    -------
    mask
        (X, Y, Z) bool: the given mask; the voxels of an extracted brain with signal, holes filled; else the
        foreground of the head.
    extracted
        Whether `mask` covers the brain alone.

    Raises
    ------
    UserError
        When no voxel of the mask has signal.
    """
    if given is not None:
        mask, extracted = given.data > 0.5, True
        if not (image.data[mask] > 0).any():
            raise UserError(
                f"{label}: its t1w_mask has no voxel with signal; check that both belong together"
            )
    elif looks_extracted(image) if brain_extracted == "auto" else brain_extracted:
        mask, extracted = ndimage.binary_fill_holes(_signal(image.data)), True
    else:
        closed = ndimage.binary_closing(foreground(image.data), iterations=2)
        mask, extracted = ndimage.binary_fill_holes(closed), False
    if not (image.data[mask] > 0).any():
        raise UserError(f"{label}: no voxel is above zero")
    return mask, extracted
