"""Which controller works on a study, and what it has written about it. Standard library only."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from pathlib import Path

from neurostrata.core.files import atomic_path

#: In a study's folder: who is running it.
CONTROLLER = Path(".snakemake") / "neurostrata" / "controller.json"
#: In a study's folder: notes about jobs that failed in this run (:mod:`neurostrata.core.failures`).
FAILURES = Path(".snakemake") / "neurostrata" / "failures"


def sign_in(folder: Path) -> None:
    """Write down that this process runs the study, and forget the failures of the run before."""
    for note in (folder / FAILURES).glob("*"):
        note.unlink(missing_ok=True)
    facts = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
    with atomic_path(folder / CONTROLLER) as temporary:
        temporary.write_text(json.dumps(facts))


def sign_out(folder: Path) -> None:
    """Write down that nobody runs the study any more."""
    (folder / CONTROLLER).unlink(missing_ok=True)


def controller_of(folder: Path) -> dict[str, object] | None:
    """Return who was last seen running the study: ``host``, ``pid``, ``started``; None when nobody was."""
    try:
        facts = json.loads((folder / CONTROLLER).read_text())
        return facts if {"host", "pid"} <= set(facts) else None
    except (OSError, ValueError, TypeError):
        return None


def is_alive(facts: dict[str, object]) -> bool | None:
    """Tell whether a controller still runs; None when it is on another host."""
    if facts["host"] != socket.gethostname():
        return None
    try:
        command = Path(f"/proc/{facts['pid']}/cmdline").read_bytes()
    except OSError:
        return False
    return b"snakemake" in command


def logs(folder: Path) -> list[Path]:
    """Return Snakemake's logs of a study, oldest first."""
    return sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"), key=lambda p: p.stat().st_mtime)


def slurm_run_ids(folder: Path) -> list[str]:
    """Return the run ids, which are the names of the Slurm jobs, of all runs that a study's logs tell of."""
    found: list[str] = []
    for log in logs(folder):
        text = log.read_text(encoding="utf-8", errors="replace")
        found += re.findall(r"SLURM run ID: (\S+)", text)
    return list(dict.fromkeys(found))
