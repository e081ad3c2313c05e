"""Affines and displacement fields: ITK's files, composition, inversion, resampling.

In memory everything is in RAS world coordinates (mm). ITK's files are LPS; reading and writing flips
the first two components. A person's transform maps template points to that person's points,

    x_person = A(x + u(x)),

which resamples the person's image into the template, as
``ants.apply_transforms(fixed=template, moving=image, transformlist=[warp, affine])`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import io

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.core.records import check
from neurostrata.imaging.images.io import Grid, Image, apply_affine, load_array, sample

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FLIP = np.array([-1.0, -1.0, 1.0], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Displacement:
    """A displacement field: `vectors` (X, Y, Z, 3) in RAS mm on `grid`; maps x to x + u(x)."""

    vectors: np.ndarray
    grid: Grid

    def component(self, axis: int) -> Image:
        """One component as an image."""
        return Image(self.vectors[..., axis], self.grid)


def read_affine(path: Path) -> np.ndarray:
    """Read an ITK affine (``.mat``) as a (4, 4) RAS matrix."""
    check(path)
    try:
        content = io.loadmat(path)
        name = next(key for key in content if "Transform" in key)
        numbers = content[name].ravel().astype(float)
        centre = content["fixed"].ravel().astype(float)
    except (OSError, ValueError, TypeError, StopIteration, KeyError, io.matlab.MatReadError) as error:
        raise UserError(f"{path}: is not an ITK affine transform; run the registration again") from error
    lps = np.eye(4)
    lps[:3, :3] = numbers[:9].reshape(3, 3)
    lps[:3, 3] = numbers[9:12] + centre - lps[:3, :3] @ centre
    return _LPS @ lps @ _LPS


def write_affine(path: Path, affine: np.ndarray) -> None:
    """Write a (4, 4) RAS matrix as an ITK affine (``.mat``) with its centre at the origin."""
    lps = _LPS @ affine @ _LPS
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]]).reshape(12, 1)
    with atomic_path(path) as temporary:
        io.savemat(
            temporary, {"AffineTransform_double_3_3": parameters, "fixed": np.zeros((3, 1))}, format="4"
        )


def read_displacement(path: Path) -> Displacement:
    """Read an ITK displacement field (5-D NIfTI, LPS vectors)."""
    vectors, affine = load_array(path, f"displacement field {path}")
    if vectors.ndim != 5 or vectors.shape[3:] != (1, 3):
        raise UserError(f"{path}: is not a displacement field; run the registration again")
    shape = vectors.shape
    return Displacement(vectors[:, :, :, 0, :] * _FLIP, Grid((shape[0], shape[1], shape[2]), affine))


def write_displacement(path: Path, field: Displacement) -> None:
    """Write an ITK displacement field: 5-D float32 NIfTI with vector intent and LPS vectors."""
    image = nib.Nifti1Image((field.vectors * _FLIP).astype(np.float32)[:, :, :, None, :], field.grid.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    image.set_qform(field.grid.affine, code=1)
    image.set_sform(field.grid.affine, code=1)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def displace(field: Displacement, points: np.ndarray) -> np.ndarray:
    """Map world points (..., 3) to x + u(x); u is 0 outside the field's grid."""
    return points + np.stack([sample(field.component(axis), points) for axis in range(3)], axis=-1)


def invert_displacement(field: Displacement, iterations: int = 30, tolerance: float = 1e-3) -> Displacement:
    """Invert x -> x + u(x) on the field's own grid by fixed-point iteration, v(y) = -u(y + v(y)).

    Parameters
    ----------
    iterations, tolerance
        Largest number of iterations; they end when no vector changes by more than `tolerance` voxels.
    """
    grid = field.grid
    limit = tolerance * float(grid.spacing.min())
    inverse = np.zeros(field.vectors.shape, dtype=np.float32)
    for start, stop in grid.slabs():
        points = grid.points(start, stop)
        vectors = -field.vectors[start:stop]
        for _ in range(iterations):
            target = points + vectors
            update = -np.stack([sample(field.component(axis), target) for axis in range(3)], axis=-1)
            change = float(np.abs(update - vectors).max())
            vectors = update
            if change < limit:
                break
        inverse[start:stop] = vectors
    return Displacement(inverse, grid)


def resample(
    image: Image,
    grid: Grid,
    affine: np.ndarray | None = None,
    warp: Displacement | None = None,
    order: int = 1,
) -> np.ndarray:
    """Resample an image onto a grid with ONE interpolation: value at x is image(A(x + u(x))).

    Parameters
    ----------
    image
        The moving image.
    grid
        Grid of the result; a `warp` on the same grid is used without interpolation.
    affine
        (4, 4) RAS matrix, grid's world points to the image's; None is the identity.
    warp
        Displacement applied before the affine; None is the identity.
    order
        0 nearest neighbour, 1 linear.
    """
    result = np.zeros(grid.shape, dtype=np.float32)
    direct = warp is not None and warp.grid.same_as(grid)
    for start, stop in grid.slabs():
        points = grid.points(start, stop)
        if warp is not None:
            points = points + warp.vectors[start:stop] if direct else displace(warp, points)
        if affine is not None:
            points = apply_affine(affine, points)
        result[start:stop] = sample(image, points, order)
    return result


def resample_to_person(
    image: Image, grid: Grid, affine: np.ndarray, inverse_warp: Displacement, order: int = 1
) -> np.ndarray:
    """Bring an image in template space onto a person's own grid.

    The value at the person's point y is image(z + v(z)) with z = A^-1(y) and v the inverse warp.
    """
    return several_to_person([image], grid, affine, inverse_warp, order)[0]


def several_to_person(
    images: Sequence[Image], grid: Grid, affine: np.ndarray, inverse_warp: Displacement, order: int = 1
) -> list[np.ndarray]:
    """Bring images in template space onto a person's own grid, as :func:`resample_to_person` does with one."""
    results = [np.zeros(grid.shape, dtype=np.float32) for _ in images]
    back = np.linalg.inv(affine)
    for start, stop in grid.slabs():
        points = displace(inverse_warp, apply_affine(back, grid.points(start, stop)))
        for image, result in zip(images, results):
            result[start:stop] = sample(image, points, order)
    return results


def linear_part(field: Displacement, mask: np.ndarray) -> np.ndarray:
    """Least-squares affine (4, 4) of x -> x + u(x) over the voxels of a mask."""
    total, mixed = np.zeros((4, 4)), np.zeros((4, 3))
    for start, stop in field.grid.slabs():
        inside = mask[start:stop]
        points = field.grid.points(start, stop)[inside]
        extended = np.column_stack([points, np.ones(len(points))])
        total += extended.T @ extended
        mixed += extended.T @ (points + field.vectors[start:stop][inside])
    matrix = np.eye(4)
    matrix[:3] = np.linalg.solve(total, mixed).T
    return matrix


def without_linear_part(field: Displacement, linear: np.ndarray) -> Displacement:
    """Displacement of x -> L^-1(x + u(x)): with A L as the affine the whole map stays the same."""
    vectors = np.empty_like(field.vectors)
    back = np.linalg.inv(linear)
    for start, stop in field.grid.slabs():
        points = field.grid.points(start, stop)
        vectors[start:stop] = apply_affine(back, points + field.vectors[start:stop]) - points
    return Displacement(vectors, field.grid)


def inverse_with_linear_part(inverse: Displacement, linear: np.ndarray) -> Displacement:
    """Inverse of :func:`without_linear_part`'s map, z -> L z + v(L z), as a displacement."""
    vectors = np.empty_like(inverse.vectors)
    for start, stop in inverse.grid.slabs():
        points = inverse.grid.points(start, stop)
        vectors[start:stop] = displace(inverse, apply_affine(linear, points)) - points
    return Displacement(vectors, inverse.grid)


def rigid_and_stretch(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split the linear part M = R S by polar decomposition: R a rotation, S symmetric positive definite."""
    u, singular, vt = np.linalg.svd(affine[:3, :3])
    rotation = u @ vt
    if np.linalg.det(rotation) < 0:
        raise UserError("an affine flips left and right; check the header of that image")
    return rotation, vt.T @ np.diag(singular) @ vt
