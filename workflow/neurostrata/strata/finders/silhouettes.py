"""The mean silhouette of a partition from a distance matrix, compiled, since a grid has thousands of partitions."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


def silhouette(distances: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    """Return the mean silhouette of a partition.

    Parameters
    ----------
    distances
        People x people, Euclidean, zero diagonal.
    labels
        One per person, 0 .. k-1, with 2 <= k <= n-1.

    Notes
    -----
    The same as scikit-learn's ``silhouette_score(metric="precomputed")``: the only person of a cluster counts 0. Sums are
    taken in a fixed order, so that equal partitions give equal numbers.
    """
    return float(_widths(distances, labels, np.bincount(labels)).mean())


@numba.njit(nogil=True, cache=True)
def _widths(distances, labels, sizes):  # type: ignore[no-untyped-def]
    """Return each person's silhouette width."""
    n = len(labels)
    widths = np.zeros(n)
    sums = np.empty(len(sizes))
    for i in range(n):
        cluster = labels[i]
        if sizes[cluster] == 1:
            continue
        sums[:] = 0
        for j in range(n):
            sums[labels[j]] += distances[i, j]
        inside, outside = sums[cluster] / (sizes[cluster] - 1), np.inf
        for k in range(len(sizes)):
            if k != cluster:
                outside = min(outside, sums[k] / sizes[k])
        largest = max(inside, outside)
        if largest > 0:
            widths[i] = (outside - inside) / largest
    return widths
