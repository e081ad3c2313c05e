"""The MNI152 head that every simulated person is grown from; it ships with nilearn, no download."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

#: Spacing of the grid on which people are deformed, mm.
SPACING_MM = 2.0
#: Margin around the brain, voxels; deformations move its edge by less.
_MARGIN = 7


@dataclass(frozen=True, eq=False)
class Templates:
    """Maps of the MNI152 brain on one grid of 2 mm voxels around it, axes R, A, S.

    Attributes
    ----------
    affine
        (4, 4), voxel index to MNI coordinates in mm.
    t1w
        Brain-extracted T1-weighted intensities, (X, Y, Z), about 0 to 1.
    gm, wm, csf
        Tissue fractions; their sum is `brain`.
    brain
        1 inside the brain mask, else 0.
    """

    affine: np.ndarray
    t1w: np.ndarray
    gm: np.ndarray
    wm: np.ndarray
    csf: np.ndarray
    brain: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size of the grid in voxels."""
        x, y, z = self.brain.shape
        return (x, y, z)

    @property
    def centre(self) -> np.ndarray:
        """Centre of the brain, MNI coordinates in mm, (3,)."""
        inside = np.argwhere(self.brain > 0.5)
        return self.affine[:3, :3] @ inside.mean(axis=0) + self.affine[:3, 3]

    def coordinates(self) -> np.ndarray:
        """Return the MNI coordinates of all voxels, (3, X, Y, Z), mm."""
        index = np.indices(self.shape, dtype=np.float32)
        return index * np.float32(SPACING_MM) + self.affine[:3, 3].astype(np.float32).reshape(3, 1, 1, 1)


@cache
def load_templates() -> Templates:
    """Load nilearn's MNI152 T1w, grey and white matter maps and brain mask at 2 mm, cut to the brain.

    CSF is the rest of the mask.
    """
    from nilearn import datasets

    images = [
        datasets.load_mni152_template(resolution=int(SPACING_MM)),
        datasets.load_mni152_gm_template(resolution=int(SPACING_MM)),
        datasets.load_mni152_wm_template(resolution=int(SPACING_MM)),
        datasets.load_mni152_brain_mask(resolution=int(SPACING_MM)),
    ]
    affine = np.asarray(images[0].affine, dtype=np.float64)
    t1w, gm, wm, mask = (np.asarray(image.dataobj, dtype=np.float32) for image in images)
    inside = np.argwhere(mask > 0.5)
    low, high = inside.min(axis=0) - _MARGIN, inside.max(axis=0) + _MARGIN + 1

    def cut(volume: np.ndarray) -> np.ndarray:
        # the brain touches the lower edge of nilearn's box, so a margin is added before the image is cut
        padded = np.pad(volume, _MARGIN)
        return np.ascontiguousarray(padded[tuple(slice(a + _MARGIN, b + _MARGIN) for a, b in zip(low, high))])

    brain = (cut(mask) > 0.5).astype(np.float32)
    gm, wm = (np.clip(cut(tissue), 0.0, 1.0) * brain for tissue in (gm, wm))
    excess = np.maximum(gm + wm, 1.0)
    gm, wm = gm / excess, wm / excess
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    return Templates(moved, cut(t1w) * brain, gm, wm, np.clip(brain - gm - wm, 0.0, 1.0), brain)
