"""The check that precedes every run, and the tables that it writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from neurostrata.cohort.commands import study_of
from neurostrata.cohort.participation import EXCLUSION_COLUMNS, exclusions_table, subjects_table
from neurostrata.cohort.sheet import write_rows
from neurostrata.cohort.study import Study, load_study
from neurostrata.core.config import check_config, read_configuration
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG
from neurostrata.gate.problems import Problem, problem_table


def _find_problems(study: Study, cache: Path, **options: Any) -> list[Problem]:
    """Return all problems, and keep in `cache` what was learned of the files."""
    from neurostrata.gate.cache import FileCache
    from neurostrata.gate.check import find_problems

    files = FileCache(cache)
    problems = find_problems(study, files, **options)
    files.save()
    return problems


def _refuse(study: Study, problems: list[Problem]) -> None:
    """Raise all problems as one table, and write all of them to a file."""
    path = Path(study.config["output"]) / "cohort" / "problems.tsv"
    if not problems:
        path.unlink(missing_ok=True)
        return
    rows = [
        {"kind": p.kind, "subject": p.subject, "column": p.column, "problem": " ".join(p.text.split())}
        for p in problems
    ]
    write_rows(path, ["kind", "subject", "column", "problem"], rows)
    raise UserError(problem_table(problems, where=str(path)))


def check_cohort(
    *,
    settings: dict[str, Any],
    cache: Path,
    subjects: Path | None = None,
    exclusions: Path | None = None,
    seconds: float = 0.0,
    notes: Path | None = None,
) -> None:
    """Check everything that a study names and list all problems at once; write who takes part in what.

    Parameters
    ----------
    settings
        See :func:`neurostrata.cohort.commands.study_of`.
    cache
        JSON file with what is known of files from earlier checks.
    subjects, exclusions
        Where to write the tables; without them only the check is made.
    seconds
        Time for reading images to their end.
    notes
        Where to write remarks that are not problems, one per line.
    """
    from neurostrata.gate.phenotype_tables import unmatched_note

    study = study_of(settings)
    unread: list[str] = []
    _refuse(study, _find_problems(study, cache, seconds=seconds, unread=unread))
    if notes is not None:
        lines = [note for note in [unmatched_note(study)] if note]
        if unread:
            lines.append(
                f"{len(unread)} images have not been read to their end yet; the stages that use them do so, and "
                "`neurostrata check` does it now"
            )
        notes.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if subjects is not None:
        write_rows(subjects, *subjects_table(study))
    if exclusions is not None:
        write_rows(exclusions, EXCLUSION_COLUMNS, exclusions_table(study))


def _read_config(further: list[Path] | None) -> dict[str, Any]:
    """Return the checked configuration of the study in the working directory."""
    studys_own = Path("config/config.yaml")
    files = [DEFAULT_CONFIG]
    if studys_own.exists() and studys_own.resolve() != DEFAULT_CONFIG:
        files.append(studys_own)
    files += further or []
    return check_config(read_configuration(files), files)


def check(*, directory: Path = Path(), configfile: list[Path] | None = None, exclude: bool = False) -> None:
    """Check a study as every run does before its first job, and read all images to their end.

    Every problem of configuration, sheets, tables and images is listed, the ones to solve first on top. What is
    learned of the images is kept, so that the next run starts at once.

    Parameters
    ----------
    directory
        The study's folder.
    configfile
        Further configurations that override the study's own, as with snakemake's ``--configfile``.
    exclude
        Write problems of single people into the sheet of quality decisions (``qc``), so that the others go on: a person
        with an unusable T1w image is excluded from everything, one with another unusable image from what is made of it.
    """
    from neurostrata.gate.exclude import add_decisions, exclusion_rows
    from neurostrata.gate.phenotype_tables import unmatched_note

    os.chdir(directory)
    config = _read_config(configfile)
    cache = Path(config["output"]) / "cohort" / "headers.json"
    study = load_study(config)
    problems = _find_problems(study, cache)
    if exclude:
        rows = exclusion_rows(study, problems)
        if rows and not config["qc"]:
            raise UserError("there is no sheet of quality decisions to write to; set qc: config/qc.tsv")
        if rows:
            add_decisions(Path(config["qc"]), rows)
            study = load_study(config)
            problems = _find_problems(study, cache)
        people = len({row["subject"] for row in rows})
        print(f"neurostrata check: {len(rows)} decisions about {people} people written to {config['qc']}")
    _refuse(study, problems)
    note = unmatched_note(study)
    if note:
        print(f"neurostrata check: {note}", file=sys.stderr)
    print(f"neurostrata check: no problems ({len(study.people())} people)")
