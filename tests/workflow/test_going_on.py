"""One controller at a time, and going on after one was killed or refused, on this machine without a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_study import REPOSITORY, StudyFolder, make_study

from neurostrata.controller.orphans import Job, local_jobs
from neurostrata.controller.state import CONTROLLER, FAILURES

TARGET = ("--until", "prepare_t1w")


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    return make_study(tmp_path / "study", people=4, iterations=1)


@pytest.fixture
def controller(study: StudyFolder) -> Iterator[subprocess.Popen[bytes]]:
    """A run of the study in the background; killed in the end with what it started."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(REPOSITORY / "Snakefile"),
        "--cores",
        "2",
        *TARGET,
    ]
    with open(study.folder / "controller.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=study.folder, env=study.environment, stdout=log, stderr=log, start_new_session=True
        )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.01)


def resume(study: StudyFolder) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "workflow" / "neurostrata"), "resume", *TARGET]
    return subprocess.run(
        [*command, "-s", str(REPOSITORY / "Snakefile"), "--cores", "2"],
        cwd=study.folder,
        env=study.environment,
        capture_output=True,
        text=True,
    )


def prepared(study: StudyFolder) -> list[Path]:
    return list(study.folder.glob("results/derivatives/*/anat/*_desc-preproc_T1w.nii.gz"))


def test_a_run_that_is_still_checking_is_not_taken_for_a_dead_one(
    study: StudyFolder, controller: subprocess.Popen[bytes]
) -> None:
    signs = (CONTROLLER, Path(".snakemake/locks/0.input.lock"), Path(".snakemake/locks/0.output.lock"))
    wait_for(lambda: any((study.folder / sign).exists() for sign in signs), "the controller")
    os.kill(controller.pid, signal.SIGSTOP)  # before its check is over, however long that takes
    for refused in (resume(study), study.snakemake(*TARGET), study.snakemake("--unlock")):
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert f"is being run (process {controller.pid} on this host)" in refused.stderr
    assert study.snakemake("-n", *TARGET).returncode == 0  # looking is free
    assert not prepared(study)
    os.kill(controller.pid, signal.SIGCONT)
    assert controller.wait(120) == 0, (study.folder / "controller.log").read_text()[-3000:]
    assert len(prepared(study)) == 4
    assert not (study.folder / CONTROLLER).exists()


def test_jobs_of_a_killed_run_are_ended_before_it_goes_on(
    study: StudyFolder, controller: subprocess.Popen[bytes]
) -> None:
    found: list[Job] = []

    def a_job() -> bool:
        if (study.folder / CONTROLLER).exists():
            mark = json.loads((study.folder / CONTROLLER).read_text())["mark"]
            found[:] = [job for job in local_jobs([mark]) if job.stage == "prepare-t1w"]
        return bool(found)

    wait_for(a_job, "a job")
    os.kill(controller.pid, signal.SIGSTOP)
    for job in found:
        os.kill(job.pid, signal.SIGSTOP)  # a long training
    os.kill(controller.pid, signal.SIGKILL)
    controller.wait()
    refused = study.snakemake(*TARGET)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert f"prepare-t1w (process {found[0].pid})" in refused.stderr
    assert "neurostrata resume" in refused.stderr
    resumed = resume(study)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "orphaned processes ended" in resumed.stderr
    assert len(prepared(study)) == 4
    for job in found:
        assert (
            not Path(f"/proc/{job.pid}/environ").exists() or not Path(f"/proc/{job.pid}/environ").read_bytes()
        )
    assert not (study.folder / CONTROLLER).exists()


def test_a_mended_file_is_looked_at_again(study: StudyFolder) -> None:
    image = study.folder / "images" / "sub-03_T1w.nii.gz"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    broken = study.snakemake(*TARGET)
    assert broken.returncode == 2
    assert image.name in broken.stderr
    assert not (study.folder / CONTROLLER).exists()
    assert not list((study.folder / FAILURES).glob("*"))
    image.write_bytes(whole)
    mended = study.snakemake(*TARGET)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert len(prepared(study)) == 4
