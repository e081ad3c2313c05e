"""Covariates as columns of numbers, by hand."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.errors import UserError
from neurostrata.phenotypes.covariates import CovariateDesign, add_reason, code_covariates, find_columns


def people(**columns):
    return pd.DataFrame(columns, index=[f"p{row}" for row in range(len(next(iter(columns.values()))))])


def test_a_column_comes_from_the_first_table_that_has_it():
    sheet = people(age=[1.0, 2.0], site=["a", ""])
    table = people(age=[8.0, 9.0], iq=[100.0, np.nan], none=[np.nan, ""])
    found = find_columns(["iq", "age", "site"], [sheet, table], "strata.adjust")
    assert list(found) == ["iq", "age", "site"]
    assert list(found.index) == ["p0", "p1"]
    assert list(found["age"]) == [1.0, 2.0]
    assert found["site"].isna().tolist() == [False, True]
    with pytest.raises(UserError, match=r"strata\.adjust: 'height' is no column"):
        find_columns(["height"], [sheet, table], "strata.adjust")
    with pytest.raises(UserError, match="nobody has a value of 'none'"):
        find_columns(["none"], [sheet, table], "strata.adjust")


def test_numbers_and_classes_are_told_apart():
    table = people(age=["30", "40", None], site=[1, 2, 1], sex=["F", "M", None], city=["Rome", "Bath", None])
    coded = code_covariates(table)
    assert coded["age"].tolist()[:2] == [30.0, 40.0]
    assert coded["sex"].tolist()[:2] == [0.0, 1.0]
    assert coded["site"].tolist() == ["1", "2", "1"]
    assert coded["city"].tolist()[:2] == ["Rome", "Bath"]
    assert coded.isna().sum().tolist() == [1, 0, 1, 1]
    assert list(coded.index) == list(table.index)
    for name in ("site", "family", "session", "diagnosis"):
        assert code_covariates(people(**{name: [1, 2]}))[name].tolist() == ["1", "2"]
    assert code_covariates(people(site=[1, 2]), words=()).site.tolist() == [1.0, 2.0]


def test_reasons_are_appended():
    reasons = np.array(["", "no age", ""], dtype=object)
    add_reason(reasons, np.array([True, True, False]), "no sex")
    assert reasons.tolist() == ["no sex", "no age; no sex", ""]


TRAINED = people(
    age=[20.0, 30.0, 40.0, np.nan], flat=[2.0, 2.0, 2.0, 2.0], site=["c", "a", "b", "d"], one=["x"] * 4
)


def test_columns_of_a_design():
    design = CovariateDesign().fit(TRAINED)
    # the person with a gap is ignored: site d is unknown, and the mean age is 30
    assert design.columns_ == ["age", "site: b", "site: c"]
    sd = np.sqrt(200 / 3)
    np.testing.assert_allclose(design.transform(TRAINED)[:3], [[-10 / sd, 0, 1], [0, 0, 0], [10 / sd, 1, 0]])
    assert np.isnan(design.transform(TRAINED)[3]).all()
    assert design.problems(TRAINED).tolist() == [
        *[""] * 3,
        "no age; site 'd' does not occur among the training people",
    ]
    new = people(age=[50.0, 20.0], flat=[9.0, 2.0], site=["a", None], one=["x", "y"])
    assert design.problems(new).tolist() == [
        "",
        "no site; one 'y' does not occur among the training people",
    ]
    np.testing.assert_allclose(design.transform(new)[0], [20 / sd, 0, 0])
    assert CovariateDesign().fit(people(flat=[1.0, 1.0])).transform(people(flat=[1.0, 1.0])).shape == (2, 0)


def test_splines_bend_within_and_are_straight_beyond():
    ages = np.linspace(20, 80, 61)
    table = people(age=ages)
    design = CovariateDesign(splines=3).fit(table)
    assert design.columns_ == ["age: spline 1", "age: spline 2", "age: spline 3"]
    outside = people(age=[100.0, 110.0, 120.0, np.nan])
    columns = design.transform(outside)
    assert np.isfinite(columns[:3]).all()
    np.testing.assert_allclose(columns[1] - columns[0], columns[2] - columns[1])
    assert np.abs(columns[1] - columns[0]).max() > 0.05
    assert np.isnan(columns[3]).all()
    assert np.isfinite(design.transform(table)).all()
    # together with a constant they hold every straight line and a curve, but no cubic beyond their freedom
    inside = np.column_stack([np.ones(61), design.transform(table)])
    for curve, held in ((ages, True), ((ages - 50) ** 2, True), (np.sin(ages), False)):
        left = curve - inside @ np.linalg.lstsq(inside, curve, rcond=None)[0]
        assert (np.abs(left).max() < 1e-6 * np.abs(curve).max()) == held
    assert CovariateDesign(splines=4).fit(table).transform(table).shape == (61, 4)


@pytest.mark.parametrize(
    ("splines", "values", "columns"), [(1, 9, 1), (2, 9, 1), (3, 4, 1), (3, 5, 3), (4, 5, 1), (4, 6, 4)]
)
def test_few_values_stay_one_number(splines, values, columns):
    table = people(age=list(map(float, range(values))) * 3, flat=[1.0] * 3 * values)
    assert len(CovariateDesign(splines).fit(table).columns_) == columns


def test_a_spline_of_nobody_known():
    table = people(age=np.linspace(20, 80, 61))
    assert np.isnan(CovariateDesign(3).fit(table).transform(people(age=[np.nan, np.nan]))).all()


def test_no_covariates_at_all():
    sheet = people(age=[1.0, 2.0])
    assert find_columns([], [sheet], "strata.adjust").index.tolist() == ["p0", "p1"]
    assert find_columns(["age"], [sheet], "strata.adjust")["age"].tolist() == [1.0, 2.0]
    assert code_covariates(sheet[[]]).index.tolist() == ["p0", "p1"]


@pytest.mark.parametrize("splines", [1, 3])
def test_the_unit_of_a_number_does_not_matter(splines):
    ages = np.random.default_rng(0).exponential(10, 80)
    years, ages_in_centuries = people(age=ages), people(age=ages / 100)
    one = CovariateDesign(splines).fit(years)
    other = CovariateDesign(splines).fit(ages_in_centuries)
    assert len(one.columns_) == len(other.columns_) == splines
    np.testing.assert_allclose(one.transform(years), other.transform(ages_in_centuries), atol=1e-9)


def test_knots_are_at_quantiles():
    from scipy.interpolate import BSpline

    ages = np.random.default_rng(0).exponential(10, 80)
    table = people(age=ages)
    found = CovariateDesign(4).fit(table).transform(table)
    inner = np.quantile(ages, [0, 0.5, 1])
    # three knots, and as many beyond each end as a cubic needs, at the distance of the outermost two
    left, right = inner[1] - inner[0], inner[2] - inner[1]
    knots = [*(inner[0] - left * np.arange(3, 0, -1)), *inner, *(inner[2] + right * np.arange(1, 4))]
    wanted = BSpline.design_matrix(ages, knots, 3, extrapolate=True).toarray()
    np.testing.assert_allclose(found, wanted[:, :-1], atol=1e-9)


def test_each_unknown_class_is_named_to_its_own_people():
    design = CovariateDesign().fit(people(site=["a", "b"]))
    said = design.problems(people(site=["c", "d", "a"]))
    assert [text.split(" does")[0] for text in said] == ["site 'c'", "site 'd'", ""]


@pytest.mark.parametrize(
    ("people", "curved"),
    [(99, []), (100, ["age"]), (139, ["age"]), (140, ["age", "size"])],
)
def test_curves_come_with_people_the_first_numbers_first(people, curved):
    """Twenty people for each number (age, sex as 0 and 1, size) and for each further degree of freedom of a curve."""
    generator = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "age": generator.normal(size=people),
            "sex": np.arange(people) % 2.0,
            "same": 1.0,
            "size": generator.normal(size=people),
            "site": np.where(np.arange(people) % 3 == 0, "x", "y"),
        }
    )
    design = CovariateDesign("auto").fit(table)
    assert design.curves_ == dict.fromkeys(curved, 3)
    columns = design.transform(table)
    assert columns.shape == (people, 4 + 2 * len(curved))
    named = CovariateDesign(design.curves_).fit(table)
    assert named.curves_ == design.curves_
    np.testing.assert_array_equal(named.transform(table), columns)


def test_people_with_gaps_bring_no_curves():
    table = pd.DataFrame({"age": np.arange(60.0), "size": np.arange(60.0) % 7})
    assert CovariateDesign("auto").fit(table[["age"]]).curves_ == {"age": 3}
    assert CovariateDesign("auto").fit(table.assign(size=table["size"].where(table.index > 0))).curves_ == {}
