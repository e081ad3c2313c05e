"""Measures of a person's registration to the template: likeness, overlap, size, pose, deformation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from neurostrata.imaging.anatomy.jacobian import SMALLEST_DETERMINANT, log_jacobian
from neurostrata.imaging.images.io import Image
from neurostrata.imaging.quality.scan import around, averaged, block_factors, spread
from neurostrata.imaging.registration.chain import similarity
from neurostrata.imaging.registration.transforms import Displacement, rigid_and_stretch

#: Standard deviation, mm, of the Gaussian that averages along the edge of a mask.
EDGE_MM = 4.0


class Template(NamedTuple):
    """The study template: image, brain mask (bool) and tissue priors (grey, white, fluid), all (X, Y, Z) on its grid."""

    image: Image
    mask: np.ndarray
    priors: tuple[np.ndarray, ...]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return the overlap of two masks, 2 |A and B| / (|A| + |B|)."""
    total = float(first.sum() + second.sum())
    return 2 * float((first & second).sum()) / total if total else float("nan")


def local_likeness(image: np.ndarray, template: Image, mask: np.ndarray) -> float:
    """Return the 5th percentile of the correlation with the template in neighbourhoods of 10 mm inside the mask, at 2 mm.

    A part of the brain that was registered badly, or that differs, lowers it and hardly the correlation of the whole.
    """
    factors = block_factors(template.grid.spacing)
    own, theirs, share = (averaged(part.astype(np.float32), factors) for part in (image, template.data, mask))
    inside = share > 0.5
    sigma = 10 / 2.3548 / (template.grid.spacing * factors)
    weights = ndimage.gaussian_filter(inside.astype(np.float32), sigma)

    def mean(values: np.ndarray) -> np.ndarray:
        smooth = ndimage.gaussian_filter(np.where(inside, values, 0), sigma)
        return np.asarray(smooth[inside] / weights[inside], dtype=np.float64)

    first, second = mean(own), mean(theirs)
    covariance = mean(own * theirs) - first * second
    variances = np.maximum(mean(own**2) - first**2, 0) * np.maximum(mean(theirs**2) - second**2, 0)
    floor = 1e-6 * float(np.median(variances))
    correlation = np.where(variances > floor, covariance / np.sqrt(np.maximum(variances, floor)), 0.0)
    return float(np.percentile(correlation, 5))


def rotation_degrees(affine: np.ndarray) -> float:
    """Return the angle of the rotation in an affine from template to person, in degrees."""
    rotation, _ = rigid_and_stretch(affine)
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def shear(affine: np.ndarray) -> float:
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
    """
    determinants = jacobian[mask]
    low, high = np.percentile(determinants, [1, 99])
    return {
        "warp": float(np.median(np.linalg.norm(warp.vectors[mask], axis=1))),
        "warp_spread": float(np.std(log_jacobian(determinants))),
        "jacobian_low": max(float(low), SMALLEST_DETERMINANT),
        "jacobian_high": max(float(high), SMALLEST_DETERMINANT),
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
        ``snr`` of white matter, ``cnr`` and ``cjv`` (coefficient of joint variation, Ganzetti et al. 2016), of medians and
        robust standard deviations. NaN where a tissue has fewer than 100 voxels; `cnr` and `cjv` also where white matter is no
        brighter than grey matter.
    """
    values = [image[(prior > 0.8) & (image > 0)] for prior in (grey, white)]
    if min(len(v) for v in values) < 100:
        return dict.fromkeys(("snr", "cnr", "cjv"), float("nan"))
    middle = [float(np.median(v)) for v in values]
    sds = [spread(v) for v in values]
    gap = middle[1] - middle[0]
    usable = gap > 0 and min(sds) > 0
    return {
        "snr": middle[1] / sds[1] if sds[1] > 0 else float("nan"),
        "cnr": gap / float(np.hypot(sds[0], sds[1])) if usable else float("nan"),
        "cjv": sum(sds) / gap if usable else float("nan"),
    }


def mask_cut(mask: np.ndarray, expected: np.ndarray, spacing: np.ndarray) -> float:
    """Return how deep in the brain parts of a mask's edge lie, by the template: high where the mask cut brain off.

    The template is dim at the brain's edge, where there is fluid.

    Parameters
    ----------
    mask
        (X, Y, Z) bool: the person's own brain mask.
    expected
        (X, Y, Z) the template in the person's space.
    spacing
        Voxel sides in mm.

    Returns
    -------
    float
        The template's intensity at the mask's edge, as a share of the 90th percentile of the whole mask and at most 1, averaged along
        the edge (Gaussian, standard deviation 4 mm): 95th percentile. NaN for an empty mask.
    """
    inner = float(np.percentile(expected[mask], 90)) if mask.any() else 0.0
    if inner <= 0:
        return float("nan")
    box = around(mask)
    edge = (mask & ~ndimage.binary_erosion(mask))[box]
    sigma = EDGE_MM / spacing
    depth = ndimage.gaussian_filter(
        np.where(edge, np.clip(expected[box] / inner, 0, 1), 0).astype(np.float32), sigma
    )
    weight = ndimage.gaussian_filter(edge.astype(np.float32), sigma)
    return float(np.percentile(depth[edge] / weight[edge], 95))


def tissue_overlap(image: np.ndarray, priors: Sequence[np.ndarray], mask: np.ndarray) -> tuple[float, ...]:
    """Return the Dice overlap of each tissue of an image in template space with the template's.

    The image is divided into as many classes as there are priors by its intensities alone (k-means that starts from the mean
    intensity where each prior is high), so that the overlap depends on where the tissues are.

    Parameters
    ----------
    image
        (X, Y, Z) the person's image in template space.
    priors
        Tissue probabilities on the same grid.
    mask
        (X, Y, Z) bool: the template's brain.
    """
    values = image[mask].astype(float)
    stacked = np.stack([prior[mask] for prior in priors])
    expected = stacked.argmax(axis=0)
    centres = np.array([np.average(values, weights=prior + 1e-9) for prior in stacked])
    classes = expected
    for _ in range(10):
        classes = np.abs(values[None] - centres[:, None]).argmin(axis=0)
        centres = np.array(
            [values[classes == k].mean() if (classes == k).any() else centres[k] for k in range(len(centres))]
        )
    present = stacked.sum(axis=0) > 0.5
    return tuple(
        dice((classes == k) & present & (values > 0), (expected == k) & present) for k in range(len(stacked))
    )


def placement_measures(
    affine: np.ndarray, warp: Displacement, warped: np.ndarray, jacobian: np.ndarray, template: Template
) -> dict[str, float]:
    """Return the measures of a person's registration.

    Parameters
    ----------
    affine, warp
        From the template to the person; the warp on the template's grid.
    warped, jacobian
        (X, Y, Z) registered image, and determinant of the non-linear deformation, on the template's grid.
    template
        What the person was registered to.
    """
    grey, white, _ = template.priors
    overlaps = tissue_overlap(warped, template.priors, template.mask)
    return {
        **contrast(warped, grey, white),
        "similarity": similarity(warped, template.image.data, template.mask),
        "local_similarity": local_likeness(warped, template.image, template.mask),
        "grey_overlap": overlaps[0],
        "white_overlap": overlaps[1],
        "rotation": rotation_degrees(affine),
        "shear": shear(affine),
        "size": float(abs(np.linalg.det(affine[:3, :3]))),
        **deformation(warp, jacobian, template.mask),
    }
