"""Silhouette widths by their definition, person by person."""

import numpy as np
import pytest

from neurostrata.strata.finders import silhouettes


def by_definition(distances, labels):
    widths = []
    for i, own in enumerate(labels):
        members = [j for j in range(len(labels)) if labels[j] == own and j != i]
        others = [distances[i, labels == k].mean() for k in set(labels) - {own}]
        inside, outside = np.mean([distances[i, j] for j in members]) if members else 0.0, min(others)
        larger = max(inside, outside)
        widths.append((outside - inside) / larger if members and larger else 0.0)
    return widths


@pytest.mark.parametrize("seed", range(4))
def test_widths_are_those_of_the_definition(monkeypatch, seed):
    widths = silhouettes._widths.py_func
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((9, 2))
    distances = np.sqrt(np.square(values[:, None] - values).sum(axis=2))
    labels = np.array([0, 1, 2, 0, 1, 0, 3, 1, 0])  # 2 and 3 have one person each
    wanted = by_definition(distances, labels)
    np.testing.assert_allclose(widths(distances, labels, np.bincount(labels)), wanted, rtol=1e-12)
    assert wanted[2] == wanted[6] == 0
    monkeypatch.setattr(silhouettes, "_widths", widths)
    assert silhouettes.silhouette(distances, labels) == pytest.approx(np.mean(wanted))


def test_people_in_one_place_have_no_width():
    distances = np.zeros((4, 4))
    labels = np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(silhouettes._widths.py_func(distances, labels, np.array([2, 2])), 0)
