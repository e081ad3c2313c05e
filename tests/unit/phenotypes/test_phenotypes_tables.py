"""Phenotype tables as people have them: joining, coding, gaps, and messages that help."""

import json

import numpy as np
import pandas as pd
import pytest

from neurostrata.cli import main
from neurostrata.core.config import load_schema, schema_problems, section_defaults
from neurostrata.core.errors import UserError
from neurostrata.phenotypes.analysis import analyse_phenotypes
from neurostrata.phenotypes.coding import code_column, code_table
from neurostrata.phenotypes.commands import factor_phenotypes, read_preset
from neurostrata.phenotypes.imputation import fit_imputation, select
from neurostrata.phenotypes.model import PhenotypeModel, score_people
from neurostrata.phenotypes.tables import join_tables, key_table, normalise_ids, read_phenotypes


def make_settings(**changes):
    return {**section_defaults("phenotypes"), "seed": 1, "parallel_draws": 5, **changes}


def people(n):
    return [f"{100000 + k}" for k in range(n)]


def table(n=40, variables=6, seed=0, id_column="Subject"):
    generator = np.random.default_rng(seed)
    factors = generator.standard_normal((n, 2))
    values = np.repeat(factors, variables // 2, axis=1) + 0.6 * generator.standard_normal((n, variables))
    frame = pd.DataFrame(values, columns=[f"v{j}" for j in range(variables)])
    frame.insert(0, id_column, people(n))
    return frame


def test_ids_lose_the_prefix_once():
    ids = normalise_ids(pd.Series(["sub-01", "sub-sub-02", "bus", "100004.0", 100005]))
    assert list(ids) == ["01", "sub-02", "bus", "100004", "100005"]


def test_two_tables_with_different_id_columns_are_joined_in_cohort_order():
    one = table()
    two = pd.DataFrame({"participant_id": ["sub-" + s for s in reversed(people(40))], "w": range(40)})
    cohort = [*people(40)[::-1], "999"]
    joined = join_tables([("a.csv", one), ("b.tsv", two)], cohort)
    assert list(joined.values.index) == cohort
    assert joined.values.loc["100000", "w"] == 39
    assert joined.values.loc["100003", "v1"] == one.loc[3, "v1"]
    assert joined.without == ["999"]


def test_no_shared_ids_names_file_and_examples():
    with pytest.raises(UserError, match=r"b\.csv: shares no subject ids.*100000.*in the cohort: s1, s2"):
        join_tables([("b.csv", table())], ["s1", "s2"])


def test_a_subject_twice_is_refused():
    frame = pd.concat([table(), table().iloc[[3]]])
    with pytest.raises(UserError, match=r"a\.csv: subject 100003 has more than one row"):
        join_tables([("a.csv", frame)], people(40))
    with pytest.raises(UserError, match="without an id in column Subject"):
        join_tables([("a.csv", table().assign(Subject=[None, *people(39)]))], people(40))
    with pytest.raises(UserError, match=r"a\.csv: no id column subject or participant_id or Subject"):
        join_tables([("a.csv", table(id_column="ID"))], people(40))
    assert len(join_tables([("a.csv", table(id_column="ID"))], people(40), id_column="ID").values) == 40


def test_a_column_in_two_tables_must_agree():
    one = table()
    two = one[["Subject", "v0"]].copy()
    two.loc[0, "v0"] = np.nan
    assert join_tables([("a", one), ("b", two)], people(40)).values["v0"].notna().all()
    two.loc[1, "v0"] = 7.0
    with pytest.raises(UserError, match=r"b: column v0 differs from the one in a \(subject 100001"):
        join_tables([("a", one), ("b", two)], people(40))


def test_words_in_two_tables_are_compared_too():
    one = table(3)[["Subject"]].assign(sex=["F", "M", "F"])
    assert list(join_tables([("a", one), ("b", one)], people(3)).values["sex"]) == ["F", "M", "F"]
    with pytest.raises(UserError, match=r"subject 100002: M and F"):
        join_tables([("a", one), ("b", one.assign(sex=["F", "M", "M"]))], people(3))


def test_wanted_variables_must_be_there():
    with pytest.raises(UserError, match=r"VSPLIT_TC in none of a\.csv \(1 of 2 missing\)"):
        join_tables([("a.csv", table())], people(40), ["v0", "VSPLIT_TC"])


@pytest.mark.parametrize(
    ("cells", "numbers", "rule"),
    [
        (["M", "F", None], [1, 0, np.nan], "F=0, M=1"),
        (["22-25", "26-30", "36+"], [23.5, 28, 36], "middle of the bin, an open bin its bound"),
        (["1.5", "2", None], [1.5, 2, np.nan], "number"),
        ([True, False, True], [1, 0, 1], "false=0, true=1"),
        (["Yes", "no", "no"], [1, 0, 0], "no=0, yes=1"),
        ([1.0, np.inf, 2.0], [1, np.nan, 2], "number"),
    ],
)
def test_coding_rules(cells, numbers, rule):
    coded = code_column(pd.Series(cells, name="x"))
    assert coded.rule == rule
    np.testing.assert_array_equal(coded.values, numbers)


def test_words_need_a_coding():
    words = pd.DataFrame({"smoking": ["never", "now", "past"], "v": [1, 2, 3]})
    coded = code_table(words)
    assert list(coded.values) == ["v"]
    assert "never" in coded.left_out["smoking"]
    with pytest.raises(UserError, match="coding: smoking"):
        code_table(words, strict=True)
    coding = {"smoking": {"never": 0, "past": 1, "now": 2}}
    assert list(code_table(words, coding, strict=True).values["smoking"]) == [0, 2, 1]
    with pytest.raises(UserError, match="no number given for the value 'past'"):
        code_table(words, {"smoking": {"never": 0, "now": 2}})
    with pytest.raises(UserError, match="coding: smokin is no variable"):
        code_table(words, {"smokin": {}})


def test_selection_counts_and_reasons():
    frame = pd.DataFrame(
        {
            "good": [1.0, 2, 3, 4, np.nan],
            "flat": [5.0, 5, 5, 5, np.nan],
            "rare": [1.0, np.nan, np.nan, np.nan, np.nan],
            "gap": [1.0, np.nan, 2, 3, np.nan],
        },
        index=list("abcde"),
    )
    chosen = select(frame, "complete", 0.5, 0.5)
    assert chosen.variables == ["good", "gap"]
    assert chosen.left_out_variables == {"flat": "constant", "rare": "missing in 75% of the people"}
    assert chosen.people == ["a", "c", "d"]
    assert chosen.left_out_people == {"b": "1 of 2 variables missing", "e": "no phenotypes"}
    assert select(frame, "median", 0.5, 0.5).people == ["a", "b", "c", "d"]


def test_iterative_filling_is_nearer_to_the_truth_than_the_median():
    generator = np.random.default_rng(5)
    values = generator.standard_normal((300, 1)) + 0.5 * generator.standard_normal((300, 5)) + 3
    gaps = generator.random(values.shape) < 0.15
    gaps[:, 0] = False
    holed = np.where(gaps, np.nan, values)
    errors = {}
    for policy in ("median", "iterative"):
        filled = fit_imputation(holed, policy).fill(holed)
        np.testing.assert_array_equal(filled[~gaps], values[~gaps])
        errors[policy] = np.sqrt(np.mean((filled - values)[gaps] ** 2))
    assert errors["iterative"] < 0.65 < 0.9 < errors["median"]  # 0.56 is the best possible
    covariance = fit_imputation(holed, "iterative").covariance
    np.testing.assert_allclose(covariance, np.cov(values.T), rtol=0.15)
    nothing_known = fit_imputation(holed, "iterative").fill(np.full((1, 5), np.nan))
    np.testing.assert_allclose(nothing_known[0], values.mean(axis=0), atol=0.1)


@pytest.mark.parametrize("policy", ["complete", "median", "iterative"])
def test_missing_policies_and_rescoring(policy):
    frame = table(80)
    frame.loc[3, "v1"] = np.nan
    frame.loc[4, ["v0", "v1", "v2", "v3"]] = np.nan
    cohort = [*people(80), "absent"]
    result = analyse_phenotypes([("a.csv", frame)], cohort, make_settings(missing=policy))
    scores = result.scores.set_index("subject")
    assert list(scores.index) == cohort
    without = list(scores.index[scores.isna().all(axis=1)])
    wanted = ["100003", "100004", "absent"] if policy == "complete" else ["100004", "absent"]
    assert without == wanted == sorted(result.facts["people_left_out"])
    assert result.facts["values_filled"] == (0 if policy == "complete" else 1)
    assert result.facts["people_without_table_row"] == 1
    # the model, by way of its file, gives everybody the same scores again
    model = PhenotypeModel.from_dict(json.loads(json.dumps(result.model.to_dict())))
    again = score_people(model, frame.set_index("Subject"))
    np.testing.assert_allclose(again.to_numpy(), scores.loc[people(80)].to_numpy(), atol=1e-9)
    assert result.descriptives.set_index("variable").loc["v1", "missing"] == 3


def test_new_people_do_not_change_with_their_company():
    result = analyse_phenotypes([("a.csv", table(80))], people(80), make_settings())
    fresh = table(10, seed=9).set_index("Subject")
    together = score_people(result.model, fresh)
    alone = score_people(result.model, fresh.iloc[[4]])
    np.testing.assert_allclose(alone.to_numpy()[0], together.to_numpy()[4])
    with pytest.raises(UserError, match="lacks v3"):
        score_people(result.model, fresh.drop(columns="v3"))


def test_variables_method_gives_the_standardised_variables():
    frame = table(30)
    frame.loc[2, "v0"] = np.nan
    result = analyse_phenotypes([("a.csv", frame)], people(30), make_settings(method="variables"))
    scores = result.scores.set_index("subject")
    assert list(scores) == [f"v{j}" for j in range(6)]
    np.testing.assert_allclose(scores.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(scores.std(ddof=1), 1)
    assert scores.isna().sum().sum() == 1
    assert result.eigenvalues["eigenvalue"].sum() == pytest.approx(6)


def test_what_cannot_be_analysed_is_said():
    constant = pd.DataFrame({"subject": people(5), "a": 1.0, "b": 2.0})
    with pytest.raises(UserError, match=r"no variable is left.*a: constant"):
        analyse_phenotypes([("a.csv", constant)], people(5), make_settings())
    with pytest.raises(UserError, match="1 of 1 people have enough values"):
        analyse_phenotypes([("a.csv", table())], people(1), make_settings())
    with pytest.raises(UserError, match=r"0 of 40 people.*try missing: median"):
        analyse_phenotypes([("a.csv", holes(table()))], people(40), make_settings())


def test_excluded_columns():
    frame = table(40).assign(record=range(40))
    result = analyse_phenotypes([("a.csv", frame)], people(40), make_settings(exclude=["record"]))
    assert "record" not in list(result.loadings["variable"])
    with pytest.raises(UserError, match=r"exclude: recrod is no column of a\.csv"):
        analyse_phenotypes([("a.csv", frame)], people(40), make_settings(exclude=["recrod"]))
    preset = make_settings(exclude=["v0"], variables=["v0", "v1", "v2"])
    result = analyse_phenotypes([("a.csv", frame)], people(40), preset)
    assert list(result.loadings["variable"]) == ["v1", "v2"]


def test_one_variable_and_too_many_factors():
    one = analyse_phenotypes([("a.csv", table(40))], people(40), make_settings(variables=["v0"]))
    assert list(one.loadings["factor_01"]) == [pytest.approx(1.0)]
    assert any("no eigenvalue exceeds 1" in line for line in one.facts["warnings"])
    nine = analyse_phenotypes([("a.csv", table(40))], people(40), make_settings(n_factors=9))
    assert nine.loadings.shape == (6, 7)
    assert any("n_factors is 9" in line for line in nine.facts["warnings"])


def holes(frame):
    for row in range(len(frame)):
        frame.loc[row, f"v{row % 6}"] = np.nan
    return frame


def test_the_papers_variables():
    names = read_preset("dimitri2022")
    assert len(names) == len(set(names)) == 51
    assert "VSPLOT_TC" in names
    assert "VSPLIT_TC" not in names


def test_command_reads_hcp_like_files_and_writes_the_tree(tmp_path, capsys):
    n = 90
    generator = np.random.default_rng(1)
    names = read_preset("dimitri2022")
    values = pd.DataFrame(generator.standard_normal((n, 51)), columns=names)
    values["Gender"] = generator.choice(["M", "F"], n)
    values.insert(0, "Subject", [int(s) for s in people(n)])
    values.assign(Release="S500", Age="22-25")[["Subject", "Release", "Age", "Gender", *names[5:]]].to_csv(
        tmp_path / "unrestricted.csv", index=False
    )
    values[["Subject", *[x for x in names[:5] if x != "Gender"]]].to_csv(
        tmp_path / "restricted.csv", index=False
    )
    cohort = [*people(n)[:80], "555555"]
    pd.DataFrame({"subject": cohort}).to_csv(tmp_path / "subjects.tsv", sep="\t", index=False)
    out = {name: tmp_path / f"{name}.tsv" for name in ("eigenvalues", "loadings", "scores", "descriptives")}
    settings = make_settings(variables="dimitri2022")
    factor_phenotypes(
        tables=[tmp_path / "unrestricted.csv", tmp_path / "restricted.csv"],
        subjects=tmp_path / "subjects.tsv",
        **out,
        model=tmp_path / "model.json",
        settings=settings,
    )
    scores = pd.read_csv(out["scores"], sep="\t", dtype={"subject": str}, na_values=["n/a"])
    assert list(scores["subject"]) == cohort
    assert scores.columns[1] == "factor_01"
    assert scores.iloc[:80].notna().to_numpy().all()
    assert scores.iloc[80, 1:].isna().all()
    descriptives = pd.read_csv(out["descriptives"], sep="\t")
    assert len(descriptives) == 51
    assert descriptives.set_index("variable").loc["Gender", "coding"] == "F=0, M=1"
    facts = json.loads((tmp_path / "scores.json").read_text())
    assert facts["people_left_out"] == {"555555": "no phenotypes"}
    # and by the command line, a table that shares no ids: exit 2, one line
    pd.DataFrame({"subject": ["x1", "x2"]}).to_csv(tmp_path / "other.tsv", sep="\t", index=False)
    arguments = [f"--{name}={path}" for name, path in out.items()]
    code = main(
        [
            "stage",
            "factor-phenotypes",
            f"--tables={tmp_path / 'restricted.csv'}",
            f"--subjects={tmp_path / 'other.tsv'}",
            *arguments,
            f"--model={tmp_path / 'model.json'}",
            f"--settings={json.dumps(make_settings())}",
        ]
    )
    error = capsys.readouterr().err
    assert code == 2
    assert "restricted.csv: shares no subject ids" in error
    assert "x1" in error
    assert "100000" in error


def test_schema_is_closed_and_its_defaults_valid():
    schema = load_schema("phenotypes")
    assert schema_problems(section_defaults("phenotypes"), schema) == []
    assert schema_problems({"variable": "all"}, schema)
    assert schema_problems({"variables": ["a", "b"], "coding": {"a": {"x": 1}}}, schema) == []


def test_people_of_the_tables_who_are_not_in_the_cohort_are_counted_once():
    one, two = table(6), table(8)[["Subject", "v0"]].rename(columns={"v0": "w"})
    joined = join_tables([("a", one), ("b", two)], people(5))
    assert joined.others == 3
    assert joined.without == []
    assert joined.values.shape == (5, 7)
    assert joined.values.index.name == "subject"


def test_numbers_in_two_tables_may_differ_by_rounding():
    one = table(4)
    near = one[["Subject", "v0"]].assign(v0=one["v0"] + 5e-10)
    assert list(join_tables([("a", one), ("b", near)], people(4)).values["v0"]) == list(one["v0"])
    with pytest.raises(UserError, match="column v0 differs"):
        join_tables([("a", one), ("b", near.assign(v0=one["v0"] + 5e-9))], people(4))
    # what only the second has is taken from it; text and number of one value are equal
    gap = one.assign(v0=[np.nan, *one["v0"][1:]])
    filled = join_tables([("a", gap), ("b", one[["Subject", "v0"]])], people(4)).values["v0"]
    assert list(filled) == list(one["v0"])
    both = join_tables(
        [("a", one.assign(v0=["1.0", "x", "3", "4"])), ("b", one.assign(v0=[1, "x", 3, 4.0]))], people(4)
    )
    assert list(both.values["v0"]) == ["1.0", "x", "3", "4"]


def test_excluded_columns_may_differ_and_wanted_ones_keep_their_order():
    one, two = table(4).assign(record=1), table(4)[["Subject"]].assign(record=2)
    joined = join_tables([("a", one), ("b", two)], people(4), exclude=["record"])
    assert "record" not in joined.values
    wanted = join_tables([("a", one)], people(4), columns=["v3", "v1"])
    assert list(wanted.values) == ["v3", "v1"]
    # a wanted list says nothing about what else is excluded
    assert list(join_tables([("a", one)], people(4), columns=["v1"], exclude=["no"]).values) == ["v1"]


def test_strangers_may_occur_twice_but_nobody_of_the_cohort():
    frame = pd.concat([table(6), table(6).iloc[[5]]])
    assert list(key_table(frame, "a", subjects=people(5)).index) == people(6)
    with pytest.raises(UserError, match=r"100005 has more than one row \(1 such subjects\)"):
        key_table(frame, "a")
    many = pd.concat([table(8)] * 2)
    with pytest.raises(UserError, match=r"100004 \.\.\. has more than one row \(8 such"):
        key_table(many, "a")
    with pytest.raises(UserError, match="100004 has more than one row"):
        key_table(pd.concat([table(5)] * 2), "a")
    with pytest.raises(UserError, match="1 rows without an id"):
        key_table(table(3).assign(Subject=["1", " ", "3"]), "a")


def test_cells_are_read_as_they_stand(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(
        "Subject\tcode\tx\ty\tflag\n007\t01\t1.5\tn/a\ttrue\nn/a\t02\t\t3\tfalse\n9\t\tnan\t4\ttrue\n"
    )
    found = read_phenotypes(path, text=["code", "absent"])
    assert list(found["Subject"]) == ["007", "n/a", "9"]  # ids are never missing values
    assert found["code"].tolist()[:2] == ["01", "02"]
    assert pd.isna(found["code"][2])
    assert found["x"].isna().tolist() == [False, True, True]
    assert found["y"].tolist()[1:] == [3, 4]
    assert found["flag"].tolist() == [True, False, True]
    assert list(read_phenotypes(path, columns=["y"])) == ["Subject", "y"]
    assert list(read_phenotypes(path, "code", columns=["y"])) == ["code", "y"]
    assert list(read_phenotypes(path, "code")["code"]) == ["01", "02", ""]
