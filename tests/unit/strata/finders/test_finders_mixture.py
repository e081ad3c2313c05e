"""The parts of the mixture finder by hand: what is searched, what is chosen, what is averaged."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi

from neurostrata.core.config import section_defaults
from neurostrata.strata.finders import mixture, mixture_fit
from neurostrata.strata.finders.mixture import (
    Mixture,
    Reference,
    averaged,
    component_numbers,
    likelihood_ratios,
    principal_scores,
    reference,
    whiten,
    without_heavy_tails,
)
from neurostrata.strata.finders.reference import similar_size

OPTIONS = {"components": [2, 3, 4], "max_clusters": 4, "starts": 100, "reference_draws": 7}


def codes(people=40, numbers=6, seed=0):
    return np.random.default_rng(seed).standard_normal((people, numbers))


# ----------------------------------------------------------------------------------------------- find()
def searched(monkeypatch, ratios, shares=None, n=40, expected=None, options=OPTIONS, quick=False, **given):
    """Run find() with these likelihood ratios (components x clusters); return the finding and what was asked for."""
    ratios = np.array(ratios, dtype=float)
    asked = {}
    if shares is None:
        own = np.random.default_rng(5).random((n, 3)) + 0.1
        own /= own.sum(axis=1, keepdims=True)
        shares = {(i, j): own[:, : j + 2] for i in range(len(ratios)) for j in range(ratios.shape[1])}
    if expected is None:
        expected = Reference(*(np.full(ratios.shape, value) for value in (0.0, 1.0, 0.0, 1.0)))

    def fitted(scores, components, clusters, starts, seed):
        asked["fit"] = (scores.shape, components, clusters, starts, seed)
        return ratios.copy(), shares

    def drawn(*arguments):
        asked["reference"] = arguments
        return expected

    monkeypatch.setattr(mixture, "likelihood_ratios", fitted)
    monkeypatch.setattr(mixture, "reference", drawn)
    finder = Mixture(options, seed=3, threads=2)
    found = (finder.quick() if quick else finder).find(given.get("values", codes(n)))
    return found, asked


def one_hot(labels, number, certainty=0.9):
    share = np.full((len(labels), number), (1 - certainty) / (number - 1))
    share[np.arange(len(labels)), labels] = certainty
    return share


def test_the_number_of_clusters_is_that_of_most_evidence(monkeypatch):
    # evidence: mean of the two largest over the components; 2 clusters: 5, 3 clusters: 6, 4 clusters: 4.5
    ratios = [[6, 9, 8], [4, 3, 1], [1, -7, 0.5]]
    found, asked = searched(monkeypatch, ratios)
    assert asked["fit"] == ((40, 4), (2, 3, 4), (2, 3, 4), 100, 3)
    assert asked["reference"] == (40, (2, 3, 4), (2, 3, 4), 100, 7, 2)
    assert found.statistic == 6.0
    search = found.search
    assert list(search) == list(Mixture.search_columns)
    assert list(zip(search["components"], search["n_clusters"])) == [
        (p, k) for p in (2, 3, 4) for k in (2, 3, 4)
    ]
    np.testing.assert_array_equal(search["likelihood_ratio"], np.ravel(ratios))
    np.testing.assert_array_equal(search["evidence"], [5.0, 6.0, 4.5] * 3)
    np.testing.assert_array_equal(search["step"], np.ravel([[6, 3, -1], [4, -1, -2], [1, -8, 7.5]]))
    # half of 9 and more: 3 components are not used
    assert list(search.loc[search["used"] == "yes", "components"]) == [2]
    assert found.components == 2
    assert found.reason is None
    assert found.number == 3


def test_ratios_are_standardised_by_those_of_gaussian_data(monkeypatch):
    ratios = np.array([[6.0, 9.0, 8.0], [4.0, 3.0, 1.0], [1.0, -7.0, 0.5]])
    generator = np.random.default_rng(1)
    expected = Reference(*(generator.random((3, 3)) + 0.5 for _ in range(4)))
    search = searched(monkeypatch, ratios, expected=expected)[0].search
    standardised = (ratios - expected.mean) / expected.spread
    steps = (
        ratios - np.column_stack([np.zeros(3), ratios[:, :2]]) - expected.step_mean
    ) / expected.step_spread
    for column, wanted in (
        ("reference_mean", expected.mean),
        ("reference_sd", expected.spread),
        ("standardised", standardised),
        ("step", steps),
    ):
        np.testing.assert_allclose(search[column], wanted.ravel(), rtol=1e-12)


def test_one_cluster_more_is_accepted_as_long_as_the_gain_is_large(monkeypatch):
    def chosen(*onwards):
        # evidence is largest for 2 clusters; the gains over one cluster fewer come from their own reference
        ratios = np.array([[9.0, 8.0, 7.0, 6.0]] * 3)
        shift = -1.0 - np.array([0.0, *onwards])
        expected = Reference(np.zeros((3, 4)), np.ones((3, 4)), np.tile(shift, (3, 1)), np.ones((3, 4)))
        own = {(i, j): one_hot(np.arange(40) % (j + 2), j + 2) for i in range(3) for j in range(4)}
        found, _ = searched(
            monkeypatch, ratios, own, expected=expected, options={**OPTIONS, "max_clusters": 5}
        )
        assert found.statistic == 9.0  # the evidence is that of the most evident number
        assert set(found.search.loc[found.search["used"] == "yes", "n_clusters"]) == {found.number}
        return found.number

    assert chosen(3, 9, 9) == 2
    assert chosen(4, 9, 9) == 2  # more than 4
    assert chosen(5, 3, 9) == 3
    assert chosen(5, 5, 4) == 4
    assert chosen(5, 5, 5) == 5


def test_the_gain_is_the_mean_of_the_two_largest(monkeypatch):
    ratios = np.array([[9.0, 8.0, 7.0]] * 3)
    for gains, number in (((10.0, -2.0, -50.0), 2), ((10.0, -1.0, -50.0), 3)):
        step_mean = np.tile([0.0, -1.0, 99.0], (3, 1))
        step_mean[:, 1] -= gains
        expected = Reference(np.zeros((3, 3)), np.ones((3, 3)), step_mean, np.ones((3, 3)))
        assert searched(monkeypatch, ratios, expected=expected)[0].number == number


def test_mixtures_with_half_of_the_largest_ratio_are_averaged(monkeypatch):
    ratios = np.array([[8.0, 1, 1], [4.0, 1, 1], [3.9, 1, 1]])
    labels = np.repeat([0, 1], [15, 25])
    own = {(i, j): one_hot(np.arange(40) % (j + 2), j + 2) for i in range(3) for j in range(3)}
    own[0, 0], own[1, 0] = one_hot(labels, 2), one_hot(1 - labels, 2, 0.6)
    found, _ = searched(monkeypatch, ratios, own)
    assert list(found.search["used"]) == ["yes", "no", "no", "yes", "no", "no", "no", "no", "no"]
    assert found.components == 3
    # the larger cluster is number 1; clusters are matched, and weighted by their ratios: (8 x 0.9 + 4 x 0.6) / 12
    np.testing.assert_array_equal(found.clusters, np.where(labels == 1, 1, 2))
    np.testing.assert_allclose(found.membership, one_hot(1 - labels, 2, 0.8), rtol=1e-12)


@pytest.mark.parametrize("largest", [0.0, -2.0])
def test_where_none_has_evidence_the_best_mixture_alone_is_used(monkeypatch, largest):
    ratios = np.full((3, 3), -90.0)
    ratios[:, 0] = [largest - 2, largest, largest - 0.5]
    found, _ = searched(monkeypatch, ratios)
    assert found.components == 3
    assert (found.search["used"] == "yes").sum() == 1
    assert found.statistic == largest - 0.25


@pytest.mark.filterwarnings("error")
def test_collapsed_mixtures_are_no_evidence(monkeypatch):
    ratios = np.array([[9.0, np.inf, 1], [8.0, -np.inf, 1], [7.0, -np.inf, -np.inf]])
    found, _ = searched(monkeypatch, ratios)
    assert found.statistic == 8.5
    assert found.number == 2
    assert found.search["likelihood_ratio"].isna().sum() == 4
    assert not np.isinf(found.search.drop(columns="used").to_numpy(dtype=float)).any()
    found, _ = searched(monkeypatch, np.full((3, 3), -np.inf))
    assert found.reason == "every mixture collapsed on a few people"
    assert len(found.search) == 9
    assert found.statistic == -np.inf


def test_a_cluster_that_is_nobodys_most_probable_has_no_number(monkeypatch):
    own = {(i, j): np.tile([0.2, 0.5, 0.3, 0.0][: j + 2], (40, 1)) for i in range(3) for j in range(3)}
    ratios = np.array([[1.0, 9.0, 1.0]] * 3)
    found, _ = searched(monkeypatch, ratios, own)
    assert found.reason == "the clusters of the best mixture are nobody's most probable ones"
    assert found.statistic == -np.inf
    for i in range(3):
        own[i, 1][:10] = [0.1, 0.3, 0.6]
    found, _ = searched(monkeypatch, ratios, own)
    assert found.reason is None
    assert found.number == 2
    np.testing.assert_allclose(found.membership[0], [1 / 3, 2 / 3])
    np.testing.assert_allclose(found.membership[-1], [5 / 8, 3 / 8])


@pytest.mark.parametrize(
    ("people", "clusters"), [(13, (2,)), (20, (2,)), (21, (2, 3)), (28, (2, 3, 4)), (90, (2, 3, 4))]
)
def test_clusters_have_seven_people_on_average(monkeypatch, people, clusters):
    tried = component_numbers(people, 6, OPTIONS["components"])
    _, asked = searched(monkeypatch, np.ones((len(tried), len(clusters))), n=people)
    assert asked["fit"][2] == clusters


@pytest.mark.parametrize(
    ("people", "starts", "tried"),
    [
        (40, 100, (2, 3, 4)),
        (300, 33, (2, 3, 4)),
        (500, 20, (2, 3, 4)),
        (501, 20, (2, 4)),
        (2000, 10, (2, 4)),
    ],
)
def test_repeated_searches_of_many_people_have_fewer_starts(monkeypatch, people, starts, tried):
    ratios = np.ones((len(tried), 3))
    _, asked = searched(monkeypatch, ratios, n=people, quick=True)
    assert asked["fit"][1:4] == (tried, (2, 3, 4), starts)
    assert asked["reference"][:4] == (similar_size(people), tried, (2, 3, 4), starts)
    _, asked = searched(monkeypatch, np.ones((3, 3)), n=people)
    assert asked["fit"][1:4] == ((2, 3, 4), (2, 3, 4), 100)
    assert asked["reference"][0] == people


def test_two_numbers_of_components_stay_two(monkeypatch):
    options = {**OPTIONS, "components": [2, 3], "starts": 8}
    _, asked = searched(monkeypatch, np.ones((2, 3)), n=600, options=options, quick=True)
    assert asked["fit"][1] == (2, 3)
    assert asked["fit"][3] == 8  # never more than were asked for


def test_codes_that_vary_in_few_directions_have_few_components(monkeypatch):
    values = codes()
    values[:, 3:] = values[:, :3]
    _, asked = searched(monkeypatch, np.ones((2, 3)), values=values)
    assert asked["fit"][:2] == ((40, 3), (2, 3))
    found, _ = searched(monkeypatch, np.ones((1, 1)), values=np.ones((40, 6)))
    assert found.reason == "40 people are too few, or their codes too alike, for any number of components"
    assert list(found.search) == list(Mixture.search_columns)
    found, _ = searched(monkeypatch, np.ones((1, 1)), values=codes(5))
    assert found.reason.startswith("5 people")


def test_the_quick_form_is_another_finder():
    finder = Mixture(OPTIONS)
    assert finder.quick().repeated is True
    assert finder.repeated is False


def test_the_methods_sentence_has_the_options():
    options = {
        **section_defaults("strata")["mixture"],
        "components": [4, 6],
        "starts": 1,
        "reference_draws": 30,
    }
    assert Mixture.methods_text({**options, "max_clusters": 5}) == (
        "Gaussian mixtures with one covariance for all clusters, fitted to the 4 and 6 leading whitened components of the code from "
        "1 random start, with up to 5 clusters; their number chosen by the likelihood ratio's excess over 30 draws of Gaussian data, "
        "in standard deviations, on which two numbers of components agree, and memberships averaged over the numbers of components "
        "that speak for it"
    )


# -------------------------------------------------------------------------------------------- the parts
def test_memberships_are_averaged_by_weight():
    first, second = one_hot(np.array([0, 0, 1]), 2, 0.9), one_hot(np.array([1, 1, 0]), 2, 0.7)
    np.testing.assert_allclose(
        averaged({0: second, 2: first}, np.array([1.0, 9.0, 3.0])), one_hot(np.array([0, 0, 1]), 2, 0.85)
    )
    # the mixture of the largest weight gives the order of the clusters
    np.testing.assert_allclose(
        averaged({0: second, 2: first}, np.array([3.0, 9.0, 1.0])), one_hot(np.array([1, 1, 0]), 2, 0.75)
    )
    # weights that are not positive count as next to nothing, and alone as one
    np.testing.assert_allclose(averaged({1: first}, np.array([0.0, -3.0])), first)
    mixed = averaged({0: first, 1: second}, np.array([1.0, -3.0]))
    np.testing.assert_allclose(mixed, (first + 1e-6 * second[:, ::-1]) / (1 + 1e-6), rtol=1e-12)


def test_components_that_are_allowed():
    assert component_numbers(24, 10, [4, 6]) == (3, 4)
    assert component_numbers(36, 10, [4, 6]) == (4, 6)  # six people for each component
    assert component_numbers(35, 10, [4, 6]) == (4, 5)
    assert component_numbers(12, 10, [4]) == (1, 2)
    assert component_numbers(6, 10, [4, 6]) == (1,)
    assert component_numbers(90, 1, [4, 6]) == (1,)


def test_scores_are_those_of_the_components():
    values = codes() * [9, 5, 3, 2, 1, 0.5] + 100
    scores = principal_scores(values, 4)
    centred = values - values.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    wanted = (centred @ axes)[:, ::-1][:, :4]
    np.testing.assert_allclose(np.abs(scores), np.abs(wanted), atol=1e-9)
    np.testing.assert_allclose(scores.T @ scores, np.diag(variances[::-1][:4]), atol=1e-7)
    # of each component the person farthest out has a positive score
    assert (scores[np.abs(scores).argmax(axis=0), np.arange(4)] > 0).all()
    assert principal_scores(values, 99).shape == (40, 6)


def test_components_that_do_not_vary_are_left_out():
    assert principal_scores(np.ones((5, 3)), 3).shape == (5, 0)
    assert principal_scores(np.ones((5, 0)), 3).shape == (5, 0)
    values = np.zeros((4, 2))
    values[:2, 0] = [1, -1]
    values[2:, 1] = [1.5e-9, -1.5e-9]
    assert principal_scores(values, 2).shape == (4, 2)
    values[2:, 1] = [0.5e-9, -0.5e-9]
    assert principal_scores(values, 2).shape == (4, 1)


def test_whitening_rotates_as_little_as_possible():
    values = codes(numbers=3) @ np.array([[2.0, 1, 0], [0, 1, 0.5], [0, 0, 3]]) + 7
    white = whiten(values)
    assert white.flags.c_contiguous
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(white.T @ white / 40, np.eye(3), atol=1e-12)
    # by the symmetric root of the inverse covariance
    root = np.linalg.lstsq(values - values.mean(axis=0), white, rcond=None)[0]
    np.testing.assert_allclose(root, root.T, atol=1e-12)
    assert np.linalg.eigvalsh(root).min() > 0


def pulled_once(white):
    n, p = white.shape
    radius = np.linalg.norm(white, axis=1)
    expected = chi(p).ppf((np.argsort(np.argsort(radius)) + 0.5) / n)
    pull = np.minimum(expected / radius, 1.0)
    return whiten(white * pull[:, None]), pull.min()


def test_heavy_tails_are_pulled_in_step_by_step():
    values = codes(30, 3)
    values[4] *= 12
    values[9] *= 5
    white = wanted = whiten(values)
    steps = 0
    while True:
        wanted, least = pulled_once(wanted)
        steps += 1
        if least > 0.9:
            break
    assert 2 < steps < 20
    np.testing.assert_allclose(without_heavy_tails(white), wanted, rtol=1e-10, atol=1e-12)


def test_heavy_tails_are_pulled_in_twenty_times_at_most(monkeypatch):
    monkeypatch.setattr(mixture, "NO_PULL", 2.0)
    white = wanted = whiten(codes(30, 3))
    for _ in range(20):
        wanted, _ = pulled_once(wanted)
    again, _ = pulled_once(wanted)
    assert np.abs(again - wanted).max() > 1e-8
    np.testing.assert_allclose(without_heavy_tails(white), wanted, rtol=0, atol=1e-11)


def test_somebody_at_the_centre_stays_there():
    white = codes(5, 2)
    white[0] = 0
    assert np.isfinite(without_heavy_tails(white)).all()


def test_ratios_are_twice_the_gains(monkeypatch):
    calls = []

    def fit(white, k, starts, seed):
        calls.append((white, k, starts, seed))
        return 10.0 * white.shape[1] + k, ("share", white.shape[1], k)

    monkeypatch.setattr(mixture_fit, "fit_mixture", fit)
    scores = codes() * [9, 5, 3, 2, 1, 0.5]
    ratios, shares = likelihood_ratios(scores, (2, 4), (2, 3), 11, 5)
    np.testing.assert_array_equal(ratios, [[44, 46], [84, 86]])
    assert shares == {(i, j): ("share", p, k) for i, p in enumerate((2, 4)) for j, k in enumerate((2, 3))}
    assert {call[2:] for call in calls} == {(11, 5)}
    np.testing.assert_array_equal(calls[2][0], without_heavy_tails(whiten(scores[:, :4])))


def test_the_reference_is_of_gaussian_draws(monkeypatch):
    seen = []

    def ratios_of(scores, components, clusters, starts, seed):
        seen.append((scores, components, clusters, starts, seed))
        ratios = np.array([[1.0, 4.0], [2.0, 9.0]]) * (seed + 1) ** 2
        if seed == 2:
            ratios[0, 1] = -np.inf  # collapsed
        return ratios, {}

    monkeypatch.setattr(mixture, "likelihood_ratios", ratios_of)
    found = reference.__wrapped__(12, (2, 3), (2, 3), 5, 3)
    assert [call[1:] for call in seen] == [((2, 3), (2, 3), 5, draw) for draw in range(3)]
    for draw, call in enumerate(seen):
        np.testing.assert_array_equal(call[0], np.random.default_rng([12, draw]).standard_normal((12, 3)))
    factor = np.array([1.0, 4.0, 9.0])
    spread = factor.std()
    np.testing.assert_allclose(found.mean, [[14 / 3, 10.0], [28 / 3, 42.0]])
    np.testing.assert_allclose(found.spread, [[spread, 6.0], [2 * spread, 9 * spread]])
    np.testing.assert_allclose(found.step_mean, [[14 / 3, 7.5], [28 / 3, 7 * 14 / 3]])
    np.testing.assert_allclose(found.step_spread, [[spread, 4.5], [2 * spread, 7 * spread]])
    # alike for any threads
    again = reference.__wrapped__(12, (2, 3), (2, 3), 5, 3, 2)
    pd.testing.assert_frame_equal(pd.DataFrame(again.mean), pd.DataFrame(found.mean))


def test_of_people_at_one_distance_the_first_are_pulled_in_most(monkeypatch):
    monkeypatch.setattr(mixture, "PULLS", 1)
    white = np.tile([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0]], (15, 1))
    radius = np.linalg.norm(white, axis=1)
    order = [*np.flatnonzero(radius == 1), *np.flatnonzero(radius == 2)]
    target = np.empty(60)
    target[order] = chi(2).ppf((np.arange(60) + 0.5) / 60)
    wanted = whiten(white * np.minimum(target / radius, 1)[:, None])
    np.testing.assert_allclose(without_heavy_tails(white), wanted, atol=1e-12)
