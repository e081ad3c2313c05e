"""Running a study: Snakemake with this workflow, in the same process, so that its exit status and its signals are ours."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from neurostrata.core.config import study_files
from neurostrata.core.errors import UserError
from neurostrata.core.locations import REPOSITORY, STUDY_CONFIG
from neurostrata.core.wording import nearest
from neurostrata.stages import STAGES, TARGETS

#: The workflow.
SNAKEFILE = REPOSITORY / "Snakefile"
#: Name of our logger plugin, used where Snakemake finds it.
LOGGER = "neurostrata"
#: Options that name stages, as Snakemake's parser calls them. It ignores unknown ones or ends in an exception.
NAMING_STAGES = (
    "targets", "forcerun", "until", "omit_from", "prioritize", "allowed_rules", "set_threads", "set_resources",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call of Snakemake.

    Attributes
    ----------
    folder
        The study's.
    added
        The options that stand before those that were given.
    given
        What was given.
    """

    folder: Path
    added: Sequence[str]
    given: Sequence[str]


def _study_first(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Take the study from the front of the arguments, if a folder stands there."""
    if arguments and not arguments[0].startswith("-") and Path(arguments[0]).is_dir():
        return Path(arguments[0]), list(arguments[1:])
    return None, list(arguments)


def named_folder(arguments: Sequence[str]) -> Path:
    """Return the folder that is named, without Snakemake's parser, which takes a second to load."""
    for option, value in zip(arguments, [*arguments[1:], ""]):
        name, equals, path = option.partition("=")
        if name in ("--directory", "-d"):
            return Path(path if equals else value)
    return _study_first(arguments)[0] or Path()


def _with_found_profiles(arguments: Sequence[str], folder: Path) -> list[str]:
    """Name the profiles by their path that Snakemake would not find: those in the study's folder and in the clone."""
    from snakemake.cli import get_profile_dir

    def found(name: str) -> str:
        if name == "none" or get_profile_dir(name) is not None:
            return name
        for place in (folder, REPOSITORY):
            if (place / name).is_dir():
                return str(place / name)
        raise UserError(
            f"--profile {name}: no such profile; looked for in the current folder, {folder.resolve()}, {REPOSITORY} and where "
            "Snakemake looks for a user's and a site's profiles"
        )

    named = []
    for before, word in zip(["", *arguments], arguments):
        option, equals, name = word.partition("=")
        if option == "--profile" and equals:
            word = f"{option}={found(name)}"
        elif before == "--profile":
            word = found(word)
        named.append(word)
    return named


def _understood(arguments: Sequence[str]) -> Namespace | None:
    """Return what Snakemake understands, profiles included; None when it will complain itself.

    Raises
    ------
    UserError
        When an option is unknown or has no fitting value; Snakemake would print all its options first.
    """
    from snakemake.cli import get_argument_parser, parse_args

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return parse_args(list(arguments))[1]
    except Exception:
        return None
    except SystemExit:
        complaint = re.search(r"^\S+: error: (.*)", said.getvalue(), re.M)
        if complaint is None:
            return None
        unknown = re.fullmatch(r"unrecognized arguments: (\S+).*", complaint[1])
        if unknown is None:
            raise UserError(f"{complaint[1]} (snakemake --help)") from None
        name = unknown[1].partition("=")[0]
        hint = nearest(name, get_argument_parser()._option_string_actions)
        raise UserError(f"{name}: no such option of snakemake{hint or ' (snakemake --help)'}") from None


def _refuse_absent(configfiles: Sequence[str], folder: Path) -> None:
    """Refuse a file of the configuration that is not there; Snakemake would end in an error of its own."""
    for path in map(Path, configfiles):
        if path.is_file():
            continue
        hint = "" if path.suffix else "; what is to be made stands before this option"
        if (folder / path).is_file():
            hint = f"; from the current folder it is {folder / path}"
        raise UserError(f"--configfile {path}: no such file{hint}")


def _refuse_unknown_stages(asked: Namespace) -> None:
    """Refuse a stage that there is not; what looks like a file is left to Snakemake."""
    known = [*STAGES, *sorted(TARGETS)]
    for option in NAMING_STAGES:
        for name in sorted(getattr(asked, option) or ()):
            if name not in known and not {"/", "."} & set(name):
                where = "" if option == "targets" else f"--{option.replace('_', '-')} "
                raise UserError(f"{where}{name}: no such stage{nearest(name, known) or ' (docs/stages.md)'}")


def _knows_logger() -> bool:
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    return LOGGER in LoggerPluginRegistry().plugins


def call_of(arguments: Sequence[str], snakefile: Path | None = SNAKEFILE) -> Call:
    """Return how Snakemake is called for what was asked.

    Parameters
    ----------
    arguments
        The study's folder, if it is not the current one or stands behind ``--directory``; then anything that Snakemake takes.
    snakefile
        The workflow; None where Snakemake finds it itself.

    Raises
    ------
    UserError
        When the folder is no study, an option is unknown, or there is no file that it names.
    """
    folder, given = _study_first(arguments)
    given = _with_found_profiles(given, folder or Path())
    added = ["--directory", str(folder)] if folder else []
    added += ["--snakefile", str(snakefile)] if snakefile else []
    asked = _understood([*added, *given])
    if asked is None:
        return Call(folder or Path(), added, given)
    if folder and asked.directory and Path(asked.directory).resolve() != folder.resolve():
        raise UserError(f"two studies are named: {folder}, and {asked.directory} by --directory")
    folder = Path(asked.directory or "")
    if asked.snakefile == str(SNAKEFILE):
        if folder == Path() and not STUDY_CONFIG.is_file() and asked.targets:
            first, *_ = asked.targets
            if Path(first).is_dir():  # the study, behind options
                given.remove(first)
                return call_of([first, *given], snakefile)
            if not asked.configfile:
                raise UserError(f"{first}: no such folder, and the current folder is no study")
        _refuse_absent(asked.configfile or [], folder)
        study_files(folder, asked.configfile or [])
        _refuse_unknown_stages(asked)
    if asked.executor in (None, "local") and asked.cores is None and asked.jobs is None:
        added += ["--cores", "all"]
    if not asked.logger and _knows_logger():
        added += [f"--logger={LOGGER}"]  # in one word: what follows may be a target
    return Call(folder, added, given)


def start(call: Call) -> NoReturn:
    """Become Snakemake; the process ends with its exit status."""
    from snakemake.cli import main

    sys.argv = ["snakemake", *call.added, *call.given]  # its log names the command
    main(sys.argv[1:])
    raise SystemExit(0)


def run(*arguments: str) -> None:
    """Run a study: what is missing or out of date is made, nothing else.

    This is Snakemake with this workflow: ``snakemake -s CLONE/Snakefile --directory STUDY``. All options of Snakemake are handed on as
    they are; ``snakemake --help`` lists them. STUDY is the current folder where none is named. All cores are used unless an
    option or a profile says otherwise.
    """
    start(call_of(arguments))
