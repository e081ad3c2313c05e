"""The index of the search: people, pages, sections, figures, tables and factors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from neurostrata.report.contents import Contents, Whole
from neurostrata.report.data.layout import relative_link
from neurostrata.report.data.results import StudyResults
from neurostrata.report.figures.phenotypes import factor_names
from neurostrata.report.html.blocks import Section

#: What is found, its title, where it is as seen from the report's folder, and further words to find it by.
Found = list[str]


def search_entries(study: StudyResults, report: Path, pages: Sequence[Contents], whole: Whole) -> list[Found]:
    """Return all entries, in the order in which equally good ones are listed.

    Parameters
    ----------
    study
        The results.
    report
        Folder of ``index.html``.
    pages, whole
        The pages in the order of the navigation, and their sections.
    """
    entries: list[Found] = [["page", page.title, page.file, ""] for page in pages]
    entries += _people(study, report, whole)
    entries += _factors(study, whole.meanings)
    for page in pages:
        for section in whole.made[page.file]:
            entries += _section(section, page)
    return entries


def _people(study: StudyResults, report: Path, whole: Whole) -> Iterator[Found]:
    cohort = study.table(study.tree.subjects)
    if cohort is None:
        return
    known = [column for column in ("site", "diagnosis") if column in cohort]
    clusters: list[tuple[str, Mapping[str, str]]] = []
    for one in whole.judged:
        frame = one.evidence.clusters
        if frame is not None:
            numbers = dict(zip(frame["subject"].astype(str), frame["cluster"].astype(str)))
            numbers |= dict.fromkeys(one.evidence.outside(), "none")
            clusters.append((one.name, numbers))
    for _, row in cohort.astype(object).iterrows():
        subject = str(row["subject"])
        path = study.tree.subject_page(subject)
        words = [
            f"{column} {row[column]}"
            for column in known
            if row[column] == row[column] and row[column] is not None
        ]
        words += [f"cluster {numbers[subject]} in {name}" for name, numbers in clusters if subject in numbers]
        href = relative_link(path, report / "index.html") if path.is_file() else "people.html"
        yield ["person", f"sub-{subject}", href, ", ".join(words)]


def _factors(study: StudyResults, meanings: Mapping[str, str]) -> Iterator[Found]:
    scores = study.table(study.tree.phenotypes("scores.tsv"), columns=["subject"])
    if scores is None:
        return
    names = factor_names([column for column in scores if column != "subject"], meanings)
    for factor, name in names.items():
        words = "" if factor == name else factor
        yield ["factor", name, "phenotypes.html#phenotypes", words]


def _section(section: Section, page: Contents) -> Iterator[Found]:
    if section.title != page.title:
        yield ["section", section.title, f"{page.file}#{section.key}", page.title]
    for block in section.blocks:
        if block.block in ("figure", "table"):
            yield [block.block, block.title, f"{page.file}#{block.block}-{block.number}", page.title]
    for inner in section.sections:
        yield from _section(inner, page)
