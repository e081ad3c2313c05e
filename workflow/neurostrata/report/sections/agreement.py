"""How far the clusters of different experiments and finders agree."""

from __future__ import annotations

import itertools

import pandas as pd

from neurostrata.report.html.blocks import Section, Text, cut_off, fixed, frame_table
from neurostrata.report.html.page import Page
from neurostrata.strata.finders.registry import finder_name

NEEDED = ("experiment_a", "finder_a", "experiment_b", "finder_b")
#: Number of cross-tables that are drawn; the file has all of them.
FIGURES = 6
#: Partitions in the matrix, experiments in the flow and clusters in one of them, at most; the tables have all.
PARTITIONS, FLOWS, MOST_CLUSTERS = 14, 6, 20


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
    _matrix(page, section, table)
    _flows(page, section)
    _crosstabs(page, section)
    return section


def _matrix(page: Page, section: Section, table: pd.DataFrame) -> None:
    """Add the picture of all pairs, where there are more than two partitions."""
    from neurostrata.report.figures.agreement import matrix_of, rand_matrix_figure

    pairs = dict(
        zip(zip(_partitions(table, "a"), _partitions(table, "b")), table["adjusted_rand"].astype(float))
    )
    matrix = matrix_of(pairs)
    if not 2 < len(matrix) <= PARTITIONS:
        return
    section.add(
        page.figure(
            rand_matrix_figure(matrix),
            "agreement/matrix.svg",
            "Agreement of all partitions",
            "Adjusted Rand index of every pair; bright: the same people stand together in both.",
            page.study.tree.agreement(),
            alt="Matrix of the adjusted Rand index of every pair of partitions; the table above has its numbers",
            wide=False,
        )
    )


def _flows(page: Page, section: Section) -> None:
    """Add the picture of where the people of each cluster are in the next experiment, by the leading finder."""
    from neurostrata.report.figures.agreement import flow_figure

    study = page.study
    path = study.tree.agreement("agreement_crosstabs.tsv")
    cells = study.table(path, columns=(*NEEDED, "cluster_a", "cluster_b", "n"))
    if cells is None:
        return
    leading = study.tree.finders[0]
    cells = cells[(cells["finder_a"] == leading) & (cells["finder_b"] == leading)]
    names = [
        e.name for e, _ in study.experiments() if e.name in {*cells["experiment_a"], *cells["experiment_b"]}
    ]
    cut = cut_off(len(names), FLOWS, "experiments")
    names, tables = names[:FLOWS], []
    for first, second in itertools.pairwise(names):
        there = cells[(cells["experiment_a"] == first) & (cells["experiment_b"] == second)]
        back = cells[(cells["experiment_a"] == second) & (cells["experiment_b"] == first)]
        part, rows, columns = (
            (back, "cluster_b", "cluster_a") if there.empty else (there, "cluster_a", "cluster_b")
        )
        if part.empty:
            return
        tables.append(part.pivot_table(index=rows, columns=columns, values="n", aggfunc="sum", fill_value=0))
    if not tables or max(max(table.shape) for table in tables) > MOST_CLUSTERS:
        return
    section.add(
        page.figure(
            flow_figure(names, tables),
            "agreement/flow.svg",
            "The same people in the clusters of each experiment",
            f"Each bar is an experiment ({finder_name(leading)}), divided into its clusters; streams are people. The first experiment "
            f"gives the colours; clusters of the others have the colour of the cluster that most of their people come from.{cut}",
            path,
            alt="Flow of people between the clusters of the experiments; the cross-tables have the numbers",
            wide=False,
        )
    )


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
    drawn = pairs = 0
    for (a, first, b, second), part in cells.groupby(list(NEEDED), sort=False):
        # Only of the leading finder and between experiments; the table above has the rest.
        if a == b or first != leading or second != leading:
            continue
        pairs += 1
        if drawn == FIGURES:
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
    if pairs > drawn == FIGURES:
        section.add(
            Text(
                f"Drawn are the first {FIGURES} of {pairs} pairs of experiments; the table of cross-tables has all.",
                sources=page.sources(path),
            )
        )
