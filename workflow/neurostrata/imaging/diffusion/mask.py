"""Brain mask of a diffusion series."""

from __future__ import annotations

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.imaging.anatomy.brain import BRAIN_LITRES

#: A mean b=0 image with this share of exact zeros has had its background removed.
_ZERO_SHARE = 0.1


def mean_signal(signals: np.ndarray) -> np.ndarray:
    """Return the mean over the volumes that have a value, 0 where none has one.

    A voxel that lacks a value in some volumes stays in the brain, where the fit refuses it; one without any is background.

    Parameters
    ----------
    signals
        (voxels, volumes); NaN and infinite values are no values.
    """
    finite = np.isfinite(signals)
    total = np.where(finite, signals, 0).sum(axis=1)
    return np.asarray(total / finite.sum(axis=1).clip(1))


def diffusion_mask(
    mean_b0: np.ndarray, given: np.ndarray | None, label: str, voxel_volume: float
) -> tuple[np.ndarray, str]:
    """Return the brain mask and how it was found.

    Parameters
    ----------
    mean_b0
        (X, Y, Z), mean of the volumes without diffusion weighting, finite.
    given
        (X, Y, Z) bool, the person's own mask, or None: then the non-zero voxels of an already extracted
        brain (where they are not more than a brain can be), or, with a background, the bright voxels by Otsu's threshold of the median-filtered image.
    label
        Subject and image, for error messages.
    voxel_volume
        mm^3.

    Returns
    -------
    mask
        (X, Y, Z) bool, always with a positive mean b=0 signal.
    source
        One line for the sidecar.

    Raises
    ------
    UserError
        When no voxel is left.
    """
    positive = mean_b0 > 0
    if given is not None:
        mask, source = given & positive, "given mask, mean b=0 signal above zero"
    elif np.mean(mean_b0 == 0) >= _ZERO_SHARE and positive.sum() * voxel_volume <= 1e6 * BRAIN_LITRES[1]:
        mask, source = positive, "non-zero voxels of the mean b=0 image (background already removed)"
    else:
        from dipy.segment.mask import median_otsu

        found = median_otsu(mean_b0, median_radius=2, numpass=1)[1].astype(bool)
        mask, source = found & positive, "Otsu threshold of the median-filtered mean b=0 image"
    if not mask.any():
        raise UserError(f"{label}: no voxel has a positive mean b=0 signal inside the mask; check dwi_mask")
    return mask, source
