"""The commands of the report: one page per person, the record of what ran, and the report itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurostrata.core.errors import UserError
from neurostrata.core.files import write_json
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults


def _results(folder: Path) -> ResultsTree:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such results folder; run the workflow first")
    return ResultsTree(folder.resolve())


def subject_page(*, results: Path, subject: str, output: Path, settings: dict[str, Any]) -> None:
    """Write the page of one person, with its pictures in a folder of the same name.

    Parameters
    ----------
    results
        The results folder.
    subject
        Id without ``sub-``.
    output
        ``report/subjects/sub-X.html``; pictures go to the folder ``sub-X/`` next to it.
    settings
        Section ``report``.
    """
    from neurostrata.report.html.blocks import Link, number_blocks
    from neurostrata.report.html.page import Page
    from neurostrata.report.html.pages import write_page
    from neurostrata.report.subjects import subject_sections

    tree = _results(results)
    output = output.resolve()
    page = Page(StudyResults(tree, {"report": settings}), output, output.parent)
    if not (tree.root / "derivatives" / f"sub-{subject}").is_dir():
        raise UserError(f"subject {subject}: {tree.root / 'derivatives'} holds nothing of this person")
    sections = subject_sections(page, subject)
    number_blocks(sections)
    write_page(
        output,
        "page.html.j2",
        {
            "title": f"sub-{subject}",
            "study": page.study.config["report"]["title"],
            "sections": sections,
            "above": Link("People", page.href(tree.root / "report" / "people.html")),
        },
        report=output.parent.parent,
    )


def provenance(*, results: Path, output: Path, settings: dict[str, Any]) -> None:
    """Record versions, seeds, settings and input digests.

    Parameters
    ----------
    results
        The results folder.
    output
        ``provenance.json``.
    settings
        The whole configuration.
    """
    from neurostrata.report.data.provenance import collect

    _results(results)
    config = {key: value for key, value in settings.items() if key != "version"}
    write_json(output, json.loads(json.dumps(collect(config), default=str)))


def report(*, results: Path, output: Path, settings: dict[str, Any], benchmarks: Path | None = None) -> None:
    """Write the report of everything that was run; missing pieces are listed in it.

    Parameters
    ----------
    results
        The results folder; it is only read.
    output
        ``report/index.html``; figures go to the folder ``figures/`` next to it.
    settings
        The whole configuration, defaults filled in.
    benchmarks
        Folder of Snakemake's benchmark files, for the table of time and memory.
    """
    from neurostrata.report.index import write_index

    tree = _results(results)
    config = {key: value for key, value in settings.items() if key != "version"}
    write_index(StudyResults(tree, config), output, benchmarks)
