"""What is planted in the brains of each group: growth, thinning and neurite density, region by region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurostrata.simulation.regions import VENTRICLES, Regions

#: At effect 1: log-Jacobian of a parcel that a group has larger (or, negative, smaller).
GROWTH = 0.24
#: At effect 1: log-Jacobian of the lateral ventricles from the first group to the last.
VENTRICLE_GROWTH = (-0.25, 0.35)
#: At effect 1: change of the neurite density index in the parcels of a group.
DENSITY = 0.09
#: Change per standard deviation of age: log-Jacobian of the ventricles and of the parcels, NDI of all.
AGE_VENTRICLES, AGE_PARCELS, AGE_DENSITY = 0.10, -0.01, -0.01


@dataclass(frozen=True)
class Planted:
    """Regional differences between the groups.

    Attributes
    ----------
    growth
        (groups, regions), log-Jacobian; its mean over people is 0 in every region.
    density
        (groups, regions), change of NDI; likewise.
    """

    growth: np.ndarray
    density: np.ndarray


def plant(regions: Regions, sizes: np.ndarray, effect: float) -> Planted:
    """Return what each group's regions differ in; `effect` multiplies all of it.

    The mirrored parcels are dealt out to the groups from the back of the head to the front: a group's own
    parcels are larger, those of the next group smaller, and NDI is higher in those of the group after.

    Parameters
    ----------
    regions
        The regions.
    sizes
        People per group; differences are centred over people, so that the cohort's mean stays MNI152.
    effect
        0: no difference between the groups. 1: as the constants of this module say.
    """
    groups = len(sizes)
    growth = np.zeros((groups, len(regions.names)))
    density = np.zeros_like(growth)
    ventricles = np.linspace(*VENTRICLE_GROWTH, groups)
    for column, name in enumerate(regions.names):
        if name == VENTRICLES:
            growth[:, column] = ventricles
            continue
        owner = (int(name.split("_")[1]) - 1) % groups
        growth[owner, column] += GROWTH
        growth[(owner - 1) % groups, column] -= GROWTH
        density[(owner + 1) % groups, column] += DENSITY
        density[owner, column] -= DENSITY
    weights = np.asarray(sizes, dtype=np.float64) / np.sum(sizes)
    return Planted(effect * (growth - weights @ growth), effect * (density - weights @ density))
