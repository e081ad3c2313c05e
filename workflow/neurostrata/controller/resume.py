"""Going on with a study whose controller was killed: orphaned jobs, the lock, and the run itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from neurostrata.controller.state import controller_of, is_alive, slurm_run_ids
from neurostrata.core.errors import UserError

#: Seconds that cancelled jobs are given to end; Slurm itself kills them 30 s (KillWait) after the first signal.
PATIENCE = 180


def study_folder(arguments: Sequence[str]) -> Path:
    """Return the folder in which Snakemake would work with these arguments."""
    for position, argument in enumerate(arguments):
        if argument in ("--directory", "-d") and position + 1 < len(arguments):
            return Path(arguments[position + 1])
        if argument.startswith("--directory="):
            return Path(argument.partition("=")[2])
    return Path()


def _slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{command[0]}: {done.stderr.strip() or 'failed'}; is this a host of the cluster?")
    return done.stdout


def orphans(runs: Sequence[str]) -> list[str]:
    """Return the ids of queued or running Slurm jobs of these runs (a run's id is its jobs' name)."""
    if not runs:
        return []
    listed = _slurm("squeue", "--noheader", "--format=%i", f"--name={','.join(runs)}")
    return listed.split()


def cancel_orphans(runs: Sequence[str], patience: float = PATIENCE) -> int:
    """Cancel the jobs of these runs and wait until they are gone.

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    UserError
        When some are still there after `patience` seconds (a node that does not answer).
    """
    found = left = orphans(runs)
    if found:
        _slurm("scancel", *found)
    deadline = time.monotonic() + patience
    while left and time.monotonic() < deadline:
        time.sleep(1)
        left = orphans(runs)
    if left:
        raise UserError(
            f"{len(left)} cancelled jobs are still there ({', '.join(left[:5])}): a node does not answer. Have it "
            "set down (scontrol update nodename=... state=down reason=...), then resume again"
        )
    return len(found)


def resume(*arguments: str) -> None:
    """Go on with a study after its controller, a node or the connection died.

    ``resume [all arguments of snakemake]``, for example ``resume --profile slurm``. Cancels the Slurm
    jobs that the dead run left behind, removes its lock, and runs Snakemake with the same arguments.
    Nothing is done while that controller is still alive.
    """
    folder = study_folder(arguments)
    if not (folder / ".snakemake").is_dir():
        raise UserError(
            f"{folder.resolve()}: there is no .snakemake here: nothing to resume (see --directory)"
        )
    facts = controller_of(folder)
    if facts is not None:
        alive = is_alive(facts)
        if alive:
            raise UserError(
                f"this study is being run (process {facts['pid']} on this host); end that first: kill {facts['pid']}"
            )
        if alive is None:
            raise UserError(
                f"this study was last run by process {facts['pid']} on {facts['host']}, which cannot be looked at "
                f"from here: resume there, or, when that process is surely dead, remove "
                f"{folder / '.snakemake/neurostrata/controller.json'} and resume here"
            )
    runs = slurm_run_ids(folder)
    if runs and shutil.which("squeue"):
        number = cancel_orphans(runs)
        print(f"neurostrata resume: {number} orphaned jobs cancelled", file=sys.stderr, flush=True)
    snakemake = [sys.executable, "-m", "snakemake", *arguments]
    unlocked = subprocess.run([*snakemake, "--unlock"], capture_output=True, text=True)
    if unlocked.returncode:
        raise UserError(f"snakemake --unlock failed:\n{unlocked.stdout}{unlocked.stderr}")
    os.execv(sys.executable, snakemake)
