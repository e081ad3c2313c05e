"""What `init` says of a study: what was found, what was not used, how long and how large it will be, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurostrata.beginning.configuration import Phenotypes
from neurostrata.beginning.findings import Findings
from neurostrata.beginning.study_folder import CONFIG
from neurostrata.beginning.tables import PeopleTable
from neurostrata.cohort.sheet import IMAGES, Row
from neurostrata.cohort.study import Study
from neurostrata.core.wording import count
from neurostrata.gate.headers import read_facts
from neurostrata.planning.cost import Images, cost_of, images_like, in_words, jobs_of, total

#: Experiments and unused things that are listed.
_SHOWN = 8


@dataclass
class Begun:
    """A study as it will be written.

    Attributes
    ----------
    files
        Path in the study's folder -> text.
    study
        Its people and configuration.
    phenotypes
        Its tables.
    why
        Why its experiments are not the recommended ones.
    undecided
        What only a person can decide before it is planned.
    """

    files: dict[str, str]
    study: Study
    phenotypes: Phenotypes
    why: list[str]
    undecided: list[str]


def _images_like(rows: Sequence[Row]) -> Images:
    """Return what the images are like, by the headers of the first five people."""
    paths = {row[column] for row in rows[:5] for column in ("t1w", "dwi") if row.get(column)}
    headers = {path: read_facts(path, Path(path).stat().st_size) for path in paths if Path(path).is_file()}
    return images_like(rows[:5], {path: facts for path, facts in headers.items() if "affine" in facts})


def summary(
    findings: Findings, begun: Begun, study: Path, folder: Path, kept: Sequence[str]
) -> Iterator[str]:
    """Yield what a person wants to know: found, not used, the study, what to do next."""
    yield f"found in {folder}"
    yield f"  {findings.layout}"
    if "bids" not in findings.cohort:  # where the notes say it, with the datasets
        yield f"  {_images(findings.rows)}"
    for note in findings.notes:
        yield f"  {note}"
    yield from (f"  phenotypes: {_table(table)}" for table in begun.phenotypes.tables)
    yield from (f"  a table, perhaps phenotypes: {_table(table)}" for table in begun.phenotypes.candidates)
    if findings.unused:
        yield "not used"
        yield from (f"  {line}" for line in findings.unused[:_SHOWN])
        if len(findings.unused) > _SHOWN:
            yield f"  ... and {len(findings.unused) - _SHOWN} more"
    yield f"the study, {study / CONFIG}"
    experiments = list(begun.study.experiments.items())
    for name, experiment in experiments[:_SHOWN]:
        members = len(begun.study.experiment_members(name))
        yield f"  experiment {name}: {experiment['model']} on {', '.join(_shortened(experiment['modalities']))}, {count(members, 'person', 'people')}"
    if len(experiments) > _SHOWN:
        yield f"  ... and {count(len(experiments) - _SHOWN, 'more experiment')}"
    yield from (f"  {reason}" for reason in begun.why)
    if not begun.phenotypes.tables:
        yield "  no table of phenotypes: strata are found, but not compared (--table, or phenotypes.tables)"
    cost = total(cost_of(begun.study, jobs_of(begun.study), _images_like(findings.rows)))
    yield f"  {in_words(cost)}"
    if kept:
        yield f"kept from before: {', '.join(kept)}"
    place = shlex.quote(str(study))
    if begun.undecided:
        yield "only you can decide, before it is planned"
        yield from (f"  {line}" for line in begun.undecided)
    yield "next"
    yield f"  neurostrata run {place} -n    # what would be done"
    yield f"  neurostrata run {place}       # do it"
    yield f"or, after cd {place}: snakemake -n; snakemake --cores 8; snakemake --profile slurm"


def _table(table: PeopleTable) -> str:
    return f"{table.path} ({len(table.matched)} people, {count(len(table.variables), 'variable')})"


def _shortened(names: Sequence[str]) -> list[str]:
    return [*names] if len(names) < 7 else [*names[:2], "...", names[-1]]


def _images(rows: Sequence[Row]) -> str:
    there = dict.fromkeys(column for row in rows for column, cell in row.items() if cell.startswith("/"))
    columns = [c for c in (*IMAGES, *(c for c in there if c not in IMAGES)) if c in there]
    numbers = [f"{column} {sum(bool(row.get(column)) for row in rows)}" for column in columns]
    persons = len({row.get("person", row["subject"]) for row in rows})
    scans = f" in {len(rows)} scans" if len(rows) != persons else ""
    return f"{count(persons, 'person', 'people')}{scans}: {', '.join(numbers)}"
