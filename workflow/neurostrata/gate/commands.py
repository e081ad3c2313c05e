"""The check that precedes every run, and the tables that it writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurostrata.cohort.commands import study_of
from neurostrata.cohort.participation import EXCLUSION_COLUMNS, exclusions_table, subjects_table
from neurostrata.cohort.sheet import Row, write_rows
from neurostrata.cohort.study import Study, load_study
from neurostrata.core.config import check_config, read_configuration, study_files
from neurostrata.core.errors import UserError
from neurostrata.core.wording import count, nearest
from neurostrata.gate.problems import Problem, few, problem_table


def _find_problems(study: Study, cache: Path, whole: bool = True, **options: Any) -> list[Problem]:
    """Return all problems, and keep in `cache` what was learned of the files (of a part of the study, if not `whole`)."""
    from neurostrata.gate.cache import FileCache
    from neurostrata.gate.check import find_problems

    files = FileCache(cache)
    problems = find_problems(study, files, **options)
    files.save(whole)
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


def _notes(study: Study) -> list[str]:
    """Return what a person should know of the sheets and tables, though it is no problem."""
    from neurostrata.gate.phenotype_tables import missing_code_notes, unmatched_note
    from neurostrata.gate.unread_columns import unread_notes

    note = unmatched_note(study)
    return [*unread_notes(study), *([note] if note else []), *missing_code_notes(study)]


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
    study = study_of(settings)
    unread: list[str] = []
    of_images: list[str] = []
    _refuse(study, _find_problems(study, cache, seconds=seconds, unread=unread, notes=of_images))
    if notes is not None:
        lines = [*_notes(study), *of_images]
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


def _checked(
    config: dict[str, Any], cache: Path, labels: list[str] | None, notes: list[str]
) -> tuple[Study, list[Problem]]:
    """Return a study and its problems; of some people alone: a study of them, and the problems of their own files.

    `notes` is filled with what a person should know of the images.
    """
    study = load_study(config)
    notes.clear()
    if labels is None:
        return study, _find_problems(study, cache, notes=notes)
    asked = [label.removeprefix("sub-") for label in labels]
    if unknown := [label for label in asked if label not in study.rows]:
        raise UserError(
            f"--participant-label: not in this study: {few(unknown)}{nearest(unknown[0], study.rows)}"
        )
    some = Study(config, [study.rows[label] for label in asked], study.decisions)
    return some, [problem for problem in _find_problems(some, cache, whole=False) if problem.subject in asked]


def _suggestions(config: Mapping[str, Any]) -> Path:
    # the paths of results are in `planning`, which is above this package
    return Path(config["output"]) / "qc" / "suggested_exclusions.tsv"


def _write_decisions(config: Mapping[str, Any], rows: list[Row]) -> bool:
    """Add decisions to the sheet, say how many, and return whether there are any."""
    from neurostrata.gate.exclude import add_decisions

    if rows and not config["qc"]:
        raise UserError("there is no sheet of quality decisions to write to; set qc: config/qc.tsv")
    if rows:
        add_decisions(Path(config["qc"]), rows)
    people = count(len({row["subject"] for row in rows}), "person", "people")
    print(f"neurostrata check: {count(len(rows), 'decision')} about {people} written to {config['qc']}")
    return bool(rows)


def check(
    *,
    directory: Path = Path(),
    configfile: list[Path] | None = None,
    participant_label: list[str] | None = None,
    exclude: bool = False,
    exclude_suggested: bool = False,
) -> None:
    """Check a study as every run does before its first job, and read all images to their end.

    Every problem of configuration, sheets, tables and images is listed, the ones to solve first on top. What is
    learned of the images is kept, so that the next run starts at once.

    Parameters
    ----------
    directory
        The study's folder.
    configfile
        Further configurations that override the study's own, as with snakemake's ``--configfile``.
    participant_label
        Look at the files of these people only (01 or sub-01), and at nothing that concerns the study as a whole.
    exclude
        Write problems of single people into the sheet of quality decisions (``qc``), so that the others go on: a person
        with an unusable T1w image is excluded from everything, one with another unusable image from what is made of it.
    exclude_suggested
        Write the exclusions that the last run suggests because of measured quality (``qc/suggested_exclusions.tsv`` in the
        results) into the sheet of quality decisions, after listing them; of all people, or of those that
        ``--participant-label`` names. Whom a line of the sheet keeps is left alone.
    """
    from neurostrata.gate.exclude import exclusion_rows, suggested_rows

    files = [path.resolve() for path in study_files(directory, configfile or [])]
    os.chdir(directory)
    config = check_config(read_configuration(files), files)
    cache = Path(config["output"]) / "cohort" / "headers.json"
    of_images: list[str] = []
    study, problems = _checked(config, cache, participant_label, of_images)
    if exclude and _write_decisions(config, exclusion_rows(study, problems)):
        study, problems = _checked(config, cache, participant_label, of_images)
    if exclude_suggested:
        # the whole cohort, of which the suggestions are
        rows = suggested_rows(
            load_study(config), _suggestions(config), None if participant_label is None else list(study.rows)
        )
        for row in rows:
            of = f", {row['modality']}" if row["modality"] else ""
            print(f"neurostrata check: exclude {row['subject']}{of}: {row['reason']}")
        if _write_decisions(config, rows):
            study, problems = _checked(config, cache, participant_label, of_images)
    for remark in study.remarks:
        print(f"neurostrata check: {remark}", file=sys.stderr)
    if participant_label is None:
        _refuse(study, problems)
        for note in [*_notes(study), *of_images]:
            print(f"neurostrata check: {note}", file=sys.stderr)
    elif problems:  # the table of all problems stays as it is
        raise UserError(problem_table(problems))
    print(f"neurostrata check: no problems ({count(len(study.people()), 'person', 'people')})")
