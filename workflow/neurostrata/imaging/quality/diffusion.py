"""Measures of a person's diffusion data: fit of the tensor, lost signal, gradient table, alignment with the T1w image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from neurostrata.gate.gradients import Gradients, find_shells
from neurostrata.imaging.diffusion.alignment import mutual_information
from neurostrata.imaging.images.io import Grid, Image, apply_affine, axis_aligned_grid, bounding_box
from neurostrata.imaging.images.series import SeriesFile
from neurostrata.imaging.quality.placement import dice
from neurostrata.imaging.quality.registry import MAD_TO_SD
from neurostrata.imaging.registration.transforms import resample, rigid_and_stretch

#: Most values of a series that are kept in memory; of larger ones the middle slices are.
MOST_VALUES = 40_000_000
#: Fractional anisotropy from which on a voxel has a direction.
DIRECTED = 0.25
#: Loss of a slice's signal from which on it counts as lost: as a share, and in robust standard deviations.
LOST = (0.1, 5.0)
#: Misfit of a volume from which on it is an outlier, in multiples of its shell's median.
MISFIT = 1.75


class Sample(NamedTuple):
    """What is kept of a diffusion series.

    Attributes
    ----------
    signals
        (voxels, volumes) of the mask in `slices`.
    slices
        Of the third axis.
    slice_means
        (slices, volumes) mean signal of the mask in every slice of the third axis; NaN where it has fewer than 50 voxels.
    """

    signals: np.ndarray
    slices: slice
    slice_means: np.ndarray


def read_sample(series: SeriesFile, mask: np.ndarray) -> Sample:
    """Read a series volume by volume and keep the middle of the brain, as far as memory allows.

    Parameters
    ----------
    series
        The file.
    mask
        (X, Y, Z) bool: the brain.
    """
    volumes = series.measurements
    counts = mask.sum(axis=(0, 1))
    low, high = _middle(counts, max(1, MOST_VALUES // volumes))
    inside = mask[:, :, low:high]
    signals = np.empty((int(inside.sum()), volumes), np.float32)
    means = np.full((mask.shape[2], volumes), np.nan)
    enough = counts >= 50
    for number, volume in enumerate(series.volumes()):
        signals[:, number] = volume[:, :, low:high][inside]
        sums = np.where(mask, volume, 0).sum(axis=(0, 1), dtype=float)
        means[enough, number] = sums[enough] / counts[enough]
    return Sample(np.nan_to_num(signals, posinf=0, neginf=0), slice(low, high), means)


def _middle(counts: np.ndarray, most: int) -> tuple[int, int]:
    """Return the slices around the middle of the brain that together have at most so many voxels, at least one."""
    filled = np.flatnonzero(counts)
    low, high = int(filled[0]), int(filled[-1]) + 1
    while high - low > 1 and counts[low:high].sum() > most:
        if counts[low:high].cumsum()[(high - low) // 2] > counts[low:high].sum() / 2:
            high -= 1
        else:
            low += 1
    return low, high


@dataclass(frozen=True, eq=False)
class Tensors:
    """Tensors of a sample's voxels.

    Attributes
    ----------
    directions
        (voxels, 3) main directions, in the coordinates of the gradient vectors.
    fa
        (voxels,) fractional anisotropy.
    b0
        (voxels,) mean signal without diffusion weighting.
    residuals
        (voxels, volumes) signal minus fit, as a share of `b0`.
    """

    directions: np.ndarray
    fa: np.ndarray
    b0: np.ndarray
    residuals: np.ndarray


def fit_tensors(signals: np.ndarray, gradients: Gradients) -> Tensors:
    """Fit tensors by least squares of the logarithm, weighted by the squared mean signal of each volume.

    One weight per volume instead of one per voxel and volume makes it one matrix product; the maps of a study are fitted
    by :func:`neurostrata.imaging.diffusion.tensor.tensor_maps`.

    Parameters
    ----------
    signals
        (voxels, volumes), with a positive mean signal without diffusion weighting.
    gradients
        Of these volumes.
    """
    b0 = signals[:, gradients.b0].mean(axis=1)
    relative = np.maximum(signals / b0[:, None], 1e-3)
    x, y, z = gradients.bvecs.T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    design = np.column_stack([np.ones(len(x)), -gradients.bvals[:, None] * design])
    weights = relative.mean(axis=0)[:, None]
    solver = np.linalg.pinv(weights * design) * weights.T
    coefficients = np.log(relative) @ solver.T.astype(np.float32)
    fitted = np.exp(np.clip(coefficients @ design.T.astype(np.float32), -20, 2))
    d = coefficients[:, 1:].astype(float)
    matrices = np.stack([d[:, [0, 3, 4]], d[:, [3, 1, 5]], d[:, [4, 5, 2]]], axis=1)
    values, vectors = np.linalg.eigh(matrices)
    values = np.clip(values, 0, None)
    middle = values.mean(axis=1, keepdims=True)
    squares = (values**2).sum(axis=1)
    spread = ((values - middle) ** 2).sum(axis=1)
    fa = np.sqrt(1.5 * np.divide(spread, squares, out=np.zeros_like(spread), where=squares > 0))
    return Tensors(vectors[:, :, 2], np.clip(fa, 0, 1), b0, relative - fitted)


def residual(residuals: np.ndarray) -> float:
    """Return the median over voxels of the root mean square of the residuals over volumes."""
    return float(np.median(np.sqrt(np.mean(np.square(residuals), axis=1))))


def outlying(residuals: np.ndarray, slice_means: np.ndarray, gradients: Gradients, gap: float) -> np.ndarray:
    """Return which volumes the tensor misses by far, or lost the signal of slices, (volumes,) bool.

    Parameters
    ----------
    residuals
        (voxels, volumes) as shares of the signal without diffusion weighting; NaN in volumes that were not fitted.
    slice_means
        (slices, volumes) mean signals.
    gradients
        Of all volumes.
    gap
        Smallest difference of the b-values of two shells.
    """
    found = np.zeros(len(gradients.bvals), bool)
    groups = [np.flatnonzero(gradients.b0), *(shell.members for shell in find_shells(gradients, gap))]
    with np.errstate(invalid="ignore"):
        misfit = np.median(np.abs(residuals), axis=0)
    for members in groups:
        if len(members) < 4:
            continue
        found[members] |= misfit[members] > MISFIT * np.median(misfit[members])
        means = slice_means[:, members]
        means = means[np.isfinite(means).all(axis=1) & (np.median(means, axis=1) > 0)]
        # The direction of a gradient makes volumes brighter or darker, alike in neighbouring slices.
        relative = np.log(np.maximum(means, 1e-6) / np.median(means, axis=1, keepdims=True))
        relative -= ndimage.median_filter(relative, size=(5, 1), mode="nearest")
        sd = MAD_TO_SD * np.median(np.abs(relative))
        found[members] |= (relative < -max(LOST[0], LOST[1] * sd)).any(axis=0)
    return found


def _continuity(index: np.ndarray, directions: np.ndarray, numbers: np.ndarray, steps: np.ndarray) -> float:
    """Return the mean of |cos| between the direction of a voxel and that of the voxel it points to, 0 where that has none."""
    total = 0.0
    for sign in (1, -1):
        reached = np.rint(index + sign * steps).astype(int)
        outside = ((reached < 0) | (reached >= numbers.shape)).any(axis=1)
        reached[outside] = 0
        neighbour = numbers[tuple(reached.T)]
        neighbour[outside] = -1
        cosine = np.abs((directions * directions[neighbour]).sum(axis=1))
        total += float(np.where(neighbour >= 0, cosine, 0).mean())
    return total / 2


def direction_coherence(directions: np.ndarray, mask: np.ndarray, grid: Grid) -> float:
    """Return how much better directions lead on to each other than with axes flipped or swapped.

    Along a fibre the voxel that a direction points to has about the same direction. With an axis of the gradient table
    flipped or two swapped, directions point out of their bundles. After Schilling et al. 2019 (Magn Reson Imaging
    58:82-89).

    Parameters
    ----------
    directions
        (voxels, 3) of the voxels in `mask`, in FSL's coordinates of gradients: the image's axes, the first one flipped where
        the affine has a positive determinant.
    mask
        (X, Y, Z) bool: where there is one main direction.
    grid
        Of the mask.

    Returns
    -------
    float
        Continuity as given, minus the largest of those with one axis flipped or two swapped; NaN with fewer than 200 voxels.
    """
    index = np.argwhere(mask)
    if len(index) < 200:
        return float("nan")
    numbers = np.full(mask.shape, -1)
    numbers[mask] = np.arange(len(index))
    # Flipping all three axes changes no direction, so that one flip is as good as the other two.
    changes = [np.diag(signs) for signs in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))]
    changes += [np.eye(3)[list(order)] for order in ((1, 0, 2), (2, 1, 0), (0, 2, 1))]
    scores = []
    for change in changes:
        turned = (directions @ change) * _flips(grid)
        steps = turned * (grid.spacing.min() / grid.spacing)
        steps = steps / np.abs(steps).max(axis=1, keepdims=True)
        scores.append(_continuity(index, turned, numbers, steps))
    return scores[0] - max(scores[1:])


def fibre_directions(
    directions: np.ndarray, fa: np.ndarray, mask: np.ndarray, grid: Grid, to_diffusion: np.ndarray
) -> dict[str, float]:
    """Return how the main directions of the brain are distributed, in the template's axes and mirrored at the midline.

    The fibres of all people run alike, so these means hardly differ between people; a gradient table with an axis flipped or two
    swapped, or a header that turns the image without its gradients, changes them by far more.

    Parameters
    ----------
    directions, fa
        (voxels, 3) main directions of the voxels in `mask`, in FSL's coordinates (:func:`direction_coherence`), and (voxels,)
        fractional anisotropy, which weights them.
    mask, grid
        (X, Y, Z) bool, and its grid.
    to_diffusion
        (4, 4) from world points of the template to those of the diffusion data.

    Returns
    -------
    dict
        Means of products of components: outwards (x, mirrored), forwards (y) and upwards (z); NaN with fewer than 200 voxels.
    """
    names = {
        "fibres_yy": (1, 1),
        "fibres_zz": (2, 2),
        "fibres_xy": (0, 1),
        "fibres_xz": (0, 2),
        "fibres_yz": (1, 2),
    }
    if len(fa) < 200:
        return dict.fromkeys(names, float("nan"))
    rotation, _ = rigid_and_stretch(to_diffusion)
    turned = (directions * _flips(grid)) @ (grid.affine[:3, :3] / grid.spacing).T @ rotation
    across = apply_affine(np.linalg.inv(to_diffusion) @ grid.affine, np.argwhere(mask).astype(float))[:, 0]
    turned[:, 0] *= np.sign(across - np.median(across))
    products = (turned * (fa / fa.sum())[:, None]).T @ turned
    return {name: float(products[place]) for name, place in names.items()}


def _flips(grid: Grid) -> np.ndarray:
    """Return the signs that bring FSL's coordinates of gradients to the image's axes."""
    return np.array([-1.0 if np.linalg.det(grid.affine[:3, :3]) > 0 else 1.0, 1.0, 1.0])


def alignment_measures(
    t1w: Image, t1w_mask: np.ndarray, b0: Image, b0_mask: np.ndarray, fa: Image, matrix: np.ndarray
) -> dict[str, float]:
    """Return measures of how well diffusion data lie on the T1w image, at 2 mm.

    Parameters
    ----------
    t1w, t1w_mask
        T1-weighted image and brain mask in its space.
    b0, b0_mask, fa
        Mean image without diffusion weighting, its mask and fractional anisotropy, on one grid.
    matrix
        (4, 4) from T1w world points to diffusion world points.
    """
    low, high = bounding_box(t1w_mask, t1w.grid.affine)
    grid = axis_aligned_grid(list(low - 10), list(high + 10), 2.0)

    def there(data: np.ndarray, own: Grid, to_own: np.ndarray | None = None) -> np.ndarray:
        return resample(Image(data.astype(np.float32), own), grid, to_own)

    brain = there(t1w_mask, t1w.grid) > 0.5
    scanned = there(b0_mask, b0.grid, matrix) > 0.5
    both = brain & scanned
    measures = {"dwi_overlap": dice(brain, scanned)}
    points = apply_affine(grid.affine, np.argwhere(brain).astype(float))
    measures["dwi_movement"] = float(np.median(np.linalg.norm(apply_affine(matrix, points) - points, axis=1)))
    if both.sum() < 500:
        return {**measures, "dwi_information": float("nan"), "fa_similarity": float("nan")}
    anatomy = np.clip(there(t1w.data, t1w.grid)[both], 0, None)
    anatomy = np.minimum(anatomy, np.percentile(anatomy, 99.5))
    without = there(b0.data, b0.grid, matrix)[both]
    without = np.clip(without, 0, np.percentile(without, 99.5))
    measures["dwi_information"] = mutual_information(anatomy, without)
    anisotropy = there(fa.data, fa.grid, matrix)[both]
    varies = anatomy.std() > 0 and anisotropy.std() > 0
    measures["fa_similarity"] = float(np.corrcoef(anatomy, anisotropy)[0, 1]) if varies else float("nan")
    return measures


def series_measures(
    series: SeriesFile,
    mask: np.ndarray,
    grid: Grid,
    gradients: Gradients,
    limits: tuple[float, float],
    to_diffusion: np.ndarray,
) -> tuple[dict[str, float], Sample, Tensors]:
    """Return the measures of a series and its gradient table, and the sample and tensors that they are taken from.

    Parameters
    ----------
    series
        The file.
    mask, grid
        (X, Y, Z) bool: the brain, where the mean signal without diffusion weighting is above 0; its grid.
    gradients
        Of all volumes.
    limits
        Largest b-value that the tensor is fitted to and smallest difference of the b-values of two shells, s/mm^2.
    to_diffusion
        (4, 4) from world points of the template to those of the series.
    """
    b_max, gap = limits
    sample = read_sample(series, mask)
    chosen = gradients.bvals <= b_max
    fitted = fit_tensors(np.maximum(sample.signals[:, chosen], 1e-6), gradients.select(chosen))
    residuals = np.full(sample.signals.shape, np.nan, np.float32)
    residuals[:, chosen] = fitted.residuals
    shells = find_shells(gradients, gap)
    directed = np.zeros(mask.shape, bool)
    part = mask.copy()
    part[:, :, : sample.slices.start] = part[:, :, sample.slices.stop :] = False
    directed[part] = fitted.fa > DIRECTED
    directions = fitted.directions[fitted.fa > DIRECTED]
    repeats = sample.signals[:, gradients.b0]
    spread = repeats.std(axis=1, ddof=1) if repeats.shape[1] > 2 else np.zeros(1)
    snr = np.median(repeats.mean(axis=1) / np.maximum(spread, 1e-6)) if spread.any() else np.nan
    measures = {
        "dwi_snr": float(snr),
        "dwi_residual": residual(fitted.residuals),
        "dwi_outliers": float(outlying(residuals, sample.slice_means, gradients, gap).mean()),
        "direction_coherence": direction_coherence(directions, directed, grid),
        **fibre_directions(directions, fitted.fa[fitted.fa > DIRECTED], directed, grid, to_diffusion),
        "dwi_volumes": float(len(gradients.bvals)),
        "dwi_shells": float(len(shells)),
        "dwi_smallest_shell": float(min((len(s.members) for s in shells), default=0)),
    }
    return measures, sample, fitted


def noddi_residual(
    sample: Sample,
    fitted: Tensors,
    maps: tuple[np.ndarray, np.ndarray, np.ndarray],
    gradients: Gradients,
    diffusivities: tuple[float, float],
    voxels: int = 2000,
) -> float:
    """Return the median misfit of a person's NODDI maps to the signals, as a share of the signal without diffusion weighting.

    Where there is one main direction, that of the tensor is NODDI's mean direction as well, so the maps decide the signals.

    Parameters
    ----------
    sample, fitted
        Signals, and tensors of the same voxels.
    maps
        Free water fraction, neurite density and orientation dispersion of these voxels, (voxels,) each.
    gradients
        Of all volumes.
    diffusivities
        Parallel and isotropic, mm^2/s.
    voxels
        Number of voxels, evenly over those with one main direction.
    """
    import torch

    from neurostrata.imaging.diffusion.noddi.signal import ODI_RANGE, NoddiModel, Scheme

    water, density, dispersion = maps
    usable = np.flatnonzero((fitted.fa > DIRECTED) & (density > 0.01) & (density < 0.99))
    if len(usable) < 200:
        return float("nan")
    chosen = usable[:: max(1, len(usable) // voxels)]
    weighted = np.flatnonzero(~gradients.b0)
    order = weighted[np.argsort(gradients.bvals[weighted], kind="stable")]
    model = NoddiModel(Scheme(gradients.bvals[order], gradients.bvecs[order]), *diffusivities)
    parameters = np.stack(
        [np.ones(len(chosen)), water[chosen], density[chosen], np.clip(dispersion[chosen], *ODI_RANGE)]
    )
    predicted = model.predict(
        torch.as_tensor(parameters, dtype=torch.float32),
        torch.as_tensor(fitted.directions[chosen].T.copy(), dtype=torch.float32),
    ).signal.numpy()
    measured = sample.signals[np.ix_(chosen, order)] / fitted.b0[chosen, None]
    return residual(measured - predicted.T)
