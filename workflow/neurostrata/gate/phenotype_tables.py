"""Problems of the phenotype tables: their ids, and the cells of the variables. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neurostrata.cohort.ids import ID_COLUMNS, Matching, find_id_column, match_ids, plain_id
from neurostrata.cohort.study import Study
from neurostrata.cohort.values import ALWAYS_WORDS, MISSING_VALUES, is_number, judge, odd_cells_message
from neurostrata.core.errors import UserError
from neurostrata.core.locations import RESOURCES
from neurostrata.core.text_tables import TextTable, read_text_table
from neurostrata.core.wording import count, nearest
from neurostrata.gate.problems import Problem, few

_HCP_VARIABLES = RESOURCES / "hcp_phenotypes.tsv"
_TABLES = "phenotypes.tables"


@dataclass
class PhenotypeTable:
    """A phenotype table: its cells, its column of ids, and the position of each person of the study."""

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


def read_tables(study: Study, problems: list[Problem]) -> list[PhenotypeTable]:
    """Read the phenotype tables and match their ids with the study's people; problems are added to the list."""
    section, tables = study.config["phenotypes"], []
    people = study.people()
    matched: set[str] = set()
    for path in section["tables"]:
        try:
            table = read_text_table(path)
            column = find_id_column(table.columns, section["id_column"], path, "phenotypes.id_column")
        except UserError as error:
            problems += [Problem("phenotypes", f"{_TABLES}: {line}") for line in str(error).splitlines()]
            continue
        places: dict[str, list[int]] = {}
        for place, cell in enumerate(table.column(column)):
            places.setdefault(plain_id(cell), []).append(place)
        match = match_ids(people, places)
        matched |= set(match.known)
        texts = [
            *_id_column_problems(study, table, column, places),
            *_matching_problems(study, match, list(places), len(people)),
        ]
        problems += [Problem("phenotypes", f"{_TABLES}: {path}: {text}") for text in texts]
        tables.append(
            PhenotypeTable(path, table, column, {s: places[s][0] for s in study.rows if s in places})
        )
    if tables and people and 0 < len(matched) < section["matching"]["least"] * len(people):
        without = [subject for subject in people if subject not in matched]
        text = (
            f"{_TABLES}: only {len(matched)} of {len(people)} people have a row in {', '.join(section['tables'])} (without: "
            f"{few(without)}); correct the ids, or set phenotypes.matching.least below {len(matched) / len(people):.2f}"
        )
        problems.append(Problem("phenotypes", text))
    return tables


def _id_column_problems(
    study: Study, table: TextTable, column: str, places: Mapping[str, list[int]]
) -> Iterator[str]:
    empty = [str(line) for line, cell in zip(table.lines, table.column(column)) if not cell]
    if empty:
        yield f"no id in column {column} of line {few(empty)}; fill or remove these lines"
    yield from _other_ids(study, table, column)
    repeated = [subject for subject in study.rows if len(places.get(subject, ())) > 1]
    if repeated:
        lines = few([str(table.lines[place]) for place in places[repeated[0]]])
        yield (
            f"subject {few(repeated)} has more than one row (subject {repeated[0]} in lines {lines}); keep one row per person"
        )


def _other_ids(study: Study, table: TextTable, column: str) -> Iterator[str]:
    """Yield a line for each further column with a usual name of ids by which rows are of other people of the study."""
    if study.config["phenotypes"]["id_column"] is not None:
        return
    for other in ID_COLUMNS:
        if other == column or other not in table.columns:
            continue
        both = zip(table.lines, map(plain_id, table.column(column)), map(plain_id, table.column(other)))
        differing = [
            (line, ours, theirs)
            for line, ours, theirs in both
            if ours != theirs and ours in study.rows and theirs in study.rows
        ]
        if differing:
            line, ours, theirs = differing[0]
            yield (
                f"{count(len(differing), 'row is of another person', 'rows are of other people')} by column {other} than by column {column} "
                f"(line {line}: {theirs} and {ours}); set phenotypes.id_column"
            )


def _matching_problems(study: Study, match: Matching, ids: list[str], people: int) -> Iterator[str]:
    near = ", ".join(f"'{theirs}' for {subject}" for subject, theirs in match.near[:5])
    near += f" and {len(match.near) - 5} more" if len(match.near) > 5 else ""
    if not match.known:
        cohort, table = ", ".join(list(study.rows)[:3]), ", ".join(sorted(ids)[:3])
        alike = f"; ids that look alike: {near}" if near else ""
        yield (
            f"shares no ids with the cohort (table: {table}; cohort: {cohort}){alike}; write the same ids in both, or set "
            "phenotypes.id_column"
        )
    elif near and study.config["phenotypes"]["matching"]["near_ids"] == "refuse":
        yield (
            f"{len(match.known)} of {people} people have a row; {len(match.near)} of the others have one under an id that "
            f"looks alike: {near}; write the ids as in the cohort (spreadsheets remove leading zeros), or set "
            "phenotypes.matching.near_ids: accept if these are other people"
        )


def unmatched_note(study: Study) -> str | None:
    """Say how many people have a row in the phenotype tables, when some have none."""
    if not study.config["phenotypes"]["tables"]:
        return None
    known = {subject for table in read_tables(study, []) for subject in table.places}
    people = study.people()
    without = [subject for subject in people if subject not in known]
    if not without:
        return None
    have = len(people) - len(without)
    return f"{have} of {len(people)} people have a row in the phenotype tables; without: {few(without)}"


def phenotype_variables(section: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    """Return the columns that the phenotype factors are made of; with `all`, columns of words are still among them, those of classes not."""
    chosen = section["variables"]
    if chosen == "all":
        names = [c for c in dict.fromkeys(columns) if c not in ALWAYS_WORDS or c in section["coding"]]
    elif chosen == "dimitri2022":
        names = read_text_table(_HCP_VARIABLES).column("column")
    else:
        names = list(chosen)
    return [name for name in names if name not in set(section["exclude"])]


def variable_problems(study: Study, tables: list[PhenotypeTable]) -> Iterator[Problem]:
    """Check that the variables exist, agree between tables, and have numbers in them."""
    section = study.config["phenotypes"]
    columns = dict.fromkeys(c for table in tables for c in table.table.columns if c != table.ids)
    variables = phenotype_variables(section, columns)
    names = few([table.path for table in tables], 3)
    absent = [name for name in variables if name not in columns]
    if absent:
        hint = nearest(absent[0], columns)
        yield Problem("phenotypes", f"phenotypes.variables: {few(absent, 8)} in none of {names}{hint}")
    every = section["variables"] == "all"
    for name in section["exclude"] if every else ():
        if name not in columns:
            text = f"phenotypes.exclude: {name} is not a column of {names}{nearest(name, columns)}; correct or remove it"
            yield Problem("phenotypes", text)
    for name in section["coding"]:
        if name not in variables:
            text = f"phenotypes.coding: {name} is not a variable of the phenotype tables{nearest(name, variables)}; remove it"
            yield Problem("phenotypes", text)
    first: dict[str, PhenotypeTable] = {}
    chosen = set(variables)
    for table in tables:
        for name in table.table.columns:
            if name == table.ids or name not in chosen:
                continue
            cells = table.cells(name)
            yield from _cell_problems(table, name, cells, section["coding"].get(name), words_allowed=every)
            if name in first:
                yield from _disagreement(first[name], table, name, cells)
            first.setdefault(name, table)


def _cell_problems(
    table: PhenotypeTable,
    name: str,
    cells: Mapping[str, str],
    coding: Mapping[str, float] | None,
    words_allowed: bool,
) -> Iterator[Problem]:
    subjects, values = list(cells), list(cells.values())
    judged = judge(values, coding)
    if coding is not None and judged.odd:
        first = judged.odd[0]
        text = f"phenotypes.coding: {name}: no number given for the value {values[first]!r} (line {table.line(subjects[first])}); add it"
        yield Problem("phenotypes", text)
    elif judged.odd:
        odd = {f"line {table.line(subjects[n])}, subject {subjects[n]}": values[n] for n in judged.odd}
        yield Problem("phenotypes", f"{_TABLES}: {table.path}: {odd_cells_message(name, odd)}")
    elif judged.kind == "text" and not words_allowed:
        examples = few(sorted({repr(value) for value in values if value not in MISSING_VALUES}), 3)
        text = (
            f"phenotypes.variables: {name} has words ({examples}); set phenotypes.coding: {{{name}: {{value: number}}}}, "
            "or remove the variable"
        )
        yield Problem("phenotypes", text)


def _disagreement(
    first: PhenotypeTable, table: PhenotypeTable, name: str, cells: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield a problem when a person has different values of one variable in two tables."""
    earlier = first.cells(name)
    for subject, cell in cells.items():
        other = earlier.get(subject, "")
        if cell == other or cell in MISSING_VALUES or other in MISSING_VALUES:
            continue
        if is_number(cell) and is_number(other) and abs(float(cell) - float(other)) <= 1e-9:
            continue
        text = (
            f"{_TABLES}: {table.path}: column {name} differs from the one in {first.path} (subject {subject}: {cell} "
            f"and {other}); rename one of them, or add it to phenotypes.exclude"
        )
        yield Problem("phenotypes", text)
        return
