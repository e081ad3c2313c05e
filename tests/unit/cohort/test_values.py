"""What kind a column of a phenotype table is, and which of its cells are mistakes (docs/inputs.md)."""

from __future__ import annotations

import math

import pytest

from neurostrata.cohort.values import PAIRS, Cells, bin_value, is_number, judge, odd_cells_message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22-25", 23.5),
        ("1.5 - 2", 1.75),
        ("36+", 36.0),
        ("7 +", 7.0),
        ("20-20", 20.0),
        ("2019-05", None),  # a month
        ("22-25-28", None),
        ("-3", None),
        ("a-b", None),
        ("x36+", None),
        (">90", None),
    ],
)
def test_middles_of_bins(text: str, value: float | None) -> None:
    found = bin_value(text)
    assert math.isnan(found) if value is None else found == value


def test_numbers_are_in_the_notation_of_tables() -> None:
    assert all(map(is_number, ["1", "-1.5", "+2", "1e-3", ".5", " 7 "]))
    assert not any(map(is_number, ["", "1,5", "1_000", "٣", "0x10", "1 2"]))


@pytest.mark.parametrize(
    ("cells", "kind", "odd"),
    [
        (["1", "2.5", "-3"], "number", []),
        (["1", "", "n/a", "NULL"], "number", []),
        (["", "NA"], "number", []),
        (["F", "m", "M", ""], "number", []),
        (["female", "Male"], "number", []),
        (["Yes", "no", "no"], "number", []),
        (["TRUE", "false"], "number", []),
        (["yes", "no", "maybe"], "text", []),
        (["red", "blue"], "text", []),
        (["22-25", "36+", ""], "number", []),
        # half are numbers: the others are mistakes
        (["1", "abc", "3", "x"], "mixed", [1, 3]),
        (["1", "abc", "x"], "text", []),
        (["1", "1_000"], "mixed", [1]),
        # numbers among bins: either may be meant
        (["22-25", "26-30", "31", "40+"], "mixed", [2]),
        (["22-25", "31", "32", "?"], "mixed", [0, 3]),
        # decimal commas are mistakes however many there are
        (["1,5", "2,5", "3"], "mixed", [0, 1]),
        (["1,5", "2,5", "a"], "mixed", [0, 1, 2]),
        (["1,5", "a", "b"], "text", []),
        # nine tenths are words of a pair, no less
        (["F", "M"] * 4 + ["F", "X"], "mixed", [9]),
        (["", *["F", "M"] * 4, "X"], "text", []),
        (["F", "M"] * 9 + ["X", "Y"], "mixed", [18, 19]),
        (["F", "M"] * 9 + ["X", "Y", "Z"], "text", []),
    ],
)
def test_kinds_of_columns(cells: list[str], kind: str, odd: list[int]) -> None:
    found = judge(cells)
    assert (found.kind, found.odd) == (kind, odd)


def test_a_coding_decides_alone() -> None:
    found = judge(["low", "high", "", "n/a", "7"], {"low": 1.0, "high": 2.0})
    assert (found.kind, found.odd) == ("mixed", [4])
    assert judge(["low", "None"], {"low": 1.0}).kind == "number"


def test_messages_name_the_first_cells() -> None:
    odd = {f"line {n}": word for n, word in ((2, "abc"), (5, "x" * 40), (7, ">90"), (9, "b"))}
    message = odd_cells_message("age", odd)
    assert f"'abc' (line 2), '{'x' * 30}' (line 5), '>90' (line 7) and 1 more; correct" in message
    assert "more" not in odd_cells_message("age", {"line 2": "abc", "line 3": "d", "line 4": "e"})
    commas = odd_cells_message("iq", {"line 2": "1,5", "line 3": "-,5"})
    assert commas == "column iq: decimal commas, '1,5' (line 2), '-,5' (line 3); write decimal points"
    assert "decimal" not in odd_cells_message("iq", {"line 2": "1,5", "line 3": "abc"})


def test_pairs_are_what_their_rules_say() -> None:
    """And each has a 0 and a 1."""
    for rule, pair in PAIRS:
        said = (part.split("=") for part in rule.split(", "))
        assert pair == {word.lower(): float(number) for word, number in said}
        assert sorted(pair.values()) == [0, 1]


@pytest.mark.parametrize(
    "word", ["", "n/a", "NA", "NaN", "nan", "None", "null", "NULL", "<NA>", "#N/A", "#NA"]
)
def test_words_of_bids_r_pandas_sql_and_spreadsheets_are_no_value(word: str) -> None:
    assert judge(["1", word, word]) == Cells("number", [])
    assert judge(["F", word, "M"]) == Cells("number", [])
