"""Help pages: sections of text and of two columns, as wide as the terminal. Standard library only."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

#: Longer lines are hard to read, however wide the terminal is.
_WIDEST = 100
#: What stands on the left is given its own line where it is longer than this.
_LEFT = 26
_BOLD, _COLOUR, _PLAIN = "\033[1m", "\033[36m", "\033[0m"


@dataclass(frozen=True)
class Section:
    """A part of a help page.

    Attributes
    ----------
    title
        Its heading; "" for none.
    rows
        Names and what they are, in two columns.
    lines
        Lines that are not wrapped: what is to be typed.
    paragraphs
        Text that is wrapped.
    """

    title: str = ""
    rows: Sequence[tuple[str, str]] = ()
    lines: Sequence[str] = ()
    paragraphs: Sequence[str] = ()


def _styled() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    # Paths and options are not divided at their hyphens.
    wrapper = textwrap.TextWrapper(
        width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
    return wrapper.wrap(text)


def page(sections: Sequence[Section]) -> str:
    """Return a help page for the terminal that standard output is, or for one of 80 columns."""
    bold, colour, plain = (_BOLD, _COLOUR, _PLAIN) if _styled() else ("", "", "")
    width = max(40, min(shutil.get_terminal_size().columns, _WIDEST) - 1)
    names = [name for section in sections for name, _ in section.rows if len(name) <= _LEFT]
    left = max(map(len, names), default=0) + 4
    parts = []
    for section in sections:
        lines = [f"{bold}{section.title}{plain}"] if section.title else []
        for number, paragraph in enumerate(section.paragraphs):
            lines += ([""] if number else []) + _wrapped(paragraph, width)
        lines += [f"  {line}" for line in section.lines]
        for name, text in section.rows:
            said = _wrapped(text, width, " " * left) or [""]
            if len(name) + 4 > left:
                lines += [f"  {colour}{name}{plain}", *said]
            else:
                space = " " * (left - 2 - len(name))
                lines += [f"  {colour}{name}{plain}{space}{said[0].lstrip()}".rstrip(), *said[1:]]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
