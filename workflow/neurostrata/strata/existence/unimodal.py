"""Draws of data without groups that resemble given codes: unimodal margins, joined by a Gaussian copula.

As in UNPaC (Helgeson, Vock and Bair 2021, Biometrics), the null has skew, heavy tails, and any continuum along which
people are spread evenly, so that these alone cannot count as clusters. In addition there is a second kind of draws, with
the margins along the directions in which the clusters were found; groups must be clearer than in both kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurostrata.core.families import family_numbers
from neurostrata.strata.existence.relatives import RotatedFamilies
from neurostrata.strata.finders.interface import Array, Labels
from neurostrata.strata.finders.mixture import principal_scores

#: What draws share with the codes besides covariance and margins. ``margins``: the correlations in the sample itself, so that
#: a draw's leading components are as skewed and heavy-tailed as those of the codes. ``directions``: the unimodal margin of the
#: codes along each direction that separates the clusters found, so that a continuum there does not count as clusters.
KINDS = ("margins", "directions")
#: Leading components in which directions of clusters are sought when the finder does not say how many it used.
SEARCHED = 20
#: Codes of more dimensions than this are drawn as principal components, which takes less time.
MANY = 512
#: With fewer pairs of relatives people are drawn as unrelated.
LEAST_PAIRS = 10
#: Largest number of directions of clusters.
DIRECTIONS = 5
#: Bandwidth of the density estimate, in units of Silverman's rule.
BANDWIDTH = 0.5
#: Largest number of modes that are tried.
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

    def share(self, values: Array) -> Array:
        """Return the probability of smaller values."""
        return np.interp(values, self.values, self.cumulative)


def unimodal_margin(values: Array) -> UnimodalMargin:
    """Return the unimodal density nearest (least squares) to a kernel estimate of the density of the values.

    The kernel is narrow, so that little is smoothed away. Isotonic regression, up to the mode and down from it, makes the
    result unimodal and keeps heavy tails, which a wider kernel would not.
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
    """Draws codes without groups that have the covariance and unimodal margins of given codes.

    Each number of the code is drawn from its own unimodal margin, all of them joined by the Gaussian copula that the codes
    have (the correlation of their normal scores). There are two kinds of draws, see :data:`KINDS`; neither has
    more than one mode. Where people are related, both kinds have the covariance of the sample itself, between families and
    within them (:class:`RotatedFamilies`), because resemblance within families makes groups of two or three, not strata.

    Parameters
    ----------
    codes
        People x dimensions.
    labels
        The partition found in them, 0 .. k-1.
    components
        Leading components that the partition was made from; None: up to :data:`SEARCHED`.
    kind
        One of :data:`KINDS`.
    families
        One per person, "" for none; None: nobody is related.
    """

    def __init__(
        self,
        codes: Array,
        labels: Labels,
        components: int | None,
        kind: str,
        families: Sequence[str] | None = None,
    ) -> None:
        self.people = len(codes)
        scores = principal_scores(codes, len(codes) - 1)
        if codes.shape[1] > MANY:
            codes = scores
        self.mean_ = codes.mean(axis=0)
        self.margins_ = [unimodal_margin(column) for column in codes.T]
        family = family_numbers(families or [""] * self.people)
        size = np.bincount(family)
        related = (size * (size - 1)).sum() / 2 >= LEAST_PAIRS
        normal = _scores_of_margins(codes, self.margins_) if related else _scores_of_ranks(codes)
        normal /= np.maximum(normal.std(axis=0), 1e-12)
        latent, self._scale, self._turn = np.linalg.svd(normal, full_matrices=False)
        self._scale /= np.sqrt(self.people)
        self._relatives = RotatedFamilies(latent * np.sqrt(self.people), family) if related else None
        # coordinates along the directions of clusters, and the moves of codes along one of them only
        spread = scores.std(axis=0)
        white = scores / spread
        searched = min(components or SEARCHED, white.shape[1])
        directions = np.zeros((white.shape[1], 0))
        self.kind = kind
        if kind == "directions" and labels.max() > 0 and searched:
            found = cluster_directions(white[:, :searched], labels)
            directions = np.pad(found, ((0, white.shape[1] - searched), (0, 0)))
        centred = codes - self.mean_
        self._coordinate = np.linalg.lstsq(centred, white @ directions, rcond=None)[0]
        self._move = directions.T @ (spread[:, None] * np.linalg.lstsq(scores, centred, rcond=None)[0])
        self._along = [unimodal_margin(column) for column in (white @ directions).T]

    def draw(self, generator: np.random.Generator) -> Array:
        """Return one set of codes (people x dimensions; principal components when there are very many dimensions) without groups."""
        from scipy.special import ndtr

        if self._relatives is not None:
            latent = self._relatives.draw(generator)
        else:
            latent = generator.standard_normal((self.people, len(self._scale)))
            if self.kind == "margins":
                # Codes are mostly principal components of these very people, hence uncorrelated in this sample. With chance
                # correlations the leading components of a draw would be other axes than those of the margins.
                latent = _whitened(latent)
        probability = ndtr((latent * self._scale) @ self._turn)
        drawn = np.column_stack([margin.at(column) for margin, column in zip(self.margins_, probability.T)])
        for position, margin in enumerate(self._along):
            coordinate = (drawn - self.mean_) @ self._coordinate[:, position]
            target = np.empty(self.people)
            target[np.argsort(coordinate)] = np.sort(margin.draw(generator, self.people))
            drawn += (target - coordinate)[:, None] * self._move[position]
        return drawn


def _scores_of_ranks(codes: Array) -> Array:
    """Return the normal scores of people x dimensions by their ranks."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(codes, axis=0) - 0.5) / len(codes)))


def _scores_of_margins(codes: Array, margins: Sequence[UnimodalMargin]) -> Array:
    """Return the normal scores, mean 0, by the margins: by ranks, relatives of one value come apart as far as strangers."""
    from scipy.special import ndtri

    half = 0.5 / len(codes)
    shares = [margin.share(column).clip(half, 1 - half) for margin, column in zip(margins, codes.T)]
    scores = ndtri(np.column_stack(shares))
    return np.asarray(scores - scores.mean(axis=0))


def _whitened(latent: Array) -> Array:
    """Return latent values (people x components) with mean 0 and covariance I in this sample."""
    left = np.linalg.svd(latent - latent.mean(axis=0), full_matrices=False)
    return np.asarray(left[0] @ left[2]) * np.sqrt(len(latent))


def cluster_directions(white: Array, labels: Labels) -> Array:
    """Return the orthonormal directions (components x directions) in which the means of clusters of white scores differ most."""
    share = np.bincount(labels) / len(labels)
    means = np.stack([white[labels == cluster].mean(axis=0) for cluster in range(len(share))])
    between = (means * share[:, None]).T @ means
    number = min(len(share) - 1, DIRECTIONS, white.shape[1])
    return np.linalg.eigh(between)[1][:, ::-1][:, :number]
