"""Covariates (age, sex, head size, site) as the columns of a linear model, learned from some people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.phenotypes.coding import code_column

#: Columns of the cohort sheet that are names even where they look like numbers.
ALWAYS_WORDS = ("site", "family", "session", "diagnosis")


def find_columns(names: Sequence[str], tables: Sequence[pd.DataFrame], place: str) -> pd.DataFrame:
    """Take each column from the first table that has it.

    Parameters
    ----------
    names
        Wanted columns.
    tables
        Indexed by the same subjects, in order of precedence.
    place
        The key of the configuration that names them, for the message.

    Raises
    ------
    UserError
        When a column is in none of the tables, or nobody has a value.
    """
    found = {}
    for name in names:
        column = next((table[name] for table in tables if name in table), None)
        if column is None:
            raise UserError(f"{place}: '{name}' is no column of the cohort sheet or of the phenotype tables")
        column = column.replace("", np.nan)
        if column.isna().all():
            raise UserError(f"{place}: nobody has a value of '{name}'; take it off the list")
        found[name] = column
    return pd.DataFrame(found, index=tables[0].index)


def code_covariates(table: pd.DataFrame, words: Sequence[str] = ALWAYS_WORDS) -> pd.DataFrame:
    """Turn columns into numbers by the rules of :mod:`neurostrata.phenotypes.coding`; others stay text (classes).

    Parameters
    ----------
    table
        Index: subjects.
    words
        Columns that are classes even where they look like numbers.
    """
    coded = {}
    for name in table:
        column = table[name]
        numbers = None if name in words else code_column(column).values
        coded[name] = column.where(column.isna(), column.astype(str)) if numbers is None else numbers
    return pd.DataFrame(coded, index=table.index)


class CovariateDesign:
    """Covariates as columns of numbers: numbers standardised, classes as indicators against the first.

    Attributes
    ----------
    columns_ : list of str
        Names of the columns; a covariate that is constant among those it was learned from has none.
    """

    def fit(self, table: pd.DataFrame) -> CovariateDesign:
        """Learn means, standard deviations and classes.

        Parameters
        ----------
        table
            People x covariates (:func:`code_covariates`); people with gaps are passed over.
        """
        known = table.dropna()
        self._numbers: dict[str, tuple[float, float]] = {}
        self._classes: dict[str, list[str]] = {}
        self.columns_: list[str] = []
        for name in table:
            column = known[name]
            if pd.api.types.is_numeric_dtype(table[name]):
                centre, spread = float(column.mean()), float(column.std(ddof=0))
                self._numbers[str(name)] = (centre, spread)
                self.columns_ += [str(name)] if spread > 0 else []
            else:
                self._classes[str(name)] = sorted(set(column))
                self.columns_ += [f"{name}: {level}" for level in self._classes[str(name)][1:]]
        return self

    def problems(self, table: pd.DataFrame) -> list[str]:
        """Return for each person why there is no row of numbers; "" where there is one."""
        reasons = []
        for _, row in table.iterrows():
            lacking = [f"no {name}" for name in table if pd.isna(row[name])]
            lacking += [
                f"{name} '{row[name]}' does not occur among the training people"
                for name, levels in self._classes.items()
                if pd.notna(row[name]) and row[name] not in levels
            ]
            reasons.append("; ".join(lacking))
        return reasons

    def transform(self, table: pd.DataFrame) -> np.ndarray:
        """Return (people, columns), float64; NaN where :meth:`problems` has a reason."""
        columns: list[np.ndarray] = []
        for name in table:
            if name in self._numbers:
                centre, spread = self._numbers[name]
                columns += [(table[name].to_numpy(float) - centre) / spread] if spread > 0 else []
            else:
                levels = self._classes[name]
                columns += [(table[name] == level).to_numpy(float) for level in levels[1:]]
        matrix = np.column_stack(columns) if columns else np.zeros((len(table), 0))
        matrix[[reason != "" for reason in self.problems(table)]] = np.nan
        return matrix
