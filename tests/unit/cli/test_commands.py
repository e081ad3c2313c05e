"""The commands for people: their help, their options, and what is said of mistakes."""

from __future__ import annotations

import importlib.util
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal

import pytest

from neurostrata import __version__, cli
from neurostrata.cli import main
from neurostrata.cli.commands import COMMANDS, overview, parser_of
from neurostrata.cli.parsers import CommandParser, words_of
from neurostrata.core.errors import UserError
from neurostrata.core.locations import REPOSITORY
from neurostrata.stages import STAGES, command_of

#: The commands whose rooms are here.
THERE = [
    name
    for name, command in COMMANDS.items()
    if importlib.util.find_spec(f"neurostrata.{command.function.split('.')[0]}")
]


def test_every_command_stands_on_the_first_page_which_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.words[:30])}", said, re.M), name
        assert len(name) < 9
        assert len(command.words) < 68  # one line each in 80 columns
    assert said.count("\n") < 36
    assert not any(command_of(stage) in said.split() for stage in STAGES if stage != "report")


@pytest.mark.parametrize("name", THERE)
def test_every_command_explains_itself_and_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    parser = parser_of(name)
    assert parser.words.paragraphs
    assert said.startswith(f"Usage\n  neurostrata {name} ")
    assert parser.examples
    for option in parser.options:
        assert option.shown in said, option.name
        assert parser.words.parameters.get(option.name), f"{option.name} is not in the docstring"
    for line in parser.examples:
        assert f"  {line}\n" in said
        if not parser.rest:
            parser.read(line.split()[2:])  # it is understood
    assert max(map(len, said.splitlines())) < 100


@pytest.mark.parametrize("name", THERE)
def test_what_is_grouped_is_an_option(name: str) -> None:
    parser = parser_of(name)
    names = {option.name for option in parser.options}
    for patterns in parser.groups.values():
        assert {pattern for pattern in patterns if "*" not in pattern} <= names


def example(
    folder: Path,
    study: Path = Path("study"),
    *,
    size: float,
    names: list[str] | None = None,
    preset: Literal["small", "large"] = "small",
    quick: bool = False,
    checks: bool = True,
    number: int = 3,
) -> None:
    """Do something with ``things``.

    It is for :func:`neurostrata.cli.main`,
    and for nothing else.

    Parameters
    ----------
    folder, study
        Where.
    size : float
        How large.
    names
        Of people.
    preset
        Which.
    quick
        Hurry.
    checks
        Look.
    number
        How many.

    Returns
    -------
    None
        Nothing.
    """


@pytest.fixture
def parser() -> CommandParser:
    return CommandParser("neurostrata example", example, groups={"Kind": ["preset", "q*"]})


def test_the_docstring_is_where_the_words_come_from() -> None:
    words = words_of(example)
    assert words.paragraphs == ["Do something with things.", "It is for main, and for nothing else."]
    assert words.parameters["folder"] == words.parameters["study"] == "Where."
    assert words.parameters["number"] == "How many."
    assert set(words.parameters) == {
        "folder",
        "study",
        "size",
        "names",
        "preset",
        "quick",
        "checks",
        "number",
    }


def test_options_stand_in_groups_with_their_defaults(parser: CommandParser) -> None:
    said = parser.format_help()
    assert "  neurostrata example FOLDER [STUDY] --size NUMBER [options]" in said
    assert re.search(
        r"^Kind\n  --preset small\|large +Which. \(default: small\)\n  --quick +Hurry.$", said, re.M
    )
    assert re.search(r"^Options\n  --names TEXT ... +Of people.$", said, re.M)
    assert re.search(r"^  --\[no-\]checks +Look. \(default: yes\)$", said, re.M)
    assert "Nothing." not in said


def test_values_are_read_from_their_places_and_options(parser: CommandParser) -> None:
    given = ["--no-checks", "in", "--names", "01", "02", "--size=2", "--quick", "out"]
    given.insert(-1, "--number=-4")
    expected = {"folder": Path("in"), "study": Path("out"), "size": 2.0, "names": ["01", "02"]}
    expected |= {"preset": "small", "quick": True, "checks": False, "number": -4}
    assert parser.read(given) == expected
    assert parser.read(["in", "--size", "1"])["study"] == Path("study")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "FOLDER is needed (neurostrata example --help)"),
        ("in", "--size is needed (neurostrata example --help)"),
        ("in out more --size 1", "'more' is one word too many (neurostrata example --help)"),
        ("in --sise 1", "--sise: no such option; did you mean '--size'?"),
        ("in --x", "--x: no such option (neurostrata example --help)"),
        ("in --size", "--size: a value is missing (neurostrata example --help)"),
        ("in --size 1 --names", "--names: a value is missing (neurostrata example --help)"),
        ("in --size 1 --number 1.5", "--number: a whole number is needed, '1.5' is none (neurostrata example --help)"),
        ("in --size big", "--size: a number is needed, 'big' is none (neurostrata example --help)"),
        ("in --size 1 --quick=3", "--quick: takes no value (neurostrata example --help)"),
        ("in --size 1 --no-quick-x", "--no-quick-x: no such option; did you mean '--quick' or '--no-checks'?"),
        ("in --size 1 --preset smal", "--preset: 'smal' is none of small, large; did you mean 'small'? (neurostrata example --help)"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(parser: CommandParser, given: str, said: str) -> None:
    with pytest.raises(UserError) as told:
        parser.read(given.split())
    assert str(told.value) == said


def test_a_rule_may_hand_on_that_there_is_nothing() -> None:
    read = CommandParser("neurostrata stage example", example, empty=True).read
    assert read(["in", "--size", "1", "--names"])["names"] == []


def test_people_who_are_left_unnamed_are_not_everybody(capsys: pytest.CaptureFixture[str]) -> None:
    for *given, option in (
        ("init", "images", "study", "--session-label"),
        ("init", "images", "study", "--participant-label"),
        ("check", "study", "--participant-label"),
    ):
        assert main([*given, option]) == 2
        assert f"{option}: a value is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("chekc", "neurostrata: chekc: no such command; did you mean 'check'?"),
        ("train", "neurostrata: train is a stage of the workflow: neurostrata stage train"),
        ("tarin", "neurostrata: tarin: no such command; did you mean the stage 'train'? (neurostrata stage)"),
        ("xxxxx", "neurostrata: xxxxx: no such command; they are listed by: neurostrata --help"),
    ],
)
def test_a_word_that_is_no_command_is_one_line(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "--output", "x"]) == 2
    assert capsys.readouterr().err == f"{said}\n"


def test_the_version_is_said_as_bids_apps_say_it(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--version"], ["-V"], ["check", "--version"], ["run", "--version"]):
        assert main(given) == 0
        assert capsys.readouterr().out == f"neurostrata {__version__}\n"


def test_help_may_stand_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "check"]) == 0
    assert capsys.readouterr().out.startswith("Usage\n  neurostrata check [STUDY]")


def test_a_page_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    widest = {}
    for columns in (60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        widest[columns] = max(map(len, overview().splitlines()))
    assert 50 < widest[60] < 60
    assert 70 < widest[80] < 80
    assert 80 < widest[120] < 100


def test_only_a_terminal_gets_colours(repository: Path) -> None:
    program = [sys.executable, str(repository / "workflow" / "neurostrata")]
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        subprocess.run(program, stdout=theirs, env={**environment, "TERM": "xterm", **more}, check=True)
        assert (b"\033[" in os.read(ours, 1 << 16)) == coloured
        os.close(ours)
        os.close(theirs)
    assert b"\033[" not in subprocess.run(program, capture_output=True, check=True).stdout


def test_what_nobody_expected_is_said_behind_its_details(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> CommandParser:
        raise error

    monkeypatch.setattr(cli, "parser_of", fail)
    for error, status, line in (
        (ModuleNotFoundError("x", name="yaml"), 2, f"neurostrata check: yaml is not installed in this Python ({sys.executable}); `make env` in {REPOSITORY} makes an environment with all that is needed, envs/controller.yaml is one for conda"),
        (KeyError("x"), 1, "neurostrata check: unexpected KeyError: 'x' (details above)"),
        (OSError(28, "No space left on device", "f"), 1, "neurostrata check: No space left on device (f): make room, then try again"),
        (KeyboardInterrupt(), 130, "neurostrata check: ended from the keyboard"),
    ):  # fmt: skip
        assert main(["check"]) == status
        said = capsys.readouterr().err.splitlines()
        assert said[-1] == line
        assert ("Traceback" in said[0]) == isinstance(error, KeyError)


@pytest.mark.parametrize("minutes", ["0", "-5"])
def test_a_rate_needs_time(minutes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["progress", str(tmp_path), "--window-minutes", minutes]) == 2
    assert f"--window-minutes {minutes}: give a number above 0" in capsys.readouterr().err


def test_a_check_whose_results_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # as `check` does
    Path("config").mkdir()
    Path("config/config.yaml").write_text("output: config/config.yaml/results\n")
    assert main(["check"]) == 2
    line = "neurostrata check: config/config.yaml/results/cohort: cannot be written (Not a directory)\n"
    assert capsys.readouterr().err == line


def test_the_program_of_the_installed_package_is_this_one(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    module, function = project["project"]["scripts"]["neurostrata"].split(":")
    assert getattr(importlib.import_module(module), function) is main
    [folder] = project["tool"]["setuptools"]["package-dir"].values()
    assert (repository / folder / "neurostrata" / "__init__.py").is_file()


def test_the_summary_is_that_of_the_results_which_the_configuration_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    (study / "config").mkdir(parents=True)
    other = ["--results", str(tmp_path / "x")]
    for written, given, results in (
        ("", [], "study/results"),
        ("output: out", [], "study/out"),
        ("", other, "x"),
    ):
        (study / "config" / "config.yaml").write_text(written)
        assert main(["summary", str(study), *given]) == 2
        said = capsys.readouterr().err
        assert (
            said
            == f"neurostrata summary: {tmp_path / results}/report/index.html: no such file; run the workflow first\n"
        )
