"""Effect sizes of each stratum against everybody else, from sums over people: one person's image in memory at a time.

The effect size is Hedges' g (Hedges 1981, J Educ Stat 6:107): the difference of two means over their pooled standard
deviation, times a factor that removes the bias of small samples. With covariates it is that of values from which their linear
effects are removed, learned from everybody as for the codes (:mod:`neurostrata.adjustment.codes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import norm
from scipy.stats import t as student

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

#: A spread below this share of the values' size is rounding.
_ROUNDING = 1e-12


def small_sample_factor(df: float) -> float:
    """Return what turns Cohen's d into Hedges' g: gamma(df/2) / (sqrt(df/2) gamma((df - 1)/2))."""
    return float(np.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / np.sqrt(df / 2)) if df > 1 else np.nan


def effect_interval(g: Array, n: int, others: int, confidence: float) -> tuple[Array, Array]:
    """Return a large-sample interval for g: its variance is 1/n + 1/others + g^2 / 2 (n + others) (Hedges and Olkin 1985, 5.6)."""
    spread = np.sqrt(1 / n + 1 / others + g**2 / (2 * (n + others)))
    width = norm.ppf((1 + confidence) / 2) * spread
    return g - width, g + width


def chance_share(limit: float, n: int, others: int, df: int) -> float:
    """Return the probability of |g| >= `limit` at one place between two random groups of these sizes (central t)."""
    if df < 2:
        return np.nan
    statistic = limit / small_sample_factor(df) / np.sqrt(1 / n + 1 / others)
    return float(2 * student.sf(statistic, df))


@dataclass(frozen=True)
class StratumEffect:
    """One stratum against everybody else, at each voxel (or region) of one modality.

    Attributes
    ----------
    n, others
        People of the stratum, and all others, who have the modality.
    df, adjusted_df
        Degrees of freedom of the pooled standard deviation, and of the one of adjusted values.
    mean, sd
        Of the stratum, shape (voxels,), in the unit of the values; `sd` is NaN with one person.
    effect
        Hedges' g, shape (voxels,); 0 where nobody differs from anybody, NaN where it has no degrees of freedom.
    adjusted
        The same without the effects of covariates; None without covariates.
    """

    n: int
    others: int
    df: int
    adjusted_df: int
    mean: Array
    sd: Array
    effect: Array
    adjusted: Array | None


class StrataSums:
    """Sums over people from which every stratum's maps are computed.

    Parameters
    ----------
    labels
        Stratum of each person, 0 .. k-1, shape (people,).
    strata
        How many strata are described, the first ones; people of all others count as others only.
    covariates
        (people, columns), no gaps; None: nothing is adjusted.

    Notes
    -----
    Memory: (2 strata + columns + 4) numbers a voxel, however many people there are. The first person's values are
    subtracted before anything is squared, so that no digits are lost where the mean is large beside the spread.
    """

    def __init__(self, labels: Labels, strata: int, covariates: Array | None = None) -> None:
        self.labels, self.strata = labels, strata
        self.covariates = None
        if covariates is not None and covariates.shape[1]:
            self.covariates = covariates - covariates.mean(axis=0)
        self._first: Array | None = None

    def add(self, person: int, values: Array) -> None:
        """Add one person's values, shape (voxels,); everybody is added once."""
        if self._first is None:
            self._first = np.asarray(values, dtype=np.float64).copy()
            size = len(self._first)
            self._sums, self._squares = np.zeros((self.strata, size)), np.zeros((self.strata, size))
            self._total, self._total_square = np.zeros(size), np.zeros(size)
            columns = 0 if self.covariates is None else self.covariates.shape[1]
            self._mixed = np.zeros((columns, size))
        moved = np.asarray(values, dtype=np.float64) - self._first
        for column in range(len(self._mixed)):
            assert self.covariates is not None
            self._mixed[column] += self.covariates[person, column] * moved
        self._total += moved
        square = moved**2
        self._total_square += square
        if self.labels[person] < self.strata:
            self._sums[self.labels[person]] += moved
            self._squares[self.labels[person]] += square

    def effects(self, stratum: int) -> StratumEffect:
        """Return the maps of one stratum."""
        assert self._first is not None
        member = self.labels == stratum
        n, others = int(member.sum()), int((~member).sum())
        people = n + others
        mean = self._sums[stratum] / n
        square = np.clip(self._squares[stratum] - n * mean**2, 0, None)
        scatter = np.clip(self._total_square - self._total**2 / people, 0, None)
        difference = mean - (self._total - self._sums[stratum]) / others
        size = self._total_square / people + self._first**2
        df = people - 2
        adjusted, adjusted_df = None, df
        if self.covariates is not None:
            coefficients = np.linalg.pinv(self.covariates.T @ self.covariates) @ self._mixed
            adjusted_df = df - int(np.linalg.matrix_rank(self.covariates))
            # centred covariates: the others' sum is minus the stratum's
            own = self.covariates[member].sum(axis=0)
            moved = difference - (own / n + own / others) @ coefficients
            left = np.clip(scatter - (coefficients * self._mixed).sum(axis=0), 0, None)
            adjusted = _hedges(moved, left, size, n, others, adjusted_df)
        return StratumEffect(
            n,
            others,
            df,
            adjusted_df,
            mean + self._first,
            np.sqrt(square / (n - 1)) if n > 1 else np.full_like(mean, np.nan),
            _hedges(difference, scatter, size, n, others, df),
            adjusted,
        )


def _hedges(difference: Array, scatter: Array, size: Array, n: int, others: int, df: int) -> Array:
    """Return g from the difference of two means and the sum of squares of everybody about the common mean.

    `size` is the mean square of the values, against which rounding is told.
    """
    if df < 2:
        return np.full_like(difference, np.nan)
    within = np.clip(scatter - n * others / (n + others) * difference**2, 0, None)
    sd = np.sqrt(within / df)
    varies = sd > _ROUNDING**0.5 * np.sqrt(np.maximum(size, 1e-300))
    g = np.divide(difference, sd, out=np.zeros_like(difference), where=varies)
    return g * small_sample_factor(df)
