"""Joining phenotype tables to the cohort: subject ids, doubles, columns that two tables share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from neurostrata.cohort.sheet import ID_COLUMNS
from neurostrata.core.errors import UserError


@dataclass
class JoinedTable:
    """Phenotypes of the cohort: one row per person of the cohort, in the cohort's order.

    Attributes
    ----------
    values
        Index: subject ids. Columns as in the files, not yet coded as numbers.
    without
        People of the cohort whom no table knows.
    others
        How many people stand in the tables and not in the cohort.
    """

    values: pd.DataFrame
    without: list[str] = field(default_factory=list)
    others: int = 0


def normalise_ids(column: pd.Series) -> pd.Series:
    """Return subject ids as text, the prefix ``sub-`` removed once; whole numbers lose a ``.0``.

    The ``.0`` comes from spreadsheets that saved HCP's numeric ids as floating-point numbers.
    """
    text = column.astype(str).str.strip()
    return text.str.removeprefix("sub-").str.replace(r"^(\d+)\.0+$", r"\1", regex=True)


def key_table(frame: pd.DataFrame, name: str, id_column: str | None = None) -> pd.DataFrame:
    """Index one table by subject.

    Parameters
    ----------
    frame
        The table as read.
    name
        Its file name, for messages.
    id_column
        The column with the ids; None looks for `ID_COLUMNS` in turn.

    Raises
    ------
    UserError
        When there is no id column, an id is empty, or a subject stands in it twice.
    """
    names = ID_COLUMNS if id_column is None else (id_column,)
    found = [column for column in names if column in frame.columns]
    if not found:
        raise UserError(
            f"{name}: no id column {' or '.join(names)} (its first columns: "
            f"{', '.join(map(str, frame.columns[:5]))}); set phenotypes: id_column"
        )
    empty = frame[found[0]].isna()
    if empty.any():
        raise UserError(
            f"{name}: {int(empty.sum())} rows without an id in column {found[0]}; fill or remove them"
        )
    keyed = frame.drop(columns=found[0])
    keyed.index = pd.Index(normalise_ids(frame[found[0]]), name="subject")
    doubles = keyed.index[keyed.index.duplicated()].unique()
    if len(doubles):
        raise UserError(
            f"{name}: subject {', '.join(doubles[:5])}{' ...' if len(doubles) > 5 else ''} stands in it more "
            f"than once ({len(doubles)} such subjects); keep one row per person"
        )
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
        The columns wanted; None takes all.
    id_column
        The id column's name in every table; None looks for `ID_COLUMNS`.
    exclude
        Columns to leave alone, in every table.

    Raises
    ------
    UserError
        When a table shares no ids with the cohort, two tables disagree about a column, or a wanted or
        excluded column is nowhere.
    """
    cohort = pd.Index([str(subject) for subject in subjects], name="subject")
    joined: dict[str, pd.Series] = {}
    owner: dict[str, str] = {}
    known: set[str] = set()
    excluded: set[str] = set()
    everybody: set[str] = set()
    for name, frame in tables:
        keyed = key_table(frame, name, id_column)
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
