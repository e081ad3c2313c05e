"""MNI152 on a coarse grid, for cohorts that are made directly as volumes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.simulation.images.regions import EDGE_MM, VENTRICLES, make_regions
from neurostrata.simulation.images.templates import load_templates
from neurostrata.simulation.images.velocity import FWHM_PER_SIGMA

#: Points per voxel and axis that the templates are averaged over.
_POINTS = 3


@dataclass(frozen=True)
class CoarseSpace:
    """MNI152 on a coarse grid: affine, tissues (4, x, y, z), mask, region labels and their smooth maps."""

    affine: np.ndarray
    tissues: np.ndarray
    mask: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    spread: np.ndarray  # (regions, x, y, z): the map whose mean is 1 in one region and 0 in the others

    @property
    def spacing(self) -> float:
        """Side of a voxel, mm."""
        return float(self.affine[0, 0])


@cache
def coarse_space(shape: tuple[int, int, int]) -> CoarseSpace:
    """Cover MNI152's brain with cubic voxels and bring tissues and regions to them."""
    templates = load_templates()
    occupied = np.argwhere(templates.brain > 0.5)
    low, high = occupied.min(axis=0), occupied.max(axis=0)
    room = (high - low + 1) * templates.affine[0, 0]
    # one voxel of background on each side
    spacing = float(np.ceil(10 * np.max(room / (np.array(shape) - 2))) / 10)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    centre = templates.affine[:3, :3] @ ((low + high) / 2) + templates.affine[:3, 3]
    affine[:3, 3] = centre - spacing * (np.array(shape) - 1) / 2

    to_voxels = np.linalg.inv(templates.affine) @ affine
    offsets = (np.arange(_POINTS) + 0.5) / _POINTS - 0.5
    cube = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij")).reshape(3, 1, -1)
    points = np.indices(shape).reshape(3, -1, 1) + cube
    index = (to_voxels[:3, :3] @ points.reshape(3, -1) + to_voxels[:3, 3:]).astype(np.float32)

    def block_mean(volume: np.ndarray, order: int = 1) -> np.ndarray:
        values = ndimage.map_coordinates(volume, index, order=order, mode="constant", output=np.float32)
        return values.reshape(*shape, -1).mean(axis=-1)

    parts = (templates.wm, templates.gm, templates.csf, templates.t1w)
    tissues = np.stack([block_mean(part) for part in parts])
    mask = block_mean(templates.brain) >= 0.5
    regions = make_regions(templates)
    shares = np.stack(
        [block_mean((regions.labels == k + 1).astype(np.float32), 0) for k in range(len(regions.names))]
    )
    labels = np.where(mask & (shares.max(axis=0) > 0), shares.argmax(axis=0) + 1, 0)
    kept = [k for k in range(len(regions.names)) if (labels == k + 1).any()]
    lost = [regions.names[k] for k in range(len(regions.names)) if k not in kept]
    if any(name != VENTRICLES for name in lost):
        raise UserError(f"shape {shape}: too coarse for regions {', '.join(lost)}; give more voxels")
    # on a very coarse grid the ventricles may be thinner than a voxel
    table = np.zeros(len(regions.names) + 1, dtype=np.int16)
    table[np.array(kept) + 1] = np.arange(1, len(kept) + 1)
    labels = table[labels]
    numbers = np.arange(1, len(kept) + 1)
    smooth = np.stack(
        [
            ndimage.gaussian_filter((labels == k).astype(np.float32), EDGE_MM / FWHM_PER_SIGMA / spacing)
            for k in numbers
        ]
    )
    overlap = np.stack([ndimage.mean(part, labels, numbers) for part in smooth], axis=1)
    spread = np.tensordot(np.linalg.inv(overlap).T.astype(np.float32), smooth, axes=1) * mask
    return CoarseSpace(affine, tissues, mask, labels, tuple(regions.names[k] for k in kept), spread)
