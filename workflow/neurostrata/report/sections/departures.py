"""The tables of where a run departs from the papers whose models it uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from neurostrata.core.model_words import model_title
from neurostrata.core.wording import count, join_words
from neurostrata.report.data.papers import PAPERS, paper_tables
from neurostrata.report.html.blocks import Link, Section, Table, Text, frame_table
from neurostrata.report.html.page import Page
from neurostrata.report.text.departures import compared, departures, experiments_of, unsettled

#: Experiments that are named one by one, at most.
MOST_NAMES = 8


def add_departures(page: Page, section: Section) -> None:
    """Add, for each paper whose model the run uses, the settings that differ, and what no setting can say."""
    tables, config = paper_tables(), page.study.config
    if not tables:
        page.study.note("Departures from the papers", f"{PAPERS} has no tables")
        return
    used = {name: table for name, table in tables.items() if experiments_of(table, config)}
    others = [
        f"{table['paper']} ({model_title(table['model'])})"
        for name, table in tables.items()
        if name not in used
    ]
    if not used:
        section.add(
            Text(
                f"No experiment of this run has the model of a paper, so no settings were compared with {join_words(others)}.",
                kind="note",
            )
        )
        return
    for name, table in used.items():
        section.add(*_of_paper(name, table, page))
    if others:
        section.add(
            Text(f"Not compared, because no experiment has the model: {join_words(others)}.", kind="note")
        )


def _of_paper(name: str, table: dict[str, Any], page: Page) -> list[Any]:
    """Return the blocks on one paper."""
    config, paper = page.study.config, table["paper"]
    experiments = experiments_of(table, config)
    rows = departures(table, config)
    found = count(len(rows), "departure") if rows else "none differs"
    names = join_words([experiment["name"] for experiment in experiments])
    if len(experiments) > MOST_NAMES:
        names = count(len(experiments), "experiment")
    blocks: list[Any] = [
        Text(
            f"{paper}, {table['title']}: {compared(table)} settings of the paper were compared with this run "
            f"({names}); {found}."
        )
    ]
    if rows:
        frame = pd.DataFrame(
            {
                "Topic": [row.topic for row in rows],
                "Section": [row.section for row in rows],
                paper: [row.paper for row in rows],
                "This run": [f"{row.key}: {row.here}" for row in rows],
            }
        )
        blocks.append(
            _table(
                frame,
                f"Where this run departs from {paper}",
                f"Every setting that differs from what the paper says. {table['preset']} has the paper's values; "
                f"docs/differences-{name}.md says what a departure changes. Settings that decide nothing here, such as options of "
                "an engine that was not chosen, are left out.",
                page.sources(page.study.tree.provenance),
            )
        )
    rest = unsettled(table)
    if rest:
        frame = pd.DataFrame(
            {
                "Topic": [row.topic for row in rest],
                "Section": [row.section for row in rest],
                paper: [row.paper for row in rest],
                "Here": [row.here for row in rest],
            }
        )
        blocks.append(
            _table(
                frame,
                f"Differences from {paper} that are no settings",
                "What the program does otherwise, and what it does where the paper says nothing; numbers are those of "
                f"{table['preset']}.",
                folded=True,
            )
        )
    return blocks


def _table(
    frame: pd.DataFrame, title: str, caption: str, sources: Sequence[Link] = (), folded: bool = False
) -> Table:
    return frame_table(
        frame,
        title,
        names={column: column for column in frame},
        caption=caption,
        sources=sources,
        folded=folded,
        words=True,
    )
