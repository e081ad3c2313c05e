"""The fitted factor analysis, as it is kept in model.json, and the scores of people by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.core.errors import UserError
from neurostrata.phenotypes.coding import code_column
from neurostrata.phenotypes.imputation import Imputation

Array = NDArray[np.float64]


@dataclass
class PhenotypeModel:
    """Everything needed to turn a person's phenotypes into factor scores.

    Attributes
    ----------
    method
        ``pca_varimax``, or ``variables``: the scores are the standardised variables themselves.
    variables, factors
        Names, in the order of `weights`' rows and columns.
    mean, sd
        Of each variable in the cohort, gaps filled.
    weights
        Variables x factors.
    imputation
        How gaps are filled.
    max_missing_person
        People who miss a larger share of the variables get no scores.
    coding
        The user's codings (value -> number) by variable.
    """

    method: str
    variables: list[str]
    factors: list[str]
    mean: Array
    sd: Array
    weights: Array
    imputation: Imputation
    max_missing_person: float
    coding: dict[str, dict[str, float]] = field(default_factory=dict)

    def score(self, values: Array) -> Array:
        """Return people x factors; NaN for people who miss too much (any gap, by policy ``complete``).

        With method ``variables`` nothing is filled: missing values stay missing.
        """
        if self.method == "variables":
            return (values - self.mean) / self.sd
        share = np.isnan(values).mean(axis=1)
        allowed = 0.0 if self.imputation.policy == "complete" else self.max_missing_person
        scores = ((self.imputation.fill(values) - self.mean) / self.sd) @ self.weights
        scores[share > allowed] = np.nan
        return scores

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for model.json."""
        covariance = self.imputation.covariance
        return {
            "method": self.method,
            "variables": self.variables,
            "factors": self.factors,
            "mean": self.mean.tolist(),
            "sd": self.sd.tolist(),
            "weights": self.weights.tolist(),
            "missing": {
                "policy": self.imputation.policy,
                "centre": self.imputation.centre.tolist(),
                "covariance": None if covariance is None else covariance.tolist(),
                "max_missing_person": self.max_missing_person,
            },
            "coding": self.coding,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PhenotypeModel:
        """Build the model from the values that :meth:`to_dict` returned."""
        missing = content["missing"]
        covariance = missing["covariance"]
        return cls(
            method=content["method"],
            variables=list(content["variables"]),
            factors=list(content["factors"]),
            mean=np.array(content["mean"], dtype=float),
            sd=np.array(content["sd"], dtype=float),
            weights=np.array(content["weights"], dtype=float),
            imputation=Imputation(
                missing["policy"],
                np.array(missing["centre"], dtype=float),
                None if covariance is None else np.array(covariance, dtype=float),
            ),
            max_missing_person=float(missing["max_missing_person"]),
            coding={column: dict(codes) for column, codes in content["coding"].items()},
        )


def code_variables(model: PhenotypeModel, table: pd.DataFrame) -> pd.DataFrame:
    """Return the model's variables as numbers, NaN where missing.

    Parameters
    ----------
    model
        As read from model.json (:meth:`PhenotypeModel.from_dict`).
    table
        Index: subjects. Columns: at least the model's variables, values as in the files.

    Raises
    ------
    UserError
        When a variable is absent or cannot be read as numbers.
    """
    absent = [variable for variable in model.variables if variable not in table.columns]
    if absent:
        raise UserError(
            f"the table of new people lacks {', '.join(absent[:8])} ({len(absent)} of {len(model.variables)} "
            "variables of the model); add these columns"
        )
    columns = {}
    for variable in model.variables:
        coded = code_column(table[variable], model.coding.get(variable))
        if coded.values is None:
            raise UserError(
                f"{variable} is {coded.rule} in the table of new people; it was a number in the cohort"
            )
        columns[variable] = coded.values
    return pd.DataFrame(columns, index=table.index)


def score_people(model: PhenotypeModel, table: pd.DataFrame) -> pd.DataFrame:
    """Score people, the cohort's own or new ones, by a saved model; parameters as :func:`code_variables`.

    Returns
    -------
    pandas.DataFrame
        Index: subjects. One column per factor, NaN for people who miss too much.
    """
    values = code_variables(model, table).to_numpy(dtype=float)
    return pd.DataFrame(model.score(values), index=table.index, columns=model.factors)
