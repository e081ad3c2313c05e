"""Every finder on every kind of codes beside the others: one row per partition, each number from a table of the study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.tables import read_table
from neurostrata.report.data.evidence import Evidence, adjusted_rand, read_evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults
from neurostrata.report.text.differences import significant_factors
from neurostrata.report.text.verdict import Verdict

#: Columns of strata_finders.tsv and what they hold.
COLUMNS = {
    "experiment": "Experiment",
    "codes": "raw, or adjusted for what strata.adjust names",
    "finder": "How clusters were looked for",
    "clusters": "Clusters of its best partition",
    "sizes": "People in each, the largest first",
    "outside": "People who fit into no cluster",
    "p": "Whether clusters exist: p against data without groups",
    "claimed": "yes: clusters are claimed to exist",
    "jaccard": "Mean Jaccard index over bootstrap samples, weighted by people",
    "tested": "Factors tested between the clusters",
    "differ": "Factors with q < alpha in the Kruskal-Wallis test and in the random repartition",
    "differ_adjusted": "Those that differ after adjustment too",
    "agreement": "Adjusted Rand index with the leading finder on the leading codes",
}
#: Columns of verdicts.tsv and what they hold.
VERDICT_COLUMNS = {
    "experiment": "Experiment",
    "kind": "Outcome: found, unadjusted, clusters_only, explained, nothing or unknown",
    "colour": "Colour of the card",
    "doubts": "Why it is amber",
    "finder": "The leading finder",
    "clusters": "Clusters",
    "people": "People clustered",
    "p": "Whether clusters exist: p against data without groups",
    "jaccard": "Mean Jaccard index over bootstrap samples, weighted by people",
    "tested": "Factors tested",
    "found": "Factors that differ, by all three tests",
    "explained_by": "What explains the clusters",
    "headline": "What was found",
}


def finder_row(evidence: Evidence, leading: Evidence, alpha: float) -> dict[str, Any]:
    """Return one row without the experiment; n/a where a table was not made."""
    sizes = evidence.sizes()
    row: dict[str, Any] = {
        "codes": evidence.codes,
        "finder": evidence.finder,
        "clusters": len(sizes),
        "sizes": ", ".join(map(str, list(sizes.values())[:12])) + (", …" if len(sizes) > 12 else ""),
        "outside": len(evidence.outside()),
        "p": np.nan if evidence.existence is None else float(evidence.existence["p"]),
        "claimed": {True: "yes", False: "no", None: None}[evidence.claimed()],
        "jaccard": evidence.mean_jaccard() if len(sizes) > 1 else None,
        "tested": np.nan,
        "differ": np.nan,
        "differ_adjusted": np.nan,
        "agreement": np.nan,
    }
    if evidence.comparisons is not None:
        row["tested"] = int(evidence.comparisons["p"].notna().sum())
        row["differ"] = len(significant_factors(evidence.comparisons, alpha))
        if evidence.adjusted is not None:
            row["differ_adjusted"] = len(significant_factors(evidence.comparisons, alpha, evidence.adjusted))
    if evidence.clusters is not None and leading.clusters is not None:
        row["agreement"] = adjusted_rand(leading.clusters, evidence.clusters)
    return row


def compare_finders(study: StudyResults, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return the rows of all experiments, those of the leading codes first."""
    rows = []
    for experiment in experiments:
        leading = read_evidence(study, experiment)
        for codes in experiment.codes:
            for finder in experiment.finders:
                evidence = read_evidence(study, experiment, finder, codes)
                if evidence.clusters is not None:
                    rows.append({"experiment": experiment.name, **finder_row(evidence, leading, study.alpha)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdict_rows(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return the verdicts as a table."""
    rows = [
        {
            "experiment": verdict.name,
            "kind": verdict.kind,
            "colour": verdict.colour,
            "doubts": "; ".join(verdict.doubts) or None,
            "finder": verdict.finder or None,
            "clusters": verdict.clusters,
            "people": verdict.people,
            "p": verdict.p,
            "jaccard": verdict.jaccard,
            "tested": verdict.tested,
            "found": ", ".join(verdict.found) or None,
            "explained_by": ", ".join(verdict.explained_by) or None,
            "headline": verdict.headline,
        }
        for verdict in verdicts
    ]
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def read_verdicts(path: Path) -> list[Verdict]:
    """Return the verdicts of a table that :func:`verdict_rows` made, as far as it has them; none without the table."""
    if not path.is_file():
        return []
    texts = ("experiment", "kind", "doubts", "explained_by", "headline")
    return [
        Verdict(
            row["experiment"],
            row["kind"],
            row["doubts"].split("; ") if pd.notna(row["doubts"]) else [],
            row["headline"],
            tested=int(row["tested"]) if pd.notna(row["tested"]) else None,
            explained_by=row["explained_by"].split(", ") if pd.notna(row["explained_by"]) else [],
        )
        for _, row in read_table(path, text=texts).iterrows()
    ]
