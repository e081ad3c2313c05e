"""The command line: one subcommand per stage, with options that are read off the signature of its function.

A command is a plain function with typed, keyword-only parameters. ``Path`` gives ``--name FILE``,
``list[Path]`` and ``list[str]`` take several values, ``int``, ``float`` and ``str`` are what they
are, ``settings: dict`` takes JSON, and a default of None makes an option (or its value) optional.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import json
import os
import socket
import stat
import sys
import time
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neurostrata import __version__
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
from neurostrata.stages import STAGES, command_of

#: Subcommand -> where its function lives. Modules are imported only when their command runs, since
#: ants, torch and nilearn each take about a second to load.
COMMANDS = {
    **{command_of(name): f"neurostrata.{stage.function}" for name, stage in STAGES.items()},
    "check": "neurostrata.gate.commands:check",
    "resume": "neurostrata.controller.resume:resume",
    "progress": "neurostrata.controller.progress:progress",
    "recovery": "neurostrata.simulation.recovery:recovery",
    "summary": "neurostrata.report.summary:summary",
    "simulate": "neurostrata.simulation.commands:simulate",
}


def _settings(text: str) -> dict[str, Any]:
    if text == "@-":  # of the controller: from standard input
        text = sys.stdin.read()
    elif text.startswith("@"):  # longer than a command line can be
        text = Path(text[1:]).read_text(encoding="utf-8")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("settings must be a JSON object")
    return value


def _add_option(parser: argparse.ArgumentParser, parameter: inspect.Parameter, kind: Any) -> None:
    options: dict[str, Any] = {"dest": parameter.name}
    if parameter.default is inspect.Parameter.empty:
        options["required"] = True
    else:
        options["default"] = parameter.default
    if typing.get_origin(kind) in (typing.Union, types.UnionType):  # X | None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
        options["nargs"] = "?"  # "--mask" without a value: a person without that file
    if typing.get_origin(kind) is list:
        options["nargs"] = "*"
        kind = typing.get_args(kind)[0]
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif kind is dict or typing.get_origin(kind) is dict:
        options.update(type=_settings, metavar="JSON")
    else:
        options.update(type=kind, metavar=kind.__name__.upper())
    parser.add_argument("--" + parameter.name.replace("_", "-"), **options)


def load_command(name: str) -> Callable[..., Any]:
    """Return the function of a subcommand; this is what imports its module."""
    module, function = COMMANDS[name].split(":")
    return getattr(importlib.import_module(module), function)


def takes_everything(function: Callable[..., Any]) -> bool:
    """Tell whether a command takes its arguments as they are (``*arguments``), to hand them on."""
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    return kinds == [inspect.Parameter.VAR_POSITIONAL]


def command_parser(name: str, function: Callable[..., Any]) -> argparse.ArgumentParser:
    """Build the parser of one subcommand from its function's signature."""
    parser = argparse.ArgumentParser(
        prog=f"neurostrata {name}",
        description=inspect.getdoc(function),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hints = typing.get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        if takes_everything(function):
            parser.add_argument(parameter.name, nargs=argparse.REMAINDER)
            continue
        _add_option(parser, parameter, hints[parameter.name])
    return parser


def _limit_threads(arguments: Sequence[str]) -> None:
    """Set thread counts and ITK's seed in the environment; they are read when libraries load."""
    threads = "1"
    for position, argument in enumerate(arguments):
        if argument == "--threads" and position + 1 < len(arguments):
            threads = arguments[position + 1]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = threads
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = threads
    os.environ.setdefault("ANTS_RANDOM_SEED", "1")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage.

    Returns
    -------
    int
        0 on success, 2 after a :class:`UserError` (its one line goes to standard error).
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    top = argparse.ArgumentParser(prog="neurostrata", description=__doc__)
    top.add_argument("--version", action="version", version=__version__)
    top.add_argument("stage", choices=sorted(COMMANDS))
    stage = top.parse_args(arguments[:1] or ["--help"]).stage
    _begin_log(stage)
    earlier = failed_before(arguments)
    if earlier:
        _complain(f"{earlier}\nneurostrata {stage}: not retried: not a time or memory failure")
        return 2
    _limit_threads(arguments)
    try:
        # The controller's commands start Snakemake, whose jobs run on other machines.
        controls = COMMANDS[stage].startswith("neurostrata.controller")
        # What is simulated is raw data, which its owner may edit.
        makes_results = not controls and not COMMANDS[stage].startswith("neurostrata.simulation")
        with (
            contextlib.nullcontext() if controls else own_folder(),
            recording(stage) if makes_results else contextlib.nullcontext(),
        ):
            function = load_command(stage)
            if takes_everything(function):
                function(*arguments[1:])
            else:
                function(**vars(command_parser(stage, function).parse_args(arguments[1:])))
    except UserError as error:
        _report(stage, arguments, error)
        return 2
    except Exception as error:
        _report(stage, arguments, error)
        raise
    forget_attempts()
    return 0
