"""The phenotype stage as one function of tables: choose, fill, standardise, reduce, score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.phenotypes.coding import code_table
from neurostrata.phenotypes.descriptives import describe
from neurostrata.phenotypes.model import PhenotypeModel
from neurostrata.phenotypes.reduction import METHODS
from neurostrata.phenotypes.tables import join_tables


@dataclass
class PhenotypeAnalysis:
    """The tables and the model that the stage writes; `facts` goes into the sidecars."""

    eigenvalues: pd.DataFrame
    loadings: pd.DataFrame
    scores: pd.DataFrame
    descriptives: pd.DataFrame
    model: PhenotypeModel
    facts: dict[str, Any]


def _chosen_columns(settings: Mapping[str, Any], presets: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return the variables to use, those that are excluded left out; None: all columns."""
    variables = settings["variables"]
    if variables == "all":
        return None
    names = list(presets[variables]) if isinstance(variables, str) else list(variables)
    return [name for name in names if name not in set(settings["exclude"])]


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
        When ids do not match or are duplicated, columns are absent or not numeric, nothing varies, or fewer than
        3 people have values.
    """
    columns = _chosen_columns(settings, presets or {})
    joined = join_tables(tables, subjects, columns, settings["id_column"], settings["exclude"])
    coded = code_table(joined.values, settings["coding"], strict=settings["variables"] != "all")
    method = METHODS[settings["method"]]
    chosen = method.select(coded.values, settings)
    left_out = {**coded.left_out, **chosen.left_out_variables}
    names = ", ".join(name for name, _ in tables)
    if len(chosen.people) < 3:
        raise UserError(
            f"{names}: {len(chosen.people)} of {len(subjects)} people have enough values (phenotypes: "
            f"missing: {settings['missing']}); at least 3 are needed: try missing: median, or fewer variables"
        )
    if not chosen.variables:
        reasons = "; ".join(f"{variable}: {reason}" for variable, reason in list(left_out.items())[:5])
        raise UserError(f"{names}: no variable is left to analyse ({reasons or 'no columns beside the ids'})")
    values = coded.values.loc[chosen.people, chosen.variables].to_numpy(dtype=float)
    reduction = method.reduce(values, chosen.variables, settings)
    facts: dict[str, Any] = {
        "method": settings["method"],
        "people": len(subjects),
        "people_analysed": len(chosen.people),
        "people_without_table_row": len(joined.without),
        "people_left_out": chosen.left_out_people,
        "people_only_in_tables": joined.others,
        "variables_analysed": len(chosen.variables),
        "variables_left_out": left_out,
        "missing": reduction.missing,
        "values_filled": int(reduction.filled.sum()),
        "warnings": reduction.warnings,
        **reduction.facts,
    }
    model = PhenotypeModel(
        method=settings["method"],
        variables=chosen.variables,
        factors=reduction.factors,
        mean=reduction.mean,
        sd=reduction.sd,
        weights=reduction.weights,
        imputation=reduction.imputation,
        max_missing_person=settings["max_missing_person"],
        coding={key: dict(value) for key, value in settings["coding"].items() if key in chosen.variables},
    )
    people = pd.Index(chosen.people, name="subject")
    scores = pd.DataFrame(model.score(values), index=people, columns=reduction.factors)
    descriptives = describe(
        coded.values,
        coded.rules,
        chosen.left_out_variables,
        dict(zip(chosen.variables, reduction.filled.tolist())),
        dict(zip(chosen.variables, reduction.communalities.tolist())),
        coded.left_out,
    )
    loadings = pd.DataFrame(reduction.loadings, columns=reduction.factors)
    loadings.insert(0, "variable", chosen.variables)
    return PhenotypeAnalysis(
        eigenvalues=reduction.eigenvalues,
        loadings=loadings,
        scores=scores.reindex([str(subject) for subject in subjects]).rename_axis("subject").reset_index(),
        descriptives=descriptives,
        model=model,
        facts=facts,
    )


def factor_meanings(loadings: pd.DataFrame, threshold: float = 0.3, most: int = 6) -> dict[str, str]:
    """Return each factor's variables of largest absolute loading, as text: ``Strength +0.81, ...``."""
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
