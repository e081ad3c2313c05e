"""Gaussian mixtures with one covariance for all clusters, fitted by expectation maximisation, compiled.

The data are white: mean 0, covariance I. The covariance within clusters that maximises the likelihood is then
W = I - M' P M, with the clusters' means in the rows of M and their shares on the diagonal of P. Only means and shares
are free, and W itself is never formed: by Woodbury's identity its inverse is I + M' Q M with Q = (1/P - M M')^-1, a
matrix of clusters x clusters. An iteration costs people x components x clusters operations.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Iterations of each start before the starts are compared.
SHORT = 10
#: The best one in so many starts is continued to the end; at least so many are.
ONE_IN, KEPT = 8, 3
#: Largest number of iterations, and the gain of the log likelihood below which they end.
LONG, TOLERANCE = 200, 1e-2
#: Iterations of k-means, from random people, that make a start.
LLOYD = 2
#: A fit with an eigenvalue of W below this has collapsed on a few people and does not count.
LEAST_VARIANCE = 1e-6

_compiled: Any = numba.njit(nogil=True, cache=True)


@_compiled
def _iterate(white, share, iterations):  # type: ignore[no-untyped-def]
    """Run expectation maximisation from memberships `share` (people x clusters), which are overwritten.

    Returns the log likelihood above that of one cluster, -inf when the fit collapsed.
    """
    n, k = share.shape
    last, gain = -np.inf, -np.inf
    eye = np.eye(k)
    for iteration in range(iterations):
        weight = np.zeros(k)
        for i in range(n):
            for c in range(k):
                weight[c] += share[i, c]
        if weight.min() < 1.0:
            return -np.inf
        means = share.T.copy() @ white
        for c in range(k):
            means[c] /= weight[c]
        weight /= n
        gram = means @ means.T
        root = np.sqrt(weight)
        within = eye.copy()
        inverse = -gram
        for a in range(k):
            inverse[a, a] += 1.0 / weight[a]
            for b in range(k):
                within[a, b] -= root[a] * gram[a, b] * root[b]
        variances = np.linalg.eigvalsh(within)
        if variances[0] < LEAST_VARIANCE:
            return -np.inf
        woodbury = np.linalg.inv(inverse)
        products = white @ means.T.copy()
        towards = products @ (eye + woodbury @ gram)
        within_products = gram + gram @ woodbury @ gram
        quadratic = products @ woodbury
        gain = -0.5 * n * np.log(variances).sum()
        half, log_weight = 0.5 * np.diag(within_products), np.log(weight)
        for i in range(n):
            square, largest = 0.0, -np.inf
            for c in range(k):
                square += quadratic[i, c] * products[i, c]
                share[i, c] = towards[i, c] - half[c] + log_weight[c]
                largest = max(largest, share[i, c])
            total = 0.0
            for c in range(k):
                below = share[i, c] - largest
                # exponentials are most of the work, and one of them is always that of 0
                share[i, c] = 1.0 if below == 0.0 else np.exp(below)
                total += share[i, c]
            for c in range(k):
                share[i, c] /= total
            gain += largest + np.log(total) - 0.5 * square
        if gain - last < TOLERANCE and iteration > 2:
            break
        last = gain
    return gain


@_compiled
def _start(white, k):  # type: ignore[no-untyped-def]
    """Return memberships after a few iterations of k-means from random people."""
    n, p = white.shape
    centres = white[np.random.choice(n, k, replace=False)].copy()  # noqa: NPY002 - all that numba compiles
    label = np.zeros(n, np.int64)
    for _ in range(LLOYD):
        for i in range(n):
            nearest = np.inf
            for c in range(k):
                distance = 0.0
                for j in range(p):
                    distance += (white[i, j] - centres[c, j]) ** 2
                if distance < nearest:
                    nearest = distance
                    label[i] = c
        counts = np.zeros(k)
        sums = np.zeros((k, p))
        for i in range(n):
            counts[label[i]] += 1
            for j in range(p):
                sums[label[i], j] += white[i, j]
        for c in range(k):
            centres[c] = sums[c] / counts[c] if counts[c] > 0 else white[np.random.randint(n)]  # noqa: NPY002
    share = np.full((n, k), 1e-3)
    for i in range(n):
        share[i, label[i]] = 1.0
        share[i] /= share[i].sum()
    return share


@_compiled
def fit_mixture(white, k, starts, seed):  # type: ignore[no-untyped-def]
    """Fit a mixture of `k` Gaussians with one covariance.

    Parameters
    ----------
    white : ndarray, shape (people, components)
        Mean 0 and covariance I (divided by the number of people), C order.
    k : int
        Clusters, at least 2.
    starts : int
        Random starts; all run for a few iterations, the best few to the end.
    seed : int

    Returns
    -------
    gain : float
        Log likelihood above that of one Gaussian; -inf when every fit collapsed on a few people.
    share : ndarray, shape (people, k)
        Probability of belonging to each cluster.
    """
    np.random.seed(seed)  # noqa: NPY002 - of the compiled code only, thread by thread
    n = len(white)
    gains = np.empty(starts)
    shares = np.empty((starts, n, k))
    for start in range(starts):
        shares[start] = _start(white, k)
        gains[start] = _iterate(white, shares[start], SHORT)
    order = np.argsort(-gains)
    best, share = -np.inf, shares[order[0]].copy()
    for place in range(min(max(KEPT, starts // ONE_IN), starts)):
        continued = shares[order[place]].copy()
        gain = _iterate(white, continued, LONG)
        if gain > best:
            best, share = gain, continued
    return best, share
