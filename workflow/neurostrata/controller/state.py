"""Which controller runs a study, and the files in which it says so. Standard library only."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

#: In a study's folder: who is running it.
CONTROLLER = Path(".snakemake") / "neurostrata" / "controller.json"
#: In a study's folder: notes about jobs that failed in this run (:mod:`neurostrata.core.failures`).
FAILURES = Path(".snakemake") / "neurostrata" / "failures"


def born(pid: int) -> int | None:
    """Return when a process of this host began, in clock ticks since the host started; None when it is gone.

    Process ids are reused; id and start time together identify one process. Without /proc (not Linux) the start time is
    not known: 0 for a process that exists.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            pass  # another user's, but it exists
        return 0
    fields = status.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def _start_of_host() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _process_ids() -> str:
    """Return the namespace of the process ids that this process sees: a container has its own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def own_facts() -> dict[str, object]:
    """Return what identifies this process, for :func:`is_alive`."""
    return {
        "host": socket.gethostname(),
        "boot": _start_of_host(),
        "process_ids": _process_ids(),
        "pid": os.getpid(),
        "born": born(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
    }


def controller_of(folder: Path) -> dict[str, object] | None:
    """Return who last ran the study: ``host``, ``pid``, ``started``; None when nobody did."""
    try:
        facts = json.loads((folder / CONTROLLER).read_text())
        return facts if {"host", "pid"} <= set(facts) else None
    except (OSError, ValueError, TypeError):
        return None


def _job_is_alive(job: str) -> bool | None:
    """Tell whether the Slurm job in which a controller runs still exists; the controller ends with it."""
    if not job or not shutil.which("squeue"):
        return None
    if job == os.environ.get("SLURM_JOB_ID"):
        return False  # this very job, queued again after its node was lost
    asked = subprocess.run(["squeue", "--noheader", f"--jobs={job}"], capture_output=True, text=True)
    if asked.returncode:
        return False if "Invalid job id" in asked.stderr else None
    return bool(asked.stdout.strip())


def is_alive(facts: dict[str, object]) -> bool | None:
    """Tell whether a controller still runs; None when this process cannot find out."""
    if facts["host"] != socket.gethostname():
        return _job_is_alive(str(facts.get("slurm_job", "")))
    if "born" not in facts:  # written by an older version
        try:
            return b"snakemake" in Path(f"/proc/{facts['pid']}/cmdline").read_bytes()
        except OSError:
            return False
    if facts["boot"] != _start_of_host():
        return False  # the host was restarted
    if facts["process_ids"] != _process_ids():
        return None
    return born(int(str(facts["pid"]))) == facts["born"]


def is_mine(facts: dict[str, object] | None) -> bool:
    """Tell whether this very process is the controller described."""
    return facts is not None and facts.items() >= own_facts().items()


def logs(folder: Path) -> list[Path]:
    """Return Snakemake's logs of a study, oldest first."""
    return sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"), key=lambda p: p.stat().st_mtime)


def slurm_run_ids(folder: Path) -> list[str]:
    """Return the run ids, which are the names of the Slurm jobs, of all runs in a study's logs."""
    found: list[str] = []
    for log in logs(folder):
        text = log.read_text(encoding="utf-8", errors="replace")
        found += re.findall(r"SLURM run ID: (\S+)", text)
    return list(dict.fromkeys(found))
