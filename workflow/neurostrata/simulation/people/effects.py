"""Effects planted in the brains of each group, by region: growth, thinning and neurite density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurostrata.simulation.images.regions import VENTRICLES, Regions

#: At effect 1: log-Jacobian of a parcel that a group has larger (or, negative, smaller).
GROWTH = 0.24
#: At effect 1: log-Jacobian of the lateral ventricles from the first group to the last.
VENTRICLE_GROWTH = (-0.25, 0.35)
#: At effect 1: change of the neurite density index in the parcels of a group.
DENSITY = 0.09
#: Change per standard deviation of age: log-Jacobian of the ventricles and of the parcels, NDI of all.
AGE_VENTRICLES, AGE_PARCELS, AGE_DENSITY = 0.10, -0.01, -0.01


#: At diagnosis effect 1: log-Jacobian and NDI of patients over controls, in these parcels of both sides.
DIAGNOSIS_GROWTH, DIAGNOSIS_GROWTH_PARCELS = -0.12, ("03", "07")
DIAGNOSIS_DENSITY, DIAGNOSIS_DENSITY_PARCELS = -0.03, ("05", "08")


@dataclass(frozen=True)
class Planted:
    """Regional differences between the groups.

    Attributes
    ----------
    growth
        (groups, regions), log-Jacobian; its mean over people is 0 in every region.
    density
        (groups, regions), change of NDI; likewise.
    diagnosis_growth, diagnosis_density
        (2, regions), the same for controls and patients, whatever their group; None when nothing is planted.
    """

    growth: np.ndarray
    density: np.ndarray
    diagnosis_growth: np.ndarray | None = None
    diagnosis_density: np.ndarray | None = None


def plant(regions: Regions, sizes: np.ndarray, effect: float) -> Planted:
    """Return the regional differences of each group; `effect` multiplies all of them.

    The mirrored parcels are assigned to the groups in turn from the back of the head to the front: a group's own
    parcels are larger, those of the next group smaller, and NDI is higher in those of the group after.

    Parameters
    ----------
    regions
        The regions.
    sizes
        People per group; differences are centred over people, so that the cohort's mean stays MNI152.
    effect
        0: no difference between the groups. 1: the constants of this module.
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


def plant_diagnosis(
    planted: Planted, regions: Regions, patients: Sequence[bool] | np.ndarray, effect: float
) -> Planted:
    """Add the regional differences of patients to those of the groups; `effect` multiplies all of them.

    Parameters
    ----------
    planted
        Differences between the groups.
    regions
        The regions.
    patients
        (people,), True for patients; differences are centred over people.
    effect
        0: nothing is added. 1: the constants of this module.
    """
    if effect == 0:
        return planted
    share = float(np.mean(patients))
    parcels = np.array([name.split("_")[-1] for name in regions.names])
    contrast = np.array([[-share], [1 - share]])
    return replace(
        planted,
        diagnosis_growth=effect * DIAGNOSIS_GROWTH * contrast * np.isin(parcels, DIAGNOSIS_GROWTH_PARCELS),
        diagnosis_density=effect * DIAGNOSIS_DENSITY * contrast * np.isin(parcels, DIAGNOSIS_DENSITY_PARCELS),
    )
