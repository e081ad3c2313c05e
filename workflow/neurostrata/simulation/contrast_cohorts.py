"""Cohorts of several MRI contrasts made directly on a coarse grid, for models that synthesise one from others.

No stage uses this module: it is for those who develop such models (docs/extending.md), and for their calibration.

Each person has maps of T1, T2, proton density (PD) and apparent diffusion coefficient (ADC), and each contrast
follows from them by its textbook signal equation. So contrasts complement each other as real ones do: T1w depends on
T1, T2w on T2, the diffusion image on ADC and T2 (and, with its dark CSF, on how much of a voxel is CSF), and FLAIR on
T1 and T2 through an inversion that nulls CSF.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.simulation.coarse_space import coarse_space
from neurostrata.simulation.images.contrasts import LESION_COUNT, LESION_RADIUS, LESION_SHARE
from neurostrata.simulation.images.velocity import random_field, sample
from neurostrata.simulation.people.people import stream

#: T1 (ms), T2 (ms), proton density (CSF 1), approximate ADC (mm^2/s) of white matter, grey matter, CSF at 3 T.
TISSUES = {
    "wm": (850.0, 75.0, 0.70, 0.75e-3),
    "gm": (1350.0, 95.0, 0.82, 0.85e-3),
    "csf": (4200.0, 1500.0, 1.00, 3.00e-3),
}
#: The same for old (demyelinated) and of fresh (ischaemic) lesions.
LESIONS = {"old": (1300.0, 150.0, 0.85, 1.20e-3), "fresh": (1100.0, 110.0, 0.80, 0.45e-3)}
#: Standard deviation of the logarithm of a person's T1, T2, PD and ADC about their tissue's: each a smooth field
#: (width, mm -> share of the variance) in white and in grey matter; CSF is the same in all people.
SPREAD = (0.06, 0.10, 0.04, 0.15)
WIDTHS = {12.0: 0.4, 30.0: 0.4, 80.0: 0.2}
#: Noise (standard deviation in each of two channels), as a share of the contrast's mean signal in white matter.
NOISE = {"t1w": 0.04, "t2w": 0.03, "pd": 0.03, "trace": 0.08, "flair": 0.03}
#: Standard deviation of the logarithm of the bias field, 80 mm wide.
BIAS = 0.02
#: Number of voxels over which the edge of a lesion falls from 1 to 0.
_EDGE_VOXELS = 1.0


def t1w(t1: np.ndarray, t2: np.ndarray, pd: np.ndarray, adc: np.ndarray) -> np.ndarray:
    """Spoiled gradient echo, TR 20 ms, 25 degrees."""
    relaxed, angle = np.exp(-20.0 / t1), np.deg2rad(25.0)
    return pd * np.sin(angle) * (1 - relaxed) / (1 - np.cos(angle) * relaxed)


def t2w(t1: np.ndarray, t2: np.ndarray, pd: np.ndarray, adc: np.ndarray) -> np.ndarray:
    """Spin echo, TR 5000 ms, TE 100 ms."""
    return pd * (1 - np.exp(-5000.0 / t1)) * np.exp(-100.0 / t2)


def pd_weighted(t1: np.ndarray, t2: np.ndarray, pd: np.ndarray, adc: np.ndarray) -> np.ndarray:
    """Spin echo, TR 3000 ms, TE 15 ms."""
    return pd * (1 - np.exp(-3000.0 / t1)) * np.exp(-15.0 / t2)


def trace(t1: np.ndarray, t2: np.ndarray, pd: np.ndarray, adc: np.ndarray) -> np.ndarray:
    """Diffusion-weighted spin echo, b = 1000 s/mm^2, TR 6000 ms, TE 90 ms, mean over directions."""
    return pd * (1 - np.exp(-6000.0 / t1)) * np.exp(-90.0 / t2) * np.exp(-1000.0 * adc)


def flair(t1: np.ndarray, t2: np.ndarray, pd: np.ndarray, adc: np.ndarray) -> np.ndarray:
    """Inversion recovery spin echo, TR 9000 ms, TI 2445 ms (CSF is null), TE 100 ms."""
    return pd * np.abs(1 - 2 * np.exp(-2445.0 / t1) + np.exp(-9000.0 / t1)) * np.exp(-100.0 / t2)


#: Contrast -> signal of T1, T2 (ms), PD and ADC (mm^2/s).
SIGNALS = {"t1w": t1w, "t2w": t2w, "pd": pd_weighted, "trace": trace, "flair": flair}


@dataclass(frozen=True, eq=False)
class ContrastCohort:
    """People in several contrasts, and the same without noise and bias.

    Attributes
    ----------
    volumes
        (people, contrasts, x, y, z), float32, in units of the contrast's mean signal in white matter; 0 outside
        the mask.
    noise_free
        The same without noise and bias field.
    lesions
        (people, x, y, z), float32, share of a voxel that is lesion.
    mask
        (x, y, z), bool, brain.
    affine
        (4, 4), voxel to MNI152 mm (R, A, S).
    contrasts, subjects
        Names, in the order of the arrays.
    """

    volumes: np.ndarray
    noise_free: np.ndarray
    lesions: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    contrasts: tuple[str, ...]
    subjects: tuple[str, ...]


@cache
def _white_matter_signal(contrast: str) -> float:
    return float(SIGNALS[contrast](*np.array(TISSUES["wm"])))


def _draw_lesions(white: np.ndarray, spacing: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the share of each voxel that is lesion, (x, y, z): spheres deep in white matter."""
    share = np.zeros(white.shape, dtype=np.float32)
    places = np.argwhere(white > 0.8 * white.max())
    grid = np.indices(white.shape, dtype=np.float32)
    for place in places[rng.integers(len(places), size=count)]:
        # up to half a voxel off a voxel's centre
        centre = place + rng.uniform(-0.5, 0.5, 3)
        radius = rng.uniform(*LESION_RADIUS) / spacing
        away = np.sqrt(((grid - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        np.maximum(share, np.clip((radius - away) / _EDGE_VOXELS + 0.5, 0, 1), out=share)
    return share * np.clip(white, 0, 1)


def simulate_contrasts(
    people: int = 28,
    seed: int = 1,
    shape: tuple[int, int, int] = (32, 40, 32),
    contrasts: Sequence[str] = ("t1w", "t2w", "trace", "flair"),
    noise: float = 1.0,
    lesions: bool = True,
    misplaced_mm: float = 3.0,
    spread: Sequence[float] = SPREAD,
) -> ContrastCohort:
    """Make people in several contrasts, aligned with each other.

    Parameters
    ----------
    people, seed
        Number of people; each has a separate random stream.
    shape
        Voxels along x, y, z; the voxel size follows from MNI152's brain (4.7 mm for the default).
    contrasts
        Of :data:`SIGNALS`.
    noise
        Multiplies :data:`NOISE` and :data:`BIAS`.
    lesions
        Whether :data:`LESION_SHARE` of the people have white-matter lesions, old ones (bright in T2w and
        FLAIR) or fresh ones (brightest in the diffusion image).
    misplaced_mm
        Standard deviation of each person's smooth displacement, alike in all contrasts.
    spread
        As :data:`SPREAD`.

    Returns
    -------
    ContrastCohort

    Raises
    ------
    UserError
        When an option cannot be met.
    """
    unknown = [name for name in contrasts if name not in SIGNALS]
    if unknown:
        raise UserError(f"contrasts: '{unknown[0]}' is none of {', '.join(SIGNALS)}")
    if people < 1:
        raise UserError(f"people {people}: give 1 or more")
    space = coarse_space(shape)
    white_unit = {name: _white_matter_signal(name) for name in contrasts}
    widths = {width: float(np.sqrt(part)) for width, part in WIDTHS.items()}
    inside = space.mask[None]
    clean = np.zeros((people, len(contrasts), *shape), dtype=np.float32)
    scanned, shares = np.zeros_like(clean), np.zeros((people, *shape), dtype=np.float32)
    grid = np.indices(shape, dtype=np.float32)
    for person in range(people):
        rng = stream(seed, "contrasts", person)
        shift = np.stack(
            [random_field(shape, space.spacing, {30.0: misplaced_mm}, rng) for _ in range(3)]
        ) / np.float32(space.spacing)
        fractions = np.stack([sample(tissue, grid + shift) for tissue in space.tissues[:3]])
        # each set of parameters, (4, x, y, z): T1, T2, PD, ADC
        factors = [
            np.exp(np.stack([sd * random_field(shape, space.spacing, widths, rng) for sd in spread]))
            for _ in range(2)
        ]
        tissues = [
            np.array(values).reshape(4, 1, 1, 1) * factor
            for values, factor in zip(TISSUES.values(), [*factors, np.ones((4, 1, 1, 1))], strict=True)
        ]
        has_lesions = rng.random() < LESION_SHARE
        count = {kind: int(has_lesions) * int(rng.poisson(LESION_COUNT / 2)) for kind in LESIONS}
        spots = {kind: _draw_lesions(fractions[0], space.spacing, count[kind], rng) for kind in LESIONS}
        for k, name in enumerate(contrasts):
            signal = sum(
                fraction * SIGNALS[name](*tissue) for fraction, tissue in zip(fractions, tissues, strict=True)
            )
            if lesions:
                for kind, share in spots.items():
                    lesion = SIGNALS[name](*(np.array(LESIONS[kind]).reshape(4, 1, 1, 1) * factors[0]))
                    signal = signal + share * (lesion - signal)
            signal = np.where(inside[0], signal / white_unit[name], 0).astype(np.float32)
            chance = stream(seed, f"contrast {name}", person)
            bias = np.exp(noise * BIAS * random_field(shape, space.spacing, {80.0: 1.0}, chance))
            channels = noise * NOISE[name] * chance.standard_normal((2, *shape), dtype=np.float32)
            clean[person, k] = signal
            scanned[person, k] = np.hypot(signal * bias + channels[0], channels[1]) * space.mask
        if lesions:
            shares[person] = np.maximum(*spots.values()) * space.mask
    width = max(3, len(str(people)))
    return ContrastCohort(
        volumes=scanned,
        noise_free=clean,
        lesions=shares,
        mask=space.mask.copy(),
        affine=space.affine.copy(),
        contrasts=tuple(contrasts),
        subjects=tuple(f"{k + 1:0{width}d}" for k in range(people)),
    )
