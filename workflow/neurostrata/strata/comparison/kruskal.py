"""Kruskal-Wallis tests of factors between clusters, with effect sizes and the smallest detectable effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]


@dataclass
class RankedFactors:
    """Factors as ranks, ready to be summed over many partitions.

    Attributes
    ----------
    ranks
        People x factors: midrank minus the mean rank, 0 where the value is missing.
    present
        People x factors: 1 where there is a value, else 0.
    n
        People with a value, per factor.
    scale
        Per factor, the number by which the sum of (rank sum)^2 / size is multiplied to give H, with the correction
        for ties; NaN when all values are equal or there are fewer than 2.
    """

    ranks: Array
    present: Array
    n: Array
    scale: Array


def rank_factors(scores: Array) -> RankedFactors:
    """Rank every factor (people x factors, NaN: missing) among the people who have it."""
    from scipy.stats import rankdata

    ranks = np.zeros(scores.shape)
    present = ~np.isnan(scores)
    n = present.sum(axis=0).astype(float)
    scale = np.full(scores.shape[1], np.nan)
    for column in range(scores.shape[1]):
        values = scores[present[:, column], column]
        size = len(values)
        if size < 2:
            continue
        ranks[present[:, column], column] = rankdata(values) - (size + 1) / 2
        _, counts = np.unique(values, return_counts=True)
        ties = 1.0 - float(np.sum(counts.astype(float) ** 3 - counts)) / (float(size) ** 3 - size)
        if len(counts) > 1:
            scale[column] = 12.0 / (size * (size + 1.0)) / ties
    return RankedFactors(ranks, present.astype(float), n, scale)


def h_statistics(ranked: RankedFactors, labels: Labels, n_clusters: int) -> Array:
    """Return Kruskal and Wallis' H (partitions x factors).

    Parameters
    ----------
    ranked
        The factors.
    labels
        Partitions x people, 0 .. n_clusters-1.
    n_clusters
        Number of clusters. A cluster in which nobody has a value adds nothing to H.

    Notes
    -----
    Rank sums are sums of halves and so exact: equal partitions give equal H, whatever the number of
    threads. H = 12 / (N (N+1)) sum_j S_j^2 / n_j / ties with S_j the sum of centred ranks, which avoids
    the cancellation of the usual form.
    """
    from neurostrata.strata.comparison.rank_sums import sum_by_cluster

    shape = (labels.shape[0], n_clusters, ranked.ranks.shape[1])
    sums, counts = np.empty(shape), np.empty(shape)
    sum_by_cluster(labels, ranked.ranks, sums)
    if (ranked.present == 1).all():
        # everybody has every factor, so that the sizes of the clusters are the counts
        counts[:] = np.stack([(labels == cluster).sum(axis=1) for cluster in range(n_clusters)], axis=1)[
            :, :, None
        ]
    else:
        sum_by_cluster(labels, ranked.present, counts)
    return np.divide(sums**2, counts, out=np.zeros(shape), where=counts > 0).sum(axis=1) * ranked.scale


def groups_with_values(ranked: RankedFactors, labels: Labels, n_clusters: int) -> NDArray[np.int64]:
    """Return, per factor, the number of clusters in which anybody has a value."""
    member = labels[None, :] == np.arange(n_clusters)[:, None]
    return ((member.astype(float) @ ranked.present) > 0).sum(axis=0)


def p_values(h: Array, k: NDArray[np.int64]) -> Array:
    """Return the chi-square p of every H with k clusters; NaN where k < 2 or H is NaN."""
    from scipy.stats import chi2

    p = chi2.sf(h, np.maximum(k - 1, 1))
    return np.where(k >= 2, p, np.nan)


def benjamini_hochberg(p: Array) -> Array:
    """Return false-discovery rates; NaN stays NaN and is not counted as a test."""
    from statsmodels.stats.multitest import multipletests

    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = multipletests(p[tested], method="fdr_bh")[1]
    return q


def eta_squared(h: float, k: int, n: int) -> float:
    """Return (H - k + 1) / (n - k), at least 0: the share of rank variance between clusters, corrected."""
    return max(0.0, (h - k + 1) / (n - k)) if n > k >= 2 else float("nan")


def epsilon_squared(h: float, k: int, n: int) -> float:
    """Return H / (n - 1): the same share uncorrected, (k-1)/(n-1) on average when there is no difference."""
    return h / (n - 1) if n > 1 and k >= 2 else float("nan")


def noncentrality(h: float, df: int, probability: float) -> float:
    """Return the lambda for which a non-central chi-square exceeds `h` with the given probability.

    0 when the central one already exceeds it that often.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    if chi2.sf(h, df) >= probability:
        return 0.0
    upper = max(10.0, 2 * h)
    while ncx2.sf(h, df, upper) < probability:
        upper *= 2
    return float(brentq(lambda value: ncx2.sf(h, df, value) - probability, 1e-12, upper, xtol=1e-10))


def eta_squared_interval(h: float, k: int, n: int, confidence: float) -> tuple[float, float]:
    """Return an interval for eta squared by inverting the non-central chi-square.

    H is taken as non-central chi-square with k-1 degrees of freedom and non-centrality lambda. The
    ends are the lambdas under which an H as large (as small) as the one seen has probability
    (1 - confidence) / 2. As the mean of H is k - 1 + lambda, eta squared is lambda / (n - k); values
    above 1 are set to 1. The approximation is good for small and moderate effects; for very large
    ones H varies less than a non-central chi-square does and the interval is too wide.
    """
    if not n > k >= 2 or np.isnan(h):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low = noncentrality(h, k - 1, tail)
    high = noncentrality(h, k - 1, 1 - tail)
    return min(1.0, low / (n - k)), min(1.0, high / (n - k))


def detectable_eta_squared(k: int, n: int, alpha: float, power: float) -> float:
    """Return the smallest eta squared that a test at level `alpha` finds with the given power.

    By the non-central chi-square with k-1 degrees of freedom, as the interval.
    """
    from scipy.stats import chi2

    if not n > k >= 2:
        return float("nan")
    critical = float(chi2.isf(alpha, k - 1))
    return min(1.0, noncentrality(critical, k - 1, power) / (n - k))
