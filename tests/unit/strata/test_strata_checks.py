"""Who the people of clusters are, and comparisons beside covariates."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import chi2_contingency, hypergeom, kruskal, ncf, rankdata

from neurostrata.core.families import family_parts
from neurostrata.strata.comparison import adjusted, composition
from neurostrata.strata.comparison.adjusted import (
    compare_adjusted,
    freedman_lane,
    partial_eta_squared,
    partial_interval,
)
from neurostrata.strata.comparison.composition import (
    chi_square,
    compare_composition,
    cramers_v,
    describe_clusters,
)
from neurostrata.strata.comparison.repartition import permuted_labels


def subjects(n):
    return pd.Index([f"{k:03d}" for k in range(n)])


@pytest.mark.parametrize("n", [12, 60])
def test_the_interval_of_a_perfect_association_has_its_estimate(n):
    """Every bootstrap table is perfect too."""
    clusters = pd.Series(np.repeat([1, 2, 3], n // 3), index=subjects(n))
    people = pd.DataFrame({"site": np.repeat(["a", "b", "c"], n // 3)}, index=subjects(n))
    row = compare_composition(clusters, people, 19, 0.95, 1).iloc[0]
    assert row["effect"] == pytest.approx(1.0)
    assert row["effect_low"] <= row["effect"] <= row["effect_high"] == pytest.approx(1.0)


def test_chi_square_is_scipys_and_v_is_bergsmas():
    counts = np.array([[20.0, 5, 9], [8, 22, 10]])
    wanted = chi2_contingency(counts, correction=False).statistic
    assert chi_square(counts) == pytest.approx(wanted)
    # an absent class changes nothing
    assert chi_square(np.insert(counts, 1, 0, axis=1)) == pytest.approx(wanted)
    n, r, c = counts.sum(), 2, 3
    phi2 = max(0, wanted / n - (r - 1) * (c - 1) / (n - 1))
    by_hand = np.sqrt(phi2 / min(r - (r - 1) ** 2 / (n - 1) - 1, c - (c - 1) ** 2 / (n - 1) - 1))
    assert cramers_v(wanted, 2, 3, 74) == pytest.approx(by_hand)
    assert cramers_v(chi_square(np.eye(3) * 20), 3, 3, 60) == pytest.approx(1.0)
    assert np.isnan(cramers_v(1.0, 1, 3, 60))


def test_table_of_characteristics():
    index = subjects(6)
    people = pd.DataFrame(
        {
            "family": ["f", "f", "g", "g", "", ""],
            "sex": ["F", "M", "F", "F", "", "M"],
            "age": [20.0, 30, 40, 50, np.nan, 60],
        },
        index=index,
    )
    table = describe_clusters(pd.Series([1, 1, 1, 2, 2, 2], index=index), people)
    rows = table.set_index(["characteristic", "level", "cluster"])
    age = rows.loc[("age", "", "1")]
    assert (age["n"], age["mean"], age["sd"]) == (3, 30, 10)
    assert rows.loc[("age", "", "2"), "n"] == 2
    assert rows.loc[("age", "", "all"), "mean"] == 40
    woman = rows.loc[("sex", "F", "2")]
    assert (woman["n"], woman["count"], woman["share"]) == (2, 1, 0.5)
    assert rows.loc[("family", "split over clusters", "all"), "count"] == 1
    assert rows.loc[("family", "in one cluster", "all"), "share"] == 0.5


def test_numbers_of_the_same_people_share_their_permutations(monkeypatch):
    """Each is tested as it is alone, and people are permuted once for all of them."""
    generator = np.random.default_rng(5)
    index = subjects(90)
    clusters = pd.Series(generator.integers(1, 5, size=90), index=index)
    numbers = pd.DataFrame(generator.normal(size=(90, 5)), columns=list("abcde"), index=index)
    numbers["b"] += clusters
    numbers["c"] = numbers["c"].round()  # ties
    numbers.loc[index[::7], ["d", "e"]] = np.nan
    people = numbers.assign(site=generator.choice(["x", "y"], 90), same=1.5)
    people["family"] = [f"f{k // 2}" if k < 30 else "" for k in range(90)]
    asked = []

    def counted(*given):
        asked.append(len(given[0]))
        return permuted_labels(*given)

    monkeypatch.setattr(composition, "permuted_labels", counted)
    together = compare_composition(clusters, people, 99, 0.95, 1)
    assert sorted(asked) == [77, 90, 90]  # d and e; a, b and c; site
    assert list(together["characteristic"]) == [*"abcde", "site", "same"]
    alone = [compare_composition(clusters, people[[name, "family"]], 99, 0.95, 1) for name in "abcde"]
    pd.testing.assert_frame_equal(
        together[:5].drop(columns="q"),
        pd.concat(alone, ignore_index=True).drop(columns="q"),
        check_exact=True,
    )


def test_what_differs_is_found_and_what_does_not_is_not():
    generator = np.random.default_rng(0)
    clusters = pd.Series(generator.integers(1, 4, size=240), index=subjects(240))
    age = generator.normal(40, 10, 240) + 4 * clusters
    people = pd.DataFrame(
        {
            "age": age,
            "head_size": generator.normal(size=240),
            "sex": np.where(generator.random(240) < 0.5, "F", "M"),
            "site": np.where(generator.random(240) < 0.2 + 0.2 * clusters, "x", "y"),
        }
    )
    people.loc[people.index[:7], "site"] = None
    table = compare_composition(clusters, people, 2000, 0.95, 1).set_index("characteristic")
    assert list(table["kind"]) == ["number", "number", "classes", "classes"]
    assert (table.loc[["age", "site"], "q"] < 0.01).all()
    assert (table.loc[["head_size", "sex"], "q"] > 0.05).all()
    wanted = kruskal(*[age[clusters == k] for k in (1, 2, 3)])
    assert table.loc["age", "statistic"] == pytest.approx(wanted.statistic)
    assert table.loc["age", "effect"] == pytest.approx((wanted.statistic - 2) / 237)
    assert table.loc["head_size", "p"] == pytest.approx(
        kruskal(*[people["head_size"][clusters == k] for k in (1, 2, 3)]).pvalue, abs=0.03
    )
    assert table.loc["site", "missing"] == 7
    assert table.loc["site", "n"] == 233
    site = table.loc["site"]
    assert 0 < site["effect_low"] < site["effect"] < site["effect_high"] < 1
    assert table.loc["sex", "effect_low"] == 0


def test_intervals_of_v_are_nested_and_the_widest_has_every_draw():
    generator = np.random.default_rng(9)
    clusters = pd.Series(np.repeat([1, 2], 30), index=subjects(60))
    site = np.where(generator.random(60) < 0.25 * clusters, "a", "b")
    people = pd.DataFrame({"site": site, "family": ""}, index=clusters.index)
    found = [compare_composition(clusters, people, 9, level, 1).iloc[0] for level in (0.5, 0.9, 1.0)]
    ends = [(row["effect_low"], row["effect_high"]) for row in found]
    assert ends[2][0] <= ends[1][0] < ends[0][0] < ends[0][1] < ends[1][1] <= ends[2][1]


def test_p_of_classes_is_the_exact_one():
    """Two clusters, two classes: the count in one cell is hypergeometric."""
    clusters = pd.Series([1] * 9 + [2] * 6, index=subjects(15))
    site = np.array(list("xxxxxxyyy") + list("xyyyyy"))
    x = np.arange(1, 8)
    tables = np.stack([np.stack([x, 9 - x], -1), np.stack([7 - x, x - 1], -1)], 1)
    seen = chi_square(np.array([[6.0, 3], [1, 5]]))
    chance = hypergeom(15, 7, 9).pmf(x)
    exact = chance[chi_square(tables.astype(float)) >= seen - 1e-9].sum()
    found = compare_composition(clusters, pd.DataFrame({"site": site}, index=clusters.index), 20_000, 0.95, 1)
    assert found["p"][0] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("strength", [0.0, 0.25])
def test_interval_of_v_covers(strength, monkeypatch):
    monkeypatch.setattr(composition, "BOOTSTRAP", 300)
    generator = np.random.default_rng(2)
    share = np.array([[1 + strength, 1 - strength], [1 - strength, 1 + strength]]) / 2
    true = strength  # of a 2 x 2 table with equal margins
    inside = 0
    for _ in range(100):
        clusters = generator.integers(2, size=200)
        words = np.where(generator.random(200) < share[clusters, 0], "a", "b")
        row = compare_composition(
            pd.Series(clusters, index=subjects(200)),
            pd.DataFrame({"site": words}, index=subjects(200)),
            1,
            0.95,
            1,
        ).iloc[0]
        inside += row["effect_low"] <= true <= row["effect_high"]
    assert inside / 100 >= 0.9


@pytest.mark.parametrize(("sites", "people"), [(20, 200), (40, 200), (60, 180)])
def test_interval_of_v_covers_with_many_small_sites(sites, people, monkeypatch):
    monkeypatch.setattr(composition, "BOOTSTRAP", 300)
    inside = 0
    for seed in range(80):
        generator = np.random.default_rng(seed)
        share = generator.dirichlet([2.0, 2.0, 2.0], size=sites)
        expected = share.mean(axis=0)
        true = np.sqrt(((share - expected) ** 2 / expected).sum() / sites / 2)
        site = generator.integers(sites, size=people)
        clusters = (generator.random(people)[:, None] > share.cumsum(axis=1)[site, :2]).sum(axis=1) + 1
        row = compare_composition(
            pd.Series(clusters, index=subjects(people)),
            pd.DataFrame({"site": site.astype(str)}, index=subjects(people)),
            1,
            0.95,
            1,
        ).iloc[0]
        inside += row["effect_low"] <= true <= row["effect_high"]
    assert inside / 80 >= 0.85


def test_relatives_are_exchanged_whole(monkeypatch):
    """Pairs alike in cluster and site: plain permutation takes chance for a finding."""
    monkeypatch.setattr(composition, "BOOTSTRAP", 10)
    generator = np.random.default_rng(2)
    plain, ruled = [], []
    for _ in range(120):
        clusters = pd.Series(np.repeat(generator.integers(1, 3, size=30), 2), index=subjects(60))
        site = np.repeat(np.where(generator.random(30) < 0.5, "x", "y"), 2)
        people = pd.DataFrame({"site": site, "family": np.repeat(np.arange(30).astype(str), 2)})
        people.index = clusters.index
        ruled.append(compare_composition(clusters, people, 199, 0.95, 1)["p"][0])
        plain.append(compare_composition(clusters, people.drop(columns="family"), 199, 0.95, 1)["p"][0])
    assert np.mean(np.array(plain) <= 0.05) > 0.12
    assert np.mean(np.array(ruled) <= 0.05) < 0.1


def confounded(generator, n=120):
    """Clusters that differ in age, at two sites."""
    age = generator.normal(size=n)
    clusters = 1 + (age + generator.normal(size=n) > 0).astype(int)
    people = pd.DataFrame(
        {"age": age, "site": np.where(generator.random(n) < 0.5, "x", "y"), "family": ""}, index=subjects(n)
    )
    return pd.Series(clusters, index=people.index), people


def test_f_is_that_of_the_linear_model():
    generator = np.random.default_rng(3)
    clusters, people = confounded(generator)
    clusters[:30] = 3
    score = people["age"] + 0.3 * clusters + generator.normal(size=120)
    table, _ = compare_adjusted(clusters, score.to_frame("f"), people, 4000, 0.95, 1)
    design = pd.DataFrame({"age": people["age"].rank(), "site": people["site"] == "x"}).astype(float)
    whole = design.assign(two=clusters == 2, three=clusters == 3).astype(float)
    ranks = rankdata(score)
    model = sm.OLS(ranks, sm.add_constant(whole)).fit()
    f, p, df = model.compare_f_test(sm.OLS(ranks, sm.add_constant(design)).fit())
    assert df == 2
    row = table.iloc[0]
    assert row["f"] == pytest.approx(f)
    assert row["p"] == pytest.approx(p, abs=0.02)
    assert row["eta2"] == pytest.approx(partial_eta_squared(f, 2, 115))
    assert row["eta2_low"] <= row["eta2"] <= row["eta2_high"]
    assert row["adjusted_for"] == "age, site"


def test_age_explains_away_what_it_makes_and_nothing_else():
    clusters, people = confounded(np.random.default_rng(4), 300)
    noise = np.random.default_rng(5).normal(size=(300, 2))
    scores = pd.DataFrame(
        {"by_age": people["age"] + noise[:, 0], "own": people["age"] + clusters + noise[:, 1]}
    )
    raw = kruskal(*[scores["by_age"][clusters == k] for k in (1, 2)])
    assert raw.pvalue < 1e-4
    table, _ = compare_adjusted(clusters, scores, people, 2000, 0.95, 1)
    assert table["p"][0] > 0.05
    assert table["q"][1] < 0.002


def test_what_bends_with_age_in_clusters_and_scores_is_ages():
    """The old are in one cluster, and their scores decline faster: beside a straight line, the clusters seem to differ."""
    generator = np.random.default_rng(11)
    alarms = {1: 0, 3: 0, "auto": 0}
    for _ in range(40):
        age = generator.uniform(20, 85, 300)
        ids = [f"s{number}" for number in range(300)]
        clusters = pd.Series(1 + (generator.random(300) < 1 / (1 + np.exp((68 - age) / 4))), index=ids)
        scores = pd.DataFrame({"f": -0.05 * np.maximum(age - 55, 0) + generator.normal(size=300)}, index=ids)
        for splines in alarms:
            people = pd.DataFrame({"age": age, "sex": np.where(age % 1 < 0.5, "F", "M")}, index=ids)
            table, _ = compare_adjusted(clusters, scores, people, 99, 0.95, 1, splines=splines)
            alarms[splines] += table["p"][0] <= 0.05
            assert set(table["curves"]) == {"none" if splines == 1 else "age"}
    assert alarms[1] >= 20
    assert alarms[3] <= 6  # 5% of 40 at most, as far as chance allows
    assert alarms["auto"] == alarms[3]


def test_curves_are_as_many_as_the_people_with_a_value_allow():
    """Of 200 people 40 have the second score: too few for a curve, though all together are not."""
    generator = np.random.default_rng(12)
    clusters, people = confounded(generator, 200)
    scores = pd.DataFrame(generator.normal(size=(200, 2)), clusters.index, ["all", "few"])
    scores.loc[clusters.index[40:], "few"] = np.nan
    found, _ = compare_adjusted(clusters, scores, people, 99, 0.95, 1, splines="auto")
    lines, _ = compare_adjusted(clusters, scores, people, 99, 0.95, 1, splines=1)
    assert list(found["curves"]) == ["age", "none"]
    assert found["f"][0] != pytest.approx(lines["f"][0])
    assert found["f"][1] == pytest.approx(lines["f"][1])


def test_one_badly_registered_person_leaves_the_adjustment_as_it_is():
    """A straight line through that person's image quality is hardly one of the others'."""
    generator = np.random.default_rng(12)
    ids = [f"s{number}" for number in range(80)]
    alarms = 0
    for _ in range(60):
        standard = generator.standard_normal(80)
        quality = 0.93 + 0.01 * standard
        quality[0] = 0.3
        clusters = pd.Series(1 + (generator.random(80) < 1 / (1 + np.exp(-1.5 * standard))), index=ids)
        scores = pd.DataFrame({"f": 0.5 * standard + generator.standard_normal(80)}, index=ids)
        others = {"age": generator.uniform(20, 60, 80), "head_size": generator.normal(1, 0.1, 80)}
        people = pd.DataFrame({**others, "image_quality": quality}, index=ids)
        table, _ = compare_adjusted(clusters, scores, people, 99, 0.95, 1, splines="auto")
        alarms += table["p"][0] <= 0.05
    assert alarms <= 8  # 5% of 60 at most, as far as chance allows


@pytest.mark.parametrize("classes", ["sex", "site"])
def test_what_changes_with_age_in_one_sex_or_at_one_site_alone_is_ages(classes):
    """Who is in which cluster and the score change with age there, and elsewhere neither does."""
    generator = np.random.default_rng(13)
    ids = [f"s{number}" for number in range(300)]
    alarms = {1: 0, "auto": 0}
    for _ in range(40):
        age, there = generator.uniform(20, 85, 300), generator.random(300) < 0.5
        standard = there * (age - 52) / 19
        clusters = pd.Series(1 + (generator.random(300) < 1 / (1 + np.exp(-1.5 * standard))), index=ids)
        scores = pd.DataFrame({"f": generator.standard_normal(300) - standard}, index=ids)
        people = pd.DataFrame({"age": age, classes: np.where(there, "F", "M")}, index=ids)
        for splines in alarms:
            table, _ = compare_adjusted(clusters, scores, people, 99, 0.95, 1, splines=splines)
            alarms[splines] += table["p"][0] <= 0.05
            assert set(table["slopes"]) == {"none" if splines == 1 else classes}
    assert alarms[1] >= 15
    assert alarms["auto"] <= 6  # 5% of 40 at most, as far as chance allows


def test_age_has_slopes_of_its_own_where_there_are_people_enough():
    generator = np.random.default_rng(14)
    age, site = generator.uniform(20, 85, 120), np.arange(120) % 4
    ids = [f"s{number}" for number in range(120)]
    people = pd.DataFrame({"age": age, "sex": np.where(age % 1 < 0.5, "F", "M"), "site": site}, index=ids)
    clusters = pd.Series(np.arange(120) % 2, index=ids)
    scores = pd.DataFrame({"f": age}, index=ids)
    # 120 people have 6 columns: 3 for age, 1 for sex and 1 for sex by age, and none are left where 3 are for sites
    for known, slopes in ((people.drop(columns="site"), "sex"), (people, "none")):
        table, _ = compare_adjusted(clusters, scores, known, 9, 0.95, 1, splines="auto")
        assert list(table["slopes"]) == [slopes]


def test_the_wald_statistic_has_statsmodels_hc2_variance(monkeypatch):
    generator = np.random.default_rng(15)
    labels = np.repeat([1, 2, 3], [30, 12, 6])
    covariates = generator.normal(size=(48, 2))
    values = generator.normal(size=48) * labels + covariates[:, 0] + (labels == 2)
    design = np.column_stack([np.ones(48), covariates, labels == 2, labels == 3]).astype(float)
    fitted = sm.OLS(values, design).fit()
    contrast = np.eye(5)[3:]
    monkeypatch.setattr(adjusted, "POOLED_SHARE", 0.0)
    f, wald, *_ = freedman_lane(values[:, None], labels, covariates, [""] * 48, 1, generator)
    robust = sm.OLS(values, design).fit(cov_type="HC2")
    assert wald[0] == pytest.approx(robust.wald_test(contrast, scalar=True).statistic / 2)
    assert f[0] == pytest.approx(float(fitted.f_test(contrast).statistic))
    assert not np.isclose(f[0], wald[0], rtol=0.05)


@pytest.mark.parametrize("whose", ["cluster", "site"])
def test_a_cluster_or_a_site_whose_people_differ_more_is_not_elsewhere(whose):
    generator = np.random.default_rng(16)
    people, alarms = 80, []
    for _ in range(200):
        wide = generator.random(people) < 0.2
        labels = 1 + (wide if whose == "cluster" else generator.random(people) < np.where(wide, 0.5, 0.02))
        score = rankdata(generator.normal(size=people) * np.where(wide, 3, 1))[:, None]
        covariates = np.zeros((people, 0)) if whose == "cluster" else wide[:, None].astype(float)
        if len(np.unique(labels)) == 2:
            _, _, p, _, _ = freedman_lane(score, labels, covariates, [""] * people, 99, generator)
            alarms.append(p[0] <= 0.05)
    assert len(alarms) > 190
    assert np.mean(alarms) <= 0.085


def test_clusters_of_one_person_and_of_tied_people_have_a_variance():
    generator = np.random.default_rng(17)
    labels = np.repeat([1, 2, 3], [40, 1, 3])
    values = np.column_stack([generator.normal(size=44), generator.normal(size=44)])
    values[41:, 1] = values[:40, 1].min() - 1  # three people with one value
    _, wald, p, df1, df2 = freedman_lane(values, labels, np.zeros((44, 0)), [""] * 44, 199, generator)
    assert (df1, df2) == (2, 41)
    assert np.isfinite(wald).all()
    assert p[0] > 0.05
    assert p[1] < 0.05
    # the person's own effect has the variance of all others
    effect = freedman_lane(
        values, np.repeat([1, 2], [43, 1])[::-1], np.zeros((44, 0)), [""] * 44, 1, generator
    )
    assert effect[1][0] == pytest.approx(effect[0][0], rel=0.1)


@pytest.mark.parametrize("determined", [False, True])
def test_both_ways_to_compute_the_wald_statistic_agree(monkeypatch, determined):
    generator = np.random.default_rng(18)
    labels = np.repeat([1, 2, 3, 4, 5], [40, 20, 10, 4, 1])
    covariates = generator.normal(size=(75, 3))
    if determined:
        covariates[:, 0] = labels == 2
    values = generator.normal(size=(75, 2)) * (1 + (labels == 3))[:, None] + covariates[:, 1:]
    found = []
    for few in (30, 0):
        monkeypatch.setattr(adjusted, "FEW_CLUSTERS", few)
        found.append(freedman_lane(values, labels, covariates, [""] * 75, 99, np.random.default_rng(0)))
    assert found[0][3] == 4 - determined
    for one, other in zip(*found, strict=True):
        assert other == pytest.approx(one, rel=1e-9)


def test_hundreds_of_clusters_take_little_memory():
    generator = np.random.default_rng(19)
    labels, values = generator.integers(200, size=600), generator.normal(size=(600, 1))
    tracemalloc.start()
    freedman_lane(values, labels, generator.normal(size=(600, 4)), [""] * 600, 100, generator)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6  # numbers for each pair of clusters and each person or draw would be 100 MB and more


def test_clusters_that_determine_a_factor_have_the_smallest_p():
    labels = np.repeat([1, 2], 20)
    _, wald, p, _, _ = freedman_lane(
        labels[:, None].astype(float), labels, np.zeros((40, 0)), [""] * 40, 99, np.random.default_rng(0)
    )
    assert np.isinf(wald[0])
    assert p[0] == 1 / 100


@pytest.mark.parametrize("skewed", [False, True])
def test_no_false_alarms_where_age_is_all(skewed):
    generator = np.random.default_rng(6)
    alarms = 0
    for _ in range(300):
        clusters, people = confounded(generator, 60)
        noise = generator.exponential(size=60) if skewed else generator.normal(size=60)
        values = rankdata(0.7 * people["age"] + noise)[:, None]
        covariates = people[["age"]].to_numpy()
        _, _, p, _, _ = freedman_lane(values, clusters.to_numpy(), covariates, [""] * 60, 99, generator)
        alarms += p[0] <= 0.05
    assert 0.02 <= alarms / 300 <= 0.085


def test_interval_of_partial_eta_squared_covers():
    generator = np.random.default_rng(7)
    shifts, inside, effects = np.array([0, 0.3, 0.6]), 0, []
    labels = np.repeat(np.arange(3), 40)
    lam = 40 * ((shifts - shifts.mean()) ** 2).sum()
    true = lam / (lam + 120)
    for _ in range(1000):
        f, _, _, df1, df2 = freedman_lane(
            (generator.normal(size=120) + shifts[labels])[:, None],
            labels,
            np.zeros((120, 0)),
            [""] * 120,
            1,
            generator,
        )
        low, high = partial_interval(f[0], df1, df2, 0.95)
        inside += low <= true <= high
        effects.append(partial_eta_squared(f[0], df1, df2))
    assert (df1, df2) == (2, 117)
    assert 0.93 <= inside / 1000 <= 0.97
    assert np.mean(effects) == pytest.approx(true, abs=0.01)
    low, high = partial_interval(6.0, 2, 100, 0.9)
    lam = low * 103 / (1 - low)
    assert ncf.sf(6.0, 2, 100, lam) == pytest.approx(0.05, abs=1e-6)


def test_people_without_a_covariate_are_left_out_and_counted():
    generator = np.random.default_rng(8)
    clusters, people = confounded(generator, 80)
    people.loc[people.index[:5], "age"] = np.nan
    scores = pd.DataFrame(generator.normal(size=(80, 2)), index=people.index, columns=["a", "b"])
    scores.iloc[4:10, 1] = np.nan
    table, facts = compare_adjusted(clusters, scores, people, 99, 0.95, 1)
    assert list(table["factor"]) == ["a", "b"]
    assert list(table["n"]) == [75, 70]
    assert list(table["missing"]) == [5, 10]
    assert facts["people_without_a_covariate"] == list(people.index[:5])
    one, _ = compare_adjusted(clusters * 0 + 1, scores, people, 99, 0.95, 1)
    assert one[["f", "p", "q", "eta2"]].isna().to_numpy().all()


def test_a_column_that_the_study_names_is_a_covariate_too():
    """Clusters that follow a scanner differ in whatever the scanner changes, and in nothing beyond it."""
    generator = np.random.default_rng(10)
    clusters, people = confounded(generator, 120)
    follows = (clusters == 1) ^ (generator.random(120) < 0.15)
    people["scanner"] = np.where(follows, "a", "b")
    scores = pd.DataFrame({"f": 2.0 * follows + generator.normal(size=120)}, index=people.index)
    without, _ = compare_adjusted(clusters, scores, people, 999, 0.95, 1)
    table, facts = compare_adjusted(clusters, scores, people, 999, 0.95, 1, further=["scanner"])
    assert without["p"][0] < 0.01
    assert table["p"][0] > 0.05
    assert facts["adjusted_for"] == ["age", "site", "scanner"]


def test_a_covariate_that_most_people_lack_is_not_adjusted_for():
    """The comparison would be one of the few who have it, in whom nothing can be found."""
    generator = np.random.default_rng(8)
    clusters, people = confounded(generator, 80)
    scores = pd.DataFrame({"a": clusters + generator.normal(size=80)}, index=people.index)
    people.loc[people.index[10:], "age"] = np.nan
    row = compare_adjusted(clusters, scores, people, 99, 0.95, 1)[0].iloc[0]
    assert (row["n"], row["adjusted_for"]) == (80, "site")
    people.loc[people.index[:40], "age"] = np.arange(40.0)
    row = compare_adjusted(clusters, scores, people, 99, 0.95, 1)[0].iloc[0]
    assert (row["n"], row["adjusted_for"]) == (40, "age, site")


def test_clusters_that_are_sites_cannot_be_told_from_them():
    generator = np.random.default_rng(9)
    clusters, people = confounded(generator, 80)
    people["site"] = np.where(clusters == 1, "x", "y")
    scores = (clusters + generator.normal(size=80)).to_frame("f")
    table, _ = compare_adjusted(clusters, scores, people, 99, 0.95, 1)
    assert np.isnan(table["p"][0])


def test_parts_never_divide_families_and_have_equal_sizes():
    families = [f"f{k // 3}" for k in range(60)] + [""] * 41
    seen = set()
    for seed in range(20):
        part = family_parts(families, 2, np.random.default_rng(seed))
        assert sorted(np.bincount(part)) == [50, 51]
        assert all(len(set(part[3 * k : 3 * k + 3])) == 1 for k in range(20))
        seen.add(tuple(part))
    assert len(seen) == 20
    assert max(np.bincount(family_parts(families, 10, np.random.default_rng(0)))) <= 11
