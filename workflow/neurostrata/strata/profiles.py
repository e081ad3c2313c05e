"""Cluster profiles: the quantile of each cluster's median (Dimitri et al., Fig. 10) and mean in the whole population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

COLUMNS = {
    "cluster": "number of the cluster",
    "factor": "name of the factor",
    "median": "median of the cluster's people",
    "quantile": "share of the whole population below that median, equal values counting half",
    "mean": "mean of the cluster's people",
    "quantile_of_mean": "share of the whole population below that mean, equal values counting half",
    "n": "people of the cluster with a value",
}


def population_quantile(values: np.ndarray, point: float) -> float:
    """Return the share of `values` below `point`; values equal to it count half."""
    return float(np.mean(values < point) + 0.5 * np.mean(values == point))


def cluster_profiles(
    clusters: pd.Series, scores: pd.DataFrame, names: Sequence[int] | None = None
) -> pd.DataFrame:
    """Return median and mean, their quantiles in the population and n, per cluster and factor.

    The paper has medians. A mean beside it shows whether a few people of the cluster are far from the others.

    Parameters
    ----------
    clusters
        Index: subjects; cluster numbers.
    scores
        Index: the same subjects; one column per factor, NaN: missing. The population of a factor is
        everybody here who has it.
    names
        All cluster numbers, including those of clusters in which nobody has scores (NaN).
    """
    rows = []
    for cluster in sorted(clusters.unique() if names is None else names):
        members = scores[clusters == cluster]
        for factor in scores.columns:
            population = scores[factor].dropna().to_numpy(dtype=float)
            present = members[factor].dropna().to_numpy(dtype=float)
            numbers = [np.nan] * 4
            if len(present):
                middles = float(np.median(present)), float(np.mean(present))
                numbers = [number for m in middles for number in (m, population_quantile(population, m))]
            rows.append((cluster, factor, *numbers, len(present)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
