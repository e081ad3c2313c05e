"""Stability: how well each cluster is found again in resampled people, with other seeds, by models of folds (Hennig 2007)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.families import family_sample
from neurostrata.strata.finders.interface import Array, Finder, Labels, Progress

#: Number of other seeds of the finder.
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


def best_jaccard(clusters: Labels, again: Labels, number: int) -> Array:
    """Return for each cluster 1..`number` the largest Jaccard index with any cluster of another partition of the same people.

    NaN for a cluster of which nobody is among these people.
    """
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
    """Repeat the search and measure how well each cluster is found again.

    Parameters
    ----------
    finder
        Its :meth:`Finder.quick` form is repeated, with its choice of the number of clusters.
    codes
        People x dimensions.
    clusters
        The partition found in them, from 1.
    families
        One per person, "" for none; families are drawn as a whole.
    folds
        Fold -> rows of the people who have codes in it, and these codes.
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
    sizes = np.bincount(clusters)[1:]

    def compare(rows: Labels, again: Labels) -> tuple[Array, float]:
        rand = float(adjusted_rand_score(clusters[rows], again))
        return best_jaccard(clusters[rows], again, len(sizes)), rand

    def resampled(draw: int) -> tuple[Array, float]:
        rows = family_sample(families, np.random.default_rng([seed, draw]))
        return compare(rows, quick.find(codes[rows]).clusters)

    def reseeded(number: int) -> tuple[Array, float]:
        other = quick.changed(seed=seed + number)
        return compare(np.arange(len(codes)), other.find(codes).clusters)

    def in_fold(rows: Labels, of_fold: Array) -> tuple[Array, float]:
        return compare(rows, quick.find(of_fold).clusters)

    run = Parallel(n_jobs=finder.threads, backend="threading", return_as="generator")
    found: dict[str, list[tuple[Array, float]]] = {"bootstrap": []}
    for result in run(delayed(resampled)(draw) for draw in range(1, draws + 1)):
        found["bootstrap"].append(result)
        if progress is not None:
            progress(len(found["bootstrap"]), draws)
    found["seed"] = list(run(delayed(reseeded)(number) for number in range(1, SEEDS + 1)))
    if folds:
        found["fold"] = list(run(delayed(in_fold)(rows, of_fold) for rows, of_fold in folds.values()))
    rows = [row for repeated, results in found.items() for row in _rows(repeated, results, sizes)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(repeated: str, results: Sequence[tuple[Array, float]], sizes: Labels) -> Iterator[dict[str, Any]]:
    """Yield a row of :data:`COLUMNS` per cluster from the Jaccard and Rand indices of the repeats of one kind."""
    jaccard = np.array([result[0] for result in results])
    rand = float(np.mean([result[1] for result in results]))
    for cluster, size in enumerate(sizes, start=1):
        values = jaccard[:, cluster - 1]
        values = values[~np.isnan(values)]
        yield {
            "cluster": cluster,
            "n": int(size),
            "repeated": repeated,
            "repeats": len(values),
            "jaccard": float(values.mean()) if len(values) else np.nan,
            "jaccard_low": float(np.percentile(values, 5)) if len(values) else np.nan,
            "dissolved": float((values <= 0.5).mean()) if len(values) else np.nan,
            "adjusted_rand": rand,
        }
