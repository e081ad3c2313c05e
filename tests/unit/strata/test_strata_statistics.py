"""Kruskal-Wallis, effect sizes, random repartition and profiles."""

import itertools
import json
import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kruskal

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.families import family_blocks, fixed_people
from neurostrata.strata.comparison.commands import compare_strata, profile_strata, repartition_strata
from neurostrata.strata.comparison.kruskal import (
    benjamini_hochberg,
    detectable_eta_squared,
    epsilon_squared,
    eta_squared,
    eta_squared_interval,
    groups_with_values,
    h_statistics,
    p_values,
    rank_factors,
)
from neurostrata.strata.comparison.repartition import (
    exceedance_p,
    permuted_labels,
    repartition,
    resampled_h,
)
from neurostrata.strata.inputs import read_strata
from neurostrata.strata.profiles import cluster_profiles, population_quantile


def one_h(scores, labels):
    return h_statistics(rank_factors(scores), labels[None, :], labels.max() + 1)[0]


@pytest.mark.parametrize("seed", range(6))
def test_h_and_p_equal_scipys_with_ties_and_gaps(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(5, size=150)
    scores = generator.integers(7, size=(150, 4)).astype(float) + labels[:, None] * [0, 0.5, 1, 0]
    scores[:, 3] = generator.standard_normal(150)
    scores[generator.random(scores.shape) < 0.1] = np.nan
    h = one_h(scores, labels)
    p = p_values(h, groups_with_values(rank_factors(scores), labels, 5))
    for j in range(4):
        present = ~np.isnan(scores[:, j])
        wanted = kruskal(*[scores[present & (labels == k), j] for k in range(5)])
        assert h[j] == pytest.approx(wanted.statistic, rel=1e-10, abs=1e-10)
        assert p[j] == pytest.approx(wanted.pvalue, rel=1e-10, abs=1e-10)


def test_factors_without_differences_or_values_are_not_tested():
    labels = np.repeat([0, 1], 5)
    scores = np.column_stack([np.ones(10), np.full(10, np.nan), np.r_[np.arange(5.0), [np.nan] * 5]])
    assert np.isnan(one_h(scores, labels)[:2]).all()
    k = groups_with_values(rank_factors(scores), labels, 2)
    np.testing.assert_array_equal(k, [2, 0, 1])
    assert np.isnan(p_values(one_h(scores, labels), k)).all()


def test_a_cluster_or_a_factor_without_values_changes_nothing_for_the_others():
    generator = np.random.default_rng(8)
    labels = np.repeat([0, 1, 2], 10)
    own = generator.normal(size=30) + labels
    own[labels == 1] = np.nan
    scores = np.column_stack([np.full(30, np.nan), own, generator.normal(size=30)])
    h = one_h(scores, labels)
    assert np.isnan(h[0])
    assert h[1] == pytest.approx(kruskal(own[:10], own[20:]).statistic)
    assert h[2] == pytest.approx(kruskal(*scores[:, 2].reshape(3, 10)).statistic)


def test_effect_sizes():
    assert eta_squared(20.0, 3, 103) == pytest.approx(0.18)
    assert eta_squared(1.0, 3, 103) == 0
    assert epsilon_squared(20.0, 3, 101) == pytest.approx(0.2)
    assert np.isnan(eta_squared(3.0, 3, 3))
    low, high = eta_squared_interval(20.0, 3, 103, 0.95)
    assert 0 < low < 0.18 < high < 1
    assert eta_squared_interval(1.0, 3, 103, 0.95)[0] == 0
    assert np.isnan(eta_squared_interval(np.nan, 3, 103, 0.95)).all()
    narrow = eta_squared_interval(20.0, 3, 103, 0.5)
    assert low < narrow[0] < narrow[1] < high
    assert eta_squared_interval(0.0, 3, 103, 0.95) == (0.0, 0.0)


def moderate_effects(people, draws, seed):
    """Draw people in 3 groups with shifted normal scores; give H per draw, and eta2 of a huge sample."""
    generator = np.random.default_rng(seed)
    shifts = np.array([0.0, 0.3, 0.6])
    big = np.repeat(np.arange(3), 100_000)
    true = one_h((generator.standard_normal(300_000) + shifts[big])[:, None], big)[0] / 299_999
    labels = np.repeat(np.arange(3), people // 3)
    values = generator.standard_normal((people, draws)) + shifts[labels][:, None]
    return one_h(values, labels), true


def test_interval_covers_the_true_effect():
    h, true = moderate_effects(150, 300, 0)
    inside = 0
    for value in h:
        low, high = eta_squared_interval(value, 3, 150, 0.95)
        inside += low <= true <= high
    assert 0.92 <= inside / 300 <= 0.985
    assert np.mean([eta_squared(v, 3, 150) for v in h]) == pytest.approx(true, abs=0.01)
    assert np.mean([epsilon_squared(v, 3, 150) for v in h]) > true + 0.005


def test_detectable_effect_has_the_stated_power():
    h, true = moderate_effects(150, 600, 1)
    smallest = detectable_eta_squared(3, 150, 0.05, 0.8)
    power = np.mean(p_values(h, np.full(600, 3)) < 0.05)
    # the planted effect is about the detectable one, so the power must be near 80%
    assert true == pytest.approx(smallest, rel=0.25)
    assert power == pytest.approx(0.8, abs=0.1)
    assert detectable_eta_squared(3, 600, 0.05, 0.8) < smallest
    assert detectable_eta_squared(3, 150, 0.05 / 13, 0.8) > smallest
    assert np.isnan(detectable_eta_squared(1, 150, 0.05, 0.8))


def test_benjamini_hochberg_leaves_gaps_out():
    q = benjamini_hochberg(np.array([0.01, np.nan, 0.02, 0.5]))
    np.testing.assert_allclose(q, [0.03, np.nan, 0.03, 0.5])
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()


def test_repartition_equals_the_exact_test():
    """Against all 35 ways to divide 7 people into groups of 4 and 3."""
    generator = np.random.default_rng(3)
    labels = np.array([0] * 4 + [1] * 3)
    scores = generator.standard_normal((7, 3)) + labels[:, None] * [0, 1, 2]
    h = one_h(scores, labels)
    every = []
    for chosen in itertools.combinations(range(7), 4):
        other = np.ones(7, dtype=int)
        other[list(chosen)] = 0
        every.append(one_h(scores, other))
    exact = np.mean(np.array(every) >= h - 1e-9, axis=0)
    found = repartition(scores, labels + 1, [""] * 7, 20_000, seed=1)
    np.testing.assert_allclose(found.p, exact, atol=0.01)
    np.testing.assert_allclose(found.h, h)
    assert found.null.shape == (20_000, 3)


def test_clusters_of_equal_size_swapped_count_as_equal():
    scores = np.random.default_rng(0).standard_normal((6, 1))
    labels = np.array([0, 0, 1, 1, 2, 2])
    swapped = np.array([2, 2, 0, 0, 1, 1])
    h = one_h(scores, labels)
    assert exceedance_p(h, one_h(scores, swapped)[None, :])[0] == 1.0
    assert exceedance_p(np.array([5.0, np.nan]), np.zeros((99, 2)))[0] == 0.01


def test_same_seed_same_null():
    scores = np.random.default_rng(0).standard_normal((40, 2))
    labels = np.repeat([1, 2], 20)
    one, two = (repartition(scores, labels, [""] * 40, 700, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.null, two.null)
    assert not np.array_equal(one.null, repartition(scores, labels, [""] * 40, 700, seed=6).null)


def test_families_move_whole_and_to_their_own_size():
    families = ["a", "a", "", "b", "b", "c", "c", "c", "", None, "d", "d"]
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    blocks = family_blocks(families)
    assert [block.shape for block in blocks] == [(3, 1), (3, 2), (1, 3)]
    assert fixed_people(blocks) == 3
    seen = set()
    for part in permuted_labels(labels, blocks, 1200, np.random.default_rng(0)):
        for row in part:
            assert sorted(row) == list(labels)
            np.testing.assert_array_equal(row[5:8], [5, 6, 7])  # the only family of three stays
            for first, second in ((0, 1), (3, 4), (10, 11)):
                assert (row[first], row[second]) in {(0, 1), (3, 4), (10, 11)}
            seen.add(tuple(row))
    assert len(seen) == 36  # 3! orders of the singles times 3! of the pairs


def test_families_widen_the_null():
    """Pairs alike in cluster and score: plain permutation takes chance for a finding."""
    generator = np.random.default_rng(2)
    plain, ruled = [], []
    for _ in range(150):
        pair_score = generator.standard_normal((30, 1))
        scores = np.repeat(pair_score, 2, axis=0) + 0.2 * generator.standard_normal((60, 1))
        labels = np.repeat(generator.integers(2, size=30), 2)
        families = [f"f{k // 2}" for k in range(60)]
        plain.append(repartition(scores, labels, [""] * 60, 199, seed=1).p[0])
        ruled.append(repartition(scores, labels, families, 199, seed=1).p[0])
    assert np.mean(np.array(plain) <= 0.05) > 0.12
    assert np.mean(np.array(ruled) <= 0.05) < 0.095


def test_with_replacement_ranks_anew():
    generator = np.random.default_rng(4)
    scores = generator.integers(5, size=(60, 2)).astype(float)
    scores[3, 1] = np.nan
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    null = resampled_h(scores, labels, 3, 700, np.random.default_rng(9))
    # the same draws by hand, for the first factor
    repeat = np.random.default_rng(9)
    unique, code = np.unique(scores[:, 0], return_inverse=True)
    drawn = unique[code[repeat.integers(60, size=(500, 60))]]
    for row in (0, 17, 499):
        wanted = kruskal(*[drawn[row, labels == k] for k in range(3)]).statistic
        assert null[row, 0] == pytest.approx(wanted, rel=1e-10)
    assert np.isfinite(null).all()
    assert null.mean() == pytest.approx(2, abs=0.25)
    found = repartition(scores, labels, [""] * 60, 300, seed=1, with_replacement=True)
    assert ((found.p > 0) & (found.p <= 1)).all()


@pytest.mark.slow
def test_a_large_cohort_takes_seconds():
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((974, 13))
    labels = generator.integers(9, size=974)
    families = [f"f{k // 2}" for k in range(974)]
    start = time.process_time()
    repartition(scores, labels, families, 10_000, seed=1)
    assert time.process_time() - start < 10


def test_profiles():
    assert population_quantile(np.array([1.0, 2, 3, 4]), 2.0) == 0.375
    clusters = pd.Series([1, 1, 1, 2], index=list("abcd"))
    scores = pd.DataFrame({"f": [1.0, 2, np.nan, 9], "g": [0.0, 0, 1.5, np.nan]}, index=list("abcd"))
    table = cluster_profiles(clusters, scores, [1, 2, 3]).set_index(["cluster", "factor"])
    third = pytest.approx(1 / 3)
    assert tuple(table.loc[(1, "f")]) == (1.5, third, 1.5, third, 2)
    assert tuple(table.loc[(1, "g")]) == (
        0,
        third,
        0.5,
        pytest.approx(2 / 3),
        3,
    )  # the mean is beyond two of the three
    assert tuple(table.loc[(2, "f")]) == (9, pytest.approx(5 / 6), 9, pytest.approx(5 / 6), 1)
    assert table.loc[(2, "g"), "n"] == 0
    assert table.loc[(2, "g")].drop("n").isna().all()
    assert np.isnan(table.loc[(3, "f"), "median"])


@pytest.fixture
def tree(tmp_path):
    generator = np.random.default_rng(1)
    subjects = [f"{k:03d}" for k in range(50)]
    clusters = np.repeat([1, 2], [30, 20])
    scores = generator.standard_normal((50, 3))
    scores[:, 0] += 2 * clusters
    scores[4] = np.nan
    scores[7, 1] = np.nan
    frame = pd.DataFrame(scores, columns=["factor_01", "factor_02", "factor_03"])
    frame.insert(0, "subject", subjects)
    frame.iloc[::-1].to_csv(tmp_path / "scores.tsv", sep="\t", index=False, na_rep="n/a")
    pd.DataFrame({"subject": subjects, "cluster": clusters, "fits": "yes"}).to_csv(
        tmp_path / "clusters.tsv", sep="\t", index=False
    )
    family = [f"f{k // 2}" if k < 12 else "" for k in range(50)]
    pd.DataFrame({"subject": subjects, "family": family}).to_csv(
        tmp_path / "subjects.tsv", sep="\t", index=False
    )
    return tmp_path


def run_tree(tree):
    settings = {**section_defaults("strata"), "seed": 1}
    settings["repartition"]["draws"] = 999
    common = {"clusters": tree / "clusters.tsv", "scores": tree / "scores.tsv", "settings": settings}
    repartition_strata(
        subjects=tree / "subjects.tsv", output=tree / "repartition.tsv", null=tree / "null.npz", **common
    )
    compare_strata(repartition=tree / "repartition.tsv", output=tree / "comparisons.tsv", **common)
    profile_strata(output=tree / "profiles.tsv", **common)
    return pd.read_csv(tree / "comparisons.tsv", sep="\t", na_values=["n/a"])


def test_commands_give_the_tables_of_the_public_tree(tree):
    comparisons = run_tree(tree)
    assert list(comparisons)[:10] == [
        *("factor", "h", "p", "q", "eta2", "eta2_low", "eta2_high", "epsilon2"),
        *("p_repartition", "q_repartition"),
    ]
    assert comparisons["q"][0] < 0.001
    assert comparisons["p_repartition"][0] == 0.001
    assert (comparisons["q"][1:] > 0.05).all()
    assert list(comparisons["n"]) == [49, 48, 49]
    assert list(comparisons["missing"]) == [0, 1, 0]
    null = np.load(tree / "null.npz")
    assert null["null"].shape == (999, 3)
    assert list(null["factors"]) == list(comparisons["factor"])
    facts = json.loads((tree / "repartition.json").read_text())
    assert facts["people_without_scores"] == ["004"]
    assert facts["families_of_several"] == 5  # one of six lost a member
    assert facts["families_respected"] is True
    assert len(pd.read_csv(tree / "profiles.tsv", sep="\t")) == 6


def test_the_people_of_large_studies_are_read_in_seconds(tmp_path):
    """A second's work; a look through everybody for each person takes ten minutes."""
    subjects = [f"{k:05d}" for k in range(20_000)]
    clusters = pd.DataFrame({"subject": subjects, "cluster": 1, "fits": "yes"})
    scores = pd.DataFrame({"subject": subjects, "f": np.arange(20_000.0)})
    clusters.loc[3, "fits"] = "no"
    scores.loc[[3, 5, 8], "f"] = np.nan
    clusters.to_csv(tmp_path / "clusters.tsv", sep="\t", index=False)
    scores.to_csv(tmp_path / "scores.tsv", sep="\t", index=False, na_rep="n/a")
    started = time.process_time()
    groups, table, facts = read_strata(tmp_path / "clusters.tsv", tmp_path / "scores.tsv")
    assert time.process_time() - started < 10
    assert facts["people_without_scores"] == ["00005", "00008"]
    assert len(groups) == len(table) == facts["people_tested"] == 20_000 - 3


def test_one_cluster_only_gives_na_and_no_crash(tree):
    frame = pd.read_csv(tree / "clusters.tsv", sep="\t", dtype={"subject": str})
    frame.assign(cluster=1).to_csv(tree / "clusters.tsv", sep="\t", index=False)
    comparisons = run_tree(tree)
    assert comparisons[["h", "p", "q", "eta2", "p_repartition", "q_repartition"]].isna().to_numpy().all()
    assert list(comparisons["n_clusters"]) == [1, 1, 1]
    assert np.load(tree / "null.npz")["null"].shape == (0, 3)
    profiles = pd.read_csv(tree / "profiles.tsv", sep="\t")
    np.testing.assert_allclose(profiles["quantile"], 0.5, atol=1e-9)


def test_scores_of_other_people_are_refused(tree):
    frame = pd.read_csv(tree / "scores.tsv", sep="\t", dtype={"subject": str})
    frame.assign(subject="x" + frame["subject"]).to_csv(tree / "scores.tsv", sep="\t", index=False)
    with pytest.raises(UserError, match="shares no subject ids"):
        run_tree(tree)
