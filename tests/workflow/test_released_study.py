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


def test_what_has_changed_is_said_before_it_is_done(tmp_path: Path) -> None:
    """What another engine or a model without epochs does not read plans the record of the settings alone."""
    study = restore(tmp_path / "study", "greedy")
    run = (
        study.snakemake()
    )  # first what raised versions ask for, which would be the reason of all that follows it
    assert run.returncode == 0, run.stderr
    study.configure(
        registration={"engine": "greedy", "ants": {"cc_radius": 3}, "torch": {"step_vox": 0.5}},
        training={"epochs": 3, "preset": "fast"},
        anatomy={"n4": {"enabled": False, "shrink_factor": 2, "spline_distance_mm": 50}},
    )
    for arguments in (("-n",), ()):
        run = study.snakemake(*arguments)
        assert run.returncode == 0, run.stderr
        said = run.stdout + run.stderr
        lines = [line for line in changes_said(said) if not line.startswith("this release")]
        assert sorted(lines) == [
            "anatomy.n4.spline_distance_mm: 200 -> 50",
            "registration.torch.step_vox: 1.0 -> 0.5",
            "training.epochs: null -> 3",
            'training.preset: "paper" -> "fast"',
        ]
        assert set(re.findall(r"^(?:local)?rule (\w+):", said, re.M)) <= {"provenance", "report", "all"}
