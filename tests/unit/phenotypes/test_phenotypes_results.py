"""What the phenotype stage says about its variables, people and factors."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.tables import write_table
from neurostrata.phenotypes.analysis import analyse_phenotypes, factor_meanings
from neurostrata.phenotypes.coding import code_column, code_table
from neurostrata.phenotypes.commands import factor_congruence, factor_phenotypes
from neurostrata.phenotypes.congruence import SPLITS, half_congruence
from neurostrata.phenotypes.descriptives import COLUMNS, describe
from neurostrata.phenotypes.imputation import select
from neurostrata.phenotypes.reduction import EIGENVALUE_COLUMNS, METHODS, factor_names


def settings(**changes):
    return {**section_defaults("phenotypes"), "seed": 1, **changes}


def subjects(count):
    return [f"s{row:02d}" for row in range(count)]


def phenotypes(people=40, seed=0):
    values = np.repeat(np.random.default_rng(seed).standard_normal((people, 2)), 3, axis=1)
    values += 0.6 * np.random.default_rng(seed + 1).standard_normal((people, 6))
    frame = pd.DataFrame(values, columns=[f"v{number}" for number in range(6)])
    frame.insert(0, "subject", subjects(people))
    return frame


def test_descriptives_by_hand():
    x = [1.0, 2.0, 4.0, 8.0, 16.0, np.nan]
    values = pd.DataFrame({"x": x, "few": [3.0, 5.0, 9.0, *[np.nan] * 3], "one": [7.0, *[np.nan] * 5]})
    values["two"], values["none"] = [1.0, 3.0, *[np.nan] * 4], np.nan
    values["four"] = [1.0, 3.0, 4.0, 9.0, np.nan, np.nan]
    found = describe(
        values, {"x": "number"}, {"one": "missing"}, {"x": 1}, {"x": 0.6}, {"words": "not numeric (a)"}
    ).set_index("variable")
    assert ["variable", *found] == list(COLUMNS)
    assert found.index.tolist() == ["x", "few", "one", "two", "none", "four", "words"]
    assert found["used"].tolist() == [True, True, False, True, True, True, False]
    assert found.loc["one", "reason"] == "missing"
    assert found.loc["words", "reason"] == "not numeric (a)"
    assert pd.isna(found.loc["x", "reason"])
    assert found["n"].tolist()[:5] == [5, 3, 1, 2, 0]
    assert found["missing"].tolist()[:5] == [1, 3, 5, 4, 6]
    assert found["filled"].tolist() == [1, 0, 0, 0, 0, 0, 0]
    known = np.array(x[:5])
    row = found.loc["x"]
    assert row[["mean", "median", "min", "max"]].tolist() == [6.2, 4.0, 1.0, 16.0]
    assert row["sd"] == pytest.approx(known.std(ddof=1))
    assert row["skewness"] == pytest.approx(stats.skew(known, bias=False))
    assert row["kurtosis"] == pytest.approx(stats.kurtosis(known, bias=False))
    assert (row["communality"], row["coding"]) == (0.6, "number")
    # too few values for a statistic leave it empty
    assert found.loc["few", ["skewness"]].notna().all()
    assert found[["sd", "skewness", "kurtosis"]].notna().sum(axis=1).tolist() == [3, 2, 0, 1, 0, 3, 0]
    assert found.loc["one", "mean"] == found.loc["one", "median"] == found.loc["one", "max"] == 7
    assert found.loc["none", ["mean", "median", "min", "max", "communality"]].isna().all()


def test_meanings_name_the_largest_loadings():
    loadings = pd.DataFrame(
        {
            "variable": list("abcdefgh"),
            "one": [0.3, -0.9, 0.5, 0.5, 0.31, 0.4, -0.45, 0.299],
            "none": [0.29] * 8,
        }
    )
    assert factor_meanings(loadings) == {
        "one": "b -0.90, c +0.50, d +0.50, g -0.45, f +0.40, e +0.31",
        "none": "no loading reaches 0.3",
    }
    assert factor_meanings(loadings, 0.3, 8)["one"].endswith("e +0.31, a +0.30")
    assert factor_meanings(loadings, 0.45)["one"] == "b -0.90, c +0.50, d +0.50, g -0.45"


def test_a_column_of_words_is_an_error_only_where_it_was_asked_for():
    frame = phenotypes().assign(town=[f"town {row % 3}" for row in range(40)])
    result = analyse_phenotypes([("a.tsv", frame)], subjects(40), settings())
    assert "town" in result.facts["variables_left_out"]
    assert result.descriptives.set_index("variable").loc["town", "used"] == False  # noqa: E712
    with pytest.raises(UserError, match="variables: town is not numeric"):
        analyse_phenotypes([("a.tsv", frame)], subjects(40), settings(variables=["v0", "town"]))


def test_three_people_are_enough_and_two_are_not():
    frame = phenotypes(3)
    assert len(analyse_phenotypes([("a.tsv", frame)], subjects(3), settings()).scores.dropna()) == 3
    with pytest.raises(UserError, match="2 of 2 people have enough values"):
        analyse_phenotypes([("a.tsv", frame)], subjects(2), settings())


def test_only_five_reasons_are_listed():
    flat = pd.DataFrame(dict.fromkeys("abcdefg", 1.0) | {"subject": subjects(4)})
    with pytest.raises(UserError) as said:
        analyse_phenotypes([("a.tsv", flat)], subjects(4), settings())
    assert "(a: constant; b: constant; c: constant; d: constant; e: constant)" in str(said.value)


def test_columns_with_odd_cells_are_listed_up_to_ten():
    odd = {f"c{number:02d}": ["1", "2", "x", "4", "5", "6"] for number in range(11)}
    frame = pd.DataFrame({**odd, "fine": range(6)}, index=subjects(6))
    for columns, lines in ((11, 11), (10, 10), (1, 1)):
        with pytest.raises(UserError) as said:
            code_table(frame[[*list(odd)[:columns], "fine"]])
        assert len(str(said.value).splitlines()) == lines
        assert ("and 1 more columns" in str(said.value)) == (columns == 11)


def test_a_coded_table_keeps_its_people_and_is_all_numbers():
    frame = pd.DataFrame({"a": [1, 2], "b": ["yes", "no"]}, index=["x", "y"])
    coded = code_table(frame)
    assert coded.values.index.tolist() == ["x", "y"]
    assert set(coded.values.dtypes) == {np.dtype(float)}
    nothing = code_table(pd.DataFrame({"w": ["p", "q"]}, index=["x", "y"]))
    assert nothing.values.shape == (2, 0)
    assert nothing.values.index.tolist() == ["x", "y"]


def test_shares_at_the_limit_are_allowed():
    nan = np.nan
    frame = pd.DataFrame(
        {"a": [1.0, 2, nan, nan], "b": [1.0, 2, 3, 4], "c": [4.0, 1, 2, 8], "d": [1.0, 5, 2, 9]}
    )
    frame.index = list("wxyz")
    assert select(frame, "median", 0.5, 0.25).variables == ["a", "b", "c", "d"]
    assert select(frame, "median", 0.49, 0.25).variables == ["b", "c", "d"]
    assert select(frame, "median", 0.5, 0.25).people == list("wxyz")
    assert select(frame, "median", 0.5, 0.24).people == ["w", "x"]


def test_a_variable_may_be_constant_among_those_who_are_left():
    nan = np.nan
    frame = pd.DataFrame(
        {"a": [1.0, 1, 1, 2], "b": [1.0, 2, 3, nan], "c": [3.0, 1, 2, nan]}, index=list("wxyz")
    )
    chosen = select(frame, "complete", 0.5, 0.5)
    assert chosen.people == ["w", "x", "y"]
    assert chosen.variables == ["b", "c"]
    assert chosen.left_out_variables == {"a": "constant among the people with enough values"}


def test_tiny_spread_is_constant_in_the_variables_own_scale():
    large = 1e6 + np.array([0.0, 1e-7, 0.0])
    small = np.array([0.0, 1e-9, 0.0])
    frame = pd.DataFrame({"large": large, "small": small, "one": [2.0, np.nan, np.nan]}, index=list("xyz"))
    assert select(frame, "median", 0.9, 1.0).variables == ["small"]


def test_variables_as_they_are():
    values = np.array([[1.0, 10], [2, 30], [4, 20], [np.nan, 60]])
    found = METHODS["variables"].reduce(values, ["a", "b"], settings(method="variables"))
    assert found.factors == ["a", "b"]
    np.testing.assert_allclose(found.mean, [7 / 3, 30])
    np.testing.assert_allclose(found.sd, [np.std([1, 2, 4], ddof=1), np.std([10, 30, 20, 60], ddof=1)])
    np.testing.assert_array_equal(found.imputation.centre, [2, 25])
    assert found.communalities.tolist() == [1, 1]
    assert found.filled.tolist() == [0, 0]
    r = np.corrcoef(values[:3].T)[0, 1]
    np.testing.assert_allclose(found.eigenvalues["eigenvalue"], [1 + r, 1 - r])
    assert found.eigenvalues["retained"].tolist() == [False, False]
    assert found.eigenvalues["rotated_variance"].isna().all()
    for rows in (values[:2], np.array([[1.0, 5], [2, 5], [3, 5], [np.nan, 6]])):
        table = METHODS["variables"].reduce(rows, ["a", "b"], settings(method="variables")).eigenvalues
        assert table["eigenvalue"].isna().all()


def test_people_with_gaps_keep_their_other_variables():
    frame = pd.DataFrame({"a": [1.0, 2, 4, 8], "b": [np.nan] * 3 + [1.0], "c": [np.nan, 1.0, 2.0, 3.0]})
    frame.index = list("wxyz")
    chosen = METHODS["variables"].select(frame, settings(max_missing_variable=0.5))
    assert chosen.variables == ["a", "c"]
    assert chosen.people == list("wxyz")


def test_principal_components_with_and_without_parallel_analysis():
    values = phenotypes(60).drop(columns="subject").to_numpy(copy=True)
    values[3, 2] = np.nan
    found = METHODS["pca_varimax"].reduce(values, list("abcdef"), settings(missing="median"))
    table = found.eigenvalues
    assert list(table) == list(EIGENVALUE_COLUMNS)
    assert table["component"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["retained"].tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(table["variance_share"].sum(), 1)
    np.testing.assert_allclose(table["cumulative_share"], np.cumsum(table["eigenvalue"]) / 6)
    np.testing.assert_allclose(table["rotated_variance"][:2], (found.loadings**2).sum(axis=0))
    assert table["rotated_variance"][2:].isna().all()
    assert (table["parallel_95"] > table["parallel_mean"]).all()
    assert found.facts["factors_by_parallel_analysis"] == 2
    assert found.facts["variance_explained"] == pytest.approx(table["eigenvalue"][:2].sum() / 6)
    assert found.filled.tolist() == [0, 0, 1, 0, 0, 0]
    assert found.warnings == []
    without = METHODS["pca_varimax"].reduce(
        values, list("abcdef"), settings(parallel_draws=0, missing="median")
    )
    assert without.eigenvalues[["parallel_mean", "parallel_95"]].isna().all().all()
    assert "factors_by_parallel_analysis" not in without.facts


def test_all_components_may_be_above_chance(monkeypatch):
    monkeypatch.setattr(
        "neurostrata.phenotypes.reduction.parallel_analysis",
        lambda people, variables, draws, seed: np.zeros((draws, variables)),
    )
    values = phenotypes(60).drop(columns="subject").to_numpy()
    found = METHODS["pca_varimax"].reduce(values, list("abcdef"), settings())
    assert found.facts["factors_by_parallel_analysis"] == 6


def test_warnings_at_their_limits():
    values = np.random.default_rng(0).standard_normal((6, 6))
    table = METHODS["pca_varimax"].reduce(values, list("abcdef"), settings())
    assert any("6 variables and only 6 people" in line for line in table.warnings)
    seven = METHODS["pca_varimax"].reduce(
        np.random.default_rng(0).standard_normal((7, 6)), list("abcdef"), settings(n_factors=2)
    )
    assert seven.warnings == []
    # two uncorrelated variables: both eigenvalues are 1
    even = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert METHODS["pca_varimax"].reduce(even, ["a", "b"], settings()).warnings == [
        "no eigenvalue exceeds 1; the first component is kept"
    ]
    assert METHODS["pca_varimax"].reduce(even, ["a", "b"], settings(n_factors=1)).warnings == []


def test_names_of_factors_sort():
    assert factor_names(2) == ["factor_01", "factor_02"]
    assert factor_names(100)[::99] == ["factor_001", "factor_100"]


def test_equal_loadings_stay_in_order():
    loadings = pd.DataFrame({"variable": [f"v{row:02d}" for row in range(60)], "one": [0.5, -0.5] * 30})
    assert (
        factor_meanings(loadings)["one"] == "v00 +0.50, v01 -0.50, v02 +0.50, v03 -0.50, v04 +0.50, v05 -0.50"
    )


def test_words_beside_bins_are_words():
    coded = code_column(pd.Series(["22-25", "old", "26-30"], name="age"))
    assert (coded.values, coded.rule) == (None, "not numeric (22-25, 26-30, old)")
    assert code_column(pd.Series(list("edcba"), name="x")).rule == "not numeric (a, b, c)"


def test_codes_of_sites_and_families_are_no_phenotypes():
    """They were analysed among the questionnaires, so that clusters of scanners differed in phenotype."""
    coded = pd.DataFrame({"site": np.resize([1, 2, 3], 40), "family": range(40), "diagnosis": [0, 1] * 20})
    frame = pd.concat([phenotypes(), coded], axis=1)
    result = analyse_phenotypes([("a.tsv", frame)], subjects(40), settings())
    assert not set(coded) & set(result.model.variables)
    assert result.facts["variables_left_out"]["site"] == "classes"
    named = settings(variables=[*result.model.variables, "site"])
    assert "site" in analyse_phenotypes([("a.tsv", frame)], subjects(40), named).model.variables
    given = settings(coding={"diagnosis": {"0": 0, "1": 1}})
    text = frame.astype({"diagnosis": str})
    assert "diagnosis" in analyse_phenotypes([("a.tsv", text)], subjects(40), given).model.variables


def test_years_with_months_are_no_bins():
    """2019-05 was read as the middle of 2019 and 5."""
    months = pd.Series(["2019-05", "2019-06", "2020-01"], name="visit")
    assert code_column(months).rule == "not numeric (2019-05, 2019-06, 2020-01)"


def test_a_month_before_its_year_is_no_bin():
    """05-2019 was read as 1012. Ages written 05-09 and larger bins are none the less bins."""
    months = pd.Series(["05-2019", "6-2019", "12-1999"], name="visit")
    assert code_column(months).rule == "not numeric (05-2019, 12-1999, 6-2019)"
    assert list(code_column(pd.Series(["13-2019", "05-09", "10-1500"], name="income")).values) == [
        1016,
        7,
        755,
    ]


def test_the_model_keeps_the_codings_of_its_variables():
    frame = phenotypes().assign(mood=["low", "high"] * 20, flat="same")
    coding = {"mood": {"low": 0, "high": 1}, "flat": {"same": 1}}
    result = analyse_phenotypes([("a.tsv", frame)], subjects(40), settings(coding=coding))
    assert result.model.coding == {"mood": {"low": 0, "high": 1}}


def run_command(folder, frame, **changes):
    frame.to_csv(folder / "a.tsv", sep="\t", index=False)
    people = pd.DataFrame({"subject": frame["subject"], "family": ["1", "01"] * (len(frame) // 2)})
    people.loc[10:, "family"] = ""
    write_table(folder / "people.tsv", people, {})
    tables = {name: folder / f"{name}.tsv" for name in ("eigenvalues", "loadings", "scores", "descriptives")}
    shared = {"tables": [folder / "a.tsv"], "model": folder / "model.json", "settings": settings(**changes)}
    factor_phenotypes(subjects=folder / "people.tsv", **tables, **shared)
    shared |= {
        "loadings": tables["loadings"],
        "scores": tables["scores"],
        "output": folder / "congruence.tsv",
    }
    factor_congruence(families=folder / "people.tsv", **shared)
    return people, shared


def test_congruence_of_the_commands_is_that_of_families_by_their_text(tmp_path):
    frame = phenotypes()
    people, shared = run_command(tmp_path, frame, variables=["v0", "v1", "v2", "v3", "v4", "v5"])
    result = analyse_phenotypes([("a.tsv", frame)], subjects(40), settings())
    loadings = result.loadings.drop(columns="variable").to_numpy()
    values = frame.drop(columns="subject").to_numpy()
    wanted = half_congruence(values, loadings, list(people["family"]), SPLITS, 1, **settings()["rotation"])
    found = pd.read_csv(tmp_path / "congruence.tsv", sep="\t")
    np.testing.assert_allclose(found["congruence"], wanted.mean(axis=0), atol=1e-6)
    assert json.loads((tmp_path / "model.json").read_text())["settings"]["seed"] == 1
    write_table(tmp_path / "few.tsv", people.iloc[1:], {})
    with pytest.raises(UserError, match=r"few\.tsv"):
        factor_congruence(families=tmp_path / "few.tsv", **shared)


def test_variables_as_they_are_have_no_congruence(tmp_path):
    run_command(tmp_path, phenotypes(), method="variables")
    assert pd.read_csv(tmp_path / "congruence.tsv", sep="\t").empty


def test_large_numbers_that_differ_are_not_constant():
    frame = pd.DataFrame({"large": 1e7 + np.array([0.0, 0.5, 0.0])}, index=list("xyz"))
    assert select(frame, "median", 0.5, 1.0).variables == ["large"]


def test_a_first_eigenvalue_between_one_and_two_is_no_warning():
    values = np.random.default_rng(2).standard_normal((80, 4))
    found = METHODS["pca_varimax"].reduce(values, list("abcd"), settings())
    assert 1 < found.eigenvalues["eigenvalue"][0] < 2
    assert found.warnings == []
