"""Jacobian determinants of a person's transform, in template space (Dimitri et al. 2022, section 2.3.5)."""

from __future__ import annotations

import numpy as np

from neurostrata.imaging.registration.transforms import Displacement

#: Determinants at or below zero (folding) and tiny ones are raised to this before a logarithm is taken.
SMALLEST_DETERMINANT = 1e-3


def nonlinear_jacobian(warp: Displacement) -> np.ndarray:
    """Determinant of x -> x + u(x) at every voxel: the non-linear part only.

    Parameters
    ----------
    warp
        Displacement on the template's grid, template points to the person's points before the affine.

    Returns
    -------
    np.ndarray
        (X, Y, Z) float32; > 1 where the person's region is larger than the template's, once the affine
        has been taken out. Derivatives are central differences along the voxel axes (one-sided at the
        border), brought to world axes with the grid's spacing and direction, so oblique grids are right.
    """
    to_voxel = np.linalg.inv(warp.grid.affine[:3, :3])  # d(voxel)/d(world)
    matrix = np.zeros((*warp.grid.shape, 3, 3), dtype=np.float32)
    for component in range(3):
        steps = np.gradient(warp.vectors[..., component].astype(np.float32))
        for world in range(3):
            matrix[..., component, world] = sum(steps[axis] * to_voxel[axis, world] for axis in range(3))
        matrix[..., component, component] += 1
    m = matrix
    return (
        m[..., 0, 0] * (m[..., 1, 1] * m[..., 2, 2] - m[..., 1, 2] * m[..., 2, 1])
        - m[..., 0, 1] * (m[..., 1, 0] * m[..., 2, 2] - m[..., 1, 2] * m[..., 2, 0])
        + m[..., 0, 2] * (m[..., 1, 0] * m[..., 2, 1] - m[..., 1, 1] * m[..., 2, 0])
    ).astype(np.float32)


def absolute_jacobian(nonlinear: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the determinant of the whole transform: the non-linear one times |det A|."""
    return (nonlinear * abs(np.linalg.det(affine[:3, :3]))).astype(np.float32)


def log_jacobian(determinant: np.ndarray) -> np.ndarray:
    """Natural logarithm, determinants below :data:`SMALLEST_DETERMINANT` raised to it."""
    return np.log(np.maximum(determinant, SMALLEST_DETERMINANT))
