"""How far the clusters of different experiments and finders agree."""

from __future__ import annotations

import pandas as pd

from neurostrata.report.html.blocks import Section, Text, fixed, frame_table
from neurostrata.report.html.page import Page
from neurostrata.strata.finders.registry import finder_name

NEEDED = ("experiment_a", "finder_a", "experiment_b", "finder_b")
#: Number of cross-tables that are drawn; the file has all of them.
FIGURES = 6


def agreement_section(page: Page) -> Section:
    """Return the section; empty when there is one partition only, or no table."""
    section = Section("agreement", "Agreement between the clusters of the experiments")
    study = page.study
    path = study.tree.agreement()
    partitions = len(study.experiments()) * len(study.tree.finders)
    table = study.table(
        path,
        "Agreement between the clusters of experiments" if partitions > 1 else "",
        (*NEEDED, "adjusted_rand"),
    )
    if table is None:
        return section
    section.add(
        Text(
            "Clusters are numbered by size in each experiment, so equal numbers do not correspond; the last column shows which clusters do.",
        )
    )
    shown = pd.DataFrame(
        {
            "First": _partitions(table, "a"),
            "Second": _partitions(table, "b"),
            "People": table["n"],
            "Adjusted Rand": table["adjusted_rand"],
        }
    )
    if {"k_a", "k_b"} <= set(table):
        shown["Clusters"] = [f"{a} and {b}" for a, b in zip(table["k_a"], table["k_b"])]
    if "matched" in table:
        shown["Matched, first = second"] = table["matched"]
    section.add(
        frame_table(
            shown,
            "Agreement of every pair of partitions of the same people",
            names={name: name for name in shown},
            formats={"Adjusted Rand": fixed(2)},
            caption="Adjusted Rand index: 1, the same partition; 0, no more than chance.",
            sources=page.sources(path),
        )
    )
    _crosstabs(page, section)
    return section


def _partitions(table: pd.DataFrame, end: str) -> list[str]:
    pairs = zip(table[f"experiment_{end}"], table[f"finder_{end}"])
    return [f"{experiment}, {finder_name(str(finder))}" for experiment, finder in pairs]


def _crosstabs(page: Page, section: Section) -> None:
    from neurostrata.report.figures.checks import crosstab_figure

    study = page.study
    path = study.tree.agreement("agreement_crosstabs.tsv")
    cells = study.table(
        path, "Cross-tables of the experiments' clusters", (*NEEDED, "cluster_a", "cluster_b", "n")
    )
    if cells is None:
        return
    leading = study.tree.finders[0]
    drawn = 0
    for (a, first, b, second), part in cells.groupby(list(NEEDED), sort=False):
        # Only of the leading finder and between experiments; the table above has the rest.
        if a == b or first != leading or second != leading or drawn == FIGURES:
            continue
        table = part.pivot_table(
            index="cluster_a", columns="cluster_b", values="n", aggfunc="sum", fill_value=0
        )
        if max(table.shape) > 30:
            continue
        drawn += 1
        section.add(
            page.figure(
                crosstab_figure(pd.DataFrame(table), str(a), str(b)),
                f"agreement/{a}-{b}.svg",
                f"People in the clusters of {a} and of {b}",
                f"Numbers of people, {finder_name(leading)}; colour: share of the row's cluster.",
                path,
                wide=False,
            )
        )
