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
def _squared_distances(columns, centre, distance):  # type: ignore[no-untyped-def]
    """Write the squared distances of everybody (components x people) from a centre into `distance`.

    People are the inner loop, so that the compiler takes several at a time; each one's sum has the order of the components.
    """
    distance[:] = 0.0
    for j in range(len(columns)):
        column, middle = columns[j], centre[j]
        for i in range(len(distance)):
            distance[i] += (column[i] - middle) ** 2


@_compiled
def _kmeans(values, k, label):  # type: ignore[no-untyped-def]
    """Write the clusters of k-means (k-means++ start) into `label`; return the sum of squares within them."""
    n, p = values.shape
    columns, distance = values.T.copy(), np.empty(n)
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
        _squared_distances(columns, centres[c], distance)
        for i in range(n):
            nearest[i] = min(nearest[i], distance[i])
    label[:] = -1
    total = 0.0
    cluster = np.zeros(n, np.int64)
    for _ in range(LLOYD):
        nearest[:] = np.inf
        for c in range(k):
            _squared_distances(columns, centres[c], distance)
            for i in range(n):
                if distance[i] < nearest[i]:
                    nearest[i], cluster[i] = distance[i], c
        changed = False
        total = 0.0
        counts = np.zeros(k)
        sums = np.zeros((k, p))
        for i in range(n):
            total += nearest[i]
            if label[i] != cluster[i]:
                label[i] = cluster[i]
                changed = True
            counts[cluster[i]] += 1
            for j in range(p):
                sums[cluster[i], j] += values[i, j]
        if not changed:
            break
        for c in range(k):
            if counts[c] > 0:
                centres[c] = sums[c] / counts[c]
    return total


@_compiled
def _ones(bits):  # type: ignore[no-untyped-def]
    """Return how many bits of a word of 64 are 1."""
    count = 0
    while bits:
        bits &= bits - np.uint64(1)
        count += 1
    return count


@_compiled
def _subsets(values, k, resamples, share, starts, seed):  # type: ignore[no-untyped-def]
    """Divide random subsets of the people; see :func:`consensus_matrix`.

    Returns
    -------
    inside : ndarray of uint64, shape (people, words)
        A bit for each subset: whether it has the person.
    number : ndarray of uint64, shape (people, words, digits)
        The binary digits of the number of the person's cluster in it.
    """
    np.random.seed(seed)  # noqa: NPY002 - of the compiled code only, thread by thread
    n = len(values)
    size = max(k, int(share * n + 0.5))
    label, best = np.empty(size, np.int64), np.empty(size, np.int64)
    words, digits = (resamples + 63) // 64, 0
    while 1 << digits < k:
        digits += 1
    inside = np.zeros((n, words), np.uint64)
    number = np.zeros((n, words, digits), np.uint64)
    for resample in range(resamples):
        rows = np.sort(np.random.permutation(n)[:size])  # noqa: NPY002
        part = values[rows]
        least = np.inf
        for _ in range(starts):
            total = _kmeans(part, k, label)
            if total < least:
                least = total
                best[:] = label
        word, bit = resample // 64, np.uint64(1) << np.uint64(resample % 64)
        for a in range(size):
            inside[rows[a], word] |= bit
            for digit in range(digits):
                if best[a] >> digit & 1:
                    number[rows[a], word, digit] |= bit
    return inside, number


@_compiled
def _consensus(inside, number, a, b):  # type: ignore[no-untyped-def]
    """Return the share of the subsets that have both people in which they are in one cluster; 0 where no subset has both."""
    together, both = 0, 0
    for word in range(inside.shape[1]):
        shared = inside[a, word] & inside[b, word]
        both += _ones(shared)
        for digit in range(number.shape[2]):
            shared &= ~(number[a, word, digit] ^ number[b, word, digit])
        together += _ones(shared)
    return together / both if both > 0 else 0.0


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
    inside, number = _subsets(values, k, resamples, share, starts, seed)
    n = len(values)
    consensus = np.eye(n)
    for a in range(n):
        for b in range(a):
            consensus[a, b] = consensus[b, a] = _consensus(inside, number, a, b)
    return consensus


@_compiled
def ambiguous_pairs(values, k, resamples, share, starts, seed):  # type: ignore[no-untyped-def]
    """Return the share of pairs of people whose consensus lies between :data:`AMBIGUOUS` (PAC); see :func:`consensus_matrix`.

    The matrix itself, people x people, is not made.
    """
    inside, number = _subsets(values, k, resamples, share, starts, seed)
    n = len(values)
    between = 0
    for a in range(n):
        for b in range(a):
            if AMBIGUOUS[0] < _consensus(inside, number, a, b) < AMBIGUOUS[1]:
                between += 1
    return between / (n * (n - 1) / 2)
