"""Problems of the columns that a configuration names: labels, targets, and what is adjusted for. Standard library only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from neurostrata.cohort.columns import FEWEST_OF_CLASS, sheet_columns
from neurostrata.cohort.sheet import REGISTRATION_MEASURES, USUAL_NAMES
from neurostrata.cohort.study import Study
from neurostrata.cohort.values import ALWAYS_WORDS, MISSING_VALUES, judge, odd_cells_message
from neurostrata.core.config import adjusting_columns
from neurostrata.core.wording import nearest
from neurostrata.gate.phenotype_tables import PhenotypeTable, phenotype_variables
from neurostrata.gate.problems import Problem, few

_FACTOR = re.compile(r"factor_[0-9]+")


class _Columns:
    """The columns of the cohort sheet and of the phenotype tables, the sheet's first."""

    def __init__(self, study: Study, tables: list[PhenotypeTable]) -> None:
        self.study, self.tables = study, tables
        self.sheet = set(sheet_columns(study)) - {"subject"}
        self.phenotypes = {
            column for table in tables for column in table.table.columns if column != table.ids
        }
        self.all = self.sheet | self.phenotypes

    def cells(self, column: str) -> dict[str, str]:
        """Return subject -> cell; missing values are empty."""
        if column in self.sheet:
            cells = {subject: row.get(column, "") for subject, row in self.study.rows.items()}
        else:
            table = next(table for table in self.tables if column in table.table.columns)
            cells = table.cells(column)
        return {subject: "" if cell in MISSING_VALUES else cell for subject, cell in cells.items()}

    def unknown(self, place: str, column: str, kind: str = "configuration") -> Problem:
        """Return the problem that a column does not exist."""
        text = f"{place}: '{column}' is not a column of the cohort sheet or of the phenotype tables"
        return Problem(kind, text + nearest(column, self.all))

    def mixed(self, column: str, place: str) -> Iterator[Problem]:
        """Yield a problem when some cells of a column of numbers are not numbers."""
        if column in ALWAYS_WORDS or column not in self.all:
            return
        cells = self.cells(column)
        judged = judge(list(cells.values()))
        if judged.odd:
            subjects = list(cells)
            odd = {f"subject {subjects[n]}": cells[subjects[n]] for n in judged.odd}
            text = odd_cells_message(column, odd).partition("; correct")[0]
            yield Problem("phenotypes", f"{place}: {text}; correct or empty these cells")


def column_problems(study: Study, tables: list[PhenotypeTable]) -> Iterator[Problem]:
    """Yield the problems of every column that experiments and strata name.

    Parameters
    ----------
    tables
        All phenotype tables of the study.
    """
    columns = _Columns(study, tables)
    for name, experiment in study.experiments.items():
        label = experiment.get("label")
        if label:
            yield from _label_problems(study, name, label, columns)
        # only some models have the option
        for column in experiment["options"].get("validation_stratify_by", ()):
            if column not in columns.sheet:
                text = f"experiment {name}: options.validation_stratify_by: '{column}' is not a column of the cohort sheet"
                yield Problem("configuration", text + nearest(column, columns.sheet))
        for target in experiment["analyses"]["prediction"]:
            yield from _target_problems(study, name, target, columns)
    yield from _adjustment_problems(study, columns)
    yield from _strata_problems(study, columns)


def _label_problems(
    study: Study, name: str, label: Mapping[str, Any], columns: _Columns
) -> Iterator[Problem]:
    place, column = f"experiment {name}: label", label["column"]
    if column not in columns.sheet:
        text = (
            f"{place}.column: '{column}' is not a column of the cohort sheet{nearest(column, columns.sheet)}"
        )
        yield Problem("configuration", text)
        return
    values = Counter(row.get(column, "") for row in study.rows.values())
    del values[""]
    unknown = [value for value in label["classes"] if value not in values]
    if not unknown:
        members = Counter(study.rows[subject].get(column, "") for subject in study.experiment_members(name))
        rare = [value for value in label["classes"] if members[value] < FEWEST_OF_CLASS]
        if rare and sum(members.values()) >= FEWEST_OF_CLASS:
            text = (
                f"{place}: only {members[rare[0]]} people of class '{rare[0]}' take part in the experiment; at least "
                f"{FEWEST_OF_CLASS} are needed"
            )
            yield Problem("study", text)
    for value in unknown:
        known = few([repr(found) for found in values]) or "nothing"
        text = f"{place}.classes: nobody has '{value}' in column {column} (values: {known})"
        yield Problem("configuration", text + nearest(value, values))


def _target_problems(study: Study, name: str, target: str, columns: _Columns) -> Iterator[Problem]:
    """Check that what is predicted exists and has at least two values."""
    place = f"experiment {name}: analyses.prediction"
    if target == "factors" or (_FACTOR.fullmatch(target) and target not in columns.all):
        if not study.config["phenotypes"]["tables"]:
            text = f"{place}: '{target}' needs phenotypes.tables, which is empty; remove the target"
            yield Problem("configuration", text)
        return
    if target not in columns.all:
        text = f"{place}: '{target}' is not a column of the cohort sheet or of the phenotype tables"
        yield Problem("configuration", text + nearest(target, [*columns.all, "factors"]))
        return
    label = study.experiments[name].get("label")
    if label and label["column"] not in columns.sheet:
        return  # who takes part is not known
    cells, members = columns.cells(target), study.experiment_members(name)
    counts = Counter(cells.get(subject, "") for subject in members)
    del counts[""]
    number = len(counts) > 2 and target not in ALWAYS_WORDS and judge(list(counts)).kind == "number"
    if members and not number and sum(count >= FEWEST_OF_CLASS for count in counts.values()) < 2:
        yield Problem(
            "configuration",
            f"{place}: '{target}' has fewer than two values among the experiment's people (classes of fewer than "
            f"{FEWEST_OF_CLASS} people do not count); remove the target",
        )


def _adjustment_problems(study: Study, columns: _Columns) -> Iterator[Problem]:
    """Check that what predictions are adjusted for exists, differs between people and reveals no phenotype."""
    section = study.config["phenotypes"]
    variables = set(phenotype_variables(section, columns.phenotypes)) if section["tables"] else set()
    for name, experiment in study.experiments.items():
        for key, named in adjusting_columns(experiment).items():
            place = f"experiment {name}: analyses.{key}"
            for column in named:
                if column not in columns.all:
                    yield columns.unknown(place, column)
                elif key == "harmonise.sites":
                    if column in columns.sheet:
                        yield from _site_problems(study, name, column)
                elif column in variables:
                    yield Problem(
                        "configuration",
                        f"{place}: '{column}' is one of the variables that the phenotype factors are made of, which would "
                        f"leak into the test people's codes; add it to phenotypes.exclude, or remove it here",
                    )
                else:
                    yield from columns.mixed(column, place)


def _site_problems(study: Study, name: str, column: str) -> Iterator[Problem]:
    counts = Counter(study.rows[subject][column] for subject in study.experiment_members(name))
    large = [site for site, count in counts.items() if site and count > 3]
    if len(large) < 2:
        yield Problem(
            "configuration",
            f"experiment {name}: analyses.harmonise.sites: fewer than two sites of column '{column}' have more than 3 "
            "people; remove harmonise",
        )


def _strata_problems(study: Study, columns: _Columns) -> Iterator[Problem]:
    """Check that what the codes are adjusted for before clustering exists."""
    adjust = study.config["strata"]["adjust"]
    named = [] if adjust["columns"] == "auto" else list(adjust["columns"])
    known = set(columns.all)
    for measure in ("age", "sex"):
        found = [column for column in columns.all if column.lower() in USUAL_NAMES[measure]]
        known |= {measure} if found else set()
        if adjust["columns"] == "auto" or measure in named:
            for column in sorted(found):
                yield from columns.mixed(column, "strata.adjust.columns")
    known |= set(REGISTRATION_MEASURES)
    for key, listed in (("columns", named), ("sites", [adjust["sites"]] if adjust["sites"] else [])):
        for column in listed:
            if column not in known:
                yield Problem(
                    "configuration",
                    f"strata.adjust.{key}: '{column}' is not a column of the cohort sheet or of the phenotype tables, nor "
                    f"one of {', '.join(REGISTRATION_MEASURES)}{nearest(column, known)}",
                )
            elif key == "columns":
                yield from columns.mixed(column, f"strata.adjust.{key}")
