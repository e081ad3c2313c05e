"""``neurostrata stage NAME``: one stage of the workflow, as its rule calls it, and all that stands around a job.

A job begins its part of the log, ends at once when the same command has failed by a mistake in its input in this run, works
in a temporary folder of its own, and records what it writes. Standard library only until the stage is loaded: the conda
environments of the rules hold what their stages need and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from neurostrata.cli.load import function_at, limit_threads
from neurostrata.cli.pages import Section, page
from neurostrata.cli.parsers import CommandParser, asks_for_help
from neurostrata.core.errors import UserError
from neurostrata.core.failures import (
    earlier_attempts,
    failed_before,
    forget_attempts,
    is_lasting,
    no_space,
    note_failure,
)
from neurostrata.core.records import recording
from neurostrata.core.scratch import own_folder
from neurostrata.core.wording import nearest
from neurostrata.stages import STAGES, command_of

#: Name on the command line -> where the function lives. Modules are imported only when their stage runs, since
#: ants, torch and nilearn each take about a second to load.
FUNCTIONS = {command_of(name): f"neurostrata.{stage.function}" for name, stage in STAGES.items()}
#: Part of the library -> what its stages are about. The first that fits counts.
_SUBJECTS = {
    "gate": "People",
    "cohort": "People",
    "imaging.anatomy": "Anatomy",
    "imaging.template": "Template and registration",
    "imaging.registration": "Template and registration",
    "imaging.diffusion": "Diffusion and function",
    "imaging.functional": "Diffusion and function",
    "imaging.volumes": "Maps on the fusion grid",
    "imaging.quality": "Quality",
    "quality": "Quality",
    "fusion": "Models",
    "prediction": "Prediction",
    "phenotypes": "Phenotypes and codes",
    "adjustment": "Phenotypes and codes",
    "strata.comparison": "What the strata are worth",
    "strata": "Strata",
    "report": "Report",
}


def subject_of(function: str) -> str:
    """Return what a stage is about, by where its function lives (``imaging.anatomy.commands:jacobian``)."""
    return next(title for part, title in _SUBJECTS.items() if function.startswith(f"{part}."))


def overview() -> str:
    """Return the help page of ``neurostrata stage``: every stage, by what it is about."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, stage in STAGES.items():
        groups.setdefault(subject_of(stage.function), []).append((command_of(name), stage.words))
    about = (
        "One stage of the workflow, as its rule calls it. A run calls the stages itself; by hand they are for looking closely "
        "at one of them. The commands of a run, with all their options: neurostrata run STUDY -n -p"
    )
    return page(
        [
            Section("Usage", lines=["neurostrata stage NAME [options]", "neurostrata stage NAME --help"]),
            Section(paragraphs=[about]),
            *(Section(title, rows) for title, rows in groups.items()),
        ]
    )


def load_stage(name: str) -> Callable[..., Any]:
    """Return the function of a stage, by its name on the command line; this is what imports its module."""
    return function_at(FUNCTIONS[name])


def stage_parser(name: str, function: Callable[..., Any]) -> CommandParser:
    """Return the parser of a stage's options."""
    return CommandParser(f"neurostrata stage {name}", function, empty=True)


def _log(text: str) -> None:
    """Write to standard error, or drop what cannot be written: left for later, it would change the exit status (to 120)."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _complain(text: str) -> None:
    """Write a message to the user's terminal, past the log of a job, and to standard error, as far as these can be written.

    The terminal comes first: the log may be on a full disk.
    """
    console = os.environ.get("NEUROSTRATA_CONSOLE")
    if console:
        with contextlib.suppress(OSError, ValueError):
            os.write(int(console), f"{text}\n".encode())
    _log(text)


_ATTEMPT = "---- neurostrata"


def _begin_log(stage: str) -> None:
    """Begin this attempt's part of a job's log, after what earlier attempts logged: which attempt, where and when."""
    if not os.environ.get("NEUROSTRATA_CONSOLE"):
        return  # not a job of the workflow
    with contextlib.suppress(OSError, ValueError):
        if not stat.S_ISREG(os.fstat(2).st_mode):
            return
        earlier = earlier_attempts()
        number = 1 + sum(line.startswith(f"{_ATTEMPT} {stage}: ") for line in earlier.splitlines())
        place = socket.gethostname()
        if job := os.environ.get("SLURM_JOB_ID"):
            place += f", Slurm job {job}"
        when = time.strftime("%Y-%m-%d %H:%M:%S %z")
        line = f"{_ATTEMPT} {stage}: attempt {number}, {when}, {place}"
        _log(f"{earlier}{line}")


def _report(stage: str, arguments: Sequence[str], error: Exception) -> None:
    """Report why a stage failed, and note it when another attempt would fail for the same reason."""
    if is_lasting(error):
        message = f"neurostrata {stage}: {error}"
        note_failure(arguments, message)
        _complain(message)
        return
    full = no_space(error)
    if full is not None:
        where = f" ({full.filename})" if full.filename else ""
        _complain(
            f"neurostrata {stage}: {full.strerror}{where}: make room (results, .snakemake or the temporary folder "
            "TMPDIR), then run again"
        )
    elif isinstance(error, UserError):
        _complain(f"neurostrata {stage}: {error}")
    else:
        kind = "" if isinstance(error, (MemoryError, OSError)) else "unexpected "
        _complain(f"neurostrata {stage}: {kind}{type(error).__name__}: {error} (details in the job's log)")


def run_stage(arguments: Sequence[str]) -> int:
    """Run a stage: its name and its options.

    Returns
    -------
    int
        0 on success, 2 after a :class:`UserError` (its one line goes to standard error).
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    stage = arguments[0]
    if stage in FUNCTIONS and asks_for_help(arguments):
        print(stage_parser(stage, load_stage(stage)).format_help())
        return 0
    if stage not in FUNCTIONS:
        hint = nearest(stage, FUNCTIONS) or "; they are listed by: neurostrata stage --help"
        _complain(f"neurostrata stage: {stage}: no such stage{hint}")
        return 2
    _begin_log(stage)
    earlier = failed_before(arguments)
    if earlier:
        _complain(f"{earlier}\nneurostrata {stage}: not retried: not a time or memory failure")
        return 2
    limit_threads(arguments)
    try:
        with own_folder(), recording(stage):
            function = load_stage(stage)
            function(**stage_parser(stage, function).read(arguments[1:]))
    except UserError as error:
        _report(stage, arguments, error)
        return 2
    except Exception as error:
        _report(stage, arguments, error)
        raise
    forget_attempts()
    return 0
