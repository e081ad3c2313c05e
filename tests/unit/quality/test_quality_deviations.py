"""What is expected of a person, robust spreads, and limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from quality_rules import rules_of
from scipy import stats

from neurostrata.imaging.quality.registry import Measure
from neurostrata.quality.covariates import relate_to_people
from neurostrata.quality.deviations import (
    HEAVIEST,
    Rules,
    compare_everybody,
    limit_of_z,
    scaled,
    spreads,
    tail_freedom,
    unscaled,
)
from neurostrata.quality.expected import expect, site_groups

LOW = Measure("q", "Quality; low is bad.", "scan", "1", "low")
HIGH_LOG = Measure("q", "Noise; high is bad.", "scan", "1", "high", True, 0.1)


def people(n: int, **columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns, index=[f"{number:03d}" for number in range(n)])


def test_the_expectation_follows_age_sex_and_site_and_not_the_outliers() -> None:
    rng = np.random.default_rng(0)
    n = 90
    about = people(
        n, age=rng.uniform(20, 80, n), sex=rng.choice(["F", "M"], n), site=np.repeat(["a", "b", "c"], 30)
    )
    truth = 5 - 0.1 * about["age"] + 2 * (about["sex"] == "F") + 7 * (about["site"] == "b")
    values = truth + rng.normal(0, 0.3, n)
    values.iloc[:6] += 40
    found = expect(values, about, ("age", "sex", "site"), 10, np.ones(n, bool))
    assert found.covariates == ("age", "sex", "site")
    assert found.parameters == 5
    assert np.abs(found.values - truth).max() < 0.4
    assert expect(values, about, ("age",), 10, np.ones(n, bool)).covariates == ("age",)


def test_ages_in_bins_are_taken_into_account() -> None:
    """HCP gives ages as 22-25 and 36+; without age, quality that falls with it flags the old."""
    bins = np.resize(["22-25", "26-30", "31-35", "36+"], 80)
    numbers = np.resize([23.5, 28, 33, 36], 80)
    values = pd.Series(numbers + np.random.default_rng(0).normal(0, 0.1, 80), index=people(80).index)
    found = [
        expect(values, people(80, age=ages), ("age",), 10, np.ones(80, bool)) for ages in (bins, numbers)
    ]
    assert found[0].covariates == ("age",)
    pd.testing.assert_series_equal(found[0].values, found[1].values)
    (row,) = relate_to_people(values.to_frame("noise"), people(80, age=bins)).to_dict("records")
    assert (row["characteristic"], row["n"]) == ("age", 80)
    assert row["effect"] > 0.9


def test_people_of_the_smallest_sites_are_not_counted_among_those_compared() -> None:
    site = ["a"] * 30 + ["b"] * 26 + ["c"] * 4
    values = pd.Series(np.random.default_rng(3).normal(size=60), index=people(60).index)
    rows = relate_to_people(values.to_frame("noise"), people(60, site=site)).set_index("characteristic")
    assert rows.loc["site", "n"] == 56


def test_relatives_who_are_alike_and_of_one_site_and_age_are_not_counted_as_strangers() -> None:
    """Thirty families of three, measures that go with nothing: taken as strangers, a sixth and more would pass for related."""
    rng = np.random.default_rng(5)
    of = np.repeat(np.arange(30), 3)
    age, site = rng.uniform(20, 80, 30)[of], np.repeat(["a", "b", "c"], 10)[of]
    measures = 0.8 * rng.standard_normal((30, 200))[of] + 0.6 * rng.standard_normal((90, 200))
    about = people(90, age=age, site=site, family=[f"f{number}" for number in of])
    table = pd.DataFrame(measures, index=about.index)
    rows = relate_to_people(table, about).set_index("characteristic")
    without = relate_to_people(table, about.drop(columns="family")).set_index("characteristic")
    for characteristic, inside in (("age", rows["low"] <= 0), ("site", rows["low"] == 0)):
        alarms = (rows.loc[characteristic, "p"] <= 0.05).mean()
        assert 0.02 < alarms < 0.09
        assert (without.loc[characteristic, "p"] <= 0.05).mean() > 0.15
        assert inside[characteristic].mean() > 0.92
    assert (rows.loc["age", "high"] >= 0).mean() > 0.95
    pd.testing.assert_series_equal(rows["effect"], without["effect"])


def test_twins_of_one_value_count_once() -> None:
    rng = np.random.default_rng(6)
    values, age = rng.standard_normal(40), rng.uniform(20, 80, 40)
    alone = relate_to_people(pd.DataFrame({"m": values}, people(40).index), people(40, age=age)).loc[0]
    twins = people(80, age=np.repeat(age, 2), family=[f"f{number // 2}" for number in range(80)])
    both = relate_to_people(pd.DataFrame({"m": np.repeat(values, 2)}, twins.index), twins).loc[0]
    assert both["effect"] == pytest.approx(alone["effect"])
    # as strangers p would be 0.005 instead of 0.05; of the degrees of freedom both sets of people have their own
    assert both["p"] == pytest.approx(alone["p"], rel=0.15)
    assert both["high"] - both["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.05)


@pytest.mark.parametrize("apart", [0.0, 0.01, 0.2])
def test_pairs_of_a_man_and_a_woman_who_are_alike_count_for_no_more_than_strangers(apart: float) -> None:
    """All that differs between the sexes would differ within pairs alone, in which hardly anything varies."""
    rng = np.random.default_rng(7)
    about = people(80, sex=["F", "M"] * 40, family=[f"f{number // 2}" for number in range(80)])
    values = np.repeat(rng.standard_normal(40), 2) + apart * np.tile([0, 1], 40)
    table = pd.DataFrame({"m": values}, about.index)
    (row,) = relate_to_people(table, about).to_dict("records")
    (strangers,) = relate_to_people(table, about.drop(columns="family")).to_dict("records")
    assert row == pytest.approx(strangers)
    assert row["low"] <= row["effect"] <= row["high"]


def test_who_is_of_neither_sex_is_expected_in_the_middle() -> None:
    sex = np.array(["F"] * 30 + ["M"] * 20 + [""] * 4 + ["X"] * 2)
    truth = np.select([sex == "F", sex == "M"], [0.0, 4.0], 2.0)
    values = pd.Series(truth + np.random.default_rng(4).normal(0, 0.1, 56), index=people(56).index)
    found = expect(values, people(56, sex=sex), ("sex",), 10, np.ones(56, bool))
    np.testing.assert_allclose(found.values, truth, atol=0.15)


def test_ten_people_for_each_number_and_a_level_beside_the_slope() -> None:
    """Of one site, far from 0, mostly young: a slope alone, without a level, would be another."""
    age = np.array([20.0] * 14 + [40, 50, 60, 70, 75, 80])
    truth = 500 + 2 * age
    found = expect(pd.Series(truth, people(20).index), people(20, age=age), ("age",), 10, np.ones(20, bool))
    assert (found.covariates, found.parameters) == (("age",), 2)
    np.testing.assert_allclose(found.values, truth, atol=1e-6)
    fewer = expect(
        pd.Series(truth[1:], people(19).index), people(19, age=age[1:]), ("age",), 10, np.ones(19, bool)
    )
    assert (fewer.covariates, fewer.parameters) == ((), 1)
    assert (fewer.values == 540).all()


def test_few_people_are_compared_without_covariates() -> None:
    about = people(12, age=np.arange(12.0), sex=["F", "M"] * 6, site=["a"] * 11 + ["b"])
    values, everybody = pd.Series(np.arange(12.0), index=about.index), np.ones(12, bool)
    found = expect(values, about, ("age", "sex", "site"), 10, everybody)
    assert found.covariates == ("site",)
    assert list(found.values) == [5.0] * 11 + [5.5]
    assert expect(values, people(12), ("age",), 10, everybody).covariates == ()


def test_the_expectation_is_learned_from_some_and_made_for_all() -> None:
    about = people(40, age=np.arange(40.0), site=["a"] * 20 + ["b"] * 20)
    values = about["age"] + 5 * (about["site"] == "b")
    learned = np.arange(40) % 4 > 0
    spoiled = values.where(learned, 300.0)
    assert list(expect(spoiled, about, ("age", "site"), 10, learned).values) == pytest.approx(list(values))
    # a site of which nothing is learned has its own level
    of_one = expect(values, about, ("site",), 10, np.array(about["site"] == "a"))
    assert list(of_one.values) == [9.5] * 20 + [34.5] * 20


def test_small_sites_share_a_group() -> None:
    site = pd.Series(["a"] * 12 + ["b"] * 4 + ["c"] * 3 + [np.nan])
    assert site_groups(site, 10).value_counts().to_dict() == {"a": 12, "": 8}
    exact = site_groups(pd.Series(["a"] * 5 + ["b"] * 4), 5)
    assert exact.tolist() == ["a"] * 5 + [""] * 4


def test_spreads_by_hand() -> None:
    assert spreads(np.array([-2.0, -1, 0, 1, 2])) == pytest.approx((1.4826, 1.4826))
    low, high = spreads(np.array([-1.0, -1, -1, 0, 1, 10, 10]))
    assert (low, high) == pytest.approx((1.4826, 1.4826 * 5.5))
    # more than half are equal: the mean absolute deviation
    assert spreads(np.array([0.0] * 29 + [1])) == pytest.approx((1.2533 / 30,) * 2)
    # a fifth of the people, who have another protocol, is not unusual
    assert spreads(np.array([0.0, 0, 0, 0, 1])) == pytest.approx((1.4826,) * 2)


def test_the_limit_grows_with_the_measures_and_in_small_cohorts() -> None:
    assert limit_of_z(1, 10**6, 1, 0.05) == pytest.approx(stats.norm.isf(0.05), rel=1e-4)
    assert limit_of_z(40, 10**6, 1, 0.01) == pytest.approx(stats.norm.isf(1 - 0.99 ** (1 / 40)), rel=1e-4)
    assert limit_of_z(40, 30, 1, 0.01) > 1.2 * limit_of_z(40, 300, 1, 0.01)
    assert limit_of_z(40, 300, 1, 0.01, freedom=5) > 1.5 * limit_of_z(40, 300, 1, 0.01)


@pytest.mark.parametrize("freedom", [4, 8, 20])
def test_tails_are_recognised(freedom: int) -> None:
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    assert tail_freedom(np.abs(stats.t.ppf(quantiles, freedom)), 0.05) == pytest.approx(freedom, rel=0.02)
    assert tail_freedom(np.abs(stats.norm.ppf(quantiles)), 0.05) > 200


def test_logarithms_and_zeros() -> None:
    values = pd.Series([0.0, 1, 10])
    assert list(unscaled(scaled(values, HIGH_LOG), HIGH_LOG)) == pytest.approx([1, 1, 10])
    low = Measure("q", "", "scan", "1", "low", True)
    assert list(unscaled(scaled(values, low), low)) == pytest.approx([0.001, 1, 10])


def flags(values: np.ndarray, measure: Measure, rules: Rules, about: pd.DataFrame | None = None) -> list[str]:
    about = people(len(values)) if about is None else about
    table = pd.DataFrame({measure.name: values}, index=about.index)
    found = compare_everybody(table, {measure.name: measure}, about, rules)
    return [subject for one in found for subject in one.values.index[one.flagged]]


def test_only_the_bad_side_is_flagged() -> None:
    values = np.random.default_rng(1).normal(10, 1, 60)
    values[0], values[1] = 0, 20
    rules = rules_of(false_flags=0.0001)
    assert flags(values, LOW, rules) == ["000"]
    assert flags(values, Measure("q", "", "scan", "1", "both"), rules) == ["000", "001"]


def test_a_difference_within_the_tolerance_is_of_no_interest() -> None:
    values = np.exp(np.random.default_rng(1).normal(0, 0.001, 60))
    values[0], values[1] = np.exp(0.09), np.exp(0.12)
    assert flags(values, HIGH_LOG, rules_of()) == ["001"]


def test_limits_of_the_configuration() -> None:
    values = np.random.default_rng(1).normal(10, 1, 60)
    values[0] = 0
    assert flags(values, LOW, rules_of(false_flags=0.0001)) == ["000"]
    assert flags(values, LOW, rules_of(limit=20.0)) == []
    assert flags(values, LOW, rules_of(limits={"q": 20.0})) == []
    assert flags(values, LOW, rules_of(leave_out=["q"])) == []
    assert len(flags(values, LOW, rules_of(limits={"q": 1.0}))) > 5


def test_tails_of_few_people_are_believed_in_part() -> None:
    rng = np.random.default_rng(6)
    values = rng.standard_t(2.2, (300, 20))  # tails as heavy as are looked for
    names = [f"m{i}" for i in range(20)]
    measures = {name: Measure(name, "", "scan", "1", "both") for name in names}

    def limit(n: int) -> float:
        table = pd.DataFrame(values[:n], columns=names, index=people(n).index)
        found = compare_everybody(table, measures, people(n), rules_of(false_flags=0.01))
        return float(np.median([one.spread["limit"].iloc[0] for one in found]))

    each = 1 - 0.99 ** (1 / 40)
    unit = stats.t.ppf(0.75, HEAVIEST) / stats.norm.ppf(0.75)
    heaviest = -stats.t.ppf(each, HEAVIEST) / unit
    assert 0.85 * heaviest < limit(300) <= heaviest * 1.01
    assert limit(24) < 0.75 * heaviest


def test_errors_do_not_hide_each_other() -> None:
    values = np.random.default_rng(2).normal(10, 1, 32)
    alone = values.copy()
    alone[7] = 2.5
    assert flags(alone, LOW, rules_of()) == ["007"]
    among = alone.copy()
    among[:6] = -40 - np.arange(6)
    assert flags(among, LOW, rules_of()) == ["000", "001", "002", "003", "004", "005", "007"]


def test_more_than_half_in_error_is_no_cohort_to_learn_from() -> None:
    about = people(40)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(0, 1, (40, 30)), columns=[f"m{i}" for i in range(30)], index=about.index)
    for i in range(30):  # everybody but ten in some measure
        table.iloc[i, i] = 80.0
    measures = {name: Measure(name, "", "scan", "1", "high") for name in table}
    found = compare_everybody(table, measures, about, rules_of())
    assert {one.spread["people"].iloc[0] for one in found} == {40}
    assert all(one.flagged.iloc[i] for i, one in enumerate(found))


def test_a_value_that_is_certain_to_be_an_error_needs_no_comparison() -> None:
    values = np.linspace(2, 5, 20)
    values[3] = 6.6
    for bad, sign in (("high", 1), ("low", -1)):
        measure = Measure("q", "", "scan", "1", bad, certain=sign * 6.5)  # type: ignore[arg-type]
        assert flags(sign * values, replace(measure, certain=None), rules_of()) == []
        assert flags(sign * values, measure, rules_of()) == ["003"]
        assert flags(sign * values, replace(measure, certain=sign * 6.7), rules_of()) == []
        # a limit that is set counts alone, and what everybody has is nobody's error
        assert flags(sign * values, measure, rules_of(limit=20.0)) == []
        assert flags(sign * (values + 20), measure, rules_of()) == []


def test_nothing_is_compared_among_few_or_equal_people() -> None:
    values = np.arange(9.0)
    assert flags(values * 100, LOW, rules_of()) == []
    table = pd.DataFrame({"q": np.ones(20)})
    assert compare_everybody(table, {"q": LOW}, people(20), rules_of()) == []


def test_two_values_are_compared() -> None:
    table = pd.DataFrame({"q": np.repeat([1.0, 2.0], [29, 1])}, index=people(30).index)
    (found,) = compare_everybody(table, {"q": LOW}, people(30), rules_of())
    assert found.z.iloc[-1] > 0
    assert (found.z.iloc[:-1] == 0).all()


@pytest.mark.parametrize("bad", ["low", "high", "both"])
def test_tails_are_those_of_the_bad_side(bad: str) -> None:
    values = pd.DataFrame({"q": np.exp(np.random.default_rng(3).normal(size=40))}, index=people(40).index)
    measure = Measure("q", "", "scan", "1", bad, True)
    (found,) = compare_everybody(values, {"q": measure}, people(40), rules_of())
    some = values.index[5:]
    z = found.z[5:]
    wanted = {"low": -z[z < 0], "high": z[z > 0], "both": z.abs()}[bad]
    np.testing.assert_allclose(found.bad_distances(some), wanted)
    table = found.table()
    # nobody differs by age, sex or site: the median of the logarithms is expected of everybody
    np.testing.assert_allclose(table["expected"], np.exp(np.median(np.log(values["q"]))))
    np.testing.assert_allclose(table["value"], values["q"])


def test_a_site_of_other_spread_is_compared_with_itself() -> None:
    rng = np.random.default_rng(2)
    about = people(200, site=np.repeat(["a", "b"], 100))
    values = np.concatenate([rng.normal(0, 0.2, 100), rng.normal(0, 3, 100)])
    values[0] = -3.0
    table = pd.DataFrame({"q": values}, index=about.index)
    (found,) = compare_everybody(table, {"q": LOW}, about, rules_of())
    assert list(found.values.index[found.flagged]) == ["000"]
    assert (
        found.table()["compared_with"].tolist() == [99] * 100 + [100] * 100
    )  # the outlier is in nobody's spread


def test_what_most_people_have_none_of_flags_only_who_has_much() -> None:
    """Shares of outlier volumes: 0 in most people. A regression on age would make small differences seem large."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random(40) < 0.3, rng.integers(1, 4, 40) / 66, 0.0)
    values[5] = 0.5
    outliers = Measure("q", "Outliers; high with motion.", "diffusion", "1", "high", False, 0.02)
    about = people(40, age=rng.uniform(20, 80, 40))
    assert flags(values, outliers, rules_of(limit=6.0), about) == ["005"]
    rng = np.random.default_rng(5)
    values = np.where(rng.random(40) < 0.3, rng.exponential(0.05, 40), 0.0)
    about = people(
        40, age=rng.uniform(20, 80, 40), sex=rng.choice(["F", "M"], 40), site=rng.choice(["a", "b"], 40)
    )
    assert flags(values, outliers, rules_of(limit=3.0), about) == []


def test_a_limit_that_is_set_for_one_measure_leaves_those_of_others() -> None:
    rng = np.random.default_rng(4)
    about = people(60)
    table = pd.DataFrame(rng.standard_t(5, (60, 4)), columns=list("abcd"), index=about.index)
    measures = {name: Measure(name, "", "scan", "1", "both") for name in table}
    auto, some = (
        {one.measure.name: float(one.spread["limit"].iloc[0]) for one in compare_everybody(table, measures, about, rules)}
        for rules in (rules_of(), rules_of(limits={"a": 0.3, "b": 0.3}))
    )  # fmt: skip
    assert (some["a"], some["b"]) == (0.3, 0.3)
    assert (some["c"], some["d"]) == (auto["c"], auto["d"])


def test_whoever_is_flagged_something_is_compared() -> None:
    rng = np.random.default_rng(1)
    assert len(flags(rng.normal(size=11), Measure("q", "", "scan", "1", "both"), rules_of(limit=0.5))) > 3
    values = np.zeros(40)
    values[:3] = 0.5
    rare = Measure("dwi_outliers", "", "diffusion", "1", "high")
    assert set(flags(values, rare, rules_of())) <= {"000", "001", "002"}
