"""A study that the release before finished: nothing is planned but what a raised stage version asks for, nor for a default
that has changed since."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from recorded_study import STUDIES, restore

from neurostrata.core.config import overlaid, read_yaml
from neurostrata.core.locations import FORMER_DEFAULTS

#: Former defaults of options that the engine `torch` got since.
ADDED = read_yaml(FORMER_DEFAULTS)["registration"]["torch"]


def changes_said(text: str) -> list[str]:
    """The lines in which a run says what has changed, without the stages that use it."""
    found = re.search(r"^Changed since the results were made.*\n((?: {4}.*\n)*)", text, re.M)
    return [line.rpartition("  (")[0].strip() for line in found[1].splitlines()] if found else []


#: Stages that the release before had not, and the report, which shows what they make.
NEW = {
    *("measure_quality", "gather_quality", "measure_codes", "compare_quality", "strata_quality"),
    "report",
}


@pytest.mark.parametrize("name", STUDIES)
def test_only_raised_versions_plan_anything(name: str, tmp_path: Path) -> None:
    study = restore(tmp_path / "study", name)
    run = study.snakemake("-n", "--quiet", "rules")
    assert run.returncode == 0, run.stderr
    said = run.stdout + run.stderr
    # a new stage, whose results the report reads
    changed = [line for line in changes_said(said) if not line.startswith("other input files ")]
    raised = [line for line in changed if line.startswith("this release makes other results in ")]
    assert raised == changed
    assert raised or set(study.planned()) <= NEW


def test_changed_defaults_make_nothing_again_until_the_study_says_so(tmp_path: Path) -> None:
    """Its own file sets neither the engine of the registration nor the grid: a run asks before its first job."""
    study = restore(tmp_path / "study", "names", decided=False)
    dry, run = study.snakemake("-n", "--quiet", "rules"), study.snakemake()
    assert (dry.returncode, run.returncode) == (0, 2), run.stderr
    assert "steps (" not in run.stdout + run.stderr
    for said in (dry.stdout + dry.stderr, run.stderr):
        question = said.partition("what is recommended has changed")[2]
        changed, keep, again = re.findall(r"(?:\n {4}.*)+", question)
        assert (
            changed.split("  (")[0].strip() == "registration.engine: made with ants, recommended now is torch"
        )
        assert "register 8" in changed
        assert re.search(r"volumes\.shape: made with .*\(map_to_template 24, .*normalise 3", changed)
        assert "noddi" not in changed  # no modality of this study needs it
    assert yaml.safe_load(again)["registration"] == {"engine": "torch"}
    path = tmp_path / "study" / "config" / "config.yaml"
    own = path.read_text()
    path.write_text(yaml.safe_dump(overlaid(yaml.safe_load(keep), yaml.safe_load(own))))
    assert "register" not in study.planned()
    path.write_text(yaml.safe_dump(overlaid(yaml.safe_load(again), yaml.safe_load(own))))
    run = study.snakemake("-n", "--quiet", "rules")
    assert re.search(r"^register +8$", run.stdout + run.stderr, re.M)
    assert "what is recommended" not in run.stdout + run.stderr


def test_an_option_that_was_added_is_asked_for(tmp_path: Path) -> None:
    study = restore(tmp_path / "study", "torch", decided=False)
    dry = study.snakemake("-n", "--quiet", "rules")
    question = (dry.stdout + dry.stderr).partition("what is recommended has changed")[2]
    assert "registration.torch.contrast_at_half_weight: made with 0, recommended now is 0.03  (" in question
    assert "register 8" in question


def test_what_has_changed_is_said_before_it_is_done(tmp_path: Path) -> None:
    """What another engine or a model without epochs does not read plans the record of the settings alone."""
    study = restore(tmp_path / "study", "greedy")
    run = (
        study.snakemake()
    )  # first what raised versions ask for, which would be the reason of all that follows it
    assert run.returncode == 0, run.stderr
    study.configure(
        registration={"engine": "greedy", "ants": {"cc_radius": 3}, "torch": {**ADDED, "step_vox": 0.5}},
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
