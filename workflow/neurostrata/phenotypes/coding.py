"""Coding of the cells of phenotype tables as numbers, by stated rules only.

Built-in rules, each named in the descriptives beside the variable it was used on:

* numbers stay numbers; ``n/a``, empty cells and infinities are missing;
* ``F``/``M``, ``female``/``male`` (any case): 0 and 1;
* ``false``/``true``, ``no``/``yes`` (any case): 0 and 1;
* age bins such as HCP's ``22-25``: the middle of the bin, an open bin ``36+`` its bound.

Anything else needs ``phenotypes: coding: {COLUMN: {value: number}}``; a column of numbers with single cells that are none
is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from neurostrata.cohort.values import ALWAYS_WORDS, PAIRS, bin_value, judge, odd_cells_message
from neurostrata.core.errors import UserError


@dataclass
class CodedColumn:
    """A column as numbers (NaN: missing) and the rule that made them; None: no rule fits.

    `odd` has the cells, by subject, that are no numbers in a column of numbers.
    """

    values: pd.Series | None
    rule: str
    odd: dict[str, str] = field(default_factory=dict)


def code_column(column: pd.Series, coding: Mapping[str, float] | None = None) -> CodedColumn:
    """Turn one column into numbers.

    Parameters
    ----------
    column
        Values as read.
    coding
        The user's coding (value as text -> number); it takes precedence over the built-in rules.

    Raises
    ------
    UserError
        When the user's coding lacks a value that occurs.
    """
    present = column.notna()
    if coding is not None:
        table = {str(key): float(value) for key, value in coding.items()}
        text = column[present].astype(str).str.strip()
        unknown = sorted(set(text) - set(table))
        if unknown:
            raise UserError(
                f"phenotypes: coding: {column.name}: no number given for the value {unknown[0]!r}; add it"
            )
        rule = ", ".join(f"{key}={value:g}" for key, value in table.items())
        return CodedColumn(text.map(table).astype(float).reindex(column.index), rule)
    if pd.api.types.is_bool_dtype(column):
        return CodedColumn(column.astype(float), "false=0, true=1")
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    if bool((numbers.notna() == present).all()):
        return CodedColumn(numbers.where(np.isfinite(numbers)), "number")
    text = column[present].astype(str).str.strip().str.lower()
    for rule, pair in PAIRS:
        if set(text) <= set(pair):
            return CodedColumn(text.map(pair).astype(float).reindex(column.index), rule)
    bins = text.map(bin_value).astype(float)
    if bool(bins.notna().all()):
        return CodedColumn(bins.reindex(column.index), "middle of the bin, an open bin its bound")
    examples = ", ".join(sorted(set(text))[:3])
    cells = column[present].astype(str).str.strip()
    odd = judge(list(cells)).odd
    return CodedColumn(None, f"not numeric ({examples})", {str(cells.index[n]): cells.iloc[n] for n in odd})


@dataclass
class CodedTable:
    """A table as numbers, the rule of every column, and the columns left out with the reason."""

    values: pd.DataFrame
    rules: dict[str, str]
    left_out: dict[str, str]


def code_table(
    table: pd.DataFrame, coding: Mapping[str, Mapping[str, float]] | None = None, strict: bool = False
) -> CodedTable:
    """Turn all columns of a table into numbers.

    Parameters
    ----------
    table
        Index: subjects.
    coding
        The user's codings by column.
    strict
        Whether the columns were requested by name: a column of words is then an error; otherwise it is left out and
        listed, as are columns of classes (:data:`neurostrata.cohort.values.ALWAYS_WORDS`).

    Raises
    ------
    UserError
        See `strict`; also when `coding` names an absent column, and when a column of numbers has cells that are no numbers
        (one wrong cell would otherwise exclude the whole variable).
    """
    coding = coding or {}
    for column in coding:
        if column not in table.columns:
            raise UserError(f"phenotypes: coding: {column} is no variable of the phenotype tables; remove it")
    numbers: dict[str, pd.Series] = {}
    rules: dict[str, str] = {}
    left_out: dict[str, str] = {}
    odd_columns: list[str] = []
    for column in table.columns:
        if column in ALWAYS_WORDS and not strict and column not in coding:
            left_out[column] = "classes"
            continue
        coded = code_column(table[column], coding.get(column))
        if coded.values is not None:
            numbers[column] = coded.values
            rules[column] = coded.rule
        elif coded.odd:
            odd_columns.append(odd_cells_message(str(column), coded.odd))
        elif strict:
            raise UserError(
                f"phenotypes: variables: {column} is {coded.rule}; "
                f"set phenotypes: coding: {column}: {{value: number}}, or take it off the list"
            )
        else:
            left_out[column] = coded.rule
    if odd_columns:
        more = [f"... and {len(odd_columns) - 10} more columns"] if len(odd_columns) > 10 else []
        raise UserError("\n".join(f"phenotypes: {line}" for line in odd_columns[:10] + more))
    return CodedTable(pd.DataFrame(numbers, index=table.index, dtype=float), rules, left_out)
