"""Tables with a row per person: their ids, and which columns are variables of phenotypes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from neurostrata.cohort.discovery.participants import TAKEN
from neurostrata.cohort.ids import ID_COLUMNS, plain_id
from neurostrata.cohort.values import MISSING_VALUES, judge
from neurostrata.core.errors import UserError
from neurostrata.core.text_tables import TextTable, read_text_table
from neurostrata.core.wording import count

#: How names of tables end.
SUFFIXES = (".tsv", ".csv", ".txt")
#: Larger files are no tables of people.
_LARGEST = 200 << 20
#: Further usual names of columns of ids (compared in lower case, only letters and digits), after those that the workflow finds itself.
_USUAL_IDS = (
    "eid",
    "id",
    "subjectid",
    "subjid",
    "subid",
    "sub",
    "participant",
    "participantid",
    "subjectkey",
    "pid",
    "ptid",
)
_PUNCTUATION = re.compile(r"[^A-Za-z0-9]")
#: The rank of a name that says nothing of ids.
_UNUSUAL = 1000


@dataclass
class PeopleTable:
    """A table, its column of ids, and who of the study has a row.

    Attributes
    ----------
    path
        Of the file.
    ids
        Name of the column of ids.
    matched
        The study's people who have a row.
    facts
        Columns that describe people: age, sex, site and the like.
    variables
        Columns of numbers that are not facts.
    complete
        The study's people who have every variable.
    people
        Of each line the person's id, as the study writes it.
    exact
        Whether the table has the ids as the study writes them (with letters and digits only).
    """

    path: str
    table: TextTable
    ids: str
    matched: set[str]
    facts: list[str]
    variables: list[str]
    complete: set[str]
    people: list[str]
    exact: bool

    @property
    def by_itself(self) -> bool:
        """Whether the workflow finds the column of ids without being told."""
        return next((name for name in ID_COLUMNS if name in self.table.columns), None) == self.ids


def id_columns(table: TextTable) -> list[str]:
    """Return the columns that may hold ids, the likeliest first: those with usual names, then others without repeated cells."""

    unrepeated = [name for name in table.columns if len(set(cells := table.column(name))) == len(cells)]
    return sorted((n for n in table.columns if n in unrepeated or _rank(n) < _UNUSUAL), key=_rank)


def _rank(name: str) -> int:
    """Return how likely a column of this name holds ids, from 0, the likeliest, to :data:`_UNUSUAL`."""
    if name in ID_COLUMNS:
        return ID_COLUMNS.index(name)
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    return len(ID_COLUMNS) + _USUAL_IDS.index(plain) if plain in _USUAL_IDS else _UNUSUAL


def describe(path: str, table: TextTable, ids: str, people: Collection[str]) -> PeopleTable | str:
    """Return what a table says about the study's people, or why it cannot be used.

    Parameters
    ----------
    people
        Ids of the study's people.
    """
    known = set(people)
    cells = [plain_id(cell) for cell in table.column(ids)]
    exact = any(cell in known for cell in cells)
    if not exact:
        cells = [_PUNCTUATION.sub("", cell) for cell in cells]
    lines = [number for number, cell in enumerate(cells) if cell in known]
    if not lines:
        some = ", ".join(cells[:3])
        return f"its ids ({some}) are not those of the images ({', '.join(sorted(known)[:3])})"
    repeated = [name for name, number in Counter(cells[n] for n in lines).items() if number > 1]
    if repeated:
        return f"has several rows of {count(len(repeated), 'person', 'people')} ({', '.join(repeated[:3])})"
    facts, variables = [], []
    missing: set[int] = set()
    for name in table.columns:
        if name == ids:
            continue
        column = table.column(name)
        there = [column[n] for n in lines]
        if name.lower() in TAKEN:
            facts.append(name)
        elif judge(there).kind == "number" and len(set(there) - MISSING_VALUES) > 1:
            variables.append(name)
            missing |= {n for n, cell in zip(lines, there) if cell in MISSING_VALUES}
    return PeopleTable(
        path,
        table,
        ids,
        {cells[n] for n in lines},
        facts,
        variables,
        {cells[n] for n in lines if n not in missing},
        cells,
        exact,
    )


def describing(tables: Iterable[PeopleTable], named: Collection[str]) -> list[str]:
    """Return the paths of the tables that were named and only describe people: age, sex, families."""
    return [table.path for table in tables if not table.variables and table.path in named]


def read_tables(paths: Iterable[str], people: Collection[str]) -> tuple[list[PeopleTable], list[str]]:
    """Read tables of people; return those that can be used, and a line for each other one."""
    tables, unused = [], []
    for path in dict.fromkeys(paths):  # a table of the folder may have been named, too
        found = _read(path, people)
        if isinstance(found, PeopleTable):
            tables.append(found)
        elif not path.lower().endswith(".txt"):  # which may be a licence, a letter, a list of anything
            unused.append(found)
    return tables, unused


def _read(path: str, people: Collection[str]) -> PeopleTable | str:
    """Return a table with its likeliest column of ids, or why it cannot be used."""
    try:
        table = read_text_table(path)
    except UserError as error:
        return str(error).splitlines()[0]
    reasons: list[str] = []
    for column in id_columns(table):
        found = describe(path, table, column, people)
        if isinstance(found, str):
            reasons.append(found)
        # numbers of any kind may agree with a few ids
        elif _rank(column) < _UNUSUAL or 2 * len(found.matched) >= len(people):
            return found
    return f"{path}: {reasons[0] if reasons else 'no column of ids without repeated cells'}"


def may_be_table(path: Path) -> bool:
    """Tell by name and size whether a file may be a table of people."""
    try:
        return path.suffix.lower() in SUFFIXES and 0 < path.stat().st_size < _LARGEST
    except OSError:
        return False
