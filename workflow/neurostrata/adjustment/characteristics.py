"""The table of people's characteristics: family, site, diagnosis, age, sex, head size, image quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from neurostrata.cohort.sheet import USUAL_NAMES
from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.config import named_columns
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table
from neurostrata.phenotypes.covariates import find_columns
from neurostrata.phenotypes.tables import join_tables

#: Column -> key in the sidecar of a person's affine, and what it holds.
MEASURES = {
    "head_size": (
        "AffineDeterminant",
        "volume of the head relative to the template's: determinant of the affine from template to person",
    ),
    "image_quality": (
        "SimilarityToTemplate",
        "correlation of the registered T1w image with the template inside the brain",
    ),
}
#: Columns that are text even where they look like numbers.
WORDS = ("subject", *ALWAYS_WORDS)


def read_characteristics(path: Path) -> pd.DataFrame:
    """Read the table of people's characteristics, indexed by subject."""
    return read_table(path, text=WORDS).set_index("subject")


def usual_column(measure: str, tables: Sequence[tuple[str, pd.DataFrame]]) -> tuple[str, pd.Series] | None:
    """Return the table (its name) and the column that has a measure under one of its usual names; None without such a column.

    Parameters
    ----------
    measure
        ``age`` or ``sex``.
    tables
        Name and table, indexed by subject, in order of precedence: the first table that has the measure is used.

    Raises
    ------
    UserError
        When one table has the measure under two names.
    """
    for name, table in tables:
        found = [c for c in table if str(c).lower() in USUAL_NAMES[measure] and table[c].notna().any()]
        if len(found) > 1:
            raise UserError(
                f"{name}: columns {' and '.join(map(repr, found))} both look like {measure}; name those to use in "
                "strata.adjust.columns"
            )
        if found:
            return name, table[found[0]]
    return None


def gather_characteristics(
    sheet: tuple[str, pd.DataFrame],
    tables: Sequence[tuple[str, pd.DataFrame]],
    registrations: Mapping[str, Mapping[str, Any]],
    adjust: Mapping[str, Any],
    id_column: str | None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Gather everybody's characteristics from the cohort sheet, the phenotype tables and the registrations.

    Parameters
    ----------
    sheet
        Name, and the columns of the cohort sheet that describe people, indexed by subject.
    tables
        Name and phenotype table as read, for columns that the sheet lacks.
    registrations
        Subject -> sidecar of the person's affine, which has :data:`MEASURES`.
    adjust
        Section `strata`, key `adjust`: each column that it names is gathered too.
    id_column
        The id column of the phenotype tables; None looks for the usual names.

    Returns
    -------
    table : DataFrame
        Index: the subjects of the sheet.
    columns : dict
        Column -> what it holds.
    """
    people = sheet[1]
    named = [column for column in named_columns(adjust) if column not in MEASURES]
    usual = {name for measure in ("age", "sex") for name in USUAL_NAMES[measure]}
    sources = [sheet]
    for name, frame in tables:
        used = [c for c in frame if c in named or str(c).lower() in usual]
        if used:
            sources.append((name, join_tables([(name, frame)], list(people.index), used, id_column).values))
    table = pd.DataFrame(index=people.index)
    columns = {"subject": "person"}
    for column in ("family", "site", "diagnosis"):
        table[column], columns[column] = people[column], f"{column}, of the cohort sheet"
    for measure in ("age", "sex"):
        known = usual_column(measure, sources)
        if known is not None:
            table[measure], columns[measure] = known[1], f"column {known[1].name} of {Path(known[0]).name}"
    for measure, (key, meaning) in MEASURES.items():
        values = {subject: facts.get(key) for subject, facts in registrations.items()}
        table[measure] = pd.Series(values, dtype=float).reindex(table.index)
        columns[measure] = meaning
    rest = [name for name in dict.fromkeys(named) if name not in table]
    if rest:
        table = table.join(find_columns(rest, [frame for _, frame in sources], "strata.adjust"))
        columns |= dict.fromkeys(rest, "as in the cohort sheet or the phenotype tables")
    return table, columns
