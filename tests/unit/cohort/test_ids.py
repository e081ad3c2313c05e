"""Ids of people, and the column that has them."""

from __future__ import annotations

import re

import pytest

from neurostrata.cohort.ids import find_id_column, match_ids, plain_id
from neurostrata.core.errors import UserError


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        (" 01 ", "01"),
        ("sub-01", "01"),
        ("sub-sub-01", "sub-01"),  # one prefix alone
        ("100307.0", "100307"),
        ("sub-7.000", "7"),
        ("7.5", "7.5"),
        ("7.", "7."),
        ("1.0.0", "1.0.0"),
        ("a1.0", "a1.0"),
        ("", ""),
    ],
)
def test_ids_are_compared_without_what_programs_add(written: str, plain: str) -> None:
    assert plain_id(written) == plain


@pytest.mark.parametrize(
    ("columns", "configured", "found"),
    [
        (["age", "participant_id", "subject"], None, "subject"),
        (["Subject", "participant_id"], None, "participant_id"),
        (["Subject", "age"], None, "Subject"),
        (["subject", "code"], "code", "code"),
    ],
)
def test_which_column_has_the_ids(columns: list[str], configured: str | None, found: str) -> None:
    assert find_id_column(columns, configured, "t.tsv") == found


@pytest.mark.parametrize(
    ("columns", "configured", "key", "said"),
    [
        (["a", "b"], None, "", "t.tsv: no id column subject or participant_id or Subject (found: a, b); name it 'subject'"),
        (list("abcde"), None, "", "(found: a, b, c, d, e); name it 'subject'"),
        (list("abcdef"), None, "", "(found: a, b, c, d, e, ...); name it 'subject'"),
        (["subject"], "code", "phenotypes.id_column", "no id column code (found: subject); set phenotypes.id_column"),
    ],
)  # fmt: skip
def test_a_table_without_ids_is_told_what_to_do(
    columns: list[str], configured: str | None, key: str, said: str
) -> None:
    with pytest.raises(UserError, match=f"{re.escape(said)}$"):
        find_id_column(columns, configured, "t.tsv", key)


def test_ids_that_are_nearly_alike_are_found_and_never_taken_for_the_same() -> None:
    found = match_ids(["1", "02", "A3", "4", "5"], ["001", "2", "a_3", "04", "sub4", "5", "6"])
    assert found.known == ["5"]
    assert found.unknown == ["1", "02", "A3", "4"]
    assert found.near == [("1", "001"), ("02", "2"), ("A3", "a_3"), ("4", "04")]
    # an id that is somebody else's is not near
    assert match_ids(["1", "01"], ["01"]).near == []
