"""The papers' results beside those of a run."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.tables import write_table
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.paper_results import (
    chosen_rows,
    comparable,
    matched_factors,
    printed_loadings,
    run_file,
    run_number,
    summarised,
)
from neurostrata.report.data.papers import paper_tables
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import Section, Table
from neurostrata.report.html.page import Page
from neurostrata.report.sections.paper_results import paper_results_section, printed

DIMITRI = "separable_autoencoder"


def page_of(folder, *experiments, **sections):
    declared = [{"name": name, "model": model, "modalities": ["jac"]} for name, model in experiments]
    study = StudyResults(ResultsTree(folder), {"experiments": declared, **sections})
    return Page(study, folder / "report" / "index.html", folder / "report" / "figures")


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_rows_are_chosen_by_words_truth_and_limits():
    frame = pd.DataFrame(
        {"method": ["a", "b", "a", "a"], "kept": [True, True, False, True], "q": [0.01, 0.2, 0.03, 0.05]}
    )
    assert list(chosen_rows(frame, {}).index) == [0, 1, 2, 3]
    assert list(chosen_rows(frame, {"method": "a", "kept": True}).index) == [0, 3]
    assert list(chosen_rows(frame, {"q": "< 0.05"}).index) == [0, 2]
    assert list(
        chosen_rows(frame.assign(q=["0.01", "0.2", "not tested", "0.04"]), {"q": "< 0.05"}).index
    ) == [
        0,
        3,
    ]
    assert list(chosen_rows(frame.assign(kept=["yes", "no", "yes", "no"]), {"kept": False}).index) == [1, 3]


@pytest.mark.parametrize(
    ("take", "expected", "spread"),
    [
        ("count", 4, None),
        ("distinct", 3, None),
        ("max", 9, None),
        ("mean", 4.25, np.std([1, 3, 9, 4], ddof=1)),
    ],
)
def test_numbers_of_a_column(take, expected, spread):
    frame = pd.DataFrame({"x": [1.0, 3, 9, 4]}).assign(y=[1, 1, 2, 3])
    column = "y" if take == "distinct" else "x"
    number = {"column": column, "take": take, "spread": 1.0}
    value, sd = summarised(frame, number)
    assert value == expected
    assert np.isnan(sd) if spread is None else sd == spread
    assert np.isnan(summarised(frame, {"column": column, "take": take})[1])  # the paper has none


def test_the_only_row_has_its_own_spread_and_two_rows_are_no_value():
    frame = pd.DataFrame({"target": ["sex", "age"], "value": [0.8, 0.5], "fold_sd": [0.1, 0.2]})
    number = {"column": "value", "take": "value", "spread": 0.03, "where": {"target": "sex"}}
    assert summarised(frame, number) == (0.8, 0.1)
    assert np.isnan(summarised(frame, {**number, "where": {}})).all()
    assert np.isnan(summarised(frame, {**number, "where": {"target": "site"}})).all()


def test_the_worst_fold_is_that_with_the_largest_median():
    frame = pd.DataFrame({"fold": ["0", "0", "0", "1", "1", "1"], "mse": [1.0, 2, 90, 4, 5, 6]})
    assert summarised(frame, {"column": "mse", "take": "worst_fold_median"})[0] == 5


def test_nothing_fulfils_a_condition_is_a_count_of_zero(tmp_path):
    frame = pd.DataFrame({"factor": ["a"], "q": [0.5]})
    assert summarised(frame, {"column": "factor", "take": "count", "where": {"q": "< 0.05"}})[0] == 0
    assert np.isnan(summarised(frame, {"column": "q", "take": "max", "where": {"q": "< 0.05"}})[0])


def test_an_experiment_stands_for_the_papers_by_name_and_model(tmp_path):
    table = paper_tables()["dimitri2022"]
    path = "experiments/jac-ndi/reconstruction.tsv"
    for name in ("jac-ndi", "other"):
        write_table(tmp_path / f"experiments/{name}/reconstruction.tsv", pd.DataFrame({"mse": [1.0]}))
    write_table(tmp_path / "phenotypes/loadings.tsv", pd.DataFrame({"variable": ["a"]}))
    assert run_file(page_of(tmp_path, ("jac-ndi", DIMITRI)).study, table, path) == tmp_path / path
    assert run_file(page_of(tmp_path, ("jac-ndi", "pca")).study, table, path) is None
    assert run_file(page_of(tmp_path, ("other", DIMITRI)).study, table, path) is None
    study = page_of(tmp_path, ("other", DIMITRI)).study
    assert run_file(study, table, "phenotypes/loadings.tsv") is not None
    assert run_file(study, table, "report/figures/phenotypes/loadings.svg") is None


def test_a_number_of_several_tables_needs_all_of_them(tmp_path):
    table = paper_tables()["geenjaar2021"]
    (number,) = next(row for row in table["results"] if row["id"] == "Five seeds")["numbers"]
    names = ["vae-128", *(f"vae-128-seed{k}" for k in range(1, 5))]
    study = page_of(tmp_path, *((name, "shared_vae") for name in names)).study
    for k, name in enumerate(names):
        assert np.isnan(run_number(study, table, number)[0])
        scores = {"features": ["embedding", "pca_pooled"], "target": "diagnosis", "measure": "auc"}
        write_table(
            tmp_path / f"experiments/{name}/prediction_scores.tsv",
            pd.DataFrame({**scores, "value": [0.8 + k / 100, 0.1], "fold_sd": 0.1}),
        )
        study._tables.clear()
    value, spread, files = run_number(study, table, number)
    assert value == pytest.approx(0.82)
    assert spread == pytest.approx(np.std([0, 0.01, 0.02, 0.03, 0.04], ddof=1))
    assert len(files) == 5


def test_factors_are_found_again_in_another_order_and_with_another_sign():
    paper = printed_loadings()
    assert paper.shape == (51, 13)
    assert paper.loc["Age_in_Yrs"].loc[["Young Age", "Physical", "BP"]].tolist() == [-0.6, 0.4, 0]
    ours = paper.iloc[::-1, ::-1].copy()
    ours.columns = [f"factor_{k:02d}" for k in range(1, 14)]
    ours["factor_02"] *= -1
    ours = ours.drop(index="Gender")  # which only the paper has
    ours.loc["Weight"] = 0.9  # which only the run has
    matches = matched_factors(paper, ours, 0.3)
    assert [match.ours for match in matches] == list(ours.columns[::-1])
    assert [match.congruence for match in matches] == pytest.approx([1] * 13)
    assert [match.again for match in matches] == (paper.drop(index="Gender") != 0).sum().tolist()
    ours.loc["Age_in_Yrs", :] = 0.6  # another sign in one factor, smaller than a threshold in none
    young = {match.paper: match for match in matched_factors(paper, ours, 0.3)}["Young Age"]
    assert young.again == young.printed - 1
    fewer = matched_factors(paper, ours.drop(columns="factor_08"), 0.3)
    assert [match.ours for match in fewer].count("") == 1
    assert [match.paper for match in fewer] == list(paper.columns)
    without = next(match for match in fewer if not match.ours)
    assert np.isnan(without.congruence)
    assert (without.printed, without.again) == (
        int((paper.drop(index="Gender")[without.paper] != 0).sum()),
        0,
    )


def test_factors_are_compared_where_two_thirds_of_the_variables_are_the_same():
    paper = printed_loadings()
    names = list(paper.index)
    assert comparable(paper, [*names[:34], "Weight"]) == (34, True)
    assert comparable(paper, names[:33]) == (33, False)


def test_the_section_has_what_the_run_has(tmp_path):
    page = page_of(tmp_path, ("jac-ndi", DIMITRI), ("ctl-ad", "pca"))
    frame = pd.DataFrame(
        {"method": DIMITRI, "modality": "jac", "fold": list("0011"), "mse": [0.01, 0.03, 0.04, 0.06]}
    )
    write_table(tmp_path / "experiments/jac-ndi/reconstruction.tsv", frame)
    figure = tmp_path / "report/figures/jac-ndi/folds.svg"
    figure.parent.mkdir(parents=True)
    figure.write_text("<svg/>")
    figure.with_name("effects.svg").write_text("<svg/>")  # one of the three files of Fig. 8
    (part,) = paper_results_section(page).sections  # no experiment has another paper's model
    assert part.title == "Dimitri et al. 2022"
    _, files, numbers = part.blocks
    rows = texts(files)
    start = [row[0] for row in rows].index("Figure 5")
    assert [row[3] for row in rows[start : start + 3]] == [
        "report/figures/jac-ndi/folds.svg", "experiments/jac-ndi/reconstruction.tsv", "not in this run",
    ]  # fmt: skip
    assert rows[start + 2][0] == "Table 2"
    assert files.rows[start][3].href == "figures/jac-ndi/folds.svg"
    assert files.rows[start + 1][3].href == "tables/experiments/jac-ndi/reconstruction.tsv"
    assert ["Figure 1", "2", "The workflow.", "not here: a drawing of the method"] in rows
    assert rows[0][3] == "not in this run"
    assert "not in this run: 2 further files" in [row[3] for row in rows]
    assert texts(numbers) == [
        ["Figure 5", "Largest median MSE of a fold (the sixth)", "0.038", "0.0500"],
        ["", "Largest MSE (in the paper: of folds other than the sixth)", "0.02", "0.0600"],
    ]
    paper = [n for row in paper_tables()["dimitri2022"]["results"] for n in row.get("numbers", [])]
    assert f"{len(paper) - 2} numbers of the paper have no counterpart" in numbers.caption


def test_the_table_of_people_is_on_the_page_itself(tmp_path):
    page = page_of(tmp_path, ("jac-ndi", DIMITRI))
    others = [Section("verdict", "Verdict"), Section("cohort", "Cohort", [Table("Demographics", [], [], [])])]
    (part,) = paper_results_section(page, others).sections
    first = part.blocks[1].rows[0][3]
    assert (first.text, first.href) == ("in this report", "#cohort")


def test_a_run_without_a_papers_model_has_no_section(tmp_path):
    section = paper_results_section(page_of(tmp_path, ("jac-ndi", "pca")))
    assert not section.blocks
    assert not section.sections


def test_factors_stand_beside_the_papers_where_the_variables_are_the_same(tmp_path):
    page = page_of(tmp_path, ("jac-ndi", DIMITRI))
    loadings = printed_loadings().iloc[:, ::-1].set_axis([f"factor_{k:02d}" for k in range(1, 14)], axis=1)
    write_table(tmp_path / "phenotypes/loadings.tsv", loadings.rename_axis("variable").reset_index())
    place = tmp_path / "experiments/jac-ndi/strata/raw/affinity_propagation"
    frame = pd.DataFrame({"factor": loadings.columns, "q": [0.5] * 12 + [0.0001], "q_repartition": 0.01})
    write_table(place / "comparisons.tsv", frame)
    (part,) = paper_results_section(page).sections
    *_, table = part.blocks
    assert "from the 51 of the paper's 51 variables" in table.caption.lower()
    first = texts(table)[0]
    assert first[0] == printed_loadings().columns[0] == "Young Age"
    assert first[1].startswith("Factor 13: ")
    assert first[2:] == ["1.00 (the same factor)", "4 of 4", "yes", "< 0.001"]
    assert [row[4] for row in texts(table)].count("yes") == 6
    few = loadings.iloc[:20].rename_axis("variable").reset_index()
    write_table(tmp_path / "phenotypes/loadings.tsv", few)
    (part,) = paper_results_section(page_of(tmp_path, ("jac-ndi", DIMITRI))).sections
    assert "has 20 of its 51 variables" in part.blocks[-1].text


def test_numbers_of_a_paper_keep_its_digits():
    assert [printed(v) for v in (0.02, 974, -0.0145, 0.0004475, 1.968e-5, 0)] == [
        "0.02", "974", "−0.0145", "0.0004475", "1.968×10⁻⁵", "0",
    ]  # fmt: skip
