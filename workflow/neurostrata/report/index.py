"""Writes the report: its pages, the tables that they link, and the index of the search."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from neurostrata.core.files import sidecar_path
from neurostrata.core.records import forget
from neurostrata.core.tables import write_table
from neurostrata.core.wording import count
from neurostrata.report.contents import Contents, Whole, all_pages
from neurostrata.report.data.finders import COLUMNS, VERDICT_COLUMNS, compare_finders, verdict_rows
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import Link, Section, Text, number_blocks
from neurostrata.report.html.cards import Leads, PageList, VerdictCard
from neurostrata.report.html.folder import PAGES, SEARCH, renew_copies, write_data
from neurostrata.report.html.navigation import Entry, neighbours
from neurostrata.report.html.page import Page
from neurostrata.report.html.pages import write_page
from neurostrata.report.judged import judge_all
from neurostrata.report.search import search_entries
from neurostrata.report.sections.closing import missing_blocks, write_methods
from neurostrata.report.sections.phenotypes import factor_meanings

#: Pages of experiments: an earlier run may have had others.
OF_EXPERIMENTS = ("experiment-*.html", "strata-*.html")
#: Tables that the report makes itself, where there is something for them.
OWN_TABLES = ("strata_finders.tsv", "verdicts.tsv", "comparison.tsv", "resources.tsv")


def write_index(study: StudyResults, output: Path, benchmarks: Path | None = None) -> None:
    """Write ``index.html`` and the other pages beside it, and the figures in the folder ``figures/``.

    Parameters
    ----------
    study
        What to report.
    output
        The HTML file of the overview; the folder that it is in is the report's.
    benchmarks
        Snakemake's benchmark files.
    """
    output = output.resolve()
    report = output.parent
    figures = report / "figures"
    # Figures, pages and tables of an earlier run that this one does not make would stay.
    shutil.rmtree(figures, ignore_errors=True)
    for pattern in OF_EXPERIMENTS:
        for old in report.glob(pattern):
            old.unlink()
    for name in OWN_TABLES:
        for old in (report / name, sidecar_path(report / name)):
            forget(old)
            old.unlink(missing_ok=True)
    _remove_former_people(study)
    meanings = factor_meanings(study)
    whole = Whole(study, judge_all(study, meanings), meanings, benchmarks)
    if not whole.judged:
        study.note("Experiments", "none is configured and none was found under experiments/")
    _write_files(study, report, whole)
    pages = _make(whole, report, figures)
    _fill_missing(study, whole)
    number_blocks([section for page in pages for section in whole.made[page.file]])
    places = {
        section.key: page.file
        for page in reversed(pages)
        for top in whole.made[page.file]
        for section in _with_inner(top)
    }
    for section in whole.made["index.html"]:
        for block in section.blocks:
            if isinstance(block, PageList):
                block.pages = _entries(pages[1:], whole, full=True)
    for page in [
        *pages[1:],
        pages[0],
    ]:  # the overview, which the rule waits for, when all that it leads to is there
        sections = whole.made[page.file]
        _lead_to_pages(sections, page.file, places)
        navigation = _entries(pages, whole, current=page.file)
        is_index = page.file == "index.html"
        owner = next((one for one in pages if one.file == page.belongs_to), None)
        write_page(
            report / page.file,
            "page.html.j2",
            {
                "title": study.config["report"]["title"] if is_index else page.title,
                "study": study.config["report"]["title"],
                "description": study.config["report"]["description"] if is_index else "",
                "facts": _facts(study) if is_index else "",
                "above": Link(owner.title, owner.file) if owner else None,
                "sections": sections,
                "navigation": navigation,
                "around": neighbours(navigation),
                "moved": {key: file for key, file in places.items() if file != "index.html"}
                if is_index
                else {},
            },
        )
    write_data(
        report / PAGES,
        "neurostrataPages",
        [
            [page.short or page.title, page.file, bool(page.belongs_to)]
            for page in pages
            if page.file.startswith(("experiment-", "strata-"))
        ],
    )
    write_data(report / SEARCH, "neurostrataSearch", search_entries(study, report, pages, whole))
    renew_copies(report, study.tree.root)


def _remove_former_people(study: StudyResults) -> None:
    """Delete the pages of people who are no longer in the study; those of excluded people stay."""
    people = study.subjects()
    excluded = study.table(study.tree.exclusions, columns=["subject"])
    kept = {*people, *([] if excluded is None else excluded["subject"].astype(str))}
    for page in study.tree.subject_page("*").parent.glob("sub-*.html") if people else ():
        if page.stem.removeprefix("sub-") not in kept:
            page.unlink()
            shutil.rmtree(page.with_suffix(""), ignore_errors=True)


def _make(whole: Whole, report: Path, figures: Path) -> list[Contents]:
    """Make the sections of all pages; return the pages that have any, in the order of the navigation.

    A page is made after those that belong to it, which it links, and the overview last.
    """
    pages = all_pages(whole)
    for contents in sorted(pages, key=lambda one: (one.file == "index.html", not one.belongs_to)):
        page = Page(whole.study, report / contents.file, figures)
        sections: list[Section] = []
        for make in contents.sections:
            made = make(page)
            sections += made if isinstance(made, list) else [made]
        whole.made[contents.file] = [
            one for one in sections if one.blocks or one.sections or one.key == "missing"
        ]
    for contents in pages:
        if not whole.made[contents.file] and not contents.belongs_to:
            empty = Section(Path(contents.file).stem, contents.title)
            empty.add(Text("This run has nothing to show here.", kind="note"))
            whole.made[contents.file] = [empty]
    return [contents for contents in pages if whole.made[contents.file]]


def _fill_missing(study: StudyResults, whole: Whole) -> None:
    """Write into its section what this run has not: all other sections are made and have said so."""
    missing = next(one for one in whole.made["methods.html"] if one.key == "missing")
    missing.add(*missing_blocks(study))


def _with_inner(section: Section) -> Iterator[Section]:
    yield section
    for inner in section.sections:
        yield from _with_inner(inner)


def _entries(pages: Sequence[Contents], whole: Whole, current: str = "", full: bool = False) -> list[Entry]:
    """Return the entries of pages, with titles in full where they do not stand below each other."""
    entries = []
    for page in pages:
        sections = whole.made[page.file]
        alone = len(sections) == 1 and sections[0].title == page.title
        entries.append(
            Entry(
                page.title if full else page.short or page.title,
                page.file,
                current=page.file == current,
                inner=bool(page.belongs_to),
                parts=sections[0].sections if alone else sections,
                key=sections[0].key if alone and not page.belongs_to else "",
            )
        )
    return entries


def _lead_to_pages(sections: Sequence[Section], file: str, places: dict[str, str]) -> None:
    """Complete links to a section (``#key``) that stands on another page than `file`."""
    own = {section.key for top in sections for section in _with_inner(top)}

    def full(href: str) -> str:
        key = href.removeprefix("#")
        return places[key] + href if href.startswith("#") and key not in own and key in places else href

    for top in sections:
        for section in _with_inner(top):
            for block in section.blocks:
                if block.block == "table":
                    block.rows = [[replace(cell, href=full(cell.href)) for cell in row] for row in block.rows]
                elif isinstance(block, VerdictCard):
                    block.href = full(block.href)
                elif isinstance(block, Leads):
                    block.items = [replace(item, href=full(item.href)) for item in block.items]
                if hasattr(block, "sources"):
                    block.sources = [replace(link, href=full(link.href)) for link in block.sources]


def _write_files(study: StudyResults, report: Path, whole: Whole) -> None:
    """Write the verdicts and the comparison of the finders as tables, and the methods for Snakemake's own report."""
    write_methods(study, report)
    finders = compare_finders(study, [one.experiment for one in whole.judged])
    if len(finders):
        write_table(
            report / "strata_finders.tsv",
            finders,
            COLUMNS,
            Description="Every finder on every kind of codes.",
        )
    if whole.judged:
        write_table(
            report / "verdicts.tsv",
            verdict_rows([one.verdict for one in whole.judged]),
            VERDICT_COLUMNS,
            Description="What was found, by the rules in docs/trust.md.",
        )


def _facts(study: StudyResults) -> str:
    people = len(study.subjects())
    parts = [count(people, "person", "people") if people else "no cohort table"]
    parts.append(count(len(study.experiments()), "experiment"))
    record = study.json(study.tree.provenance)
    if record:  # a partial study has none yet
        commit = record["code"]["commit"] if record["code"] else ""  # null without git
        parts.append(f"neurostrata {record['neurostrata']}{f' ({commit[:10]})' if commit else ''}")
    parts.append(f"seed {study.config['seed']}")
    return " · ".join(parts)
