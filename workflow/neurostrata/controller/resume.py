"""Resuming a study whose controller was killed: its orphaned jobs, its lock, and the run itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from neurostrata.controller.entry import INSIDE, settle, sign_in
from neurostrata.controller.orphans import cancel_slurm_jobs, end_local_jobs
from neurostrata.controller.state import slurm_run_ids
from neurostrata.core.errors import UserError


def study_folder(arguments: Sequence[str]) -> Path:
    """Return the folder in which Snakemake would work with these arguments."""
    for position, argument in enumerate(arguments):
        if argument in ("--directory", "-d") and position + 1 < len(arguments):
            return Path(arguments[position + 1])
        if argument.startswith("--directory="):
            return Path(argument.partition("=")[2])
    return Path()


def resume(*arguments: str) -> None:
    """Resume a study after its controller, a node or the connection died.

    ``resume [all arguments of snakemake]``, for example ``resume --profile slurm``. Ends the processes that the dead run
    left on this host, cancels its Slurm jobs, removes its lock, and runs Snakemake with the same arguments. Does
    nothing while that controller is alive, or while another ``resume`` is running.
    """
    folder = study_folder(arguments)
    if not (folder / ".snakemake").is_dir():
        raise UserError(
            f"{folder.resolve()}: there is no .snakemake here: nothing to resume (see --directory)"
        )
    mark = uuid.uuid4().hex
    dead = sign_in(folder, mark, resuming=True)
    if number := end_local_jobs(dead):
        print(f"neurostrata resume: {number} orphaned processes ended", file=sys.stderr, flush=True)
    runs = slurm_run_ids(folder)
    if runs and shutil.which("squeue"):
        number = cancel_slurm_jobs(runs)
        print(f"neurostrata resume: {number} orphaned jobs cancelled", file=sys.stderr, flush=True)
    settle(folder)
    snakemake = [sys.executable, "-m", "snakemake", *arguments]
    environment = {**os.environ, INSIDE: mark}
    unlocked = subprocess.run([*snakemake, "--unlock"], capture_output=True, text=True, env=environment)
    if unlocked.returncode:
        raise UserError(f"snakemake --unlock failed:\n{unlocked.stdout}{unlocked.stderr}")
    os.execv(sys.executable, snakemake)  # the same process: it stays signed in
