"""Measures of maps on the fusion grid, and the words of all measures."""

from __future__ import annotations

import numpy as np
import pytest

from neurostrata.imaging.quality.maps import map_measures, usual_range
from neurostrata.imaging.quality.registry import FAMILIES, MEASURES, family_measure, find_measure


def test_a_map_is_compared_with_its_usual_range() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(0.4, 0.1, size=(20, 20, 20))
    mask = np.zeros(data.shape, bool)
    mask[2:18, 2:18, 2:18] = True
    usual = usual_range({"from": "tensor", "measure": "fa"})
    before = map_measures(data, mask, "fa", usual)
    assert before["map_mean_fa"] == pytest.approx(0.4, abs=0.01)
    assert before["map_spread_fa"] == pytest.approx(0.1, rel=0.1)
    assert (before["map_empty_fa"], before["map_unusual_fa"]) == (0, pytest.approx(0, abs=1e-3))
    data[:10][mask[:10]] = 0
    data[15][mask[15]] = 1.0
    after = map_measures(data, mask, "fa", usual)
    assert after["map_empty_fa"] == pytest.approx(0.5)
    assert after["map_unusual_fa"] == pytest.approx(1 / 8)


def test_a_map_without_a_usual_range_is_compared_with_itself() -> None:
    assert usual_range({"from": "column", "column": "pet"}) is None
    data = np.random.default_rng(0).normal(50, 5, size=(20, 20, 20))
    data[0] = 200
    assert map_measures(data, np.ones(data.shape, bool), "pet", None)["map_unusual_pet"] == pytest.approx(
        0.05
    )
    few = np.zeros(data.shape, bool)
    few[0, 0, :5] = True
    assert np.isnan(map_measures(data, few, "pet", None)["map_mean_pet"])


def test_every_measure_has_a_sentence() -> None:
    for name, measure in MEASURES.items():
        assert find_measure(name) is measure
        assert measure.words.endswith(".")
        assert measure.words.count(". ") == 0
        assert "{" not in measure.words
    for family in FAMILIES:
        one = find_measure(family_measure(family, "fa"))
        assert one.name == f"{family}_fa"
        assert "FA" in one.words
        assert one.group == "maps"
    with pytest.raises(KeyError):
        find_measure("beauty")
