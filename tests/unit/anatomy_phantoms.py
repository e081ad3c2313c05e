"""Small synthetic brains with known deformations, for the tests of the anatomy stages."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from neurostrata.imaging.images import Grid, Image, apply_affine
from neurostrata.imaging.transforms import Displacement

SIDE = 40


def grid(side: int = SIDE, spacing: float = 4.0, degrees: float = 0.0, axes: str = "RAS") -> Grid:
    """Cubic grid centred on the world's origin, turned by `degrees` about two axes, stored along `axes`."""
    import nibabel as nib

    angle = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    order = nib.orientations.axcodes2ornt(axes)
    permutation = np.zeros((3, 3))
    for voxel_axis, (world_axis, sign) in enumerate(order):
        permutation[int(world_axis), voxel_axis] = sign
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ permutation * spacing
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, (side - 1) / 2)
    return Grid((side, side, side), affine)


def brain(
    where: Grid, seed: int = 0, deform: Displacement | None = None, matrix: np.ndarray | None = None
) -> Image:
    """An ellipsoid with a bright core, a dark ventricle and smooth texture; the same object on any grid.

    With `deform` and `matrix` the value at y is the object's at the point that x + u(x), then the matrix,
    maps to y, found by the inverse: used to plant a known transform.
    """
    points = where.points()
    if matrix is not None:
        points = apply_affine(np.linalg.inv(matrix), points)
    if deform is not None:
        from neurostrata.imaging.transforms import displace, invert_displacement

        points = displace(invert_displacement(deform), points)
    radius = np.sqrt(((points / np.array([58.0, 70.0, 52.0])) ** 2).sum(-1))
    core = np.sqrt(((points / np.array([42.0, 54.0, 38.0])) ** 2).sum(-1))
    hole = np.sqrt(((points / np.array([14.0, 22.0, 10.0])) ** 2).sum(-1))

    def soft(value: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp((value - 1) * 25))

    data = 70 * soft(radius) + 40 * soft(core) - 70 * soft(hole)
    texture_grid = grid(48, 4.0)
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((48, 48, 48)), 1.6)
    index = apply_affine(np.linalg.inv(texture_grid.affine), points)
    waves = ndimage.map_coordinates(texture / texture.std(), np.moveaxis(index, -1, 0), order=1)
    data = np.clip(data + 14 * waves * soft(radius), 1, None) * (radius < 1.15)
    return Image(data.astype(np.float32), where)


def bump(
    where: Grid, size_mm: float = 6.0, width_mm: float = 22.0, centre: tuple[float, ...] = (20, 10, 5)
) -> Displacement:
    """A smooth displacement that pushes outward around a point."""
    offset = where.points() - np.array(centre)
    weight = np.exp(-(offset**2).sum(-1) / (2 * width_mm**2))
    return Displacement((offset / width_mm * size_mm * weight[..., None]).astype(np.float32), where)


def expansion(
    where: Grid, factor: float = 1.2, inner_mm: float = 22.0, outer_mm: float = 50.0
) -> Displacement:
    """Volume grows by `factor` inside `inner_mm` of the origin; it fades to nothing at `outer_mm`."""
    points = where.points()
    radius = np.sqrt((points**2).sum(-1))
    fade = np.clip((outer_mm - radius) / (outer_mm - inner_mm), 0, 1)
    weight = fade**2 * (3 - 2 * fade) * (factor ** (1 / 3) - 1)
    return Displacement((points * weight[..., None]).astype(np.float32), where)
