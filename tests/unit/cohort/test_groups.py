"""The groups of people that stages on the whole cohort read, and which of their targets have two classes."""

from __future__ import annotations

from typing import Any

import pytest
from planned import LABEL, experiment, planned

from neurostrata.cohort.columns import class_columns
from neurostrata.cohort.groups import group_digest, group_rows, named_group
from neurostrata.cohort.study import Study


def study(changes: dict[str, dict[str, str]] | None = None, **sections: Any) -> Study:
    """Twelve people with cells of their own; the experiment `codes` predicts the sheet's column `score`, adjusted by age."""
    analyses = {"prediction": ["score", "factors"], "harmonise": {"keep": ["age"]}, "covariates": ["weight"]}
    experiments = [
        experiment("codes", "jac", "ndi", analyses=analyses),
        experiment("classes", "jac", model="siamese_attention", **LABEL),
    ]
    base = planned(experiments=experiments, **sections)
    rows = []
    for subject, row in base.rows.items():
        facts = {
            "family": f"f{subject}",
            "site": "a",
            "age": "30",
            "weight": "70",
            "score": subject,
            "note": "x",
        }
        rows.append({**row, **facts, **(changes or {}).get(subject, {})})
    return Study(base.config, rows)


@pytest.mark.parametrize(
    ("group", "columns"),
    [
        ("template", ["subject"]),
        ("people", ["subject"]),
        ("registered", ["subject"]),
        ("families", ["subject", "family"]),
        ("characteristics", ["subject", "family", "site", "diagnosis", "age"]),
        ("modality-ndi", ["subject"]),
        ("experiment-codes", ["subject", "family", "diagnosis", "site"]),
        ("targets-codes", ["subject", "family", "score"]),
        ("targets-classes", ["subject", "family", "diagnosis"]),
        ("covariates-codes", ["subject", "site", "age", "weight"]),
    ],
)
def test_a_group_has_the_columns_that_its_stages_read(group: str, columns: list[str]) -> None:
    found = study()
    assert named_group(found, group)[0] == columns
    rows = group_rows(found, group)
    assert [row["subject"] for row in rows] == list(found.rows)
    assert rows[2] == {column: found.rows["03"][column] for column in columns}
    # exactly a change of these cells makes another group
    for column in ("family", "site", "diagnosis", "age", "weight", "score", "note"):
        other = study({"03": {column: "b"}})
        if group.endswith("classes") and column == "diagnosis":
            continue  # "b" is the person's class already, or another one
        same = other.rows["03"][column] == found.rows["03"][column]
        differs = group_digest(other, group) != group_digest(found, group)
        assert differs == (column in columns and not same), column


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"dwi": ""}, {"modality-ndi", "experiment-codes", "targets-codes", "covariates-codes"}),
        ({"template": "no"}, {"template"}),
        ({"diagnosis": "c"}, {"targets-classes"}),
        ({"t1w": ""}, {"template", "registered", "modality-ndi", "experiment-codes", "targets-codes", "covariates-codes",
                       "targets-classes"}),
    ],
)  # fmt: skip
def test_a_person_without_something_leaves_the_groups_that_need_it(
    change: dict[str, str], gone: set[str]
) -> None:
    found = study({"03": change})
    groups = ["template", "people", "registered", "families", "characteristics", "modality-ndi"]
    groups += ["experiment-codes", "targets-codes", "targets-classes", "covariates-codes"]
    assert {group for group in groups if "03" not in named_group(found, group)[1]} == gone
    for group in groups:
        assert len(named_group(found, group)[1]) == 12 - (group in gone)


def targets(column: str, cells: list[str]) -> list[str]:
    """Which of the targets of an experiment that predicts a column have two classes."""
    predicting = experiment("codes", "jac", analyses={"prediction": [column]})
    base = planned(people=len(cells), experiments=[predicting])
    rows = [{**row, column: cell} for row, cell in zip(base.rows.values(), cells)]
    return class_columns(Study(base.config, rows), "codes")


@pytest.mark.parametrize(
    ("cells", "two"),
    [
        (["m"] * 5 + ["f"] * 5, True),
        (["m"] * 5 + ["f"] * 4, False),  # too few of a class
        (["m"] * 5 + ["f"] * 5 + ["x"] * 2, True),  # a third word that is rare
        (["m"] * 5 + ["f"] * 5 + ["x"] * 5, False),
        (["m"] * 5 + ["f"] * 5 + [""] * 7, True),  # missing is no class
        (["1"] * 5 + ["2"] * 5, True),
        (["1"] * 5 + ["2"] * 5 + ["3"], False),  # three numbers are a number
        (["1"] * 5 + ["2"] * 5 + ["other"], True),
    ],
)
def test_which_targets_have_two_classes(cells: list[str], two: bool) -> None:
    assert targets("handedness", cells) == (["handedness"] if two else [])


def test_a_diagnosis_is_a_class_also_where_it_is_a_number() -> None:
    cells = ["1"] * 5 + ["2"] * 5 + ["3"]
    assert targets("diagnosis", cells) == ["diagnosis"]
    assert targets("score", cells) == []
