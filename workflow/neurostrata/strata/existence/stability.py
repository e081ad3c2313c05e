"""How well each cluster is found again: in resampled people, with other seeds, by models of other folds (Hennig 2007)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neurostrata.core.families import family_sample
from neurostrata.strata.finders.interface import Array, Finder, Labels, Progress

#: Other seeds of the finder that are tried.
SEEDS = 5

COLUMNS = {
    "cluster": "number of the cluster",
    "n": "people in it",
    "repeated": "what was done again: the finder on bootstrap samples of people, with another seed, or on a fold's codes",
    "repeats": "how many times",
    "jaccard": "mean over the repeats of the largest Jaccard index of this cluster and a cluster found again",
    "jaccard_low": "5th percentile over the repeats",
    "dissolved": "share of the repeats in which that index was 0.5 or less",
    "adjusted_rand": "mean adjusted Rand index of the whole partition and the one found again",
}


def best_jaccard(clusters: Labels, again: Labels) -> Array:
    """Return for each cluster 1..k the largest Jaccard index with any cluster of another partition of the same people.

    NaN for a cluster of which nobody is among these people.
    """
    number = int(clusters.max())
    table = np.zeros((number + 1, int(again.max()) + 1))
    np.add.at(table, (clusters, again), 1)
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    jaccard = np.divide(table, union, out=np.zeros_like(table), where=union > 0)[1:].max(axis=1)
    return np.where(table[1:].sum(axis=1) > 0, jaccard, np.nan)


def find_again(
    finder: Finder,
    codes: Array,
    clusters: Labels,
    families: Sequence[str],
    folds: Mapping[str, tuple[Labels, Array]],
    draws: int,
    seed: int,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Repeat the search and see which clusters come back.

    Parameters
    ----------
    finder
        Its :meth:`Finder.quick` form is repeated, with its choice of the number of clusters.
    codes
        People x dimensions.
    clusters
        The partition found in them, from 1.
    families
        One per person, "" for none; whole families are drawn.
    folds
        Fold -> rows of the people whom it has codes of, and these codes.
    draws
        Bootstrap samples.
    seed
        Of the samples.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`.
    """
    from joblib import Parallel, delayed
    from sklearn.metrics import adjusted_rand_score

    quick = finder.quick(codes)

    def compare(rows: Labels, again: Labels) -> tuple[Array, float]:
        return best_jaccard(clusters[rows], again), float(adjusted_rand_score(clusters[rows], again))

    def resampled(draw: int) -> tuple[Array, float]:
        rows = family_sample(families, np.random.default_rng([seed, draw]))
        return compare(rows, quick.find(codes[rows]).clusters)

    def reseeded(number: int) -> tuple[Array, float]:
        other = quick.changed(seed=seed + number)
        return compare(np.arange(len(codes)), other.find(codes).clusters)

    run = Parallel(n_jobs=finder.threads, backend="threading", return_as="generator")
    found: dict[str, list[tuple[Array, float]]] = {"bootstrap": []}
    for result in run(delayed(resampled)(draw) for draw in range(1, draws + 1)):
        found["bootstrap"].append(result)
        if progress is not None:
            progress(len(found["bootstrap"]), draws)
    found["seed"] = list(run(delayed(reseeded)(number) for number in range(1, SEEDS + 1)))
    if folds:
        found["fold"] = [compare(rows, quick.find(of_fold).clusters) for rows, of_fold in folds.values()]
    sizes = np.bincount(clusters, minlength=int(clusters.max()) + 1)[1:]
    rows = []
    for repeated, results in found.items():
        jaccard = np.array(
            [
                result[0] if len(result[0]) == len(sizes) else _padded(result[0], len(sizes))
                for result in results
            ]
        )
        rand = float(np.mean([result[1] for result in results]))
        for cluster, size in enumerate(sizes, start=1):
            own = jaccard[:, cluster - 1]
            own = own[~np.isnan(own)]
            rows.append(
                {
                    "cluster": cluster,
                    "n": int(size),
                    "repeated": repeated,
                    "repeats": len(own),
                    "jaccard": float(own.mean()) if len(own) else np.nan,
                    "jaccard_low": float(np.percentile(own, 5)) if len(own) else np.nan,
                    "dissolved": float((own <= 0.5).mean()) if len(own) else np.nan,
                    "adjusted_rand": rand,
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _padded(values: Array, length: int) -> Array:
    """Return values with NaN for the clusters of higher numbers, of which nobody was drawn."""
    return np.concatenate([values, np.full(length - len(values), np.nan)])
