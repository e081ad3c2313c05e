"""Where effects are large: connected places above a threshold, and the regions of an atlas."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

#: Effects of at least this size are called large enough to look at (Cohen's "medium").
THRESHOLD = 0.5
#: Number of connected places that are listed for each map.
MOST_PLACES = 10


def connected_places(
    effect: np.ndarray, affine: np.ndarray, threshold: float = THRESHOLD
) -> list[dict[str, Any]]:
    """Return the largest connected places whose effect is at least `threshold` in size, of one sign each.

    Parameters
    ----------
    effect
        (X, Y, Z), 0 outside the brain.
    affine
        (4, 4), voxel indices to mm.
    threshold
        Smallest absolute effect.

    Returns
    -------
    list of dict
        The largest first: ``voxels``, ``volume_ml``, ``effect`` (mean of its voxels), ``peak`` (the effect of largest size),
        ``index`` (voxel of the peak). Voxels that share a face are connected.
    """
    millilitres = abs(np.linalg.det(affine[:3, :3])) / 1000
    places: list[dict[str, Any]] = []
    for sign in (1, -1):
        labels, number = ndimage.label(sign * effect >= threshold)
        if not number:
            continue
        numbers = np.arange(1, number + 1)
        voxels = np.bincount(labels.ravel(), minlength=number + 1)[1:]
        means = ndimage.mean(effect, labels, numbers)
        peaks = ndimage.maximum_position(sign * effect, labels, numbers)
        for count, mean, peak in zip(voxels, means, peaks):
            index = tuple(int(part) for part in peak)
            places.append(
                {
                    "voxels": int(count),
                    "volume_ml": float(count * millilitres),
                    "effect": float(mean),
                    "peak": float(effect[index]),
                    "index": index,
                }
            )
    places.sort(key=lambda place: (-place["voxels"], -abs(place["peak"]), place["index"]))
    return places[:MOST_PLACES]


class RegionMeans:
    """Mean of an image over each region of an atlas.

    Parameters
    ----------
    regions
        Region number of each voxel inside the mask, shape (voxels,), 0: none.

    Attributes
    ----------
    numbers
        The regions that have a voxel, ascending.
    """

    def __init__(self, regions: np.ndarray) -> None:
        self._regions = regions
        counts = np.bincount(regions)
        self.numbers = np.flatnonzero(counts)[int(counts[0] > 0) :]
        self._counts = counts[self.numbers]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the means, shape (regions,), of values of the voxels inside the mask."""
        return (
            np.bincount(self._regions, weights=values, minlength=self.numbers.max() + 1)[self.numbers]
            / self._counts
        )
