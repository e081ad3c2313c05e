"""Everything that the configuration names in sheets and tables exists and makes sense. Standard library only."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neurostrata.cohort.ids import find_id_column, match_ids, plain_id
from neurostrata.cohort.sheet import REGISTRATION_MEASURES, USUAL_NAMES
from neurostrata.cohort.study import FEWEST_OF_CLASS, Study
from neurostrata.cohort.values import MISSING_VALUES, is_number, judge, odd_cells_message
from neurostrata.core.config import adjusting_columns
from neurostrata.core.errors import UserError
from neurostrata.core.locations import RESOURCES
from neurostrata.core.text_tables import TextTable, read_text_table
from neurostrata.gate.problems import Problem, few

_HCP_VARIABLES = RESOURCES / "hcp_phenotypes.tsv"
#: Columns that are classes even where they look like numbers.
_WORDS = ("site", "family", "session", "diagnosis")
_FACTOR = re.compile(r"factor_[0-9]+")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the names that look like one that does not exist."""
    names = list(dict.fromkeys(known))
    lower = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(lower[other]) for other in close)}?" if close else ""


@dataclass
class PhenotypeTable:
    """A phenotype table: its cells, its column of ids, and the line of each person of the study."""

    path: str
    table: TextTable
    ids: str
    places: dict[str, int]

    def cells(self, column: str) -> dict[str, str]:
        """Return subject -> cell, for the people of the study."""
        position = self.table.columns.index(column)
        return {subject: self.table.cells[place][position] for subject, place in self.places.items()}

    def line(self, subject: str) -> int:
        """Return the number of a person's line in the file."""
        return self.table.lines[self.places[subject]]


def _read_tables(study: Study, problems: list[Problem]) -> list[PhenotypeTable]:
    """Read the phenotype tables and match their ids with the study's people."""
    section, found = study.config["phenotypes"], []
    key = "phenotypes.tables"
    matching, everybody = section["matching"], study.people()
    matched: set[str] = set()
    for path in section["tables"]:
        try:
            table = read_text_table(path)
            column = find_id_column(table.columns, section["id_column"], path, "phenotypes.id_column")
        except UserError as error:
            problems += [Problem("phenotypes", f"{key}: {line}") for line in str(error).splitlines()]
            continue
        cells = table.column(column)
        nobody = [table.lines[place] for place, cell in enumerate(cells) if not cell]
        if nobody:
            text = f"{key}: {path}: no id in column {column} of line {few(list(map(str, nobody)))}; fill or remove these lines"
            problems.append(Problem("phenotypes", text))
        lines: dict[str, list[int]] = {}
        for place, cell in enumerate(cells):
            lines.setdefault(plain_id(cell), []).append(place)
        double = [subject for subject in study.rows if len(lines.get(subject, ())) > 1]
        if double:
            numbers = [str(table.lines[place]) for place in lines[double[0]]]
            text = (
                f"{key}: {path}: subject {few(double)} stands in it more than once (subject {double[0]} in lines "
                f"{few(numbers)}); keep one row per person"
            )
            problems.append(Problem("phenotypes", text))
        match = match_ids(everybody, lines)
        matched |= set(match.known)
        near = ", ".join(f"'{there}' for {here}" for here, there in match.near[:5])
        near += f" and {len(match.near) - 5} more" if len(match.near) > 5 else ""
        if not match.known:
            here, there = ", ".join(list(study.rows)[:3]), ", ".join(sorted(lines)[:3])
            alike = f"; ids that look alike: {near}" if near else ""
            text = f"{key}: {path}: shares no ids with the cohort (there: {there}; cohort: {here}){alike}"
            problems.append(
                Problem("phenotypes", f"{text}; write the same ids in both, or set phenotypes.id_column")
            )
        elif near and matching["near_ids"] == "refuse":
            text = (
                f"{key}: {path}: {len(match.known)} of {len(everybody)} people have a row; of the others, {len(match.near)} have "
                f"one under an id that looks alike: {near}; write the ids as in the cohort (leading zeros are lost in "
                "spreadsheets), or set phenotypes.matching.near_ids: accept if these are other people"
            )
            problems.append(Problem("phenotypes", text))
        found.append(PhenotypeTable(path, table, column, {s: lines[s][0] for s in study.rows if s in lines}))
    if found and everybody and 0 < len(matched) < matching["least"] * len(everybody):
        without = [subject for subject in everybody if subject not in matched]
        text = (
            f"{key}: only {len(matched)} of {len(everybody)} people have a row in {', '.join(section['tables'])} (without: "
            f"{few(without)}); correct the ids, or set phenotypes.matching.least below {len(matched) / len(everybody):.2f}"
        )
        problems.append(Problem("phenotypes", text))
    return found


def unmatched_note(study: Study) -> str | None:
    """Say how many of how many people have phenotypes, when some have none."""
    paths = study.config["phenotypes"]["tables"]
    if not paths:
        return None
    quiet: list[Problem] = []
    known = {subject for table in _read_tables(study, quiet) for subject in table.places}
    without = [subject for subject in study.people() if subject not in known]
    if not without:
        return None
    people = len(study.people())
    return f"{people - len(without)} of {people} people have a row in the phenotype tables; without: {few(without)}"


def _wanted_variables(section: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    """Return the columns that the phenotype factors are made of (columns of words drop out of `all`)."""
    chosen = section["variables"]
    if chosen == "all":
        found = list(dict.fromkeys(columns))
    elif chosen == "dimitri2022":
        found = read_text_table(_HCP_VARIABLES).column("column")
    else:
        found = list(chosen)
    return [name for name in found if name not in set(section["exclude"])]


def _variable_problems(study: Study, tables: list[PhenotypeTable]) -> Iterator[Problem]:
    """Check that the variables are there, agree between tables, and have numbers in them."""
    section = study.config["phenotypes"]
    columns = dict.fromkeys(c for table in tables for c in table.table.columns if c != table.ids)
    wanted = _wanted_variables(section, columns)
    names = few([table.path for table in tables], 3)
    absent = [name for name in wanted if name not in columns]
    if absent:
        hint = nearest(absent[0], columns)
        yield Problem("phenotypes", f"phenotypes.variables: {few(absent, 8)} in none of {names}{hint}")
    if section["variables"] == "all":
        for name in section["exclude"]:
            if name not in columns:
                text = f"phenotypes.exclude: {name} is no column of {names}{nearest(name, columns)}; correct or remove it"
                yield Problem("phenotypes", text)
    for name in section["coding"]:
        if name not in wanted:
            text = f"phenotypes.coding: {name} is no variable of the phenotype tables{nearest(name, wanted)}; remove it"
            yield Problem("phenotypes", text)
    strict = section["variables"] != "all"
    seen: dict[str, PhenotypeTable] = {}
    chosen = set(wanted)
    for table in tables:
        for name in table.table.columns:
            if name == table.ids or name not in chosen:
                continue
            cells = table.cells(name)
            yield from _cell_problems(table, name, cells, section["coding"].get(name), strict)
            if name in seen:
                yield from _disagreement(seen[name], table, name, cells)
            seen.setdefault(name, table)


def _cell_problems(
    table: PhenotypeTable,
    name: str,
    cells: Mapping[str, str],
    coding: Mapping[str, float] | None,
    strict: bool,
) -> Iterator[Problem]:
    words = list(cells.values())
    judged = judge(words, coding)
    subjects = list(cells)
    place = f"phenotypes.tables: {table.path}"
    if coding is not None and judged.odd:
        first = judged.odd[0]
        text = f"phenotypes.coding: {name}: no number given for the value {words[first]!r} (line {table.line(subjects[first])}); add it"
        yield Problem("phenotypes", text)
    elif judged.odd:
        odd = {f"line {table.line(subjects[n])}, subject {subjects[n]}": words[n] for n in judged.odd}
        yield Problem("phenotypes", f"{place}: {odd_cells_message(name, odd)}")
    elif judged.kind == "text" and strict:
        examples = few(sorted({repr(word) for word in words if word not in MISSING_VALUES}), 3)
        text = (
            f"phenotypes.variables: {name} has words ({examples}); set phenotypes.coding: {{{name}: {{value: number}}}}, "
            "or take it off the list"
        )
        yield Problem("phenotypes", text)


def _disagreement(
    first: PhenotypeTable, table: PhenotypeTable, name: str, cells: Mapping[str, str]
) -> Iterator[Problem]:
    earlier = first.cells(name)
    for subject, cell in cells.items():
        other = earlier.get(subject, "")
        if cell == other or cell in MISSING_VALUES or other in MISSING_VALUES:
            continue
        if is_number(cell) and is_number(other) and abs(float(cell) - float(other)) <= 1e-9:
            continue
        text = (
            f"phenotypes.tables: {table.path}: column {name} differs from the one in {first.path} (subject {subject}: {cell} "
            f"and {other}); rename one of them, or add it to phenotypes.exclude"
        )
        yield Problem("phenotypes", text)
        return


class _Columns:
    """The columns of the cohort sheet and of the phenotype tables, the sheet's first."""

    def __init__(self, study: Study, tables: list[PhenotypeTable]) -> None:
        self.study, self.tables = study, tables
        self.sheet = {column for row in study.rows.values() for column in row} - {"subject"}
        self.others = {column for table in tables for column in table.table.columns if column != table.ids}
        self.all = self.sheet | self.others

    def cells(self, column: str) -> dict[str, str]:
        """Return subject -> cell; missing values are empty."""
        if column in self.sheet:
            found = {subject: row.get(column, "") for subject, row in self.study.rows.items()}
        else:
            table = next(table for table in self.tables if column in table.table.columns)
            found = table.cells(column)
        return {subject: "" if cell in MISSING_VALUES else cell for subject, cell in found.items()}

    def odd(self, column: str, place: str) -> Iterator[Problem]:
        """Yield a problem when cells among numbers are none."""
        if column in _WORDS or column not in self.all:
            return
        cells = self.cells(column)
        judged = judge(list(cells.values()))
        if judged.odd:
            subjects = list(cells)
            odd = {f"subject {subjects[n]}": cells[subjects[n]] for n in judged.odd}
            text = odd_cells_message(column, odd).partition("; correct")[0]
            yield Problem("phenotypes", f"{place}: {text}; correct or empty these cells")


def _experiment_problems(study: Study, columns: _Columns) -> Iterator[Problem]:
    """Check labels and targets."""
    section = study.config["phenotypes"]
    for name, experiment in study.experiments.items():
        label = experiment.get("label")
        if label:
            place = f"experiment {name}: label"
            if label["column"] not in columns.sheet:
                text = f"{place}.column: '{label['column']}' is no column of the cohort sheet{nearest(label['column'], columns.sheet)}"
                yield Problem("configuration", text)
            else:
                values = Counter(row.get(label["column"], "") for row in study.rows.values())
                del values[""]
                if set(label["classes"]) <= set(values):
                    members = Counter(
                        study.rows[s].get(label["column"], "") for s in study.experiment_members(name)
                    )
                    rare = [value for value in label["classes"] if members[value] < FEWEST_OF_CLASS]
                    if rare and sum(members.values()) >= FEWEST_OF_CLASS:
                        text = (
                            f"{place}: only {members[rare[0]]} people of class '{rare[0]}' take part in the experiment; at least "
                            f"{FEWEST_OF_CLASS} are needed"
                        )
                        yield Problem("study", text)
                for value in label["classes"]:
                    if value not in values:
                        there = few([repr(found) for found in values]) or "nothing"
                        text = f"{place}.classes: nobody has '{value}' in column {label['column']} (there: {there})"
                        yield Problem("configuration", text + nearest(value, values))
        for target in experiment["analyses"]["prediction"]:
            place = f"experiment {name}: analyses.prediction"
            if target == "factors" or (_FACTOR.fullmatch(target) and target not in columns.all):
                if not section["tables"]:
                    text = f"{place}: '{target}' needs phenotypes.tables, and there are none; take it off the list"
                    yield Problem("configuration", text)
            elif target not in columns.all:
                text = (
                    f"{place}: '{target}' is no column of the cohort sheet or of the phenotype tables"
                    f"{nearest(target, [*columns.all, 'factors'])}"
                )
                yield Problem("configuration", text)
            elif not (label and label["column"] not in columns.sheet):
                yield from _target_problems(study, name, target, columns.cells(target), place)


def _target_problems(
    study: Study, name: str, target: str, cells: Mapping[str, str], place: str
) -> Iterator[Problem]:
    members = study.experiment_members(name)
    counts = Counter(cells.get(subject, "") for subject in members)
    del counts[""]
    number = len(counts) > 2 and judge(list(counts)).kind == "number"
    if not members or number or sum(count >= FEWEST_OF_CLASS for count in counts.values()) >= 2:
        return
    yield Problem(
        "configuration",
        f"{place}: '{target}' has fewer than two values among the experiment's people (classes of fewer than "
        f"{FEWEST_OF_CLASS} people do not count); take it off the list",
    )


def _adjustment_problems(study: Study, columns: _Columns) -> Iterator[Problem]:
    """Check what predictions are adjusted by: that it exists, differs between people and tells no phenotype."""
    section = study.config["phenotypes"]
    variables = set(_wanted_variables(section, columns.others)) if section["tables"] else set()
    for name, experiment in study.experiments.items():
        for key, named in adjusting_columns(experiment).items():
            place = f"experiment {name}: analyses.{key}"
            for column in named:
                if column not in columns.all:
                    yield Problem(
                        "configuration",
                        f"{place}: '{column}' is no column of the cohort sheet or of the phenotype tables"
                        f"{nearest(column, columns.all)}",
                    )
                elif column in variables and key != "harmonise.sites":
                    yield Problem(
                        "configuration",
                        f"{place}: '{column}' is one of the variables that the phenotype factors are made of, which would "
                        f"leak into the test people's codes; add it to phenotypes.exclude, or remove it here",
                    )
                elif key == "harmonise.sites":
                    if column in columns.sheet:
                        yield from _site_problems(study, name, column)
                else:
                    yield from columns.odd(column, place)


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
    """Check that what the codes are adjusted by before clustering exists."""
    adjust = study.config["strata"]["adjust"]
    named = [] if adjust["columns"] == "auto" else list(adjust["columns"])
    known = set(columns.all)
    for measure in ("age", "sex"):
        usual = [column for column in columns.all if column.lower() in USUAL_NAMES[measure]]
        known |= {measure} if usual else set()
        if adjust["columns"] == "auto" or measure in named:
            for column in sorted(usual):
                yield from columns.odd(column, "strata.adjust.columns")
    known |= set(REGISTRATION_MEASURES)
    for key, wanted in (("columns", named), ("sites", [adjust["sites"]] if adjust["sites"] else [])):
        for column in wanted:
            if column not in known:
                yield Problem(
                    "configuration",
                    f"strata.adjust.{key}: '{column}' is no column of the cohort sheet or of the phenotype tables, and "
                    f"none of {', '.join(REGISTRATION_MEASURES)}{nearest(column, known)}",
                )
            elif key == "columns":
                yield from columns.odd(column, f"strata.adjust.{key}")


def name_problems(study: Study) -> list[Problem]:
    """Return every problem of what the configuration names in sheets and tables."""
    problems: list[Problem] = []
    tables = _read_tables(study, problems)
    columns = _Columns(study, tables)
    if len(tables) == len(
        study.config["phenotypes"]["tables"]
    ):  # else columns may be in the one that cannot be read
        if tables:
            problems += _variable_problems(study, tables)
        problems += _experiment_problems(study, columns)
        problems += _adjustment_problems(study, columns)
        problems += _strata_problems(study, columns)
    return problems
