"""Composition of the clusters: age, sex, site, diagnosis, family, head size, image quality of their people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.families import families_of, family_blocks, family_weights
from neurostrata.phenotypes.coding import code_column
from neurostrata.strata.comparison.kruskal import (
    benjamini_hochberg,
    eta_squared,
    eta_squared_interval,
    h_statistics,
    rank_factors,
)
from neurostrata.strata.comparison.rank_sums import sum_by_cluster
from neurostrata.strata.comparison.repartition import exceedance_p, permuted_labels

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

#: Bootstrap draws for the intervals of Cramer's V.
BOOTSTRAP = 1000

COLUMNS = {
    "characteristic": "what is known of people",
    "level": "class; empty for numbers",
    "cluster": "number of the cluster; all: everybody with a cluster",
    "n": "people of the cluster with a value",
    "mean": "mean of a number",
    "sd": "its standard deviation",
    "count": "people of this class; for family, families of several people",
    "share": "share of the people with a value; for family, of the families of several people",
}
TEST_COLUMNS = {
    "characteristic": "what is known of people",
    "kind": "number or classes",
    "test": "how it was tested; p by permutation, whole families exchanged",
    "statistic": "Kruskal-Wallis H of numbers, Pearson's chi-square of classes",
    "p": "(permutations with at least this statistic + 1) / (draws + 1)",
    "q": "Benjamini-Hochberg false-discovery rate of p over the characteristics",
    "effect": "effect size, corrected for chance",
    "effect_name": "eta2: share of rank variance between clusters; cramers_v: association of class and cluster, 0 to 1",
    "effect_low": "lower end of its interval (eta2: inverted non-central chi-square; cramers_v: bootstrap of families)",
    "effect_high": "upper end",
    "n": "people with a cluster and a value",
    "missing": "people with a cluster and without a value",
}


def as_numbers(name: str, column: pd.Series) -> pd.Series | None:
    """Return a characteristic as numbers; None where it has classes, as words do and whatever has only two values."""
    if name in ALWAYS_WORDS or column.nunique() <= 2:
        return None
    return code_column(column.rename(name)).values


def chi_square(counts: Array) -> Array:
    """Return Pearson's chi-square of tables (..., clusters x classes); empty rows and columns count as absent."""
    total = counts.sum(axis=(-2, -1), keepdims=True)
    expected = counts.sum(axis=-1, keepdims=True) * counts.sum(axis=-2, keepdims=True) / np.maximum(total, 1)
    terms = np.divide((counts - expected) ** 2, expected, out=np.zeros_like(counts), where=expected > 0)
    return np.asarray(terms.sum(axis=(-2, -1)))


def cramers_v(chi2: Array, rows: int, columns: int, n: int) -> Array:
    """Return Cramer's V corrected for chance (Bergsma 2013).

    Parameters
    ----------
    chi2
        Pearson's chi-square.
    rows, columns
        Of the table, empty ones not counted.
    n
        People.
    """
    if min(rows, columns) < 2 or n < 2:
        return np.full(np.shape(chi2), np.nan)
    chance = (rows - 1) * (columns - 1) / (n - 1)
    phi2 = np.maximum(0.0, np.asarray(chi2) / n - chance)
    smaller = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return np.sqrt(np.minimum(1.0, phi2 / smaller)) if smaller > 0 else np.full(np.shape(chi2), np.nan)


def describe_clusters(clusters: pd.Series, people: pd.DataFrame) -> pd.DataFrame:
    """Return the table of every characteristic in every cluster, columns :data:`COLUMNS`.

    Parameters
    ----------
    clusters
        Index: subjects; cluster numbers.
    people
        Index: subjects; their characteristics.
    """
    described = people.reindex(clusters.index).replace("", np.nan)
    groups = [("all", np.ones(len(clusters), bool))]
    groups += [(str(k), (clusters == k).to_numpy()) for k in sorted(clusters.unique())]
    rows: list[dict[str, Any]] = []
    for name in described:
        if name == "family":
            rows += _families_over_clusters(described[name], clusters)
            continue
        column = described[name]
        numbers = as_numbers(str(name), column)
        for cluster, member in groups:
            here = (column if numbers is None else numbers)[member].dropna()
            common = {"characteristic": name, "level": "", "cluster": cluster, "n": len(here)}
            if numbers is not None:
                spread = float(here.std()) if len(here) > 1 else np.nan
                rows.append({**common, "mean": float(here.mean()) if len(here) else np.nan, "sd": spread})
                continue
            for level in sorted(column.dropna().astype(str).unique()):
                count = int((here.astype(str) == level).sum())
                share = count / len(here) if len(here) else np.nan
                rows.append({**common, "level": level, "count": count, "share": share})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"count": "Int64"})


def _families_over_clusters(families: pd.Series, clusters: pd.Series) -> list[dict[str, Any]]:
    """Return how many families of several people lie in one cluster and how many are split; no rows without such families."""
    known = families.dropna().astype(str)
    sizes = known.value_counts()
    several = known[known.isin(sizes.index[sizes > 1])]
    if several.empty:
        return []
    divided = clusters[several.index].groupby(several).nunique() > 1
    common = {"characteristic": "family", "cluster": "all", "n": len(several)}
    return [
        {**common, "level": level, "count": int(chosen.sum()), "share": float(chosen.mean())}
        for level, chosen in (("in one cluster", ~divided), ("split over clusters", divided))
    ]


def compare_composition(
    clusters: pd.Series, people: pd.DataFrame, draws: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Test every characteristic but family between clusters; columns :data:`TEST_COLUMNS`.

    Parameters
    ----------
    clusters, people
        As for :func:`describe_clusters`.
    draws
        Permutations; whole families are exchanged.
    confidence
        Level of the intervals.
    seed
        Of the permutations and the bootstrap.
    """
    described = people.reindex(clusters.index).replace("", np.nan)
    family = families_of(described, clusters.index)
    found: dict[Any, dict[str, Any]] = {}
    # numbers that the same people have are compared with the same permutations, which take most of the time
    of_same_people: dict[bytes, dict[Any, Array]] = {}

    def about(known: NDArray[np.bool_]) -> tuple[Labels, list[str]]:
        _, labels = np.unique(clusters.to_numpy()[known], return_inverse=True)
        return labels.astype(np.intp).ravel(), [family[row] for row in np.flatnonzero(known)]

    for name in described.columns.drop("family", errors="ignore"):
        numbers = as_numbers(str(name), described[name])
        column = described[name] if numbers is None else numbers
        known = column.notna().to_numpy()
        found[name] = {"characteristic": name, "n": int(known.sum()), "missing": int((~known).sum())}
        if numbers is not None:
            of_same_people.setdefault(known.tobytes(), {})[name] = column[known].to_numpy(float)
            continue
        words, generator = column[known].astype(str).to_numpy(), np.random.default_rng(seed)
        found[name] |= _test_classes(words, *about(known), draws, confidence, generator)
    for people_known, columns in of_same_people.items():
        values, generator = np.column_stack(list(columns.values())), np.random.default_rng(seed)
        known = np.frombuffer(people_known, dtype=bool)
        tests = _test_numbers(values, *about(known), draws, confidence, generator)
        for name, test in zip(columns, tests, strict=True):
            found[name] |= test
    rows = list(found.values())
    table = pd.DataFrame(rows, columns=[c for c in TEST_COLUMNS if c != "q"])
    table["q"] = benjamini_hochberg(table["p"].to_numpy(dtype=float))
    return table[list(TEST_COLUMNS)]


def _test_numbers(
    values: Array,
    labels: Labels,
    families: list[str],
    draws: int,
    confidence: float,
    generator: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return the test of each column of numbers (people x characteristics, none missing)."""
    common: dict[str, Any] = {
        "kind": "number",
        "test": "Kruskal-Wallis",
        "effect_name": "eta2",
        **dict.fromkeys(("statistic", "p", "effect", "effect_low", "effect_high"), np.nan),
    }
    found = [dict(common) for _ in range(values.shape[1])]
    number = int(labels.max()) + 1 if len(labels) else 0
    ranked = rank_factors(values)
    if number < 2:
        return found
    tested = np.flatnonzero(~np.isnan(ranked.scale))
    if not len(tested):
        return found
    h = h_statistics(ranked, labels[None], number)[0]
    parts = permuted_labels(labels, family_blocks(families), draws, generator)
    p = exceedance_p(h, np.concatenate([h_statistics(ranked, part, number) for part in parts]))
    for column in tested:
        low, high = eta_squared_interval(float(h[column]), number, len(values), confidence)
        found[column] |= {
            "statistic": float(h[column]),
            "p": float(p[column]),
            "effect": eta_squared(float(h[column]), number, len(values)),
            "effect_low": low,
            "effect_high": high,
        }
    return found


def _test_classes(
    words: NDArray[Any],
    labels: Labels,
    families: list[str],
    draws: int,
    confidence: float,
    generator: np.random.Generator,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "classes",
        "test": "chi-square",
        "effect_name": "cramers_v",
        **dict.fromkeys(("statistic", "p", "effect", "effect_low", "effect_high"), np.nan),
    }
    number = int(labels.max()) + 1 if len(labels) else 0
    member = (words[:, None] == np.unique(words)).astype(float) if len(words) else np.zeros((0, 0))
    n, levels = len(words), member.shape[1]
    if number < 2 or levels < 2:
        return found

    def counted(partitions: Labels) -> Array:
        sums = np.empty((len(partitions), number, levels))
        sum_by_cluster(partitions, member, sums)
        return sums

    observed = chi_square(counted(labels[None]))
    parts = permuted_labels(labels, family_blocks(families), draws, generator)
    null = np.concatenate([chi_square(counted(part)) for part in parts])
    cell = (labels[:, None] == np.arange(number))[:, :, None] * member[:, None, :]
    weights = family_weights(families, BOOTSTRAP, generator)
    tables = (weights @ cell.reshape(n, -1)).reshape(BOOTSTRAP, number, levels)
    # Bootstrap tables also have the chance of their own draws. It is measured: with classes of few people, which lie in some of the
    # clusters only, it is less than that of a sample.
    of_draws = chi_square(tables) / np.maximum(tables.sum(axis=(1, 2)), 1) * n
    drawn = cramers_v(of_draws - (of_draws.mean() - observed[0]), number, levels, n)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    effect = float(cramers_v(observed, number, levels, n)[0])
    return found | {
        "statistic": float(observed[0]),
        "p": float(exceedance_p(observed, null[:, None])[0]),
        "effect": effect,
        # near 1 nearly all draws have the largest chi-square, and the few others move them beyond the estimate
        "effect_low": min(float(low), effect),
        "effect_high": max(float(high), effect),
    }
