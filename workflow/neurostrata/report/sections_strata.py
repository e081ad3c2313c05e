"""Clusters of one experiment and what they differ in: Figures 7-10 of Dimitri 2022."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.report.blocks import (
    Section,
    Text,
    anchor,
    count,
    fixed,
    format_number,
    format_p,
    frame_table,
)
from neurostrata.report.figures_phenotypes import factor_label
from neurostrata.report.layout import Experiment
from neurostrata.report.page import Page
from neurostrata.report.verdict import REPARTITION_NOTE, Verdict, best_setting, significant_factors

#: Panels per figure: more factors go on in the next figure.
PANELS = 16


def strata_section(
    page: Page,
    experiment: Experiment,
    config: Mapping[str, Any],
    verdict: Verdict,
    meanings: Mapping[str, str],
) -> Section:
    """Everything on the clusters of one experiment."""
    study = page.study
    name = experiment.name
    section = Section(f"experiment-{anchor(name)}-strata", "Strata and their phenotypes")
    why = "" if (config.get("analyses") or {}).get("strata", True) else "analyses: strata is off"
    grid_path, clusters_path = experiment.strata("grid.tsv"), experiment.strata("clusters.tsv")
    grid = study.table(
        grid_path,
        f"Search of clusters in {name}",
        ["damping", "preference", "converged", "n_clusters", "silhouette"],
        why,
    )
    clusters = study.table(clusters_path, f"Clusters of {name}", ["subject", "cluster"], why)
    if grid is not None:
        _grid(page, section, experiment, grid, grid_path)
    if clusters is None:
        if grid is None:
            section.add(Text(f"Not clustered: {why or 'strata/clusters.tsv was not made'}.", kind="note"))
        return section
    if verdict.clusters == 1:
        reason = str(study.sidecar(clusters_path).get("reason", "")).rstrip(".")
        section.add(
            Text(
                f"No clusters were found{f' ({reason})' if reason else ''}: everybody is kept in one group, so that the following "
                "steps run, and every test is n/a.",
                kind="warning",
                sources=page.sources(clusters_path),
            )
        )
    _clusters(page, section, experiment, clusters, clusters_path, verdict)
    absent = why or (
        "" if study.setting("phenotypes", "tables", default=[]) else "no phenotype table is configured"
    )
    comparisons_path = experiment.strata("comparisons.tsv")
    comparisons = study.table(
        comparisons_path, f"Comparison of phenotypes in {name}", ["factor", "h", "p", "q"], absent
    )
    if comparisons is None:
        section.add(
            Text(
                f"Phenotypes were not compared: {absent or 'strata/comparisons.tsv was not made'}.",
                kind="note",
            )
        )
        return section
    _comparisons(page, section, experiment, comparisons, comparisons_path, clusters, meanings, absent)
    return section


def _grid(page: Page, section: Section, experiment: Experiment, grid: pd.DataFrame, path: Path) -> None:
    from neurostrata.report.figures_strata import grid_figure

    best = best_setting(grid)
    converged = grid["converged"].astype(str).str.lower().isin(["true", "1", "yes"])
    text = f"{count(len(grid), 'setting')} of affinity propagation tried, {int(converged.sum())} converged. "
    if best is None:
        text += "None gave between 2 and n − 1 clusters."
    else:
        text += (
            f"Chosen by the best silhouette: damping {format_number(best['damping'])}, preference "
            f"{format_number(best['preference'])}, {count(int(best['n_clusters']), 'cluster')}, silhouette "
            f"{format_number(best['silhouette'])}."
        )
    section.add(Text(text, sources=page.sources(path)))
    section.add(
        page.figure(
            grid_figure(grid),
            f"{experiment.name}/grid.svg",
            "The search: silhouette and number of clusters over damping and preference",
            "Red ring: the setting chosen. Grey: did not converge, or has fewer than 2 or more than n − 1 clusters.",
            path,
        )
    )


def _clusters(
    page: Page, section: Section, experiment: Experiment, clusters: pd.DataFrame, path: Path, verdict: Verdict
) -> None:
    from neurostrata.report.figures_strata import clusters_figure

    study = page.study
    tsne_path = experiment.strata("tsne.tsv")
    tsne = study.table(tsne_path, f"t-SNE of {experiment.name}", ["subject", "x", "y"])
    exemplars = [str(s) for s in clusters["exemplar"].dropna().unique()] if "exemplar" in clusters else []
    hatched = " Hatched bars: clusters flagged as small." if verdict.small else ""
    seen = (
        " The t-SNE map is for the eye only; distances between groups in it mean nothing."
        if tsne is not None
        else ""
    )
    section.add(
        page.figure(
            clusters_figure(clusters, tsne, verdict.small, exemplars),
            f"{experiment.name}/clusters.svg",
            "Cluster sizes" + (" and the embeddings in two dimensions" if tsne is not None else ""),
            "Clusters are numbered by size." + hatched + seen + " As Fig. 7.",
            path,
            *([tsne_path] if tsne is not None else []),
        )
    )


def factor_titles(comparisons: pd.DataFrame) -> dict[str, str]:
    """Return factor -> "η² = 0.12, q < 0.001"."""
    titles = {}
    for _, row in comparisons.iterrows():
        if pd.isna(row["p"]):
            titles[str(row["factor"])] = "not tested"
            continue
        q = format_p(row["q"])
        effect = f"η² = {format_number(row['eta2'], 2)}, " if "eta2" in row else ""
        titles[str(row["factor"])] = f"{effect}q {q if q.startswith('<') else '= ' + q}"
    return titles


def _comparisons(
    page: Page,
    section: Section,
    experiment: Experiment,
    comparisons: pd.DataFrame,
    path: Path,
    clusters: pd.DataFrame,
    meanings: Mapping[str, str],
    absent: str,
) -> None:
    from neurostrata.report.figures_strata import effects_figure, factors_figure

    study = page.study
    name = experiment.name
    alpha = float(study.setting("report", "alpha", default=0.05))
    found = significant_factors(comparisons, alpha)
    titles = factor_titles(comparisons)
    shown = comparisons.copy()
    if meanings:
        shown["loads on"] = [meanings.get(str(f), "") for f in shown["factor"]]
    formats: dict[str, Any] = {"factor": factor_label, "h": fixed(2)}
    formats |= dict.fromkeys(("p", "q", "p_repartition", "q_repartition"), format_p)
    formats |= {column: fixed(3) for column in shown if "eta2" in column or column == "epsilon2"}
    section.add(
        frame_table(
            shown,
            "Every factor compared between the clusters",
            names=_COMPARISON_NAMES,
            formats=formats,
            marked=[str(factor) in found for factor in shown["factor"]],
            caption=f"Marked: both false-discovery rates below {alpha:g}. {REPARTITION_NOTE}",
            sources=page.sources(path),
        )
    )
    if {"eta2", "eta2_low", "eta2_high"} <= set(comparisons) and comparisons["eta2"].notna().any():
        level = 100 * float(study.setting("strata", "comparisons", "confidence", default=0.95))
        section.add(
            page.figure(
                effects_figure(comparisons, found),
                f"{name}/effects.svg",
                "Effect sizes",
                f"η² with its {level:g}% interval; in colour the factors that differ"
                + (" (none does)." if not found else "."),
                path,
                wide=False,
            )
        )
    scores_path = study.tree.phenotypes("scores.tsv")
    scores = study.table(scores_path, f"Factors by cluster in {name}", ["subject"])
    if scores is not None:
        factors = [str(f) for f in comparisons["factor"] if f in scores and scores[f].notna().any()]
        for start in range(0, len(factors), PANELS):
            part = factors[start : start + PANELS]
            number = f"-{start // PANELS + 1}" if len(factors) > PANELS else ""
            of = f" ({start // PANELS + 1} of {-(-len(factors) // PANELS)})" if len(factors) > PANELS else ""
            outcome = (
                "★ marks the factors that differ"
                if found
                else "No factor differs by both tests; they are all shown"
            )
            section.add(
                page.figure(
                    factors_figure(scores, clusters, part, titles, found),
                    f"{name}/factors{number}.svg",
                    f"Phenotypic factors by cluster{of}",
                    f"Each dot is a person, boxes are median and quartiles, colours as in the cluster figure. {outcome}. As Fig. 8.",
                    scores_path,
                    experiment.strata("clusters.tsv"),
                    path,
                )
            )
    _null(page, section, experiment, comparisons, titles, found, absent)
    _profiles(page, section, experiment, clusters)


_COMPARISON_NAMES = {
    "factor": "Factor",
    "h": "H",
    "p": "p",
    "q": "q",
    "eta2": "η²",
    "eta2_low": "η² low",
    "eta2_high": "η² high",
    "epsilon2": "ε²",
    "p_repartition": "p repartition",
    "q_repartition": "q repartition",
    "n": "n",
    "missing": "missing",
    "n_clusters": "clusters",
    "detectable_eta2": "detectable η²",
    "detectable_eta2_corrected": "detectable η², corrected",
}


def read_null(path: Path) -> dict[str, np.ndarray]:
    """Return factor -> H under repartition from ``null.npz`` (arrays ``factors`` and ``null``, draws x factors)."""
    try:
        with np.load(path, allow_pickle=False) as content:
            factors = [str(factor) for factor in content["factors"]]
            null = np.asarray(content["null"], float)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    if null.ndim != 2 or null.shape[1] != len(factors):
        return {}
    return {factor: null[:, column] for column, factor in enumerate(factors)}


def _null(
    page: Page,
    section: Section,
    experiment: Experiment,
    comparisons: pd.DataFrame,
    titles: Mapping[str, str],
    found: list[str],
    absent: str,
) -> None:
    from neurostrata.report.figures_strata import repartition_figure

    study = page.study
    path = experiment.strata("null.npz")
    null = {factor: h for factor, h in read_null(path).items() if np.isfinite(h).any()}
    what = f"Random repartition in {experiment.name}"
    if not null:
        study.note(what, absent or "strata/null.npz was not made or holds no draws (one cluster only)")
        return
    table = study.table(experiment.strata("repartition.tsv"), what, ["factor", "h"])
    source = table if table is not None else comparisons
    observed = dict(zip(source["factor"].astype(str), source["h"].astype(float)))
    p_texts = {}
    for _, row in comparisons.iterrows():
        p = format_p(row.get("q_repartition"))
        p_texts[str(row["factor"])] = f"q {p if p.startswith('<') else '= ' + p}"
    factors = list(null)
    for start in range(0, len(factors), PANELS):
        part = factors[start : start + PANELS]
        number = f"-{start // PANELS + 1}" if len(factors) > PANELS else ""
        section.add(
            page.figure(
                repartition_figure({f: null[f] for f in part}, observed, p_texts, found),
                f"{experiment.name}/repartition{number}.svg",
                "Kruskal-Wallis statistic under random repartition",
                f"{len(next(iter(null.values())))} random partitions into clusters of the same sizes; red dotted: the clusters found. "
                f"As Fig. 9. {REPARTITION_NOTE}",
                experiment.strata("repartition.tsv"),
                path,
            )
        )


def _profiles(page: Page, section: Section, experiment: Experiment, clusters: pd.DataFrame) -> None:
    from neurostrata.report.figures_strata import profiles_figure

    path = experiment.strata("profiles.tsv")
    profiles = page.study.table(
        path, f"Cluster profiles of {experiment.name}", ["cluster", "factor", "quantile"]
    )
    if profiles is None or not profiles["quantile"].notna().any():
        return
    order = list(dict.fromkeys(profiles["factor"]))
    quantiles = profiles.pivot_table(
        index="factor", columns="cluster", values="quantile", dropna=False
    ).reindex(order)
    sizes = {int(c): int(n) for c, n in clusters["cluster"].value_counts().items()}
    if quantiles.shape[1] <= 60 and quantiles.shape[0] <= 80:
        section.add(
            page.figure(
                profiles_figure(quantiles, sizes),
                f"{experiment.name}/profiles.svg",
                "Cluster profiles",
                "Where each cluster's median stands in the whole population: 0.5 is the population's median. The paper plots the "
                "logarithm of this quantile. The brackets order rows and columns for the eye only. As Fig. 10.",
                path,
            )
        )
    section.add(
        frame_table(
            profiles,
            "Cluster profiles in numbers",
            formats={"factor": factor_label},
            sources=page.sources(path),
            folded=True,
        )
    )
