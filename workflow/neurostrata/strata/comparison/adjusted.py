"""Differences between clusters beyond what age, sex, head size, site, image quality and the study's own columns account for.

Each factor is ranked and explained by the covariates and by cluster in one linear model. Numbers among the covariates are
ranked too (Quade 1967), so that a few people with extreme ones do not decide their effect. The p-value of the clusters
comes from permuted residuals of the model without clusters (Freedman and Lane 1983; Winkler et al. 2014, "Permutation
inference for the general linear model", algorithm 1), so that it needs no normal errors and can exchange whole families.
What is permuted is a Wald statistic with a variance of each person's own (HC2, MacKinnon and White 1985), so that a cluster or
a site in which people differ more does not pass for one that is elsewhere (DiCiccio and Romano 2017, "Robust permutation tests
for correlation and regression coefficients").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.core.families import families_of, family_blocks
from neurostrata.strata.comparison.covariates import COLUMNS as COVARIATE_COLUMNS
from neurostrata.strata.comparison.covariates import (
    covariate_columns,
    covariate_words,
    freed,
    known_covariates,
    orthonormal,
)
from neurostrata.strata.comparison.kruskal import benjamini_hochberg
from neurostrata.strata.comparison.repartition import permuted_labels

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

#: Share of the variance of clusters' effects that takes people to vary equally: a small cluster whose people have tied values
#: would have none otherwise.
POOLED_SHARE = 0.05
#: With more clusters (affinity propagation finds hundreds in thousands of people) the Wald statistic is computed in the way for many.
FEW_CLUSTERS = 30

COLUMNS = {
    "factor": "name of the factor",
    "f": "F of the clusters in a linear model of the factor's ranks, beside the covariates; of the effect size",
    "wald": "the same with a variance that need not be equal in all clusters and sites; of p",
    "p": "(permutations of the residuals with at least this Wald statistic + 1) / (draws + 1); whole families exchanged",
    "q": "Benjamini-Hochberg false-discovery rate of p over the factors",
    "eta2": "partial effect size, corrected: share of the rank variance left by the covariates that is between clusters",
    "eta2_low": "lower end of its interval (inverted non-central F); takes people as independent",
    "eta2_high": "upper end",
    "n": "people with a cluster, a value and every covariate",
    "missing": "people with a cluster and scores who lack the value or a covariate",
    **COVARIATE_COLUMNS,
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


def freedman_lane(
    values: Array,
    labels: Labels,
    covariates: Array,
    families: Sequence[str],
    draws: int,
    generator: np.random.Generator,
) -> tuple[Array, Array, Array, int, int]:
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
    f, wald, p
        Per factor; NaN where nothing can be tested. `wald` is divided by df1, so that it is near `f` where variances are equal.
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
    if df1 < 1 or df2 < 1:
        f, wald, p = np.full((3, values.shape[1]), np.nan)
        return f, wald, p, df1, df2
    residual, varies = freed(values, basis)
    statistics = _Statistics(basis, clusters, member)
    f, wald = (np.where(varies, found, np.nan) for found in statistics(residual))
    reached = np.zeros(values.shape[1])
    for order in permuted_labels(np.arange(n, dtype=np.intp), family_blocks(families), draws, generator):
        for factor in np.flatnonzero(varies):
            _, null = statistics(residual[order.T, factor])
            reached[factor] += (null >= wald[factor] * (1 - 1e-9)).sum()
    return f, wald, np.where(varies, (reached + 1) / (draws + 1), np.nan), df1, df2


class _Statistics:
    """F and Wald statistic of the clusters beside the covariates, for many columns of values at once.

    Parameters
    ----------
    basis, clusters
        People x columns: orthonormal bases of the constant and the covariates, and of what the clusters add to them.
    member
        People x clusters, 1 in each person's cluster.
    """

    def __init__(self, basis: Array, clusters: Array, member: Array) -> None:
        self.basis, self.clusters = basis, clusters
        self.df1 = clusters.shape[1]
        self.df2 = len(basis) - basis.shape[1] - self.df1
        leverage = (basis**2).sum(axis=1) + (clusters**2).sum(axis=1)
        # whoever alone decides a number of the model has no residual, and the others' variance
        self._alone = leverage > 1 - 1e-6
        self._scale = np.where(self._alone, 0, 1 / np.where(self._alone, 1, 1 - leverage))
        few = self.df1 <= FEW_CLUSTERS
        self._wald = _WaldOfFewClusters(clusters) if few else _WaldOfManyClusters(basis, member)

    def __call__(self, values: Array) -> tuple[Array, Array]:
        """Return F and the Wald statistic per degree of freedom of each column of values (people x columns)."""
        effects = self.clusters.T @ values
        squared = (values - self.basis @ (self.basis.T @ values) - self.clusters @ effects) ** 2
        pooled = squared.sum(axis=0) / self.df2
        between = (effects**2).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            f = (between / self.df1) / pooled
        exact = pooled <= 1e-12 * between
        pooled = np.where(exact, 1, pooled)
        weights = squared * self._scale[:, None]
        weights /= pooled
        weights[self._alone] = 1
        weights *= 1 - POOLED_SHARE
        weights += POOLED_SHARE
        return f, np.where(exact, np.inf, self._wald(weights, values) / pooled / self.df1)


class _WaldOfFewClusters:
    """Largest (z'y)^2 / z'Wz of all z in the span of `clusters`, for each column of variances W and of values y."""

    def __init__(self, clusters: Array) -> None:
        self.clusters = clusters
        self._pairs = np.triu_indices(clusters.shape[1])
        self._products = clusters[:, self._pairs[0]] * clusters[:, self._pairs[1]]

    def __call__(self, weights: Array, values: Array) -> Array:
        effects = (self.clusters.T @ values).T
        spread = weights.T @ self._products
        variances = np.empty((*effects.shape, effects.shape[1]))
        variances[:, self._pairs[0], self._pairs[1]] = spread
        variances[:, self._pairs[1], self._pairs[0]] = spread
        return (np.linalg.solve(variances, effects[:, :, None])[:, :, 0] * effects).sum(axis=1)


class _WaldOfManyClusters:
    """The same in time and memory that grow with the number of clusters, not with its square.

    z = M a + Q b, of indicators of clusters and of covariates, with `basis`'z = 0. M'WM is diagonal, so that what has to be
    solved has about twice as many rows as there are covariates.
    """

    def __init__(self, basis: Array, member: Array) -> None:
        from scipy.sparse import csr_array

        self._sums = csr_array(member.T)
        rotated, scale, _ = np.linalg.svd(basis - basis.mean(axis=0), full_matrices=False)
        self._covariates = rotated[:, scale > 0.5]  # 1, and 0 for the constant
        self._crossed = self._covariates.T @ basis
        self._of_cluster = self._sums @ basis

    def __call__(self, weights: Array, values: Array) -> Array:
        columns, of = values.shape[1], self._covariates.shape[1]
        rows = of + len(self._of_cluster.T)
        own = self._sums @ weights
        shared = np.empty((columns, rows, len(own)))
        left, right = np.zeros((columns, rows, rows)), np.zeros((columns, rows))
        for column in range(of):
            weighted = weights * self._covariates[:, column, None]
            shared[:, column] = (self._sums @ weighted).T
            left[:, column, :of] = weighted.T @ self._covariates
        shared[:, of:] = self._of_cluster.T
        left[:, :of, of:], left[:, of:, :of] = self._crossed, self._crossed.T
        right[:, :of] = values.T @ self._covariates
        # the clusters' numbers are eliminated
        sums = (self._sums @ values).T
        divided = shared / own.T[:, None]
        left -= divided @ shared.transpose(0, 2, 1)
        right -= (divided @ sums[:, :, None])[:, :, 0]
        # where covariates determine a cluster there are many solutions, all of them as large
        solved = np.linalg.pinv(left, rcond=1e-12, hermitian=True) @ right[:, :, None]
        return (sums**2 / own.T).sum(axis=1) + (right * solved[:, :, 0]).sum(axis=1)


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
        Degrees of freedom of a number's effect (:class:`~neurostrata.phenotypes.covariates.CovariateDesign`). Where both who is in which cluster and a factor bend
        with age, a straight line leaves a difference that is age's. With ``auto`` age also has slopes of its own in the
        classes of sex, site and others (:func:`~neurostrata.strata.comparison.covariates.slopes_of_age`): what changes with age in men only is age's too.

    Returns
    -------
    table
        Columns :data:`COLUMNS`.
    facts
        For the sidecar: the covariates, and the people who lack one.
    """
    from scipy.stats import rankdata

    described = people.reindex(clusters.index)
    coded = known_covariates(described, further)
    names = [str(name) for name in coded]
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
        f, wald, p, df1, df2 = *np.full((3, len(columns)), np.nan), 0, 0
        # of a factor that few people have, few people pay for each degree of freedom
        matrix, curves, slopes = covariate_columns(coded.iloc[here], splines)
        if len(here) > 2:
            f, wald, p, df1, df2 = freedman_lane(
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
                "wald": wald[position],
                "p": p[position],
                **_effect(f[position], df1, df2, confidence),
                "n": len(here),
                "missing": len(values) - len(here),
                **covariate_words(names, curves, slopes),
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
