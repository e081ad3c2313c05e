"""Which columns of the cohort sheet and the phenotype tables describe people, are predicted, or are adjusted for.

Standard library only: used while the workflow is parsed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from neurostrata.cohort.ids import ID_COLUMNS
from neurostrata.cohort.sheet import USUAL_NAMES, Row, as_rows
from neurostrata.cohort.study import Study
from neurostrata.cohort.values import ALWAYS_WORDS
from neurostrata.core.config import adjusting_columns
from neurostrata.core.text_tables import read_text_table

#: Classes of fewer people than this are not predicted: no fold could be trained on them.
FEWEST_OF_CLASS = 5


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def sheet_columns(study: Study) -> dict[str, None]:
    """Return the columns of the cohort sheet, in their order."""
    return dict.fromkeys(column for row in study.rows.values() for column in row)


def _in_sheet(study: Study, columns: Iterable[str]) -> list[str]:
    known = sheet_columns(study)
    return [column for column in dict.fromkeys(columns) if column in known]


def target_columns(study: Study, experiment: str) -> list[str]:
    """Return the sheet columns that an experiment predicts or learns from."""
    label = study.experiments[experiment]["label"]
    predicted = study.experiments[experiment]["analyses"]["prediction"]
    return _in_sheet(study, [*([label["column"]] if label else []), *predicted])


def covariate_columns(study: Study, experiment: str) -> list[str]:
    """Return the sheet columns that an experiment's predictions are adjusted for."""
    adjusting = adjusting_columns(study.experiments[experiment])
    return _in_sheet(study, [column for columns in adjusting.values() for column in columns])


def class_columns(study: Study, experiment: str) -> list[str]:
    """Return an experiment's targets in the sheet that have two classes, its label first.

    A class is a value of at least :data:`FEWEST_OF_CLASS` people.
    """
    label = study.experiments[experiment]["label"]
    found = [label["column"]] if label else []
    members = study.experiment_members(experiment)
    for column in target_columns(study, experiment):
        counts = Counter(study.rows[subject].get(column, "") for subject in members)
        counts.pop("", None)
        classes = [value for value, count in counts.items() if count >= FEWEST_OF_CLASS]
        # a column of more than two different numbers is a number, however rare some of them are
        number = len(counts) > 2 and column not in ALWAYS_WORDS and all(map(_is_number, counts))
        if len(classes) == 2 and not number:
            found.append(column)
    return list(dict.fromkeys(found))


def _describes_people(config: Mapping[str, Any], column: str) -> bool:
    """Tell whether a column has age or sex, or is one that the codes are adjusted for before clustering."""
    adjust = config["strata"]["adjust"]
    named = [adjust["sites"], *(adjust["columns"] if adjust["columns"] != "auto" else [])]
    return column in named or column.lower() in (*USUAL_NAMES["age"], *USUAL_NAMES["sex"])


def characteristic_columns(study: Study) -> list[str]:
    """Return the sheet columns that describe people: age, sex and what the codes are adjusted for before clustering."""
    others = ("subject", "family", "site", "diagnosis")
    return [c for c in sheet_columns(study) if c not in others and _describes_people(study.config, c)]


def characteristics_in_tables(study: Study) -> list[tuple[str, list[str], list[Row]]]:
    """Return each phenotype table's path, the columns that describe people (ids first), and its rows."""
    section, found = study.config["phenotypes"], []
    for path in section["tables"]:
        table = read_text_table(path)
        names = [section["id_column"]] if section["id_column"] else ID_COLUMNS
        ids = [column for column in names if column in table.columns][:1]
        used = [c for c in table.columns if c not in ids and _describes_people(study.config, c)]
        if used:
            found.append((path, [*ids, *used], as_rows(table, [*ids, *used])))
    return found
