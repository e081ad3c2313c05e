"""The table of comparisons: Kruskal-Wallis test, effect size and repartition of every factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.strata.comparison.kruskal import (
    benjamini_hochberg,
    detectable_eta_squared,
    epsilon_squared,
    eta_squared,
    eta_squared_interval,
    groups_with_values,
    h_statistics,
    p_values,
    rank_factors,
)

COLUMNS = {
    "factor": "name of the factor",
    "h": "Kruskal-Wallis H, corrected for ties",
    "p": "its p-value by the chi-square distribution; takes people as independent, too small with relatives",
    "q": "Benjamini-Hochberg false-discovery rate of p over the factors",
    "eta2": "effect size (H - k + 1) / (n - k), at least 0",
    "eta2_low": "lower end of the interval of eta2 (inverted non-central chi-square)",
    "eta2_high": "upper end of the interval of eta2",
    "epsilon2": "effect size H / (n - 1), biased upwards",
    "p_repartition": "p-value by random repartition",
    "q_repartition": "Benjamini-Hochberg false-discovery rate of p_repartition over the factors",
    "n": "people with a cluster and a value",
    "missing": "people with a cluster and without a value",
    "n_clusters": "clusters in which anybody has a value",
    "detectable_eta2": "smallest eta2 that this n would have found in one test, by chance `power`",
    "detectable_eta2_corrected": "the same at level alpha divided by the number of factors",
}


def compare_clusters(
    clusters: pd.Series, scores: pd.DataFrame, repartition: pd.DataFrame, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Test every factor between clusters (Dimitri et al. 2.4.1).

    Parameters
    ----------
    clusters
        Index: subjects; cluster numbers.
    scores
        Index: the same subjects; one column per factor, NaN: missing.
    repartition
        Table with factor, p_repartition, q_repartition.
    settings
        Section `strata`, key `comparisons`.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`. With a single cluster every test is NaN.
    """
    values = scores.to_numpy(dtype=float)
    names, labels = np.unique(clusters.to_numpy(), return_inverse=True)
    labels = labels.astype(np.intp).ravel()
    ranked = rank_factors(values)
    k = groups_with_values(ranked, labels, len(names))
    h = np.where(k >= 2, h_statistics(ranked, labels[None, :], len(names))[0], np.nan)
    p = p_values(h, k)
    n = ranked.n.astype(int)
    tests = max(1, int(np.sum(~np.isnan(p))))
    rows = []
    for j, factor in enumerate(scores.columns):
        tested = not np.isnan(h[j])
        low, high = eta_squared_interval(h[j], k[j], n[j], settings["confidence"])
        alpha, power = settings["alpha"], settings["power"]
        rows.append(
            {
                "factor": factor,
                "h": h[j],
                "p": p[j],
                "eta2": eta_squared(h[j], k[j], n[j]) if tested else np.nan,
                "eta2_low": low,
                "eta2_high": high,
                "epsilon2": epsilon_squared(h[j], k[j], n[j]) if tested else np.nan,
                "n": n[j],
                "missing": len(values) - n[j],
                "n_clusters": k[j],
                "detectable_eta2": detectable_eta_squared(k[j], n[j], alpha, power),
                "detectable_eta2_corrected": detectable_eta_squared(k[j], n[j], alpha / tests, power),
            }
        )
    table = pd.DataFrame(
        rows, columns=[c for c in COLUMNS if c not in ("q", "p_repartition", "q_repartition")]
    )
    table["q"] = benjamini_hochberg(p)
    merged = table.merge(repartition[["factor", "p_repartition", "q_repartition"]], on="factor", how="left")
    return merged[list(COLUMNS)]
