"""Data without groups: margins against an exhaustive fit, and what moves, turns and stretches with the codes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression
from scipy.stats import gaussian_kde

from neurostrata.strata.existence.unimodal import (
    BANDWIDTH,
    KINDS,
    UnimodalNull,
    cluster_directions,
    unimodal_margin,
)


def mixture(seed: int, people: int = 150) -> np.ndarray:
    """Values of two groups and a few far out."""
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(-1.5, 0.6, people), random.normal(1.2, 1.0, people)])
    return np.concatenate([values, random.normal(0, 6, people // 15)])


@pytest.mark.parametrize("seed", [1, 2])
def test_a_margin_is_the_nearest_of_all_unimodal_ones(seed: int) -> None:
    """To a kernel estimate by scipy; every place is tried as the mode."""
    values = mixture(seed)
    margin = unimodal_margin(values)
    spread = min(values.std(), np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.34)
    width = BANDWIDTH * 0.9 * spread * len(values) ** -0.2  # Silverman's rule
    density = gaussian_kde(values, bw_method=width / values.std(ddof=1))(margin.values)
    best, nearest = density, np.inf
    for mode in range(len(density)):
        rising = isotonic_regression(density[: mode + 1]).x
        falling = isotonic_regression(density[mode:], increasing=False).x
        shape = np.concatenate([rising[:-1], [max(rising[-1], falling[0])], falling[1:]])
        distance = ((shape - density) ** 2).sum()
        if distance < nearest:
            best, nearest = shape, distance
    np.testing.assert_allclose(margin.cumulative, np.cumsum(best) / best.sum(), atol=1e-9)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_a_margin_stretches_with_its_values(factor: float) -> None:
    values = mixture(3)
    values[:200] = 0.0  # half are alike: the spread is that of all
    for one in (mixture(3), values):
        plain, stretched = unimodal_margin(one), unimodal_margin(one * factor + 7)
        np.testing.assert_allclose(stretched.values, plain.values * factor + 7)
        np.testing.assert_allclose(stretched.cumulative, plain.cumulative, atol=1e-9)


@pytest.mark.parametrize("related", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_data_without_groups_move_with_the_codes(kind: str, related: bool) -> None:
    random = np.random.default_rng(4)
    codes = random.gamma(2.0, size=(60, 5)) @ random.normal(size=(5, 5))
    labels = (codes[:, 0] > np.median(codes[:, 0])).astype(int)
    families = [f"f{row // 2}" if related else "" for row in range(60)]
    shift = np.array([30.0, -20, 0, 5, 100])
    drawn, moved = (
        UnimodalNull(one, labels, None, kind, families).draw(np.random.default_rng(1))
        for one in (codes, codes + shift)
    )
    np.testing.assert_allclose(moved, drawn + shift, atol=1e-6)


def test_margins_do_not_know_the_clusters_and_directions_do() -> None:
    codes = np.random.default_rng(5).gamma(2.0, size=(60, 4))
    one, other = np.arange(60) % 2, np.arange(60) // 30
    for kind, same in zip(KINDS, (True, False)):
        drawn = [UnimodalNull(codes, x, None, kind).draw(np.random.default_rng(1)) for x in (one, other)]
        assert np.allclose(*drawn) == same


def test_directions_are_those_in_which_peoples_clusters_differ_most() -> None:
    """Principal components of everybody's cluster mean: large clusters count as much as they have people."""
    random = np.random.default_rng(6)
    labels = np.repeat([0, 1, 2, 3], [50, 30, 15, 5])
    values = random.normal(size=(100, 6)) + 2 * random.normal(size=(4, 6))[labels]
    values -= values.mean(axis=0)
    white = np.linalg.svd(values, full_matrices=False)[0] * 10
    means = np.stack([white[labels == k].mean(axis=0) for k in range(4)])[labels]
    components = np.linalg.svd(means, full_matrices=False)[2][:3]
    found = cluster_directions(white, labels)
    assert found.shape == (6, 3)
    np.testing.assert_allclose(np.abs(components @ found), np.eye(3), atol=1e-6)
