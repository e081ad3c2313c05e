"""Numbers of the clusters of a partition, in a fixed order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]


def canonical(labels: Labels) -> Labels:
    """Return labels renumbered 0, 1, ... in the order in which they first occur."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]


def number_by_size(labels: Labels) -> Labels:
    """Return cluster numbers from 1, the largest cluster first; clusters of equal size in the order of their first people."""
    labels = canonical(labels)
    sizes = np.bincount(labels)
    number = np.empty(len(sizes), dtype=np.intp)
    number[np.argsort(-sizes, kind="stable")] = np.arange(1, len(sizes) + 1)
    return number[labels]
