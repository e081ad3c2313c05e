"""Negative control: how often any factor differs when clusters are joined with the phenotypes of other people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neurostrata.core.families import family_blocks
from neurostrata.strata.comparison.kruskal import (
    benjamini_hochberg,
    groups_with_values,
    h_statistics,
    p_values,
    rank_factors,
)
from neurostrata.strata.comparison.repartition import permuted_labels
from neurostrata.strata.finders.interface import Array, Labels

COLUMNS = {
    "shuffle": "number of the shuffle",
    "smallest_q": "smallest false-discovery rate of any factor, Kruskal-Wallis tests by the chi-square distribution",
    "smallest_q_repartition": "the same with p-values from the random repartitions of the true comparison",
    "found": "yes: smallest_q is at most alpha; empty where nothing can be tested",
}


def wilson_interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share; NaN without trials."""
    from statsmodels.stats.proportion import proportion_confint

    if trials == 0:
        return float("nan"), float("nan")
    low, high = proportion_confint(hits, trials, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def shuffle_links(
    clusters: Labels,
    scores: Array,
    families: Sequence[str],
    null: Array,
    shuffles: int,
    alpha: float,
    seed: int,
) -> pd.DataFrame:
    """Join clusters with the phenotypes of other people and test every factor, many times.

    Parameters
    ----------
    clusters
        One number per person.
    scores
        People x factors; NaN: missing.
    families
        One per person; whole families are exchanged, among families of the same size.
    null
        H of random repartitions of the same clusters, draws x factors; without draws there is nothing to test.
    shuffles
        How many times.
    alpha
        False-discovery rate at which something counts as found.
    seed
        Of the shuffles.

    Notes
    -----
    The repartition has the same seed, so that the shuffles are its first draws: a shuffle is compared with a null that holds it, and
    its p-value is one draw too large. With 10,000 draws that is 0.0001 and changes no share (on normal scores, 12 times 1000 shuffles, 6 factors:
    something was found in 4.7% with the seed shared and 5.1% without, while the chi-square tests, which have no null, found it in 4.5% and 4.9% of the same
    shuffles). With 199 draws the share by repartition would be near 0; the report shows that of the chi-square tests.

    Returns
    -------
    pandas.DataFrame
        Columns :data:`COLUMNS`.
    """
    _, labels = np.unique(clusters, return_inverse=True)
    labels = labels.astype(np.intp).ravel()
    number = int(labels.max()) + 1
    ordered = np.sort(null, axis=0)
    rows = []
    ranked = rank_factors(scores)
    generator = np.random.default_rng(seed)
    for part in permuted_labels(labels, family_blocks(families), shuffles, generator):
        h = h_statistics(ranked, part, number)
        for statistics, partition in zip(h, part):
            k = groups_with_values(ranked, partition, number)
            q = benjamini_hochberg(p_values(statistics, k))
            p = np.where((k >= 2) & (len(ordered) > 0), _pooled_p(statistics, ordered), np.nan)
            rows.append((_smallest(q), _smallest(benjamini_hochberg(p))))
    table = pd.DataFrame(rows, columns=["smallest_q", "smallest_q_repartition"], dtype=float)
    table.insert(0, "shuffle", np.arange(1, len(table) + 1))
    found = pd.Series(np.where(table["smallest_q"] <= alpha, "yes", "no"), dtype=object)
    table["found"] = found.where(table["smallest_q"].notna(), None)
    return table[list(COLUMNS)]


def found_shares(shuffles: pd.DataFrame, alpha: float) -> dict[str, float | None]:
    """Return for the sidecar in which share of the shuffles a factor was found, with Wilson's interval.

    Shuffles in which nothing could be tested do not count; the shares are None where that is all of them.

    Parameters
    ----------
    shuffles
        As :func:`shuffle_links` returns them.
    alpha
        False-discovery rate at which something counts as found.
    """
    shares: dict[str, float | None] = {}
    tested = shuffles[shuffles["smallest_q"].notna()]
    for name in ("", "_repartition"):
        hits = int((tested[f"smallest_q{name}"] <= alpha).sum())
        low, high = wilson_interval(hits, len(tested))
        found = (hits / len(tested), low, high) if len(tested) else (None, None, None)
        shares |= zip((f"share_found{name}", f"share_low{name}", f"share_high{name}"), found)
    return shares


def _pooled_p(h: Array, ordered: Array) -> Array:
    """Return (draws that reach h + 1) / (draws + 1) for each factor; the draws are sorted."""
    # the draws were stored in single precision
    below = [np.searchsorted(column, value * (1 - 1e-6), side="left") for column, value in zip(ordered.T, h)]
    p = (len(ordered) - np.array(below) + 1.0) / (len(ordered) + 1.0)
    return np.where(np.isnan(h), np.nan, p)


def _smallest(q: Array) -> float:
    """Return the smallest value that is not NaN; NaN without any."""
    known = q[~np.isnan(q)]
    return float(known.min()) if len(known) else float("nan")
