"""Regions in MNI space in which effects are planted: parcels of the brain and the lateral ventricles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.cluster.vq import kmeans2

from neurostrata.simulation.images.templates import SPACING_MM, Templates
from neurostrata.simulation.images.velocity import FWHM_PER_SIGMA

#: Parcels of each half of the brain.
PARCELS = 9
#: Smallest region (voxels of 2 mm) in which growth can be measured.
SMALLEST_REGION = 200
#: FWHM (mm) that smooths the edge of a region in which a change is planted; wider than a voxel of the maps.
EDGE_MM = 9.0
VENTRICLES = "lateral_ventricles"


@dataclass(frozen=True, eq=False)
class Regions:
    """Labelled regions on the grid of :class:`~neurostrata.simulation.images.templates.Templates`.

    Attributes
    ----------
    labels
        (X, Y, Z), 0 outside the brain, else 1 + position in `names`.
    names
        Names of the regions; ``left_03`` and ``right_03`` mirror each other.
    """

    labels: np.ndarray
    names: tuple[str, ...]

    def sizes(self) -> np.ndarray:
        """Return the number of voxels of each region."""
        return np.bincount(self.labels.ravel(), minlength=len(self.names) + 1)[1:]

    def means(self, volume: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the (weighted) mean of `volume` in each region, in the order of `names`."""
        index = np.arange(1, len(self.names) + 1)
        if weights is None:
            return np.asarray(ndimage.mean(volume, self.labels, index))
        total = ndimage.sum_labels(volume * weights, self.labels, index)
        return np.asarray(total / np.maximum(ndimage.sum_labels(weights, self.labels, index), 1e-9))

    def spread(self, values: np.ndarray, edge_mm: float = EDGE_MM) -> np.ndarray:
        """Return a smooth map (X, Y, Z) with about `values[k]` in region k and 0 far from all regions."""
        table = np.concatenate([[0.0], values]).astype(np.float32)
        return ndimage.gaussian_filter(
            table[self.labels], edge_mm / FWHM_PER_SIGMA / SPACING_MM, truncate=3.0
        )


def _lateral_ventricles(templates: Templates) -> np.ndarray:
    """Return the mask of the CSF spaces in the middle of the brain, above the third ventricle."""
    x, y, z = templates.coordinates()
    near = (np.abs(x) < 40) & (y > -65) & (y < 40) & (z > -2) & (z < 36)
    deep = ndimage.distance_transform_edt(templates.brain > 0.5) * SPACING_MM > 25.0
    parts, count = ndimage.label((templates.csf > 0.5) & near & deep)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    kept = np.flatnonzero(sizes >= SMALLEST_REGION // 2) + 1
    return np.isin(parts, kept)


@cache
def make_regions(templates: Templates, parcels: int = PARCELS) -> Regions:
    """Cut the brain into the lateral ventricles and mirrored parcels of about equal size.

    The parcels are the cells of a k-means clustering of voxel positions with left and right folded
    together, started from points far from each other, so nothing is random. The cells are numbered from
    the back of the head to the front.
    """
    ventricles = _lateral_ventricles(templates)
    inside = (templates.brain > 0.5) & ~ventricles
    points = templates.coordinates()[:, inside].T.astype(np.float64)
    folded = points.copy()
    folded[:, 0] = np.abs(folded[:, 0])
    start = [folded[np.argmin(folded[:, 1])]]
    for _ in range(parcels - 1):
        distance = np.min([((folded - centre) ** 2).sum(axis=1) for centre in start], axis=0)
        start.append(folded[np.argmax(distance)])
    centres, cell = kmeans2(folded, np.array(start), iter=30, minit="matrix")
    rank = np.argsort(np.argsort(centres[:, 1]))[cell]
    labels = np.zeros(templates.shape, dtype=np.int16)
    labels[inside] = 2 + 2 * rank + (points[:, 0] > 0)
    labels[ventricles] = 1
    sides = [f"{side}_{number + 1:02d}" for number in range(parcels) for side in ("left", "right")]
    regions = Regions(labels, (VENTRICLES, *sides))
    if regions.sizes().min() < SMALLEST_REGION:
        raise ValueError(f"a region has fewer than {SMALLEST_REGION} voxels: ask for fewer parcels")
    return regions
