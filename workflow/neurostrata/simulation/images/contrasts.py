"""Further contrasts of one person in T1w space (T2w, FLAIR) and white-matter lesions that are bright in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurostrata.simulation.images.anatomy import Anatomy, Head
from neurostrata.simulation.images.scan import VoxelSamples, sample_scan
from neurostrata.simulation.images.t1w import add_noise, bias_field
from neurostrata.simulation.people.people import Person, Settings, stream

#: White matter, grey matter, CSF, lesion, and the share of MNI152's T1w detail (inverted), per contrast.
BRIGHTNESS = {
    "t2w": (380.0, 520.0, 1000.0, 850.0, -0.3),
    "flair": (380.0, 470.0, 90.0, 820.0, -0.2),
}
#: Names of the contrasts in file names.
SUFFIXES = {"t2w": "T2w", "flair": "FLAIR"}
#: Standard deviation of the bias field's logarithm.
BIAS = {"t2w": 0.10, "flair": 0.14}
#: Share of the people who have lesions, and how many on average: more with age.
LESION_SHARE, LESION_COUNT = 0.6, 6.0
#: Radius of a lesion, mm.
LESION_RADIUS = (3.0, 8.0)
#: Least white matter fraction where a lesion can be.
_LEAST_WHITE = 0.6


@dataclass(frozen=True)
class Lesions:
    """A person's white-matter lesions.

    Attributes
    ----------
    fraction
        (X, Y, Z), share of a voxel that is lesion, MNI space before the deformation, 0 to 1.
    centres
        (n, 3), MNI mm.
    radii
        (n,), mm.
    """

    fraction: np.ndarray
    centres: np.ndarray
    radii: np.ndarray


def make_lesions(person: Person, seed: int, head: Head, anatomy: Anatomy) -> Lesions:
    """Draw a person's lesions: round, with a soft edge, deep in white matter, more of them in older people."""
    rng = stream(seed, "lesions", person.number)
    templates = head.templates
    fraction = np.zeros(templates.shape, dtype=np.float32)
    mean = LESION_COUNT * np.exp(0.3 * person.age_z)
    count = max(1, int(rng.poisson(mean))) if rng.random() < LESION_SHARE else 0
    white = anatomy.tissues[0] * (templates.wm > 0.9)
    places = np.argwhere(white > 0.8)
    chosen = places[rng.integers(len(places), size=count)]
    radii = rng.uniform(*LESION_RADIUS, size=count)
    coordinates = templates.coordinates()
    centres = templates.affine[:3, :3] @ chosen.T + templates.affine[:3, 3:]
    for centre, radius in zip(centres.T, radii):
        away = np.sqrt(((coordinates - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        # falls from 1 to 0 over 2 mm about the radius
        np.maximum(fraction, np.clip((radius - away) / 2.0 + 0.5, 0.0, 1.0), out=fraction)
    fraction[anatomy.tissues[0] < _LEAST_WHITE] = 0.0
    return Lesions(fraction, centres.T, radii)


def make_contrast(
    contrast: str,
    person: Person,
    settings: Settings,
    head: Head,
    anatomy: Anatomy,
    lesions: Lesions | None,
    scan: VoxelSamples,
    mask: np.ndarray,
) -> np.ndarray:
    """Scan a further contrast of a person's brain, on the grid of the T1w image and aligned with it.

    Parameters
    ----------
    contrast
        ``t2w`` (CSF brightest) or ``flair`` (CSF dark); lesions are bright in both.
    lesions
        None: without.
    scan
        :func:`contrast_scan`.
    mask
        (X, Y, Z), brain mask of the T1w image.

    Returns
    -------
    numpy.ndarray
        (X, Y, Z), int16, 0 outside the mask.
    """
    rng = stream(settings.seed, contrast, person.number)
    wm, gm, csf, lesion, detail = BRIGHTNESS[contrast]
    white, grey, fluid = anatomy.tissues
    brightness = wm * white + gm * np.exp(rng.normal(0.0, 0.015)) * grey + csf * fluid
    brightness += detail * wm * head.detail * head.templates.brain
    if lesions is not None:
        brightness += lesions.fraction * (lesion - brightness)
    signal = scan.average(np.clip(brightness, 0.0, None))
    points = np.stack(np.unravel_index(scan.voxels, scan.shape)) * settings.resolution_mm
    points = points + scan.affine[:3, 3:]
    signal = signal * bias_field(points, BIAS[contrast] * min(settings.noise, 1.0), rng)
    image = add_noise(scan.image(signal), wm, person, settings, rng)
    return np.round(image * mask).astype(np.int16)


def contrast_scan(settings: Settings, head: Head, anatomy: Anatomy) -> VoxelSamples:
    """Return the points that the voxels of images in T1w space average over."""
    return sample_scan(anatomy, head.templates, settings.resolution_mm)


def lesion_mask(lesions: Lesions, scan: VoxelSamples, mask: np.ndarray) -> np.ndarray:
    """Return the voxels in T1w space that are at least half lesion, (X, Y, Z) uint8."""
    inside = scan.image(scan.average(lesions.fraction) >= 0.5)
    return (inside & (mask > 0)).astype(np.uint8)
