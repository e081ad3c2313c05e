"""What was found, in sentences that follow from the tables by fixed rules; "nothing" is said as plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.report.blocks import count, format_number, format_p, join_words
from neurostrata.report.figures_phenotypes import factor_label

REPARTITION_NOTE = (
    "The random repartition is a permutation version of the same Kruskal-Wallis test on the same people and clusters. "
    "It is no independent confirmation of a difference, and no evidence that the clusters exist."
)
EMBEDDING_NOTE = (
    "With skip connections image detail reaches the decoder past the embedding; claims about what an embedding holds rest "
    "on the experiments that were run without them."
)


@dataclass
class Verdict:
    """The outcome of one experiment.

    Attributes
    ----------
    name, kind
        The experiment; kind is found, nothing, mixed or unknown, for the colour of its card.
    headline
        One sentence.
    sentences
        What supports and what limits it.
    clusters, people, silhouette, tested
        Numbers for the overview table; None where they are not known.
    found
        Factors that differ by both tests.
    small
        Clusters flagged as small.
    """

    name: str
    kind: str = "unknown"
    headline: str = ""
    sentences: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    clusters: int | None = None
    people: int | None = None
    silhouette: float | None = None
    tested: int | None = None
    found: list[str] = field(default_factory=list)
    small: list[int] = field(default_factory=list)


def small_clusters(sizes: Mapping[int, int], least: int = 5, share: float = 0.01) -> list[int]:
    """Return the clusters with fewer people than max(`least`, `share` of all)."""
    limit = max(least, share * sum(sizes.values()))
    return [cluster for cluster, size in sizes.items() if size < limit]


def describe_silhouette(value: float) -> str:
    """Return the usual reading of a silhouette (Kaufman and Rousseeuw 1990)."""
    for limit, words in (
        (0.25, "no substantial structure"),
        (0.5, "weak structure"),
        (0.7, "reasonable structure"),
    ):
        if value <= limit:
            return words
    return "strong structure"


def significant_factors(comparisons: pd.DataFrame, alpha: float = 0.05) -> list[str]:
    """Return the factors with both false-discovery rates below `alpha`, by decreasing effect size."""
    if "q_repartition" not in comparisons or "q" not in comparisons:
        return []
    found = comparisons[(comparisons["q"] < alpha) & (comparisons["q_repartition"] < alpha)]
    return [str(factor) for factor in found.sort_values("eta2", ascending=False)["factor"]]


def effect_text(row: pd.Series, level: str = "95%") -> str:
    """Return "η² = 0.12 (95% interval 0.05 to 0.20), q = 0.003, q of the repartition 0.004"."""
    text = f"η² = {format_number(row['eta2'], 2)}"
    if pd.notna(row.get("eta2_low")) and pd.notna(row.get("eta2_high")):
        text += (
            f" ({level} interval {format_number(row['eta2_low'], 2)} to {format_number(row['eta2_high'], 2)})"
        )
    text += f", q {_equals(row.get('q'))}"
    if pd.notna(row.get("q_repartition")):
        text += f", q of the repartition {_equals(row.get('q_repartition'))}"
    return text


def _equals(value: Any) -> str:
    text = format_p(value)
    return text if text.startswith("<") else f"= {text}"


def best_setting(grid: pd.DataFrame) -> pd.Series | None:
    """Return the row of the grid with the best silhouette among those that converged, or None."""
    usable = grid["converged"].astype(str).str.lower().isin(["true", "1", "yes"]) & grid["silhouette"].notna()
    return grid.loc[grid["silhouette"].where(usable).idxmax()] if usable.any() else None


def judge(
    name: str,
    *,
    clusters: pd.DataFrame | None,
    grid: pd.DataFrame | None = None,
    comparisons: pd.DataFrame | None = None,
    experiment: Mapping[str, Any] | None = None,
    alpha: float = 0.05,
    level: str = "95%",
    small: tuple[int, float] = (5, 0.01),
    meanings: Mapping[str, str] | None = None,
) -> Verdict:
    """Say what an experiment found.

    Parameters
    ----------
    name
        Of the experiment.
    clusters
        ``clusters.tsv``, or None when the embeddings were not clustered.
    grid
        ``grid.tsv``.
    comparisons
        ``comparisons.tsv``, or None when there were no phenotypes.
    experiment
        Its configuration: model, modalities, options.
    alpha
        Limit of both false-discovery rates.
    level
        Level of the effect size's interval, for the text.
    small
        Least number of people, and share of them, below which a cluster is flagged.
    meanings
        Factor -> the variables that load on it.
    """
    experiment = experiment or {}
    verdict = Verdict(name)
    verdict.cautions.extend(model_cautions(experiment))
    if clusters is None:
        verdict.headline = (
            "No clusters were computed for this experiment, so it supports no statement about strata."
        )
        return verdict
    sizes = {int(c): int(n) for c, n in clusters["cluster"].value_counts().sort_index().items()}
    verdict.clusters, verdict.people = len(sizes), sum(sizes.values())
    if len(sizes) < 2:
        verdict.kind = "nothing"
        verdict.headline = (
            f"No clusters were found: no setting of affinity propagation converged to between 2 and n − 1 clusters of the "
            f"{count(verdict.people, 'person', 'people')}. There is nothing to compare phenotypes between."
        )
        if grid is not None:
            verdict.sentences.append(f"{len(grid)} settings were tried; see the grid below.")
        return verdict
    best = best_setting(grid) if grid is not None else None
    verdict.silhouette = float(best["silhouette"]) if best is not None else None
    found_clusters = f"{count(verdict.people, 'person', 'people')} fell into {count(len(sizes), 'cluster')}"
    listed = (
        join_words([str(n) for n in sizes.values()])
        if len(sizes) <= 12
        else (f"between {min(sizes.values())} and {max(sizes.values())}")
    )
    line = f"{found_clusters} of {listed} people"
    if verdict.silhouette is not None:
        reading = describe_silhouette(verdict.silhouette)
        line += f"; silhouette {format_number(verdict.silhouette, 2)}, usually read as {reading}"
    verdict.sentences.append(line + ".")
    verdict.small = small_clusters(sizes, *small)
    if verdict.small:
        numbers = join_words([f"{c} (n = {sizes[c]})" for c in verdict.small[:12]])
        more = f" and {len(verdict.small) - 12} more" if len(verdict.small) > 12 else ""
        verb = "is" if len(verdict.small) == 1 else "are"
        verdict.cautions.append(
            f"Small clusters: {numbers}{more} {verb} below {format_number(max(small[0], small[1] * verdict.people))} people. "
            "Affinity propagation can win the best silhouette by setting a few outliers against the rest."
        )
    largest = max(sizes.values()) / verdict.people
    if largest > 0.9:
        verdict.cautions.append(
            f"One cluster holds {largest:.0%} of the people: this is outliers against the rest."
        )
    if verdict.silhouette is not None and verdict.silhouette <= 0.25:
        verdict.cautions.append(
            "A silhouette this low is also reached by clustering data without any groups: it does not show that separate "
            "groups of people exist."
        )
    if comparisons is None:
        verdict.headline = "Clusters were computed, but phenotypes were not compared between them."
        return verdict
    _judge_factors(verdict, comparisons, alpha, level, meanings or {})
    return verdict


def _judge_factors(
    verdict: Verdict, comparisons: pd.DataFrame, alpha: float, level: str, meanings: Mapping[str, str]
) -> None:
    tested = comparisons[comparisons["p"].notna()] if "p" in comparisons else comparisons.iloc[:0]
    verdict.tested = len(tested)
    skipped = len(comparisons) - len(tested)
    if skipped:
        verdict.cautions.append(
            f"{count(skipped, 'factor')} could not be tested (too few people with a score in at least two clusters)."
        )
    if not len(tested):
        verdict.headline = (
            "No factor could be tested between the clusters, so nothing is known about phenotypes."
        )
        return
    verdict.found = significant_factors(tested, alpha)
    factors = f"{count(len(tested), 'phenotypic factor')} tested"
    if verdict.found:
        verdict.kind = "found"
        rows = tested.set_index("factor")
        first = [
            f"{_named(factor, meanings)}: {effect_text(rows.loc[factor], level)}"
            for factor in verdict.found[:8]
        ]
        verb = "differs" if len(verdict.found) == 1 else "differ"
        verdict.headline = (
            f"{len(verdict.found)} of {factors} {verb} between the {count(verdict.clusters or 0, 'cluster')} "
            f"(q < {alpha:g} in the Kruskal-Wallis test and in the random repartition)."
        )
        verdict.sentences.extend(first)
        if len(verdict.found) > 8:
            verdict.sentences.append(f"and {len(verdict.found) - 8} more, in the table of comparisons.")
    else:
        verdict.kind = "nothing"
        verdict.headline = (
            f"Nothing was found: none of {factors} differs between the {count(verdict.clusters or 0, 'cluster')} "
            f"(q < {alpha:g} in the Kruskal-Wallis test and in the random repartition)."
        )
        top = tested.loc[tested["p"].idxmin()]
        verdict.sentences.append(
            f"The nearest was {_named(str(top['factor']), meanings)}: {effect_text(top, level)}."
        )
    if "q_repartition" not in tested or not tested["q_repartition"].notna().any():
        verdict.kind = "unknown"
        verdict.headline = "The random repartition was not run, so no difference is claimed."
        return
    one_only = tested[(tested["q"] < alpha) != (tested["q_repartition"] < alpha)]
    if len(one_only):
        names = join_words([factor_label(str(factor)) for factor in one_only["factor"]])
        verdict.cautions.append(f"Below {alpha:g} in only one of the two tests, and not counted: {names}.")
        if not verdict.found:
            verdict.kind = "mixed"
    people = [int(n) for n in tested["n"].dropna()] if "n" in tested else []
    if people and min(people) < (verdict.people or 0):
        span = f"{min(people)}" if min(people) == max(people) else f"{min(people)} to {max(people)}"
        verdict.cautions.append(
            f"Only {span} of the {verdict.people} clustered people have a score; the others are left out of the tests."
        )
    columns = [
        c for c in ("detectable_eta2_corrected", "detectable_eta2") if c in tested and tested[c].notna().any()
    ]
    if columns:
        value = format_number(float(np.median(tested[columns[0]].dropna().to_numpy(float))), 2)
        verdict.sentences.append(
            f"The smallest effect that this many people had a fair chance to show is η² ≈ {value}."
        )


def _named(factor: str, meanings: Mapping[str, str]) -> str:
    meaning = meanings.get(factor, "")
    return f"{factor_label(factor)} ({meaning})" if meaning else factor_label(factor)


def model_cautions(experiment: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know about the experiment's model before believing its clusters."""
    options = experiment.get("options") or {}
    if options.get("skip_connections") is True:
        return [
            "This model has skip connections: image detail reaches the decoder past the embedding. How well it decodes says "
            "nothing about the embedding, and no claim about embeddings rests on it."
        ]
    if experiment.get("model") == "pca":
        return [
            "This is the linear baseline (principal components of the volumes), shown so that the others can be judged."
        ]
    return []


def overall(verdicts: Sequence[Verdict]) -> str:
    """Return the first sentence of the report."""
    if not verdicts:
        return "No experiment was run: there are no embeddings, no clusters and no comparison to judge."
    found = [verdict for verdict in verdicts if verdict.kind == "found"]
    judged = [verdict for verdict in verdicts if verdict.tested]
    many = count(len(verdicts), "experiment")
    if found:
        total = f"In {len(found)} of {many}" if len(verdicts) > 1 else "In the one experiment that ran"
        return (
            f"{total}, clusters derived from the images alone differ in at least one phenotypic factor "
            f"({join_words([verdict.name for verdict in found])})."
        )
    if not judged:
        who = f"None of {many}" if len(verdicts) > 1 else "The one experiment has not"
        verb = " has" if len(verdicts) > 1 else ""
        return f"{who}{verb} reached a comparison of phenotypes between clusters; nothing can be said about strata."
    where = f"any of {many}" if len(verdicts) > 1 else "the one experiment that ran"
    return f"Nothing was found: in {where}, no phenotypic factor differs between the clusters derived from the images."
