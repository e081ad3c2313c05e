"""What is gone is made again: deleted results, and those that Snakemake deleted because a job failed or was killed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from planned_study import make_planned_study
from small_study import REPOSITORY, StudyFolder

from neurostrata.controller.missing import make_missing_results_again
from neurostrata.core.errors import UserError

WORKFLOW = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "workflow")!r})
from neurostrata.controller.missing import make_missing_results_again
if workflow.is_main_process:
    make_missing_results_again(workflow)

rule all:
    input: "end.txt"

rule first:
    output: "first.txt", directory("folder")
    shell: "mkdir {{output[1]}}; touch {{output[0]}}"

rule passing:
    input: "first.txt"
    output: temp("passing.txt")
    shell: "touch {{output}}"

rule second:
    input: "passing.txt", "folder"
    output: "second.txt", "aside.txt"
    shell: "touch {{output}}"

rule end:
    input: "second.txt"
    output: "end.txt"
    shell: "touch {{output}}"
"""


def snakemake(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout + run.stderr


def planned(text: str) -> set[str]:
    return set(re.findall(r"^(?:local)?rule (\w+):$", text, re.M)) - {"all"}


def test_what_is_gone_is_planned_with_what_depends_on_it(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    new = snakemake(tmp_path)
    assert "neurostrata:" not in new  # nothing was there, so nothing is gone
    assert not (tmp_path / "passing.txt").exists()
    assert "Nothing to be done" in snakemake(tmp_path, "-n")

    (tmp_path / "aside.txt").unlink()  # that nobody reads
    text = snakemake(tmp_path, "-n")
    assert planned(text) == {"passing", "second", "end"}
    assert "neurostrata: 1 result is missing and has to be made again" in text
    assert "reason: Missing output files: aside.txt" in text
    assert "Nothing to be done" in snakemake(tmp_path, "-n", "first.txt")
    assert "neurostrata:" not in snakemake(tmp_path, "--touch")

    shutil.rmtree(tmp_path / "folder")
    assert planned(snakemake(tmp_path, "-n", "--until", "first")) == {"first"}
    assert planned(snakemake(tmp_path)) == {"first", "passing", "second", "end"}
    assert (tmp_path / "aside.txt").exists()
    assert "Nothing to be done" in snakemake(tmp_path, "-n")


def test_a_snakemake_that_cannot_be_asked_is_refused() -> None:
    class Other:
        async def init(self) -> None: ...

    with pytest.raises(UserError, match=r"its plan has no update_needrun, needrun, .* requirements\.txt"):
        make_missing_results_again(None, Other)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A finished study whose stages only make files; each test leaves it finished."""
    study = make_planned_study(tmp_path_factory.mktemp("missing") / "study")
    programs = study.folder / "bin" / "python"
    text = programs.read_text()
    assert "shift 4\n" in text
    programs.write_text(text.replace("shift 4\n", '[ "$stage" = "$FAILING" ] && kill -9 $$\nshift 4\n'))
    run = study.snakemake()
    assert run.returncode == 0, run.stderr[-4000:]
    return study


SCORED = {
    "factor_phenotypes": 1,
    "factor_congruence": 1,
    "compare_adjusted": 4,
    "compare_strata": 4,
    "continuous": 2,
    "profile_strata": 4,
    "provenance": 1,
    "repartition_strata": 4,
    "report": 1,
    "shuffle_links": 4,
    "split_half": 4,
}


def told_in_full(said: str, folder: Path) -> None:
    """What our logger shows of a run of which one job was killed."""
    lines = said.splitlines()
    assert len(lines) < 40, said
    start = lines.index("FAILED  reducing phenotypes to factors")
    assert lines[start + 1 : start + 4] == [
        "  it ended without a message",
        "  ended by SIGKILL; there was probably not enough memory",
        "  log: logs/factor_phenotypes.log",
    ]
    assert re.search(r"^neurostrata: \d+ jobs\b", said, re.M)
    assert re.search(r"^1 job failed; \d+ of \d+ jobs are done, in ", said, re.M)
    assert "Execute 1 jobs" not in said
    log = max((folder / ".snakemake" / "log").glob("*.log"))
    assert lines[-1] == f"Snakemake's log: {log.relative_to(folder)}"
    assert "Error in rule factor_phenotypes:" in log.read_text()  # kept as it is


def test_a_change_whose_job_was_killed_is_not_forgotten(study: StudyFolder) -> None:
    study.edit_sheet(lambda cells: cells[2].__setitem__(1, "0.5"), "phenotypes.tsv")
    study.environment["FAILING"] = "factor-phenotypes"
    study.environment["PYTHONPATH"] = str(REPOSITORY / "workflow")  # where the logger is found
    run = study.snakemake("--keep-going", "--logger=neurostrata")
    assert run.returncode == 1
    told_in_full(run.stderr, study.folder)
    del study.environment["PYTHONPATH"]
    assert not (study.folder / "results/phenotypes/scores.tsv").exists()
    del study.environment["FAILING"]
    assert study.planned() == SCORED
    assert study.snakemake().returncode == 0
    assert (study.folder / "results/phenotypes/scores.tsv").exists()


@pytest.mark.parametrize(
    ("gone", "jobs"),
    [
        ("report/subjects/sub-01.html", {"subject_page": 1, "report": 1}),
        ("experiments/fusion/fold-0/model", {"train": 1, "embed": 1, "evaluate": 1}),
        ("derivatives/sub-03/anat/sub-03_desc-preproc_T1w.nii.gz", {"prepare_t1w": 1, "template_start": 1}),
    ],
)
def test_a_deleted_result_is_planned(
    study: StudyFolder, tmp_path: Path, gone: str, jobs: dict[str, int]
) -> None:
    path = study.folder / "results" / gone
    shutil.move(path, tmp_path / "kept")
    try:
        found = study.planned()
    finally:
        shutil.move(tmp_path / "kept", path)
    assert jobs.items() <= found.items()
    assert found["report"] == 1
