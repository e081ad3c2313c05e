"""Targets of predictions: columns of the cohort sheet, phenotype variables, phenotype factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from neurostrata.cohort.columns import FEWEST_OF_CLASS
from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.errors import UserError
from neurostrata.phenotypes.coding import code_column

#: In a list of targets: every phenotype factor.
FACTORS = "factors"


@dataclass(frozen=True)
class Target:
    """Something to predict.

    Attributes
    ----------
    name : str
    kind : str
        ``number`` or ``classes``.
    values : Series
        By subject; NaN where it is not known. Class names are text.
    """

    name: str
    kind: str
    values: pd.Series


def as_target(name: str, column: pd.Series) -> Target:
    """Make a target of a column: numbers stay numbers, two values or text are classes, and so are codes of sites and diagnoses.

    Raises
    ------
    UserError
        When everybody has the same value, or too few have any.
    """
    values = column.replace("", np.nan)
    known = values.dropna()
    numbers = pd.to_numeric(known, errors="coerce")
    several = known.nunique() > 2 and name not in ALWAYS_WORDS
    if numbers.notna().all() and several:
        target = Target(name, "number", pd.to_numeric(values, errors="coerce").astype(float))
    elif several and (coded := code_column(values.rename(name)).values) is not None:
        target = Target(name, "number", coded)  # age bins and the like
    else:
        text = values.where(values.isna(), values.astype(str))
        counts = text.value_counts()
        rare = set(counts.index[counts < FEWEST_OF_CLASS])
        target = Target(name, "classes", text.where(~text.isin(rare)))
    if target.values.nunique() < 2:
        raise UserError(
            f"experiments.analyses.prediction: '{name}' has fewer than two values (classes with fewer than "
            f"{FEWEST_OF_CLASS} people do not count); take it off the list"
        )
    return target


def gather_targets(
    names: Sequence[str],
    sheet: pd.DataFrame,
    phenotypes: pd.DataFrame,
    scores: pd.DataFrame | None,
) -> list[Target]:
    """Look each target up in the sheet, then in the phenotype tables, then among the factors.

    Parameters
    ----------
    names
        As configured; ``factors`` means all columns of `scores`.
    sheet, phenotypes, scores
        Indexed by subject.

    Raises
    ------
    UserError
        When a name is in none of them.
    """
    targets = []
    for name in names:
        if name == FACTORS:
            if scores is not None:
                targets += [as_target(factor, scores[factor]) for factor in scores]
            continue
        for table in (sheet, phenotypes, *([] if scores is None else [scores])):
            if name in table:
                targets.append(as_target(name, table[name]))
                break
        else:
            raise UserError(
                f"experiments.analyses.prediction: '{name}' is no column of the cohort sheet or of the phenotype tables"
            )
    return targets
