"""How well each person belongs to their cluster: probability, distance, and whether they fit any cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurostrata.strata.finders.interface import Array, Finding, Labels
from neurostrata.strata.finders.mixture import PEOPLE_PER_COMPONENT, principal_scores

#: Largest number of components in which distances are measured when the finder does not say how many it used.
MOST_COMPONENTS = 20


@dataclass(frozen=True)
class Membership:
    """Each person's relation to their own cluster.

    Attributes
    ----------
    probability
        Of belonging to this cluster rather than to another; 1 with one cluster.
    distance
        Mahalanobis distance from the cluster's centre.
    typicality
        Share of a Gaussian cluster's people that lie as far or farther: the chi-square tail of the squared distance.
    """

    probability: Array
    distance: Array
    typicality: Array


def distance_components(finding: Finding, people: int) -> int:
    """Return the number of leading components in which distances from a finding's clusters are measured."""
    return finding.components or min(MOST_COMPONENTS, max(2, people // PEOPLE_PER_COMPONENT))


def discriminant(scores: Array, labels: Labels, others: Array | None = None) -> tuple[Array, Array]:
    """Return squared Mahalanobis distances and posterior probabilities, both people x clusters.

    Clusters are Gaussian with one covariance, that of the people about their clusters' means (shrunk as Ledoit and Wolf),
    and as frequent as they are here. `labels` are 0 .. k-1. With `others`, the distances and probabilities are of these people's scores to the
    clusters of the people with labels.
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.special import softmax
    from sklearn.covariance import ledoit_wolf

    number = int(labels.max()) + 1
    centres = np.stack([scores[labels == cluster].mean(axis=0) for cluster in range(number)])
    residual = scores - centres[labels]
    n, k = len(scores), number
    # in units of the spread within clusters, because shrinkage is towards equal variances
    spread = np.sqrt((residual**2).mean(axis=0))
    spread = np.maximum(spread, 1e-6 * scores.std(axis=0).max())
    if not (spread > 0).all():
        return np.zeros((n, k)), np.full((n, k), 1 / k)
    shrunk, _ = ledoit_wolf(residual / spread, assume_centered=True)
    within = (shrunk + 1e-9 * np.eye(len(shrunk))) * np.outer(spread, spread) * n / max(n - k, 1)
    factor = cho_factor(within)
    apart = (scores if others is None else others)[:, None] - centres[None]
    squared = np.einsum(
        "nkp,nkp->nk", apart, cho_solve(factor, apart.reshape(-1, scores.shape[1]).T).T.reshape(apart.shape)
    )
    share = np.bincount(labels, minlength=k) / n
    return squared, softmax(np.log(share) - squared / 2, axis=1)


def describe_membership(codes: Array, finding: Finding) -> Membership:
    """Describe how well everybody belongs to a finding's clusters.

    Parameters
    ----------
    codes
        People x dimensions.
    finding
        Its probabilities are used where it has them; otherwise those of :func:`discriminant`.
    """
    from scipy.stats import chi2

    n = len(codes)
    scores = principal_scores(codes, distance_components(finding, n))
    if n < 3 or scores.shape[1] == 0:
        return Membership(np.ones(n), np.zeros(n), np.ones(n))
    labels = finding.clusters - 1
    squared, posterior = discriminant(scores, labels)
    if finding.membership is not None:
        posterior = finding.membership
    rows = np.arange(n)
    to_own_cluster = squared[rows, labels]
    # a person who is typical of any cluster is no outlier
    nearest = np.minimum(to_own_cluster, squared.min(axis=1))
    return Membership(posterior[rows, labels], np.sqrt(to_own_cluster), chi2.sf(nearest, scores.shape[1]))
