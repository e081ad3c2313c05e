"""Measures of a T1-weighted image in its own space: noise, sharpness, bias field, the edge of its brain mask.

None needs a reference image, and none needs air around the head: images may come with the skull removed.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from neurostrata.imaging.images.io import Image
from neurostrata.imaging.quality.registry import MAD_TO_SD

#: Below this many voxels a measure is not taken.
FEWEST_VOXELS = 200
#: Voxel side, mm, to which finer images are averaged where detail does not count.
AVERAGED_MM = 2.0
#: Thickness of the end of a mask, mm, and area of what may stick out of it, mm^2.
FACET_MM, STRAY_MM2 = 2.0, 60.0


def spread(values: np.ndarray) -> float:
    """Return the standard deviation of normal values, estimated by their median absolute deviation."""
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


def block_factors(spacing: np.ndarray) -> np.ndarray:
    """Return how many voxels along each axis make up about :data:`AVERAGED_MM`, from the voxel sides in mm."""
    return np.maximum(1, np.rint(AVERAGED_MM / spacing)).astype(int)


def tissue_level(data: np.ndarray, mask: np.ndarray) -> float:
    """Return the intensity of white matter: the upper mode of the intensities inside the mask.

    Other measures are divided by it, so that they do not depend on the scanner's unit.
    """
    values = data[mask]
    low, high = np.percentile(values, [50, 99.5])
    if high <= low:
        return float(high)
    counts, edges = np.histogram(values, bins=64, range=(low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 2)
    best = int(smooth[4:].argmax()) + 4
    return float((edges[best] + edges[best + 1]) / 2)


def noise(data: np.ndarray, mask: np.ndarray, level: float) -> float:
    """Return the standard deviation of the noise relative to white matter.

    Second differences along each axis, (-1, 2, -1) / sqrt(6), are near zero in smooth tissue; the noise remains. They are
    taken inside homogeneous tissue: voxels of the eroded mask within 20% of the white matter's intensity, whose neighbours are too.

    Returns
    -------
    float
        NaN with fewer than 200 such voxels.
    """
    smooth = ndimage.gaussian_filter(data, 1)
    tissue = ndimage.binary_erosion(mask & (np.abs(smooth - level) < 0.2 * level))
    if tissue.sum() < FEWEST_VOXELS:
        return float("nan")
    spreads = []
    for axis in range(3):
        second = ndimage.convolve1d(data, np.array([-1.0, 2.0, -1.0]) / np.sqrt(6), axis=axis)
        spreads.append(spread(second[tissue]))
    return float(np.sqrt(np.mean(np.square(spreads)))) / level


def sharpness(data: np.ndarray, mask: np.ndarray, spacing: np.ndarray, noise_sd: float = 0.0) -> float:
    """Return how much of the gradient at 2 mm smoothing a finer scale adds: low in blurred images.

    Parameters
    ----------
    spacing
        Voxel sides in mm.
    noise_sd
        Standard deviation of the noise in units of `data`; its share of the finer gradient's energy is taken out.

    Returns
    -------
    float
        Root mean square gradient of the image over that of the image smoothed to 6 mm (FWHM), inside the eroded mask.
    """
    inside = ndimage.binary_erosion(mask, iterations=2)
    if inside.sum() < FEWEST_VOXELS:
        return float("nan")
    fine = [g[inside] for g in np.gradient(data, *spacing)]
    coarse_image = ndimage.gaussian_filter(data, 6 / 2.3548 / spacing)
    coarse = [g[inside] for g in np.gradient(coarse_image, *spacing)]
    # A central difference of noise has the variance sd^2 / (2 h^2).
    of_noise = noise_sd**2 * float(np.sum(0.5 / np.square(spacing)))
    energy = float(sum(np.mean(np.square(g)) for g in fine)) - of_noise
    below = float(sum(np.mean(np.square(g)) for g in coarse))
    return float(np.sqrt(max(energy, 1e-12) / below)) if below > 0 else float("nan")


def cut_off(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Return how flat the mask's flattest end is: large where the field of view cut the brain.

    Parameters
    ----------
    mask
        (X, Y, Z) bool: the brain.
    spacing
        Voxel sides in mm.

    Returns
    -------
    float
        Largest area of the mask's outermost 2 mm in any direction within 24 degrees of an axis of the image, relative to the
        largest slice across that axis. A whole brain tapers off; a cut one ends in a plane, which is oblique where the image was
        rotated afterwards. NaN for an empty mask.
    """
    mask = _at_2mm(mask, spacing)
    if not mask.any():
        return float("nan")
    spacing = np.full(3, AVERAGED_MM)
    volume = float(np.prod(spacing))
    shell = np.argwhere(mask & ~ndimage.binary_erosion(mask, iterations=2)) * spacing
    # a few voxels that stick out are no end
    outermost = max(1, round(STRAY_MM2 / volume ** (2 / 3)))
    slopes = np.tan(np.deg2rad(np.arange(-24, 25, 3)))
    worst = 0.0
    for axis in range(3):
        first, second = (other for other in range(3) if other != axis)
        normals = np.zeros((len(slopes) ** 2, 3))
        normals[:, axis] = 1
        normals[:, first], normals[:, second] = (grid.ravel() for grid in np.meshgrid(slopes, slopes))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        largest = float(mask.sum(axis=(first, second)).max()) * volume / spacing[axis]
        heights = (shell @ normals.T).astype(np.float32)
        for towards in (heights, -heights):
            end = np.partition(towards, -outermost, axis=0)[-outermost]
            # a little less, or two layers of voxels would count where they are as thick as this
            area = float((towards > end - 0.95 * FACET_MM).sum(axis=0).max()) * volume / FACET_MM
            worst = max(worst, area / largest)
    return worst


def _at_2mm(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return a mask in voxels of :data:`AVERAGED_MM` a side, of which one layer is as thick as that whatever the image's voxels are."""
    factors = block_factors(spacing)
    share, spacing = averaged(mask.astype(np.float32), factors), spacing * factors
    steps = AVERAGED_MM / spacing
    if np.allclose(steps, 1, atol=1e-3):
        return share > 0.5
    sides = np.ceil(share.shape / steps - 1e-3).astype(int)
    first = (np.array(share.shape) - 1 - (sides - 1) * steps) / 2
    # the outermost voxels end at their edges, beyond which nothing is
    moved = ndimage.affine_transform(
        share, np.diag(steps), first, tuple(sides), order=1, mode="grid-constant"
    )
    return np.asarray(moved > 0.5)


def averaged(data: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the means of blocks of voxels; what is left over at the far ends is dropped."""
    if (factors == 1).all():
        return data
    sides = [side // factor for side, factor in zip(data.shape, factors)]
    kept = data[tuple(slice(0, side * factor) for side, factor in zip(sides, factors))]
    (x, y, z), (a, b, c) = sides, factors
    return np.asarray(kept.reshape(x, a, y, b, z, c).mean(axis=(1, 3, 5)), dtype=np.float32)


def mask_edge(data: np.ndarray, mask: np.ndarray, level: float) -> float:
    """Return the median intensity of the mask's outermost voxels relative to white matter.

    High where the mask cuts through tissue; low where it includes much that is no brain.
    """
    edge = mask & ~ndimage.binary_erosion(mask)
    return float(np.median(data[edge])) / level if edge.any() else float("nan")


def bias_spread(raw: np.ndarray, corrected: np.ndarray, mask: np.ndarray) -> float:
    """Return the standard deviation, inside the mask, of the logarithm of the bias field that was divided out."""
    inside = mask & (raw > 0) & (corrected > 0)
    if inside.sum() < FEWEST_VOXELS:
        return float("nan")
    return float(np.std(np.log(raw[inside] / corrected[inside])))


def around(mask: np.ndarray, margin: int = 4) -> tuple[slice, ...]:
    """Return the part of the grid that holds a mask, and a margin."""
    occupied = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(
        slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin) if places.size else slice(None)
        for places in occupied
    )


def scan_measures(raw: np.ndarray, prepared: Image, mask: np.ndarray) -> dict[str, float]:
    """Return the measures of a T1-weighted scan.

    Parameters
    ----------
    raw
        (X, Y, Z) the image as scanned.
    prepared
        The image with its bias field divided out, on the same grid.
    mask
        (X, Y, Z) bool: the brain.
    """
    box = around(mask)
    spacing = prepared.grid.spacing
    data, inside, scanned = (np.asarray(part)[box] for part in (prepared.data, mask, raw))
    data = data.astype(np.float32)
    level = tissue_level(data, inside)
    noise_share = noise(data, inside, level)
    measures = {
        "noise": noise_share,
        "sharpness": sharpness(data, inside, spacing, np.nan_to_num(noise_share) * level),
        "cut_off": cut_off(inside, spacing),
        "bias_spread": bias_spread(scanned, data, inside),
        "mask_edge": mask_edge(data, inside, level),
        "brain_volume": float(mask.sum()) * prepared.grid.voxel_volume / 1000,
    }
    return measures
