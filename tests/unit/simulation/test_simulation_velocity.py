"""Deformations: their flow, its inverse and the volume change that was planted."""

import numpy as np
import pytest
from scipy import ndimage

from neurostrata.simulation.images.velocity import (
    compose,
    exponential,
    jacobian_determinant,
    random_field,
    random_velocity,
    sample,
    source_velocity,
)

SHAPE, SPACING = (48, 52, 44), 2.0


def ball(radius_mm: float) -> np.ndarray:
    grid = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    return (np.sqrt((grid**2).sum(axis=0)) * SPACING < radius_mm).astype(np.float32)


def test_the_flow_of_the_negative_field_is_the_inverse():
    velocity = random_velocity(SHAPE, SPACING, {10.0: 0.3, 30.0: 2.0}, np.random.default_rng(3))
    there, back = exponential(velocity, SPACING), exponential(-velocity, SPACING)
    rest = compose(there, back, SPACING)[:, 8:-8, 8:-8, 8:-8]
    assert np.abs(there).max() > 3.0
    assert np.sqrt((rest**2).mean()) < 0.1
    assert jacobian_determinant(there, SPACING).min() > 0


def test_a_source_plants_its_expansion():
    """20% more volume in a ball, taken from its surroundings, measured in three ways."""
    density = np.log(1.2) * ndimage.gaussian_filter(ball(24.0), 1.0)
    density -= density.mean()
    velocity = source_velocity(density, SPACING)
    displacement = exponential(velocity, SPACING)
    determinant = jacobian_determinant(displacement, SPACING)
    # where the flow comes from inside the ball and stays there
    assert determinant[ball(16.0) > 0].mean() == pytest.approx(1.2, abs=0.02)
    # count the voxels whose point came out of the ball: the deformed ball's volume
    inverse = exponential(-velocity, SPACING)
    index = np.indices(SHAPE, dtype=np.float32) + inverse / np.float32(SPACING)
    inside = ball(18.0)
    grown = sample(inside, index).sum() / inside.sum()
    assert grown == pytest.approx(determinant[inside > 0].mean(), rel=0.02)
    assert grown > 1.15


def test_the_jacobian_of_a_linear_map_is_its_determinant():
    matrix = np.array([[1.1, 0.05, 0.0], [0.0, 0.9, 0.1], [0.02, 0.0, 1.2]])
    points = np.indices(SHAPE).astype(np.float64) * SPACING
    displacement = np.einsum("ij,jxyz->ixyz", matrix - np.eye(3), points)
    determinant = jacobian_determinant(displacement, SPACING)
    np.testing.assert_allclose(determinant, np.linalg.det(matrix), rtol=1e-5)


@pytest.mark.parametrize("width", [8.0, 24.0])
def test_a_random_field_has_the_width_and_the_deviation_asked_for(width):
    fields = np.stack(
        [random_field(SHAPE, SPACING, {width: 2.0}, np.random.default_rng(k)) for k in range(12)]
    )
    assert np.sqrt((fields**2).mean()) == pytest.approx(2.0, rel=0.1)
    # smoothing white noise with a Gaussian: the correlation over a distance d is exp(-d^2 / 4 sigma^2)
    steps = int(width / 2 / SPACING)
    sigma = width / 2.3548 / SPACING
    measured = (fields[:, steps:] * fields[:, :-steps]).mean() / (fields**2).mean()
    assert measured == pytest.approx(np.exp(-(steps**2) / (4 * sigma**2)), abs=0.1)
