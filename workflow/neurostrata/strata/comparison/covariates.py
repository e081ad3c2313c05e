"""The covariates of comparisons between people: which are known, and their columns in a linear model.

Numbers are ranked (Quade 1967), so that a few people with extreme ones do not decide their effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.adjustment.codes import known_columns
from neurostrata.core.config import COVARIATES, PEOPLE_PER_COLUMN
from neurostrata.phenotypes.covariates import CovariateDesign, code_covariates

Array = NDArray[np.float64]

#: Columns of tables that say what was adjusted for.
COLUMNS = {
    "adjusted_for": "covariates",
    "curves": "covariates of whose ranks a cubic curve is the effect; of other numbers a straight line",
    "slopes": "covariates in whose classes age has slopes of its own",
}


def known_covariates(people: pd.DataFrame, further: Sequence[str] = ()) -> pd.DataFrame:
    """Return the covariates that most of these people have, coded; NaN for whoever lacks one.

    Parameters
    ----------
    people
        Their characteristics (characteristics.tsv).
    further
        Characteristics that are covariates beside :data:`neurostrata.core.config.COVARIATES`.
    """
    names = known_columns([*COVARIATES, *further], people)
    return code_covariates(people[names].replace("", np.nan))


def ranked_numbers(covariates: pd.DataFrame) -> pd.DataFrame:
    """Return covariates with ranks for numbers; classes that are text stay."""
    numbers = covariates.select_dtypes("number")
    return covariates.assign(**{str(name): numbers[name].rank() for name in numbers})


def slopes_of_age(
    covariates: pd.DataFrame, design: CovariateDesign, matrix: Array
) -> tuple[Array, list[str]]:
    """Return columns that let age have a slope of its own in each class, as far as there are people for them.

    Parameters
    ----------
    covariates
        Complete people x covariates.
    design, matrix
        What was learned from these people, and their columns.

    Returns
    -------
    columns
        People x products of age and the classes' columns.
    names
        The covariates that have such columns: the first ones first, those for which there are :data:`PEOPLE_PER_COLUMN`
        people for each column of the design.
    """
    columns = np.zeros((len(covariates), 0))
    names: list[str] = []
    if "age" not in covariates.select_dtypes("number"):
        return columns, names
    age = covariates["age"].to_numpy(float)
    for name in covariates.columns.drop("age"):
        if covariates[name].nunique() > 2 and pd.api.types.is_numeric_dtype(covariates[name]):
            continue
        own = [place for place, c in enumerate(design.columns_) if c == name or c.startswith(f"{name}: ")]
        needed = matrix.shape[1] + columns.shape[1] + len(own)
        if own and len(covariates) >= PEOPLE_PER_COLUMN * needed:
            columns = np.hstack([columns, (age - age.mean())[:, None] * matrix[:, own]])
            names.append(str(name))
    return columns, names


def covariate_columns(
    covariates: pd.DataFrame, splines: int | Literal["auto"]
) -> tuple[Array, list[str], list[str]]:
    """Return the covariates of the linear model, of these people alone.

    Parameters
    ----------
    covariates
        Complete people x covariates (:func:`code_covariates`).
    splines
        See :func:`~neurostrata.strata.comparison.adjusted.compare_adjusted`.

    Returns
    -------
    columns
        People x columns, without the constant.
    curves, slopes
        The covariates whose effect is a curve, and those in whose classes age has slopes of its own.
    """
    ranked = ranked_numbers(covariates)
    design = CovariateDesign(splines).fit(ranked)
    columns = design.transform(ranked)
    slopes: list[str] = []
    if splines == "auto":
        products, slopes = slopes_of_age(ranked, design, columns)
        columns = np.hstack([columns, products])
    return columns, list(design.curves_), slopes


def orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis of the columns' span."""
    left, scale, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, scale > 1e-9 * max(float(scale[0]) if len(scale) else 0.0, 1e-300)]


def freed(values: Array, basis: Array) -> tuple[Array, Array]:
    """Return what covariates leave of values (people x factors), and which factors still vary.

    Parameters
    ----------
    values
        People x factors, complete.
    basis
        People x columns: orthonormal columns that span the constant and the covariates.
    """
    left = values - basis @ (basis.T @ values)
    return left, (left**2).sum(axis=0) > 1e-9 * np.maximum((values**2).sum(axis=0), 1e-300)


def covariate_words(
    covariates: Sequence[str], curves: Sequence[str], slopes: Sequence[str]
) -> dict[str, str]:
    """Return the values of :data:`COLUMNS`."""
    lists = ((covariates, "nothing"), (curves, "none"), (slopes, "none"))
    return dict(zip(COLUMNS, (", ".join(names) or none for names, none in lists), strict=True))
