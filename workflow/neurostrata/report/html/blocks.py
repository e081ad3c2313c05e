"""The content of a page: sections of paragraphs, figures and tables, without any HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from neurostrata.core.model_words import model_title


@dataclass(frozen=True)
class Link:
    """A relative link; without an address, the name of a file that is not part of the report."""

    text: str
    href: str


@dataclass
class Text:
    """A paragraph; ``kind`` is plain, overall, note, warning or good."""

    text: str
    kind: str = "plain"
    sources: list[Link] = field(default_factory=list)
    lead: str = "from"
    block: str = "text"


@dataclass
class Bullets:
    """A list of short lines (or paragraphs), each with an optional bold lead."""

    items: list[tuple[str, str]]
    sources: list[Link] = field(default_factory=list)
    paragraphs: bool = False
    block: str = "bullets"


@dataclass
class Figure:
    """An image that the page shows.

    ``href`` is its file. ``svg`` is the content for the page itself; without it the page shows the file. ``narrow``: the
    file for narrow screens. ``png``: the same as a PNG file, for slides.
    """

    href: str
    title: str
    caption: str
    alt: str
    sources: list[Link] = field(default_factory=list)
    wide: bool = True
    png: str = ""
    narrow: str = ""
    svg: Markup = field(default_factory=Markup)
    number: int = 0
    block: str = "figure"


@dataclass
class Code:
    """A folded listing."""

    title: str
    text: str
    sources: list[Link] = field(default_factory=list)
    block: str = "code"


@dataclass
class Copyable:
    """Text to be pasted elsewhere, with a button that copies it; ``files`` are links to download it."""

    title: str
    text: str
    key: str
    files: list[Link] = field(default_factory=list)
    block: str = "copyable"


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    href: str = ""
    strong: bool = False


@dataclass
class Table:
    """A table of ready-made texts.

    ``numeric`` says for each column whether it is right-aligned, ``marked`` for each row whether it is highlighted, ``groups``
    for each row whether a line separates it from the rows before. ``words``: a table of sentences, whose cells are broken
    into lines so that it fits on the page.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    numeric: list[bool]
    caption: str = ""
    marked: list[bool] = field(default_factory=list)
    groups: list[bool] = field(default_factory=list)
    sources: list[Link] = field(default_factory=list)
    folded: bool = False
    words: bool = False
    number: int = 0
    block: str = "table"


@dataclass
class Section:
    """A heading with its blocks and the sections under it."""

    key: str
    title: str
    blocks: list[Any] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def add(self, *blocks: Any) -> None:
        """Add blocks, leaving out None."""
        self.blocks.extend(block for block in blocks if block is not None)


def anchor(text: str) -> str:
    """Return an id for an HTML heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def experiment_anchor(name: str) -> str:
    """Return the id of an experiment's section on the main page."""
    return f"experiment-{anchor(name)}"


def number_blocks(sections: Sequence[Section]) -> None:
    """Number figures and tables through the whole page, in reading order."""
    counts = {"figure": 0, "table": 0}

    def visit(section: Section) -> None:
        for block in section.blocks:
            if block.block in counts:
                counts[block.block] += 1
                block.number = counts[block.block]
        for part in section.sections:
            visit(part)

    for section in sections:
        visit(section)


def format_number(value: Any, digits: int = 3) -> str:
    """Return a number with `digits` significant digits; n/a for a missing value.

    Whole numbers and values from 1000 up are written in full, very small ones as powers of ten.
    """
    if value is None or value is pd.NA:
        return "n/a"
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    number = float(value)
    if math.isnan(number):
        return "n/a"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number)}".replace("-", "−")
    if abs(number) >= 10**digits:
        return f"{number:.0f}".replace("-", "−")
    exponent = math.floor(math.log10(abs(number)))
    if exponent < -4:
        mantissa = f"{number / 10**exponent:.{digits - 1}f}"
        return f"{mantissa}×10{superscript(exponent)}".replace("-", "−")
    return f"{number:.{max(digits - 1 - exponent, 0)}f}".replace("-", "−")


def fixed(digits: int) -> Callable[[Any], str]:
    """Return a function that writes numbers with this many decimals, so that a column lines up."""
    return lambda value: f"{float(value):.{digits}f}".replace("-", "−")


def model_name(model: str) -> str:
    """Return a model's name for people."""
    return "mean training image" if model == "mean_image" else model_title(model)


def superscript(number: int) -> str:
    """Return a whole number in superscript digits."""
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


#: Usual limits of p-values and false-discovery rates.
LIMITS = (0.01, 0.05, 0.1)


def format_p(value: Any) -> str:
    """Return a p or q value: three decimals, "< 0.001" below that.

    A fourth decimal shows on which side of a usual limit (:data:`LIMITS`) a value lies that rounds to it.
    """
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    number = float(value)
    for limit in LIMITS:
        if abs(number - limit) > 1e-9 and f"{number:.3f}" == f"{limit:.3f}":
            return f"{min(number, limit - 0.0001) if number < limit else max(number, limit + 0.0001):.4f}"
    return "< 0.001" if number < 0.001 else f"{number:.3f}"


def human_name(column: str) -> str:
    """Return a column's name for people: underscores gone, the usual abbreviations in capitals."""
    capitals = ("mse", "ssim", "psnr", "cnr", "snr", "cjv", "rms", "dwi", "fa", "noddi")
    known = {word: word.upper() for word in capitals}
    return " ".join(known.get(word, word) for word in str(column).split("_"))


def parts(items: Sequence[Any], most: int) -> list[tuple[Sequence[Any], str]]:
    """Divide what does not fit into one figure: (items, end of the file's name), such as "-2"; "" for a single part."""
    starts = range(0, len(items), most)
    return [
        (items[start : start + most], f"-{number}" if len(starts) > 1 else "")
        for number, start in enumerate(starts, start=1)
    ]


def cut_off(number: int, shown: int, what: str) -> str:
    """Return " The first 40 of 60 factors." where not all are shown, else ""."""
    return f" The first {shown} of {number} {what}." if number > shown else ""


def frame_table(
    frame: pd.DataFrame,
    title: str,
    *,
    names: Mapping[str, str] | None = None,
    formats: Mapping[str, Any] | None = None,
    caption: str = "",
    marked: Sequence[bool] | None = None,
    sources: Sequence[Link] = (),
    folded: bool = False,
    words: bool = False,
    hrefs: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Make a :class:`Table` of a data frame.

    Parameters
    ----------
    frame
        One row per row.
    title, caption, sources, folded, words
        As in :class:`Table`.
    names
        Column -> heading; others get :func:`human_name`.
    formats
        Column -> function from value to text; numbers default to :func:`format_number`.
    marked
        Rows to highlight.
    hrefs
        Column -> one link per row (empty for none).
    """
    names, formats, hrefs = names or {}, formats or {}, hrefs or {}
    numeric = [
        pd.api.types.is_numeric_dtype(frame[c]) and not pd.api.types.is_bool_dtype(frame[c]) for c in frame
    ]
    rows = []
    for position in range(len(frame)):
        row = []
        for column in frame:
            value = frame[column].iloc[position]
            missing = not isinstance(value, str) and bool(pd.isna(value))
            text = "n/a" if missing else formats.get(column, format_number)(value)
            href = hrefs[column][position] if column in hrefs else ""
            row.append(Cell(text, href))
        rows.append(row)
    return Table(
        title=title,
        columns=[names.get(column, human_name(column)) for column in frame],
        rows=rows,
        numeric=numeric,
        caption=caption,
        marked=list(marked) if marked is not None else [False] * len(rows),
        sources=list(sources),
        folded=folded,
        words=words,
    )
