"""How often the controller looks at the jobs that are ready, in Snakemake itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from small_study import REPOSITORY
from snakemake.scheduling.job_scheduler import JobScheduler

JOBS = 20
WORKFLOW = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "workflow")!r})
from neurostrata.controller.scheduling import one_timer_at_a_time

rule all:
    input: [f"{{n}}.txt" for n in range({JOBS})]

rule one:
    output: "{{n}}.txt"
    shell: "sleep 0.3; touch {{output}}"

onstart:
    one_timer_at_a_time(workflow.scheduler)
"""


def test_the_controller_does_not_look_more_often_with_every_job(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    begun = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--verbose"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - begun
    assert run.returncode == 0, run.stderr[-3000:]
    looks = (run.stdout + run.stderr).count("Ready jobs: ")
    # One when a job ends and one a second; without the limit of timers there are some seventy.
    assert JOBS <= looks <= JOBS + seconds + 2


def test_snakemake_still_sets_a_timer_at_every_look() -> None:
    """When this fails: Snakemake waits for one timer by itself, or no longer has this method; remove `one_timer_at_a_time`."""
    releases: list[int] = []
    scheduler = SimpleNamespace(_open_jobs=SimpleNamespace(release=lambda: releases.append(1)))
    for _ in range(3):
        JobScheduler._schedule_reevalutation(scheduler, 0.01)
    time.sleep(0.5)
    assert len(releases) == 3


def test_snakemake_still_retries_every_failed_job() -> None:
    """When this fails: Snakemake has a way to give up a job, or handles errors elsewhere; see `no_hopeless_attempts`."""
    ready: list[object] = []
    job = SimpleNamespace(attempt=1, restart_times=2)
    nothing = SimpleNamespace(handle_job_error=lambda job: None)
    dag = SimpleNamespace(jobid=lambda job: 1, _ready_jobs=SimpleNamespace(add=ready.append))
    scheduler = SimpleNamespace(
        get_executor=lambda job: nothing,
        running=SimpleNamespace(remove=lambda job: None),
        _free_resources=lambda job: None,
        workflow=SimpleNamespace(dag=dag, dryrun=True),
    )
    JobScheduler._handle_error(scheduler, job)
    assert job.attempt == 2
    assert ready == [job]
