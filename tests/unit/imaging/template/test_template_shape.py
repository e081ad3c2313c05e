"""Whether the template has the mean shape of its people: numbers that no step makes zero by itself."""

from __future__ import annotations

import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid
from neurostrata.imaging.registration.chain import Registration, balance
from neurostrata.imaging.registration.transforms import Displacement
from neurostrata.imaging.template.shape import MeanShape

GRID = Grid((20, 24, 22), np.array([[2.0, 0, 0, -20], [0, 2.0, 0, -20], [0, 0, 2.0, -20], [0, 0, 0, 1]]))
POINTS = GRID.points()
MASK = (((POINTS - POINTS.mean(axis=(0, 1, 2))) / (15, 18, 16)) ** 2).sum(axis=-1) < 1
CENTRE = POINTS[MASK].mean(axis=0)


def warp(vectors: np.ndarray) -> Displacement:
    return Displacement(np.broadcast_to(vectors, (*GRID.shape, 3)).astype(np.float32), GRID)


def scaled(factor: float) -> np.ndarray:
    """Scaling about the brain's centre, turned and moved, which is pose and no shape."""
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = factor * turn
    matrix[:3, 3] = (7, -3, 11)
    return matrix


def wave(height: float) -> np.ndarray:
    return height * np.sin(POINTS[..., [1, 2, 0]] / 5)


def test_people_on_both_sides_of_the_template_cancel():
    shape = MeanShape(GRID, MASK)
    for side in (-1, 1):
        shape.add(scaled(1 + 0.2 * side), warp(0))
    assert shape.people == 2
    assert shape.distance_vox == pytest.approx(0, abs=1e-6)
    assert shape.log_size == pytest.approx(0, abs=1e-6)
    # the mean log scale is below 0 all the same: it is no measure of the bias
    assert np.mean(shape.log_scales) == pytest.approx(1.5 * np.log(1.2 * 0.8))
    assert np.mean(shape.log_scales) < -0.05
    waves = MeanShape(GRID, MASK)
    for side in (-1, 1):
        waves.add(scaled(1), warp(wave(side)))
    assert waves.distance_vox == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("way", ["affine", "warp"])
def test_a_template_that_is_too_small_is_seen_wherever_the_size_is(way):
    """5% larger in each direction: in the affines, or in the warps, which `balance` would not let through."""
    shape = MeanShape(GRID, MASK)
    for height in (-1, 1):
        if way == "affine":
            shape.add(scaled(1.05), warp(wave(height)))
        else:
            shape.add(scaled(1), warp(0.05 * (POINTS - CENTRE) + wave(height) * 1.05))
    assert shape.log_size == pytest.approx(3 * np.log(1.05), rel=1e-4)
    radius = np.sqrt(((POINTS[MASK] - CENTRE) ** 2).sum(axis=1).mean())
    assert shape.distance_vox == pytest.approx(0.05 * radius / 2, rel=1e-4)


def test_a_mean_warp_is_seen_that_has_no_linear_part():
    shape = MeanShape(GRID, MASK)
    for height in (1, 3):
        shape.add(scaled(1), warp(wave(height)))
    expected = np.sqrt((wave(2)[MASK] ** 2).sum(axis=1).mean()) / 2
    assert shape.distance_vox == pytest.approx(expected, rel=1e-5)


def test_balance_does_not_change_the_size():
    plain, balanced = MeanShape(GRID, MASK), MeanShape(GRID, MASK)
    for factor, height in ((1.02, 1.0), (1.08, 1.5)):
        before = Registration(np.diag([factor, factor, factor, 1]), warp(wave(height) + 0.04 * POINTS), None)
        after = balance(before, MASK)
        assert np.linalg.det(after.affine) != pytest.approx(np.linalg.det(before.affine), rel=1e-2)
        for shape, result in ((plain, before), (balanced, after)):
            assert result.warp is not None
            shape.add(result.affine, result.warp)
    assert balanced.log_size == pytest.approx(plain.log_size, abs=2e-3)
    assert plain.log_size > 0.2


def test_what_cannot_be_measured_is_said():
    with pytest.raises(UserError, match="mask is empty"):
        MeanShape(GRID, np.zeros(GRID.shape, bool))
    other = Grid((3, 3, 3), np.eye(4))
    with pytest.raises(UserError, match="not on the template's grid"):
        MeanShape(GRID, MASK).add(np.eye(4), Displacement(np.zeros((3, 3, 3, 3), np.float32), other))
