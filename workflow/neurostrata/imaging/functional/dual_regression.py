"""Dual regression: a person's own version of a group's spatial components, from the person's BOLD series.

Nickerson et al. 2017 (Frontiers in Neuroscience 11:115). First the group's maps are regressed on each volume
(spatial regression), which gives a time course per component; these, scaled to variance 1 so that amplitudes end
up in the maps, are then regressed on the series (temporal regression), which gives a map per component.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Image, sample
from neurostrata.imaging.images.series import Series

#: Voxels whose mean is below this share of the brightest ones' are background.
_BACKGROUND = 0.1
#: A series whose voxels have means below this share of their size (root mean square) has been given without them.
_WITHOUT_MEAN = 0.1
#: A component map this close to a combination of the others cannot be told from them.
_WORST_CONDITION = 1e5


@dataclass(frozen=True, eq=False)
class DualRegression:
    """What dual regression finds in one person.

    Attributes
    ----------
    courses
        (volumes, components), time courses, mean 0; standard deviation 1 when they were normalised.
    maps
        (components, voxels), the chosen statistic: ``beta`` in units of the series per standard deviation of the
        time course, or ``z``.
    """

    courses: np.ndarray
    maps: np.ndarray


def _centred(values: np.ndarray) -> np.ndarray:
    """Return values (n, ...) without their mean over the first axis, float64."""
    values = np.asarray(values, dtype=np.float64)
    return values - values.mean(axis=0)


def spatial_regression(data: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Regress component maps on each volume.

    Parameters
    ----------
    data
        (volumes, voxels), the series.
    components
        (components, voxels), the group's maps.

    Returns
    -------
    numpy.ndarray
        (volumes, components), weights of the maps, maps and volumes without their mean over voxels.

    Raises
    ------
    UserError
        When the maps cannot be told apart inside the mask.
    """
    design = _centred(components.T)
    condition = np.linalg.cond(design / np.maximum(np.sqrt((design**2).sum(axis=0)), 1e-30))
    if not condition < _WORST_CONDITION:
        raise UserError(
            f"components: inside the mask one of the {len(components)} maps is empty or a combination of the "
            "others; remove it from the components image"
        )
    # maps without mean are orthogonal to each volume's mean, so volumes need not be centred
    weights = np.linalg.solve(design.T @ design, design.T)
    return (weights.astype(np.float32) @ np.asarray(data, np.float32).T).T.astype(np.float64)


def temporal_regression(data: np.ndarray, courses: np.ndarray, statistic: str = "beta") -> np.ndarray:
    """Regress time courses on each voxel's series.

    Parameters
    ----------
    data
        (volumes, voxels), the series.
    courses
        (volumes, components).
    statistic
        ``beta``: the weights. ``z``: weights over their standard errors, transformed to normal (from a t statistic with
        volumes - components - 1 degrees of freedom; autocorrelation of the noise is not taken into account).

    Returns
    -------
    numpy.ndarray
        (components, voxels), float32.

    Raises
    ------
    UserError
        When there are too few volumes.
    """
    if statistic not in ("beta", "z"):
        raise ValueError(f"statistic is {statistic!r}, not beta or z")
    volumes, count = courses.shape
    freedom = volumes - count - 1
    if freedom < 1:
        raise UserError(
            f"the series has {volumes} volumes; {count} components need at least {count + 2}, and many more to be "
            "of use"
        )
    design = _centred(courses)
    inverse = np.linalg.pinv(design.T @ design)
    weights = (inverse @ design.T).astype(np.float32)
    beta = weights @ np.asarray(data, np.float32)
    if statistic == "beta":
        return beta
    return _z_values(data, design, beta, np.diag(inverse), freedom)


def _z_values(
    data: np.ndarray, design: np.ndarray, beta: np.ndarray, variances: np.ndarray, freedom: int
) -> np.ndarray:
    from scipy import special, stats

    z = np.zeros(beta.shape, dtype=np.float32)
    for start in range(0, beta.shape[1], 20_000):
        part = slice(start, start + 20_000)
        rest = _centred(data[:, part]) - design @ beta[:, part]
        error = np.sqrt(np.outer(variances, (rest**2).sum(axis=0) / freedom))
        t = np.divide(beta[:, part], error, out=np.zeros_like(error), where=error > 0)
        # logarithms, since chances far below the smallest float are common at large t
        tail = np.maximum(stats.t.logsf(np.abs(t), freedom), -700.0)
        z[:, part] = -np.sign(t) * special.ndtri_exp(tail)
    return z


def dual_regression_maps(
    data: np.ndarray, components: np.ndarray, statistic: str = "beta", normalise: bool = True
) -> DualRegression:
    """Return a person's version of the group's components.

    Parameters
    ----------
    data
        (volumes, voxels), the series inside the mask.
    components
        (components, voxels), the group's maps at the same voxels.
    statistic
        ``beta`` or ``z``.
    normalise
        Scale the time courses to variance 1, so that a component that fluctuates more has a larger map
        (``beta``). False: shape only.

    Returns
    -------
    DualRegression
    """
    # voxel means carry no information, but their size would cost precision
    data = np.asarray(data, dtype=np.float32)
    data = data - data.mean(axis=0)
    courses = _centred(spatial_regression(data, components))
    if normalise:
        spread = courses.std(axis=0)
        if not (spread > 0).all():
            raise UserError("a component has no time course: the series does not change inside its map")
        courses = courses / spread
    return DualRegression(courses, temporal_regression(data, courses, statistic))


def series_mask(series: Series) -> np.ndarray:
    """Return the voxels of a series that are brain, (X, Y, Z): above a tenth of the brightness on average, and not constant.

    In a series without the means of its voxels (denoised, or scaled to z) what is left of them is rounding: all voxels that are
    not constant are taken.
    """
    mean = np.abs(series.data.mean(axis=3))
    size = np.sqrt(np.einsum("xyzt,xyzt->xyz", series.data, series.data) / series.data.shape[3])
    level, largest = (np.percentile(part[part > 0], 99) if part.any() else 0.0 for part in (mean, size))
    if level < _WITHOUT_MEAN * largest:
        return changing(series)
    return (mean > _BACKGROUND * level) & changing(series)


def changing(series: Series) -> np.ndarray:
    """Return the voxels of a series that are not constant over time, (X, Y, Z)."""
    return series.data.max(axis=3) > series.data.min(axis=3)


def on_grid(components: Series, series: Series) -> np.ndarray:
    """Bring component maps to the series' grid (linear, both in one space), (X, Y, Z, components)."""
    if components.grid.same_as(series.grid, tolerance=0.05):
        return components.data
    points = series.grid.points()
    count = components.data.shape[3]
    return np.stack(
        [sample(Image(components.data[..., k], components.grid), points) for k in range(count)], axis=-1
    )
