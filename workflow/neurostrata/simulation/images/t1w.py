"""One person's T1-weighted image."""

from __future__ import annotations

import numpy as np

from neurostrata.simulation.images.anatomy import Anatomy, Head
from neurostrata.simulation.images.diffusion_signal import rician_noise
from neurostrata.simulation.images.scan import sample_scan
from neurostrata.simulation.people.people import Person, Settings, stream

#: White matter, grey matter, CSF in a T1w image; grey matter's contrast differs between the sites.
_WM, _GM, _CSF = 850.0, 560.0, 190.0
#: A white-matter lesion, a little brighter than grey matter.
_LESION = 600.0
SITE_GREY = (1.0, 1.06, 0.94)
SITE_NOISE = (1.0, 1.25, 0.85)
SITE_BIAS = (0.10, 0.16, 0.13)
#: Standard deviation of the noise of each channel relative to white matter, per voxel of the image.
NOISE = 0.025


def bias_field(
    points: np.ndarray, amplitude: float, rng: np.random.Generator, reach_mm: float = 100.0
) -> np.ndarray:
    """Return a smooth multiplicative field at points (3, ...): the exponential of a random polynomial.

    The polynomial has degree 2 in the coordinates over `reach_mm`, standard deviation about `amplitude`.
    """
    x, y, z = points / reach_mm
    terms = np.stack([x, y, z, x * y, x * z, y * z, x**2 - 0.3, y**2 - 0.3, z**2 - 0.3])
    weights = rng.standard_normal(len(terms))
    weights *= amplitude / np.sqrt((weights**2).sum() * 0.2)
    return np.exp(np.tensordot(weights, terms, axes=1))


def add_noise(
    image: np.ndarray, white: float, person: Person, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """Add noise, and the ghosts of a bad scan, to an image (X, Y, Z) with brightness `white` in white matter."""
    sigma = white * NOISE * SITE_NOISE[person.site] * settings.noise
    if person.bad_scan:
        ghosts = sum(
            np.roll(image, shift, axis=1) * weight for shift, weight in ((5, 0.2), (11, 0.15), (-7, 0.15))
        )
        image = 0.5 * image + ghosts
        sigma *= 4.0
    return rician_noise(image, sigma, rng) if sigma > 0 else image


def make_t1w(
    person: Person,
    settings: Settings,
    head: Head,
    anatomy: Anatomy,
    lesions: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a T1-weighted scan of a person's brain.

    Contrast, noise and bias field differ between the sites. A bad scan has strong noise and the ghosts
    of a moving head.

    Parameters
    ----------
    person, settings, head, anatomy
        The person and the brain.
    lesions
        Share of each voxel that is lesion, (X, Y, Z) in MNI space before the deformation; darker than white
        matter. None: without.

    Returns
    -------
    t1w
        Brain-extracted image (X, Y, Z), int16, 0 outside the mask.
    mask
        (X, Y, Z), uint8: voxels of which more than half is brain.
    affine
        (4, 4), voxel to scanner mm.
    """
    rng = stream(settings.seed, "t1w", person.number)
    scan = sample_scan(anatomy, head.templates, settings.resolution_mm)
    wm, gm, csf = anatomy.tissues
    grey = _GM * SITE_GREY[person.site] * np.exp(rng.normal(0.0, 0.015))
    brightness = _WM * wm + grey * gm + _CSF * csf + 0.7 * _WM * head.detail * head.templates.brain
    if lesions is not None:
        brightness += lesions * (_LESION - brightness)
    signal = scan.average(np.clip(brightness, 0.0, None))
    inside = scan.average(head.templates.brain) > 0.5
    points = np.stack(np.unravel_index(scan.voxels, scan.shape)) * settings.resolution_mm
    points = points + scan.affine[:3, 3:]
    amplitude = SITE_BIAS[person.site] * min(settings.noise, 1.0)
    signal = signal * bias_field(points, amplitude, rng)
    image = add_noise(scan.image(signal), _WM, person, settings, rng)
    mask = scan.image(inside.astype(np.uint8))
    return np.round(image * mask).astype(np.int16), mask, scan.affine
