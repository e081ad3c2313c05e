"""Every number behind the comparison of phenotypes between the clusters, with its controls."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.wording import count
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.figures.factors import PANELS
from neurostrata.report.html.blocks import Section, Text, fixed, format_number, format_p, frame_table, parts
from neurostrata.report.html.page import Page
from neurostrata.report.text.differences import significant_factors
from neurostrata.report.text.verdict import INTERVAL_NOTE, REPARTITION_NOTE, equals

_COMPARISON_NAMES = {
    "factor": "Factor",
    "h": "H",
    "p": "p",
    "q": "q",
    "eta2": "η²",
    "eta2_low": "η² low",
    "eta2_high": "η² high",
    "epsilon2": "ε²",
    "p_repartition": "p, random groups",
    "q_repartition": "q, random groups",
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


def differences_section(
    page: Page, experiment: Experiment, evidence: Evidence, names: Mapping[str, str], absent: str
) -> Section:
    """Return the section with every number of the comparisons, the random repartition and the profiles."""
    section = Section("phenotypes", "Phenotypes between the clusters")
    comparisons = evidence.comparisons
    if comparisons is None or evidence.clusters is None:
        return section
    alpha = page.study.alpha
    found = significant_factors(comparisons, alpha, evidence.adjusted)
    section.add(
        frame_table(
            comparisons,
            "All results of the comparisons",
            names=_COMPARISON_NAMES,
            formats=number_formats(comparisons, names),
            caption=f"{INTERVAL_NOTE} Detectable: the smallest η² that is detectable at the configured power with this many people; also corrected for the "
            "number of factors.",
            sources=page.sources(experiment.strata("comparisons.tsv")),
            folded=True,
        )
    )
    _null(page, section, experiment, comparisons, found, names, absent)
    if len(evidence.sizes()) > 1:
        _profiles(page, section, experiment, names)
    return section


def _null_values(page: Page, path: Path) -> dict[str, np.ndarray]:
    """Return factor -> H under repartition from ``null.npz`` (arrays ``factors`` and ``null``, draws x factors)."""
    arrays = page.study.arrays(path, "", ("factors", "null"))
    if not arrays or arrays["null"].ndim != 2 or arrays["null"].shape[1] != len(arrays["factors"]):
        return {}
    values = dict(zip(map(str, arrays["factors"]), arrays["null"].T.astype(float)))
    return {factor: h for factor, h in values.items() if np.isfinite(h).any()}


def _null(
    page: Page,
    section: Section,
    experiment: Experiment,
    comparisons: pd.DataFrame,
    found: list[str],
    names: Mapping[str, str],
    absent: str,
) -> None:
    from neurostrata.report.figures.factors import repartition_figure

    study = page.study
    path = experiment.strata("null.npz")
    null = _null_values(page, path)
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
    for part, end in parts(list(null), PANELS):
        section.add(
            page.figure(
                partial(repartition_figure, {f: null[f] for f in part}, observed, p_texts, found, names),
                f"{experiment.name}/repartition{end}.svg",
                "Kruskal-Wallis statistic in random groups of the same sizes",
                f"{len(next(iter(null.values())))} divisions of the people into random groups (random repartition); red dotted: the clusters found. "
                f"As Fig. 9. {REPARTITION_NOTE}",
                experiment.strata("repartition.tsv"),
                path,
                alt="Histograms of H in random groups, a line at H of the clusters: "
                + "; ".join(f"{names.get(f, f)} {format_number(observed.get(f, np.nan))}" for f in part),
            )
        )


def _profiles(
    page: Page,
    section: Section,
    experiment: Experiment,
    names: Mapping[str, str],
) -> None:
    from neurostrata.report.figures.clusters import profiles_figure

    path = experiment.strata("profiles.tsv")
    needed = ["cluster", "factor", "quantile", "quantile_of_mean", "n"]
    profiles = page.study.table(path, f"Cluster profiles of {experiment.name}", needed)
    if profiles is None or not profiles["quantile"].notna().any():
        return
    order = list(dict.fromkeys(profiles["factor"]))
    quantiles = {
        title: profiles.pivot_table(index="factor", columns="cluster", values=column, dropna=False).reindex(
            order
        )
        for title, column in (("medians", "quantile"), ("means", "quantile_of_mean"))
    }
    with_value = profiles.groupby("cluster")["n"]
    people = {
        int(cluster): f"{least}" if least == most else f"{least}–{most}"
        for cluster, least, most in zip(with_value.groups, with_value.min(), with_value.max())
    }
    if quantiles["medians"].shape[1] <= 60 and quantiles["medians"].shape[0] <= 80:
        section.add(
            page.figure(
                partial(profiles_figure, quantiles, people, names),
                f"{experiment.name}/profiles.svg",
                "Cluster profiles",
                "The quantile of each cluster's median, and of its mean, in the whole population: 0.5 is the population's median. A "
                "mean far from the median comes from a few people of the cluster. n: people of the cluster with a value. The paper has medians, and plots the logarithm of "
                "the quantile. The dendrograms of the medians order rows and columns for display only. As Fig. 10.",
                path,
                alt=f"Heat map of {quantiles['medians'].shape[0]} factors in {quantiles['medians'].shape[1]} clusters: where each cluster lies in "
                "the whole population",
            )
        )
    section.add(
        frame_table(
            profiles,
            "Cluster profiles in numbers",
            names={"quantile": "quantile of median"},
            formats={"factor": lambda factor: names.get(str(factor), str(factor))},
            sources=page.sources(path),
            folded=True,
        )
    )


def halves_section(
    page: Page, experiment: Experiment, evidence: Evidence, names: Mapping[str, str], absent: str
) -> Section:
    """Return the section on split halves and shuffled links."""
    study, name = page.study, experiment.name
    section = Section("halves", "Split halves and shuffled links")
    path = experiment.strata("split_half.tsv")
    splits = study.table(path, f"Split halves in {name}", ("k_first", "k_second", "adjusted_rand"), absent)
    if splits is not None:
        rand = splits["adjusted_rand"]
        same = int((splits["k_first"] == splits["k_second"]).sum())
        section.add(
            Text(
                f"In {count(len(splits), 'random division', 'random divisions')} into halves (families kept together), clusters were found in the first "
                "half, and the people of the second were assigned to them. Agreement with clusters found in the second half alone: adjusted Rand "
                f"index {format_number(rand.median(), 2)} (median; {format_number(rand.quantile(0.05), 2)} to "
                f"{format_number(rand.quantile(0.95), 2)}, 5th to 95th percentile); the same number of clusters in {same} of {len(splits)}.",
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
                    "share_below_alpha": f"Share of halves with p ≤ {study.counted_alpha:g}",
                    "splits": "Halves",
                },
                formats={**number_formats(factors, names), "share_below_alpha": fixed(2)},
                marked=list(factors["q"] < study.alpha),
                caption=f"In people who were not used to find the clusters; p combined over halves. Marked: q below {study.alpha:g}. "
                "Half of the people give less power than all of them.",
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
                f"Control: images and phenotypes of different people were joined {count(len(shuffles), 'time')}. At least one factor differed in "
                f"{100 * float(facts['share_found']):.1f}% of these runs (95% interval {100 * low:.1f}% to "
                f"{100 * high:.1f}%); more than {100 * study.counted_alpha:g}% would mean that the tests claim too much.",
                kind="warning" if low > study.counted_alpha else "plain",
                sources=page.sources(path),
            )
        )
    return section
