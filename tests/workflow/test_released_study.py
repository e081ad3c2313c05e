"""A study that the release before finished: nothing is planned but what a raised stage version asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from recorded_study import STUDIES, restore


def changes_said(text: str) -> list[str]:
    """The lines in which a run says what has changed, without the stages that use it."""
    found = re.search(r"^Changed since the results were made.*\n((?: {4}.*\n)*)", text, re.M)
    return [line.rpartition("  (")[0].strip() for line in found[1].splitlines()] if found else []


@pytest.mark.parametrize("name", STUDIES)
def test_only_raised_versions_plan_anything(name: str, tmp_path: Path) -> None:
    study = restore(tmp_path / "study", name)
    run = study.snakemake("-n", "--quiet", "rules")
    assert run.returncode == 0, run.stderr
    said = run.stdout + run.stderr
    raised = [line for line in changes_said(said) if line.startswith("this release makes other results in ")]
    assert raised == changes_said(said)
    assert raised or "Nothing to be done" in said


def test_options_of_another_engine_or_model_plan_nothing_in_it(tmp_path: Path) -> None:
    study = restore(tmp_path / "study", "greedy")
    study.configure(
        registration={"engine": "greedy", "torch": {"step_vox": 0.5}},
        training={"epochs": 3, "preset": "fast"},
        anatomy={"n4": {"enabled": False, "spline_distance_mm": 50}},
    )
    assert set(study.planned()) <= {"provenance", "report"}
