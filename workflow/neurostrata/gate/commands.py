"""The check that precedes every run, and the tables that it leaves."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from neurostrata.cohort.commands import study_of
from neurostrata.cohort.study import Study, load_study, write_group
from neurostrata.core.config import check_config, read_configuration
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG
from neurostrata.gate.problems import Problem, problem_table


def _refuse(study: Study, problems: list[Problem]) -> None:
    """Raise all problems as one table; a file has them all when they are many."""
    path = Path(study.config["output"]) / "cohort" / "problems.tsv"
    if not problems:
        path.unlink(missing_ok=True)
        return
    rows = [
        {"kind": p.kind, "subject": p.subject, "column": p.column, "problem": " ".join(p.text.split())}
        for p in problems
    ]
    write_group(path, ["kind", "subject", "column", "problem"], rows)
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
        JSON file with what is known of image headers.
    subjects, exclusions
        Where to write the tables; without them only the check is made.
    seconds
        How long images may be read to their end.
    notes
        Where to write what is worth knowing though it is no problem, one line each.
    """
    from neurostrata.gate.images import HeaderCache, find_problems
    from neurostrata.gate.names import unmatched_note

    study = study_of(settings)
    headers = HeaderCache(cache)
    unread: list[str] = []
    problems = find_problems(study, headers, seconds, unread)
    headers.save()
    _refuse(study, problems)
    if notes is not None:
        lines = [note for note in [unmatched_note(study)] if note]
        if unread:
            lines.append(
                f"{len(unread)} images have not been read to their end yet; the stages that use them do, and "
                "`neurostrata check` does it now"
            )
        notes.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if subjects is not None:
        facts = ["site", "family", "diagnosis", "session"]
        modalities = study.used_modalities()
        template = set(study.template_members())
        have = {modality: set(study.with_modality(modality)) for modality in modalities}
        rows = [
            {"subject": subject}
            | {fact: study.rows[subject].get(fact, "") or "n/a" for fact in facts}
            | {"template": "yes" if subject in template else "no"}
            | {modality: "yes" if subject in have[modality] else "no" for modality in modalities}
            for subject in study.people()
        ]
        write_group(subjects, ["subject", *facts, "template", *modalities], rows)
    if exclusions is not None:
        write_group(exclusions, ["subject", "modality", "stage", "reason"], study.exclusions())


def check(*, directory: Path = Path(), configfile: list[Path] | None = None, exclude: bool = False) -> None:
    """Check a study as every run does before its first job, and read all images to their end.

    Every problem of configuration, sheets, tables and images is listed, what to mend first on top. What is learned of
    the images is kept, so that the next run starts at once.

    Parameters
    ----------
    directory
        The study's folder.
    configfile
        Further configurations, laid over the study's own as with snakemake's ``--configfile``.
    exclude
        Write problems of single people into the sheet of quality decisions (``qc``), so that the others go on: who has
        an unusable T1w image is left out of everything, who has another unusable image of what is made of it.
    """
    from neurostrata.gate.exclude import add_decisions, exclusion_rows
    from neurostrata.gate.images import HeaderCache, find_problems
    from neurostrata.gate.names import unmatched_note

    os.chdir(directory)
    own = Path("config/config.yaml")
    files = [
        DEFAULT_CONFIG,
        *([own] if own.exists() and own.resolve() != DEFAULT_CONFIG else []),
        *(configfile or []),
    ]
    config = check_config(read_configuration(files))
    study = load_study(config)
    headers = HeaderCache(Path(config["output"]) / "cohort" / "headers.json")
    problems = find_problems(study, headers)
    headers.save()
    if exclude:
        rows = exclusion_rows(study, problems)
        if rows and not config["qc"]:
            raise UserError("there is no sheet of quality decisions to write to; set qc: config/qc.tsv")
        if rows:
            add_decisions(Path(config["qc"]), rows)
            study = load_study(config)
            problems = find_problems(study, headers)
            headers.save()
        people = len({row["subject"] for row in rows})
        print(f"neurostrata check: {len(rows)} decisions about {people} people written to {config['qc']}")
    _refuse(study, problems)
    note = unmatched_note(study)
    if note:
        print(f"neurostrata check: {note}", file=sys.stderr)
    print(f"neurostrata check: no problems ({len(study.people())} people)")
