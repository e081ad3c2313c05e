"""Data without groups that look like given codes: unimodal margins, joined by a Gaussian copula.

As UNPaC (Helgeson, Vock and Bair 2021, Biometrics): skew and heavy tails, and a continuum along which people are spread
evenly, are features of the null, so that they alone cannot count as clusters. Beyond UNPaC the margins are taken along
axes in which groups would show: the directions that tell the clusters found apart, then independent components.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from neurostrata.strata.finders.interface import Array, Labels
from neurostrata.strata.finders.mixture import principal_scores

#: Leading components that are turned to directions of clusters and independent components; the rest stay as they are.
TURNED = 20
#: Directions of clusters at most.
DIRECTIONS = 5
#: Bandwidth of the density estimate, in units of Silverman's rule.
BANDWIDTH = 0.5
#: Modes tried.
_MODES = 40


@dataclass(frozen=True)
class UnimodalMargin:
    """A unimodal distribution as a table: values and their cumulative probabilities."""

    values: Array
    cumulative: Array

    def draw(self, generator: np.random.Generator, size: int) -> Array:
        """Return random values."""
        return np.interp(generator.random(size), self.cumulative, self.values)


def unimodal_margin(values: Array) -> UnimodalMargin:
    """Return the unimodal density nearest (least squares) to a kernel estimate of the values' density.

    The estimate is narrow, so that little is smoothed away; what makes the result unimodal is isotonic regression, up to
    the mode and down from it, which keeps tails as heavy as they are (a wider kernel would not).
    """
    from sklearn.isotonic import isotonic_regression

    n = len(values)
    quartiles = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    spread = min(values.std(), quartiles) if quartiles > 0 else values.std()
    if spread == 0:
        return UnimodalMargin(np.full(2, values[0]), np.array([0.0, 1.0]))
    width = BANDWIDTH * 0.9 * spread * n**-0.2
    low, high = values.min() - 3 * width, values.max() + 3 * width
    grid = np.linspace(low, high, int(np.clip(4 * (high - low) / width, 200, 3000)))
    density = np.zeros(len(grid))
    for part in np.array_split(np.sort(values), max(1, n // 250)):
        density += np.exp(-0.5 * ((grid[:, None] - part[None]) / width) ** 2).sum(axis=1)
    density /= density.sum()
    modes = np.flatnonzero(density >= 0.5 * density.max())
    best, nearest = density, np.inf
    for mode in modes[:: max(1, len(modes) // _MODES)]:
        rising = isotonic_regression(density[: mode + 1])
        falling = isotonic_regression(density[mode:], increasing=False)
        shape = np.concatenate([rising[:-1], [max(rising[-1], falling[0])], falling[1:]])
        distance = float(((shape - density) ** 2).sum())
        if distance < nearest:
            best, nearest = shape, distance
    cumulative = np.cumsum(best / best.sum())
    return UnimodalMargin(grid, cumulative)


class UnimodalNull:
    """Draws codes without groups that have the covariance and the unimodal margins of given ones.

    Parameters
    ----------
    codes
        People x dimensions.
    labels
        The partition found in them, 0 .. k-1.
    components
        Leading components that the partition was made from; None: up to `TURNED`.
    seed
        Of the independent components.

    Attributes
    ----------
    axes_ : ndarray, shape (dimensions, axes)
        What draws along the axes are multiplied by to give codes (less the mean).
    """

    def __init__(self, codes: Array, labels: Labels, components: int | None, seed: int) -> None:
        self.people = len(codes)
        self.mean_ = codes.mean(axis=0)
        centred = codes - self.mean_
        scores = principal_scores(codes, len(codes) - 1)
        spread = scores.std(axis=0)
        white = scores / spread
        turned = min(TURNED, max(2, self.people // 4), white.shape[1])
        turn = _axes(white[:, :turned], labels, min(components or turned, turned), seed)
        rotation = np.eye(white.shape[1])
        rotation[:turned, :turned] = turn
        along = white @ rotation
        self.margins_ = [unimodal_margin(column) for column in along.T]
        # codes = along @ rotation' * spread @ loadings'
        loadings = np.linalg.lstsq(scores, centred, rcond=None)[0]
        self.axes_ = (rotation.T * spread) @ loadings

    def draw(self, generator: np.random.Generator) -> Array:
        """Return one set of codes (people x dimensions) without groups."""
        along = np.column_stack([margin.draw(generator, self.people) for margin in self.margins_])
        return self.mean_ + along @ self.axes_


def _axes(white: Array, labels: Labels, components: int, seed: int) -> Array:
    """Return orthonormal axes of white scores: those that tell the clusters apart, then independent components."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    size = white.shape[1]
    share = np.bincount(labels) / len(labels)
    means = np.stack([white[labels == cluster, :components].mean(axis=0) for cluster in range(len(share))])
    between = (means * share[:, None]).T @ means
    number = min(len(share) - 1, DIRECTIONS, components, size - 1)
    lead = np.zeros((size, number))
    lead[:components] = np.linalg.eigh(between)[1][:, ::-1][:, :number]
    axes = np.linalg.qr(np.column_stack([lead, np.eye(size)]))[0][:, :size]
    rest = axes[:, number:]
    if rest.shape[1] < 2:
        return axes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica = FastICA(whiten="unit-variance", max_iter=200, random_state=seed).fit(white @ rest)
    left, _, right = np.linalg.svd(ica.components_, full_matrices=False)
    return np.column_stack([axes[:, :number], rest @ (left @ right).T])
