"""How often the controller looks at the jobs that are ready, in Snakemake itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from small_study import REPOSITORY

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
