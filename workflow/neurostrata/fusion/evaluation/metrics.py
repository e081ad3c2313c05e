"""How well images are decoded (Dimitri 2022, 2.2): plain functions on scaled arrays.

Every function takes one person's image of one modality, shape (x, y, z), real and decoded.
"""

from __future__ import annotations

import numpy as np

#: Sides of the regions whose contrast is compared.
BLOCK = (4, 4, 3)
#: Voxels where real + decoded is not above this have no meaningful relative difference.
LEAST_SUM = 0.01


def mean_squared_error(real: np.ndarray, decoded: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return the mean squared difference over the whole image (as the paper), or over a mask."""
    squares = (real.astype(np.float64) - decoded) ** 2
    return float(squares.mean() if mask is None else squares[mask].mean())


def normalized_difference(
    real: np.ndarray, decoded: np.ndarray, mask: np.ndarray
) -> tuple[float, float, float]:
    """Return the voxelwise (decoded - real) / (decoded + real) inside the mask, collapsed by the median.

    Returns
    -------
    signed : float
        Median, as in the paper. Errors of either sign cancel in it.
    absolute : float
        Median of the absolute values, where they do not.
    excluded : float
        Share of the mask's voxels left out because real + decoded <= 0.01. All of them: the others are NaN.
    """
    inside_real, inside_decoded = real[mask].astype(np.float64), decoded[mask].astype(np.float64)
    total = inside_real + inside_decoded
    used = total > LEAST_SUM
    if not used.any():
        return float("nan"), float("nan"), 1.0
    difference = (inside_decoded - inside_real)[used] / total[used]
    return float(np.median(difference)), float(np.median(np.abs(difference))), float(1 - used.mean())


def block_pairs(mask: np.ndarray, number: int = 1000, seed: int = 1) -> np.ndarray:
    """Draw pairs of different 4x4x3 blocks of a regular grid that lie in the mask.

    Parameters
    ----------
    mask
        Brain mask, shape (x, y, z).
    number
        Pairs to draw, with replacement.
    seed
        Seed of the draw. The same pairs serve every person, modality and method.

    Returns
    -------
    ndarray, shape (number, 2, 3), int
        First voxel of each block. Blocks wholly in the mask; on grids so coarse that there are fewer
        than two, those at least half in it. Empty (0, 2, 3) when there are none of these either.
    """
    counts = [side // block for side, block in zip(mask.shape, BLOCK)]
    trimmed = mask[tuple(slice(0, count * block) for count, block in zip(counts, BLOCK))]
    cells = trimmed.reshape(counts[0], BLOCK[0], counts[1], BLOCK[1], counts[2], BLOCK[2])
    share = cells.mean(axis=(1, 3, 5))
    blocks = np.argwhere(share == 1)
    if len(blocks) < 2:
        blocks = np.argwhere(share >= 0.5)
    if len(blocks) < 2:
        return np.zeros((0, 2, 3), int)
    generator = np.random.default_rng(seed)
    first = generator.integers(len(blocks), size=number)
    second = (first + generator.integers(1, len(blocks), size=number)) % len(blocks)
    return np.stack([blocks[first], blocks[second]], axis=1) * np.array(BLOCK)


def contrast_to_noise(image: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return |mean1 - mean2| / sd of both blocks' voxels together, one value per pair.

    Parameters
    ----------
    image
        Shape (x, y, z).
    pairs
        From :func:`block_pairs`.

    Returns
    -------
    ndarray, shape (pairs,)
        The paper's signed difference has a median near 0 for randomly drawn pairs, hence the absolute
        value. NaN where both blocks are constant and equal.
    """
    counts = [side // block for side, block in zip(image.shape, BLOCK)]
    trimmed = image[tuple(slice(0, count * block) for count, block in zip(counts, BLOCK))].astype(np.float64)
    cells = trimmed.reshape(counts[0], BLOCK[0], counts[1], BLOCK[1], counts[2], BLOCK[2])
    means, variances = cells.mean(axis=(1, 3, 5)), cells.var(axis=(1, 3, 5))
    index = tuple(np.moveaxis(pairs // np.array(BLOCK), -1, 0))  # three arrays (pairs, 2)
    mean, variance = means[index], variances[index]
    gap = np.abs(mean[:, 0] - mean[:, 1])
    # Both blocks are equally large: variance of the union = mean variance + squared half gap.
    spread = np.sqrt(variance.mean(axis=1) + (gap / 2) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-12, gap / spread, np.nan)


def contrast_difference(
    real: np.ndarray, decoded: np.ndarray, pairs: np.ndarray
) -> tuple[float, float, float]:
    """Compare the median contrast-to-noise ratio of a real and a decoded image.

    Returns
    -------
    difference : float
        (decoded - real) / (decoded + real) of the medians.
    real, decoded : float
        The medians, over the pairs defined in the image. NaN when there are none.
    """
    medians = []
    for image in (real, decoded):
        values = contrast_to_noise(image, pairs)
        values = values[np.isfinite(values)]
        medians.append(float(np.median(values)) if len(values) else float("nan"))
    total = medians[0] + medians[1]
    difference = (medians[1] - medians[0]) / total if np.isfinite(total) and total > 0 else float("nan")
    return difference, medians[0], medians[1]


def structural_similarity(real: np.ndarray, decoded: np.ndarray) -> float:
    """Return the mean windowed SSIM over the whole image (3-D Gaussian, sd 1.5, 11 voxels, data range 1).

    The same number as torchmetrics' structural_similarity_index_measure gives; the window is applied
    axis by axis here, which is some forty times less work.
    """
    from scipy.ndimage import gaussian_filter

    a, b = real.astype(np.float64), decoded.astype(np.float64)

    def smooth(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 1.5, mode="mirror", radius=5)

    mean_a, mean_b = smooth(a), smooth(b)
    variance_a, variance_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return float(similarity.mean())


def peak_signal_to_noise(real: np.ndarray, decoded: np.ndarray) -> float:
    """Return the PSNR in dB for a data range of 1; NaN, not infinity, for equal images."""
    error = mean_squared_error(real, decoded)
    return float(-10 * np.log10(error)) if error > 0 else float("nan")
