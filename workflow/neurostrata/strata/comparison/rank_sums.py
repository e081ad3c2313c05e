"""Sums of ranks per cluster over many partitions, compiled."""

from __future__ import annotations

import numba


@numba.njit(nogil=True, cache=True)
def sum_by_cluster(labels, values, sums):  # type: ignore[no-untyped-def]
    """Add up people's values cluster by cluster, for every partition.

    Parameters
    ----------
    labels : ndarray of int, shape (partitions, people)
        0 .. clusters-1.
    values : ndarray, shape (people, factors)
    sums : ndarray, shape (partitions, clusters, factors)
        Filled.
    """
    for partition in range(labels.shape[0]):
        of_partition = sums[partition]
        of_partition[:] = 0
        for person in range(labels.shape[1]):
            row, value = of_partition[labels[partition, person]], values[person]
            for factor in range(values.shape[1]):
                row[factor] += value[factor]
