"""Descriptive statistics of every variable (the paper's Table S1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

COLUMNS = {
    "variable": "name of the column in the phenotype tables",
    "used": "whether the variable went into the factor analysis",
    "reason": "why not, if not",
    "n": "people of the cohort with a value",
    "missing": "people of the cohort without a value",
    "filled": "gaps filled by the policy for missing values",
    "mean": "mean of the values present, in the variable's own unit",
    "sd": "standard deviation (n - 1)",
    "median": "median",
    "min": "smallest value",
    "max": "largest value",
    "skewness": "skewness (bias-corrected)",
    "kurtosis": "excess kurtosis (bias-corrected)",
    "communality": "share of its variance held by the factors",
    "coding": "how the cells became numbers",
}


def describe(
    values: pd.DataFrame,
    rules: Mapping[str, str],
    reasons: Mapping[str, str],
    filled: Mapping[str, int],
    communalities: Mapping[str, float],
    uncoded: Mapping[str, str],
) -> pd.DataFrame:
    """Describe every variable, the used ones and the others.

    Parameters
    ----------
    values
        People x variables as numbers, NaN where missing.
    rules
        How each variable was coded.
    reasons
        Why a variable was left out; the others were used.
    filled
        Gaps filled per used variable.
    communalities
        Per used variable.
    uncoded
        Columns that are not numeric, with the reason: listed without statistics.
    """
    rows = []
    for variable in values.columns:
        present = values[variable].dropna()
        spread = len(present) > 1
        rows.append(
            {
                "variable": variable,
                "used": variable not in reasons,
                "reason": reasons.get(variable),
                "n": len(present),
                "missing": len(values) - len(present),
                "filled": filled.get(variable, 0),
                "mean": present.mean() if len(present) else np.nan,
                "sd": present.std(ddof=1) if spread else np.nan,
                "median": present.median() if len(present) else np.nan,
                "min": present.min() if len(present) else np.nan,
                "max": present.max() if len(present) else np.nan,
                "skewness": present.skew() if len(present) > 2 else np.nan,
                "kurtosis": present.kurt() if len(present) > 3 else np.nan,
                "communality": communalities.get(variable, np.nan),
                "coding": rules.get(variable),
            }
        )
    for variable, reason in uncoded.items():
        rows.append({"variable": variable, "used": False, "reason": reason, "filled": 0})
    return pd.DataFrame(rows, columns=list(COLUMNS))
