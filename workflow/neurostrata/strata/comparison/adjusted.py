"""Differences between clusters beyond what age, sex, head size, site, image quality and the study's own columns account for.

Each factor is ranked and explained by the covariates and by cluster in one linear model. Numbers among the covariates are
ranked too (Quade 1967), so that a few people with extreme ones do not decide their effect. The p-value of the clusters
comes from permuted residuals of the model without clusters (Freedman and Lane 1983; Winkler et al. 2014, "Permutation
inference for the general linear model", algorithm 1), so that it needs no normal errors and can exchange whole families.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.adjustment.codes import known_columns
from neurostrata.core.config import COVARIATES, PEOPLE_PER_COLUMN
from neurostrata.core.families import families_of, family_blocks
from neurostrata.phenotypes.covariates import CovariateDesign, code_covariates
from neurostrata.strata.comparison.kruskal import benjamini_hochberg
from neurostrata.strata.comparison.repartition import permuted_labels

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

COLUMNS = {
    "factor": "name of the factor",
    "f": "F of the clusters in a linear model of the factor's ranks, beside the covariates",
    "p": "(permutations of the residuals with at least this F + 1) / (draws + 1); whole families exchanged",
    "q": "Benjamini-Hochberg false-discovery rate of p over the factors",
    "eta2": "partial effect size, corrected: share of the rank variance left by the covariates that is between clusters",
    "eta2_low": "lower end of its interval (inverted non-central F); takes people as independent",
    "eta2_high": "upper end",
    "n": "people with a cluster, a value and every covariate",
    "missing": "people with a cluster and scores who lack the value or a covariate",
    "adjusted_for": "covariates",
    "curves": "covariates of whose ranks a cubic curve is the effect; of other numbers a straight line",
    "slopes": "covariates in whose classes age has slopes of its own",
    "draws": "permutations",
}


def partial_eta_squared(f: float, df1: int, df2: int) -> float:
    """Return (SS_clusters - df1 MSE) / (SS_clusters + SS_error), at least 0; corrected for chance as eta squared is."""
    return max(0.0, (f - 1) * df1 / (f * df1 + df2))


def partial_interval(f: float, df1: int, df2: int, confidence: float) -> tuple[float, float]:
    """Return an interval for partial eta squared by inverting the non-central F.

    Its ends are lambda / (lambda + df1 + df2 + 1) for the lambdas under which an F as large (as small) as the one seen
    has probability (1 - confidence) / 2 (Smithson 2001).
    """
    tail = (1 - confidence) / 2
    ends = [f_noncentrality(f, df1, df2, probability) for probability in (tail, 1 - tail)]
    return ends[0] / (ends[0] + df1 + df2 + 1), ends[1] / (ends[1] + df1 + df2 + 1)


def f_noncentrality(f: float, df1: int, df2: int, probability: float) -> float:
    """Return the lambda for which a non-central F exceeds `f` with this probability; 0 when already the central F does."""
    from scipy.optimize import brentq
    from scipy.stats import f as central
    from scipy.stats import ncf

    if central.sf(f, df1, df2) >= probability:
        return 0.0
    upper = max(10.0, 2 * f * df1)
    while ncf.sf(f, df1, df2, upper) < probability:
        upper *= 2
    return float(brentq(lambda value: ncf.sf(f, df1, df2, value) - probability, 1e-12, upper, xtol=1e-8))


def orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis of the columns' span."""
    left, scale, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, scale > 1e-9 * max(float(scale[0]) if len(scale) else 0.0, 1e-300)]


def freedman_lane(
    values: Array,
    labels: Labels,
    covariates: Array,
    families: Sequence[str],
    draws: int,
    generator: np.random.Generator,
) -> tuple[Array, Array, int, int]:
    """Test clusters together with covariates in one linear model.

    Parameters
    ----------
    values
        People x factors, complete.
    labels
        Cluster of each person.
    covariates
        People x columns, without the constant.
    families
        One per person.
    draws
        Permutations; the same ones for every factor.
    generator
        Of the permutations.

    Returns
    -------
    f, p
        Per factor; NaN where nothing can be tested.
    df1, df2
        Degrees of freedom of the clusters given the covariates, and of the error.
    """
    n = len(values)
    basis = orthonormal(np.column_stack([np.ones(n), covariates]))
    member = (labels[:, None] == np.unique(labels)).astype(float)
    cluster_part = member - basis @ (basis.T @ member)
    # clusters that are determined by the covariates leave rounding errors only
    left, scale, _ = np.linalg.svd(cluster_part, full_matrices=False)
    clusters = left[:, scale > 1e-7 * np.sqrt(n)]
    df1, df2 = clusters.shape[1], n - basis.shape[1] - clusters.shape[1]
    untested = np.full(values.shape[1], np.nan)
    if df1 < 1 or df2 < 1:
        return untested, untested.copy(), df1, df2
    residual = values - basis @ (basis.T @ values)

    def statistic(drawn: Array) -> Array:
        between = ((clusters.T @ drawn) ** 2).sum(axis=0)
        total = (drawn**2).sum(axis=0) - ((basis.T @ drawn) ** 2).sum(axis=0)
        error = np.maximum(total - between, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (between / df1) / (error / df2)

    varies = (residual**2).sum(axis=0) > 1e-9 * np.maximum((values**2).sum(axis=0), 1e-300)
    f = np.where(varies, statistic(residual), np.nan)
    reached = np.zeros(values.shape[1])
    for order in permuted_labels(np.arange(n, dtype=np.intp), family_blocks(families), draws, generator):
        for factor in np.flatnonzero(varies):
            null = statistic(residual[order.T, factor])
            reached[factor] += (null >= f[factor] * (1 - 1e-9)).sum()
    return f, np.where(varies, (reached + 1) / (draws + 1), np.nan), df1, df2


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
        See :func:`compare_adjusted`.

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


def compare_adjusted(
    clusters: pd.Series,
    scores: pd.DataFrame,
    people: pd.DataFrame,
    draws: int,
    confidence: float,
    seed: int,
    respect_families: bool = True,
    further: Sequence[str] = (),
    splines: int | Literal["auto"] = 1,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test every factor between clusters, adjusted for the covariates.

    Parameters
    ----------
    clusters
        Index: subjects; cluster numbers.
    scores
        Index: the same subjects; one column per factor, NaN: missing.
    people
        Index: subjects; their characteristics (characteristics.tsv).
    draws
        Permutations.
    confidence
        Level of the intervals.
    seed
        Of the permutations.
    respect_families
        Exchange whole families.
    further
        Characteristics that are covariates beside :data:`neurostrata.core.config.COVARIATES`.
    splines
        Degrees of freedom of a number's effect (:class:`CovariateDesign`). Where both who is in which cluster and a factor bend
        with age, a straight line leaves a difference that is age's. With ``auto`` age also has slopes of its own in the
        classes of sex, site and others (:func:`slopes_of_age`): what changes with age in men only is age's too.

    Returns
    -------
    table
        Columns :data:`COLUMNS`.
    facts
        For the sidecar: the covariates, and the people who lack one.
    """
    from scipy.stats import rankdata

    described = people.reindex(clusters.index)
    names = known_columns([*COVARIATES, *further], described)
    coded = code_covariates(described[names].replace("", np.nan))
    complete = coded.notna().all(axis=1).to_numpy()
    family = families_of(described, clusters.index) if respect_families else [""] * len(clusters)
    labels = clusters.to_numpy(dtype=np.intp)
    values = scores.to_numpy(dtype=float)
    usable = ~np.isnan(values) & complete[:, None]
    rows: dict[int, dict[str, Any]] = {}
    # factors with the same missing people share their permutations
    patterns, of_factor = np.unique(usable, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        here = np.flatnonzero(patterns[:, pattern])
        columns = np.flatnonzero(of_factor.ravel() == pattern)
        f, p, df1, df2 = np.full(len(columns), np.nan), np.full(len(columns), np.nan), 0, 0
        # of a factor that few people have, few people pay for each degree of freedom
        matrix, curves, slopes = covariate_columns(coded.iloc[here], splines)
        if len(here) > 2:
            f, p, df1, df2 = freedman_lane(
                rankdata(values[np.ix_(here, columns)], axis=0),
                labels[here],
                matrix,
                [family[row] for row in here],
                draws,
                np.random.default_rng(seed),
            )
        for position, column in enumerate(columns):
            rows[int(column)] = {
                "factor": scores.columns[column],
                "f": f[position],
                "p": p[position],
                **_effect(f[position], df1, df2, confidence),
                "n": len(here),
                "missing": len(values) - len(here),
                "adjusted_for": ", ".join(names) or "nothing",
                "curves": ", ".join(curves) or "none",
                "slopes": ", ".join(slopes) or "none",
                "draws": draws,
            }
    table = pd.DataFrame([rows[column] for column in sorted(rows)])
    table["q"] = benjamini_hochberg(table["p"].to_numpy())
    facts = {
        "adjusted_for": names,
        "people_without_a_covariate": [str(s) for s in clusters.index[~complete]],
    }
    return table[list(COLUMNS)], facts


def _effect(f: float, df1: int, df2: int, confidence: float) -> dict[str, float]:
    """Return partial eta squared with its interval; NaN where nothing was tested."""
    if not np.isfinite(f):
        return dict.fromkeys(("eta2", "eta2_low", "eta2_high"), np.nan)
    low, high = partial_interval(f, df1, df2, confidence)
    return {"eta2": partial_eta_squared(f, df1, df2), "eta2_low": low, "eta2_high": high}
