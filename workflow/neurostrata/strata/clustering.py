"""Choosing one partition of the grid by silhouette, and naming its clusters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.strata.affinity import (
    damping_grid,
    preference_grid,
    run_grid,
    squared_distances,
)

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

GRID_COLUMNS = ["damping", "preference", "converged", "n_iter", "n_clusters", "silhouette"]


def canonical(labels: Labels) -> Labels:
    """Return labels renumbered 0, 1, ... in the order in which they first occur."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]


def number_by_size(labels: Labels) -> Labels:
    """Return cluster numbers from 1, the largest cluster first; equal sizes by who comes first."""
    labels = canonical(labels)
    sizes = np.bincount(labels)
    number = np.empty(len(sizes), dtype=np.intp)
    number[np.argsort(-sizes, kind="stable")] = np.arange(1, len(sizes) + 1)
    return number[labels]


@dataclass
class Clustering:
    """The chosen partition and the grid it was chosen from.

    Attributes
    ----------
    clusters
        Number of each person's cluster, from 1.
    exemplars
        Row of each person's cluster's exemplar; -1 when no clusters were found.
    grid
        Columns `GRID_COLUMNS`, one row per setting.
    found
        Whether any setting converged with 2 to n-1 clusters.
    facts
        For the sidecar: the chosen setting, sizes, flags, the reason when nothing was found.
    """

    clusters: Labels
    exemplars: Labels
    grid: pd.DataFrame
    found: bool
    facts: dict[str, Any] = field(default_factory=dict)


def _nothing(n: int, grid: pd.DataFrame, reason: str, facts: dict[str, Any]) -> Clustering:
    everybody = np.ones(n, dtype=np.intp)
    facts = {
        **facts,
        "found": False,
        "reason": reason,
        "damping": None,
        "preference": None,
        "silhouette": None,
        "n_clusters": 1,
        "cluster_sizes": [n],
        "small_clusters": [],
    }
    return Clustering(everybody, np.full(n, -1, dtype=np.intp), grid, False, facts)


def _sample(n: int, size: int | None, seed: int) -> Labels:
    """Return the rows of a random sample, in order; of everybody, when they are no more than `size`."""
    if size is None or n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False))


def _nearest_exemplar(embeddings: Array, chosen: Labels, exemplars: Labels) -> Labels:
    """Return everybody's exemplar: that of the chosen as given, the nearest one of all others."""
    from sklearn.metrics import pairwise_distances_argmin

    found = np.unique(exemplars)
    nearest = found[pairwise_distances_argmin(embeddings, embeddings[found])]
    nearest[chosen] = exemplars
    return nearest


def find_clusters(
    embeddings: Array,
    settings: Mapping[str, Any],
    seed: int,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Clustering:
    """Run the grid and choose the converged setting with 2..n-1 clusters of best silhouette.

    With more people than ``sample``, all this is done with a random sample of so many, and everybody else gets
    the cluster of the nearest exemplar (Frey and Dueck 2007 assign people to exemplars the same way).

    Parameters
    ----------
    embeddings
        People x dimensions, finite.
    settings
        Section `strata`, key `clustering`.
    seed
        Random state of every setting.
    threads
        Processes; the result does not depend on it.
    progress
        See `run_grid`.

    Notes
    -----
    Equal silhouettes (mostly the same partition reached by several settings) are settled by the
    grid's order: lowest damping, then lowest preference.
    """
    n = len(embeddings)
    limit = max(settings["small_cluster_people"], settings["small_cluster_share"] * n)
    facts: dict[str, Any] = {
        "people": n,
        "dimensions": int(np.shape(embeddings)[1]),
        "small_cluster_limit": limit,
    }
    if n < 3:
        facts.update(settings_tried=0, settings_converged=0, converged_share=None, settings_eligible=0)
        empty = pd.DataFrame(columns=GRID_COLUMNS)
        return _nothing(n, empty, f"{n} people cannot be divided into 2 to n-1 clusters", facts)
    from neurostrata.strata.silhouettes import silhouette

    chosen = _sample(n, settings["sample"], seed)
    m = len(chosen)
    facts["clustered"] = m
    distances = squared_distances(embeddings[chosen])
    similarities = -distances
    np.sqrt(distances, out=distances)
    dampings = damping_grid(**{_DAMPING[k]: v for k, v in settings["damping"].items()})
    preferences = preference_grid(similarities, **settings["preference"])
    rows: list[Sequence[Any]] = []
    silhouettes: dict[bytes, float] = {}
    best: tuple[float, Labels, Labels, float, float] | None = None
    grid = run_grid(
        similarities,
        dampings,
        preferences,
        settings["max_iter"],
        settings["convergence_iter"],
        seed,
        threads,
        progress,
    )
    for setting in grid:
        k = setting.n_clusters
        value = np.nan
        if 2 <= k <= m - 1:
            labels = canonical(setting.labels)
            key = labels.astype(np.int32).tobytes()
            if key not in silhouettes:
                silhouettes[key] = silhouette(distances, labels)
            value = silhouettes[key]
            if setting.converged and (best is None or value > best[0]):
                exemplars = setting.exemplars[setting.labels]
                best = (value, labels, exemplars, setting.damping, setting.preference)
        rows.append((setting.damping, setting.preference, setting.converged, setting.n_iter, k, value))
    table = pd.DataFrame(rows, columns=GRID_COLUMNS)
    converged = table["converged"].to_numpy(dtype=bool)
    eligible = converged & table["n_clusters"].between(2, m - 1).to_numpy()
    facts.update(
        settings_tried=len(table),
        settings_converged=int(converged.sum()),
        converged_share=float(converged.mean()),
        settings_eligible=int(eligible.sum()),
    )
    if best is None:
        reason = (
            f"none of {len(table)} settings converged"
            if not converged.any()
            else f"none of the {int(converged.sum())} settings that converged gave 2 to {m - 1} clusters"
        )
        return _nothing(n, table, reason, facts)
    value, labels, exemplars, damping, preference = best
    exemplars = chosen[exemplars]
    if m < n:
        exemplars = _nearest_exemplar(embeddings, chosen, exemplars)
        labels = np.unique(exemplars, return_inverse=True)[1]
    clusters = number_by_size(labels)
    sizes = np.bincount(clusters)[1:]
    facts.update(
        found=True,
        reason=None,
        damping=damping,
        preference=preference,
        silhouette=value,
        n_clusters=len(sizes),
        cluster_sizes=sizes.tolist(),
        small_clusters=[number for number, size in enumerate(sizes.tolist(), start=1) if size < limit],
    )
    return Clustering(clusters, exemplars, table, True, facts)


_DAMPING = {"min": "minimum", "max": "maximum", "steps": "steps"}
