"""The tables about one partition of the people, on which a verdict rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults

#: Characteristics that explain clusters: clusters that follow them say nothing about the brain.
NUISANCES = ("site", "image_quality", "head_size")


@dataclass
class Evidence:
    """The tables of one finder on one kind of codes; None where a table was not made.

    Attributes
    ----------
    finder, codes
        Which partition of the people this is.
    clusters, facts
        ``clusters.tsv`` and its sidecar.
    existence
        The row of ``existence.tsv``.
    stability, comparisons, adjusted, composition_tests, quality_tests, split_half, split_factors
        ``stability.tsv``, ``comparisons.tsv``, ``comparisons_adjusted.tsv`` and so on.
    shuffles
        Sidecar of ``shuffles.tsv``.
    continuous, added
        ``continuous.tsv`` and the finder's rows of ``continuous_added.tsv``.
    nuisances
        Characteristics that explain clusters: :data:`NUISANCES`, and the column of sites that are harmonised.
    """

    finder: str = ""
    codes: str = "raw"
    clusters: pd.DataFrame | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    existence: pd.Series | None = None
    stability: pd.DataFrame | None = None
    comparisons: pd.DataFrame | None = None
    adjusted: pd.DataFrame | None = None
    composition_tests: pd.DataFrame | None = None
    quality_tests: pd.DataFrame | None = None
    split_half: pd.DataFrame | None = None
    split_factors: pd.DataFrame | None = None
    shuffles: Mapping[str, Any] = field(default_factory=dict)
    continuous: pd.DataFrame | None = None
    added: pd.DataFrame | None = None
    nuisances: tuple[str, ...] = NUISANCES

    def sizes(self) -> dict[int, int]:
        """Return cluster -> people."""
        if self.clusters is None:
            return {}
        counted = self.clusters["cluster"].value_counts().sort_index()
        return {int(cluster): int(n) for cluster, n in counted.items()}

    def outside(self) -> list[str]:
        """Return the people who fit into no cluster."""
        if self.clusters is None or "fits" not in self.clusters:
            return []
        out = self.clusters["fits"].astype(str).str.lower() == "no"
        return [str(subject) for subject in self.clusters.loc[out, "subject"]]

    def jaccard(self) -> dict[int, tuple[int, float]]:
        """Return cluster -> (people, mean Jaccard index over bootstrap samples), as far as known."""
        if self.stability is None:
            return {}
        rows = self.stability[self.stability["repeated"].astype(str) == "bootstrap"]
        rows = rows[rows["jaccard"].notna()]
        return {int(row["cluster"]): (int(row["n"]), float(row["jaccard"])) for _, row in rows.iterrows()}

    def mean_jaccard(self) -> float | None:
        """Return the mean over clusters, weighted by their people; None when it is not known."""
        found = list(self.jaccard().values())
        weights = [n for n, _ in found]
        return float(np.average([value for _, value in found], weights=weights)) if sum(weights) else None

    def claimed(self) -> bool | None:
        """Tell whether clusters exist; None when that was not tested."""
        if self.existence is None or self.existence.isna()["claimed"]:
            return None
        return str(self.existence["claimed"]).lower() in ("yes", "true")


def read_evidence(study: StudyResults, experiment: Experiment, finder: str = "", codes: str = "") -> Evidence:
    """Read the tables of a finder (by default the leading one); absent ones are not added to the missing pieces."""
    finder = finder or (experiment.finders[0] if experiment.finders else "")
    codes = codes or experiment.codes[0]

    def table(name: str, *columns: str) -> pd.DataFrame | None:
        return study.table(experiment.strata(name, finder, codes), columns=columns)

    sites = study.strata_settings["adjust"]["sites"]
    existence = table("existence.tsv", "n_clusters", "statistic", "p", "claimed")
    added = study.table(experiment.continuous_added, columns=("finder", "factor", "added_r2", "p"))
    if added is not None:
        added = added[added["finder"] == finder]
    return Evidence(
        finder,
        codes,
        clusters=table("clusters.tsv", "subject", "cluster"),
        facts=study.sidecar(experiment.strata("clusters.tsv", finder, codes)),
        existence=None if existence is None else existence.iloc[0],
        stability=table("stability.tsv", "cluster", "n", "repeated", "jaccard"),
        comparisons=table("comparisons.tsv", "factor", "h", "p", "q", "eta2"),
        adjusted=table("comparisons_adjusted.tsv", "factor", "p", "q", "eta2"),
        composition_tests=table("composition_tests.tsv", "characteristic", "p", "q", "effect", "effect_name"),
        quality_tests=study.table(
            experiment.quality_tests(finder, codes),
            columns=("variable", "effect", "p_adjusted", "effect_name"),
        ),
        split_half=table("split_half.tsv", "k_first", "k_second", "adjusted_rand"),
        split_factors=table("split_half_factors.tsv", "factor", "eta2", "p", "q"),
        shuffles=study.sidecar(experiment.strata("shuffles.tsv", finder, codes)),
        continuous=study.table(
            experiment.continuous, columns=("features", "method", "factor", "value", "low", "high", "q")
        ),
        added=added,
        nuisances=tuple(dict.fromkeys([*NUISANCES, *([sites] if sites else [])])),
    )


def false_discovery_rates(p: pd.Series) -> pd.Series:
    """Return Benjamini and Hochberg's q values; NaN stays NaN."""
    from scipy.stats import false_discovery_control

    known = p.notna()
    q = pd.Series(np.nan, index=p.index)
    if known.any():
        q[known] = false_discovery_control(p[known].to_numpy(float))
    return q


def adjusted_rand(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Return the adjusted Rand index of two partitions over the people of both (Hubert and Arabie 1985)."""
    both = first[["subject", "cluster"]].merge(second[["subject", "cluster"]], on="subject")
    table = pd.crosstab(both["cluster_x"], both["cluster_y"]).to_numpy(float)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    rows, columns, total = pairs(table.sum(1)), pairs(table.sum(0)), pairs(np.array([table.sum()]))
    expected = rows * columns / total if total else 0.0
    largest = (rows + columns) / 2
    # In both everybody is in one cluster, or everybody alone: the same partition.
    return 1.0 if largest == expected else (pairs(table) - expected) / (largest - expected)
