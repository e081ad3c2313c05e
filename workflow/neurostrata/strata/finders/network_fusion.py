"""Affinity networks of people, one per modality, fused into one (Wang et al. 2014, Nature Methods 11:333)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurostrata.strata.finders.interface import Array


def affinity(values: Array, neighbours: int, mu: float) -> Array:
    """Return the scaled exponential similarity of all people (Wang's equation 1, as a normal density).

    Parameters
    ----------
    values
        People x numbers.
    neighbours
        Number of nearest people whose distances give the scale of a person's distances.
    mu
        Factor of that scale.
    """
    from scipy.spatial.distance import cdist

    distance = cdist(values, values)
    neighbours = min(neighbours, len(values) - 1)
    tiny = np.spacing(1)
    near = np.partition(distance, neighbours, axis=1)[:, : neighbours + 1].sum(axis=1) / neighbours + tiny
    scale = mu * ((near[:, None] + near[None] + distance) / 3 + tiny)
    weight = np.exp(-0.5 * (distance / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    return np.asarray((weight + weight.T) / 2)


def fuse(affinities: Sequence[Array], neighbours: int, iterations: int) -> Array:
    """Fuse several networks into one (people x people, symmetric, at least 1/2 on the diagonal).

    In each iteration the similarity of two people in one network is replaced by that of their nearest neighbours in the
    other networks (equation 5). A single network is only normalised.
    """
    networks = [_rows_to_one(weight) for weight in affinities]
    total = np.sum(networks, axis=0)
    if len(networks) > 1:
        nearest = [_nearest(network, neighbours) for network in networks]
        eye = np.eye(len(total))
        for _ in range(iterations):
            others = [(total - network) / (len(networks) - 1) for network in networks]
            passed = [near @ (near @ other).T for near, other in zip(nearest, others)]
            networks = [(network + network.T) / 2 + eye for network in passed]
            total = np.sum(networks, axis=0)
    fused = total / len(networks)
    fused /= fused.sum(axis=1, keepdims=True)
    return np.asarray((fused + fused.T + np.eye(len(fused))) / 2)


def leading_eigenvalues(network: Array, number: int) -> Array:
    """Return the largest eigenvalues of the normalised network without its diagonal, the largest (1) first.

    The sum of the first k is what k clusters can have of the people's links inside them at most (relaxed normalised cut).
    """
    from scipy.linalg import eigh

    weight = network - np.diag(np.diag(network))
    root = 1 / np.sqrt(np.maximum(weight.sum(axis=1), np.finfo(float).tiny))
    n = len(weight)
    values = eigh(
        weight * root[:, None] * root, eigvals_only=True, subset_by_index=(max(n - number, 0), n - 1)
    )
    return np.asarray(values[::-1])


def _rows_to_one(weight: Array) -> Array:
    weight = weight / weight.sum(axis=1, keepdims=True)
    return np.asarray((weight + weight.T) / 2)


def _nearest(network: Array, neighbours: int):  # type: ignore[no-untyped-def]
    """Return the network with each person's links to the nearest only (themselves among them), rows summing to 1."""
    from scipy.sparse import csr_array

    n = len(network)
    kept = min(neighbours, n)
    column = np.argpartition(-network, kept - 1, axis=1)[:, :kept]
    value = np.take_along_axis(network, column, axis=1)
    value = value / value.sum(axis=1, keepdims=True)
    return csr_array((value.ravel(), column.ravel(), np.arange(0, n * kept + 1, kept)), shape=(n, n))
