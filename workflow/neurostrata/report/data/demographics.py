"""The demographics table (Table 1 of Dimitri 2022) and the counts of people by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neurostrata.cohort.ids import ID_COLUMNS
from neurostrata.cohort.sheet import USUAL_NAMES
from neurostrata.phenotypes.tables import normalise_ids
from neurostrata.report.html.blocks import format_number

HEADINGS = {"age": "Age (years)", "handedness": "Handedness (score)", "bmi": "BMI (kg/m²)"}


def keyed(table: pd.DataFrame, id_column: str | None = None) -> pd.DataFrame | None:
    """Return a phenotype table with the subject (text, without ``sub-``) as index, or None without an id column."""
    for column in (id_column,) if id_column else ID_COLUMNS:
        if column in table:
            keyed_table = table.drop(columns=column)
            keyed_table.index = pd.Index(normalise_ids(table[column]), name="subject")
            return keyed_table[~keyed_table.index.duplicated()]
    return None


def find_column(
    tables: Sequence[pd.DataFrame], measure: str, configured: str | None = None
) -> pd.Series | None:
    """Return a measure's column from the first table that has it.

    Parameters
    ----------
    tables
        Indexed by subject.
    measure
        A key of :data:`USUAL_NAMES`.
    configured
        The column's name if the configuration gives it; else the usual names are tried, capitals ignored.
    """
    wanted = (configured.lower(),) if configured else USUAL_NAMES[measure]
    for name in wanted:
        for table in tables:
            for column in table.columns:
                if str(column).lower() == name and table[column].notna().any():
                    return table[column]
    return None


def _sex_label(value: object) -> str:
    text = str(value).strip()
    known = {"f": "Females", "female": "Females", "m": "Males", "male": "Males"}
    if text.lower() in known:
        return known[text.lower()]
    return f"sex = {text.removesuffix('.0')}" if text.lower() not in ("nan", "n/a", "") else "sex not known"


def demographics_table(
    subjects: Sequence[str],
    tables: Sequence[pd.DataFrame],
    configured: Mapping[str, str | None],
) -> pd.DataFrame | None:
    """Return Table 1: median ± standard deviation of age, handedness and BMI by sex.

    Parameters
    ----------
    subjects
        The people of the cohort.
    tables
        Cohort and phenotype tables, indexed by subject.
    configured
        Measure -> column name, null for the usual ones (section `report.demographics`).

    Returns
    -------
    DataFrame or None
        One row per sex and one for everybody; columns ``group``, ``n`` and the measures that exist. A cell says of how
        many people, where not all have the value. None when no measure exists.
    """
    index = pd.Index([str(subject) for subject in subjects], name="subject")
    columns: dict[str, pd.Series] = {}
    for measure in USUAL_NAMES:
        column = find_column(tables, measure, configured[measure])
        if column is not None:
            columns[measure] = column.reindex(index)
    measures = {}
    for measure in HEADINGS:
        if measure in columns:
            numbers = pd.to_numeric(columns[measure], errors="coerce")
            if numbers.notna().any():
                measures[measure] = numbers
            elif columns[measure].notna().any():  # such as HCP's age bins "26-30"
                measures[measure] = columns[measure].astype("string")
    if not measures and "sex" not in columns:
        return None
    groups: list[tuple[str, pd.Index]] = []
    if "sex" in columns:
        labels = columns["sex"].map(_sex_label, na_action=None)
        groups = [
            (str(label), labels.index[labels == label]) for label in sorted(labels.unique(), reverse=True)
        ]
    groups.append(("Everybody", index))
    rows = []
    for label, people in groups:
        row: dict[str, object] = {"group": label, "n": len(people)}
        for measure, values in measures.items():
            row[HEADINGS[measure]] = _summary(values.loc[people].dropna(), len(people))
        rows.append(row)
    return pd.DataFrame(rows)


def _summary(values: pd.Series, people: int) -> str:
    if values.empty:
        return "n/a"
    if pd.api.types.is_string_dtype(values):
        counts = values.value_counts().sort_index()
        text = "; ".join(f"{name}: {n}" for name, n in counts.items())
    elif len(values) == 1:
        text = format_number(values.iloc[0], 4)
    else:
        text = f"{values.median():.2f} ± {values.std(ddof=1):.2f}".replace("-", "−")
    return text if len(values) == people else f"{text} (of {len(values)})"


def availability(
    subjects: Sequence[str], having: Mapping[str, set[str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count the people who have each modality.

    Parameters
    ----------
    subjects
        The people of the cohort.
    having
        Modality -> the people who have it.

    Returns
    -------
    per_modality : DataFrame
        modality, people, lacking.
    per_person : DataFrame
        How many people have 0, 1, 2, ... of the modalities: modalities, people.
    """
    everybody = [str(subject) for subject in subjects]
    rows = [
        {
            "modality": name,
            "people": sum(s in have for s in everybody),
            "lacking": sum(s not in have for s in everybody),
        }
        for name, have in having.items()
    ]
    counts = pd.Series(
        [sum(s in have for have in having.values()) for s in everybody], dtype=int
    ).value_counts()
    per_person = pd.DataFrame(
        [{"modalities": n, "people": int(counts[n])} for n in sorted(counts.index, reverse=True)],
        columns=["modalities", "people"],
    )
    return pd.DataFrame(rows, columns=["modality", "people", "lacking"]), per_person
