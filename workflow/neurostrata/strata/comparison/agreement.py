"""Agreement of the partitions of different experiments and finders."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

COLUMNS = {
    "experiment_a": "experiment of the first partition",
    "finder_a": "its finder",
    "experiment_b": "experiment of the second partition",
    "finder_b": "its finder",
    "n": "people with a cluster in both",
    "adjusted_rand": "adjusted Rand index: 1 the same groups, 0 as by chance; empty when one of them is a single cluster",
    "k_a": "clusters of the first that these people are in",
    "k_b": "clusters of the second",
    "matched": "clusters of the first = clusters of the second, as many people as possible in both (Hungarian method)",
}
CROSSTAB_COLUMNS = {
    **{name: COLUMNS[name] for name in ("experiment_a", "finder_a", "experiment_b", "finder_b")},
    "cluster_a": "cluster of the first partition",
    "cluster_b": "cluster of the second",
    "n": "people in both",
}


def match_clusters(counts: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the one-to-one pairs of clusters that have the most people in common (Hungarian method).

    Parameters
    ----------
    counts
        People in each cluster of the first (rows) and of the second partition (columns).
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-counts.to_numpy())
    return [(int(counts.index[r]), int(counts.columns[c])) for r, c in zip(rows, columns)]


def compare_partitions(
    partitions: Mapping[tuple[str, str], pd.Series],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare every two partitions.

    Parameters
    ----------
    partitions
        (experiment, finder) -> cluster numbers, index: subjects.

    Returns
    -------
    table, crosstabs
        Columns :data:`COLUMNS` and :data:`CROSSTAB_COLUMNS`.
    """
    from sklearn.metrics import adjusted_rand_score

    rows, cells = [], []
    for (a, first), (b, second) in combinations(partitions.items(), 2):
        both = first.index[first.index.isin(second.index)]
        one, other = first[both].astype(int), second[both].astype(int)
        counts = pd.crosstab(one, other)
        pair = {"experiment_a": a[0], "finder_a": a[1], "experiment_b": b[0], "finder_b": b[1]}
        several = one.nunique() > 1 and other.nunique() > 1
        rows.append(
            {
                **pair,
                "n": len(both),
                "adjusted_rand": float(adjusted_rand_score(one, other)) if several else np.nan,
                "k_a": one.nunique(),
                "k_b": other.nunique(),
                "matched": ", ".join(f"{x}={y}" for x, y in match_clusters(counts)) if len(both) else "",
            }
        )
        cells += [
            {**pair, "cluster_a": x, "cluster_b": y, "n": int(counts.loc[x, y])}
            for x in counts.index
            for y in counts.columns
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS)), pd.DataFrame(cells, columns=list(CROSSTAB_COLUMNS))
