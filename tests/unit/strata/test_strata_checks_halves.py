"""Split halves, shuffled links, agreement of partitions, congruence of factors."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kruskal
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from neurostrata.core.families import family_blocks
from neurostrata.phenotypes.congruence import congruence_table, half_congruence, matched_loadings
from neurostrata.phenotypes.factors import principal_varimax, standardise
from neurostrata.strata.comparison.agreement import compare_partitions
from neurostrata.strata.comparison.kruskal import benjamini_hochberg
from neurostrata.strata.comparison.repartition import (
    exceedance_p,
    permuted_labels,
    repartition,
)
from neurostrata.strata.comparison.shuffles import shuffle_links, wilson_interval
from neurostrata.strata.comparison.split_half import assign, split_halves
from neurostrata.strata.finders.interface import Finder, Finding
from neurostrata.strata.finders.labels import number_by_size


class TwoMeans(Finder):
    """k-means with two clusters; remembers how many people it saw."""

    name = title = measure = "two_means"
    search_columns = {}  # noqa: RUF012

    def find(self, codes, progress=None):
        self.options.append(len(codes))
        labels = KMeans(2, n_init=5, random_state=0).fit_predict(codes)
        return Finding(number_by_size(labels), 0.0, pd.DataFrame(), components=2)


class Nothing(Finder):
    name = title = measure = "nothing"
    search_columns = {}  # noqa: RUF012

    def find(self, codes, progress=None):
        return Finding(np.ones(len(codes), np.intp), -np.inf, pd.DataFrame())


def grouped(generator, n=120, apart=4.0):
    group = generator.integers(2, size=n)
    codes = generator.normal(size=(n, 6))
    codes[:, 0] += apart * group
    return codes, group


def test_what_is_planted_is_found_in_the_other_half():
    generator = np.random.default_rng(0)
    codes, group = grouped(generator)
    scores = pd.DataFrame({"own": group + generator.normal(size=120), "none": generator.normal(size=120)})
    scores.iloc[:3, 1] = np.nan
    finder = TwoMeans([], 1)
    splits, factors = split_halves(finder, codes, scores, [""] * 120, 10, 0.05, 1)
    assert set(finder.options) == {60}
    assert (splits["adjusted_rand"] > 0.8).all()
    assert (splits["agreement_p95"] < 0.15).all()
    assert (splits[["k_first", "k_second"]] == 2).all().all()
    own, none = factors.iloc[0], factors.iloc[1]
    assert own["q"] < 0.05
    assert own["share_below_alpha"] == 1
    full = kruskal(scores["own"][group == 0], scores["own"][group == 1]).statistic
    assert own["eta2"] == pytest.approx((full - 1) / 118, abs=0.08)
    assert own["eta2_low"] < own["eta2"] < own["eta2_high"]
    assert none["p"] > 0.2


def test_people_of_the_other_half_are_only_projected():
    generator = np.random.default_rng(1)
    codes, _ = grouped(generator, 200)
    found = TwoMeans([], 1).find(codes[:100])
    all_at_once = assign(codes[:100], found, codes[100:])
    one_by_one = [assign(codes[:100], found, codes[row : row + 1])[0] for row in range(100, 200)]
    np.testing.assert_array_equal(all_at_once, one_by_one)
    # what varies most in the others only must play no part
    centred = codes[:100] - codes[:100].mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2].T
    lda = LinearDiscriminantAnalysis().fit(centred @ axes, found.clusters)
    wanted = lda.predict((codes[100:] - codes[:100].mean(axis=0)) @ axes)
    assert (wanted == all_at_once).mean() > 0.98


def test_a_half_without_clusters_shows_no_difference():
    scores = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    splits, factors = split_halves(Nothing({}, 1), scores.to_numpy(), scores, [""] * 30, 3, 0.05, 1)
    assert splits["adjusted_rand"].isna().all()
    assert (factors["p"] == 1).all()
    assert (factors["eta2"] == 0).all()


def test_halves_raise_no_false_alarms():
    generator = np.random.default_rng(3)
    alarms = 0
    for number in range(40):
        codes, _ = grouped(generator, 60)
        scores = pd.DataFrame(generator.normal(size=(60, 3)))
        _, factors = split_halves(TwoMeans([], 1), codes, scores, [""] * 60, 3, 0.05, number)
        alarms += factors["q"].min() <= 0.05
    assert alarms <= 4


def shuffled(scores, clusters, families, shuffles=200, draws=2000):
    null = repartition(scores, clusters, families, draws, 9).null
    return shuffle_links(clusters, scores, families, null, shuffles, 0.05, 1)


def test_shuffling_finds_nothing_even_where_there_is_something():
    generator = np.random.default_rng(4)
    clusters = generator.integers(1, 4, size=150)
    scores = generator.normal(size=(150, 5)) + clusters[:, None]
    table = shuffled(scores, clusters, [""] * 150)
    assert len(table) == 200
    assert (table["found"] == "yes").mean() < 0.1
    agree = np.corrcoef(table["smallest_q"], table["smallest_q_repartition"])[0, 1]
    assert agree > 0.95
    assert shuffled(scores, clusters, [""] * 150, shuffles=0).empty


def test_the_first_shuffle_by_hand():
    generator = np.random.default_rng(5)
    clusters = generator.integers(1, 3, size=60)
    scores = generator.normal(size=(60, 3))
    scores[:4, 1] = np.nan
    null = repartition(scores, clusters, [""] * 60, 500, 9).null
    table = shuffle_links(clusters, scores, [""] * 60, null, 5, 0.05, 1)
    part = next(permuted_labels(clusters - 1, family_blocks([""] * 60), 5, np.random.default_rng(1)))[0]
    tests = [kruskal(*[column[(part == k) & ~np.isnan(column)] for k in (0, 1)]) for column in scores.T]
    p = np.array([test.pvalue for test in tests])
    assert table["smallest_q"][0] == pytest.approx(benjamini_hochberg(p).min())
    by_draws = exceedance_p(np.array([test.statistic for test in tests]), null)
    assert table["smallest_q_repartition"][0] == pytest.approx(benjamini_hochberg(by_draws).min())


def test_relatives_show_what_the_chi_square_distribution_gets_wrong():
    generator = np.random.default_rng(6)
    clusters = np.repeat(generator.integers(1, 3, size=40), 2)
    scores = np.repeat(generator.normal(size=(40, 4)), 2, axis=0) + 0.1 * generator.normal(size=(80, 4))
    families = [f"f{k // 2}" for k in range(80)]
    table = shuffled(scores, clusters, families, 400)
    assert (table["smallest_q"] <= 0.05).mean() > 0.12
    assert (table["smallest_q_repartition"] <= 0.05).mean() < 0.1


def test_wilson():
    assert wilson_interval(0, 200) == (pytest.approx(0, abs=1e-12), pytest.approx(0.0188, abs=1e-3))
    assert np.isnan(wilson_interval(0, 0)).all()


def test_agreement_sees_through_names_and_people():
    index = [f"{k}" for k in range(12)]
    first = pd.Series([1] * 5 + [2] * 4 + [3] * 3, index=index)
    second = pd.Series([3] * 5 + [1] * 4 + [2] * 3, index=index).iloc[::-1]
    second = pd.concat([second, pd.Series({"other": 1})])
    single = pd.Series(1, index=index)
    table, cells = compare_partitions(
        {("a", "mixture"): first, ("b", "mixture"): second, ("a", "ap"): single}
    )
    assert len(table) == 3
    row = table.iloc[0]
    assert (row["n"], row["adjusted_rand"], row["matched"]) == (12, 1.0, "1=3, 2=1, 3=2")
    assert table["adjusted_rand"].isna().tolist() == [False, True, True]
    own = cells[(cells["experiment_b"] == "b") & (cells["experiment_a"] == "a")]
    assert own.loc[(own["cluster_a"] == 1) & (own["cluster_b"] == 3), "n"].item() == 5
    assert own.loc[own["finder_a"] == "mixture", "n"].sum() == 12
    assert compare_partitions({("a", "mixture"): first})[0].empty


def test_matching_undoes_order_and_sign():
    wanted = np.random.default_rng(7).normal(size=(20, 3))
    np.testing.assert_allclose(matched_loadings(-wanted[:, [2, 0, 1]], wanted), wanted)
    np.testing.assert_allclose(matched_loadings(wanted[:, :2], wanted)[:, 2], 0)


def test_factors_that_are_there_come_back_and_others_do_not():
    generator = np.random.default_rng(8)
    loadings = np.kron(np.eye(3), np.ones((5, 1))) * 0.8
    values = generator.normal(size=(300, 3)) @ loadings.T + 0.6 * generator.normal(size=(300, 15))
    whole = principal_varimax(standardise(values)[0]).loadings
    found = half_congruence(values, whole, [""] * 300, 20, 1, tolerance=1e-5, max_iter=1000)
    table = congruence_table(["a", "b", "c"], found)
    assert (table["congruence"] > 0.97).all()
    assert (table["low"] <= table["congruence"]).all()
    noise = generator.normal(size=(60, 15))
    whole = principal_varimax(standardise(noise)[0], 3).loadings
    assert (half_congruence(noise, whole, [""] * 60, 20, 1).mean(axis=0) < 0.75).all()


def test_twins_are_never_divided():
    """With everybody there twice and halves of twins both halves would be equal; families keep them together."""
    noise = np.repeat(np.random.default_rng(9).normal(size=(30, 12)), 2, axis=0)
    whole = principal_varimax(standardise(noise)[0], 2).loadings
    together = half_congruence(noise, whole, [f"f{k // 2}" for k in range(60)], 20, 1).mean()
    divided = half_congruence(noise, whole, [""] * 60, 20, 1).mean()
    assert divided > together + 0.1
