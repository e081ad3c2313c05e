"""Whether clusters are explained by image quality, site or head size: the tests of composition, over all measures of quality."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neurostrata.strata.comparison.composition import compare_composition

COLUMNS = {
    "variable": "measure of quality, site, or head size",
    "words": "what it is",
    "kind": "number or classes",
    "statistic": "Kruskal-Wallis H of numbers, Pearson's chi-square of classes",
    "effect": "effect size, corrected for chance; see effect_name",
    "low": "lower end of its interval",
    "high": "upper end",
    "p": "by permutation, whole families exchanged",
    "p_adjusted": "false-discovery rate over all rows (Benjamini and Hochberg 1995)",
    "n": "people with a cluster and a value",
    "effect_name": "eta2: share of rank variance between clusters; cramers_v: association of class and cluster, 0 to 1",
}
#: Beginnings of the names of measures of the anatomy that models see: clusters differ in these by construction, whatever the quality.
OF_BRAINS = ("map_mean_", "map_spread_", "map_unusual_", "warp", "jacobian_", "fibres_")
#: Characteristics that are tested beside the measures.
BESIDE = {
    "site": "Site, of the cohort sheet.",
    "head_size": "Volume of the head relative to the template's, by the affine registration.",
}


def compare_quality(
    clusters: pd.Series,
    measured: pd.DataFrame,
    people: pd.DataFrame,
    words: Mapping[str, str],
    draws: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """Test every measure of quality, site and head size between clusters; columns :data:`COLUMNS`, strongest effect first.

    Measures of what the models see (:data:`OF_BRAINS`) are left out: clusters of maps differ in their maps. A measured `size` stands for the head size.

    Parameters
    ----------
    clusters
        Index: subjects; cluster numbers.
    measured
        Measures of quality by subject.
    people
        Characteristics by subject: ``site``, ``head_size``, and ``family``, whose people are exchanged together.
    words
        Measure -> what it is.
    draws
        Permutations.
    confidence
        Level of the intervals.
    seed
        Of the permutations and the bootstrap.
    """
    measured = measured[[name for name in measured if not name.startswith(OF_BRAINS)]]
    beside = [name for name in (*BESIDE, "family") if name in people and people[name].notna().any()]
    beside = [name for name in beside if name != "head_size" or "size" not in measured]
    table = measured.reindex(clusters.index).join(people[beside])
    table = table.loc[:, [name for name in table if table[name].replace("", pd.NA).notna().any()]]
    tests = compare_composition(clusters, table, draws, confidence, seed)
    tests = tests.rename(
        columns={"characteristic": "variable", "effect_low": "low", "effect_high": "high", "q": "p_adjusted"}
    )
    tests["words"] = [words.get(name) or BESIDE[name] for name in tests["variable"]]
    tests = tests.sort_values("effect", ascending=False, kind="stable", na_position="last")
    return tests[list(COLUMNS)].reset_index(drop=True)
