"""The clusters of one experiment and the phenotypes that differ between them (Figures 7 and 8 of Dimitri 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from neurostrata.core.tables import read_table
from neurostrata.core.wording import join_words
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.figures.factors import PANELS
from neurostrata.report.figures.phenotypes import factor_label, factor_names, no_upper_end
from neurostrata.report.html.blocks import (
    Cell,
    Link,
    Section,
    Table,
    Text,
    cut_off,
    experiment_anchor,
    fixed,
    format_number,
    format_p,
    human_name,
    parts,
)
from neurostrata.report.html.page import Page
from neurostrata.report.sections.continuous import continuous_blocks
from neurostrata.report.sections.phenotypes import factor_contents
from neurostrata.report.text.differences import adjusted_for, curves, significant_factors
from neurostrata.report.text.glossary import words_block
from neurostrata.report.text.verdict import INTERVAL_NOTE, REPARTITION_NOTE, Verdict, describe_jaccard, equals
from neurostrata.strata.finders.registry import finder_name


def strata_section(
    page: Page,
    experiment: Experiment,
    config: Mapping[str, Any],
    verdict: Verdict,
    evidence: Evidence,
    meanings: Mapping[str, str],
    checks: Sequence[str] = (),
) -> Section:
    """Return the section on the clusters of one experiment, with a link to the page of their checks and what stands on it."""
    study = page.study
    name = experiment.name
    section = Section(f"{experiment_anchor(name)}-strata", "Strata and their phenotypes")
    if not config["analyses"]["strata"]:
        # said once: neither clusters nor what is made from them were asked for
        study.note(f"Clusters of {name}", "analyses: strata is off")
        section.add(Text("No clusters were looked for: analyses: strata is off.", kind="note"))
        return section
    path = experiment.strata("clusters.tsv")
    if study.table(path, f"Clusters of {name}", ["subject", "cluster"]) is None:
        section.add(
            Text(f"No clusters of the leading finder: {study.relative(path)} was not made.", kind="note")
        )
    factors = evidence.comparisons["factor"] if evidence.comparisons is not None else meanings
    names = factor_names(factors, meanings)
    if verdict.kind == "nothing":
        section.add(
            Text(
                "No clusters: the results without clusters come first. "
                + (
                    "The partition shown after them is a cut through a continuum; where it is cut follows from the method, not from "
                    "the people."
                    if (verdict.clusters or 0) > 1
                    else "Everybody is kept in one group, and every test between clusters is n/a."
                ),
                kind="note",
                sources=page.sources(experiment.strata("existence.tsv"), path),
            )
        )
        section.add(*continuous_blocks(page, experiment, meanings))
    section.add(_finders(page, experiment))
    if evidence.comparisons is not None and (verdict.clusters or 0) > 1:
        section.add(
            words_block(
                "η² (eta squared)", "p, q", "random repartition", "adjusted comparison", "Jaccard index"
            )
        )
    if evidence.clusters is not None:
        _clusters(page, section, experiment, evidence, verdict)
        absent = "" if study.config["phenotypes"]["tables"] else "no phenotype table is configured"
        comparisons_path = experiment.strata("comparisons.tsv")
        comparisons = study.table(
            comparisons_path, f"Comparison of phenotypes in {name}", ["factor", "h", "p", "q", "eta2"], absent
        )
        if comparisons is None:
            reason = absent or f"{study.relative(comparisons_path)} was not made"
            section.add(Text(f"Phenotypes were not compared: {reason}.", kind="note"))
        elif (verdict.clusters or 0) > 1:
            _comparisons(page, section, experiment, evidence, names, absent)
    if checks:
        titles = "; ".join(f"{title[:1].lower()}{title[1:]}" for title in checks)
        section.add(
            Text(
                f"On the page of checks of {name}: {titles}.",
                sources=[Link(f"Checks of the clusters in {name}", f"strata-{name}.html")],
                lead="see",
            )
        )
    return section


def _finders(page: Page, experiment: Experiment) -> Table | None:
    """Return the table of all finders on all codes, the leading one marked."""
    path = page.path.parent / "strata_finders.tsv"
    if not path.is_file():
        return None
    frame = read_table(path, text=("experiment", "codes", "finder", "sizes", "claimed"))
    frame = frame[frame["experiment"] == experiment.name]
    if frame.empty:
        return None
    rows, marked = [], []
    for _, row in frame.iterrows():
        jaccard = row["jaccard"]
        stable = f"{format_number(jaccard, 2)} ({describe_jaccard(jaccard)})" if pd.notna(jaccard) else "n/a"
        differ = _of(row["differ"], row["tested"])
        cells = [
            finder_name(row["finder"]),
            row["codes"],
            f"{int(row['clusters'])}: {row['sizes']}",
            _existence(row),
            stable,
            differ,
            _of(row["differ_adjusted"], row["tested"]),
            format_number(row["agreement"], 2),
        ]
        rows.append([Cell(text) for text in cells])
        marked.append(row["finder"] == experiment.finders[0] and row["codes"] == experiment.codes[0])
    groups = [False] + [a != b for a, b in zip(frame["codes"], frame["codes"].iloc[1:])]
    sidecar = page.study.sidecar(experiment.adjusted_codes)
    removed = [*sidecar["Removed"], *([sidecar["Sites"]] if sidecar["Sites"] else [])] if sidecar else []
    what = (
        f"Adjusted codes: {join_words([human_name(str(name)) for name in removed])} removed. "
        if removed
        else ""
    )
    return Table(
        title="Every finder on every kind of codes",
        columns=[
            "Finder",
            "Codes",
            "Clusters: sizes",
            "Clusters exist",
            "Stability (Jaccard)",
            "Factors that differ",
            "After adjustment",
            "Agreement",
        ],
        rows=rows,
        numeric=[False] * 5 + [True] * 3,
        marked=marked,
        groups=groups,
        caption=f"Marked: the leading partition, which the verdict and all figures show. {what}Agreement: adjusted Rand index with the "
        "leading partition (1: the same partition, 0: no more than chance). Stability and comparisons are made for the leading codes only.",
        sources=page.sources(path),
    )


def _existence(row: pd.Series) -> str:
    if pd.isna(row["p"]):
        return "not tested"
    return f"{'yes' if row['claimed'] == 'yes' else 'no'} (p {equals(row['p'])})"


def _of(number: Any, total: Any) -> str:
    return "n/a" if pd.isna(number) or pd.isna(total) else f"{int(number)} of {int(total)}"


def _clusters(
    page: Page, section: Section, experiment: Experiment, evidence: Evidence, verdict: Verdict
) -> None:
    from neurostrata.report.figures.clusters import clusters_figure

    study = page.study
    clusters = evidence.clusters
    assert clusters is not None
    tsne = study.table(experiment.tsne, f"t-SNE of {experiment.name}", ["subject", "x", "y"])
    exemplars = [str(s) for s in clusters["exemplar"].dropna().unique()] if "exemplar" in clusters else []
    sizes = evidence.sizes()
    hatched = " Hatched bars: clusters flagged as small." if verdict.small else ""
    crosses = " Crosses: people who fit into no cluster." if verdict.outside and tsne is not None else ""
    seen = (
        " The t-SNE map is for display only; distances between groups in it mean nothing."
        if tsne is not None
        else ""
    )
    section.add(
        page.figure(
            partial(clusters_figure, clusters, tsne, verdict.small, exemplars, verdict.outside),
            f"{experiment.name}/clusters.svg",
            "Cluster sizes" + (" and the codes in two dimensions" if tsne is not None else ""),
            "Clusters are numbered by size." + hatched + crosses + seen + " As Fig. 7.",
            experiment.strata("clusters.tsv"),
            *([experiment.tsne] if tsne is not None else []),
            alt="Sizes of the clusters: "
            + ", ".join(f"cluster {number} {size} people" for number, size in sizes.items())
            + (
                "; and a point for every person in the plane of t-SNE, coloured by cluster"
                if tsne is not None
                else ""
            ),
        )
    )


def _interval(row: pd.Series, value: str, low: str, high: str) -> str:
    if value not in row or pd.isna(row[value]):
        return "n/a"
    decimals = fixed(2)
    text = decimals(row[value])
    if low in row and pd.notna(row[low]) and pd.notna(row[high]):
        end = "no upper end" if value == "eta2" and no_upper_end(row[high]) else decimals(row[high])
        text += f" [{decimals(row[low])}, {end}]"
    return text


def comparisons_table(
    page: Page,
    experiment: Experiment,
    evidence: Evidence,
    names: Mapping[str, str],
    found: list[str],
) -> Table:
    """Return the table of the comparisons, what each factor is first, unadjusted and adjusted side by side."""
    comparisons, adjusted = evidence.comparisons, evidence.adjusted
    assert comparisons is not None
    contents, named = factor_contents(page.study), page.study.config["phenotypes"]["factor_names"] or {}
    after = None if adjusted is None else adjusted.set_index(adjusted["factor"].astype(str))
    rows = []
    for _, row in comparisons.iterrows():
        factor = str(row["factor"])
        cells = [
            names.get(factor, factor) if factor in named or not contents else factor_label(factor),
            *([contents.get(factor, "")] if contents else []),
            format_p(row["p"]),
            format_p(row["q"]),
            format_p(row["q_repartition"]),
            _interval(row, "eta2", "eta2_low", "eta2_high"),
        ]
        if after is not None:
            # fewer people have every covariate, so a factor can be missing
            line = after.loc[factor] if factor in after.index else pd.Series({"eta2": None, "q": None})
            cells += [
                _interval(line, "eta2", "eta2_low", "eta2_high"),
                format_p(line["q"]),
            ]
        cells.append(format_number(row["n"]))
        rows.append([Cell(cell) for cell in cells])
    columns = [
        "Factor",
        *(["Strongest variables"] if contents else []),
        "p",
        "q",
        "q, random groups",
        "η² [interval]",
    ]
    columns += [] if after is None else ["adjusted η² [interval]", "adjusted q"]
    caption = f"Marked: all q below {page.study.alpha:g}. Intervals: {page.study.level}. "
    if adjusted is not None:
        caption += f"Adjusted for {adjusted_for(adjusted)}{curves(adjusted)}; adjusted η² is partial. "
    else:
        caption += "Comparisons adjusted for age, sex, head size, site and image quality were not made. "
    return Table(
        title="Every factor compared between the clusters",
        columns=[*columns, "n"],
        rows=rows,
        numeric=[column not in ("Factor", "Strongest variables") for column in [*columns, "n"]],
        marked=[str(factor) in found for factor in comparisons["factor"]],
        caption=f"{caption}{REPARTITION_NOTE} {INTERVAL_NOTE}",
        sources=page.sources(
            experiment.strata("comparisons.tsv"), experiment.strata("comparisons_adjusted.tsv")
        ),
    )


def factor_titles(comparisons: pd.DataFrame, adjusted: pd.DataFrame | None = None) -> dict[str, str]:
    """Return factor -> "η² = 0.12, q < 0.001, adjusted q = 0.01"."""
    after = {} if adjusted is None else dict(zip(adjusted["factor"].astype(str), adjusted["q"]))
    titles = {}
    for _, row in comparisons.iterrows():
        factor = str(row["factor"])
        if pd.isna(row["p"]):
            titles[factor] = "not tested"
            continue
        titles[factor] = f"η² = {format_number(row['eta2'], 2)}, q {equals(row['q'])}"
        if factor in after:
            titles[factor] += f", adj. {equals(after[factor])}"
    return titles


def _comparisons(
    page: Page,
    section: Section,
    experiment: Experiment,
    evidence: Evidence,
    names: Mapping[str, str],
    absent: str,
) -> None:
    from neurostrata.report.figures.factors import MOST_EFFECTS, effects_figure, factors_figure

    study = page.study
    name = experiment.name
    comparisons = evidence.comparisons
    assert comparisons is not None
    assert evidence.clusters is not None
    study.table(
        experiment.strata("comparisons_adjusted.tsv"),
        f"Comparisons adjusted for age, sex, head size, site and image quality in {name}",
        ["factor", "p", "q", "eta2"],
        absent,
    )
    found = significant_factors(comparisons, study.alpha, evidence.adjusted)
    titles = factor_titles(comparisons, evidence.adjusted)
    path = experiment.strata("comparisons.tsv")
    section.add(comparisons_table(page, experiment, evidence, names, found))
    if {"eta2", "eta2_low", "eta2_high"} <= set(comparisons) and comparisons["eta2"].notna().any():
        section.add(
            page.figure(
                partial(effects_figure, comparisons, found, evidence.adjusted, names),
                f"{name}/effects.svg",
                "Effect sizes",
                f"η² with its {study.level} interval; coloured: factors that differ"
                + (" (none)." if not found else ".")
                + " An arrowhead: the interval has no upper end."
                + cut_off(int(comparisons["eta2"].notna().sum()), MOST_EFFECTS, "factors, by effect size"),
                path,
                experiment.strata("comparisons_adjusted.tsv"),
                alt="Effect sizes: "
                + "; ".join(
                    f"{names.get(str(row['factor']), row['factor'])} {format_number(row['eta2'], 2)}"
                    for _, row in comparisons.dropna(subset=["eta2"])
                    .sort_values("eta2", ascending=False)
                    .iterrows()
                ),
                wide=False,
            )
        )
    scores_path = study.tree.phenotypes("scores.tsv")
    scores = study.table(scores_path, f"Factors by cluster in {name}", ["subject"])
    if scores is None:
        return
    inside = evidence.clusters[~evidence.clusters["subject"].astype(str).isin(evidence.outside())]
    factors = [str(f) for f in comparisons["factor"] if f in scores and scores[f].notna().any()]
    outcome = (
        "★ marks the factors that differ by all tests"
        if found
        else "No factor differs by all tests; all are shown"
    )
    divided = parts(factors, PANELS)
    for part, end in divided:
        of = f" ({end[1:]} of {len(divided)})" if end else ""
        section.add(
            page.figure(
                partial(factors_figure, scores, inside, part, titles, found, names=names),
                f"{name}/factors{end}.svg",
                f"Phenotypic factors by cluster{of}",
                f"Each dot is a person; boxes show median and quartiles; colours as in the figure of the clusters. {outcome}. As Fig. 8.",
                scores_path,
                experiment.strata("clusters.tsv"),
                path,
                alt="Scores of every person by cluster, a panel per factor: "
                + "; ".join(f"{names.get(f, f)} ({titles[f]})" for f in part),
            )
        )
