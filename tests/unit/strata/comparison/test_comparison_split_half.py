"""What is made of many divisions into halves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from neurostrata.strata.comparison import split_half
from neurostrata.strata.comparison.split_half import COLUMNS, FACTOR_COLUMNS, Split, assign, one_split
from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress


class Whole(Finder):
    """Everybody is in one cluster."""

    name = title = measure = "whole"
    search_columns: ClassVar[dict[str, str]] = {}

    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        return Finding(np.ones(len(codes), dtype=np.intp), 0.0, pd.DataFrame())


def test_factors_over_the_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The p of a factor is twice the median, at most 1; a factor that nobody has is not tested."""
    eta2 = np.random.default_rng(1).uniform(size=(8, 3))
    p = np.array([[0.01, 0.02, 0.05, 0.03, 0.2, 0.01, 0.04, 0.06], [0.9] * 8, [1.0] * 8]).T
    left = iter(Split(dict.fromkeys([*COLUMNS][1:], 0.5), *both) for both in zip(eta2, p))
    monkeypatch.setattr(split_half, "one_split", lambda *_: next(left))
    scores = pd.DataFrame({"a": [1.0, 2], "b": [3.0, np.nan], "c": [np.nan, np.nan]})
    told: list[tuple[int, int]] = []
    table, factors = split_half.split_halves(
        Whole({}), np.zeros((2, 2)), scores, ["", ""], 8, 0.05, 1, lambda done, of: told.append((done, of))
    )
    assert table["split"].tolist() == list(range(1, 9))
    assert list(table.columns) == list(COLUMNS)
    assert list(factors.columns) == list(FACTOR_COLUMNS)
    np.testing.assert_allclose(factors["eta2"], np.median(eta2, axis=0))
    np.testing.assert_allclose(factors["eta2_low"], np.percentile(eta2, 5, axis=0))
    np.testing.assert_allclose(factors["eta2_high"], np.percentile(eta2, 95, axis=0))
    assert factors["share_below_alpha"].tolist() == [6 / 8, 0, 0]
    np.testing.assert_allclose(factors["p"], [2 * 0.035, 1, np.nan])
    np.testing.assert_allclose(factors["q"], [2 * 0.07, 1, np.nan])
    assert told == [(number, 8) for number in range(2, 9)]


def test_the_larger_half_is_searched_and_one_cluster_takes_everybody() -> None:
    codes = np.random.default_rng(2).normal(size=(7, 2))
    for seed in range(4):
        split = one_split(Whole({}), codes, codes, [""] * 7, np.random.default_rng(seed))
        assert (split.row["n_first"], split.row["n_second"]) == (4, 3)
        assert (split.row["k_first"], split.row["k_second"]) == (1, 1)
        assert split.eta2.tolist() == [0, 0]
        assert split.p.tolist() == [1, 1]
    assert assign(codes, Whole({}).find(codes), codes[:3]).tolist() == [1, 1, 1]
