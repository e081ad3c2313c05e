"""Sites and covariates taken out of codes: as the reference does, without a leak, and neither taken for the other."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import fsolve

from neurostrata.adjustment.codes import Adjustment, LinearAdjustment, curves_removed, free_of_covariates
from neurostrata.adjustment.combat import ComBat, empirical_bayes
from neurostrata.core.embeddings import Embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.locations import REPOSITORY
from neurostrata.phenotypes.covariates import CovariateDesign, code_covariates, find_columns

REFERENCE = REPOSITORY / "tests" / "reference" / "combat.tsv"


def cohort(people=300, seed=0):
    """Codes with a planted age effect, and sites that differ in location, scale and age."""
    random = np.random.default_rng(seed)
    site = np.array(["a", "b", "c"])[random.integers(0, 3, people)]
    age = random.uniform(20, 60, people) + 10 * (site == "b")
    sex = np.where(random.random(people) < 0.5, "F", "M")
    clean = random.normal(size=(people, 8)) + 0.05 * age[:, None] * np.linspace(-1, 1, 8)
    move = {name: (random.normal(size=8) * 3, np.exp(random.normal(size=8) / 3)) for name in "abc"}
    noise = clean - 0.05 * age[:, None] * np.linspace(-1, 1, 8)
    codes = (
        clean - noise + noise * np.stack([move[s][1] for s in site]) + np.stack([move[s][0] for s in site])
    )
    names = [f"{i:03d}" for i in range(people)]
    table = pd.DataFrame({"site": site, "age": age, "sex": sex}, index=names)
    role = np.where(random.random(people) < 0.3, "test", "train")
    return table, Embeddings(names, codes, pd.DataFrame({"subject": names, "role": role})), clean


def slopes(values, age):
    return np.polyfit(age, values, 1)[0]


def test_the_same_as_neurocombat_and_neuroharmonize():
    """Training people as neuroCombat, test people as neuroHarmonize applies it (tests/reference/combat.py)."""
    table = pd.read_csv(REFERENCE, sep="\t")
    train = (table["role"] == "train").to_numpy()
    values = table.filter(regex="^v").to_numpy(float)
    keep = table[["age", "sex"]].to_numpy(float)
    model = ComBat().fit(values[train], table.loc[train, "site"], keep[train])
    expected = table.filter(regex="^harmonised").to_numpy(float)
    np.testing.assert_allclose(model.transform(values, table["site"], keep), expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(model.mean_, values[train].mean(axis=0))
    # the units of what is kept do not matter
    scaled = keep * [12, -2] + [100, 1]
    other = ComBat().fit(values[train], table.loc[train, "site"], scaled[train])
    np.testing.assert_allclose(other.transform(values, table["site"], scaled), expected, atol=1e-6, rtol=0)


def test_sites_go_from_test_people_and_age_stays():
    table, codes, clean = cohort()
    adjusted, left_out = Adjustment(table, "site", ("age", "sex")).apply(codes)
    assert left_out.empty
    test = (codes.table["role"] == "test").to_numpy()
    site, age = table["site"].to_numpy()[test], table["age"].to_numpy()[test]
    planted = 0.05 * np.linspace(-1, 1, 8)

    def site_share(values):
        """Share of the variance between sites, age taken out by what was planted."""
        rest = values - np.outer(age, planted)
        between = sum((site == s).mean() * (rest[site == s].mean(0) - rest.mean(0)) ** 2 for s in "abc")
        return between / rest.var(axis=0)

    assert site_share(codes.values[test]).mean() > 0.4
    assert site_share(adjusted.values[test]).max() < 0.1
    spreads = np.stack([(adjusted.values[test] - np.outer(age, planted))[site == s].std(0) for s in "abc"])
    assert (spreads.max(0) / spreads.min(0)).max() < 1.8
    np.testing.assert_allclose(slopes(adjusted.values[test], age), planted, atol=0.025)
    assert np.corrcoef(slopes(adjusted.values[test], age), planted)[0, 1] > 0.95
    # without `keep` the ages of site b are taken for its own
    without, _ = Adjustment(table, "site").apply(codes)
    assert np.abs(slopes(without.values[test], age)).sum() < 0.9 * np.abs(slopes(clean[test], age)).sum()


@pytest.mark.parametrize(
    "adjustment",
    [
        {"sites": "site", "keep": ("age",)},
        {"covariates": ("age", "sex")},
        {"sites": "site", "covariates": ("age",)},
    ],
)
def test_test_people_teach_nothing(adjustment):
    """Whatever the test people's codes and covariates are, the others' codes stay the same to the last bit."""
    table, codes, _ = cohort()
    before, _ = Adjustment(table, **adjustment).apply(codes)
    test = (codes.table["role"] == "test").to_numpy()
    changed, ages = codes.values.copy(), table.copy()
    random = np.random.default_rng(9)
    first = np.flatnonzero(test)[0]
    others = test & (np.arange(len(test)) != first)
    changed[others] = random.normal(size=(others.sum(), 8)) * 100
    ages.loc[others, "age"] = random.uniform(0, 1000, others.sum())
    ages.loc[others, "site"] = random.permutation(ages.loc[others, "site"])
    after, _ = Adjustment(ages, **adjustment).apply(Embeddings(codes.subjects, changed, codes.table))
    np.testing.assert_array_equal(before.values[~others], after.values[~others])
    assert not np.allclose(before.values[others], after.values[others])


def test_covariates_are_removed_with_what_training_people_show():
    table, codes, _ = cohort()
    adjusted, _ = Adjustment(table, covariates=("age", "sex")).apply(codes)
    train = (codes.table["role"] == "train").to_numpy()
    ages = table["age"].to_numpy()
    assert np.abs(slopes(adjusted.values[train], ages[train])).max() < 1e-3  # sex takes its part
    np.testing.assert_allclose(adjusted.values[train].mean(0), codes.values[train].mean(0))
    by_hand = np.column_stack([np.ones(train.sum()), ages[train], (table["sex"] == "M")[train]])
    effects = np.linalg.lstsq(by_hand, codes.values[train], rcond=None)[0]
    whole = np.column_stack(
        [ages - ages[train].mean(), (table["sex"] == "M") - (table["sex"] == "M")[train].mean()]
    )
    np.testing.assert_allclose(adjusted.values, codes.values - whole @ effects[1:], atol=1e-9)
    with pytest.raises(UserError, match="3 training people are too few for 2 columns"):
        LinearAdjustment().fit(np.ones((3, 2)), np.ones((3, 2)))


def test_who_cannot_be_adjusted_is_left_out_with_the_reason():
    table, codes, _ = cohort(60)
    role = codes.table["role"].to_numpy()
    train, test = np.flatnonzero(role == "train"), np.flatnonzero(role == "test")
    table = table.astype({"age": object})
    table.iloc[[train[0], train[1], test[0]], 0] = "d"  # two training people are no site
    table.iloc[test[1], 0] = "new"
    table.iloc[test[2], 0] = ""
    table.iloc[test[3], 1] = np.nan
    table.iloc[test[4], 2] = "X"
    table.iloc[train[0], 2] = "Y"  # a class that only somebody who is left out has
    table.iloc[test[5], [0, 2]] = ["", np.nan]
    adjusted, left_out = Adjustment(table, "site", ("age",), ("sex",)).apply(codes)
    reasons = left_out.set_index("subject")["reason"].to_dict()
    name = codes.subjects
    assert reasons == {
        name[
            train[0]
        ]: "site 'd' has fewer than 3 training people; sex 'Y' does not occur among the training people",
        name[train[1]]: "site 'd' has fewer than 3 training people",
        name[test[0]]: "site 'd' has fewer than 3 training people",
        name[test[1]]: "site 'new' has fewer than 3 training people",
        name[test[2]]: "no site",
        name[test[3]]: "no age",
        name[test[4]]: "sex 'X' does not occur among the training people",
        name[test[5]]: "no site; no sex",
    }
    assert left_out.set_index("subject")["role"].to_dict() == {s: role[name.index(s)] for s in reasons}
    assert set(adjusted.subjects) == set(name) - set(reasons)
    assert np.isfinite(adjusted.values).all()


def test_sites_that_cannot_be_learned_are_refused():
    table, codes, _ = cohort(60)
    with pytest.raises(UserError, match="fewer than two sites have 3 or more training people"):
        Adjustment(table.assign(site="a"), "site").apply(codes)
    confounded = table.assign(sex=np.where(table["site"] == "a", "F", "M"))
    with pytest.raises(UserError, match="cannot be told from the sites"):
        Adjustment(confounded, "site", ("sex",)).apply(codes)


def test_dimensions_without_spread_stay_finite():
    random = np.random.default_rng(2)
    sites = np.repeat(["a", "b"], 10)
    values = random.normal(size=(20, 4))
    values[:, 1] = 5.0  # constant
    values[:, 2] = (sites == "b") * 3.0  # the site and nothing else
    found = ComBat().fit(values, sites).transform(values, sites)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 1], 5.0)
    np.testing.assert_allclose(found[:, 2], 1.5)
    one = ComBat().fit(values[:, :1], sites).transform(values[:, :1], sites)
    assert one[sites == "a"].mean() == pytest.approx(one[sites == "b"].mean())
    assert one[sites == "a"].std() == pytest.approx(one[sites == "b"].std())
    gamma, delta = empirical_bayes(np.tile(values[:10, :1], 3))
    np.testing.assert_allclose(gamma, values[:10, 0].mean())
    np.testing.assert_allclose(delta, values[:10, 0].var(ddof=1))


def test_columns_are_found_and_coded():
    people = ["1", "2", "3", "4"]
    sheet = pd.DataFrame({"site": ["1", "2", "1", "2"], "age": ["20", "30", "", "50"]}, index=people)
    tables = pd.DataFrame(
        {"age": 1.0, "Gender": ["F", "M", "M", "F"], "hand": ["l", "r", "b", "r"]}, index=people
    )
    coded = code_covariates(find_columns(["site", "age", "Gender", "hand"], (sheet, tables), "here"))
    assert coded["age"].tolist()[:2] == [20, 30]  # the sheet's
    assert coded["site"].tolist() == ["1", "2", "1", "2"]  # names, whatever they look like
    design = CovariateDesign().fit(coded)
    assert design.columns_ == ["site: 2", "age", "Gender", "hand: r"]
    matrix = design.transform(coded)
    assert np.isnan(matrix[2]).all()
    np.testing.assert_allclose(matrix[[0, 1, 3]][:, [0, 3]], [[0, 0], [1, 1], [1, 1]])
    with pytest.raises(UserError, match="here: 'iq' is no column"):
        find_columns(["iq"], (sheet, tables), "here")
    with pytest.raises(UserError, match="here: nobody has a value of 'gone'"):
        find_columns(["gone"], (sheet.assign(gone=""), tables), "here")


@pytest.mark.parametrize("splines", [1, 4])
def test_age_goes_from_each_site_where_sites_differ_in_age(splines):
    """Site b is 20 years older. By least squares on sites and age at once, no slope is left within any site."""
    random = np.random.default_rng(0)
    people = 400
    site = np.where(random.random(people) < 0.5, "a", "b")
    age = random.normal(30, 5, people) + 20 * (site == "b")
    planted = np.array([0.2, -0.2, 0.1, 0.0, 0.0, 0.0])
    moved = random.normal(size=6) * 2
    noise = random.normal(size=(people, 6))
    names = [f"{i:03d}" for i in range(people)]
    codes = Embeddings(
        names,
        noise + np.outer(age, planted) + np.outer(site == "b", moved),
        pd.DataFrame({"subject": names, "role": "train"}),
    )
    table = pd.DataFrame({"age": age, "site": site}, index=names)
    adjusted, left_out = free_of_covariates(
        codes, table, {"columns": ["age"], "sites": "site", "splines": splines}
    )
    assert left_out.empty
    for name in "ab":
        of_site = site == name
        # the noise has slopes of its own, of some 0.014
        slopes = np.polyfit(age[of_site], adjusted.values[of_site], 1)[0]
        assert np.abs(slopes).max() < 0.04
        np.testing.assert_allclose(adjusted.values[of_site].mean(0), codes.values.mean(0), atol=0.1)
    # what is left is the noise
    for column in range(6):
        assert np.corrcoef(adjusted.values[:, column], noise[:, column])[0, 1] > 0.95


def test_a_column_that_the_sites_determine_goes_with_them():
    random = np.random.default_rng(1)
    site = np.repeat(["a", "b", "c"], 20)
    field = np.repeat([1.5, 3.0, 3.0], 20)  # tesla
    names = [f"{i:02d}" for i in range(60)]
    values = random.normal(size=(60, 4)) + 2 * field[:, None]
    codes = Embeddings(names, values, pd.DataFrame({"subject": names, "role": "train"}))
    table = pd.DataFrame({"site": site, "field": field, "again": field}, index=names)
    both, _ = Adjustment(table, "site", covariates=("field", "again")).apply(codes)
    sites, _ = Adjustment(table, "site").apply(codes)
    np.testing.assert_allclose(both.values, sites.values, atol=0.2)
    assert np.ptp([both.values[site == name].mean(0) for name in "abc"], axis=0).max() < 0.3


@pytest.mark.parametrize("dimensions", [2, 3, 9])
def test_locations_and_scales_are_posterior_means(dimensions):
    """Johnson 2007, 3.2: both equations hold at once; the priors' parameters are by moments. Solved by scipy."""
    random = np.random.default_rng(dimensions)
    values = random.normal(size=(7, dimensions)) * random.uniform(0.5, 2, dimensions) + random.normal(
        size=dimensions
    )
    means, variances = values.mean(axis=0), values.var(axis=0, ddof=1)
    prior = means.mean(), means.var(ddof=1)
    # the inverse gamma distribution with the mean and the variance of the variances
    shape = 2 + variances.mean() ** 2 / variances.var(ddof=1)
    rate = variances.mean() * (shape - 1)
    found = empirical_bayes(values)
    for number, column in enumerate(values.T):

        def left_over(both, column=column):
            gamma, delta = both
            precision = 1 / prior[1], len(column) / delta
            posterior_mean = (prior[0] * precision[0] + column.mean() * precision[1]) / sum(precision)
            posterior_rate = rate + ((column - gamma) ** 2).sum() / 2
            return gamma - posterior_mean, delta - posterior_rate / (shape + len(column) / 2 - 1)

        wanted = fsolve(left_over, (means[number], variances[number]), xtol=1e-12)
        np.testing.assert_allclose([found[0][number], found[1][number]], wanted, rtol=1e-7)


def test_equal_scales_need_no_prior():
    """Dimensions that differ by a constant: each location is drawn to their mean, and the scale is what it is."""
    column = 0.3 * np.random.default_rng(2).normal(size=(10, 1))
    gamma, delta = empirical_bayes(column + np.array([-1.0, 0.0, 4.0]))
    variance = column.var(ddof=1)
    np.testing.assert_allclose(delta, variance)
    means = column.mean() + np.array([-1.0, 0.0, 4.0])
    share = means.var(ddof=1) / (means.var(ddof=1) + variance / 10)
    np.testing.assert_allclose(gamma, means.mean() + share * (means - means.mean()))


def test_dimensions_without_spread_teach_nothing_about_the_others():
    random = np.random.default_rng(3)
    sites = np.repeat(["a", "b", "c"], 10)
    values = random.normal(size=(30, 5)) * np.array([1.0, 2.0, 1.5, 0.5, 1.0])
    flat = np.column_stack([np.full(30, 5.1), (sites == "b") * 3.3, values])
    alone = ComBat().fit(values, sites).transform(values, sites)
    np.testing.assert_allclose(ComBat().fit(flat, sites).transform(flat, sites)[:, 2:], alone, rtol=1e-9)


def test_a_site_of_three_complete_people_is_learned_and_one_of_two_is_not():
    table, codes, _ = cohort(60)
    codes = Embeddings(codes.subjects, codes.values, codes.table.assign(role="train"))
    table = table.astype({"site": object})
    table.iloc[:4, 0], table.iloc[4:8, 0] = "three", "two"
    table.iloc[[0, 4], 1] = np.nan
    table.iloc[5, 2] = np.nan
    assert ComBat().fit(codes.values[1:9], ["x", "y", "x", "y", "x", "y", "z", "z"]).sites_ == ["x", "y"]
    _, left_out = Adjustment(table, "site", ("age",), ("sex",)).apply(codes)
    reasons = left_out.set_index("subject")["reason"]
    assert list(reasons.index) == [codes.subjects[i] for i in (0, 4, 5, 6, 7)]
    assert reasons[codes.subjects[6]] == "site 'two' has fewer than 3 training people"


def test_codes_that_nothing_is_removed_from_come_back():
    table, codes, _ = cohort(20)
    same, left_out = free_of_covariates(codes, table, {"columns": [], "sites": None, "splines": 1})
    assert same is codes
    assert list(left_out.columns) == ["subject", "reason"]


@pytest.mark.parametrize("people", [499, 500])
def test_codes_lose_a_curve_of_age_where_there_are_people_enough(people):
    """100 people for each of age, sex and head size, and for the two further degrees of freedom of age's curve."""
    rng = np.random.default_rng(12)
    age, size = rng.uniform(20, 85, people), rng.normal(1.4, 0.1, people)
    bent = (age - age.mean()) ** 2 / 400
    ids = [f"s{number}" for number in range(people)]
    table = pd.DataFrame(
        {"age": age, "sex": np.where(rng.random(people) < 0.5, "F", "M"), "head_size": size}, ids
    )
    codes = Embeddings(
        ids, bent[:, None] + rng.normal(0, 0.1, (people, 1)), pd.DataFrame({"subject": ids, "role": "train"})
    )
    adjust = {"columns": "auto", "sites": None, "splines": "auto"}
    adjusted, left_out = free_of_covariates(codes, table, adjust)
    assert left_out.empty
    assert curves_removed(adjust, table) == ({"age": 3} if people == 500 else {})
    still = abs(np.corrcoef(adjusted.values[:, 0], bent)[0, 1])
    assert still < 1e-6 if people == 500 else still > 0.9
