"""The command line: commands for people, and the stages of the workflow behind ``neurostrata stage``."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence

from neurostrata import __version__
from neurostrata.cli.commands import COMMANDS, overview, parser_of
from neurostrata.cli.load import limit_threads
from neurostrata.cli.parsers import asks_for_help
from neurostrata.cli.stages import FUNCTIONS, run_stage
from neurostrata.core.errors import UserError
from neurostrata.core.failures import no_space
from neurostrata.core.locations import REPOSITORY
from neurostrata.core.records import recording
from neurostrata.core.scratch import own_folder
from neurostrata.core.wording import nearest


def _unknown(word: str) -> str:
    """Return what is said of a word that is no command."""
    if word in FUNCTIONS:
        return f"neurostrata: {word} is a stage of the workflow: neurostrata stage {word}"
    if hint := nearest(word, COMMANDS):
        return f"neurostrata: {word}: no such command{hint}"
    if hint := nearest(word, FUNCTIONS):
        return f"neurostrata: {word}: no such command{hint.replace('mean', 'mean the stage')} (neurostrata stage)"
    return f"neurostrata: {word}: no such command; they are listed by: neurostrata --help"


def _run_command(name: str, arguments: Sequence[str]) -> int:
    command = COMMANDS[name]
    if not command.controls:  # these start Snakemake, whose jobs run on other machines
        limit_threads(arguments)
    with (
        contextlib.nullcontext() if command.controls else own_folder(),
        recording(name) if command.makes_results else contextlib.nullcontext(),
    ):
        parser = parser_of(name)
        if asks_for_help(arguments):
            print(parser.format_help())
        elif parser.rest:
            parser.function(*arguments)
        else:
            parser.function(**parser.read(arguments))
    return 0


def _tell(name: str, error: BaseException) -> int:
    """Say why a command failed, in one line; return its exit status."""
    if isinstance(error, BrokenPipeError):  # nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    say = f"neurostrata {name}: "
    if isinstance(error, UserError):
        print(f"{say}{error}", file=sys.stderr)
        return 2
    if isinstance(error, KeyboardInterrupt):
        print(f"{say}ended from the keyboard", file=sys.stderr)
        return 130
    if full := no_space(error):
        where = f" ({full.filename})" if full.filename else ""
        print(f"{say}{full.strerror}{where}: make room, then try again", file=sys.stderr)
        return 1
    if isinstance(error, ModuleNotFoundError) and not f"{error.name}.".startswith("neurostrata."):
        print(
            f"{say}{error.name} is not installed in this Python ({sys.executable}); `make env` in {REPOSITORY} makes an environment "
            "with all that is needed, envs/controller.yaml is one for conda",
            file=sys.stderr,
        )
        return 2
    traceback.print_exception(error)
    print(f"{say}unexpected {type(error).__name__}: {error} (details above)", file=sys.stderr)
    return 1


def _choose(words: Sequence[str]) -> int:
    """Do what the first word asks for; return the exit status."""
    word, *rest = words
    if word == "help":
        word, rest = (rest[0], ["--help"]) if rest else ("--help", [])
    if word == "stage":  # help stage
        return run_stage([])
    if word in ("-h", "--help"):
        print(overview())
        return 0
    if word in ("-V", "--version") or (word in COMMANDS and rest[:1] == ["--version"]):
        print(f"neurostrata {__version__}")
        return 0
    if word not in COMMANDS:
        print(_unknown(word), file=sys.stderr)
        return 2
    return _run_command(word, rest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, or a stage.

    Returns
    -------
    int
        0 on success, 2 after a :class:`UserError` (its one line goes to standard error).
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["stage"]:
        return run_stage(given[1:])
    try:
        status = _choose(given or ["--help"])
        sys.stdout.flush()
        return status
    except (Exception, KeyboardInterrupt) as error:
        return _tell(" ".join(given[:1]), error)
