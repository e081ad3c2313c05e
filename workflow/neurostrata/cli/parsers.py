"""From the signature and the docstring of a function to the options of its command. Standard library only.

A command is a function with typed parameters. Keyword-only ones are options (``Path`` gives ``--name PATH``, ``list[Path]`` takes
several values, ``Literal`` some words, ``dict`` JSON); the ones before them are given by
their places. What the options are for stands in the function's docstring, in numpydoc's form.
"""

from __future__ import annotations

import argparse
import fnmatch
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from neurostrata.cli.pages import Section, page
from neurostrata.core.errors import UserError
from neurostrata.core.wording import format_setting, nearest

_METAVARS: dict[type, str] = {Path: "PATH", int: "N", float: "NUMBER", str: "TEXT", dict: "JSON"}
#: What argparse says -> what we say.
_COMPLAINTS = {
    r"argument ([^:]+): expected .*argument.*": r"\1: a value is missing",
    r"argument ([^:/]+)[^:]*: ignored explicit argument .*": r"\1: takes no value",
    r"argument ([^:]+): (.*)": r"\1: \2",
}


@dataclass(frozen=True)
class Words:
    """What the docstring of a command says.

    Attributes
    ----------
    paragraphs
        Of the function.
    parameters
        Name -> what it is.
    """

    paragraphs: Sequence[str] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)


def _plain(text: str) -> str:
    """Return a paragraph of a docstring on one line, without its markup."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", " ".join(text.split()))
    return re.sub(r"`{1,2}([^`]+)`{1,2}", r"\1", text)


def words_of(function: Callable[..., Any]) -> Words:
    """Read the docstring of a function, in numpydoc's form."""
    text, *rest = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.getdoc(function) or "", flags=re.M)
    sections = dict(zip(rest[::2], rest[1::2]))
    parameters = {}
    for name in ("Parameters", "Other Parameters"):
        blocks = re.split(r"^(\S.*)\n", sections.get(name, ""), flags=re.M)[1:]
        for names, said in zip(blocks[::2], blocks[1::2]):
            for one in names.partition(" :")[0].split(","):
                parameters[one.strip().lstrip("*")] = _plain(said)
    return Words([_plain(part) for part in re.split(r"\n\s*\n", text) if part.strip()], parameters)


def _settings(text: str) -> dict[str, Any]:
    if text == "@-":  # of the controller: from standard input
        text = sys.stdin.read()
    elif text.startswith("@"):  # longer than a command line can be
        text = Path(text[1:]).read_text(encoding="utf-8")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is needed")
    return value


def _number(kind: type, words: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{words} is needed, '{text}' is none") from None

    return read


def _word(choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            known = ", ".join(choices)
            raise argparse.ArgumentTypeError(f"'{text}' is none of {known}{nearest(text, choices)}")
        return text

    return read


_READERS: dict[type, Callable[[str], Any]] = {
    int: _number(int, "a whole number"),
    float: _number(float, "a number"),
    dict: _settings,
}


@dataclass(frozen=True)
class _Option:
    """A parameter of a command: how it is given, and how it stands on the help page."""

    name: str
    settings: dict[str, Any]
    place: str  # what a value is called that may be given by its place; "" for an option alone
    named: bool  # whether it is an option
    needed: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> list[str]:
        """The options that are of use: of a switch that is on, both."""
        return [self.flag, f"--no-{self.flag[2:]}"] if self.settings["default"] is True else [self.flag]

    @property
    def shown(self) -> str:
        """The option and its value."""
        if self.place:
            return self.place
        if self.settings.get("action") is argparse.BooleanOptionalAction:
            return f"--[no-]{self.flag[2:]}" if self.settings["default"] else self.flag
        value = self.settings["metavar"]
        return (
            f"{self.flag} {value} ..." if self.settings.get("nargs") in ("*", "+") else f"{self.flag} {value}"
        )

    @property
    def note(self) -> str:
        """What stands behind the text: the default, if there is one to speak of, and the option that a place stands for."""
        value = self.settings["default"]
        notes = []
        if value is True:
            notes.append("default: yes")
        elif value == Path():
            notes.append("default: the current folder")
        elif value is not False and value not in (argparse.SUPPRESS, None, "", []):
            notes.append(f"default: {format_setting(value)}")
        if self.place and self.named:
            notes.append(f"also: {self.flag} {self.place}")
        return f" ({'; '.join(notes)})" if notes else ""


def _option(parameter: inspect.Parameter, kind: Any, place: str, empty: bool) -> _Option:
    settings: dict[str, Any] = {}
    needed = parameter.default is inspect.Parameter.empty
    named = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    settings["default"] = argparse.SUPPRESS if needed else parameter.default
    if typing.get_origin(kind) in (typing.Union, types.UnionType):  # X | None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
        if empty:
            settings["nargs"] = "?"  # "--mask" without a value: a person without that file
    if typing.get_origin(kind) is list:
        settings["nargs"] = "*" if empty else "+"
        kind = typing.get_args(kind)[0]
    if kind is bool:
        settings["action"] = argparse.BooleanOptionalAction
    elif typing.get_origin(kind) is typing.Literal:
        choices = [str(choice) for choice in typing.get_args(kind)]
        settings.update(type=_word(choices), metavar="|".join(choices))
    else:
        kind = typing.get_origin(kind) or kind
        settings.update(type=_READERS.get(kind, kind), metavar=_METAVARS.get(kind, kind.__name__.upper()))
    name = parameter.name
    return _Option(name, settings, place or ("" if named else name.upper()), named, needed)


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Tell whether the help page of a command is wanted."""
    return any(word in ("-h", "--help") for word in arguments)


class CommandParser(argparse.ArgumentParser):
    """The parser of one command, made from the signature of its function.

    Parameters
    ----------
    prog
        How the command is called: ``neurostrata simulate``.
    function
        Does the work.
    places
        Options that may also be given by their place, and what their values are called: ``{"directory": "STUDY"}``.
    groups
        Heading -> options (or patterns of their names), for the help page; the rest stand under "Options".
    examples
        Lines to type.
    often
        Of a command that hands its options on: the ones that are often used.
    empty
        Whether an option that need not be given may stand without a value, as a rule writes it for a file or a list that is not
        there. People are told that the value is missing: ``--participant-label`` without a label would mean everybody.
    """

    def __init__(
        self,
        prog: str,
        function: Callable[..., Any],
        places: Mapping[str, str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        examples: Sequence[str] = (),
        often: Mapping[str, str] | None = None,
        empty: bool = False,
    ) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False)
        self.function, self.words = function, words_of(function)
        self.groups, self.examples, self.often = groups or {}, examples, often or {}
        hints = typing.get_type_hints(function)
        self.options: list[_Option] = []
        self.rest = ""
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                self.rest = (places or {}).get(parameter.name, f"[{parameter.name}]")
                continue
            option = _option(parameter, hints[parameter.name], (places or {}).get(parameter.name, ""), empty)
            self.options.append(option)
            if option.named:
                self.add_argument(option.flag, dest=option.name, **option.settings)

    def error(self, message: str) -> NoReturn:
        """Raise a :class:`UserError` in our words."""
        for said, ours in _COMPLAINTS.items():
            if found := re.fullmatch(said, message, re.S):
                raise UserError(f"{found.expand(ours)} ({self.prog} --help)")
        raise UserError(f"{message} ({self.prog} --help)")

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return parameter -> value.

        Raises
        ------
        UserError
            When the arguments are not understood: one line.
        """
        # Looked at first: argparse would name an option that is missing because it is misspelled.
        known = self._option_string_actions
        # "--no-x" is understood of every switch, but of use only where the switch is on.
        useful = [name for option in self.options if option.named for name in option.flags]
        for word in arguments:
            name = word.partition("=")[0]
            if word.startswith("-") and name not in known and not re.fullmatch(r"-[\d.]*|--", word):
                hint = nearest(name, useful) or f" ({self.prog} --help)"
                raise UserError(f"{name}: no such option{hint}")
        # Places are given out here: argparse (3.11) gives them away before it has seen the options between them.
        found, words = self.parse_known_args(list(arguments))
        values = vars(found)
        places = [option for option in self.options if option.place]
        words = [word for word in words if word != "--"]
        for option, word in zip(places, words):
            try:
                values[option.name] = option.settings["type"](word)
            except argparse.ArgumentTypeError as error:
                self.error(f"{option.place}: {error}")
        if len(words) > len(places):
            self.error(f"'{words[len(places)]}' is one word too many")
        for option in self.options:
            values.setdefault(option.name, option.settings["default"])
            if values[option.name] is argparse.SUPPRESS:
                self.error(f"{option.place or option.flag} is needed")
        return values

    def format_help(self) -> str:
        """Return the help page."""
        placed = [option for option in self.options if option.place]
        needed = [option for option in self.options if option.needed and not option.place]
        usage = [f"[{o.place}]" if not o.needed else o.place for o in placed]
        usage += [option.shown for option in needed]
        others = [option for option in self.options if option not in placed and option not in needed]
        usage += ["[options]"] if others else []
        usage += [self.rest] if self.rest else []
        sections = [
            Section("Usage", lines=[" ".join([self.prog, *usage])]),
            Section(paragraphs=self.words.paragraphs),
        ]
        if self.examples:
            sections.append(
                Section("Example" if len(self.examples) == 1 else "Examples", lines=self.examples)
            )
        if placed or needed:
            sections.append(
                Section(
                    "Needed" if any(o.needed for o in self.options) else "Arguments",
                    self._rows([*placed, *needed]),
                )
            )
        if self.often:
            sections.append(Section("Often used", list(self.often.items())))
        for title, patterns in self.groups.items():
            members = [o for o in others if any(fnmatch.fnmatch(o.name, pattern) for pattern in patterns)]
            others = [option for option in others if option not in members]
            sections += [Section(title, self._rows(members))] if members else []
        sections += [Section("Options", self._rows(others))] if others else []
        return page(sections)

    def _rows(self, options: Sequence[_Option]) -> list[tuple[str, str]]:
        return [
            (option.shown, self.words.parameters.get(option.name, "") + option.note) for option in options
        ]
