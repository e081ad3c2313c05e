"""Joining phenotype tables to the cohort: subject ids, duplicates, columns that two tables share."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.cohort.ids import ID_COLUMNS, find_id_column, plain_id
from neurostrata.cohort.values import MISSING_VALUES
from neurostrata.core.errors import UserError
from neurostrata.core.text_tables import read_text_table

_SEPARATOR = "\x1f"


@dataclass
class JoinedTable:
    """Phenotypes of the cohort: one row per person of the cohort, in the cohort's order.

    Attributes
    ----------
    values
        Index: subject ids. Columns as in the files, not yet coded as numbers.
    without
        People of the cohort who are in no table.
    others
        Number of people in the tables who are not in the cohort.
    """

    values: pd.DataFrame
    without: list[str] = field(default_factory=list)
    others: int = 0


def read_phenotypes(
    path: str | Path,
    id_column: str | None = None,
    text: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    coding: Mapping[str, Mapping[str, float]] | None = None,
) -> pd.DataFrame:
    """Read a phenotype table strictly; ids stay text, unchanged.

    Parameters
    ----------
    path
        TSV or CSV file (:mod:`neurostrata.core.text_tables`).
    id_column
        Its column of ids; None looks for the usual names.
    text
        Further columns that stay text.
    columns
        The columns to read besides the ids; None reads all.
    coding
        Numbers for the words of columns, which stay text; a word with a number is a value even where it would otherwise mean a
        missing one, such as None.

    Returns
    -------
    DataFrame
        Numbers, booleans or text; NaN where a cell is one of :data:`neurostrata.cohort.values.MISSING_VALUES`.
    """
    table = read_text_table(path)
    ids = [name for name in ([id_column] if id_column else ID_COLUMNS) if name in table.columns]
    names = [c for c in table.columns if columns is None or c in columns or c in ids]
    places = [table.columns.index(name) for name in names]
    # cells have no control characters, so that one can separate them for pandas' fast parser of numbers
    lines = (_SEPARATOR.join([line[place] for place in places]) + "\n" for line in table.cells)
    missing: dict[str, Any] = dict.fromkeys(names, sorted(MISSING_VALUES))
    missing |= {name: [] for name in ids}
    coding = coding or {}
    missing |= {name: sorted(MISSING_VALUES - set(coding[name])) for name in names if name in coding}
    return pd.read_csv(
        io.StringIO("".join(lines)),
        sep=_SEPARATOR,
        names=names,
        header=None,
        quoting=csv.QUOTE_NONE,
        dtype=dict.fromkeys([*ids, *(name for name in (*text, *coding) if name in names)], str),
        na_values=missing,
        keep_default_na=False,
        skip_blank_lines=False,
        index_col=False,
        low_memory=False,
    )


def normalise_ids(column: pd.Series) -> pd.Series:
    """Return ids in the form in which they are compared (:func:`neurostrata.cohort.ids.plain_id`)."""
    return column.astype(str).map(plain_id)


def key_table(
    frame: pd.DataFrame, name: str, id_column: str | None = None, subjects: Iterable[str] | None = None
) -> pd.DataFrame:
    """Index one table by subject.

    Parameters
    ----------
    frame
        The table as read.
    name
        Its file name, for messages.
    id_column
        The column with the ids; None looks for the usual names in turn.
    subjects
        The people of the study; ids of others may occur twice. None: everybody.

    Raises
    ------
    UserError
        When there is no id column, an id is empty, or a subject has two rows.
    """
    found = find_id_column(list(map(str, frame.columns)), id_column, name, "phenotypes: id_column")
    empty = frame[found].isna() | (frame[found].astype(str).str.strip() == "")
    if empty.any():
        raise UserError(
            f"{name}: {int(empty.sum())} rows without an id in column {found}; fill or remove them"
        )
    keyed = frame.drop(columns=found)
    keyed.index = pd.Index(normalise_ids(frame[found]), name="subject")
    twice = keyed.index.duplicated()
    if twice.any():
        doubles = keyed.index[twice].unique()
        doubles = doubles if subjects is None else doubles.intersection(pd.Index(list(subjects)))
        if len(doubles):
            raise UserError(
                f"{name}: subject {', '.join(doubles[:5])}{' ...' if len(doubles) > 5 else ''} has more than one row "
                f"({len(doubles)} such subjects); keep one row per person"
            )
        keyed = keyed[~twice]
    return keyed


def _merge_column(
    joined: dict[str, pd.Series], owner: dict[str, str], column: str, values: pd.Series, name: str
) -> None:
    """Add one column, or fill the gaps of a column that an earlier table had with equal values."""
    if column not in joined:
        joined[column] = values
        owner[column] = name
        return
    old = joined[column]
    both = old.notna() & values.notna()
    numbers = [pd.to_numeric(part[both], errors="coerce") for part in (old, values)]
    equal = (numbers[0] - numbers[1]).abs() <= 1e-9
    equal |= old[both].astype(str) == values[both].astype(str)
    if not equal.all():
        person = equal.index[~equal][0]
        raise UserError(
            f"{name}: column {column} differs from the one in {owner[column]} (subject {person}: "
            f"{values[person]} and {old[person]}); rename one of them, or add it to phenotypes: exclude"
        )
    joined[column] = old.where(old.notna(), values)


def join_tables(
    tables: Sequence[tuple[str, pd.DataFrame]],
    subjects: Sequence[str],
    columns: Sequence[str] | None = None,
    id_column: str | None = None,
    exclude: Sequence[str] = (),
) -> JoinedTable:
    """Join phenotype tables on the cohort's people.

    Parameters
    ----------
    tables
        Pairs of file name (for messages) and table as read.
    subjects
        The cohort's ids, without ``sub-``.
    columns
        The columns to take; None takes all.
    id_column
        The id column's name in every table; None looks for `ID_COLUMNS`.
    exclude
        Columns to ignore, in every table.

    Raises
    ------
    UserError
        When a table shares no ids with the cohort, two tables disagree about a column, or a wanted or
        excluded column is in no table.
    """
    cohort = pd.Index([str(subject) for subject in subjects], name="subject")
    joined: dict[str, pd.Series] = {}
    owner: dict[str, str] = {}
    known: set[str] = set()
    excluded: set[str] = set()
    everybody: set[str] = set()
    for name, frame in tables:
        keyed = key_table(frame, name, id_column, cohort)
        shared = cohort.intersection(keyed.index)
        if not len(shared):
            raise UserError(
                f"{name}: shares no subject ids with the cohort (in this file: "
                f"{', '.join(keyed.index[:3]) or 'none'}; in the cohort: {', '.join(cohort[:3])}); "
                "use the same ids in both, or set phenotypes: id_column"
            )
        known.update(shared)
        everybody.update(keyed.index)
        excluded.update(column for column in exclude if column in keyed.columns)
        wanted = [
            column
            for column in keyed.columns
            if (columns is None or column in columns) and column not in excluded
        ]
        here = keyed[wanted].reindex(cohort)
        for column in wanted:
            _merge_column(joined, owner, str(column), here[column], name)
    unknown = [column for column in exclude if column not in excluded]
    if columns is None and unknown:
        raise UserError(
            f"phenotypes: exclude: {unknown[0]} is no column of {', '.join(name for name, _ in tables)}; "
            "correct or remove it"
        )
    if columns is not None:
        absent = [column for column in columns if column not in joined]
        if absent:
            some = ", ".join(absent[:8]) + (" ..." if len(absent) > 8 else "")
            raise UserError(
                f"phenotypes: variables: {some} in none of {', '.join(name for name, _ in tables)} "
                f"({len(absent)} of {len(columns)} missing); "
                "add the file that has them or take them off the list"
            )
        joined = {column: joined[column] for column in columns}
    return JoinedTable(
        values=pd.DataFrame(joined, index=cohort),
        without=[subject for subject in cohort if subject not in known],
        others=len(everybody - set(cohort)),
    )
