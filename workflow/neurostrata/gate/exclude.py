"""Problems of single people as quality decisions, so that the others go on. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from neurostrata.cohort.sheet import QC_COLUMNS, Row
from neurostrata.cohort.study import Study, required_columns
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.core.text_tables import read_text_table
from neurostrata.gate.problems import Problem

#: What goes with an image, for each column of the sheet.
_WITH = {"dwi_mask": "dwi", "grad_dev": "dwi", "bval": "dwi", "bvec": "dwi"}


def exclusion_rows(study: Study, problems: Iterable[Problem]) -> list[Row]:
    """Return the decisions that leave people out of what their problems concern, those already made left out.

    A T1w image that cannot be used takes its person out of everything, the template included; any other image out of
    the modalities that are made of it.
    """
    decided = {(d["subject"], d["decision"], d["modality"]) for d in study.decisions}
    template, people = set(study.template_members()), set(study.people())
    rows: list[Row] = []
    for problem in problems:
        if problem.kind != "people" or not problem.subject:
            continue
        subject = problem.subject
        wanted: list[tuple[str, str]] = []
        if problem.column in ("t1w", "t1w_mask"):
            wanted += [("exclude_template", "")] if subject in template else []
            wanted += [("exclude", "")] if subject in people else []
        elif problem.modality:
            wanted += [("exclude", problem.modality)]
        else:
            column = _WITH.get(problem.column, problem.column)
            used = [m for m in study.used_modalities() if column in required_columns(study.modalities[m])]
            if problem.column == "grad_dev":
                used = [m for m in used if study.modalities[m]["from"] == "noddi"]
            wanted += [("exclude", name) for name in dict.fromkeys(study.declared(m) for m in used)]
        reason = " ".join(problem.text.removeprefix(f"subject {subject}: ").replace('"', "'").split())[:300]
        for decision, modality in wanted:
            if (subject, decision, modality) in decided or (
                (subject, "exclude", "") in decided and decision == "exclude"
            ):
                continue
            decided.add((subject, decision, modality))
            rows.append({"subject": subject, "modality": modality, "decision": decision, "reason": reason})
    return rows


def add_decisions(path: Path, rows: list[Row]) -> None:
    """Append rows to a sheet of quality decisions; what stands in it stays as it is, byte for byte."""
    if path.exists():
        content = path.read_bytes()
        columns = read_text_table(path, comments=True).columns
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(f"{path}: is UTF-16 text; save it as UTF-8 first")
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
    ids = next(name for name in ("subject", "participant_id", "Subject") if name in columns)
    for row in rows:
        cells = {**row, ids: row["subject"]}
        line = separator.join(cells.get(column, "").replace(separator, " ") for column in columns)
        content += line.encode() + end
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
