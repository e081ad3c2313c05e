"""What is known of people, and codes freed of it before they are clustered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neurostrata.adjustment.characteristics import read_characteristics
from neurostrata.adjustment.codes import adjusting, free_of_covariates
from neurostrata.adjustment.commands import adjust_codes, describe_people
from neurostrata.core.config import section_defaults
from neurostrata.core.embeddings import Embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table, write_table
from neurostrata.phenotypes.covariates import CovariateDesign

PEOPLE = [f"{n:02d}" for n in range(1, 9)]
BESIDE = ["subject", "family", "site", "diagnosis"]


def adjust(**changes: Any) -> dict[str, Any]:
    return section_defaults("strata")["adjust"] | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight people; all but the last have a registration."""
    for number, subject in enumerate(PEOPLE[:-1]):
        facts = {"AffineDeterminant": 0.9 + 0.05 * number, "SimilarityToTemplate": 0.8 + 0.01 * number}
        (tmp_path / f"sub-{subject}_affine.json").write_text(json.dumps(facts))
    pd.DataFrame({"subject": PEOPLE[:-1]}).to_csv(tmp_path / "registered.tsv", sep="\t", index=False)
    return tmp_path


def described(
    folder: Path, sheet: dict[str, list[Any]], *tables: dict[str, list[Any]], **changes: Any
) -> pd.DataFrame:
    """Run the command; `sheet` and `tables` are columns beside those that everybody has."""
    id_column = changes.pop("id_column", None)
    basis = {
        "subject": PEOPLE,
        "family": ["f1"] * 2 + [""] * 6,
        "site": ["1", "2"] * 4,
        "diagnosis": [""] * 8,
    }
    pd.DataFrame(basis | sheet).to_csv(folder / "people.tsv", sep="\t", index=False)
    paths = []
    for number, table in enumerate(tables):
        paths.append(folder / f"table-{number}.tsv")
        pd.DataFrame(table).to_csv(paths[-1], sep="\t", index=False)
    chosen = {key: adjust(**changes)[key] for key in ("columns", "sites")}
    describe_people(
        people=folder / "people.tsv",
        tables=paths,
        registered=folder / "registered.tsv",
        pattern=str(folder / "sub-{subject}_affine.mat"),
        output=folder / "characteristics.tsv",
        settings={"adjust": chosen, "id_column": id_column, "seed": 1},
    )
    return read_table(folder / "characteristics.tsv", text=("subject", "family", "site", "diagnosis"))


def test_everybody_is_listed_with_what_the_registration_says(folder: Path) -> None:
    table = described(folder, {})
    assert list(table) == [*BESIDE, "head_size", "image_quality"]
    assert list(table["subject"]) == PEOPLE
    assert list(table["site"]) == ["1", "2"] * 4  # a name, even where it looks like a number
    np.testing.assert_allclose(table["head_size"][:7], 0.9 + 0.05 * np.arange(7))
    np.testing.assert_allclose(table["image_quality"][:7], 0.8 + 0.01 * np.arange(7))
    assert table.loc[7, ["head_size", "image_quality"]].isna().all()


@pytest.mark.parametrize("name", ["age", "Age", "Age_in_Yrs", "age_years"])
def test_age_of_the_sheet_comes_before_that_of_the_tables(folder: Path, name: str) -> None:
    ages = list(range(20, 28))
    elsewhere = {"subject": PEOPLE, "age": [99] * 8, "Gender": list("MFMFMFMF"), "score": [1] * 8}
    table = described(folder, {name: ages}, elsewhere)
    assert list(table) == [*BESIDE, "age", "sex", "head_size", "image_quality"]
    assert list(table["age"]) == ages
    assert list(table["sex"]) == list("MFMFMFMF")
    facts = json.loads((folder / "characteristics.json").read_text())
    assert f"column {name} of people.tsv" in json.dumps(facts)
    assert "column Gender of table-0.tsv" in json.dumps(facts)


def test_a_sheet_with_an_empty_column_of_ages_gives_way_to_the_tables(folder: Path) -> None:
    other_people = {"record": [*reversed(PEOPLE), "77"], "age": [*range(40, 48), 1]}
    table = described(folder, {"age": [""] * 8}, other_people, id_column="record")
    assert list(table["age"]) == list(range(47, 39, -1))
    assert list(table["subject"]) == PEOPLE


def test_two_candidates_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="'age' and 'Age_in_Yrs' both look like age"):
        described(folder, {"age": [30] * 8, "Age_in_Yrs": [30] * 8})


def test_further_columns_of_adjust(folder: Path) -> None:
    motion, scanner = [0.1 * n for n in range(8)], list("aabbaabb")
    table = described(
        folder,
        {"scanner": scanner, "age": [30] * 8},
        {"subject": PEOPLE, "motion": motion, "score": [1] * 8},
        columns=["age", "head_size", "motion"],
        sites="scanner",
    )
    assert list(table) == [*BESIDE, "age", "head_size", "image_quality", "motion", "scanner"]
    np.testing.assert_allclose(table["motion"], motion)
    assert list(table["scanner"]) == scanner
    with pytest.raises(UserError, match=r"strata\.adjust: 'mood' is no column"):
        described(folder, {}, columns=["mood"])


def test_what_auto_takes() -> None:
    people = pd.DataFrame(
        {"age": [30, 40], "sex": ["F", "F"], "head_size": [0.9, 1.1], "image_quality": [0, 1]}
    )
    assert adjusting("auto", people) == ["age"]  # two people are too few for more
    people = pd.concat([people] * 20, ignore_index=True)
    assert adjusting("auto", people) == ["age", "head_size"]  # one sex only: nothing to take out
    people["sex"] = ["F", "M"] * 20
    assert adjusting("auto", people) == ["age", "sex"]  # 40 people
    assert adjusting("auto", pd.concat([people] * 2)) == ["age", "sex", "head_size"]
    people["sex"] = "F"
    assert adjusting("auto", people[["sex"]]) == []
    assert adjusting(["image_quality"], people) == ["image_quality"]
    assert adjusting([], people) == []


def test_a_column_that_most_people_lack_is_not_taken_by_itself() -> None:
    """Everybody without it would be left out: ten people of 200 were clustered."""
    subjects = [f"{number:03d}" for number in range(200)]
    people = pd.DataFrame({"age": np.nan, "head_size": np.arange(200.0)}, index=subjects)
    people.iloc[:10, 0] = np.arange(20.0, 30)
    codes = Embeddings(
        subjects, np.random.default_rng(0).normal(size=(200, 3)), pd.DataFrame({"subject": subjects})
    )
    adjusted, left_out = free_of_covariates(codes, people, {"columns": "auto", "sites": None, "splines": 1})
    assert (adjusted.subjects, len(left_out)) == (subjects, 0)
    people.iloc[:100, 0] = np.arange(100.0)
    assert adjusting("auto", people) == ["age", "head_size"]
    assert adjusting(["age"], people[:20]) == ["age"]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Codes of 90 people that depend on age (bent), sex and site; in no order of their subjects."""
    generator = np.random.default_rng(1)
    n = 90
    people = pd.DataFrame(
        {
            "subject": [f"{k:03d}" for k in generator.permutation(n)],
            "age": generator.uniform(20, 80, n).round(1),
            "sex": generator.choice(["F", "M"], n),
            "site": generator.choice(["1", "2", "3"], n),
            "head_size": generator.normal(1, 0.1, n).round(4),
        }
    )
    codes = generator.standard_normal((n, 4))
    age = (people["age"] - 50) / 17
    codes[:, 0] += 3 * age
    codes[:, 1] += 2 * (people["sex"] == "M")
    codes[:, 2] += 2 * age**2
    codes[:, 3] = codes[:, 3] * people["site"].map({"1": 1, "2": 1, "3": 3}) + 3 * (people["site"] == "2")
    frame = pd.DataFrame(codes, columns=[f"z{k:04d}" for k in range(1, 5)])
    frame.insert(0, "subject", people["subject"])
    frame.to_csv(tmp_path / "embeddings.tsv", sep="\t", index=False)
    people.sort_values("subject").to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    return tmp_path


def adjusted(folder: Path, **changes: Any) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The codes after adjusting, what is known of the same people, and the sidecar."""
    adjust_codes(
        embeddings=folder / "embeddings.tsv",
        people=folder / "people.tsv",
        output=folder / "codes-adjusted.tsv",
        settings={"adjust": adjust(**changes), "seed": 1},
    )
    text = ("subject", "site")
    codes = read_table(folder / "codes-adjusted.tsv", text=text).set_index("subject")
    people = read_table(folder / "people.tsv", text=text).set_index("subject").reindex(codes.index)
    return codes, people, json.loads((folder / "codes-adjusted.json").read_text())


def test_nothing_goes_with_age_sex_or_head_size_any_more(cohort: Path) -> None:
    codes, people, facts = adjusted(cohort)
    assert list(codes.index) == list(read_table(cohort / "embeddings.tsv", text=("subject",))["subject"])
    covariates = np.column_stack([people["age"], people["sex"] == "M", people["head_size"]]).astype(float)
    together = np.corrcoef(np.column_stack([codes, covariates]).T)[:4, 4:]
    np.testing.assert_allclose(together, 0, atol=1e-6)
    assert facts["Removed"] == ["age", "sex", "head_size"]
    assert facts["LeftOut"] == []
    assert 0.3 < facts["VarianceRemoved"] < 0.9


def test_who_lacks_a_value_is_left_out_and_listed(cohort: Path) -> None:
    people = read_table(cohort / "people.tsv", text=("subject", "site"))
    people.loc[[3, 5], "age"] = np.nan
    people.loc[people["subject"] == "010", people.columns != "subject"] = (
        np.nan
    )  # nothing is known of this person
    people.to_csv(cohort / "people.tsv", sep="\t", index=False, na_rep="n/a")
    codes, _, facts = adjusted(cohort, columns=["age"])
    assert {row["subject"]: row["reason"] for row in facts["LeftOut"]} == dict.fromkeys(
        ["003", "005", "010"], "no age"
    )
    assert len(codes) == 87
    people[people["subject"] != "011"].to_csv(cohort / "people.tsv", sep="\t", index=False, na_rep="n/a")
    with pytest.raises(UserError, match=r"people\.tsv: lacks 1 of the 90 people .* \(subject 011\)"):
        adjusted(cohort, columns=["age"])
    assert not {"003", "005", "010"} & set(codes.index)
    people["age"] = [30.0, 40.0, *[np.nan] * (len(people) - 2)]
    people.to_csv(cohort / "people.tsv", sep="\t", index=False, na_rep="n/a")
    with pytest.raises(UserError, match=r"strata\.adjust"):
        adjusted(cohort, columns=["age"])


def test_sites_are_harmonised(cohort: Path) -> None:
    before = read_table(cohort / "embeddings.tsv", text=("subject",)).set_index("subject")["z0004"]
    codes, people, facts = adjusted(cohort, columns=[], sites="site")
    assert facts["Sites"] == "site"
    assert facts["Removed"] == []
    apart = before.groupby(people["site"].reindex(before.index))
    together = codes["z0004"].groupby(people["site"])
    assert np.ptp(apart.mean()) > 2
    assert np.ptp(together.mean()) < 0.5
    assert apart.std().max() / apart.std().min() > 2
    assert together.std().max() / together.std().min() < 1.4


def test_a_spline_takes_out_what_a_line_leaves(cohort: Path) -> None:
    left = {}
    for splines in (1, 4):
        codes, people, facts = adjusted(cohort, columns=["age"], splines=splines)
        bent = (people["age"] - people["age"].mean()) ** 2
        left[splines] = abs(np.corrcoef(codes["z0003"], bent)[0, 1])
        assert facts["Splines"] == (1 if splines == 1 else {"age": splines})
    assert left[1] > 0.7
    assert left[4] < 0.1


def test_curves_are_those_of_the_columns_that_were_removed(cohort: Path) -> None:
    """Most of those who have an age have a head size, but less than half of everybody: it is not removed."""
    people = read_table(cohort / "people.tsv", text=("subject", "site"))
    people.loc[:29, "age"] = np.nan
    people.loc[:49, "head_size"] = np.nan
    people.to_csv(cohort / "people.tsv", sep="\t", index=False, na_rep="n/a")
    _, _, facts = adjusted(cohort, splines=4)
    assert facts["Removed"] == ["age", "sex"]
    assert facts["Splines"] == {"age": 4}


def test_without_anything_known_the_codes_come_back(cohort: Path) -> None:
    people = read_table(cohort / "people.tsv", text=("subject", "site"))
    people[["subject", "site"]].to_csv(cohort / "people.tsv", sep="\t", index=False)
    codes, _, facts = adjusted(cohort)
    before = read_table(cohort / "embeddings.tsv", text=("subject",)).set_index("subject")
    pd.testing.assert_frame_equal(codes, before, check_exact=False, rtol=1e-6)
    assert facts["Removed"] == []
    assert facts["VarianceRemoved"] == pytest.approx(0)


def test_splines_of_covariates() -> None:
    generator = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "age": generator.uniform(20, 80, 200),
            "children": generator.integers(0, 3, 200).astype(float),
            "sex": generator.choice(["F", "M"], 200),
        }
    )
    table.loc[5, "age"] = np.nan
    design = CovariateDesign(4).fit(table)
    # of few values: as it is
    assert design.columns_ == [*(f"age: spline {part}" for part in range(1, 5)), "children", "sex: M"]
    matrix = design.transform(table)
    assert matrix.shape == (200, 6)
    assert np.isnan(matrix[5]).all()
    known = np.arange(200) != 5
    whole = np.column_stack([np.ones(199), matrix[known]])
    assert np.linalg.matrix_rank(whole) == 7
    # any cubic polynomial is one of the curves
    age = table["age"].to_numpy()[known]
    curve = (age / 50 - 1) ** 3 + age / 10
    fitted = whole @ np.linalg.lstsq(whole, curve, rcond=None)[0]
    np.testing.assert_allclose(fitted, curve, atol=1e-8)
    # straight beyond what it was learned from
    far = design.transform(pd.DataFrame({"age": [90.0, 100.0, 110.0], "children": 0.0, "sex": "F"}))
    np.testing.assert_allclose(far[1] - far[0], far[2] - far[1], atol=1e-9)
    assert CovariateDesign(1).fit(table).columns_ == ["age", "children", "sex: M"]


def test_the_modalities_of_the_numbers_pass_through(cohort: Path) -> None:
    """The sidecar says which modality a number is of, and what the columns are; people are named as they are."""
    table = read_table(cohort / "embeddings.tsv", text=("subject",))
    numbers = [name for name in table if name not in ("subject", "role")]
    for parts in (["jac"] * (len(numbers) - 1) + ["ndi"], None):
        write_table(cohort / "embeddings.tsv", table, {}, **({"CodeModalities": parts} if parts else {}))
        codes, _, facts = adjusted(cohort)
        assert facts.get("CodeModalities") == parts
        assert set(codes.index) == set(table["subject"])
    written = read_table(cohort / "codes-adjusted.tsv")
    assert list(written) == ["subject", *numbers]
    assert set(facts["Columns"]) == {"subject", numbers[0]}


def test_ages_that_some_people_lack_are_ages(folder: Path) -> None:
    table = described(folder, {"age": ["", *range(21, 28)]})
    assert table["age"].isna().sum() == 1
    assert list(table["age"][1:]) == list(range(21, 28))
    people = read_characteristics(folder / "characteristics.tsv")
    assert list(people.index) == PEOPLE
    assert list(people["site"]) == ["1", "2"] * 4
