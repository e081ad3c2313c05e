"""The parts of similarity network fusion by hand: what is compared with what, and what is chosen."""

import numpy as np
import pytest
import sklearn.cluster
from sklearn.cluster import SpectralClustering

from neurostrata.strata.finders import similarity_network_fusion as module
from neurostrata.strata.finders.labels import number_by_size
from neurostrata.strata.finders.mixture import principal_scores, whiten, without_heavy_tails
from neurostrata.strata.finders.network_fusion import affinity, fuse, leading_eigenvalues
from neurostrata.strata.finders.reference import shares_of_clusters, similar_size
from neurostrata.strata.finders.similarity_network_fusion import (
    SimilarityNetworkFusion,
    covariance,
    fused_network,
    reference,
    split_code,
    sums_and_gaps,
    white_scores,
)

OPTIONS = {
    "components": [2, 3],
    "max_clusters": 4,
    "neighbours": 6,
    "mu": 0.5,
    "iterations": 3,
    "reference_draws": 5,
}
PARTS = ["jac", "ndi"] * 4


def codes(people=40, numbers=8, seed=0):
    return (
        np.random.default_rng(seed).standard_normal((people, numbers))
        * [3, 3, 2, 2, 1, 1, 0.5, 0.5][:numbers]
    )


def searched(monkeypatch, sums, gaps, mean=0.0, spread=1.0, parts=PARTS, like=None, values=None):
    """Run find() with these measures (components x clusters); return the finding and what was asked for."""
    measures = np.array([sums, gaps], dtype=float)
    asked = {}

    def measured(*given):
        asked["measures"] = given
        return measures.copy()

    def drawn(*given):
        asked["reference"] = given
        return np.zeros(measures.shape) + mean, np.zeros(measures.shape) + spread

    class Clustering(SpectralClustering):
        def fit_predict(self, network):
            asked["clustering"] = (self.get_params(), network)
            return super().fit_predict(network)

    monkeypatch.setattr(module, "sums_and_gaps", measured)
    monkeypatch.setattr(module, "reference", drawn)
    monkeypatch.setattr(sklearn.cluster, "SpectralClustering", Clustering)
    finder = SimilarityNetworkFusion(OPTIONS, seed=4, parts=parts)
    if like is not None:
        finder = finder.quick(like)
    return finder.find(codes() if values is None else values, "progress"), asked


def test_the_components_are_those_of_the_sum_and_the_clusters_those_of_the_gap(monkeypatch):
    sums, gaps = [[6.0, 6.0, 6.0], [4.0, 9.0, 5.0]], [[0.5, 0.6, 9.0], [3.0, 2.0, 1.0]]
    of_sums_and_gaps = {
        "mean": np.reshape([1.0, 0.25], (2, 1, 1)),
        "spread": np.reshape([2.0, 0.5], (2, 1, 1)),
    }
    found, asked = searched(monkeypatch, sums, gaps, **of_sums_and_gaps)
    assert found.statistic == 4.0
    assert found.facts == {"modalities": 2, "components_per_modality": 3}
    assert found.components is None
    scores = white_scores(split_code(codes(), PARTS), 3)
    network = fused_network(scores, 3, 6, 0.5, 3)
    wanted = SpectralClustering(2, affinity="precomputed", random_state=4).fit_predict(network)
    np.testing.assert_array_equal(found.clusters, number_by_size(wanted))
    np.testing.assert_array_equal(found.membership, shares_of_clusters(network, found.clusters))
    parameters, given = asked["clustering"]
    assert (parameters["n_clusters"], parameters["affinity"], parameters["random_state"]) == (
        2,
        "precomputed",
        4,
    )
    np.testing.assert_array_equal(given, network)
    search = found.search
    assert list(search) == list(SimilarityNetworkFusion.search_columns)
    assert list(zip(search["components"], search["n_clusters"])) == [
        (p, k) for p in (2, 3) for k in (2, 3, 4)
    ]
    for column, values in (
        ("eigenvalues", np.array(sums)),
        ("standardised", (np.array(sums) - 1) / 2),
        ("gap", np.array(gaps)),
        ("gap_standardised", (np.array(gaps) - 0.25) / 0.5),
    ):
        np.testing.assert_array_equal(search[column], values.ravel())
    assert (search["reference_mean"] == 1).all()
    assert (search["reference_sd"] == 2).all()


def test_what_is_measured_and_what_is_drawn(monkeypatch):
    _, asked = searched(monkeypatch, np.ones((2, 3)), np.ones((2, 3)))
    scores = white_scores(split_code(codes(), PARTS), 3)
    given, *rest = asked["measures"]
    np.testing.assert_array_equal(given, scores)
    assert rest == [(2, 3), (2, 3, 4), 6, 0.5, 3, "progress"]
    assert asked["reference"] == (
        similar_size(40),
        covariance(scores, 3),
        2,
        (2, 3),
        (2, 3, 4),
        6,
        0.5,
        3,
        5,
    )


def test_the_quick_form_has_the_reference_of_other_codes(monkeypatch):
    other = codes(seed=7)
    _, asked = searched(monkeypatch, np.ones((2, 3)), np.ones((2, 3)), like=other)
    assert asked["reference"][1] == covariance(white_scores(split_code(other, PARTS), 3), 3)
    np.testing.assert_array_equal(asked["measures"][0], white_scores(split_code(codes(), PARTS), 3))
    # other codes of fewer directions, and those in which a modality does not vary
    other = codes(seed=7)
    other[:, [5, 7]] = other[:, [1, 3]]
    _, asked = searched(monkeypatch, np.ones((1, 3)), np.ones((1, 3)), like=other)
    assert asked["measures"][1] == (2,)
    other[:, 1::2] = 0
    found, _ = searched(monkeypatch, np.ones((1, 3)), np.ones((1, 3)), like=other)
    assert found.reason == "the codes vary in 3 directions only"


def test_a_code_without_parts_says_its_components(monkeypatch):
    found, asked = searched(monkeypatch, np.ones((2, 3)), np.ones((2, 3)), parts=None)
    assert found.components == 2
    assert found.facts["modalities"] == 1
    assert asked["reference"][2] == 1


def test_too_few_people_or_directions(monkeypatch):
    given = (monkeypatch, np.ones((1, 3)), np.ones((1, 3)))
    found, _ = searched(*given, values=codes(5))
    assert found.reason == "5 people are too few for networks in any number of components"
    assert list(found.search) == list(SimilarityNetworkFusion.search_columns)
    found, _ = searched(*given, values=np.ones((40, 8)))
    assert found.reason == "the codes vary in 0 directions only"
    values = codes()
    values[:, [2, 4, 6]] = 0
    found, _ = searched(*given, values=values)
    assert found.reason == "the codes vary in 1 directions only"


def test_codes_are_split_by_modality():
    values = codes(3, 4)
    first, second = split_code(values, ["b", "a", "b", "a"])
    np.testing.assert_array_equal(first, values[:, [0, 2]])
    np.testing.assert_array_equal(second, values[:, [1, 3]])
    (whole,) = split_code(values, None)
    assert whole is values


def test_scores_have_unit_variance_and_parts_that_do_not_vary_are_left_out():
    values = codes()
    (first,) = white_scores([values[:, :4], np.ones((40, 3))], 3)
    wanted = principal_scores(values[:, :4], 3)
    np.testing.assert_allclose(first, wanted / wanted.std(axis=0), rtol=1e-12)


def test_the_covariance_is_of_all_parts_side_by_side():
    scores = white_scores(split_code(codes(), PARTS), 4)
    found = covariance(scores, 2)
    joint = np.concatenate([part[:, :2] for part in scores], axis=1)
    np.testing.assert_allclose(found, np.cov(joint.T, bias=True), atol=0.6e-6)
    assert all(round(value, 6) == value for row in found for value in row)
    assert len({found}) == 1  # can be cached


def test_the_network_is_fused_from_white_components():
    scores = white_scores(split_code(codes(), PARTS), 4)
    parts = [without_heavy_tails(whiten(part[:, :2])) for part in scores]
    wanted = fuse([affinity(part, 6, 0.5) for part in parts], 6, 3)
    np.testing.assert_array_equal(fused_network(scores, 2, 6, 0.5, 3), wanted)


@pytest.mark.parametrize(("people", "clusters"), [(40, (2, 3, 4)), (4, (2, 3, 4)), (4, (2, 5, 9))])
def test_sums_and_gaps_of_eigenvalues(people, clusters):
    scores = [codes(people, 3), codes(people, 3, seed=1)]
    done = []
    found = sums_and_gaps(scores, (1, 2), clusters, 3, 0.5, 2, lambda *step: done.append(step))
    assert found.shape == (2, 2, 3)
    for i, p in enumerate((1, 2)):
        values = [*leading_eigenvalues(fused_network(scores, p, 3, 0.5, 2), people), *[0.0] * 9]
        for j, k in enumerate(clusters):
            assert found[0, i, j] == pytest.approx(sum(values[1:k]), abs=1e-12)
            assert found[1, i, j] == pytest.approx(values[k - 1] - values[k], abs=1e-12)
    assert done == [(1, 2), (2, 2)]
    np.testing.assert_array_equal(sums_and_gaps(scores, (1, 2), clusters, 3, 0.5, 2), found)


def test_the_reference_is_of_gaussian_draws_of_that_covariance(monkeypatch):
    drawn, shift = [], np.array([0.0, 1.0])[:, None, None]

    def measured(scores, *given):
        drawn.append(np.concatenate(scores, axis=1))
        assert [part.shape for part in scores] == [(5000, 2)] * 2
        assert given == ((1, 2), (2, 3), 3, 0.5, 2)
        return np.full((2, 2, 2), float(len(drawn) ** 2)) + shift

    monkeypatch.setattr(module, "sums_and_gaps", measured)
    generator = np.random.default_rng(3)
    joint = np.cov(generator.standard_normal((4, 9)))
    mean, spread = reference.__wrapped__(5000, tuple(map(tuple, joint)), 2, (1, 2), (2, 3), 3, 0.5, 2, 3)
    np.testing.assert_allclose(mean, np.full((2, 2, 2), 14 / 3) + shift)
    np.testing.assert_allclose(spread, np.full((2, 2, 2), np.std([1, 4, 9])))
    for draw, values in enumerate(drawn):
        np.testing.assert_allclose(values.T @ values / 5000, joint, atol=0.1)
        # by the symmetric root of the covariance, from draws that the size and the number alone decide
        plain = np.random.default_rng([5000, draw]).standard_normal((5000, 4))
        root = np.linalg.lstsq(plain, values, rcond=None)[0]
        np.testing.assert_allclose(root, root.T, atol=1e-10)
        np.testing.assert_allclose(root @ root, joint, atol=1e-10)


def test_a_covariance_of_lower_rank_and_draws_that_are_alike(monkeypatch):
    monkeypatch.setattr(
        module, "sums_and_gaps", lambda scores, *_: np.zeros((2, 1, 1)) + np.isnan(scores).any()
    )
    joint = ((1.0, 1.0 + 1e-7), (1.0 + 1e-7, 1.0))  # rounded, with an eigenvalue below 0
    mean, spread = reference.__wrapped__(20, joint, 2, (1,), (2,), 3, 0.5, 2, 3)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(spread, 1e-6)
