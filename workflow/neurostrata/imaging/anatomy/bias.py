"""Bias field correction (N4; Tustison et al. 2010). The paper used FSL's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurostrata.imaging.images.io import Image


def correct_bias(image: Image, mask: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """Return the image divided by its slowly varying bias field, (X, Y, Z) float32; the background is unchanged.

    Parameters
    ----------
    image
        T1-weighted image in native space.
    mask
        (X, Y, Z) bool: where the field is estimated.
    settings
        ``iterations`` per level, ``tolerance``, ``shrink_factor``, ``spline_distance_mm``.
    """
    import ants

    from neurostrata.imaging.images.antspy import from_ants, to_ants

    positive = Image(np.clip(image.data, 0, None), image.grid)
    field = ants.n4_bias_field_correction(
        to_ants(positive),
        mask=to_ants(Image(mask.astype(np.float32), image.grid)),
        shrink_factor=int(settings["shrink_factor"]),
        convergence={"iters": list(settings["iterations"]), "tol": float(settings["tolerance"])},
        spline_param=_mesh(image, float(settings["spline_distance_mm"])),
        return_bias_field=True,
    )
    bias = from_ants(field)
    usable = np.isfinite(bias) & (bias > 1e-3)
    corrected = np.where(usable, positive.data / np.where(usable, bias, 1), positive.data)
    return corrected.astype(np.float32)


def _mesh(image: Image, distance_mm: float) -> list[int]:
    """Number of spline elements per axis; given as a mesh because antspyx truncates distances to integers."""
    extent = np.array(image.grid.shape) * image.grid.spacing
    return [max(1, round(float(side) / distance_mm)) for side in extent]
