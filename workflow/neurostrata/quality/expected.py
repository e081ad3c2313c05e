"""What a measure is expected to be in a person, given age, sex and site: robust regression over the cohort."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.robust.norms import HuberT
from statsmodels.robust.robust_linear_model import RLM

from neurostrata.phenotypes.coding import code_column

Array = NDArray[np.float64]

#: Fewest people for each number that a regression estimates, as is usual.
PEOPLE_PER_NUMBER = 10


@dataclass(frozen=True)
class Expected:
    """Expected values of one measure.

    Attributes
    ----------
    values
        One per person, in the scale of the comparison (its logarithm where people are compared by that).
    groups
        The site of each person where sites are compared each by itself, else "" for all.
    covariates
        What was taken into account: ``age``, ``sex``, ``site``.
    parameters
        How many numbers were estimated.
    """

    values: pd.Series
    groups: pd.Series
    covariates: tuple[str, ...]
    parameters: int


def site_groups(site: pd.Series, fewest: int) -> pd.Series:
    """Return each person's site; those of sites with fewer people than `fewest`, and without a site, share "".

    Where these together are fewer than `fewest`, they stay "" and are compared with everybody.
    """
    known = site.fillna("").astype(str)
    counts = known.value_counts()
    large = set(counts.index[counts >= fewest]) - {""}
    return known.where(known.isin(large), "")


def ages(column: pd.Series) -> pd.Series:
    """Return ages as numbers, bins such as 22-25 as their middles."""
    coded = code_column(column.replace("", np.nan)).values
    return pd.to_numeric(column, errors="coerce") if coded is None else coded


def _age(people: pd.DataFrame) -> pd.Series | None:
    if "age" not in people:
        return None
    age = ages(people["age"])
    if age.notna().mean() < 0.8 or age.nunique() < 3:
        return None
    return (age.fillna(age.median()) - age.median()) / (age.std() or 1.0)


def _sex(people: pd.DataFrame) -> pd.Series | None:
    if "sex" not in people:
        return None
    sex = people["sex"].fillna("").astype(str)
    levels = sex[sex != ""].value_counts().index[:2]
    if len(levels) < 2:
        return None
    # who is of neither, or unknown, lies in the middle
    return pd.Series(np.select([sex == levels[0], sex == levels[1]], [-0.5, 0.5], 0.0), index=sex.index)


def expect(
    values: pd.Series,
    people: pd.DataFrame,
    covariates: Collection[str],
    people_per_site: int,
    learned: NDArray[np.bool_],
) -> Expected:
    """Return what is expected of each person: a regression on age and sex, with a level for each site.

    Huber's M-estimator, so that a few wrong images do not draw the expectation towards themselves; afterwards each site's level is
    the median of its people. Sites with fewer than `people_per_site` people share one level, which is everybody's where these
    are few too. Age and sex are left out where there are fewer than
    :data:`PEOPLE_PER_NUMBER` people for each number that is estimated.

    Parameters
    ----------
    values
        The measure, by subject, without missing values.
    people
        Characteristics, by subject: ``age``, ``sex``, ``site``, as far as they are known.
    covariates
        The ones to take into account.
    people_per_site
        Fewest people of a site for a level of its own.
    learned
        (people,) whose values the expectation is learned from. A site without any has the level of all its people.
    """
    about = people.reindex(values.index)
    groups = pd.Series("", index=values.index)
    if "site" in covariates and "site" in about:
        groups = site_groups(about["site"], people_per_site)
    sites = sorted(set(groups))
    levels = {name for name in sites if name or (groups == "").sum() >= people_per_site}
    columns: dict[str, pd.Series] = {}
    further = {"age": _age(about), "sex": _sex(about)}
    for name, column in further.items():
        if name not in covariates or column is None:
            continue
        if len(values) >= PEOPLE_PER_NUMBER * (max(1, len(levels)) + len(columns) + 1):
            columns[name] = column
    slopes = pd.Series(0.0, index=values.index)
    if columns:
        design = pd.DataFrame(columns)
        dummies = [(groups == name).astype(float).rename(f"site {name}") for name in sites]
        whole = pd.concat([design, *dummies], axis=1)
        slopes = design @ _slopes(values[learned], whole[learned])[: len(columns)]
    rest = values - slopes
    level = rest.where(learned).groupby(groups).transform("median")
    level = level.fillna(rest.groupby(groups).transform("median"))
    if "" not in levels:
        level = level.where(groups != "", rest[learned].median())
    used = tuple(columns) + (("site",) if len(sites) > 1 else ())
    return Expected(slopes + level, groups, used, len(columns) + max(1, len(levels)))


def _slopes(values: pd.Series, design: pd.DataFrame) -> Array:
    """Return the coefficients of a robust regression; 0 where it cannot be made."""
    matrix = design.to_numpy(dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant measures, whose residuals are all 0
        try:
            found = RLM(values.to_numpy(dtype=float), matrix, M=HuberT()).fit(maxiter=100).params
        except (np.linalg.LinAlgError, ValueError, ZeroDivisionError):
            return np.zeros(matrix.shape[1])
    return np.where(np.isfinite(found), found, 0.0)
