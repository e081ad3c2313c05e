"""The last sections of the main page: people, methods, time and memory, provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from neurostrata.core.files import atomic_path
from neurostrata.core.tables import write_table
from neurostrata.core.wording import count
from neurostrata.report.data.benchmarks import COLUMNS, resource_table
from neurostrata.report.data.evidence import read_evidence
from neurostrata.report.data.flow import study_flow
from neurostrata.report.data.layout import relative_link
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import (
    Bullets,
    Cell,
    Code,
    Copyable,
    Link,
    Section,
    Table,
    Text,
    format_number,
    frame_table,
)
from neurostrata.report.html.page import Page
from neurostrata.report.sections.departures import add_departures
from neurostrata.report.text.methods import restructured_text
from neurostrata.report.text.supplement import Supplement, supplement


def people_table(page: Page) -> Table | None:
    """Return the table of people with links to their pages and their clusters."""
    study = page.study
    subjects = study.subjects()
    if not subjects:
        return None
    cohort = study.table(study.tree.subjects)
    assert cohort is not None
    shown = [c for c in ("site", "diagnosis", "family") if c in cohort and cohort[c].notna().any()]
    frame = cohort[["subject", *shown]].astype(object).copy()
    sources = [study.tree.subjects]
    for experiment, _ in study.experiments():
        evidence = read_evidence(study, experiment)
        clusters = evidence.clusters
        if clusters is not None:
            numbers = dict(zip(clusters["subject"].astype(str), clusters["cluster"].astype(str)))
            numbers |= {subject: f"none (nearest {numbers[subject]})" for subject in evidence.outside()}
            frame[f"cluster in {experiment.name}"] = [numbers.get(str(s)) for s in frame["subject"]]
            sources.append(experiment.strata("clusters.tsv"))
    pages = [study.tree.subject_page(subject) for subject in subjects]
    hrefs = [page.href(path) if path.is_file() else "" for path in pages]
    lacking = sum(not href for href in hrefs)
    if lacking:
        study.note("Pages of single people", f"{count(lacking, 'person has', 'people have')} no page")
    table = frame_table(
        frame,
        "People",
        hrefs={"subject": hrefs},
        caption="The links lead to each person's images, mask and maps.",
        sources=page.sources(*sources),
    )
    table.numeric = [False] + [name.startswith("cluster in") for name in list(frame.columns)[1:]]
    return table


def people_section(page: Page) -> Section:
    """Return the section that lists everybody."""
    section = Section("people", "People")
    section.add(people_table(page))
    return section


def methods_section(page: Page) -> Section:
    """Return the section with the methods, from the configuration that ran, and the departures from the papers."""
    section = Section("methods", "Methods")
    methods = _supplement(page.study)
    section.add(
        Bullets(methods.paragraphs, page.sources(page.study.tree.provenance), paragraphs=True),
        Bullets([("", reference) for reference in methods.references()]),
        Copyable(
            "For a paper: the paragraphs above with their references",
            methods.markdown(),
            "methods-text",
            [Link(name, _beside(page, name)) for name in (METHODS_TEXT, METHODS_BIB)],
        ),
        Copyable(
            "For a paper: the references as BibTeX",
            methods.bibtex(),
            "methods-bibtex",
            [Link(METHODS_BIB, _beside(page, METHODS_BIB))],
        ),
    )
    add_departures(page, section)
    return section


#: Files of the supplement beside the report's first page.
METHODS_TEXT, METHODS_BIB, METHODS_RST = "methods.md", "methods.bib", "methods.rst"


def _beside(page: Page, name: str) -> str:
    """Return the link to a file in the report's folder, which is written after the pages."""
    return relative_link(page.report / name, page.path)


def _supplement(study: StudyResults) -> Supplement:
    return supplement(study.config, study_flow(study), study.json(study.tree.provenance))


def write_methods(study: StudyResults, folder: Path) -> None:
    """Write the supplement as Markdown and BibTeX, and the methods for Snakemake's own report, into the report's folder."""
    methods = _supplement(study)
    texts = {
        METHODS_TEXT: methods.markdown(),
        METHODS_BIB: methods.bibtex(),
        METHODS_RST: restructured_text([*methods.paragraphs, ("References", " ".join(methods.references()))]),
    }
    for name, text in texts.items():
        with atomic_path(folder / name, record=False) as temporary:
            temporary.write_text(text, encoding="utf-8")


def missing_blocks(study: StudyResults) -> list[Any]:
    """Return what this run does not have: a line for each reason, and each piece in a folded table."""
    if not study.missing:
        return [Text("Nothing: every part of the report was made.")]
    reasons: dict[str, list[str]] = {}
    for line in study.missing:
        reasons.setdefault(_reason(line.why), []).append(line.what)
    items = [
        (f"{reason[:1].upper()}{reason[1:]}", whats[0] if len(whats) == 1 else count(len(whats), "piece"))
        for reason, whats in reasons.items()
    ]
    table = Table(
        title="Every piece that was not made",
        columns=["What", "Why"],
        rows=[[Cell(line.what), Cell(line.why)] for line in study.missing],
        numeric=[False, False],
        folded=True,
        words=True,
    )
    return [Bullets(items), table]


def _reason(why: str) -> str:
    """Return a reason without the file that it is about, so that equal reasons can be put together."""
    for ending in ("was not made", "has no rows", "was not made or cannot be read"):
        if why.endswith(ending):
            return f"a file {ending}"
    return why


def resources_section(page: Page, benchmarks: Path | None) -> Section:
    """Return the section on the time and memory that each rule used and requested."""
    section = Section("resources", "Time and memory")
    table = resource_table(benchmarks) if benchmarks is not None else None
    if table is None:
        page.study.note("Time and memory", "there are no benchmark files")
        return section
    path = page.path.parent / "resources.tsv"
    write_table(path, table, columns=COLUMNS, Description="What the jobs of each rule used and asked for.")

    def short(value: float) -> str:
        return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"

    few = table["memory_max"] > 0.8 * table["memory_asked"]
    late = table["minutes_max"] > 0.5 * table["minutes_asked"]
    section.add(
        frame_table(
            table,
            "Time and memory that each rule used and requested",
            names={
                "rule": "Rule",
                "jobs": "Jobs",
                "minutes_median": "Minutes, median",
                "minutes_max": "Minutes, longest",
                "minutes_asked": "Minutes requested",
                "memory_max": "MB, largest",
                "memory_asked": "MB requested",
                "threads": "Threads",
                "busy": "Threads busy",
                "cpu_hours": "CPU hours",
                "memory_suggested": "MB to request",
                "minutes_suggested": "Minutes to request",
            },
            formats=dict.fromkeys(table.columns[2:], short),
            marked=list(few | late),
            caption="From Snakemake's benchmark files, most CPU time first. Marked: a job came within 20% of the memory or "
            "took more than half of the time that was requested. The last two columns are what the next run could request "
            "(set-resources in a profile): 1.5 times the memory and twice the time of the largest job.",
            sources=page.sources(path),
            folded=len(table) > 6,
        )
    )
    return section


def provenance_section(page: Page) -> Section:
    """Return the section with versions, seeds, digests and settings."""
    study = page.study
    section = Section("provenance", "Provenance")
    record = study.json(study.tree.provenance)
    if not record:
        study.note("Provenance", "provenance.json was not made or cannot be read")
    items: list[tuple[str, str]] = []
    if record:
        code = record["code"]
        state = ""
        if code:  # null without git
            state = f", commit {code['commit'][:12]}" + (" with local changes" if code["changed"] else "")
        items.append(("neurostrata", f"{record['neurostrata']}{state}"))
        items.append(("Python", f"{record['python']} on {record['platform']}"))
        named = [
            f"{key}: {', '.join(value) if isinstance(value, list) else value}"
            for key, value in record["engines"].items()
            if value
        ]
        if named:
            items.append(("Engines", "; ".join(named)))
        for name in ("seeds", "packages"):
            items.append(
                (name.capitalize(), ", ".join(f"{key} {value}" for key, value in record[name].items()))
            )
        section.add(Bullets(items, sources=page.sources(study.tree.provenance)))
        inputs = _input_rows(record["inputs"])
        if inputs:
            section.add(
                frame_table(
                    pd.DataFrame(inputs),
                    "Inputs",
                    names={
                        "input": "Input",
                        "files": "Files",
                        "bytes": "Size",
                        "sha256": "SHA-256, first 16 digits",
                    },
                    caption="Tables: digest of all bytes. Images: one digest per column of the cohort sheet over every file's size "
                    "and first 4 KiB, in the order of people.",
                    sources=page.sources(study.tree.provenance),
                    folded=True,
                )
            )
    section.add(
        Code(
            "The whole configuration, defaults filled in",
            yaml.safe_dump(
                _plain(study.config), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
            ),
        )
    )
    return section


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _input_rows(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, digest in inputs.items():
        if name == "images":
            for column, group in digest.items():
                # when the cohort could not be read, a sentence replaces the groups
                if isinstance(group, dict) and (group["files"] or group["unreadable"]):
                    rows.append(
                        {
                            "input": f"images: {column}",
                            "files": int(group["files"]),
                            "bytes": _size(group["bytes"]),
                            "sha256": group["sha256"][:16],
                        }
                    )
        else:
            sha = digest["sha256"] or "not readable"
            rows.append({"input": name, "files": 1, "bytes": "", "sha256": sha[:16]})
    return rows


def _size(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{format_number(number)} {unit}"
        number /= 1000
    return f"{format_number(number)} TB"
