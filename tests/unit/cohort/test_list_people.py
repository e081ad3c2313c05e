"""The lists of people are those that a run was planned with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planned import LABEL, experiment, planned

from neurostrata.cohort.commands import list_people
from neurostrata.cohort.groups import group_rows, named_group
from neurostrata.cohort.sheet import read_rows, write_rows
from neurostrata.cohort.study import Study, load_study
from neurostrata.planning.parameters import stage_settings

GROUPS = (
    "template",
    "people",
    "families",
    "registered",
    "characteristics",
    "modality-ndi",
    "modality-rsn1",
    *tuple(
        f"{kind}-{name}"
        for kind in ("experiment", "targets", "covariates")
        for name in ("codes", "classes", "linear")
    ),
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of which the sheets exist; somebody is left out, and somebody lacks a modality."""
    monkeypatch.chdir(tmp_path)
    analyses = {"prediction": ["diagnosis"], "covariates": ["age"], "strata": False}
    experiments = [
        experiment("codes", "jac", "ndi", model="shared_vae"),
        experiment("classes", "jac", "ndi", model="siamese_attention", **LABEL),
        experiment("linear", "rsn1", "fa", missing="include", analyses=analyses),
    ]
    of = planned(
        experiments=experiments, qc="qc.tsv", strata={"adjust": {"columns": ["age"], "sites": "scanner"}}
    )
    rows = [{**row, "age": f"{20 + n}", "scanner": "ab"[n % 2]} for n, row in enumerate(of.rows.values())]
    rows[2]["dwi"] = rows[3]["bold"] = ""
    write_rows("cohort.tsv", list(rows[0]), rows)
    write_rows(
        "qc.tsv",
        ["subject", "modality", "decision", "reason"],
        [{"subject": "05", "modality": "ndi", "decision": "exclude", "reason": "motion"}],
    )
    sheets = {key: of.config[key] for key in ("output", "cohort", "qc")}
    monkeypatch.setenv("NEUROSTRATA_SHEETS", json.dumps(sheets))
    return load_study(of.config)


@pytest.mark.parametrize("group", GROUPS)
def test_the_list_is_what_was_planned(study: Study, group: str) -> None:
    settings = json.loads(stage_settings(study, "list_people", group=group))
    list_people(settings=settings, group=group, output=Path("list.tsv"))
    assert read_rows("list.tsv") == (named_group(study, group)[0], group_rows(study, group))


@pytest.mark.parametrize("sheet", ["cohort.tsv", "qc.tsv"])
def test_sheets_edited_after_planning_are_not_recorded_as_those_of_the_plan(study: Study, sheet: str) -> None:
    settings = json.loads(stage_settings(study, "list_people", group="modality-ndi"))
    path = Path(sheet)
    path.write_text(path.read_text().replace("\n05\t", "\n04\t" if sheet == "qc.tsv" else "\n55\t"))
    with pytest.raises(
        Exception, match=r"^cohort.tsv or qc.tsv has changed since .* group modality-ndi; run again when"
    ):
        list_people(settings=settings, group="modality-ndi", output=Path("list.tsv"))
    assert not Path("list.tsv").exists()
