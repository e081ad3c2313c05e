"""Sampling of a brain by a scanner: the grid of a scan and the points that each voxel averages over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from neurostrata.simulation.images.anatomy import Anatomy
from neurostrata.simulation.images.templates import SPACING_MM, Templates
from neurostrata.simulation.images.velocity import sample

#: Extent of a scan, mm.
FIELD_OF_VIEW = (188.0, 228.0, 208.0)


def scan_grid(resolution_mm: float) -> tuple[tuple[int, int, int], np.ndarray]:
    """Return shape and affine (voxel to scanner mm, axes R, A, S) of a scan centred at the origin."""
    x, y, z = (int(np.ceil(extent / resolution_mm)) for extent in FIELD_OF_VIEW)
    affine = np.diag([resolution_mm, resolution_mm, resolution_mm, 1.0])
    affine[:3, 3] = -resolution_mm * (np.array([x, y, z]) - 1) / 2
    return (x, y, z), affine


@dataclass(frozen=True)
class VoxelSamples:
    """Points of a scan: several in each voxel that may contain brain.

    Attributes
    ----------
    shape, affine
        The scan's grid.
    voxels
        (n,), flat indices of those voxels.
    index
        (3, n, m), positions of their m points in the templates' voxels.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    voxels: np.ndarray
    index: np.ndarray

    def average(self, volume: np.ndarray) -> np.ndarray:
        """Return the mean of a map in MNI space over each voxel, (n,)."""
        return sample(volume, self.index).mean(axis=1)

    def only(self, kept: np.ndarray) -> VoxelSamples:
        """Return the samples of some of the voxels; `kept` is (n,) bool."""
        return VoxelSamples(self.shape, self.affine, self.voxels[kept], self.index[:, kept])

    def image(self, values: np.ndarray) -> np.ndarray:
        """Return the scan (X, Y, Z, ...) that has `values` (n, ...) in those voxels and 0 elsewhere."""
        full = np.zeros((int(np.prod(self.shape)), *values.shape[1:]), dtype=values.dtype)
        full[self.voxels] = values
        return full.reshape(*self.shape, *values.shape[1:])


def sample_scan(
    anatomy: Anatomy, templates: Templates, resolution_mm: float, to_t1w: np.ndarray | None = None
) -> VoxelSamples:
    """Find the points of the brain that each voxel of a scan averages over, 2 mm apart or less.

    Parameters
    ----------
    anatomy, templates
        The person and the maps.
    resolution_mm
        Voxel size of the scan.
    to_t1w
        (4, 4), from the scan's coordinates to those of the T1w image; the identity by default.
    """
    shape, affine = scan_grid(resolution_mm)
    to_t1w = np.eye(4) if to_t1w is None else to_t1w
    centres = affine[:3, :3] @ np.indices(shape).reshape(3, -1) + affine[:3, 3:]

    def locate(points: np.ndarray) -> np.ndarray:
        return anatomy.to_template(to_t1w[:3, :3] @ points + to_t1w[:3, 3:], templates)

    # a voxel whose centre is further from the brain than its diagonal contains no brain
    away = ndimage.distance_transform_edt(templates.brain < 0.5).astype(np.float32) * SPACING_MM
    near = sample(away, locate(centres)) < 1.2 * resolution_mm + SPACING_MM
    voxels = np.flatnonzero(near)
    each = int(np.ceil(resolution_mm / SPACING_MM))
    offsets = ((np.arange(each) + 0.5) / each - 0.5) * resolution_mm
    cube = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij")).reshape(3, 1, -1)
    points = (centres[:, voxels, None] + cube).reshape(3, -1)
    return VoxelSamples(shape, affine, voxels, locate(points).reshape(3, len(voxels), -1))
