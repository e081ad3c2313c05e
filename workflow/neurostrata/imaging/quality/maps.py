"""Measures of a modality's map on the fusion grid: its values inside the brain against the usual ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurostrata.imaging.quality.registry import family_measure
from neurostrata.imaging.quality.scan import FEWEST_VOXELS, spread

#: Source and map -> values that are usual in a brain. Diffusivities in mm^2/s; free water at 37 degrees has 3.0e-3.
USUAL: dict[tuple[str, str], tuple[float, float]] = {
    ("tensor", "fa"): (0.0, 0.95),
    ("tensor", "md"): (0.2e-3, 3.3e-3),
    ("noddi", "ndi"): (0.0, 0.98),
    ("noddi", "odi"): (0.0, 0.98),
    ("noddi", "fwf"): (0.0, 0.98),
    ("jacobian", "nonlinear"): (0.3, 3.0),
    ("jacobian", "absolute"): (0.2, 4.0),
}
#: Of maps without a usual range: this many robust standard deviations around the median.
RANGE_SD = 5.0


def usual_range(declaration: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the usual values of a modality (a declaration of the section `modalities`), None where none are known."""
    return USUAL.get((declaration["from"], declaration.get("measure", "")))


def map_measures(
    data: np.ndarray, mask: np.ndarray, modality: str, usual: tuple[float, float] | None
) -> dict[str, float]:
    """Return the measures of one map.

    Parameters
    ----------
    data
        (X, Y, Z) the map; 0 where it has no value.
    mask
        (X, Y, Z) bool: the brain on the same grid.
    modality
        Its name.
    usual
        Lowest and highest usual value; None takes the median and 5 robust standard deviations.
    """
    inside = data[mask]
    empty = (inside == 0) | ~np.isfinite(inside)
    values = inside[~empty].astype(float)
    measures = {"map_empty": float(empty.mean()) if inside.size else float("nan")}
    if values.size < FEWEST_VOXELS:
        measures |= dict.fromkeys(("map_mean", "map_spread", "map_unusual"), float("nan"))
    else:
        middle, sd = float(np.median(values)), spread(values)
        low, high = usual or (middle - RANGE_SD * sd, middle + RANGE_SD * sd)
        measures["map_mean"] = float(values.mean())
        measures["map_spread"] = sd
        measures["map_unusual"] = float(((values < low) | (values > high)).mean())
    return {family_measure(family, modality): value for family, value in measures.items()}
