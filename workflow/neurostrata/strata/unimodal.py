"""Data without groups that look like given codes: unimodal margins, joined by a Gaussian copula.

As UNPaC (Helgeson, Vock and Bair 2021, Biometrics): skew and heavy tails, and a continuum along which people are spread
evenly, are features of the null, so that they alone cannot count as clusters. Beyond UNPaC the margins are also those
along the directions in which the clusters were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurostrata.core.families import family_numbers
from neurostrata.strata.finders.interface import Array, Labels
from neurostrata.strata.finders.mixture import principal_scores

#: Leading components in which directions of clusters are sought where the finder does not say.
SEARCHED = 20
#: With fewer pairs of relatives their resemblance is not estimated, and taken for none.
LEAST_PAIRS = 10
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
        return self.at(generator.random(size))

    def at(self, probability: Array) -> Array:
        """Return quantiles."""
        return np.interp(probability, self.cumulative, self.values)


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

    Principal component scores are drawn independently, each from its own unimodal margin. Then the coordinate along each
    direction that tells the clusters found apart is given the unimodal margin of the codes along that direction, by
    quantiles. So data without groups are as skewed, heavy-tailed or evenly spread as the codes are, both along the axes
    of the code and where the clusters were found; what they lack is more than one mode. Relatives are as alike in each
    component as they are in the codes: resemblance within families makes groups of two or three, not strata.

    Parameters
    ----------
    codes
        People x dimensions.
    labels
        The partition found in them, 0 .. k-1.
    components
        Leading components that the partition was made from; None: up to :data:`SEARCHED`.
    families
        One per person, "" for none; None: nobody is related.

    Attributes
    ----------
    axes_ : ndarray, shape (components, dimensions)
        What standardised scores are multiplied by to give codes (less the mean).
    directions_ : ndarray, shape (components, directions)
        Orthonormal directions, in standardised scores, that tell the clusters apart.
    alike_ : ndarray, shape (components,)
        Correlation of relatives in each component, 0 without families.
    """

    def __init__(
        self,
        codes: Array,
        labels: Labels,
        components: int | None,
        families: Sequence[str] | None = None,
    ) -> None:
        self.people = len(codes)
        self.mean_ = codes.mean(axis=0)
        scores = principal_scores(codes, len(codes) - 1)
        spread = scores.std(axis=0)
        white = scores / spread
        searched = min(components or SEARCHED, white.shape[1])
        self.directions_ = np.zeros((white.shape[1], 0))
        if labels.max() > 0 and searched:
            self.directions_ = np.pad(
                cluster_directions(white[:, :searched], labels), ((0, white.shape[1] - searched), (0, 0))
            )
        self.family_ = family_numbers(families or [""] * self.people)
        self.alike_ = family_correlation(white, self.family_)
        self.margins_ = [unimodal_margin(column) for column in white.T]
        self.along_ = [unimodal_margin(column) for column in (white @ self.directions_).T]
        self.axes_ = spread[:, None] * np.linalg.lstsq(scores, codes - self.mean_, rcond=None)[0]

    def draw(self, generator: np.random.Generator) -> Array:
        """Return one set of codes (people x dimensions) without groups."""
        drawn = np.column_stack(
            [self._of_families(margin, alike, generator) for margin, alike in zip(self.margins_, self.alike_)]
        )
        for direction, margin in zip(self.directions_.T, self.along_):
            coordinate = drawn @ direction
            wanted = np.empty(self.people)
            wanted[np.argsort(coordinate)] = np.sort(margin.draw(generator, self.people))
            drawn += (wanted - coordinate)[:, None] * direction
        return self.mean_ + drawn @ self.axes_

    def _of_families(self, margin: UnimodalMargin, alike: float, generator: np.random.Generator) -> Array:
        """Draw one component: relatives share a part of what decides on their values."""
        if alike == 0:
            return margin.draw(generator, self.people)
        from scipy.special import ndtr

        common = generator.standard_normal(self.family_.max() + 1)[self.family_]
        own = generator.standard_normal(self.people)
        return margin.at(ndtr(np.sqrt(alike) * common + np.sqrt(1 - alike) * own))


def family_correlation(white: Array, family: Labels) -> Array:
    """Return the intraclass correlation of relatives in each component, 0 to 0.95; 0 where there are no relatives.

    Parameters
    ----------
    white
        People x components, mean 0 and variance 1.
    family
        Number of each person's family.

    Notes
    -----
    Mean product of the values of two relatives, over all pairs: with s the sum over a family, its pairs' products add up
    to (s^2 - sum of squares) / 2.
    """
    size = np.bincount(family)
    pairs = float((size * (size - 1) / 2).sum())
    if pairs < LEAST_PAIRS:
        return np.zeros(white.shape[1])
    sums = np.zeros((len(size), white.shape[1]))
    np.add.at(sums, family, white)
    products = ((sums**2).sum(axis=0) - (white**2).sum(axis=0)) / 2
    return np.clip(products / pairs, 0.0, 0.95)


def cluster_directions(white: Array, labels: Labels) -> Array:
    """Return the orthonormal directions (components x directions) in which the means of clusters of white scores differ most."""
    share = np.bincount(labels) / len(labels)
    means = np.stack([white[labels == cluster].mean(axis=0) for cluster in range(len(share))])
    between = (means * share[:, None]).T @ means
    number = min(len(share) - 1, DIRECTIONS, white.shape[1])
    return np.linalg.eigh(between)[1][:, ::-1][:, :number]
