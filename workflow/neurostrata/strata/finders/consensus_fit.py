"""Resampled k-means and the consensus of its partitions, compiled."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

#: Largest number of iterations of k-means.
LLOYD = 30
#: Two people are an ambiguous pair when the share of subsets in which they are together lies between these two.
AMBIGUOUS = (0.1, 0.9)

_compiled: Any = numba.njit(nogil=True, cache=True)


@_compiled
def _kmeans(values, k, label):  # type: ignore[no-untyped-def]
    """Write the clusters of k-means (k-means++ start) into `label`; return the sum of squares within them."""
    n, p = values.shape
    centres = np.empty((k, p))
    nearest = np.full(n, np.inf)
    chosen = np.random.randint(n)  # noqa: NPY002 - all that numba compiles
    for c in range(k):
        if c > 0:
            goal = np.random.random() * nearest.sum()  # noqa: NPY002
            passed, chosen = 0.0, n - 1
            for i in range(n):
                passed += nearest[i]
                if passed > goal:
                    chosen = i
                    break
        centres[c] = values[chosen]
        for i in range(n):
            distance = 0.0
            for j in range(p):
                distance += (values[i, j] - centres[c, j]) ** 2
            nearest[i] = min(nearest[i], distance)
    label[:] = -1
    total = 0.0
    for _ in range(LLOYD):
        changed = False
        total = 0.0
        counts = np.zeros(k)
        sums = np.zeros((k, p))
        for i in range(n):
            best, cluster = np.inf, 0
            for c in range(k):
                distance = 0.0
                for j in range(p):
                    distance += (values[i, j] - centres[c, j]) ** 2
                if distance < best:
                    best, cluster = distance, c
            total += best
            if label[i] != cluster:
                label[i] = cluster
                changed = True
            counts[cluster] += 1
            for j in range(p):
                sums[cluster, j] += values[i, j]
        if not changed:
            break
        for c in range(k):
            if counts[c] > 0:
                centres[c] = sums[c] / counts[c]
    return total


@_compiled
def consensus_matrix(values, k, resamples, share, starts, seed):  # type: ignore[no-untyped-def]
    """Return how often two people fall into the same cluster, among the subsets that have both.

    Parameters
    ----------
    values : ndarray, shape (people, components)
        C order.
    k : int
        Clusters.
    resamples : int
        Random subsets of the people.
    share : float
        Share of the people in a subset.
    starts : int
        Starts of k-means in each; the one with the smallest sum of squares is taken.
    seed : int

    Returns
    -------
    ndarray, shape (people, people)
        Shares of the subsets that have both; 1 on the diagonal, 0 where no subset has both.
    """
    np.random.seed(seed)  # noqa: NPY002 - of the compiled code only, thread by thread
    n = len(values)
    size = max(k, int(share * n + 0.5))
    together = np.zeros((n, n), np.int32)
    both = np.zeros((n, n), np.int32)
    label, best = np.empty(size, np.int64), np.empty(size, np.int64)
    for _ in range(resamples):
        rows = np.sort(np.random.permutation(n)[:size])  # noqa: NPY002
        part = values[rows]
        least = np.inf
        for _ in range(starts):
            total = _kmeans(part, k, label)
            if total < least:
                least = total
                best[:] = label
        for a in range(size):
            for b in range(a):
                both[rows[a], rows[b]] += 1
                if best[a] == best[b]:
                    together[rows[a], rows[b]] += 1
    consensus = np.eye(n)
    for a in range(n):
        for b in range(a):
            if both[a, b] > 0:
                consensus[a, b] = together[a, b] / both[a, b]
                consensus[b, a] = consensus[a, b]
    return consensus


@_compiled
def ambiguous_pairs(consensus):  # type: ignore[no-untyped-def]
    """Return the share of pairs of people whose consensus lies between :data:`AMBIGUOUS` (PAC)."""
    n = len(consensus)
    between = 0
    for a in range(n):
        for b in range(a):
            if AMBIGUOUS[0] < consensus[a, b] < AMBIGUOUS[1]:
                between += 1
    return between / (n * (n - 1) / 2)
