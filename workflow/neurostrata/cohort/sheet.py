"""Reading the cohort sheet and the sheet of quality decisions. Standard library only."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from neurostrata.core.errors import UserError

Row = dict[str, str]

_SUBJECT = re.compile(r"^(sub-)?([A-Za-z0-9]+)$")
#: Columns of the cohort sheet that are not images; others hold paths, or numbers and words.
FACTS = ("subject", "template", "session", "site", "family", "diagnosis", "note")
#: Image and gradient columns with a fixed meaning.
IMAGES = ("t1w", "t1w_mask", "dwi", "bval", "bvec", "dwi_mask", "grad_dev")
DECISIONS = ("exclude", "exclude_template")
#: How file names of images end.
_IMAGE_NAME = re.compile(r"\.(nii|nii\.gz|img|hdr|mgz)$", re.IGNORECASE)
_QC_COLUMNS = ("subject", "modality", "decision", "reason")
_MISSING = {"", "n/a", "N/A", "NA"}

#: Names of a phenotype table's column of ids when none is configured: ours, BIDS's, HCP's.
ID_COLUMNS = ("subject", "participant_id", "Subject")
#: What the registration to the template says of each person, for adjusting.
REGISTRATION_MEASURES = ("head_size", "image_quality")
#: Measure -> column names that it usually has (compared in lower case).
USUAL_NAMES = {
    "age": ("age", "age_in_yrs", "age_years"),
    "sex": ("sex", "gender"),
    "handedness": ("handedness",),
    "bmi": ("bmi", "body_mass_index"),
}


def subject_id(text: str) -> str:
    """Return a subject id without its ``sub-`` prefix, removed once.

    Raises
    ------
    UserError
        When the id is not letters and digits only.
    """
    match = _SUBJECT.match(text.strip())
    if not match:
        raise UserError(f"subject '{text}': an id has letters and digits only (a leading 'sub-' is allowed)")
    return match.group(2)


def read_rows(path: str | Path) -> tuple[list[str], list[Row]]:
    """Read a TSV (or, by its suffix, CSV) file of text cells; missing-value words become empty cells.

    Returns
    -------
    columns : list of str
    rows : list of dict
        Each with every column.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter="," if path.suffix.lower() == ".csv" else "\t")
            lines = [line for line in reader if any(cell.strip() for cell in line)]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is not a readable table ({error})") from error
    if not lines:
        raise UserError(f"{path}: is empty; it needs a line of column names")
    columns = [cell.strip() for cell in lines[0]]
    if len(set(columns)) != len(columns):
        raise UserError(f"{path}: a column name stands twice in {', '.join(columns)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) > len(columns):
            raise UserError(
                f"{path}, line {number}: {len(line)} cells for {len(columns)} columns (tabs wanted)"
            )
        cells = [cell.strip() for cell in line] + [""] * (len(columns) - len(line))
        rows.append({c: "" if cell in _MISSING else cell for c, cell in zip(columns, cells, strict=True)})
    return columns, rows


def _holds_paths(rows: list[Row], column: str) -> bool:
    """Tell whether a column of the user's own has images rather than ages or the like."""
    return any("/" in row[column] or _IMAGE_NAME.search(row[column]) for row in rows)


def read_cohort_sheet(path: str | Path) -> tuple[list[str], list[Row]]:
    """Read the cohort sheet, sorted by subject.

    Parameters
    ----------
    path
        TSV with a ``subject`` column. Relative image paths are relative to the sheet's folder.

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
    columns, rows = read_rows(path)
    if "subject" not in columns:
        raise UserError(f"{path}: has no column 'subject' (found: {', '.join(columns)})")
    problems: list[str] = []
    first_line: dict[str, int] = {}
    image_columns = [c for c in columns if c in IMAGES or (c not in FACTS and _holds_paths(rows, c))]
    for number, row in enumerate(rows, start=2):
        try:
            row["subject"] = subject_id(row["subject"])
        except UserError as error:
            problems.append(f"{path}, line {number}: {error}")
            continue
        if row["subject"] in first_line:
            problems.append(
                f"{path}, line {number}: subject {row['subject']} stands already in line "
                f"{first_line[row['subject']]}; one row per person (name the session used in 'session')"
            )
        first_line.setdefault(row["subject"], number)
        if row.get("template", "").lower() not in ("", "yes", "no"):
            problems.append(
                f"{path}, line {number}: subject {row['subject']}: template is '{row['template']}', not yes or no"
            )
        for column in image_columns:
            if row[column] and not Path(row[column]).is_absolute():
                row[column] = str(path.parent / row[column])
    if problems:
        raise UserError("\n".join(problems))
    if not rows:
        raise UserError(f"{path}: lists nobody")
    return columns, sorted(rows, key=lambda row: row["subject"])


def read_qc_sheet(path: str | Path) -> list[Row]:
    """Read the quality decisions: subject, modality (empty: all), decision, reason.

    Raises
    ------
    UserError
        All malformed lines at once.
    """
    columns, rows = read_rows(path)
    missing = [column for column in _QC_COLUMNS if column not in columns]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} is missing (wanted: {', '.join(_QC_COLUMNS)})")
    problems = []
    for number, row in enumerate(rows, start=2):
        try:
            row["subject"] = subject_id(row["subject"])
        except UserError as error:
            problems.append(f"{path}, line {number}: {error}")
        if row["decision"] not in DECISIONS:
            problems.append(
                f"{path}, line {number}: subject {row['subject']}: decision is '{row['decision']}', "
                f"not one of {', '.join(DECISIONS)}"
            )
        if not row["reason"]:
            problems.append(f"{path}, line {number}: subject {row['subject']}: a reason is missing")
    if problems:
        raise UserError("\n".join(problems))
    return rows
