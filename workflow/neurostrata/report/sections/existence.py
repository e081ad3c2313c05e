"""Whether the clusters of an experiment exist, and whether they are found again."""

from __future__ import annotations

from functools import partial

import numpy as np

from neurostrata.core.wording import count
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.html.blocks import Section, Text, fixed, format_number, format_p, frame_table
from neurostrata.report.html.page import Page
from neurostrata.report.text.verdict import equals
from neurostrata.strata.finders.registry import finder_class


def existence_section(page: Page, experiment: Experiment, evidence: Evidence) -> Section:
    """Return the section on the search for clusters and on the same search in data without groups."""
    from neurostrata.report.figures.checks import existence_figure
    from neurostrata.report.figures.search import SEARCH_FIGURES

    study, name = page.study, experiment.name
    section = Section("existence", "Search for clusters, and whether they exist")
    path = experiment.strata("search.tsv")
    search = study.table(path, f"Search of clusters in {name}", ())
    if search is not None:
        plan = finder_class(evidence.finder).search_figure
        if plan and study.table(path, f"Search of clusters in {name}", plan.columns) is not None:
            tried = len(search)
            section.add(
                page.figure(
                    partial(SEARCH_FIGURES[plan.kind], search, evidence.facts),
                    f"{name}/search.svg",
                    plan.title,
                    plan.caption,
                    path,
                    alt=f"{plan.title}: {count(tried, 'setting')} tried",
                )
            )
        table = frame_table(
            search.head(500), "Candidates of the search", sources=page.sources(path), folded=True
        )
        table.caption = f"The first 500 of {len(search)}." if len(search) > 500 else ""
        section.add(table)
    path = experiment.strata("existence.tsv")
    if study.table(path, f"Whether clusters exist in {name}", ("p", "claimed")) is None:
        return section
    row = evidence.existence
    if row is None:
        return section
    # the clusters' sidecar may be lost
    measure = evidence.facts["measure"] if evidence.facts else "the finder's measure"
    claimed = "so clusters are claimed" if evidence.claimed() else "so no clusters are claimed"
    kinds = ""
    if {"p_margins", "p_directions"} <= set(row.index):
        kinds = (
            f" This is the larger of two p-values: {format_p(row['p_margins'])} against data with the margins of the codes, and "
            f"{format_p(row['p_directions'])} against data with the margins along the directions in which the clusters were found."
        )
    section.add(
        Text(
            f"{measure[:1].upper()}{measure[1:]}: {format_number(row['statistic'])} in the codes; mean {format_number(row['null_mean'])} "
            f"and 95th percentile {format_number(row['null_95'])} in {int(row['draws'])} data sets without groups that have the codes' covariance and "
            f"unimodal margins. p {equals(row['p'])}, {claimed}.{kinds}",
            sources=page.sources(path),
        )
    )
    null_path = experiment.strata("existence_null.tsv")
    null = study.table(null_path, f"Clusters in data without groups, {name}", ("statistic", "n_clusters"))
    if null is not None and "null" in null and "null" in row:
        null = null[null["null"] == row["null"]]
    if null is not None and np.isfinite([float(row["statistic"]), *null["statistic"]]).any():
        found = int(np.isfinite(null["statistic"].to_numpy(float)).sum())
        some = "" if found == len(null) else f" In {len(null) - found} of them no partition was found."
        section.add(
            page.figure(
                partial(existence_figure, null, float(row["statistic"]), measure),
                f"{name}/existence.svg",
                "The same search in data without groups",
                f"{len(null)} data sets without groups.{some} Left: how clear their best partition is; red dotted: the codes. Right: into "
                "how many clusters the finder divides data that have none.",
                null_path,
                path,
                alt=f"Histogram of {measure} in {len(null)} data sets without groups, mean {format_number(row['null_mean'])}, with a line at "
                f"{format_number(row['statistic'])}, the value in the codes; and how many clusters were found in each data set",
            )
        )
    return section


def stability_section(page: Page, experiment: Experiment, evidence: Evidence) -> Section:
    """Return the section on whether each cluster is found again."""
    from neurostrata.report.figures.checks import stability_figure

    section = Section("stability", "Stability of the clusters")
    path = experiment.strata("stability.tsv")
    stability = page.study.table(
        path,
        f"Stability of the clusters in {experiment.name}",
        ("cluster", "n", "repeated", "jaccard"),
    )
    if stability is None:
        return section
    if len(evidence.sizes()) > 1 and stability["jaccard"].notna().any():
        section.add(
            page.figure(
                partial(stability_figure, stability),
                f"{experiment.name}/stability.svg",
                "Whether each cluster is found again",
                "Mean Jaccard index; the line extends down to the 5th percentile. Dotted: the limits of Hennig (2007). Other seeds show "
                "whether the search is thorough; the folds' codes come from models that have not seen some of the people.",
                path,
                alt="Mean Jaccard index of every cluster: "
                + "; ".join(
                    f"cluster {row['cluster']} {format_number(row['jaccard'], 2)} ({row['repeated']})"
                    for _, row in stability[stability["jaccard"].notna()].head(12).iterrows()
                ),
                wide=False,
            )
        )
    section.add(
        frame_table(
            stability,
            "Stability in numbers",
            names={
                "cluster": "Cluster",
                "n": "n",
                "repeated": "Repeated with",
                "repeats": "Repeats",
                "jaccard": "Jaccard, mean",
                "jaccard_low": "5th percentile",
                "dissolved": "Share dissolved (≤ 0.5)",
                "adjusted_rand": "Adjusted Rand, whole partition",
            },
            formats=dict.fromkeys(("jaccard", "jaccard_low", "dissolved", "adjusted_rand"), fixed(2)),
            sources=page.sources(path),
        )
    )
    return section
