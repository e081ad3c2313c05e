"""Conversion of images to and from antspyx, whose memory layout and world axes (LPS) differ."""

from __future__ import annotations

from typing import Any

import ants
import numpy as np

from neurostrata.imaging.images.io import Image


def to_ants(image: Image) -> Any:
    """Return an ANTsImage (float) at the same place in space."""
    affine = image.grid.affine
    spacing = image.grid.spacing
    flip = np.diag([-1.0, -1.0, 1.0])
    return ants.from_numpy(
        np.ascontiguousarray(image.data, dtype=np.float32),
        origin=[float(value) for value in flip @ affine[:3, 3]],
        spacing=[float(value) for value in spacing],
        direction=flip @ (affine[:3, :3] / spacing),
    )


def from_ants(image: Any) -> np.ndarray:
    """Return the voxels of an ANTsImage as float32; the order of the axes stays the same."""
    return np.asarray(image.numpy(), dtype=np.float32)
