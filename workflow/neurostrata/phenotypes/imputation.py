"""Missing phenotype values: which people and variables are used, and how gaps are filled.

Gaps are filled by a function of a few numbers (medians, or a mean and a covariance) that are kept in model.json, so that
new people are treated exactly as the cohort was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

POLICIES = ("complete", "median", "iterative")


@dataclass
class Selection:
    """The people and variables of the analysis, and why the others are left out."""

    variables: list[str]
    people: list[str]
    left_out_variables: dict[str, str]
    left_out_people: dict[str, str]


def select(
    table: pd.DataFrame, policy: str, max_missing_variable: float, max_missing_person: float
) -> Selection:
    """Choose variables, then people, by their share of missing values; constant variables are left out.

    Parameters
    ----------
    table
        Numbers, NaN where missing. Index: subjects.
    policy
        One of `POLICIES`. ``complete`` keeps only people without any gap in the variables kept.
    max_missing_variable, max_missing_person
        Largest allowed share of missing values. People whose values are all missing were not asked, and do not count in a
        variable's share.
    """
    left_out_people: dict[str, str] = {}
    left_out_variables: dict[str, str] = {}
    asked = table.notna().any(axis=1)
    for subject in table.index[~asked]:
        left_out_people[subject] = "no phenotypes"
    present = table[asked]
    variables: list[str] = []
    for column in table.columns:
        values = present[column]
        share = float(values.isna().mean()) if len(values) else 1.0
        if share > max_missing_variable:
            left_out_variables[column] = f"missing in {100 * share:.0f}% of the people"
        elif _constant(values):
            left_out_variables[column] = "constant"
        else:
            variables.append(column)
    allowed = 0.0 if policy == "complete" else max_missing_person * len(variables)
    people: list[str] = []
    counts = present[variables].isna().sum(axis=1)
    for subject, gaps in zip(counts.index, map(int, counts)):
        if gaps > allowed:
            left_out_people[str(subject)] = f"{gaps} of {len(variables)} variables missing"
        else:
            people.append(str(subject))
    # without the people who were just left out, a variable may be constant
    kept = present.loc[people]
    for column in list(variables):
        if people and _constant(kept[column]):
            left_out_variables[column] = "constant among the people with enough values"
            variables.remove(column)
    return Selection(variables, people, left_out_variables, left_out_people)


def _constant(values: pd.Series) -> bool:
    present = values.dropna().to_numpy(dtype=float)
    if len(present) < 2:
        return True
    spread = float(present.max() - present.min())
    return spread <= 1e-12 * max(1.0, float(np.abs(present).max()))


@dataclass
class Imputation:
    """How gaps are filled: with `centre`, or by regression on the values that a person has.

    Attributes
    ----------
    centre
        Median (policy ``median``) or mean (``iterative``) per variable.
    covariance
        Covariance of the variables (``iterative``), else None.
    """

    policy: str
    centre: Array
    covariance: Array | None = None

    def fill(self, values: Array) -> Array:
        """Return people x variables without gaps."""
        gaps = np.isnan(values)
        if self.covariance is None:
            return np.where(gaps, self.centre, values)
        sd = np.sqrt(np.diag(self.covariance))
        precision = np.linalg.inv(self.covariance / np.outer(sd, sd))
        filled = (np.asarray(values, dtype=float) - self.centre) / sd
        for pattern, rows in _patterns(gaps):
            if pattern.any():
                weights, _ = _regression(precision, pattern)
                filled[np.ix_(rows, pattern)] = filled[np.ix_(rows, ~pattern)] @ weights
        return np.where(gaps, filled * sd + self.centre, values)


def _patterns(gaps: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Group rows that miss the same variables."""
    unique, inverse = np.unique(gaps, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    return [(unique[k], np.flatnonzero(inverse == k)) for k in range(len(unique))]


def _regression(precision: Array, pattern: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return weights (present x missing) that predict the missing variables, and the residual covariance.

    They are computed from the inverse covariance, so that only a matrix of the few missing variables is inverted.
    """
    residual = np.asarray(np.linalg.inv(precision[np.ix_(pattern, pattern)]), dtype=np.float64)
    return -precision[np.ix_(~pattern, pattern)] @ residual, residual


def fit_imputation(
    values: Array, policy: str, tolerance: float = 1e-4, max_iter: int = 200, ridge: float = 0.01
) -> Imputation:
    """Learn how to fill gaps.

    ``iterative`` is the EM algorithm for the mean and covariance of a multivariate normal table
    (Little and Rubin, chapter 11): each gap is filled by regression on all values that the
    person has, repeatedly until nothing changes. A small ridge keeps it stable with many variables and few people.

    Parameters
    ----------
    values
        People x variables, NaN where missing.
    policy
        One of `POLICIES`; ``complete`` learns medians, which only new people need.
    tolerance
        Largest change of a filled value, in standard deviations, at which ``iterative`` stops.
    max_iter
        Largest number of rounds.
    ridge
        Added to the diagonal of the correlation matrix.
    """
    if policy != "iterative":
        return Imputation(policy, np.nanmedian(values, axis=0))
    centre = np.nanmean(values, axis=0)
    spread = np.nanstd(values, axis=0, ddof=1)
    scaled = (values - centre) / spread
    gaps = np.isnan(scaled)
    groups = _patterns(gaps)
    p = values.shape[1]
    filled = np.where(gaps, 0.0, scaled)
    mean, covariance = np.zeros(p), filled.T @ filled / len(filled) + ridge * np.eye(p)
    for _ in range(max_iter):
        previous = filled
        precision = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
        filled = scaled - mean
        left = np.zeros((p, p))
        for pattern, rows in groups:
            if pattern.any():
                weights, residual = _regression(precision, pattern)
                filled[np.ix_(rows, pattern)] = filled[np.ix_(rows, ~pattern)] @ weights
                # the variance that the regression leaves unexplained (the E step)
                left[np.ix_(pattern, pattern)] += len(rows) * residual
        filled += mean
        mean = filled.mean(axis=0)
        centred = filled - mean
        covariance = (centred.T @ centred + left) / len(filled) + ridge * np.eye(p)
        if not gaps.any() or float(np.abs(filled - previous).max()) < tolerance:
            break
    return Imputation(policy, centre + mean * spread, covariance * np.outer(spread, spread))
