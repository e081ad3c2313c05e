"""The p of existence counts the draws that reach the statistic, of each kind by itself; the larger p counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from neurostrata.strata.existence import comparison_with_null
from neurostrata.strata.existence.comparison_with_null import COLUMNS, NULL_COLUMNS, compare_with_null
from neurostrata.strata.existence.unimodal import KINDS
from neurostrata.strata.finders.interface import Finder, Finding

CODES = np.full((4, 2), 5.0)
#: Kind of data without groups -> statistic of each draw.
DRAWN = {"margins": [5.0, 1.0, np.nan, 4.9], "directions": [9.0, 5.0, 2.0, 5.1]}


class Largest(Finder):
    """Its statistic is the largest number of the codes."""

    name = title = measure = "largest"
    search_columns: ClassVar[dict[str, str]] = {}

    def find(self, codes, progress=None):
        return Finding(np.array([1, 1, 2, 2]), float(codes.max()), pd.DataFrame())


@pytest.fixture(autouse=True)
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    class Given:
        def __init__(self, codes, labels, components, kind, families):
            self.left: Iterator[float] = iter(DRAWN[kind])

        def draw(self, generator):
            return np.full((4, 2), next(self.left))

    monkeypatch.setattr(comparison_with_null, "UnimodalNull", Given)


def compared(codes: np.ndarray = CODES, **options: object) -> comparison_with_null.Existence:
    finder = Largest({})
    return compare_with_null(finder, codes, finder.find(codes), 4, 1, **options)  # type: ignore[arg-type]


def test_a_draw_that_equals_the_statistic_reaches_it() -> None:
    told: list[tuple[int, int]] = []
    found = compared(progress=lambda done, of: told.append((done, of)))
    assert found.statistic == 5
    assert found.p_of == {"margins": 2 / 5, "directions": 4 / 5}
    assert (found.decisive, found.p) == ("directions", 4 / 5)
    assert told == [(number, 8) for number in range(1, 9)]
    assert list(found.null.columns) == list(NULL_COLUMNS)
    for kind in KINDS:
        own = found.null[found.null["null"] == kind]
        assert list(own["draw"]) == [1, 2, 3, 4]
        np.testing.assert_array_equal(own["statistic"], DRAWN[kind])
        assert (own["n_clusters"] == 2).all()
    finder = Largest({})
    row = found.row(finder, finder.find(CODES), 4, 0.05)
    assert list(row) == list(COLUMNS)
    assert row["claimed"] == "no"


def test_it_ends_once_enough_draws_of_one_kind_reach_the_statistic() -> None:
    """Two of `directions` do at the second draw; of `margins` there was one among two."""
    found = compared(enough=2)
    assert found.p_of == {"margins": 2 / 3, "directions": 3 / 3}
    assert len(found.null) == 4
    assert compared(enough=4).p_of == compared().p_of


@pytest.mark.parametrize("statistic", [np.nan, -np.inf, np.inf])
def test_without_a_statistic_nothing_is_tested(statistic: float) -> None:
    assert compared(np.full((4, 2), statistic)).p_of == dict.fromkeys(KINDS, 1.0)
