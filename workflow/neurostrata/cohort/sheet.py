"""The cohort sheet and the sheet of quality decisions. Standard library only."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from neurostrata.cohort.ids import ID_COLUMNS, find_id_column, subject_id
from neurostrata.cohort.values import MISSING
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.core.text_tables import TextTable, read_text_table

Row = dict[str, str]

#: Columns of the cohort sheet with facts about a person; others have paths of images, or numbers and words.
FACTS = ("subject", "template", "session", "site", "family", "diagnosis", "note")
#: Image and gradient columns with a fixed meaning.
IMAGES = ("t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask", "grad_dev")
#: exclude and exclude_template act, keep silences a suggestion, unsure does neither.
DECISIONS = ("exclude", "exclude_template", "keep", "unsure")
#: How names of images and gradients end; HCP's gradients are called bvals and bvecs.
_FILE_NAME = re.compile(r"(\.(nii|nii\.gz|img|hdr|mgz|mgh)|(^|[./])(bvals?|bvecs?))$", re.IGNORECASE)
QC_COLUMNS = ("subject", "modality", "decision", "reason")
#: Further columns of the quality decisions, which a sheet may lack: who decided, and when.
RATING_COLUMNS = ("rater", "date")

#: Usual names of columns of families (compared in lower case), the one that is read first.
FAMILY_NAMES = ("family", "family_id", "familyid", "rel_family_id")

#: Measures of each person from the registration to the template, for adjusting.
REGISTRATION_MEASURES = ("head_size", "image_quality")
#: Measure -> column names that it usually has (compared in lower case).
USUAL_NAMES = {
    "age": ("age", "age_in_yrs", "age_years"),
    "sex": ("sex", "gender"),
    "handedness": ("handedness",),
    "bmi": ("bmi", "body_mass_index"),
}


def read_rows(path: str | Path, comments: bool = False) -> tuple[list[str], list[Row]]:
    """Read a table of text cells strictly; words for missing values become empty cells, except in ids.

    Parameters
    ----------
    path
        TSV or CSV file (:mod:`neurostrata.core.text_tables`).
    comments
        Ignore lines that begin with ``#``.

    Returns
    -------
    columns : list of str
    rows : list of dict
        Each with every column.
    """
    table = read_text_table(path, comments)
    return table.columns, as_rows(table)


def as_rows(table: TextTable, columns: Iterable[str] | None = None) -> list[Row]:
    """Return the lines of a table as dictionaries, all columns or some."""
    names = table.columns if columns is None else list(columns)
    places = [(name, table.columns.index(name), name in ID_COLUMNS) for name in names]
    return [
        {name: "" if not ids and line[place] in MISSING else line[place] for name, place, ids in places}
        for line in table.cells
    ]


def write_rows(path: str | Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows of text cells as a TSV file, only the named columns."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(
            stream, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore", restval=""
        )
        writer.writeheader()
        writer.writerows(rows)


def _sheet_table(path: Path) -> tuple[TextTable, list[Row]]:
    """Read a sheet with its column of ids renamed to ``subject``."""
    table = read_text_table(path, comments=True)
    column = find_id_column(table.columns, None, str(path))
    rows = as_rows(table)
    for row in rows:
        row["subject"] = row.pop(column)
    columns = ["subject" if name == column else name for name in table.columns]
    return TextTable(columns, table.cells, table.lines), rows


def holds_files(rows: Iterable[Row], column: str) -> bool:
    """Tell whether a column has paths of images or gradients rather than ages or words (GE/MR750)."""
    return any(_FILE_NAME.search(row.get(column, "")) for row in rows)


def read_cohort_sheet(path: str | Path) -> tuple[list[str], list[Row]]:
    """Read the cohort sheet, sorted by subject.

    Parameters
    ----------
    path
        Table with a column ``subject`` (or ``participant_id``); lines that begin with ``#`` are comments. Relative image paths are relative to the sheet's folder.

    Returns
    -------
    columns : list of str
    rows : list of dict
        Ids without ``sub-``; image paths relative to the working directory (or absolute as given).

    Raises
    ------
    UserError
        All malformed ids, duplicates and template values at once, one line each.
    """
    path = Path(path)
    table, rows = _sheet_table(path)
    columns = table.columns
    problems: list[str] = []
    first_line: dict[str, int] = {}
    image_columns = [c for c in columns if c in IMAGES or (c not in FACTS and holds_files(rows, c))]
    for number, row in zip(table.lines, rows):
        try:
            row["subject"] = subject_id(row["subject"])
        except UserError as error:
            problems.append(f"{path}, line {number}: {error}")
            continue
        if row["subject"] in first_line:
            problems.append(
                f"{path}, line {number}: subject {row['subject']} has a row already, line "
                f"{first_line[row['subject']]}; keep one row per person (name the session used in 'session')"
            )
        first_line.setdefault(row["subject"], number)
        if row.get("template", "").lower() not in ("", "yes", "no"):
            problems.append(
                f"{path}, line {number}: subject {row['subject']}: template is '{row['template']}', expected yes or no"
            )
        for column in image_columns:
            if "{" in row[column] or "}" in row[column]:
                problems.append(
                    f"{path}, line {number}: subject {row['subject']}: {column}: {row[column]}: this path has braces, "
                    "which mean wildcards in a workflow; rename the file or link to it"
                )
            if row[column] and not Path(row[column]).is_absolute():
                row[column] = str(path.parent / row[column])
    if problems:
        raise UserError("\n".join(problems))
    if not rows:
        raise UserError(f"{path}: has no rows")
    return columns, sorted(rows, key=lambda row: row["subject"])


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def read_qc_sheet(path: str | Path) -> list[Row]:
    """Read the quality decisions: subject, modality (empty: all), decision, reason, and in some sheets rater and date.

    Raises
    ------
    UserError
        All malformed lines at once.
    """
    table, rows = _sheet_table(Path(path))
    columns = table.columns
    missing = [column for column in QC_COLUMNS if column not in columns]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} is missing (expected: {', '.join(QC_COLUMNS)})")
    problems = []
    for number, row in zip(table.lines, rows):
        try:
            row["subject"] = subject_id(row["subject"])
        except UserError as error:
            problems.append(f"{path}, line {number}: {error}")
        if row["decision"] not in DECISIONS:
            problems.append(
                f"{path}, line {number}: subject {row['subject']}: decision is '{row['decision']}', "
                f"expected one of {', '.join(DECISIONS)}"
            )
        if not row["reason"] and row["decision"] not in ("keep", "unsure"):
            problems.append(f"{path}, line {number}: subject {row['subject']}: the reason is missing")
        if row.get("date") and not _is_date(row["date"]):
            problems.append(
                f"{path}, line {number}: subject {row['subject']}: date is '{row['date']}', expected as in 2026-03-31"
            )
    if problems:
        raise UserError("\n".join(problems))
    return rows
