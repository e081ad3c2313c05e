"""What consensus clustering compares and chooses, with consensus matrices that are given."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from neurostrata.strata.finders import consensus, consensus_fit
from neurostrata.strata.finders.consensus import Consensus, ambiguities, average_linkage, reference
from neurostrata.strata.finders.labels import number_by_size
from neurostrata.strata.finders.mixture import principal_scores, whiten, without_heavy_tails
from neurostrata.strata.finders.reference import shares_of_clusters, similar_size

OPTIONS = {
    "components": [2, 3],
    "max_clusters": 4,
    "resamples": 40,
    "share": 0.8,
    "starts": 3,
    "reference_draws": 6,
}


def codes(people=40, numbers=3):
    return np.random.default_rng(0).standard_normal((people, numbers)) * [3, 2, 1][:numbers]


def test_the_clearest_consensus_is_chosen(monkeypatch):
    pac = np.array([[0.5, 0.2, 0.3], [0.4, 0.0, 0.6]])
    mean = np.array([[-0.5, -0.6, -0.7], [-0.8, -5.0, -0.1]])
    spread = np.array([[0.1, 0.2, 0.3], [0.4, 1.0, 0.6]])
    matrix = np.random.default_rng(1).random((40, 40))
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1)
    asked = {}

    def measured(*given):
        asked["pac"] = given
        return pac

    def drawn(*given):
        asked["reference"] = given
        return mean, spread

    def counted(*given):
        asked["matrix"] = given
        return matrix

    monkeypatch.setattr(consensus, "ambiguities", measured)
    monkeypatch.setattr(consensus, "reference", drawn)
    monkeypatch.setattr(consensus_fit, "consensus_matrix", counted)
    found = Consensus(OPTIONS, seed=5).find(codes(), "progress")
    standardised = (mean - np.log(pac + 0.001)) / spread
    i, j = np.unravel_index(standardised.argmax(), (2, 3))
    assert (i, j) == (0, 1)
    assert found.statistic == pytest.approx(standardised.max())
    assert found.components == 2
    scores = principal_scores(codes(), 3)
    np.testing.assert_array_equal(asked["pac"][0], scores)
    assert asked["pac"][1:] == ((2, 3), (2, 3, 4), 40, 0.8, 3, 5, "progress")
    assert asked["reference"] == (similar_size(40), (2, 3), (2, 3, 4), 40, 0.8, 3, 6, 1)
    np.testing.assert_array_equal(asked["matrix"][0], without_heavy_tails(whiten(scores[:, :2])))
    assert asked["matrix"][1:] == (3, 40, 0.8, 3, 5)
    np.testing.assert_array_equal(found.clusters, number_by_size(average_linkage(matrix, 3)))
    np.testing.assert_array_equal(found.membership, shares_of_clusters(matrix, found.clusters))
    search = found.search
    assert list(search) == [
        "components",
        "n_clusters",
        "pac",
        "reference_mean",
        "reference_sd",
        "standardised",
    ]
    assert list(zip(search["components"], search["n_clusters"])) == [
        (p, k) for p in (2, 3) for k in (2, 3, 4)
    ]
    for column, values in (("pac", pac), ("reference_mean", mean), ("reference_sd", spread)):
        np.testing.assert_array_equal(search[column], values.ravel())
    np.testing.assert_allclose(search["standardised"], standardised.ravel())


def test_too_few_people_or_directions():
    found = Consensus(OPTIONS).find(codes(5))
    assert found.reason == "5 people are too few for consensus clustering in any number of components"
    assert list(found.search) == list(Consensus.search_columns)
    found = Consensus(OPTIONS).find(np.tile(codes(40, 1), 3))
    assert found.reason == "the codes vary in 1 directions only"
    assert list(found.search) == list(Consensus.search_columns)


def test_the_quick_form_has_fewer_resamples_but_never_more():
    assert Consensus(OPTIONS).quick().options == {**OPTIONS, "resamples": 30}
    assert Consensus({"resamples": 20}).quick().options == {"resamples": 20}


def test_linkage_is_by_means():
    similarity = np.random.default_rng(2).random((9, 9))
    similarity = (similarity + similarity.T) / 2
    np.fill_diagonal(similarity, 0.7)  # not used
    wanted = fcluster(linkage((1 - similarity)[np.triu_indices(9, 1)], "average"), 4, "maxclust")
    found = average_linkage(similarity, 4)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.intp
    assert found.max() == 4


def test_ambiguity_is_of_each_number_of_components_and_clusters(monkeypatch):
    monkeypatch.setattr(consensus_fit, "ambiguous_pairs", lambda *given: given[0].shape[1] + given[1] / 10)
    seen, steps = [], []
    monkeypatch.setattr(consensus, "whiten", lambda values: seen.append(values.shape) or whiten(values))
    found = ambiguities(codes(), (2, 3), (2, 4), 9, 0.5, 2, 6, lambda *step: steps.append(step))
    np.testing.assert_allclose(found, [[2.2, 2.4], [3.2, 3.4]])
    assert seen == [(40, 2), (40, 3)]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_reference_is_of_gaussian_draws(monkeypatch):
    seen = []

    def measured(scores, *given):
        seen.append((scores, *given))
        return np.array([[0.0, 0.5]]) * (given[-1] + 1)

    monkeypatch.setattr(consensus, "ambiguities", measured)
    mean, spread = reference.__wrapped__(12, (2,), (2, 3), 9, 0.5, 2, 3)
    for draw, (scores, *given) in enumerate(seen):
        np.testing.assert_array_equal(scores, np.random.default_rng([12, draw]).standard_normal((12, 2)))
        assert given == [(2,), (2, 3), 9, 0.5, 2, draw]
    logs = np.log(np.array([0.5, 1.0, 1.5]) + 0.001)
    np.testing.assert_allclose(mean, [[np.log(0.001), logs.mean()]])
    np.testing.assert_allclose(spread, [[0.01, logs.std()]])
