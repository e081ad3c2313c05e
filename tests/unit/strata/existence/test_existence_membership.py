"""Distances from clusters and probabilities, against Gaussian densities with the pooled covariance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, multivariate_normal

from neurostrata.strata.existence.membership import describe_membership, discriminant
from neurostrata.strata.finders.interface import Finding

MIXED = np.array([[1.0, 0.0, 0.0], [0.6, 2.0, 0.0], [-0.5, 0.3, 0.5]])


def people(sizes: list[int], seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """People of Gaussian clusters with one covariance."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return random.normal(size=(len(sizes), 3))[labels] * 2 + random.normal(
        size=(len(labels), 3)
    ) @ MIXED, labels


def pooled(scores: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Means of the clusters, and the unbiased covariance within them."""
    means = [scores[labels == k].mean(axis=0) for k in np.unique(labels)]
    within = sum((len(own) - 1) * np.cov(own.T) for own in (scores[labels == k] for k in np.unique(labels)))
    return means, within / (len(scores) - len(means))


def test_distances_are_those_by_the_unbiased_covariance() -> None:
    """With many small clusters the plain covariance about their means would be a fifth too small."""
    scores, labels = people([5] * 400)
    means, within = pooled(scores, labels)
    squared, _ = discriminant(scores, labels)
    apart = scores - np.stack(means)[labels]
    wanted = np.einsum("np,pq,nq->n", apart, np.linalg.inv(within), apart)
    np.testing.assert_allclose(squared[np.arange(len(labels)), labels], wanted, rtol=0.02)


def test_probabilities_are_bayes_and_others_teach_nothing() -> None:
    """A larger cluster is likelier. Other people are compared with clusters that they have no part in."""
    scores, labels = people([15000, 4000, 1000])
    means, within = pooled(scores, labels)
    others = np.random.default_rng(5).normal(size=(50, 3)) * 3
    density = np.stack([multivariate_normal(mean, within).pdf(others) for mean in means], axis=1)
    density *= np.array([15, 4, 1])
    posterior = discriminant(scores, labels, others)[1]
    np.testing.assert_allclose(posterior, density / density.sum(axis=1, keepdims=True), atol=0.01)
    first = discriminant(scores, labels, others[:1])
    np.testing.assert_allclose(first[1], posterior[:1])
    assert first[0].shape == (1, 3)


def test_the_unit_of_the_codes_does_not_matter() -> None:
    scores, labels = people([30, 20])
    scores[:, 2] = 4.0 * labels  # nobody differs from their own cluster in it
    one, other = discriminant(scores, labels), discriminant(scores * 1e4, labels)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    assert (one[1][np.arange(50), labels] == 1).all()


def test_without_any_spread_every_cluster_is_as_likely() -> None:
    squared, posterior = discriminant(np.zeros((6, 2)), np.array([0, 0, 0, 1, 1, 2]))
    assert (squared == 0).all()
    np.testing.assert_allclose(posterior, 1 / 3)
    same = describe_membership(np.ones((6, 2)), Finding(np.array([1, 1, 1, 2, 2, 2]), 0.0, pd.DataFrame()))
    assert (same.probability == 1).all()
    assert (same.distance == 0).all()
    assert (same.typicality == 1).all()


def test_who_lies_in_the_middle_of_another_cluster_is_no_outlier() -> None:
    random = np.random.default_rng(3)
    codes = np.concatenate([random.normal(size=(100, 2)), random.normal([30, 0], size=(60, 2))])
    clusters = np.repeat([1, 2], [100, 60])
    codes[0], codes[1] = [30, 0], [15, 40]
    member = describe_membership(codes, Finding(clusters, 0.0, pd.DataFrame(), components=2))
    assert member.probability[0] < 1e-6
    assert member.distance[0] > 5
    assert member.typicality[0] > 0.9
    assert member.typicality[1] < 0.001
    rest = np.arange(2, 160)
    np.testing.assert_allclose(member.typicality[rest], chi2.sf(member.distance[rest] ** 2, 2))
    given = np.full((160, 2), 0.5)
    named = Finding(clusters, 0.0, pd.DataFrame(), membership=given, components=2)
    assert (describe_membership(codes, named).probability == 0.5).all()


def test_three_people_have_distances_and_two_have_none() -> None:
    codes = np.array([[0.0, 1.0], [1.0, 0.0], [5.0, 5.0]])
    found = describe_membership(codes, Finding(np.ones(3, dtype=int), 0.0, pd.DataFrame()))
    assert found.distance.max() > 0
    two = describe_membership(codes[:2], Finding(np.ones(2, dtype=int), 0.0, pd.DataFrame()))
    assert two.distance.tolist() == [0, 0]
    assert two.typicality == pytest.approx(1)
