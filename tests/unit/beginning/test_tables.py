"""Tables of people: which column holds the ids, and which tables cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurostrata.beginning.tables import PeopleTable, id_columns, may_be_table, read_tables
from neurostrata.core.text_tables import read_text_table

PEOPLE = ["101", "102", "103", "104"]


def read(folder: Path, header: str, *lines: str) -> PeopleTable | str:
    """Read one table, with a line per person; or why it cannot be used."""
    path = folder / "people.tsv"
    path.write_text("\n".join(["\t".join(line.split()) for line in (header, *lines)]) + "\n")
    found, unused = read_tables([str(path), str(path)], PEOPLE)  # named twice, read once
    assert len(found) + len(unused) == 1
    return found[0] if found else unused[0].removeprefix(f"{path}: ")


def test_columns_that_may_hold_ids_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["score", "code", "site", "pid", "EID", "subject", "participant_id", "subject-key"]
    path = tmp_path / "people.tsv"
    rows = [[f"{name}{person}" for name in names] for person in PEOPLE]
    for row in rows:
        row[names.index("site")] = "a"
        row[names.index("pid")] = "b"
    path.write_text("\n".join("\t".join(row) for row in [names, *rows]) + "\n")
    columns = id_columns(read_text_table(path))
    assert set(columns[:2]) == {"subject", "participant_id"}
    # a usual name counts though cells are repeated; others follow as they stand
    assert columns[2:] == ["EID", "subject-key", "pid", "score", "code"]


def test_a_table_without_the_people_says_so_by_its_likeliest_column(tmp_path: Path) -> None:
    said = read(tmp_path, "score eid", "1 x1", "2 x2", "3 x3")
    assert said == "its ids (x1, x2, x3) are not those of the images (101, 102, 103)"
    assert read(tmp_path, "site group", "a b", "a b") == "no column of ids without repeated cells"


@pytest.mark.parametrize(("lines", "usable"), [(2, True), (1, False)])
def test_a_column_with_an_unusual_name_needs_half_of_the_people(
    tmp_path: Path, lines: int, usable: bool
) -> None:
    given = [f"{person} {number}" for number, person in enumerate(PEOPLE[:lines])]
    table = read(tmp_path, "code score", *given, "999 7")
    assert isinstance(table, PeopleTable) == usable
    usual = read(tmp_path, "eid score", *given, "999 7")
    assert isinstance(usual, PeopleTable)
    assert usual.matched == set(PEOPLE[:lines])


def test_two_rows_of_one_person_are_refused(tmp_path: Path) -> None:
    rows = [f"{person} {number}" for number, person in enumerate(PEOPLE)]
    assert read(tmp_path, "eid score", *rows, "102 9") == "has several rows of 1 person (102)"
    assert isinstance(read(tmp_path, "eid score", *rows, "999 9", "999 9"), PeopleTable)  # of nobody here


def test_variables_are_numbers_that_differ_and_who_has_all_of_them_is_known(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "eid score same word age memory",
        "101 1 5 a 30 n/a",
        "102 2 5 b n/a 4",
        "103 3 5 c 31 5",
        "999 n/a 6 d 32 6",
    )
    assert isinstance(table, PeopleTable)
    assert table.variables == ["score", "memory"]
    assert table.facts == ["age"]
    assert table.complete == {"102", "103"}  # who lacks a fact lacks no variable
    assert not table.by_itself


def test_what_may_be_a_table(tmp_path: Path) -> None:
    for name, text, expected in (("a.TSV", "x", True), ("a.csv", "", False), ("a.nii", "x", False)):
        (tmp_path / name).write_text(text)
        assert may_be_table(tmp_path / name) == expected
    assert not may_be_table(tmp_path / "absent.tsv")
