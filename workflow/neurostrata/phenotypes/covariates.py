"""Covariates (age, sex, head size, site) as the columns of a linear model, learned from some people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.config import AUTOMATIC_SPLINE, PEOPLE_PER_COLUMN
from neurostrata.core.errors import UserError
from neurostrata.phenotypes.coding import code_column


def find_columns(names: Sequence[str], tables: Sequence[pd.DataFrame], place: str) -> pd.DataFrame:
    """Take each column from the first table that has it.

    Parameters
    ----------
    names
        The columns.
    tables
        Indexed by the same subjects, in order of precedence.
    place
        The configuration key that names the columns, for the message.

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


def add_reason(reasons: np.ndarray, people: np.ndarray, text: str) -> None:
    """Append a reason to those of some people (bool), in place."""
    reasons[people] = [f"{reason}; {text}" if reason else text for reason in reasons[people]]


class CovariateDesign:
    """Covariates as columns of numbers: numbers standardised, classes as indicators against the first.

    Parameters
    ----------
    splines
        Columns for a number with many values: 1, the number itself; 3 or more, a cubic spline with so many degrees of
        freedom, with knots at quantiles and straight lines beyond the outermost. A mapping has this for each number that is
        not straight. ``auto``: :data:`AUTOMATIC_SPLINE` for as many numbers, the first ones first, as leave
        `people_per_column`.
    people_per_column
        People for each column of a number, of ``auto``.

    Attributes
    ----------
    columns_ : list of str
        Names of the columns; a covariate that is constant among the training people has none.
    curves_ : dict of str to int
        Degrees of freedom of the numbers whose effect is a spline.
    """

    def __init__(
        self,
        splines: int | Literal["auto"] | Mapping[str, int] = 1,
        people_per_column: int = PEOPLE_PER_COLUMN,
    ) -> None:
        self.splines, self.people_per_column = splines, people_per_column

    def fit(self, table: pd.DataFrame) -> CovariateDesign:
        """Learn means, standard deviations and classes.

        Parameters
        ----------
        table
            People x covariates (:func:`code_covariates`); people with gaps are ignored.
        """
        known = table.dropna()
        self._numbers: dict[str, tuple[float, float]] = {}
        self._classes: dict[str, list[str]] = {}
        self._splines: dict[str, Any] = {}
        self.columns_: list[str] = []
        numbers = [name for name in table if pd.api.types.is_numeric_dtype(table[name])]
        self.curves_ = self._curves(known[numbers])
        for name in table:
            column = known[name]
            if name in numbers:
                centre, spread = float(column.mean()), float(column.std(ddof=0))
                self._numbers[str(name)] = (centre, spread)
                if name in self.curves_:
                    freedom = self.curves_[str(name)]
                    self._splines[str(name)] = _spline(freedom).fit(column.to_numpy(float)[:, None])
                    self.columns_ += [f"{name}: spline {part + 1}" for part in range(freedom)]
                else:
                    self.columns_ += [str(name)] if spread > 0 else []
            else:
                self._classes[str(name)] = sorted(set(column))
                self.columns_ += [f"{name}: {level}" for level in self._classes[str(name)][1:]]
        return self

    def _curves(self, numbers: pd.DataFrame) -> dict[str, int]:
        """Return the degrees of freedom of each number that has enough values (and people) for a spline."""
        if isinstance(self.splines, Mapping):
            wanted = {str(name): self.splines.get(str(name), 1) for name in numbers}
        else:
            each = AUTOMATIC_SPLINE if self.splines == "auto" else self.splines
            wanted = {str(name): each for name in numbers}
        curves = {
            name: freedom
            for name, freedom in wanted.items()
            if freedom >= 3 and numbers[name].nunique() > freedom + 1
        }
        if self.splines != "auto":
            return curves
        left = len(numbers) // self.people_per_column - int((numbers.nunique() > 1).sum())
        return dict(list(curves.items())[: max(0, left // (AUTOMATIC_SPLINE - 1))])

    def problems(self, table: pd.DataFrame) -> np.ndarray:
        """Return for each person why there is no row of numbers, "" where there is one (array of text)."""
        reasons = np.full(len(table), "", dtype=object)
        for name in table:
            add_reason(reasons, table[name].isna().to_numpy(), f"no {name}")
            if name in self._classes:
                unknown = (table[name].notna() & ~table[name].isin(self._classes[name])).to_numpy()
                for level in set(table.loc[unknown, name]):
                    unseen = f"{name} '{level}' does not occur among the training people"
                    add_reason(reasons, unknown & (table[name] == level).to_numpy(), unseen)
        return reasons

    def transform(self, table: pd.DataFrame) -> np.ndarray:
        """Return (people, columns), float64; NaN where :meth:`problems` has a reason."""
        columns: list[np.ndarray] = []
        for name in table:
            if name in self._splines:
                columns += list(_spline_columns(self._splines[name], table[name]).T)
            elif name in self._numbers:
                centre, spread = self._numbers[name]
                columns += [(table[name].to_numpy(float) - centre) / spread] if spread > 0 else []
            else:
                levels = self._classes[name]
                columns += [(table[name] == level).to_numpy(float) for level in levels[1:]]
        matrix = np.column_stack(columns) if columns else np.zeros((len(table), 0))
        matrix[self.problems(table) != ""] = np.nan
        return matrix


def _spline(degrees_of_freedom: int) -> Any:
    """Return scikit-learn's cubic splines with so many columns, not counting the constant."""
    from sklearn.preprocessing import SplineTransformer

    return SplineTransformer(
        n_knots=degrees_of_freedom - 1, degree=3, knots="quantile", extrapolation="linear", include_bias=False
    )


def _spline_columns(spline: Any, column: pd.Series) -> np.ndarray:
    """Return (people, columns); NaN for people without a value."""
    known = column.notna().to_numpy()
    values = np.full((len(column), spline.n_features_out_), np.nan)
    if known.any():
        values[known] = spline.transform(column[known].to_numpy(float)[:, None])
    return values
