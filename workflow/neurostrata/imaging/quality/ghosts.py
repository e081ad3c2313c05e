"""Ghosts: shifted copies of a head inside its own brain, as motion and pulsation leave them along the phase-encoding axis."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from neurostrata.imaging.quality.scan import averaged, block_factors

#: Standard deviations, in voxels of 2 mm, of what is taken off to leave edges, and of the neighbourhoods that the template is fitted in.
EDGES, NEIGHBOURHOOD = 1.5, 3.0
#: Weight of the mean power of the image that is added before dividing by the power: large enough that weak frequencies do not count.
REGULARISATION = 10.0
#: Shifts in which a ghost is looked for, as shares of the brain's extent: nearer ones are anatomy and errors of the registration.
SHIFTS = (0.1, 0.8)
#: Shifts at which less than this share of the brain lies on the brain are left out.
LEAST_OVERLAP = 0.03


def ghosting(data: np.ndarray, expected: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> float:
    """Return how much the most conspicuous pair of shifted copies stands out, in standard deviations of other shifts.

    What the registered template does not explain in the brain is compared with the image itself: the residual is deconvolved by
    the image (Wiener), which gives one narrow peak at the shift of a ghost, whatever that is; it may no longer be half the field of
    view. Copies on both sides are added. Only shifts along an axis of the image count; those beside the axis tell the chance
    level.

    Parameters
    ----------
    data
        (X, Y, Z) image in its own space, bias field divided out.
    expected
        (X, Y, Z) the template in that space: any intensities that follow the tissues.
    mask
        (X, Y, Z) bool: the brain.
    spacing
        Voxel sides in mm.

    Returns
    -------
    float
        About 3 to 5 without ghosts. NaN where the brain is smaller than a few centimetres.
    """
    factors = block_factors(spacing)
    image, template, share = (averaged(part.astype(np.float32), factors) for part in (data, expected, mask))
    if not (image > 0).any():
        return float("nan")
    box = ndimage.find_objects((image > 0).astype(np.uint8))[0]
    image, template, share = image[box], template[box], share[box]
    present, brain = image > 0, ndimage.binary_erosion(share > 0.5, iterations=2)
    if brain.sum() < 5000:
        return float("nan")
    source = _edges(image, present)
    rest = _unexplained(_edges(image, brain), _edges(template, brain), brain)
    limit = 3 * float(rest[brain].std())
    rest = np.clip(rest, -limit, limit)
    shape = [fft.next_fast_len(2 * side, real=True) for side in brain.shape]
    spectrum = fft.rfftn(source, shape)
    power = np.abs(spectrum) ** 2
    quotient = fft.rfftn(rest, shape) * np.conj(spectrum) / (power + REGULARISATION * power.mean())
    response = fft.irfftn(quotient, shape)
    overlap = fft.irfftn(np.abs(fft.rfftn(brain.astype(np.float32), shape)) ** 2, shape) / brain.sum()
    enough = overlap > LEAST_OVERLAP
    response = np.where(enough, response / np.maximum(overlap, LEAST_OVERLAP), 0)
    response += np.roll(response[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))
    sides = [int(np.ptp(np.flatnonzero(brain.any(axis=others)))) for others in ((1, 2), (0, 2), (0, 1))]
    return max(_peak(response, enough, axis, sides[axis]) for axis in range(3))


def _mean_around(values: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Return the weighted mean of the inner voxels around each voxel."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(inside, values, 0).astype(np.float32), sigma)
    return np.asarray(total / np.maximum(weight, 1e-3))


def _edges(data: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.where(inside, data - _mean_around(data, inside, EDGES), 0)


def _unexplained(data: np.ndarray, expected: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return data minus the straight line of `expected` that fits best around each voxel."""
    first = _mean_around(data, inside, NEIGHBOURHOOD)
    second = _mean_around(expected, inside, NEIGHBOURHOOD)
    covariance = _mean_around(data * expected, inside, NEIGHBOURHOOD) - first * second
    variance = _mean_around(expected * expected, inside, NEIGHBOURHOOD) - second * second
    slope = covariance / np.maximum(variance, 1e-3 * max(float(np.median(variance[inside])), 1e-12))
    return np.where(inside, data - first - slope * (expected - second), 0)


def _peak(response: np.ndarray, enough: np.ndarray, axis: int, side: int) -> float:
    """Return the highest value on an axis above those around it, in standard deviations of all within 5 voxels of the axis."""
    window = [np.arange(-5, 6)] * 3
    window[axis] = np.arange(max(6, round(SHIFTS[0] * side)), max(8, round(SHIFTS[1] * side)))
    lags = np.ix_(*window)
    part = response[lags]
    difference = part - ndimage.uniform_filter(part, 7, mode="nearest")
    line: list[int | slice] = [5, 5, 5]
    line[axis] = slice(None)
    chance = float(difference[enough[lags]].std()) if enough[lags].any() else 0.0
    return float(difference[tuple(line)].max()) / chance if chance > 0 else 0.0
