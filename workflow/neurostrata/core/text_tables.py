"""The strict reader of tables that people write, as tab-separated or comma-separated text.

Used while the workflow is parsed: standard library only. A table is either read exactly as
written or refused, with the number of the wrong line; nothing is guessed, and no cell can swallow the lines after it.

* Lines end with a line feed, a carriage return, or both. Empty lines are skipped.
* Cells are separated as the suffix says (``.csv``: commas, any other: tabs). A file whose line of column names has no
  such separator, but one other kind (tabs, commas or semicolons), is separated by that.
* Every line has as many cells as there are column names; blanks around a cell are removed.
* Quotation marks have no meaning in tab-separated files, except that a pair around a cell is removed (spreadsheets write
  such pairs). In comma- and semicolon-separated files RFC 4180 holds. A mark that opens a
  cell and does not close it, and a line break inside a cell, are refused.
* The encoding is UTF-8, with or without a byte order mark, or UTF-16 with one.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from neurostrata.core.errors import UserError
from neurostrata.core.files import absence

#: First bytes of files that are not text -> what they are, and what to do.
_BINARY = (
    (
        b"PK\x03\x04",
        "a spreadsheet (.xlsx or .ods)",
        "save it as tab-separated text (.tsv) or as CSV (UTF-8)",
    ),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet (.xls)", "save it as tab-separated text (.tsv) or as CSV (UTF-8)"),
    (b"\x1f\x8b", "compressed (gzip)", "unpack it"),
    (b"%PDF", "a PDF document", "save the table as tab-separated text (.tsv)"),
    (b"$FL2", "an SPSS file", "save it as tab-separated text (.tsv)"),
)
#: How many wrong lines of one file are listed.
_MOST_PROBLEMS = 10
#: Characters that no table has; a null character is what UTF-16 without its mark looks like.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANK = re.compile(r"[^\S\t]")
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons"}


@dataclass(frozen=True)
class TextTable:
    """A table of text cells.

    Attributes
    ----------
    columns
        Column names, all different.
    cells
        One list per line, each as long as `columns`; blanks around cells removed.
    lines
        The line number in the file (from 1) of each list of `cells`.
    """

    columns: list[str]
    cells: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Return the cells of one column."""
        position = self.columns.index(name)
        return [line[position] for line in self.cells]


def read_text_table(path: str | Path, comments: bool = False) -> TextTable:
    """Read a table strictly.

    Parameters
    ----------
    path
        TSV or CSV file.
    comments
        Skip lines that begin with ``#``.

    Raises
    ------
    UserError
        When it is not text, or lines do not match the column names: each with its number, ten at most.
    """
    path = Path(path)
    try:
        status = path.stat()
        return _read(str(path), comments, status.st_size, status.st_mtime_ns)
    except FileNotFoundError as error:
        raise UserError(f"{path}: {absence(path)}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a null character in the path
        raise UserError(f"{str(path)!r}: is not the path of a file") from error


@lru_cache(maxsize=8)
def _read(path: str, comments: bool, size: int, time: int) -> TextTable:
    """Read a file; as long as it does not change, further calls return the same table."""
    content = Path(path).read_bytes()
    for magic, kind, remedy in _BINARY:
        if content.startswith(magic):
            raise UserError(f"{path}: is {kind}, not a text table; {remedy}")
    lines = [
        (number, line)
        for number, line in enumerate(_lines(path, _text(path, content)), start=1)
        if line.strip() and not (comments and line.lstrip().startswith("#"))
    ]
    if not lines:
        raise UserError(f"{path}: is empty; it needs a line of column names")
    first, header = lines[0]
    separator = _separator(path, header)
    problems: list[str] = []
    columns = _cells(path, first, header, separator, [], problems)
    if problems:
        raise UserError("\n".join(problems))
    cells, numbers = [], []
    for number, line in lines[1:]:
        found = _cells(path, number, line, separator, columns, problems)
        if len(found) == len(columns):
            cells.append(found)
            numbers.append(number)
    if problems:
        more = [f"{path}: ... and {len(problems) - _MOST_PROBLEMS} more lines"]
        raise UserError("\n".join(problems[:_MOST_PROBLEMS] + more * (len(problems) > _MOST_PROBLEMS)))
    return _named(path, TextTable(columns, cells, numbers))


def _text(path: str, content: bytes) -> str:
    """Decode a file by its byte order mark, else as UTF-8."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: is not UTF-8 text (byte {content[error.start : error.start + 1].hex()}); "
            "save the table with the encoding UTF-8"
        ) from error
    control = _CONTROL.search(text)
    if control:
        line = text[: control.start()].count("\n") + 1
        kind = "null" if control.group() == "\0" else "control"
        raise UserError(f"{path}, line {line}: holds a {kind} character; save the table again as UTF-8 text")
    return text


def _lines(path: str, text: str) -> list[str]:
    """Divide into lines; only line feeds, carriage returns or both end one."""
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        if "\n" in text.rstrip("\n"):
            line = text[: text.index("\r")].count("\n") + 1
            raise UserError(f"{path}, line {line}: a carriage return inside the line; remove the line break")
        text = text.replace("\r", "\n")
    return text.split("\n")


def _separator(path: str, header: str) -> str:
    usual = "," if path.lower().endswith(".csv") else "\t"
    if usual in header:
        return usual
    others = [mark for mark in _NAMES if mark in header]
    if len(others) > 1:
        raise UserError(
            f"{path}: the column names are separated by {_NAMES[others[0]]} and by {_NAMES[others[1]]}; use tabs"
        )
    return others[0] if others else usual


def _cells(
    path: str, number: int, line: str, separator: str, columns: list[str], problems: list[str]
) -> list[str]:
    """Return the cells of a line, or note what is wrong with it."""
    place = f"{path}, line {number}"
    if '"' not in line:
        cells = line.split(separator)
        if _BLANK.search(line):  # most lines of a wide table of numbers have no quotation marks
            cells = [cell.strip() for cell in cells]
    elif separator == "\t":
        cells = [cell.strip() for cell in line.split(separator)]
        for position, cell in enumerate(cells):
            if not cell.startswith('"'):
                continue
            if len(cell) < 2 or not cell.endswith('"') or '"' in cell[1:-1].replace('""', ""):
                name = columns[position] if position < len(columns) else position + 1
                problems.append(
                    f"{place}, column {name}: a quotation mark opens the cell and does not close it ({cell[:40]}); "
                    "remove it, and any tab or line break inside the cell"
                )
                return []
            cells[position] = cell[1:-1].replace('""', '"').strip()
    else:
        try:
            (cells,) = csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True)
        except (csv.Error, ValueError):
            problems.append(
                f"{place}: the quotation marks do not match; a cell in quotation marks must begin and end "
                "with one, on the same line"
            )
            return []
        cells = [cell.strip() for cell in cells]
    if columns and len(cells) != len(columns):
        if not any(cells):
            return []  # only separators: an empty line of a spreadsheet
        problems.append(
            f"{place}: {len(cells)} cells for {len(columns)} columns ({_NAMES[separator]} separate them); "
            "every line must have a cell, if an empty one, for each column"
        )
        return []
    return cells


def _named(path: str, table: TextTable) -> TextTable:
    """Check the column names; columns that have neither a name nor a cell are dropped."""
    nameless = [position for position, name in enumerate(table.columns) if not name]
    for position in nameless:
        for number, line in zip(table.lines, table.cells):
            if line[position]:
                raise UserError(
                    f"{path}: column {position + 1} has no name, and '{line[position][:40]}' in line {number}; "
                    "name it, or remove the column"
                )
    kept = [position for position, name in enumerate(table.columns) if name]
    columns = [table.columns[position] for position in kept]
    seen: set[str] = set()
    double = [name for name in columns if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if double:
        raise UserError(
            f"{path}: a column name is given twice: {', '.join(dict.fromkeys(double))}; rename or remove one of them"
        )
    if not columns:
        raise UserError(f"{path}: is empty; it needs a line of column names")
    if len(kept) < len(table.columns):
        table = TextTable(
            columns, [[line[position] for position in kept] for line in table.cells], table.lines
        )
    empty = [not any(line) for line in table.cells]
    if any(empty):
        cells = [line for line, nothing in zip(table.cells, empty) if not nothing]
        lines = [number for number, nothing in zip(table.lines, empty) if not nothing]
        table = TextTable(columns, cells, lines)
    return table
