"""Jobs that a dead controller left behind: processes of this host, and jobs of Slurm. Standard library only.

Every job that a controller starts itself carries the run's mark in its environment (:data:`MARK`, 32 random hexadecimal
digits). Only this mark identifies a process as a job of that run, and signals go to a handle of the very process that was
checked, so that nothing else is ever ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurostrata.controller.state import born, slurm_run_ids
from neurostrata.core.errors import UserError

#: The environment variable of jobs that says which run started them.
MARK = "NEUROSTRATA_RUN"
#: Seconds that cancelled Slurm jobs have to end; Slurm itself kills them 30 s (KillWait) after the first signal.
PATIENCE = 180
#: Seconds that processes have to clean up, and to disappear once they are killed.
GRACE = 15


@dataclass(frozen=True)
class Job:
    """A process of a run: its id, its start time, and its stage."""

    pid: int
    born: int
    stage: str

    def __str__(self) -> str:
        return f"{self.stage} (process {self.pid})"


def _stage(command: Sequence[bytes]) -> str:
    words = [os.fsdecode(word) for word in command if word]
    for before, word, stage in zip(words, words[1:], words[2:]):
        if (before, word) == ("neurostrata", "stage"):
            return stage
    found = re.search(r"-m neurostrata stage (\S+)", words[-1]) if words else None
    return found.group(1) if found else Path(words[0]).name if words else "a job"


def _is_marked(folder: Path, command: Sequence[bytes], marks: Sequence[bytes]) -> bool:
    if any(variable in marks for variable in (folder / "environ").read_bytes().split(b"\0")):
        return True
    # The shell of a job sets the mark for the programs it starts, not in its own environment.
    shell = len(command) > 2 and Path(os.fsdecode(command[0])).name in ("bash", "sh") and command[1] == b"-c"
    return shell and any(b"; export " in command[2] and mark in command[2] for mark in marks)


def _job(pid: int, marks: Sequence[bytes]) -> Job | None:
    folder = Path("/proc") / str(pid)
    try:
        began = born(pid)
        command = (folder / "cmdline").read_bytes().split(b"\0")
        if began is None or not _is_marked(folder, command, marks):
            return None
    except OSError:
        return None  # it has ended, or is another user's
    return Job(pid, began, _stage(command))


def _marks(runs: Sequence[str]) -> list[bytes]:
    return [f"{MARK}={run}".encode() for run in runs if re.fullmatch("[0-9a-f]{32}", run)]


def local_jobs(runs: Sequence[str]) -> list[Job]:
    """Return the processes of these runs (by their marks) on this host."""
    marks = _marks(runs)
    if not marks:
        return []
    numbers = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    found = (_job(number, marks) for number in sorted(numbers) if number != os.getpid())
    return [job for job in found if job]


@contextlib.contextmanager
def _handle(job: Job, marks: Sequence[bytes]) -> Iterator[int | None]:
    """Yield a handle of this very process, or None when it is gone or no longer one of our jobs."""
    try:
        handle = os.pidfd_open(job.pid)  # Linux; a process id alone may belong to another process by now
    except OSError:
        yield None
        return
    try:
        now = _job(job.pid, marks)
        yield handle if now is not None and now.born == job.born else None
    finally:
        os.close(handle)


def end_local_jobs(runs: Sequence[str], grace: float = GRACE) -> int:
    """End the processes of these runs: by SIGTERM first, and by SIGKILL after `grace` seconds.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    UserError
        When some are still there `grace` seconds after that (waiting for a disk that does not answer).
    """
    marks, ended = _marks(runs), set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        for job in local_jobs(runs):
            ended.add(job)
            with _handle(job, marks) as handle, contextlib.suppress(ProcessLookupError):
                if handle is not None:
                    signal.pidfd_send_signal(handle, number)
                    # A stopped process handles the signal once it continues.
                    signal.pidfd_send_signal(handle, signal.SIGCONT)
        deadline = time.monotonic() + grace
        while (left := local_jobs(runs)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if not left:
            return len(ended)
    names = ", ".join(map(str, left[:5]))
    raise UserError(
        f"{len(left)} processes of the previous run do not end: {names}. Try again when they have ended"
    )


def _slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if said := _complaint(done):
        raise UserError(
            f"{command[0]} cannot say which jobs are left: {said}; is this a host of the cluster?"
        )
    return done.stdout


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return why a command failed, in its last words; "" when it did not."""
    return (done.stderr.strip().splitlines() or ["failed"])[-1] if done.returncode else ""


def slurm_is_silent() -> str:
    """Return why Slurm takes no jobs from this host, in its own words; "" when it answers."""
    try:
        done = subprocess.run(["sinfo", "--noheader", "--format=%P"], capture_output=True, text=True)
    except OSError:
        return "there is no sinfo on the PATH"
    return _complaint(done)


def slurm_jobs(runs: Sequence[str]) -> list[str]:
    """Return the ids of queued or running Slurm jobs of these runs (a run's id is its jobs' name)."""
    if not runs:
        return []
    return _slurm("squeue", "--noheader", "--format=%i", f"--name={','.join(runs)}").split()


def cancel_slurm_jobs(runs: Sequence[str], patience: float = PATIENCE) -> int:
    """Cancel the Slurm jobs of these runs and wait until they are gone.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    UserError
        When some are still there after `patience` seconds (a node that does not answer).
    """
    found = left = slurm_jobs(runs)
    if found:
        _slurm("scancel", *found)
    deadline = time.monotonic() + patience
    while left and time.monotonic() < deadline:
        time.sleep(1)
        left = slurm_jobs(runs)
    if left:
        raise UserError(
            f"{len(left)} cancelled jobs are still there ({', '.join(left[:5])}): a node does not answer. Have it "
            "set down (scontrol update nodename=... state=down reason=...), then resume again"
        )
    return len(found)


def left_behind(folder: Path, runs: Sequence[str]) -> list[str]:
    """Describe the jobs that are still running of a study whose controller has died.

    Parameters
    ----------
    folder
        The study's.
    runs
        The marks of its runs.
    """
    if found := local_jobs(runs):
        return [str(job) for job in found]
    if not shutil.which("squeue"):
        return []
    return [f"Slurm job {number}" for number in slurm_jobs(slurm_run_ids(folder))]
