"""The phenotype stage as one function of tables: choose, fill, standardise, reduce, score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.phenotypes.coding import code_table
from neurostrata.phenotypes.descriptives import describe
from neurostrata.phenotypes.factors import (
    FactorSolution,
    correlation_eigen,
    parallel_analysis,
    principal_varimax,
    standardise,
)
from neurostrata.phenotypes.imputation import Imputation, fit_imputation, select
from neurostrata.phenotypes.model import PhenotypeModel
from neurostrata.phenotypes.tables import join_tables


@dataclass
class PhenotypeAnalysis:
    """What the stage writes; `facts` goes into the sidecars."""

    eigenvalues: pd.DataFrame
    loadings: pd.DataFrame
    scores: pd.DataFrame
    descriptives: pd.DataFrame
    model: PhenotypeModel
    facts: dict[str, Any]


def _wanted_columns(settings: Mapping[str, Any], presets: Mapping[str, Sequence[str]]) -> list[str] | None:
    variables = settings["variables"]
    if variables == "all":
        return None
    names = list(presets[variables]) if isinstance(variables, str) else list(variables)
    return [name for name in names if name not in set(settings["exclude"])]


def factor_names(count: int) -> list[str]:
    """Return factor_01, factor_02, ..."""
    width = max(2, len(str(count)))
    return [f"factor_{number:0{width}d}" for number in range(1, count + 1)]


def _eigen_table(
    eigenvalues: np.ndarray, kept: int, variance: np.ndarray, people: int, draws: int, seed: int
) -> pd.DataFrame:
    p = len(eigenvalues)
    table = pd.DataFrame(
        {
            "component": np.arange(1, p + 1),
            "eigenvalue": eigenvalues,
            "variance_share": eigenvalues / p,
            "cumulative_share": np.cumsum(eigenvalues) / p,
            "retained": np.arange(p) < kept,
            "parallel_mean": np.nan,
            "parallel_95": np.nan,
            "rotated_variance": np.nan,
        }
    )
    if draws:
        random = parallel_analysis(people, p, draws, seed)
        table["parallel_mean"] = random.mean(axis=0)
        table["parallel_95"] = np.percentile(random, 95, axis=0)
    table.loc[: len(variance) - 1, "rotated_variance"] = variance
    return table


def analyse_phenotypes(
    tables: Sequence[tuple[str, pd.DataFrame]],
    subjects: Sequence[str],
    settings: Mapping[str, Any],
    presets: Mapping[str, Sequence[str]] | None = None,
) -> PhenotypeAnalysis:
    """Turn phenotype tables into factor scores (Dimitri et al. 2.2.2).

    Parameters
    ----------
    tables
        Pairs of file name and table as read.
    subjects
        The cohort's ids.
    settings
        Section `phenotypes` with `seed`.
    presets
        Named lists of variables.

    Raises
    ------
    UserError
        Ids that don't match, doubles, columns that are absent or not numeric, nothing that varies,
        fewer than 3 people with values.
    """
    columns = _wanted_columns(settings, presets or {})
    joined = join_tables(tables, subjects, columns, settings["id_column"], settings["exclude"])
    strict = settings["variables"] != "all"
    coded = code_table(joined.values, settings["coding"], strict)
    method = settings["method"]
    policy = settings["missing"]
    # Standardised variables are not filled: whoever has a value is kept.
    chosen = (
        select(coded.values, "median", settings["max_missing_variable"], 1.0)
        if method == "variables"
        else select(coded.values, policy, settings["max_missing_variable"], settings["max_missing_person"])
    )
    names = ", ".join(name for name, _ in tables)
    if len(chosen.people) < 3:
        raise UserError(
            f"{names}: {len(chosen.people)} of {len(subjects)} people have enough values (phenotypes: "
            f"missing: {policy}); at least 3 are needed: try missing: median, or fewer variables"
        )
    if not chosen.variables:
        reasons = "; ".join(
            f"{k}: {v}" for k, v in list({**coded.left_out, **chosen.left_out_variables}.items())[:5]
        )
        raise UserError(f"{names}: no variable is left to analyse ({reasons or 'no columns beside the ids'})")
    values = coded.values.loc[chosen.people, chosen.variables].to_numpy(dtype=float)
    facts: dict[str, Any] = {
        "method": method,
        "people": len(subjects),
        "people_analysed": len(chosen.people),
        "people_without_table_row": len(joined.without),
        "people_left_out": chosen.left_out_people,
        "people_only_in_tables": joined.others,
        "variables_analysed": len(chosen.variables),
        "variables_left_out": {**coded.left_out, **chosen.left_out_variables},
        "missing": policy if method != "variables" else "none filled",
        "values_filled": 0,
        "warnings": [],
    }
    if method == "variables":
        mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)
        weights = loadings = np.eye(len(chosen.variables))
        imputation = Imputation("complete", np.nanmedian(values, axis=0))
        filled = dict.fromkeys(chosen.variables, 0)
        communalities = dict.fromkeys(chosen.variables, 1.0)
        factors = list(chosen.variables)
        complete = values[~np.isnan(values).any(axis=1)]
        varying = len(complete) > 2 and bool((complete.std(axis=0) > 0).all())
        eigenvalues = (
            correlation_eigen(standardise(complete)[0])[0] if varying else np.full(len(factors), np.nan)
        )
        table = _eigen_table(eigenvalues, 0, np.zeros(0), len(complete), 0, 0)
    else:
        imputation = fit_imputation(values, policy)
        gaps = np.isnan(values).sum(axis=0)
        filled = {variable: int(count) for variable, count in zip(chosen.variables, gaps)}
        facts["values_filled"] = int(gaps.sum())
        standardised, mean, sd = standardise(imputation.fill(values))
        n, p = standardised.shape
        if p >= n:
            facts["warnings"].append(
                f"{p} variables and only {n} people: the correlation matrix is singular, scores come from "
                "its pseudo-inverse, and factors will hardly replicate"
            )
        rotation = settings["rotation"]
        solution: FactorSolution = principal_varimax(
            standardised, settings["n_factors"], rotation["tolerance"], rotation["max_iter"]
        )
        weights, loadings = solution.weights, solution.loadings
        communalities = dict(zip(chosen.variables, solution.communalities.tolist()))
        factors = factor_names(loadings.shape[1])
        table = _eigen_table(
            solution.eigenvalues,
            len(factors),
            solution.variance,
            n,
            settings["parallel_draws"],
            settings["seed"],
        )
        facts["variance_explained"] = float(solution.variance.sum() / p)
        facts["factors"] = len(factors)
        if settings["parallel_draws"]:
            facts["factors_by_parallel_analysis"] = int(
                np.argmin(np.append(table["eigenvalue"] > table["parallel_95"], False))
            )
        if settings["n_factors"] is not None and settings["n_factors"] > len(factors):
            facts["warnings"].append(
                f"n_factors is {settings['n_factors']}, but the table has only {len(factors)} components"
            )
        if settings["n_factors"] is None and table["eigenvalue"].iloc[0] <= 1 + 1e-9:
            facts["warnings"].append("no eigenvalue exceeds 1; the first component is kept")
    model = PhenotypeModel(
        method=method,
        variables=chosen.variables,
        factors=factors,
        mean=mean,
        sd=sd,
        weights=weights,
        imputation=imputation,
        max_missing_person=settings["max_missing_person"],
        coding={key: dict(value) for key, value in settings["coding"].items() if key in chosen.variables},
    )
    scores = pd.DataFrame(model.score(values), index=pd.Index(chosen.people, name="subject"), columns=factors)
    descriptives = describe(
        coded.values, coded.rules, chosen.left_out_variables, filled, communalities, coded.left_out
    )
    loading_table = pd.DataFrame(loadings, columns=factors)
    loading_table.insert(0, "variable", chosen.variables)
    return PhenotypeAnalysis(
        eigenvalues=table,
        loadings=loading_table,
        scores=scores.reindex([str(subject) for subject in subjects]).rename_axis("subject").reset_index(),
        descriptives=descriptives,
        model=model,
        facts=facts,
    )


def factor_meanings(loadings: pd.DataFrame, threshold: float = 0.3, most: int = 6) -> dict[str, str]:
    """Return for each factor its variables of largest |loading|, as text: ``Strength +0.81, ...``."""
    meanings = {}
    for factor in loadings.columns[1:]:
        order = loadings[factor].abs().sort_values(ascending=False, kind="stable").index[:most]
        parts = [
            f"{loadings.loc[row, 'variable']} {loadings.loc[row, factor]:+.2f}"
            for row in order
            if abs(float(loadings.loc[row, factor])) >= threshold
        ]
        meanings[str(factor)] = ", ".join(parts) or f"no loading reaches {threshold}"
    return meanings
