"""Facts about people: BIDS's ``participants.tsv`` and ``sessions.tsv``, or phenotype tables. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neurostrata.cohort.discovery.bids_index import Dataset
from neurostrata.cohort.ids import find_id_column, match_ids, plain_id
from neurostrata.cohort.sheet import FACTS, IMAGES, USUAL_NAMES, Row, read_rows
from neurostrata.cohort.values import MISSING_VALUES
from neurostrata.core.errors import UserError
from neurostrata.core.text_tables import read_text_table
from neurostrata.core.wording import join_words, nearest

#: Columns that are taken by their names (compared in lower case), since the workflow looks for these names.
TAKEN = frozenset(name for names in USUAL_NAMES.values() for name in names) | {"site", "family", "diagnosis"}
_RESERVED = {"subject", "person", "template", "session", "note", *IMAGES}


@dataclass
class People:
    """The facts about each person, and about each of their sessions."""

    #: Columns of all tables except ids, in order.
    columns: list[str]
    #: Person -> column -> value, from participants.tsv.
    persons: Mapping[str, Mapping[str, str]]
    #: Person -> session -> column -> value, from sessions.tsv.
    sessions: Mapping[str, Mapping[str, Mapping[str, str]]]
    notices: list[str]
    #: People without a row in participants.tsv, and an id in it that is nobody's and looks like theirs.
    near: list[tuple[str, str]]

    def refuse_near(self, people: Collection[str]) -> None:
        """Raise when some of these people seem to have a row under an id that is written in another way."""
        near = [(person, theirs) for person, theirs in self.near if person in people]
        if near:
            whom = ", ".join(person for person, _ in near[:5])
            whom += f", ... ({len(near)} in all)" if len(near) > 5 else ""
            raise UserError(
                f"cohort.bids: participants.tsv has no row of {whom}, and rows of nobody whose ids look alike "
                f"('{near[0][1]}' for {near[0][0]}); write the ids as in the names of the folders (spreadsheets remove "
                "leading zeros), or set phenotypes.matching.near_ids: accept if these are other people"
            )

    def refuse_near_session(self, person: str, session: str) -> None:
        """Raise when a session seems to have a row in sessions.tsv under a label that is written in another way."""
        near = match_ids([session] if session else [], self.sessions.get(person, {})).near
        if near:
            raise UserError(
                f"cohort.bids: sub-{person}_sessions.tsv has no row of ses-{session}, and one of a session without images "
                f"whose label looks alike ('{near[0][1]}'); write the labels as in the names of the folders (spreadsheets remove "
                "leading zeros)"
            )

    def times(self, person: str) -> dict[str, str]:
        """Return session -> time of acquisition (``acq_time``) of a person."""
        known = self.sessions.get(person, {})
        return {session: values.get("acq_time", "") for session, values in known.items()}

    def values(self, person: str, session: str) -> dict[str, str]:
        """Return the facts about a person in a session: the session's value goes before the person's."""
        merged = dict(self.persons.get(person, {}))
        merged |= {c: v for c, v in self.sessions.get(person, {}).get(session, {}).items() if v}
        return merged


def _merge(into: dict[str, str], values: Mapping[str, str], whom: str, path: Path) -> None:
    for column, value in values.items():
        if value and into.get(column, value) != value:
            raise UserError(
                f"{path}: {whom}: {column} is {value}, but {into[column]} in another dataset of cohort.bids; "
                "correct one of them"
            )
        if value or column not in into:
            into[column] = value


def read_people(datasets: Sequence[Dataset], subjects: Sequence[str]) -> People:
    """Read the tables of all datasets.

    Raises
    ------
    UserError
        When a table cannot be read, has a person or a session twice, or two datasets disagree.
    """
    columns: dict[str, None] = {}
    persons: dict[str, dict[str, str]] = {}
    sessions: dict[str, dict[str, dict[str, str]]] = {}
    notices = []
    for dataset in datasets:
        path = Path(dataset.folder) / "participants.tsv"
        if path.is_file() or path.is_symlink():  # a link to a content that is not there is an error
            names, rows = read_rows(path)
            if "participant_id" not in names:
                notices.append(f"{path}: not read, it has no column participant_id")
            else:
                columns |= dict.fromkeys(name for name in names if name != "participant_id")
                seen: set[str] = set()
                for row in rows:
                    person = plain_id(row.pop("participant_id"))
                    if person in seen:
                        raise UserError(f"{path}: participant_id sub-{person} has two rows")
                    seen.add(person)
                    _merge(persons.setdefault(person, {}), row, f"sub-{person}", path)
        for person in subjects:
            place = f"{dataset.folder}/sub-{person}/sub-{person}_sessions.tsv"
            if not os.path.isfile(place):  # noqa: PTH113 - for each of ten thousands
                continue
            path = Path(place)
            names, rows = read_rows(path)
            key = next((name for name in ("session_id", "session") if name in names), None)
            if key is None:
                raise UserError(f"{path}: has no column session_id")
            columns |= dict.fromkeys(name for name in names if name != key)
            seen = set()
            for row in rows:
                session = row.pop(key).removeprefix("ses-")
                if session in seen:
                    raise UserError(f"{path}: session_id ses-{session} has two rows")
                seen.add(session)
                known = sessions.setdefault(person, {}).setdefault(session, {})
                _merge(known, row, f"sub-{person}, ses-{session}", path)
    match = match_ids(subjects, persons)
    if persons:
        absent = sorted(match.unknown)
        if absent:
            who = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            notices.append(f"participants.tsv does not list {len(absent)} of {len(subjects)} people: {who}")
    return People(list(columns), persons, sessions, notices, match.near)


def _refuse_reserved(new: str) -> None:
    if new in _RESERVED:
        raise UserError(f"cohort.columns.{new}: this column has a fixed meaning; choose another name")


def add_table_facts(
    rows: Sequence[Row], tables: Sequence[str], id_column: str | None, named: Mapping[str, str]
) -> list[str]:
    """Add columns of tables of people to the rows of people who were found without BIDS; return what was taken, in words.

    Parameters
    ----------
    tables
        Phenotype tables; of each column the first that has it is read. Their ids are those of the rows, or of the persons
        where each session is a row.
    id_column
        Their column of ids; None looks for the usual names.
    named
        New name -> column.

    Raises
    ------
    UserError
        When a table cannot be read, no table has a column, or its new name is that of an image.
    """
    read = {path: read_text_table(path) for path in tables} if named else {}
    taken = []
    for new, column in named.items():
        _refuse_reserved(new)
        path = next((path for path, table in read.items() if column in table.columns), None)
        if path is None:
            names = dict.fromkeys(name for table in read.values() for name in table.columns)
            where = (
                f"of {join_words(list(read))}{nearest(column, names)}"
                if read
                else "of a table: phenotypes.tables names none"
            )
            raise UserError(f"cohort.columns.{new}: '{column}' is not a column {where}")
        table = read[path]
        ids = table.column(find_id_column(table.columns, id_column, path, "phenotypes.id_column"))
        values: dict[str, list[str]] = {}
        for cell, value in zip(map(plain_id, ids), table.column(column)):
            if value not in MISSING_VALUES:
                values.setdefault(cell, []).append(value)
        for row in rows:
            found = list(dict.fromkeys(values.get(row["subject"]) or values.get(row["person"], [])))
            if len(found) > 1:
                raise UserError(
                    f"cohort.columns.{new}: {path}: subject {row['person']} has several rows that differ in '{column}' "
                    f"({', '.join(found[:5])}); keep one row per person"
                )
            row[new] = found[0] if found else row.get(new, "")
        taken.append(f"{new} ({column} of {Path(path).name})")
    return [f"taken from the phenotype tables: {', '.join(taken)}"] if taken else []


def add_facts(rows: Sequence[Row], people: People, named: Mapping[str, str]) -> list[str]:
    """Add the facts about people to their rows; return the names of the new columns.

    Columns with the names that the workflow uses (age, sex, site, family, diagnosis, handedness, ...) are taken, and
    those of `named` (new name -> column).

    Raises
    ------
    UserError
        When a named column does not exist, or its new name is that of an image; when a session's label in sessions.tsv only looks
        like that of the images.
    """
    chosen = {
        name.lower() if name.lower() in FACTS else name: name
        for name in people.columns
        if name.lower() in TAKEN
    }
    for new, column in named.items():
        _refuse_reserved(new)
        if column not in people.columns:
            known = ", ".join(people.columns) or "no such table"
            raise UserError(
                f"cohort.columns.{new}: '{column}' is not a column of participants.tsv or sessions.tsv ({known})"
            )
        chosen = {name: c for name, c in chosen.items() if name.lower() != new.lower()} | {new: column}
    for row in rows:
        people.refuse_near_session(row["person"], row.get("session", ""))
        values = people.values(row["person"], row.get("session", ""))
        for new, column in chosen.items():
            value = values.get(column, "")
            if new == "family":  # a fact about the person: sessions of one person never have different ones
                value = people.persons.get(row["person"], {}).get(column, "") or row.get("family", "")
            row[new] = value
    if chosen:
        taken = ", ".join(new if new == column else f"{new} ({column})" for new, column in chosen.items())
        people.notices.append(f"taken from participants.tsv or sessions.tsv: {taken}")
    left = [column for column in people.columns if column not in chosen.values()]
    if left:
        more = f" and {len(left) - 8} more" if len(left) > 8 else ""
        people.notices.append(
            f"not taken (take one with cohort.columns: {{NAME: COLUMN}}): {', '.join(left[:8])}{more}"
        )
    return list(chosen)
