"""Relatives stay together: in parts, samples, exchanges and weights of people."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.families import (
    families_of,
    family_blocks,
    family_names,
    family_numbers,
    family_parts,
    family_sample,
    family_weights,
    fixed_people,
)

#: Families of three, two and two, and four people without one.
FAMILIES = ["a", "", "b", "a", "c", "", "b", "a", "c", "", ""]
ROWS = {"a": {0, 3, 7}, "b": {2, 6}, "c": {4, 8}, "1": {1}, "5": {5}, "9": {9}, "10": {10}}


def test_families_are_looked_up_by_person() -> None:
    people = pd.DataFrame({"family": ["f", None, "g"]}, index=["02", "03", "01"])
    assert families_of(people, ["01", "02", "03", "04"]) == ["g", "f", "", ""]
    assert families_of(people[[]], ["01", "02"]) == ["", ""]
    assert family_names(["1", "2"], ["f", ""]) == ["f", "person 2"]


def test_numbers_are_equal_for_relatives_alone() -> None:
    number = family_numbers(FAMILIES)
    together = {frozenset(np.flatnonzero(number == one).tolist()) for one in number}
    assert together == {frozenset(rows) for rows in ROWS.values()}


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_parts_never_divide_a_family_and_are_about_equal(parts: int) -> None:
    divisions = [family_parts(FAMILIES, parts, np.random.default_rng(seed)) for seed in range(30)]
    for part in divisions:
        assert all(len({part[row] for row in rows}) == 1 for rows in ROWS.values())
        size = np.bincount(part, minlength=parts)
        assert len(size) == parts
        assert size.max() - size.min() <= 1
    assert len({tuple(part) for part in divisions}) > 10


def test_samples_have_whole_families_each_person_once() -> None:
    samples = [family_sample(FAMILIES, np.random.default_rng(seed)).tolist() for seed in range(2000)]
    for rows in samples:
        assert rows == sorted(set(rows))
        assert all(family <= set(rows) or not family & set(rows) for family in ROWS.values())
    # of seven families drawn seven times, 1 - (6/7)^7 are in a sample
    assert np.mean([len(rows) for rows in samples]) / 11 == pytest.approx(1 - (6 / 7) ** 7, abs=0.02)


def test_families_of_one_size_can_be_exchanged() -> None:
    blocks = family_blocks(FAMILIES)
    assert [block.shape for block in blocks] == [(4, 1), (2, 2), (1, 3)]
    assert [[set(rows) for rows in block.tolist()] for block in blocks] == [
        [{1}, {5}, {9}, {10}],
        [{2, 6}, {4, 8}],
        [{0, 3, 7}],
    ]
    assert fixed_people(blocks) == 3
    alone = [None, float("nan"), " ", ""]
    assert [block.shape for block in family_blocks(alone)] == [(4, 1)]  # type: ignore[arg-type]


def test_weights_count_families_as_a_whole() -> None:
    weights = family_weights(FAMILIES, 4000, np.random.default_rng(0))
    assert weights.shape == (4000, 11)
    for rows in ROWS.values():
        assert np.ptp(weights[:, sorted(rows)], axis=1).max() == 0
    assert (weights[:, [min(rows) for rows in ROWS.values()]].sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(11), abs=0.06)
