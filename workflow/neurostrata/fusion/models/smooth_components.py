"""Components of images from few people: the sample covariance, regularised by a smooth prior (ours).

With n people the sample covariance of v >> n voxels has rank n - 1, and all but its first components are mostly
chance. Differences between brains are known to be smooth, similar in the two halves, and related between
modalities. So the components are those of

    (1 - w) S + w t (C (x) G)

with S the sample covariance (of the people and, with `mirror`, their mirror images), G a Gaussian kernel in
space, C the correlation between modalities, t the scale that gives both terms the same trace. w, the width of
G and `mirror` are chosen by cross-validation within the training people; w = 0 is PCA.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Weights of the prior and widths (FWHM, voxels of a grid of 32) that are tried.
WEIGHTS = (0.5, 0.8, 0.9, 0.97)
WIDTHS = (2.0, 4.0, 6.0, 9.0)
#: The weakest prior that decodes at least this share of what the best one decodes is taken: the more weight the
#: prior has, the less the components show of these people in particular.
AS_GOOD = 0.95
#: Folds that choose between them.
FOLDS = 3
#: The choice is made on a grid with sides of about so many voxels.
COARSE_SIDE = 32
#: Orthogonal iterations, from scratch and from the components of a similar covariance.
ITERATIONS, FEWER_ITERATIONS = 6, 3
_EXTRA = 8  # vectors beyond those returned: the last ones converge slowly


@dataclass(frozen=True)
class Prior:
    """The prior that regularises the sample covariance.

    Attributes
    ----------
    weight
        0 (PCA) to 1 (the prior alone).
    width
        FWHM of the Gaussian kernel, voxels.
    mirror
        Whether people's mirror images count as people.
    """

    weight: float = 0.0
    width: float = 0.0
    mirror: bool = False


def mirrored(rows: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mirror images (left-right, the grid's first axis) of rows (people, modalities, voxels of the mask).

    Values shifted out of the mask are lost, values shifted in are 0.
    """
    where = np.full(mask.shape, -1)
    where[mask] = np.arange(mask.sum())
    source = where[::-1][mask]
    return np.where(source >= 0, rows[..., source], np.float32(0))


def modality_correlation(rows: np.ndarray) -> np.ndarray:
    """Return the correlation of the modalities' differences, over people and voxels, shape (modalities, modalities)."""
    products = np.einsum("pmv,pnv->mn", rows, rows, optimize=True).astype(np.float64)
    scale = np.sqrt(np.diag(products)).clip(1e-12)
    return products / np.outer(scale, scale)


def _blur(side: int, sigma: float) -> np.ndarray:
    """Return the matrix that convolves `side` numbers with a Gaussian cut at three sigma, zeros outside."""
    radius = int(3 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    kernel /= 2 * kernel.sum() - kernel[0]
    distance = np.abs(np.subtract.outer(np.arange(side), np.arange(side)))
    return np.where(distance <= radius, kernel[distance.clip(max=radius)], 0).astype(np.float32)


def _smoothed(vectors: np.ndarray, mask: np.ndarray, sigma: float, correlation: np.ndarray) -> np.ndarray:
    """Return (C (x) G) applied to vectors (modalities * voxels, number)."""
    modalities = len(correlation)
    parts = vectors.reshape(modalities, -1, vectors.shape[1])
    mixed = np.tensordot(correlation.astype(np.float32), parts, axes=1)
    result = np.empty_like(mixed)
    # Only the mask's box: outside there is nothing to smooth, and nothing is kept.
    box = mask[tuple(slice(where.min(), where.max() + 1) for where in np.nonzero(mask))]
    blur_x, blur_y, blur_z = (_blur(side, sigma) for side in box.shape)
    images = np.zeros((vectors.shape[1], *box.shape), np.float32)
    for modality in range(modalities):
        images[:, box] = mixed[modality].T
        smooth = blur_y @ (images @ blur_z)
        smooth = (blur_x @ smooth.reshape(len(images), len(blur_x), -1)).reshape(images.shape)
        result[modality] = smooth[:, box].T
    return result.reshape(vectors.shape)


def smooth_components(
    rows: np.ndarray,
    mask: np.ndarray,
    number: int,
    prior: Prior,
    seed: int,
    start: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the leading components of the helped covariance by orthogonal iteration.

    Parameters
    ----------
    rows
        (people, modalities, voxels of the mask), float32, centred over people.
    mask
        (x, y, z) bool.
    number
        How many components; without a prior at most as many as there are people (and mirror images) less one.
    prior
        See :class:`Prior`.
    seed
        Seed of the starting vectors.
    start
        Components of a similar covariance, to start from.

    Returns
    -------
    components : ndarray, shape (number, modalities * voxels), float32
        Orthonormal rows.
    variance : ndarray, shape (number,)
        Variance of each in the regularised covariance.
    """
    correlation = modality_correlation(rows)
    people = rows
    if prior.mirror:
        people = np.concatenate([rows, mirrored(rows, mask)])
    flat = people.reshape(len(people), -1)
    total = float(np.einsum("pv,pv->", flat, flat, optimize=True)) / len(flat)
    sigma = prior.width / np.sqrt(8 * np.log(2))
    scale = 0.0
    if prior.weight:
        peak = np.zeros((31, 31, 31), np.float32)
        peak[15, 15, 15] = 1
        at_zero = float(ndimage.gaussian_filter(peak, sigma, mode="constant", truncate=3)[15, 15, 15])
        scale = prior.weight * total / (flat.shape[1] * at_zero)
    else:
        number = min(number, len(flat) - 1)

    def covariance(vectors: np.ndarray) -> np.ndarray:
        result = (1 - prior.weight) / len(flat) * (flat.T @ (flat @ vectors))
        if prior.weight:
            result += np.float32(scale) * _smoothed(vectors, mask, sigma, correlation)
        return result

    size = min(number + _EXTRA, flat.shape[1])
    random = np.random.default_rng(seed).normal(size=(flat.shape[1], size)).astype(np.float32)
    vectors = (
        random if start is None else np.concatenate([start.T, random[:, : max(size - len(start), 0)]], axis=1)
    )
    vectors, _ = np.linalg.qr(vectors)
    for _ in range(ITERATIONS if start is None else FEWER_ITERATIONS):
        vectors, _ = np.linalg.qr(covariance(vectors))
    small = vectors.T @ covariance(vectors)
    values, rotation = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(values)[::-1][:number]
    components = np.ascontiguousarray((vectors @ rotation[:, order]).T)
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    return components, values[order].clip(1e-12)


def _coarse(rows: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Average rows over blocks so that the grid's sides are about :data:`COARSE_SIDE`; return rows, mask, side of a block."""
    block = max(1, round(max(mask.shape) / COARSE_SIDE))
    if block == 1:
        return rows, mask, 1
    padding = [(0, -side % block) for side in mask.shape]

    def blocks(image: np.ndarray) -> np.ndarray:
        padded = np.pad(image, padding)
        x, y, z = (side // block for side in padded.shape)
        return padded.reshape(x, block, y, block, z, block).sum(axis=(1, 3, 5))

    inside = blocks(mask.astype(np.float32))
    coarse = inside >= block**3 / 2
    result = np.empty((*rows.shape[:2], int(coarse.sum())), np.float32)
    image = np.zeros(mask.shape, np.float32)
    for person in range(len(rows)):
        for modality in range(rows.shape[1]):
            image[mask] = rows[person, modality]
            result[person, modality] = (blocks(image)[coarse]) / inside[coarse]
    return result, coarse, block


def choose_prior(
    rows: np.ndarray, mask: np.ndarray, number: int, seed: int
) -> tuple[Prior, list[dict[str, float]]]:
    """Choose the prior by cross-validation: the weakest that decodes held-out people about as well as the best.

    See :data:`AS_GOOD`.

    Parameters
    ----------
    rows
        (people, modalities, voxels), standardised differences from the mean.
    mask
        (x, y, z) bool.
    number
        Components.
    seed
        Seed of the folds.

    Returns
    -------
    prior : Prior
        Width in voxels of `mask`'s grid.
    tried : list of dict
        weight, width, mirror, and the mean share of held-out squared differences that is decoded.
    """
    coarse, inside, block = _coarse(rows, mask)
    folds = np.random.default_rng([seed, 5]).permutation(len(coarse)) % min(FOLDS, len(coarse))
    unit = max(inside.shape) / COARSE_SIDE
    candidates = [Prior(mirror=mirror) for mirror in (False, True)]
    candidates += [Prior(w, s * unit, mirror) for mirror in (False, True) for s in WIDTHS for w in WEIGHTS]
    errors = np.empty((len(candidates), len(coarse)))
    usual = np.empty(len(coarse))
    for fold in np.unique(folds):
        learning, held_out = coarse[folds != fold], coarse[folds == fold]
        mean = learning.mean(axis=0)
        tested = (held_out - mean).reshape(len(held_out), -1)
        usual[folds == fold] = (tested**2).sum(axis=1)
        start = None
        for position, candidate in enumerate(candidates):
            start, _ = smooth_components(learning - mean, inside, number, candidate, seed, start)
            scores = tested @ start.T
            errors[position, folds == fold] = usual[folds == fold] - (scores**2).sum(axis=1)
    decoded = 1 - errors.mean(axis=1) / usual.mean()
    good = [
        (c.weight, -share, c) for c, share in zip(candidates, decoded) if share >= AS_GOOD * decoded.max()
    ]
    chosen = min(good, key=lambda entry: entry[:2])[2] if decoded.max() > 0 else candidates[0]
    tried = [
        {
            "weight": c.weight,
            "width": c.width * block,
            "mirror": float(c.mirror),
            "decoded": float(share),
        }
        for c, share in zip(candidates, decoded)
    ]
    return Prior(chosen.weight, chosen.width * block, chosen.mirror), tried
