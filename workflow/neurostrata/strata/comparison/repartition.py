"""Random repartition of the people into clusters of the same sizes (Dimitri et al. 2.4.2).

This is a permutation Kruskal-Wallis test: it needs no chi-square approximation and can respect families,
but it neither confirms the Kruskal-Wallis test independently nor is it evidence that clusters exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.core.families import family_blocks
from neurostrata.strata.comparison.kruskal import (
    RankedFactors,
    benjamini_hochberg,
    groups_with_values,
    h_statistics,
    rank_factors,
)

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

COLUMNS = {
    "factor": "name of the factor",
    "h": "Kruskal-Wallis H of the true clusters",
    "p_repartition": "(draws with at least this H + 1) / (draws + 1)",
    "q_repartition": "Benjamini-Hochberg false-discovery rate over the factors",
    "n": "people with a value",
    "draws": "random repartitions",
    "null_mean": "mean H of the random repartitions",
    "null_95": "their 95th percentile",
}
#: Partitions drawn at a time; a fixed number, because it decides the order of the random numbers.
CHUNK = 500


@dataclass
class Repartition:
    """H of the true clusters and of random ones.

    Attributes
    ----------
    h, p
        Per factor; NaN where there is nothing to test.
    null
        Draws x factors.
    n
        People with a value, per factor.
    """

    h: Array
    p: Array
    null: Array
    n: Array

    def table(self, factors: Sequence[str] | pd.Index) -> pd.DataFrame:
        """Return one row per factor, columns :data:`COLUMNS`."""
        drawn = len(self.null)
        return pd.DataFrame(
            {
                "factor": factors,
                "h": self.h,
                "p_repartition": self.p,
                "q_repartition": benjamini_hochberg(self.p),
                "n": self.n.astype(int),
                "draws": drawn,
                "null_mean": self.null.mean(axis=0) if drawn else np.nan,
                "null_95": np.percentile(self.null, 95, axis=0) if drawn else np.nan,
            }
        )


def permuted_labels(
    labels: Labels, blocks: Sequence[Labels], draws: int, generator: np.random.Generator
) -> Iterator[Labels]:
    """Yield random partitions (at most `CHUNK` x people) in which whole families change places.

    A family's cluster labels go, in the members' order, to another family of the same size; with
    families of one person this is the plain permutation. Cluster sizes never change.
    """
    for start in range(0, draws, CHUNK):
        count = min(CHUNK, draws - start)
        drawn = np.empty((count, len(labels)), dtype=labels.dtype)
        for block in blocks:
            alone = block.shape[1] == 1
            moved = labels[block.ravel()] if alone else np.arange(len(block))
            order = np.tile(moved, (count, 1))
            generator.permuted(order, axis=1, out=order)
            drawn[:, block.ravel()] = order if alone else labels[block][order].reshape(count, -1)
        yield drawn


def resampled_h(
    scores: Array, labels: Labels, n_clusters: int, draws: int, generator: np.random.Generator
) -> Array:
    """Return H (draws x factors) of people drawn with replacement into clusters of the true sizes.

    Values are ranked anew in each draw. Families are ignored: whole families cannot be drawn with replacement while
    cluster sizes are kept.
    """
    null = np.full((draws, scores.shape[1]), np.nan)
    for column in range(scores.shape[1]):
        rows = np.flatnonzero(~np.isnan(scores[:, column]))
        if len(rows) < 2:
            continue
        unique, code = np.unique(scores[rows, column], return_inverse=True)
        size, kinds = len(rows), len(unique)
        here = labels[rows]
        groups = [np.flatnonzero(here == cluster) for cluster in range(n_clusters)]
        for start in range(0, draws, CHUNK):
            count = min(CHUNK, draws - start)
            drawn = code[generator.integers(size, size=(count, size))]
            offset = drawn + kinds * np.arange(count)[:, None]
            counts = np.bincount(offset.ravel(), minlength=count * kinds).reshape(count, kinds).astype(float)
            midrank = np.cumsum(counts, axis=1) - (counts - 1) / 2 - (size + 1) / 2
            ranks = np.take_along_axis(midrank, drawn, axis=1)
            ties = 1.0 - (counts**3 - counts).sum(axis=1) / (float(size) ** 3 - size)
            total = np.zeros(count)
            for group in groups:
                if len(group):
                    total += ranks[:, group].sum(axis=1) ** 2 / len(group)
            scaled = 12.0 / (size * (size + 1.0)) * total
            # a draw in which all values are equal shows no difference between clusters
            null[start : start + count, column] = np.divide(scaled, ties, out=np.zeros(count), where=ties > 0)
    return null


def exceedance_p(h: Array, null: Array) -> Array:
    """Return (b + 1) / (M + 1), b the draws with H at least the true one; NaN where H is NaN.

    A tiny tolerance makes draws that equal the true partition but for swapped clusters of equal size count as equal,
    although their terms were added in another order.
    """
    reached = null >= h - 1e-9 * np.maximum(1.0, np.abs(h))
    p = (reached.sum(axis=0) + 1.0) / (len(null) + 1.0)
    return np.where(np.isnan(h), np.nan, p)


def repartition(
    scores: Array,
    clusters: Labels,
    families: Sequence[str],
    draws: int,
    seed: int,
    with_replacement: bool = False,
) -> Repartition:
    """Test every factor against random repartitions.

    Parameters
    ----------
    scores
        People x factors, NaN: missing.
    clusters
        One number per person.
    families
        One per person; empty: alone.
    draws
        Number of repartitions M.
    seed
        Of the random numbers.
    with_replacement
        Draw with replacement, as the paper's text says, instead of permuting.
    """
    names, labels = np.unique(clusters, return_inverse=True)
    labels = labels.astype(np.intp).ravel()
    k = len(names)
    ranked: RankedFactors = rank_factors(scores)
    generator = np.random.default_rng(seed)
    h = h_statistics(ranked, labels[None, :], k)[0] if k else np.full(scores.shape[1], np.nan)
    if k:
        h = np.where(groups_with_values(ranked, labels, k) >= 2, h, np.nan)
    if k < 2 or np.isnan(h).all():
        empty = np.full((0, scores.shape[1]), np.nan)
        nothing = np.full(scores.shape[1], np.nan)
        return Repartition(nothing, nothing.copy(), empty, ranked.n)
    if with_replacement:
        null = resampled_h(scores, labels, k, draws, generator)
    else:
        parts = permuted_labels(labels, family_blocks(families), draws, generator)
        null = np.concatenate([h_statistics(ranked, part, k) for part in parts])
    return Repartition(h, exceedance_p(h, null), null, ranked.n)
