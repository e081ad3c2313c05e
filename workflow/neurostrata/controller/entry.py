"""One controller at a time: it signs in before anything is checked or planned, and out at the end. Standard library only."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurostrata.controller.orphans import left_behind, local_jobs
from neurostrata.controller.state import CONTROLLER, FAILURES, controller_of, is_alive, is_mine, own_facts
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.core.locations import program

#: Environment variable with the mark of the controller, for what it starts on the study before the run itself.
INSIDE = "NEUROSTRATA_CONTROLLER"
#: Options of Snakemake (as its parser calls them) with which nothing is planned, so that a study with problems can still be
#: listed and reported.
_ASIDE = (
    "lint", "list_rules", "list_target_rules", "report", "cleanup_metadata", "conda_cleanup_envs",
    "conda_create_envs_only", "list_conda_envs",
)  # fmt: skip
#: Options with which it plans but runs no job.
_LOOKING = (
    "dryrun", "containerize", "generate_unit_tests", "dag", "rulegraph", "filegraph", "d3dag", "cleanup_shadow",
    "container_cleanup_images", "list_changes", "list_input_changes", "list_params_changes", "list_untracked", "summary",
    "detailed_summary", "archive", "print_compilation",
)  # fmt: skip


def asked_of_snakemake() -> str:
    """Return what Snakemake was asked for.

    While a Snakefile is read, Snakemake (9.27) has not yet told its workflow whether it will run anything. Its command
    line has been parsed by then, profiles included; the result is looked up where the command keeps it.

    Returns
    -------
    str
        ``run``; ``look``: it plans but runs no job; ``aside``: it does not even plan; ``unlock``; or "" when it was not
        called as a command.
    """
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_name == "args_to_api" and "args" in frame.f_locals:
            asked = frame.f_locals["args"]
            if getattr(asked, "unlock", False):
                return "unlock"
            given = {name for name in (*_ASIDE, *_LOOKING) if getattr(asked, name, None)}
            if getattr(asked, "report_after_run", False):
                given.discard("report")
            return "aside" if given.intersection(_ASIDE) else "look" if given else "run"
    return ""


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let only one process at a time look for others and sign in."""
    path = folder / CONTROLLER.with_name("lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(folder: Path, facts: dict[str, Any]) -> None:
    with atomic_path(folder / CONTROLLER) as temporary:
        temporary.write_text(json.dumps(facts))


def _marks_of(facts: dict[str, object] | None) -> list[str]:
    if facts is None:
        return []
    before = facts.get("before")
    return [
        str(mark) for mark in [facts.get("mark", ""), *(before if isinstance(before, list) else [])] if mark
    ]


def refuse_beside(folder: Path) -> None:
    """Raise a :class:`UserError` when another process runs the study, or may be running it on another host."""
    facts = controller_of(folder)
    if facts is None or is_mine(facts) or facts.get("mark", "") == os.environ.get(INSIDE):
        return
    alive = is_alive(facts)
    if alive:
        here = facts["host"] == own_facts()["host"]
        raise UserError(
            f"this study is being run (process {facts['pid']} on {'this host' if here else facts['host']}); end that "
            f"first: {'kill' if here else 'scancel'} {facts['pid' if here else 'slurm_job']}"
        )
    if alive is None:
        raise UserError(
            f"this study was last run by process {facts['pid']} on {facts['host']}, which cannot be checked "
            f"from here: continue there, or, if that process is certainly dead, remove {folder / CONTROLLER} and continue here"
        )


def sign_in(folder: Path, mark: str, *, resuming: bool = False) -> list[str]:
    """Record that this process runs the study, and forget the failures of the previous run.

    Parameters
    ----------
    folder
        The study's.
    mark
        What this run's jobs carry in their environment (:data:`neurostrata.controller.orphans.MARK`).
    resuming
        Continue although jobs of the previous run are still running; the caller ends them.

    Returns
    -------
    list of str
        The marks of runs whose controller has died.

    Raises
    ------
    UserError
        When the study is being run, or when jobs of a dead controller are still running.
    """
    folder = folder.resolve()
    with _alone(folder):
        refuse_beside(folder)
        facts = controller_of(folder)
        again = is_mine(facts)
        dead = [] if again else _marks_of(facts)  # what this process signed in with earlier is not a dead run
        if facts is not None and not resuming and not again and (left := left_behind(folder, dead)):
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            raise UserError(
                f"jobs of a run whose controller has died are still running: {', '.join(left[:5])}{more}. "
                f"`{program()} resume`, with the arguments of that run, ends them and continues"
            )
        before = dead if resuming else []
        _write(folder, {**own_facts(), "started": time.time(), "mark": mark, "before": before})
    for note in (folder / FAILURES).glob("*"):
        note.unlink(missing_ok=True)
    atexit.register(sign_out, folder)
    return dead


def settle(folder: Path) -> None:
    """Record that no job of earlier runs is left."""
    facts = controller_of(folder)
    if facts is not None and is_mine(facts):
        _write(folder, {**facts, "before": []})


def sign_out(folder: Path) -> None:
    """Record that this process no longer runs the study, unless some of its jobs are still running."""
    facts = controller_of(folder)
    if is_mine(facts) and not local_jobs(_marks_of(facts)):
        with contextlib.suppress(OSError):  # at the very end: the next process sees that this one is gone
            (folder / CONTROLLER).unlink()
