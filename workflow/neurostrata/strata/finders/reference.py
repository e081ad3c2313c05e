"""Helpers shared by finders that standardise their evidence by draws of data without groups."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from threading import Lock
from typing import TypeVar

import numpy as np

from neurostrata.strata.finders.interface import Array, Labels

#: Cohorts whose sizes differ by less than about this share have the same reference.
SIMILAR = 0.05
#: Standard deviations over the draws are taken to be at least this.
LEAST_SPREAD = 0.01

Result = TypeVar("Result")


def made_once(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return the function with its last results kept, also while threads ask for the same one at the same time.

    The others wait for the first, which draws with all threads; each would draw the whole reference by itself.
    """
    kept = lru_cache(maxsize=64)(function)
    locks: dict[tuple[object, ...], Lock] = {}

    @wraps(function)
    def once(*arguments: object) -> Result:
        with locks.setdefault(arguments, Lock()):
            return kept(*arguments)

    return once


def similar_size(people: int) -> int:
    """Return a rounded number of people, so that samples of similar size share one reference.

    Below 30 people it is the number itself.
    """
    if people < 30:
        return people
    return round(30 * (1 + SIMILAR) ** round(np.log(people / 30) / np.log(1 + SIMILAR)))


def shares_of_clusters(similarity: Array, clusters: Labels) -> Array:
    """Return memberships: how similar each person is to the people of each cluster, relative to all clusters.

    Parameters
    ----------
    similarity
        People x people, none negative.
    clusters
        From 1.

    Returns
    -------
    ndarray, shape (people, clusters)
        Mean similarity to the other people of a cluster, divided by the sum over the clusters; the only person of a
        cluster belongs to it entirely.
    """
    number = int(clusters.max())
    member = np.eye(number)[clusters - 1]
    sums = similarity @ member - np.diag(similarity)[:, None] * member
    others = member.sum(axis=0) - member
    means = np.divide(sums, others, out=np.zeros_like(sums), where=others > 0)
    alone = (others == 0) & (member == 1)
    means[alone.any(axis=1)] = 0.0
    means[alone] = 1.0
    total = means.sum(axis=1, keepdims=True)
    return np.where(total > 0, means / np.where(total > 0, total, 1.0), member)
