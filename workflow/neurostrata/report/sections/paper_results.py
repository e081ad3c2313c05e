"""Beside the papers' results: for each table and figure of a paper whose model the run uses, the run's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurostrata.core.wording import count
from neurostrata.report.data.paper_results import (
    FactorMatch,
    comparable,
    matched_factors,
    printed_loadings,
    run_file,
    run_number,
)
from neurostrata.report.data.papers import paper_tables
from neurostrata.report.figures.phenotypes import factor_names
from neurostrata.report.html.blocks import Cell, Section, Table, Text, format_number, format_p, superscript
from neurostrata.report.html.page import Page
from neurostrata.report.sections.phenotypes import congruence_reading, factor_meanings
from neurostrata.strata.finders.registry import finder_name

#: Rows from which a table is folded.
FOLDED = 40
#: Title of the table that stands for the papers' tables of people.
DEMOGRAPHICS = "Demographics"


def paper_results_section(page: Page, others: Sequence[Section] = ()) -> Section:
    """Return the section, with a part for each paper whose model an experiment uses; empty without any.

    It is made after the other sections: only figures that are drawn can be linked.

    Parameters
    ----------
    page
        The page that is being made.
    others
        The sections that may hold the table of people.
    """
    people = next(
        (
            f"#{other.key}"
            for other in others
            if any(getattr(block, "title", "") == DEMOGRAPHICS for block in other.blocks)
        ),
        "",
    )
    section = Section("papers", "Beside the papers' results")
    used = {experiment["model"] for experiment in page.study.config["experiments"]}
    for name, table in paper_tables().items():
        if table["model"] in used:
            part = Section(f"papers-{name}", table["paper"])
            part.add(
                _introduction(page, name, table),
                _files_table(page, table, people),
                *_numbers(page, name, table),
            )
            if any("loadings" in row for row in table["results"]):
                part.add(*_factors(page, table))
            section.sections.append(part)
    return section


def _introduction(page: Page, name: str, table: Mapping[str, Any]) -> Text:
    tree = page.study.tree
    text = (
        f"{table['title']}. Every table and figure of the paper, and what this run has of it. An experiment of this run stands for the paper's "
        f"if it has the name of one in {table['preset']} and the paper's model. Other people, data and settings (see Methods) give other numbers: "
        f"agreement or disagreement with the paper's proves nothing by itself. docs/papers/{name}.md has the same list for all runs."
    )
    if any("/strata/" in path for row in table["results"] for path in row.get("here", [])):
        leading = f"{finder_name(tree.finders[0])} on {tree.codes[0]} codes"
        text += f" Figures of clusters show the leading partition, which in this run is that of {leading}."
    return Text(text)


def _files_table(page: Page, table: Mapping[str, Any], people: str) -> Table:
    rows: list[list[Cell]] = []
    groups: list[bool] = []
    for result in table["results"]:
        shows = f"{result['shows']}. {result['note']}" if "note" in result else f"{result['shows']}."
        cells = _file_cells(page, table, result, people)
        for number, cell in enumerate(cells):
            first = number == 0
            rows.append(
                [
                    Cell(result["id"] if first else "", strong=first),
                    Cell(result["section"] if first else ""),
                    Cell(shows if first else ""),
                    cell,
                ]
            )
            groups.append(first and bool(rows[:-1]))
    return Table(
        title=f"Tables and figures of {table['paper']}",
        columns=["In the paper", "Section", "What it shows", "In this run"],
        rows=rows,
        numeric=[False] * 4,
        marked=[False] * len(rows),
        groups=groups,
        caption="Not here: what neurostrata does not make, whatever the run. Not in this run: what a run with the paper's preset has.",
        folded=len(rows) > FOLDED,
        words=True,
        sources=page.sources(page.study.tree.provenance),
    )


def _file_cells(page: Page, table: Mapping[str, Any], result: Mapping[str, Any], people: str) -> list[Cell]:
    """Return links to the run's files of one result, and a last cell for those that it does not have."""
    if "not_here" in result:
        return [Cell(f"not here: {result['not_here'][0].lower()}{result['not_here'][1:]}")]
    cells, absent = [], 0
    index = page.report / "index.html"
    for path in result["here"]:
        file = page.study.tree.root / path
        if file == index and people:  # being written
            cells.append(Cell("in this report", people))
        elif file == index or run_file(page.study, table, path) is None:
            absent += 1
        else:
            cells.append(Cell(path, page.href(file)))
    if absent and not cells:
        cells.append(Cell("not in this run"))
    elif absent:
        cells.append(Cell(f"not in this run: {count(absent, 'further file')}"))
    return cells


def printed(value: float) -> str:
    """Return a number as a paper prints it: no digits added."""
    plain, _, exponent = f"{value:.10g}".partition("e")
    return (f"{plain}×10{superscript(int(exponent))}" if exponent else plain).replace("-", "−")


def _numbers(page: Page, name: str, table: Mapping[str, Any]) -> list[Table | Text]:
    """Return the paper's numbers beside those of the run; a sentence where the run has none."""
    rows: list[list[Cell]] = []
    groups: list[bool] = []
    sources, last, without = [], "", 0
    for result in table["results"]:
        for number in result.get("numbers", []):
            value, spread, files = run_number(page.study, table, number)
            if np.isnan(value):
                without += 1
                continue
            first = result["id"] != last
            groups.append(first and bool(rows))
            last = result["id"]
            rows.append(
                [
                    Cell(result["id"] if first else "", strong=first),
                    Cell(number["what"]),
                    Cell(
                        printed(number["paper"])
                        + (f" ± {printed(number['spread'])}" if "spread" in number else "")
                    ),
                    Cell(
                        format_number(value) + ("" if np.isnan(spread) else f" ± {format_number(spread, 2)}")
                    ),
                ]
            )
            sources += files
    others = f"{count(without, 'number')} of the paper {'has' if without == 1 else 'have'} no counterpart in this run"
    if not rows:
        return [Text(f"{others}; docs/papers/{name}.md lists them.")]
    more = f" {others} (docs/papers/{name}.md lists all)." if without else ""
    return [
        Table(
            title=f"Numbers of {table['paper']} and of this run",
            columns=["In the paper", "Number", "Paper", "This run"],
            rows=rows,
            numeric=[False, False, True, True],
            marked=[False] * len(rows),
            groups=groups,
            caption="Computed from this run's tables. ±: standard deviation as in the paper, here over people, folds or "
            f"seeds.{more}",
            sources=page.sources(*dict.fromkeys(sources)),
            folded=len(rows) > FOLDED,
        )
    ]


def _factors(page: Page, table: Mapping[str, Any]) -> list[Table | Text]:
    """Return the paper's phenotypic factors beside those of the run that resemble them most."""
    study = page.study
    path = study.tree.phenotypes("loadings.tsv")
    frame = study.table(path, columns=["variable"])
    if frame is None or study.config["phenotypes"]["method"] == "variables":
        return []
    paper, ours = printed_loadings(), frame.set_index("variable").select_dtypes("number")
    shared, enough = comparable(paper, list(ours.index))
    if not enough:
        return [
            Text(
                f"The factors were not compared with the paper's: the run has {shared} of its {len(paper)} variables "
                "(phenotypes.variables).",
                sources=page.sources(path),
            )
        ]
    matches = matched_factors(paper, ours, float(study.config["report"]["loading_threshold"]))
    compared = next(
        (
            file
            for row in table["results"]
            for number in row.get("numbers", [])
            if number.get("column") == "factor" and (file := run_file(study, table, number["table"]))
        ),
        None,
    )
    # Fig. 8 lists the factors that differ; that with the loadings lists all
    differ = next(row["factors"] for row in table["results"] if "factors" in row and "loadings" not in row)
    tests = study.table(compared, columns=["factor", "q"]) if compared else None
    q = {} if tests is None else dict(zip(tests["factor"].astype(str), tests["q"]))
    return [
        _factor_table(
            page, table, matches, shared, len(paper), differ, q, [path, *([compared] if compared else [])]
        )
    ]


def _factor_table(
    page: Page,
    table: Mapping[str, Any],
    matches: Sequence[FactorMatch],
    shared: int,
    variables: int,
    differ: Sequence[str],
    q: Mapping[str, float],
    sources: Sequence[Any],
) -> Table:
    names = factor_names([match.ours for match in matches], factor_meanings(page.study))
    rows = []
    for match in matches:
        reading = "" if np.isnan(match.congruence) else congruence_reading(match.congruence)
        cells = [
            match.paper,
            names[match.ours] if match.ours else "none left",
            f"{match.congruence:.2f} ({reading})" if match.ours else "n/a",
            f"{match.again} of {match.printed}",
            "yes" if match.paper in differ else "no",
        ]
        if q:
            cells.append(format_p(q.get(match.ours)))
        rows.append([Cell(cell) for cell in cells])
    columns = [
        "Factor of the paper",
        "Factor of this run",
        "Congruence",
        "Loadings found again",
        "Differs in the paper",
    ]
    columns += ["q in this run"] if q else []
    return Table(
        title=f"The factors of {table['paper']}, Fig. 6, and of this run",
        columns=columns,
        rows=rows,
        numeric=[False, False, False, True, False, *([True] if q else [])],
        marked=[False] * len(rows),
        caption=f"From the {shared} of the paper's {variables} variables that this run has. Congruence: Tucker's, of the loadings, each factor "
        "of this run used once. The paper prints loadings of at least 0.3 with one decimal; the others count as 0, so that even equal factors "
        "stay below 1. Found again: of the printed loadings, those as large as report.loading_threshold with the same sign here. Differs: between the clusters.",
        sources=page.sources(*sources),
    )
