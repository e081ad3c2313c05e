"""What is worth a look in the phenotype tables though it is no mistake for certain. Standard library only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import yaml

from neurostrata.cohort.columns import characteristic_columns, sheet_columns
from neurostrata.cohort.sheet import FAMILY_NAMES, USUAL_NAMES
from neurostrata.cohort.study import Study, people_key
from neurostrata.cohort.values import MISSING_VALUES, is_number, judge
from neurostrata.core.wording import join_words
from neurostrata.gate.phenotype_tables import PhenotypeTable, phenotype_variables, read_tables
from neurostrata.gate.problems import few

#: Numbers that often stand for a missing value: repeated digits, and UK Biobank's "do not know" (-1) and "prefer not to answer" (-3).
_CODES = {
    f"{sign}{digits}{end}"
    for sign in ("", "-")
    for digits in ("1", "3", *(digit * length for digit in "789" for length in range(1, 6)))
    for end in ("", ".0", ".00")
    if sign or len(digits) > 1
}
#: With fewer other values nothing can be said of a code.
_FEWEST = 4
#: Numbers with groups of three digits, a per cent sign or a typographic minus, which are read as words.
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:[,' \u00a0\u2019\u202f][0-9]{3})+(?:\.[0-9]+)?")
_SIGNED = re.compile(r"(?P<minus>[\u2212\u2013])?[0-9]*[.,]?[0-9]+\s*(?P<percent>%)?")
#: Names of columns that seem to hold age or sex though they are not among the usual names: interview_age (NDA), AgeAtScan, fields
#: of UK Biobank.
_LIKE = {
    "age": re.compile(r"(?:.*[^A-Za-z])?(?:[Aa]ge(?![a-z])|AGE(?![A-Za-z])).*|(?:f\.|p)?21003(?:[-._].*)?"),
    "sex": re.compile(
        r"(?:.*[^A-Za-z])?(?:(?:[Ss]ex|[Gg]ender)(?![a-z])|SEX(?![A-Za-z])).*|(?:f\.|p)?31(?:[-._].*)?"
    ),
}
#: Scores that are freed of age, and ages of something else.
_OTHERWISE = re.compile("adj|corr|equiv|norm|onset|diagnos", re.IGNORECASE)


def _another_notation(cell: str) -> bool:
    match = _SIGNED.fullmatch(cell)
    return bool(_GROUPED.fullmatch(cell) or (match and (match["minus"] or match["percent"])))


def _present(table: PhenotypeTable, column: str) -> list[str]:
    """Return the cells of the study's people that are not missing."""
    return [cell for cell in table.cells(column).values() if cell not in MISSING_VALUES]


def _notation_note(table: PhenotypeTable, column: str, cells: Sequence[str]) -> str | None:
    """Name a column that is left out as words because of how its numbers are written."""
    odd = [cell for cell in cells if _another_notation(cell)]
    if not odd or sum(map(is_number, cells)) + len(odd) < len(cells):
        return None
    return (
        f"{table.path}: column {column} is left out, since its cells are no numbers as they are written "
        f"({few([repr(cell) for cell in dict.fromkeys(odd)], 3)}); write 1054.3 and -5.2, without signs for thousands and per cent"
    )


def _is_far(code: float, low: float, high: float) -> bool:
    """Tell whether a code is far from all other numbers of its column, which are between two bounds."""
    if code < 0 <= low:
        return code <= -7 or high > -2 * code  # -1 and -3 are near to small scores
    return code < 2 * low - high or code > max(2 * high - low, 1.5 * high)


def _far_codes(cells: Sequence[str]) -> Counter[str]:
    """Return numbers such as -999 that are far away from all others, with how often they occur."""
    codes = _CODES.intersection(cells)
    others = [float(cell) for cell in cells if cell not in codes and is_number(cell)] if codes else []
    if len(others) < _FEWEST:
        return Counter()
    far = {code for code in codes if _is_far(float(code), min(others), max(others))}
    return Counter(cell for cell in cells if cell in far)


def _code_note(path: str, far: Mapping[str, Counter[str]]) -> str:
    columns = [
        f"{column}: {join_words([f'{cell} ({number})' for cell, number in codes.most_common(3)])}"
        for column, codes in far.items()
    ]
    return (
        f"{path}: numbers that often stand for missing values are far from all others of their column ({few(columns)}); if they do, "
        "empty these cells"
    )


def _sheet_note(study: Study) -> str | None:
    """Name the columns of the sheet that describe people and hold codes of missing values."""
    cells = {
        column: [row[column] for row in study.rows.values() if row.get(column, "") not in MISSING_VALUES]
        for column in characteristic_columns(study)
    }
    far = {column: codes for column, known in cells.items() if (codes := _far_codes(known))}
    return _code_note(study.config["cohort"]["sheet"] or "the cohort", far) if far else None


def _family_note(study: Study, tables: Sequence[PhenotypeTable]) -> str | None:
    """Name a column of families that nothing reads, where people of the study are relatives by it."""
    if any(row.get("family") for row in study.rows.values()):
        return None
    source = people_key(study.config["cohort"])
    for table in tables:
        for column in table.table.columns:
            if column.lower() not in FAMILY_NAMES:
                continue
            relatives = sum(number for number in Counter(_present(table, column)).values() if number > 1)
            if relatives:
                remedy = {
                    "sheet": "copy it to a column 'family' of the cohort sheet",
                    "bids": "copy it to a column 'family' of participants.tsv",
                }.get(source, f"set cohort.columns: {{family: {column}}}")
                return f"{table.path}: by column {column} {relatives} people have relatives in the study, who count as unrelated; {remedy}"
    return None


def covariate_note(study: Study, tables: Sequence[PhenotypeTable]) -> str | None:
    """Name columns that seem to hold age or sex under a name that is not looked for."""
    if study.config["strata"]["adjust"]["columns"] != "auto":
        return None
    columns = dict.fromkeys(
        [*sheet_columns(study), *(c for table in tables for c in table.table.columns if c != table.ids)]
    )
    like: dict[str, list[str]] = {}
    for measure, pattern in _LIKE.items():
        if not any(column.lower() in USUAL_NAMES[measure] for column in columns):
            like[measure] = [c for c in columns if pattern.fullmatch(c) and not _OTHERWISE.search(c)]
    if not any(like.values()):
        return None
    lacking = [measure for measure, found in like.items() if found]
    named = [like[measure][0] if like.get(measure) else measure for measure in _LIKE]
    looks = join_words([few(like[measure], 3) for measure in lacking])
    known = [name for name in named if name in columns or name not in like]
    proposed = yaml.safe_dump(  # numbers of fields in quotation marks
        [*known, "head_size"], default_flow_style=True, allow_unicode=True, width=10**6
    ).strip()
    return (
        f"no column has a usual name of {join_words(lacking)}, for which nothing is adjusted then; {looks} may hold "
        f"{'it' if len(lacking) == 1 else 'them'}: set strata.adjust.columns: {proposed} (and "
        "phenotypes.exclude, where they are among the variables)"
    )


def phenotype_notes(study: Study) -> Iterator[str]:
    """Yield what a person should look at in the phenotype tables and in the sheet: codes for missing values, notations, families."""
    tables = read_tables(study, [])
    section = study.config["phenotypes"]
    columns = dict.fromkeys(c for table in tables for c in table.table.columns if c != table.ids)
    chosen = set(phenotype_variables(section, columns)) - set(section["coding"])
    for table in tables:
        far: dict[str, Counter[str]] = {}
        for column in table.table.columns:
            if column == table.ids or column not in chosen:
                continue
            cells = _present(table, column)
            if judge(cells).kind != "text":
                if codes := _far_codes(cells):
                    far[column] = codes
            elif note := _notation_note(table, column, cells):
                yield note
        if far:
            yield _code_note(table.path, far)
    if note := _sheet_note(study):
        yield note
    if note := _family_note(study, tables):
        yield note
    if note := covariate_note(study, tables):
        yield note
