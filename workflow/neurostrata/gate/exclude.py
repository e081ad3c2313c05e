"""Turning problems of single people, and suggested exclusions, into quality decisions. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from pathlib import Path

from neurostrata.cohort.decisions import kept
from neurostrata.cohort.ids import ID_COLUMNS
from neurostrata.cohort.sheet import QC_COLUMNS, Row
from neurostrata.cohort.sources.registry import columns_read
from neurostrata.cohort.study import Study
from neurostrata.cohort.values import MISSING
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.core.text_tables import read_text_table
from neurostrata.gate.problems import Problem

#: Columns of files that belong to the image in another column.
_BELONGS_TO = {"dwi_mask": "dwi", "bval": "dwi", "bvec": "dwi"}


def exclusion_rows(study: Study, problems: Iterable[Problem]) -> list[Row]:
    """Return the decisions, not made yet, that exclude people from what their problems concern.

    A person with an unusable T1w image is excluded from everything, the template included; a person with another
    unusable image from the modalities that are made of it.
    """
    decided = {(d["subject"], d["decision"], d["modality"]) for d in study.decisions}
    template, people = set(study.template_members()), set(study.people())
    rows: list[Row] = []
    for problem in problems:
        if problem.kind != "people" or not problem.subject:
            continue
        subject = problem.subject
        new: list[tuple[str, str]] = []
        if problem.column in ("t1w", "t1w_mask"):
            new += [("exclude_template", "")] if subject in template else []
            new += [("exclude", "")] if subject in people else []
        elif problem.modality:
            new += [("exclude", problem.modality)]
        else:
            column = _BELONGS_TO.get(problem.column, problem.column)
            made = [
                m
                for m in study.used_modalities()
                if column in columns_read(study.modalities[m], study.config)
            ]
            new += [("exclude", name) for name in dict.fromkeys(study.declared(m) for m in made)]
        reason = " ".join(problem.text.removeprefix(f"subject {subject}: ").replace('"', "'").split())[:300]
        for decision, modality in new:
            if (subject, decision, modality) in decided or (
                (subject, "exclude", "") in decided and decision == "exclude"
            ):
                continue
            decided.add((subject, decision, modality))
            rows.append(
                {
                    "subject": subject,
                    "modality": modality,
                    "decision": decision,
                    "reason": reason,
                    "date": date.today().isoformat(),
                }
            )
    return rows


def suggested_rows(study: Study, suggestions: Path, labels: Collection[str] | None = None) -> list[Row]:
    """Return the decisions, not made yet, that follow the suggestions of the last run.

    Parameters
    ----------
    study
        People and decisions. Whom somebody keeps is left alone.
    suggestions
        ``qc/suggested_exclusions.tsv``.
    labels
        The only people to exclude; None: everybody of whom it is suggested.

    Raises
    ------
    UserError
        When there is no such table.
    """
    if not suggestions.is_file():
        raise UserError(f"{suggestions}: is not there; run the study first: a run suggests whom to exclude")
    table = read_text_table(suggestions)
    # what one rater excludes and another keeps is theirs to settle
    silent = kept(study.decisions) | {
        (d["subject"], d["modality"]) for d in study.decisions if d["decision"] == "exclude"
    }
    reasons: dict[tuple[str, str], list[str]] = {}
    for subject, modality, reason in zip(
        table.column("subject"), table.column("modality"), table.column("reason")
    ):
        modality = "" if modality in MISSING else modality
        known = subject in study.rows and (labels is None or subject in labels)
        decided = study.excluded(subject, modality or None) or {(subject, ""), (subject, modality)} & silent
        if known and not decided:
            reasons.setdefault((subject, modality), []).append(reason)
    whole = {subject for subject, modality in reasons if not modality}
    return [
        {
            "subject": subject,
            "modality": modality,
            "decision": "exclude",
            "reason": " ".join(" ".join(said).replace('"', "'").split())[:300],
            "date": date.today().isoformat(),
        }
        for (subject, modality), said in reasons.items()
        if not modality or subject not in whole
    ]


def add_decisions(path: Path, rows: list[Row]) -> None:
    """Append rows to a sheet of quality decisions without changing a byte of what is there."""
    if path.exists():
        content = path.read_bytes()
        columns = read_text_table(path, comments=True).columns
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(f"{path}: this is UTF-16 text; save it as UTF-8 first")
    else:
        columns = list(QC_COLUMNS)
        content = ("\t".join(columns) + "\n").encode()
    header = next(
        line
        for line in content.decode("utf-8-sig").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    )
    separator = next((mark for mark in ("\t", ",", ";") if mark in header), "\t")
    end = b"\r\n" if b"\r\n" in content else b"\n"
    if content and not content.endswith((b"\n", b"\r")):
        content += end
    ids = next(name for name in ID_COLUMNS if name in columns)
    for row in rows:
        cells = {**row, ids: row["subject"]}
        line = separator.join(cells.get(column, "").replace(separator, " ") for column in columns)
        content += line.encode() + end
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
