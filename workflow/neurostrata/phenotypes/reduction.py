"""How chosen variables become factors: by principal components with varimax rotation, or each variable as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.phenotypes.factors import (
    correlation_eigen,
    parallel_analysis,
    principal_varimax,
    standardise,
)
from neurostrata.phenotypes.imputation import Imputation, Selection, fit_imputation, select

Array = NDArray[np.float64]
Settings = Mapping[str, Any]

EIGENVALUE_COLUMNS = {
    "component": "number of the principal component",
    "eigenvalue": "eigenvalue of the correlation matrix",
    "variance_share": "share of the total variance",
    "cumulative_share": "the same, summed up to here",
    "retained": "whether the component was kept and rotated",
    "parallel_mean": "mean eigenvalue of random tables of the same size (parallel analysis)",
    "parallel_95": "95th percentile of the same",
    "rotated_variance": "sum of squared loadings of the factor of this number, after rotation",
}


@dataclass
class Reduction:
    """What a method makes of people x variables.

    Attributes
    ----------
    factors
        Their names.
    mean, sd
        Of each variable, gaps filled.
    weights, loadings
        Variables x factors.
    communalities
        Share of each variable's variance that the factors hold.
    imputation
        How gaps are filled.
    filled
        Gaps that were filled, per variable.
    missing
        What was done about missing values, for the sidecar.
    eigenvalues
        Columns :data:`EIGENVALUE_COLUMNS`.
    warnings, facts
        What the user should know; more for the sidecar.
    """

    factors: list[str]
    mean: Array
    sd: Array
    weights: Array
    loadings: Array
    communalities: Array
    imputation: Imputation
    filled: NDArray[np.intp]
    missing: str
    eigenvalues: pd.DataFrame
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Method(ABC):
    """A way from variables to factors; `settings` is the section `phenotypes` with `seed`."""

    @abstractmethod
    def select(self, table: pd.DataFrame, settings: Settings) -> Selection:
        """Choose people and variables (numbers, NaN where missing; index: subjects)."""

    @abstractmethod
    def reduce(self, values: Array, variables: Sequence[str], settings: Settings) -> Reduction:
        """Turn people x variables (NaN: missing) into factors."""


class VariablesAsTheyAre(Method):
    """Each variable, standardised, is a factor; gaps stay gaps, so whoever has a value is kept."""

    def select(self, table: pd.DataFrame, settings: Settings) -> Selection:
        """See :meth:`Method.select`; nobody is left out for missing values."""
        return select(table, "median", settings["max_missing_variable"], 1.0)

    def reduce(self, values: Array, variables: Sequence[str], settings: Settings) -> Reduction:
        """See :meth:`Method.reduce`; the eigenvalues are those of the people without gaps, for information."""
        count = len(variables)
        complete = values[~np.isnan(values).any(axis=1)]
        varying = len(complete) > 2 and bool((complete.std(axis=0) > 0).all())
        eigenvalues = correlation_eigen(standardise(complete)[0])[0] if varying else np.full(count, np.nan)
        return Reduction(
            factors=list(variables),
            mean=np.nanmean(values, axis=0),
            sd=np.nanstd(values, axis=0, ddof=1),
            weights=np.eye(count),
            loadings=np.eye(count),
            communalities=np.ones(count),
            imputation=Imputation("complete", np.nanmedian(values, axis=0)),
            filled=np.zeros(count, dtype=np.intp),
            missing="none filled",
            eigenvalues=_eigenvalue_table(eigenvalues, 0, np.zeros(0)),
        )


class PrincipalVarimax(Method):
    """Principal components of the correlation matrix, rotated by varimax (Dimitri et al. 2.2.2)."""

    def select(self, table: pd.DataFrame, settings: Settings) -> Selection:
        """See :meth:`Method.select`; people and variables with many gaps are left out."""
        limits = settings["max_missing_variable"], settings["max_missing_person"]
        return select(table, settings["missing"], *limits)

    def reduce(self, values: Array, variables: Sequence[str], settings: Settings) -> Reduction:
        """See :meth:`Method.reduce`."""
        imputation = fit_imputation(values, settings["missing"])
        standardised, mean, sd = standardise(imputation.fill(values))
        people, count = standardised.shape
        rotation, draws = settings["rotation"], settings["parallel_draws"]
        solution = principal_varimax(
            standardised, settings["n_factors"], rotation["tolerance"], rotation["max_iter"]
        )
        factors = factor_names(solution.loadings.shape[1])
        table = _eigenvalue_table(solution.eigenvalues, len(factors), solution.variance)
        facts = {"variance_explained": float(solution.variance.sum() / count), "factors": len(factors)}
        if draws:
            random = parallel_analysis(people, count, draws, settings["seed"])
            table["parallel_mean"] = random.mean(axis=0)
            table["parallel_95"] = np.percentile(random, 95, axis=0)
            above = np.append(table["eigenvalue"] > table["parallel_95"], False)
            facts["factors_by_parallel_analysis"] = int(np.argmin(above))
        return Reduction(
            factors=factors,
            mean=mean,
            sd=sd,
            weights=solution.weights,
            loadings=solution.loadings,
            communalities=solution.communalities,
            imputation=imputation,
            filled=np.isnan(values).sum(axis=0),
            missing=settings["missing"],
            eigenvalues=table,
            warnings=_warnings(people, count, len(factors), solution.eigenvalues, settings["n_factors"]),
            facts=facts,
        )


#: `phenotypes.method` -> how variables become factors.
METHODS: Mapping[str, Method] = {"pca_varimax": PrincipalVarimax(), "variables": VariablesAsTheyAre()}


def factor_names(count: int) -> list[str]:
    """Return factor_01, factor_02, ..."""
    width = max(2, len(str(count)))
    return [f"factor_{number:0{width}d}" for number in range(1, count + 1)]


def _eigenvalue_table(eigenvalues: Array, kept: int, variance: Array) -> pd.DataFrame:
    """Return columns :data:`EIGENVALUE_COLUMNS`, those of the parallel analysis empty."""
    count = len(eigenvalues)
    table = pd.DataFrame(
        {
            "component": np.arange(1, count + 1),
            "eigenvalue": eigenvalues,
            "variance_share": eigenvalues / count,
            "cumulative_share": np.cumsum(eigenvalues) / count,
            "retained": np.arange(count) < kept,
            "parallel_mean": np.nan,
            "parallel_95": np.nan,
            "rotated_variance": np.nan,
        }
    )
    table.loc[: len(variance) - 1, "rotated_variance"] = variance
    return table


def _warnings(
    people: int, variables: int, factors: int, eigenvalues: Array, n_factors: int | None
) -> list[str]:
    """Return what makes the factors doubtful, or other than asked for."""
    warnings = []
    if variables >= people:
        warnings.append(
            f"{variables} variables and only {people} people: the correlation matrix is singular, scores come from "
            "its pseudo-inverse, and factors will hardly replicate"
        )
    if n_factors is not None and n_factors > factors:
        warnings.append(f"n_factors is {n_factors}, but the table has only {factors} components")
    if n_factors is None and eigenvalues[0] <= 1 + 1e-9:
        warnings.append("no eigenvalue exceeds 1; the first component is kept")
    return warnings
