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
from scipy.stats import t as student

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

#: A spread below this share of the values' size is rounding.
_ROUNDING = 1e-12


def small_sample_factor(df: float) -> float:
    """Return what turns Cohen's d into Hedges' g: gamma(df/2) / (sqrt(df/2) gamma((df - 1)/2))."""
    return float(np.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / np.sqrt(df / 2)) if df > 1 else np.nan


def effect_interval(
    g: Array, n: int, others: int, confidence: float, own: Array | float = 1.0, rest: Array | float = 1.0
) -> tuple[Array, Array]:
    """Return an interval for g that does not take the stratum to vary as much as all others do.

    The variance of g is own / n + rest / others + g^2 (own^2 (n - 1) + rest^2 (others - 1)) / 2 (n + others - 2)^2 (as Bonett 2008, Psychol
    Methods 13:99, for this standard deviation; with equal variances that of Hedges and Olkin 1985, 5.6). The quantile is Student's
    with the degrees of freedom of Welch (1947). A stratum of one person is taken to vary as the others do.

    Parameters
    ----------
    g
        Hedges' g, shape (regions,).
    n, others
        People of the stratum, and all others.
    confidence
        Level.
    own, rest
        Variance in the stratum, and in the others, over the pooled variance.
    """
    df: Array | float = n + others - 2
    parts = own / n, rest / others
    spread = parts[0] + parts[1] + g**2 * (own**2 * (n - 1) + rest**2 * (others - 1)) / (2 * df**2)
    if min(n, others) > 1:
        df = (parts[0] + parts[1]) ** 2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (others - 1))
    width = student.ppf((1 + confidence) / 2, df) * np.sqrt(spread)
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
    own, rest
        Variance in the stratum, and in the others, over the pooled variance; of adjusted values where there are some. 1 where nothing
        varies, the stratum or the others are one person, or spreads were not asked for.
    """

    n: int
    others: int
    df: int
    adjusted_df: int
    mean: Array
    sd: Array
    effect: Array
    adjusted: Array | None
    own: Array
    rest: Array


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
    spreads
        Whether strata are asked how much they vary, beside all others.

    Notes
    -----
    Memory: (2 strata + columns + 4) numbers a voxel, however many people there are; with `spreads`, strata times columns more. The first person's values are
    subtracted before anything is squared, so that no digits are lost where the mean is large beside the spread.
    """

    def __init__(
        self, labels: Labels, strata: int, covariates: Array | None = None, spreads: bool = False
    ) -> None:
        self.labels, self.strata, self.spreads = labels, strata, spreads
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
            self._mixed_own = np.zeros((self.strata if self.spreads else 0, columns, size))
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
            if self.spreads and self.covariates is not None:
                self._mixed_own[self.labels[person]] += self.covariates[person][:, None] * moved

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
        # sums of squares about the means of the stratum, and of the stratum and the others, of what the effect is of
        inside, within = square, _within(scatter, difference, n, others)
        if self.covariates is not None:
            coefficients = np.linalg.pinv(self.covariates.T @ self.covariates) @ self._mixed
            adjusted_df = df - int(np.linalg.matrix_rank(self.covariates))
            # centred covariates: the others' sum is minus the stratum's
            own = self.covariates[member].sum(axis=0)
            moved = difference - (own / n + own / others) @ coefficients
            left = np.clip(scatter - (coefficients * self._mixed).sum(axis=0), 0, None)
            adjusted = _hedges(moved, left, size, n, others, adjusted_df)
            within = _within(left, moved, n, others)
            if self.spreads:
                centred = self.covariates[member] - own / n
                shared = self._mixed_own[stratum] - np.outer(own, mean)
                inside = square - 2 * (coefficients * shared).sum(axis=0)
                inside += (coefficients * (centred.T @ centred @ coefficients)).sum(axis=0)
        ratios = np.ones((2, len(mean)))
        if self.spreads and min(n, others) > 1:
            parts = np.stack(
                [np.clip(inside, 0, within) / (n - 1), np.clip(within - inside, 0, None) / (others - 1)]
            )
            np.divide(parts * (people - 2), within, out=ratios, where=within > _ROUNDING * people * size)
        return StratumEffect(
            n,
            others,
            df,
            adjusted_df,
            mean + self._first,
            np.sqrt(square / (n - 1)) if n > 1 else np.full_like(mean, np.nan),
            _hedges(difference, scatter, size, n, others, df),
            adjusted,
            *ratios,
        )


def _hedges(difference: Array, scatter: Array, size: Array, n: int, others: int, df: int) -> Array:
    """Return g from the difference of two means and the sum of squares of everybody about the common mean.

    `size` is the mean square of the values, against which rounding is told.
    """
    if df < 2:
        return np.full_like(difference, np.nan)
    sd = np.sqrt(_within(scatter, difference, n, others) / df)
    varies = sd > _ROUNDING**0.5 * np.sqrt(np.maximum(size, 1e-300))
    g = np.divide(difference, sd, out=np.zeros_like(difference), where=varies)
    return g * small_sample_factor(df)


def _within(scatter: Array, difference: Array, n: int, others: int) -> Array:
    """Return the sum of squares about the two means, from that about the common mean."""
    return np.clip(scatter - n * others / (n + others) * difference**2, 0, None)
