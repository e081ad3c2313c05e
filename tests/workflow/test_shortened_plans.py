"""Plans are the same with and without the shortcuts through Snakemake."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_study import REPOSITORY, StudyFolder, approve
from test_planning import large_study

_PLAN = """
import sys
sys.path.insert(0, sys.argv[1])
import neurostrata.controller.shortcuts as shortcuts
if sys.argv[2] == "without":
    shortcuts.take_shortcuts = lambda workflow: None
else:
    shortcuts._MANY = 2  # the study is small
from snakemake.cli import main
main(sys.argv[3:])
"""


def _plan(study: StudyFolder, shortcuts: str, *options: str) -> str:
    run = subprocess.run(
        [
            *(sys.executable, "-c", _PLAN, str(REPOSITORY / "workflow"), shortcuts),
            *("-s", str(REPOSITORY / "Snakefile"), "-n", "--cores", "2", "--printshellcmds"),
            *("--set-resources", "jacobian:mem_mb=attempt * 123", "fit_noddi:mem_mb=max(1, input.size_mb)"),
            *("--forcerun", "fit_tensor", *options),
        ],
        cwd=study.folder,
        env=study.environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "this release of Snakemake is unknown" not in run.stderr
    return run.stdout


def _jobs(text: str) -> list[list[str]]:
    """Return the lines of each job that is listed; Snakemake numbers and lists jobs and reasons in no fixed order."""
    jobs = re.findall(r"^(?:local)?rule .*?(?=^\[|^Job stats|^(?:local)?rule |\Z)", text, re.M | re.S)
    return sorted([_line(line) for line in job.splitlines() if "jobid: " not in line] for job in jobs)


def _line(line: str) -> str:
    return " ".join(sorted(re.split(r"[\s,;]+", line))) if line.startswith("    reason: ") else line


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Three people with everything that the recommended configuration asks for."""
    study = large_study(tmp_path_factory.mktemp("shortcuts") / "study", 3)
    approve(study)  # the files are no images
    return study


@pytest.fixture(scope="module")
def listed(study: StudyFolder) -> str:
    """The plan with shortcuts, with all its jobs."""
    return _plan(study, "with")


def test_a_plan_is_the_same_without_shortcuts(study: StudyFolder, listed: str) -> None:
    """Inputs, outputs, reasons, resources and commands of all jobs."""
    short, long = _jobs(listed), _jobs(_plan(study, "without"))
    assert len(short) > 100
    assert short == long
    said = {word for job in short for line in job for word in re.split(r"[ ,]+", line)}
    assert {"mem_mb=123", "mem_mb=<TBD>", "template-update"} <= said  # fit_noddi's input is not there yet


def test_a_plan_whose_jobs_are_not_listed_says_the_rest(study: StudyFolder, listed: str) -> None:
    unlisted = _plan(study, "with", "--quiet", "rules")
    assert not _jobs(unlisted)
    for part in (r"^Job stats:\n.*?^total +\d+", r"^Reasons:.*\Z"):
        found = [re.search(part, text, re.M | re.S) for text in (listed, unlisted)]
        assert all(found)
        assert found[0][0] == found[1][0]


_TRIES = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "workflow")!r})
from neurostrata.controller.shortcuts import take_shortcuts
from neurostrata.planning.jobs import memory, minutes
if workflow.is_main_process:
    take_shortcuts(workflow)

rule all:
    input: expand("{{name}}.done", name=["one", "three"])

rule each:
    input: "{{name}}.txt"
    output: "{{name}}.done"
    resources:
        mem_mb=memory(1),
        disk_mb=memory(1, per_input=1000),
        runtime=minutes(10),
        letters=lambda wildcards: len(wildcards.name),
    shell:
        "echo {{wildcards.name}} {{resources.mem_mb}} {{resources.disk_mb}} {{resources.runtime}} {{resources.letters}} >> said;"
        " test {{resources.runtime}} -gt 10 && touch {{output}}"

rule alike:
    output: touch("{{name}}.alike")
    resources: mem_mb=memory(2)
    shell: "echo {{wildcards.name}} {{resources.mem_mb}} >> said; test {{resources.mem_mb}} -gt 2000"
"""


def test_every_attempt_asks_for_more_and_every_job_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(_TRIES)
    for name, megabytes in (("one", 1), ("three", 3)):
        with open(tmp_path / f"{name}.txt", "wb") as file:
            file.truncate(megabytes * 2**20)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--retries", "1"]
    run = subprocess.run(
        [*command, "all", "a.alike", "b.alike"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert sorted((tmp_path / "said").read_text().splitlines()) == [
        *("a 2000", "a 4000", "b 2000", "b 4000"),
        *("one 1000 2000 10 3", "one 2000 4000 20 3", "three 1000 4000 10 5", "three 2000 8000 20 5"),
    ]
