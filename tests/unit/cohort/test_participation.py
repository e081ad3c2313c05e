"""The tables of who takes part and who does not: every person and reason that a reader would ask for, and no other."""

from __future__ import annotations

from planned import LABEL, experiment, planned

from neurostrata.cohort.participation import exclusions_table, subjects_table
from neurostrata.cohort.sheet import Row
from neurostrata.cohort.study import Study


def decision(subject: str, what: str, modality: str = "") -> Row:
    return {"subject": subject, "modality": modality, "decision": what, "reason": f"why {subject}"}


def study(cells: dict[str, dict[str, str]], *decisions: Row) -> Study:
    """Eight people; `all` needs jac and ndi, `some` one of jac, ndi and pet, `classes` has the classes a and b."""
    experiments = [
        experiment("all", "jac", "ndi"),
        experiment("some", "jac", "ndi", "pet", missing="include"),
        experiment("classes", "jac", model="siamese_attention", **LABEL),
    ]
    base = planned(people=8, experiments=experiments)
    rows = [{**row, **cells.get(subject, {})} for subject, row in base.rows.items()]
    return Study(base.config, rows, decisions)


def left_out(found: Study) -> set[tuple[str, ...]]:
    return {
        tuple(row[key] for key in ("subject", "modality", "stage", "reason"))
        for row in exclusions_table(found)
    }


NEEDS_ALL = "the model needs every modality of the experiment"
NEEDS_ONE = "the model needs at least one modality of the experiment"


def test_nobody_is_left_out_of_a_whole_study() -> None:
    assert exclusions_table(study({})) == []


def test_decisions_are_told_with_their_reasons() -> None:
    decisions = [
        decision("01", "exclude"),
        decision("02", "exclude_template"),
        decision("03", "exclude", "ndi"),
        decision("04", "keep"),
        decision("05", "unsure"),
    ]
    assert left_out(study({}, *decisions)) == {
        ("01", "all", "volumes", "why 01"),
        ("02", "all", "template", "why 02"),
        ("03", "ndi", "volumes", "why 03"),
        ("03", "ndi", "experiment all", NEEDS_ALL),
    }


def test_missing_images_are_told_by_modality_and_by_experiment() -> None:
    found = study(
        {
            "01": {"dwi": ""},
            "02": {"bval": "", "bvec": ""},
            "03": {"pet": ""},
            "04": {"dwi": "", "pet": ""},
            "05": {"t1w": ""},
            "06": {"diagnosis": "c"},
        }
    )
    of_fifth = {
        ("05", modality, "volumes", "no t1w in the cohort sheet") for modality in ("jac", "ndi", "pet")
    }
    assert left_out(found) == of_fifth | {
        ("01", "ndi", "volumes", "no dwi in the cohort sheet"),
        ("01", "ndi", "experiment all", NEEDS_ALL),
        ("02", "ndi", "volumes", "no bval, bvec in the cohort sheet"),
        ("02", "ndi", "experiment all", NEEDS_ALL),
        ("03", "pet", "volumes", "no pet in the cohort sheet"),
        ("04", "ndi", "volumes", "no dwi in the cohort sheet"),
        ("04", "pet", "volumes", "no pet in the cohort sheet"),
        ("04", "ndi", "experiment all", NEEDS_ALL),
        ("05", "jac, ndi", "experiment all", NEEDS_ALL),
        ("05", "jac, ndi, pet", "experiment some", NEEDS_ONE),
        ("05", "jac", "experiment classes", NEEDS_ALL),
        ("06", "", "experiment classes", "diagnosis is none of the experiment's classes"),
    }


def test_the_table_of_people_says_what_each_has() -> None:
    cells = {
        "01": {"dwi": "", "site": "s1", "family": "f", "session": "2"},
        "02": {"template": "no", "diagnosis": ""},
    }
    columns, rows = subjects_table(
        study(cells, decision("03", "exclude"), decision("04", "exclude_template"))
    )
    assert columns == ["subject", "site", "family", "diagnosis", "session", "template", "jac", "ndi", "pet"]
    assert [row["subject"] for row in rows] == ["01", "02", "04", "05", "06", "07", "08"]
    of = {row.pop("subject"): row for row in rows}
    facts = {"site": "s1", "family": "f", "diagnosis": "b", "session": "2"}
    assert of["01"] == facts | {"template": "yes", "jac": "yes", "ndi": "no", "pet": "yes"}
    nothing = dict.fromkeys(("site", "family", "diagnosis", "session"), "n/a")
    everything = dict.fromkeys(("jac", "ndi", "pet"), "yes")
    assert of["02"] == nothing | {"template": "no"} | everything
    assert of["04"] == nothing | {"diagnosis": "a", "template": "no"} | everything
    assert of["05"] == nothing | {"diagnosis": "b", "template": "yes"} | everything


def test_a_person_with_too_little_or_of_no_class_is_told_which_of_the_two_it_is() -> None:
    experiments = [experiment("e", "jac", "ndi", "pet", missing="include", **LABEL)]
    base = planned(people=8, experiments=experiments)
    cells = {
        "01": {"diagnosis": "c", "dwi": "", "pet": ""},  # one of three modalities would be enough
        "02": {"t1w": "", "diagnosis": "c"},
        "03": {"dwi": "", "pet": ""},
    }
    found = Study(base.config, [{**row, **cells.get(subject, {})} for subject, row in base.rows.items()])
    told = {
        row["subject"]: row["reason"] for row in exclusions_table(found) if row["stage"] == "experiment e"
    }
    assert told == {"01": "diagnosis is none of the experiment's classes", "02": NEEDS_ONE}
