"""Measures of a person's registration to the template: likeness, overlap, size, pose, deformation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from neurostrata.imaging.anatomy.jacobian import log_jacobian
from neurostrata.imaging.images.io import Grid
from neurostrata.imaging.registration.transforms import Displacement, rigid_and_stretch


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return the overlap of two masks, 2 |A and B| / (|A| + |B|)."""
    total = float(first.sum() + second.sum())
    return 2 * float((first & second).sum()) / total if total else float("nan")


def local_likeness(
    image: np.ndarray, template: np.ndarray, mask: np.ndarray, grid: Grid
) -> tuple[float, float]:
    """Return the median and the 5th percentile of the correlation in neighbourhoods of 10 mm inside the mask.

    A part of the brain that was registered badly, or that differs, lowers the percentile and hardly the correlation of the whole.
    """
    sigma = 10 / 2.3548 / grid.spacing
    weights = ndimage.gaussian_filter(mask.astype(np.float32), sigma)

    def mean(values: np.ndarray) -> np.ndarray:
        smooth = ndimage.gaussian_filter(np.where(mask, values, 0).astype(np.float32), sigma)
        return np.asarray(smooth[mask] / weights[mask], dtype=np.float64)

    first, second = mean(image), mean(template)
    covariance = mean(image * template) - first * second
    variances = np.maximum(mean(image**2) - first**2, 0) * np.maximum(mean(template**2) - second**2, 0)
    floor = 1e-6 * float(np.median(variances))
    correlation = np.where(variances > floor, covariance / np.sqrt(np.maximum(variances, floor)), 0.0)
    return float(np.median(correlation)), float(np.percentile(correlation, 5))


def rotation_degrees(affine: np.ndarray) -> float:
    """Return the angle of the rotation in an affine from template to person, in degrees."""
    rotation, _ = rigid_and_stretch(affine)
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def anisotropy(affine: np.ndarray) -> float:
    """Return the largest over the smallest stretch of an affine: high where the fit was distorted."""
    _, stretch = rigid_and_stretch(affine)
    sizes = np.linalg.eigvalsh(stretch)
    return float(sizes.max() / sizes.min())


def deformation(warp: Displacement, jacobian: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return measures of the non-linear deformation inside the mask.

    Parameters
    ----------
    warp
        Displacement on the template's grid, mm.
    jacobian
        (X, Y, Z) determinant of the non-linear deformation.
    mask
        (X, Y, Z) bool on the same grid.

    Returns
    -------
    dict
        ``warp_mm`` (median length of the displacement), ``log_jacobian_sd``, ``jacobian_low`` and ``jacobian_high`` (1st and 99th
        percentile of the determinant), ``folded`` (share of determinants at or below 0).
    """
    determinants = jacobian[mask]
    low, high = np.percentile(determinants, [1, 99])
    return {
        "warp_mm": float(np.median(np.linalg.norm(warp.vectors[mask], axis=1))),
        "log_jacobian_sd": float(np.std(log_jacobian(determinants))),
        "jacobian_low": float(low),
        "jacobian_high": float(high),
        "folded": float(np.mean(determinants <= 0)),
    }


def contrast(image: np.ndarray, grey: np.ndarray, white: np.ndarray) -> dict[str, float]:
    """Return how well grey and white matter differ in an image on the template's grid.

    Parameters
    ----------
    image
        (X, Y, Z) the person's image in template space.
    grey, white
        (X, Y, Z) tissue priors of the template; voxels above 0.8 count.

    Returns
    -------
    dict
        ``cnr`` (difference of the medians over the root of the summed variances) and ``cjv`` (coefficient of joint variation: sum
        of the standard deviations over the difference of the means, Ganzetti et al. 2016); robust estimates.
    """
    values = [image[(prior > 0.8) & (image > 0)] for prior in (grey, white)]
    if min(len(v) for v in values) < 100:
        return {"cnr": float("nan"), "cjv": float("nan")}
    middle = [float(np.median(v)) for v in values]
    sds = [1.4826 * float(np.median(np.abs(v - m))) for v, m in zip(values, middle)]
    gap = middle[1] - middle[0]
    return {
        "cnr": gap / float(np.hypot(*sds)),
        "cjv": sum(sds) / gap if gap > 0 else float("inf"),
    }
