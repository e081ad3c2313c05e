"""Resuming a study whose controller was killed: its orphaned jobs, its lock, and the run itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

from neurostrata.controller.entry import INSIDE, refuse_beside, settle, sign_in
from neurostrata.controller.orphans import cancel_slurm_jobs, end_local_jobs
from neurostrata.controller.run import SNAKEFILE, call_of, named_folder, start
from neurostrata.controller.state import slurm_run_ids
from neurostrata.core.errors import UserError
from neurostrata.core.locations import LIBRARY


def resume(*arguments: str) -> None:
    """Go on with a study after the computer, a node or the connection died, or after ``kill -9``.

    Takes what the run was given: STUDY (the current folder where none is named) and all options of Snakemake. Ends the
    processes that the dead run left on this host, cancels its Slurm jobs, removes its lock, and runs Snakemake with the same
    arguments; jobs whose results are complete are not done again. Does nothing while that run is alive, or
    while another ``resume`` is at work. A run that ended by itself, or by Ctrl-C, needs no ``resume``: run it again.
    """
    refuse_beside(named_folder(arguments))  # at once

    from snakemake.api import resolve_snakefile

    # A workflow that uses this one as a module is called from its own folder.
    own = resolve_snakefile(None, allow_missing=True)
    theirs = own is not None and Path(own).resolve() != SNAKEFILE
    call = call_of(arguments, None) if theirs else call_of(arguments)
    folder = call.folder
    if not (folder / ".snakemake").is_dir():
        raise UserError(f"{folder.resolve()}: no run has been here, so there is nothing to resume")
    mark = uuid.uuid4().hex
    dead = sign_in(folder, mark, resuming=True)
    if number := end_local_jobs(dead):
        print(f"neurostrata resume: {number} orphaned processes ended", file=sys.stderr, flush=True)
    runs = slurm_run_ids(folder)
    if runs and shutil.which("squeue"):
        number = cancel_slurm_jobs(runs)
        print(f"neurostrata resume: {number} orphaned jobs cancelled", file=sys.stderr, flush=True)
    settle(folder)
    # The library on the path also where this command was called by its path: our logger is found there.
    path = os.pathsep.join([str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, INSIDE: mark, "PYTHONPATH": path}
    unlock = [sys.executable, "-m", "snakemake", "--unlock", *call.added, *call.given]
    unlocked = subprocess.run(unlock, capture_output=True, text=True, env=environment)
    if unlocked.returncode:
        raise UserError(f"snakemake --unlock failed:\n{unlocked.stdout}{unlocked.stderr}")
    start(call)  # the same process: it stays signed in
