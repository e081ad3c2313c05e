"""The cells of phenotype tables: missing values, numbers, and words with a built-in meaning.

Used by the gate, which finds cells that make no sense, and by the stage that codes them. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Cells of the cohort sheet and of quality decisions that mean "no value" (ids excepted).
MISSING = frozenset({"", "n/a", "N/A", "NA"})
#: Cells of phenotype tables that mean "no value" (ids excepted): the words of BIDS, R, pandas, SQL and spreadsheets.
MISSING_VALUES = MISSING | {
    "NaN", "nan", "-NaN", "-nan", "None", "null", "NULL", "<NA>", "#N/A", "#N/A N/A", "#NA",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
}  # fmt: skip
#: Columns that are classes even where they look like numbers.
ALWAYS_WORDS = ("site", "family", "session", "diagnosis")
#: Rule -> the number of each word (in lower case).
PAIRS: tuple[tuple[str, dict[str, float]], ...] = (
    ("F=0, M=1", {"f": 0.0, "m": 1.0}),
    ("female=0, male=1", {"female": 0.0, "male": 1.0}),
    ("false=0, true=1", {"false": 0.0, "true": 1.0}),
    ("no=0, yes=1", {"no": 0.0, "yes": 1.0}),
)
#: A column with at least this share of numbers is a column of numbers: its other cells are mistakes.
LEAST_NUMBERS = 0.5
#: A column with at least this share of the words of a pair is coded by the pair; yes, no and maybe are just words.
LEAST_WORDS = 0.9

_BIN = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*-\s*([0-9]+(?:\.[0-9]+)?)$")
_MONTH = re.compile(r"^(0?[1-9]|1[0-2])\s*-\s*(19|20)[0-9]{2}$")
_OPEN_BIN = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*\+$")
_DECIMAL_COMMA = re.compile(r"^[+-]?[0-9]*,[0-9]+$")


def is_number(text: str) -> bool:
    """Tell whether a cell is a number in the notation of tables (a decimal point, no grouping)."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def _all_numbers(cells: Sequence[str]) -> bool:
    """Tell quickly whether every cell is a number."""
    try:
        for cell in cells:
            float(cell)
    except ValueError:
        return False
    return "_" not in (text := "".join(cells)) and text.isascii()


def bin_value(text: str) -> float:
    """Return the middle of a bin such as ``22-25``, the bound of an open one such as ``36+``; NaN for other words.

    ``2019-05`` is no bin: its second number is smaller. Neither is ``05-2019``, a month.
    """
    match = _BIN.match(text)
    if match:
        low, high = float(match[1]), float(match[2])
        return float("nan") if low > high or _MONTH.match(text) else (low + high) / 2
    match = _OPEN_BIN.match(text)
    return float(match[1]) if match else float("nan")


@dataclass(frozen=True)
class Cells:
    """The kind of a column's cells.

    Attributes
    ----------
    kind
        ``number`` (also words and bins with a built-in meaning), ``text``, or ``mixed``: numbers, and cells that are not.
    odd
        Positions of the cells that make the column ``mixed``.
    """

    kind: str
    odd: list[int]


def judge(cells: Sequence[str], coding: Mapping[str, float] | None = None) -> Cells:
    """Return the kind of the cells of one column; missing values are ignored.

    Parameters
    ----------
    coding
        The configured numbers for the words of the column; words without one are odd.
    """
    if coding is not None:
        odd = [n for n, cell in enumerate(cells) if cell not in MISSING_VALUES and cell not in coding]
        return Cells("mixed" if odd else "number", odd)
    if _all_numbers(cells):
        return Cells("number", [])
    present = [position for position, cell in enumerate(cells) if cell not in MISSING_VALUES]
    others = [position for position in present if not is_number(cells[position])]
    if not others:
        return Cells("number", [])
    for _, pair in PAIRS:
        outside = [position for position in present if cells[position].lower() not in pair]
        if len(present) - len(outside) >= LEAST_WORDS * len(present):
            return Cells("mixed" if outside else "number", outside)
    outside = [position for position in others if bin_value(cells[position]) != bin_value(cells[position])]
    numbers = (
        [position for position in present if is_number(cells[position])] if len(outside) < len(others) else []
    )
    outside = sorted(outside + numbers)
    if len(present) - len(outside) >= LEAST_NUMBERS * len(present):
        return Cells("mixed" if outside else "number", outside)
    commas = sum(bool(_DECIMAL_COMMA.match(cells[position])) for position in others)
    if len(present) - len(others) + commas >= LEAST_NUMBERS * len(present):
        return Cells("mixed", others)
    return Cells("text", [])


def odd_cells_message(column: str, odd: Mapping[str, str]) -> str:
    """Return the message on cells that are not numbers in a column of numbers.

    Parameters
    ----------
    odd
        Place of each cell (``line 7``, or a subject) -> its text.
    """
    places = [f"'{value[:30]}' ({place})" for place, value in list(odd.items())[:3]]
    text = ", ".join(places) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
    if all(_DECIMAL_COMMA.match(value) for value in odd.values()):
        return f"column {column}: decimal commas, {text}; write decimal points"
    return (
        f"column {column} has numbers, but also {text}; correct or empty these cells, give the words numbers in "
        "phenotypes.coding, or name the column in phenotypes.exclude"
    )
