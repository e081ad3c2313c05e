"""Jobs on other machines parse the workflow again: they go by the study that the run was planned for."""

from __future__ import annotations

import re

from small_study import StudyFolder


def job(study: StudyFolder, rule: str, person: str) -> str:
    """What the process of a job of the run would do, which Snakemake's executors start in this mode."""
    target = f"{rule}:subject={person}" if person else f"{rule}:"
    run = study.snakemake(
        *("--mode", "remote", "--nolock", "--force", "-n", "-p"),
        *("--allowed-rules", rule, "--target-jobs", target),
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (command,) = re.findall(
        rf"python -m neurostrata stage {rule.replace('_', '-')} .*", run.stdout + run.stderr
    )
    return command


def test_jobs_go_by_what_was_planned(study: StudyFolder) -> None:
    study.configure(anatomy={"n4": {"enabled": False}})
    assert study.snakemake("check_cohort").returncode == 0
    before = job(study, "prepare_t1w", "03")
    assert '"enabled": false' in before
    assert "images/sub-03_T1w.nii.gz" in before

    study.configure(anatomy={"n4": {"enabled": True}})
    study.edit_sheet(lambda cells: cells[3].__setitem__(1, "images/other.nii.gz"))
    (study.folder / "images" / "sub-03_T1w.nii.gz").rename(study.folder / "images" / "other.nii.gz")
    (study.folder / "images" / "sub-03_T1w.nii.gz").symlink_to("other.nii.gz")
    assert job(study, "prepare_t1w", "03") == before

    # the next run is planned for what is written now
    plan = study.snakemake("-n", "-p")
    said = plan.stdout + plan.stderr
    assert "images/other.nii.gz" in said
    assert '"enabled": true' in said
