"""Names of factors in the report: given ones, and a proposal without them."""

import numpy as np
import pandas as pd
import pytest
import yaml

from neurostrata.core.config import load_schema, schema_problems
from neurostrata.core.errors import UserError
from neurostrata.core.tables import write_table
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.figures.phenotypes import factor_names, short_name
from neurostrata.report.html.page import Page
from neurostrata.report.sections.phenotypes import factor_meanings, phenotypes_section
from neurostrata.report.sections.strata import comparisons_table

LOADINGS = pd.DataFrame(
    {"variable": ["Span", "Recall", "Mood"], "factor_01": [0.8, 0.7, 0.1], "factor_02": [0.1, 0.2, -0.9]}
)


def page_of(folder, **phenotypes):
    write_table(folder / "phenotypes/loadings.tsv", LOADINGS)
    eigenvalues = {"eigenvalue": [1.5, 1.1, 0.4], "retained": [True, True, False], "parallel_95": np.nan}
    shares = pd.DataFrame({**eigenvalues, "rotated_variance": [1.2, 0.9, np.nan]})
    write_table(folder / "phenotypes/eigenvalues.tsv", shares)
    study = StudyResults(ResultsTree(folder), {"phenotypes": phenotypes})
    return Page(study, folder / "report/index.html", folder / "report/figures")


def blocks_of(page):
    return {block.title: block for block in phenotypes_section(page).blocks if hasattr(block, "title")}


def test_without_names_there_is_a_proposal(tmp_path):
    page = page_of(tmp_path)
    assert factor_meanings(page.study) == {"factor_01": "Span, Recall", "factor_02": "−Mood"}
    blocks = blocks_of(page)
    table = blocks["Factors by their highest loadings"]
    assert table.columns == ["Factor", "Highest loadings", "Share of the variance"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["Factor 1", "Span +0.80, Recall +0.70", "0.400"],
        ["Factor 2", "Mood -0.90", "0.300"],
    ]
    proposal = yaml.safe_load(blocks["Names to begin with, for the configuration"].text)
    assert proposal["phenotypes"]["factor_names"] == {
        "factor_01": "Span and Recall",
        "factor_02": "less Mood",
    }
    assert not schema_problems(proposal["phenotypes"], load_schema("phenotypes"))
    assert factor_meanings(page_of(tmp_path, **proposal["phenotypes"]).study)["factor_02"] == "less Mood"


def test_given_names_take_the_place_of_loadings(tmp_path):
    page = page_of(tmp_path, factor_names={"1": "Memory"})
    meanings = factor_meanings(page.study)
    assert meanings == {"factor_01": "Memory", "factor_02": "−Mood"}
    assert factor_names(meanings, meanings) == {
        "factor_01": "Factor 1: Memory",
        "factor_02": "Factor 2: −Mood",
    }
    blocks = blocks_of(page)
    table = blocks["Factors by their highest loadings"]
    assert [row[1].text for row in table.rows] == ["Memory", ""]
    assert blocks["All loadings"].columns == ["variable", "Factor 1: Memory", "Factor 2: −Mood"]
    assert "Names to begin with, for the configuration" not in blocks


def test_names_that_do_not_fit_stop_the_report(tmp_path):
    with pytest.raises(UserError, match="3 names, but the study has 2 factors, factor_01 to factor_02"):
        factor_meanings(page_of(tmp_path, factor_names=["a", "b", "c"]).study)


def test_single_variables_may_have_names(tmp_path):
    page = page_of(tmp_path, method="variables")
    assert factor_meanings(page.study) == {}
    names = {"factor_02": "Mood"}
    assert factor_meanings(page_of(tmp_path, method="variables", factor_names=names).study) == names


def test_a_long_name_stands_beside_a_short_number():
    assert short_name("factor_03", "Self-efficacy & Well-Being") == "F3: Self-efficacy & Well-Being"
    assert short_name("factor_03", "Memory Attention") == "Factor 3: Memory Attention"
    assert short_name("factor_01", "Endurance_Unadj, Strength_Unadj, x") == "Factor 1: Endurance Unadj"
    assert short_name("age", "x" * 40).startswith("age: ")


@pytest.mark.parametrize(
    ("named", "method", "first", "second"),
    [
        ({}, "pca_varimax", "Factor 2", "− Mood, + Recall, + Span"),
        ({"factor_02": "Gloom"}, "pca_varimax", "Factor 2: Gloom", "− Mood, + Recall, + Span"),
        ({}, "variables", "Factor 2: −Mood", None),
    ],
)
def test_what_a_factor_is_comes_before_its_numbers(tmp_path, named, method, first, second):
    page = page_of(tmp_path, factor_names=named, method=method)
    numbers = dict.fromkeys(("h", "p", "q", "q_repartition", "eta2"), 0.5)
    comparisons = pd.DataFrame(
        [{"factor": "factor_02", **numbers, "eta2_low": 0.1, "eta2_high": 1.0, "n": 9}]
    )
    names = factor_names(["factor_02"], {"factor_02": named.get("factor_02", "−Mood")})
    evidence = Evidence(comparisons=comparisons)
    table = comparisons_table(page, page.study.tree.experiment("e"), evidence, names, [])
    cells = [cell.text for cell in table.rows[0]]
    words = 1 if second is None else 2
    assert cells[:words] == [first, second][:words]
    assert table.numeric == [False] * words + [True] * (len(cells) - words)
    assert "0.50 [0.10, no upper end]" in cells


def test_the_scree_plot_says_by_which_rule_components_were_kept(tmp_path):
    title = "Eigenvalues of the correlation matrix of the variables"
    caption = blocks_of(page_of(tmp_path))[title].caption
    assert caption == "Kaiser's rule, as in the paper: components with an eigenvalue above 1 are kept (2)."
    caption = blocks_of(page_of(tmp_path, n_factors=2))[title].caption
    assert caption.startswith("The first 2 components are kept (phenotypes: n_factors). Kaiser's rule")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.9, 0.97], "None of the 2 factors is below 0.85."),
        ([0.8, 0.97], "1 of 2 factors is below 0.85: results on it may not hold in other people."),
        ([0.8, 0.7], "2 of 2 factors are below 0.85: results on them may not hold in other people."),
        ([np.nan, np.nan], "No factor could be compared."),
        ([np.nan, 0.97], "The one factor that could be compared is not below 0.85."),
    ],
)
def test_factors_that_are_found_again_are_not_doubted(tmp_path, values, said):
    page = page_of(tmp_path)
    table = pd.DataFrame(
        {"factor": ["factor_01", "factor_02"], "congruence": values, "low": 0.5, "splits": 9}
    )
    write_table(tmp_path / "phenotypes/congruence.tsv", table)
    caption = blocks_of(page)["Whether the factors are found again in halves of the people"].caption
    assert caption.endswith(f"Read after Lorenzo-Seva and ten Berge (2006). {said}")
