"""What a careful reader asks of an experiment's clusters, on a page of its own (strata-EXPERIMENT.html)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.records import check
from neurostrata.report.data.evidence import Evidence, false_discovery_rates, finder_name
from neurostrata.report.data.layout import Experiment
from neurostrata.report.figures.phenotypes import factor_names
from neurostrata.report.html.blocks import (
    Figure,
    Section,
    Table,
    Text,
    anchor,
    count,
    fixed,
    format_number,
    format_p,
    frame_table,
    number_blocks,
)
from neurostrata.report.html.page import Page
from neurostrata.report.html.pages import write_page
from neurostrata.report.sections.composition import composition_section
from neurostrata.report.text.verdict import REPARTITION_NOTE, Verdict, equals, significant_factors
from neurostrata.strata.finders.registry import finder_class

#: Panels per figure: more factors go on in the next figure.
PANELS = 16

DOUBLE_DIPPING = (
    "Images compared between these clusters: the clusters were found in the same images, so the images differ between them by "
    "construction, and a p-value of such a difference means nothing (double dipping). Maps of clusters show effect sizes; p-values "
    "come only from held-out halves, whose people were assigned to clusters that were found without them. The same goes for head "
    "size and image quality, which are measured in these images."
)


def write_checks(
    page: Page,
    experiment: Experiment,
    verdict: Verdict,
    evidence: Evidence,
    meanings: Mapping[str, str],
    why: str,
) -> Path | None:
    """Write the page; return its path, or None when nothing of the strata was made.

    Parameters
    ----------
    page
        The main page, which links to it.
    experiment, verdict, evidence
        What it is about.
    meanings
        Factor -> the variables that load on it.
    why
        Why there are no strata, when the configuration says so.
    """
    own = Page(page.study, page.path.with_name(f"strata-{experiment.name}.html"), page.figures)
    names = factor_names(
        evidence.comparisons["factor"] if evidence.comparisons is not None else meanings, meanings
    )
    absent = why or ("" if page.study.config["phenotypes"]["tables"] else "no phenotype table is configured")
    sections = [
        composition_section(own, experiment, evidence, why),
        _existence(own, experiment, evidence, why),
        _stability(own, experiment, evidence, why),
        _phenotypes(own, experiment, evidence, names, absent),
        _halves(own, experiment, evidence, names, absent),
        _without_clusters(own, experiment, meanings, absent),
    ]
    sections = [section for section in sections if section.blocks]
    if not sections:
        return None
    number_blocks(sections)
    write_page(
        own.path,
        "page.html.j2",
        {
            "title": f"Checks of the clusters in {experiment.name}",
            "sections": sections,
            "blocks_first": [
                Text(
                    f"{finder_name(evidence.finder).capitalize()} on {evidence.codes} codes, which lead the report. {verdict.headline}"
                ),
                Text(DOUBLE_DIPPING, kind="note"),
            ],
            "back": f"{page.path.name}#experiment-{anchor(experiment.name)}",
            "back_text": "Report",
        },
    )
    return own.path


def _existence(page: Page, experiment: Experiment, evidence: Evidence, why: str) -> Section:
    from neurostrata.report.figures.checks import SEARCH_FIGURES, existence_figure

    study, name = page.study, experiment.name
    section = Section("existence", "Search, and whether clusters exist")
    path = experiment.strata("search.tsv")
    search = study.table(path, f"Search of clusters in {name}", (), why)
    if search is not None:
        plan = finder_class(evidence.finder).search_figure
        if plan and study.table(path, f"Search of clusters in {name}", plan.columns) is not None:
            figure = SEARCH_FIGURES[plan.kind](search)
            section.add(page.figure(figure, f"{name}/search.svg", plan.title, plan.caption, path))
        table = frame_table(
            search.head(500), "Candidates of the search", sources=page.sources(path), folded=True
        )
        table.caption = f"The first 500 of {len(search)}." if len(search) > 500 else ""
        section.add(table)
    path = experiment.strata("existence.tsv")
    if study.table(path, f"Whether clusters exist in {name}", ("p", "claimed"), why) is None:
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
        some = "" if found == len(null) else f" In {len(null) - found} of them nothing was found to measure."
        section.add(
            page.figure(
                existence_figure(null, float(row["statistic"]), measure),
                f"{name}/existence.svg",
                "The same search in data without groups",
                f"{len(null)} data sets without groups.{some} Left: how clear their best partition is; red dotted: the codes. Right: into "
                "how many clusters the finder divides data that have none.",
                null_path,
                path,
            )
        )
    return section


def _stability(page: Page, experiment: Experiment, evidence: Evidence, why: str) -> Section:
    from neurostrata.report.figures.checks import stability_figure

    section = Section("stability", "Stability of the clusters")
    path = experiment.strata("stability.tsv")
    stability = page.study.table(
        path,
        f"Stability of the clusters in {experiment.name}",
        ("cluster", "n", "repeated", "jaccard"),
        why,
    )
    if stability is None:
        return section
    if len(evidence.sizes()) > 1 and stability["jaccard"].notna().any():
        section.add(
            page.figure(
                stability_figure(stability),
                f"{experiment.name}/stability.svg",
                "Whether each cluster is found again",
                "Mean Jaccard index; the line goes down to the 5th percentile. Dotted: the limits of Hennig (2007). Other seeds say "
                "whether the search is thorough; the folds' codes come from models that have not seen some of the people.",
                path,
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
                "repeated": "Done again",
                "repeats": "Times",
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


def number_formats(frame: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """Return column -> function for a table of tests."""
    formats: dict[str, Any] = {"factor": lambda factor: names.get(str(factor), str(factor)), "h": fixed(2)}
    formats |= dict.fromkeys(("p", "q", "p_repartition", "q_repartition"), format_p)
    return formats | {column: fixed(3) for column in frame if "eta2" in column or column == "epsilon2"}


def _phenotypes(
    page: Page, experiment: Experiment, evidence: Evidence, names: Mapping[str, str], absent: str
) -> Section:
    section = Section("phenotypes", "Phenotypes between the clusters")
    comparisons = evidence.comparisons
    if comparisons is None or evidence.clusters is None:
        return section
    alpha = page.study.alpha
    found = significant_factors(comparisons, alpha, evidence.adjusted)
    section.add(
        frame_table(
            comparisons,
            "Every number of the comparisons",
            names=_COMPARISON_NAMES,
            formats=number_formats(comparisons, names),
            caption="Detectable: the smallest η² that this many people had a fair chance to show, also corrected for the number of factors.",
            sources=page.sources(experiment.strata("comparisons.tsv")),
            folded=True,
        )
    )
    _null(page, section, experiment, comparisons, found, names, absent)
    if len(evidence.sizes()) > 1:
        _profiles(page, section, experiment, evidence.sizes(), names)
    return section


def read_null(path: Path) -> dict[str, np.ndarray]:
    """Return factor -> H under repartition from ``null.npz`` (arrays ``factors`` and ``null``, draws x factors)."""
    check(path)
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
    found: list[str],
    names: Mapping[str, str],
    absent: str,
) -> None:
    from neurostrata.report.figures.strata import repartition_figure

    study = page.study
    path = experiment.strata("null.npz")
    null = {factor: h for factor, h in read_null(path).items() if np.isfinite(h).any()}
    what = f"Random repartition in {experiment.name}"
    if not null:
        study.note(
            what, absent or f"{study.relative(path)} was not made or holds no draws (one cluster only)"
        )
        return
    table = study.table(experiment.strata("repartition.tsv"), what, ["factor", "h"])
    source = table if table is not None else comparisons
    observed = dict(zip(source["factor"].astype(str), source["h"].astype(float)))
    p_texts = {str(row["factor"]): f"q {equals(row['q_repartition'])}" for _, row in comparisons.iterrows()}
    factors = list(null)
    for start in range(0, len(factors), PANELS):
        part = factors[start : start + PANELS]
        number = f"-{start // PANELS + 1}" if len(factors) > PANELS else ""
        section.add(
            page.figure(
                repartition_figure({f: null[f] for f in part}, observed, p_texts, found, names),
                f"{experiment.name}/repartition{number}.svg",
                "Kruskal-Wallis statistic under random repartition",
                f"{len(next(iter(null.values())))} random partitions into clusters of the same sizes; red dotted: the clusters found. "
                f"As Fig. 9. {REPARTITION_NOTE}",
                experiment.strata("repartition.tsv"),
                path,
            )
        )


def _profiles(
    page: Page,
    section: Section,
    experiment: Experiment,
    sizes: Mapping[int, int],
    names: Mapping[str, str],
) -> None:
    from neurostrata.report.figures.strata import profiles_figure

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
    if quantiles.shape[1] <= 60 and quantiles.shape[0] <= 80:
        section.add(
            page.figure(
                profiles_figure(quantiles, sizes, names),
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
            formats={"factor": lambda factor: names.get(str(factor), str(factor))},
            sources=page.sources(path),
            folded=True,
        )
    )


def _halves(
    page: Page, experiment: Experiment, evidence: Evidence, names: Mapping[str, str], absent: str
) -> Section:
    """Split halves and shuffled links."""
    study, name = page.study, experiment.name
    section = Section("halves", "Split halves and shuffled links")
    path = experiment.strata("split_half.tsv")
    splits = study.table(path, f"Split halves in {name}", ("k_first", "k_second", "adjusted_rand"), absent)
    if splits is not None:
        rand = splits["adjusted_rand"]
        same = int((splits["k_first"] == splits["k_second"]).sum())
        section.add(
            Text(
                f"In {count(len(splits), 'random division', 'random divisions')} into halves (families together) clusters were found in the first "
                "half and the people of the second were assigned to them. Against clusters found in the second half alone: adjusted Rand "
                f"index {format_number(rand.median(), 2)} (median; {format_number(rand.quantile(0.05), 2)} to "
                f"{format_number(rand.quantile(0.95), 2)}, 5th to 95th percentile); as many clusters in {same} of {len(splits)}.",
                sources=page.sources(path),
            )
        )
    path = experiment.strata("split_half_factors.tsv")
    factors = study.table(
        path, f"Phenotypes in held-out halves of {name}", ("factor", "eta2", "p", "q"), absent
    )
    if factors is not None:
        section.add(
            frame_table(
                factors,
                "Phenotypes between clusters in the held-out halves",
                names={
                    **_COMPARISON_NAMES,
                    "eta2": "η², median",
                    "eta2_low": "5th percentile",
                    "eta2_high": "95th percentile",
                    "share_below_alpha": "Share of halves with p < α",
                    "splits": "Halves",
                },
                formats={**number_formats(factors, names), "share_below_alpha": fixed(2)},
                marked=list(factors["q"] < study.alpha),
                caption=f"People whom the clusters were not found in; p combined over halves. Marked: q below {study.alpha:g}. Half the "
                "people have less power than all of them.",
                sources=page.sources(path),
            )
        )
    path = experiment.strata("shuffles.tsv")
    shuffles = study.table(path, f"Shuffled links in {name}", ("smallest_q",), absent)
    facts = evidence.shuffles
    # the sidecar may be lost; null: nothing could be tested
    if shuffles is not None and facts and facts["share_found"] is not None:
        low, high = float(facts["share_low"]), float(facts["share_high"])
        section.add(
            Text(
                f"Control: images and phenotypes of different people joined, {count(len(shuffles), 'time')}. Some factor differed in "
                f"{100 * float(facts['share_found']):.1f}% of them (95% interval {100 * low:.1f}% to "
                f"{100 * high:.1f}%); more than {100 * study.alpha:g}% would mean that the tests claim too much.",
                kind="warning" if low > study.alpha else "plain",
                sources=page.sources(path),
            )
        )
    return section


#: Features of the continuous alternative -> their name; those of finders are made up from the finder's.
_FEATURES = {"codes": "codes", "pca": "PCA of the images", "regional_means": "regional means"}


def _feature_name(features: str) -> str:
    for start in ("codes + clusters of ", "clusters of "):
        if features.startswith(start):
            return f"{start.removesuffix(' of ')} ({finder_name(features.removeprefix(start))})"
    return _FEATURES.get(features, features.replace("_", " "))


def continuous_blocks(
    page: Page, experiment: Experiment, meanings: Mapping[str, str], absent: str = ""
) -> list[Figure | Table | Text]:
    """Return the results without clusters: a figure by factor, and canonical correlations in words."""
    from neurostrata.report.figures.checks import continuous_figure

    path = experiment.continuous
    table = page.study.table(
        path,
        f"The continuous alternative in {experiment.name}",
        ("features", "method", "factor", "value", "low", "high", "q"),
        absent,
    )
    if table is None:
        return []
    blocks: list[Figure | Table | Text] = []
    ridge = table[table["factor"].notna() & table["value"].notna()]
    if len(ridge):
        names = factor_names(ridge["factor"].unique(), meanings)
        labels = {feature: _feature_name(feature) for feature in ridge["features"].unique()}
        cut = ridge["factor"].nunique()
        blocks.append(
            page.figure(
                continuous_figure(ridge, names, labels),
                f"{experiment.name}/continuous.svg",
                "How much of each factor is predicted without clusters, and with them",
                "Ridge regression, people not learned from, families together; dots with intervals; dotted: no better than the mean. Where "
                "clusters predict less than the codes, dividing people into groups loses what the codes know."
                + (f" The first 20 of {cut} factors." if cut > 20 else ""),
                path,
            )
        )
    canonical = [
        f"{_feature_name(str(row['features']))} {format_number(row['value'], 2)} ({format_number(row['low'], 2)} to "
        f"{format_number(row['high'], 2)}, p {equals(row['p'])})"
        for _, row in table[table["method"].astype(str) == "cca"].iterrows()
    ]
    if canonical:
        blocks.append(
            Text(
                f"Canonical correlation with all factors together, in people not learned from: {'; '.join(canonical)}.",
                sources=page.sources(path),
            )
        )
    return blocks


def _without_clusters(
    page: Page, experiment: Experiment, meanings: Mapping[str, str], absent: str
) -> Section:
    section = Section("continuous", "Without clusters")
    section.add(*continuous_blocks(page, experiment, meanings, absent))
    table = page.study.table(experiment.continuous, columns=("features", "factor", "value"))
    if table is not None:
        names = factor_names(table["factor"].dropna().unique(), meanings)
        formats = number_formats(table, names) | dict.fromkeys(("value", "low", "high"), fixed(3))
        section.add(
            frame_table(
                table,
                "The same in numbers",
                formats={**formats, "features": _feature_name},
                names={"p": "p", "q": "q", "n": "n"},
                sources=page.sources(experiment.continuous),
                folded=True,
            )
        )
    path = experiment.continuous_added
    added = page.study.table(
        path,
        f"What clusters add to the continuous model in {experiment.name}",
        ("finder", "factor", "added_r2", "p"),
        absent,
    )
    if added is not None:
        names = factor_names(added["factor"].unique(), meanings)
        formats = number_formats(added, names) | dict.fromkeys(("added_r2", "low", "high"), fixed(3))
        added = added.assign(q=added.groupby("finder")["p"].transform(false_discovery_rates))
        section.add(
            frame_table(
                added,
                "What clusters add to the codes",
                formats={**formats, "finder": finder_name},
                names={
                    "finder": "Clusters of",
                    "factor": "Factor",
                    "added_r2": "Added R²",
                    "p": "p",
                    "q": "q",
                },
                caption="R² of codes and clusters together less that of the codes alone, in people not learned from.",
                sources=page.sources(path),
            )
        )
    return section
