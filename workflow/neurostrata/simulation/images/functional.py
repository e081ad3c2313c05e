"""Functional networks in MNI space: spatial components with individual amplitudes, and a BOLD series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from neurostrata.simulation.images.templates import SPACING_MM, Templates
from neurostrata.simulation.images.velocity import FWHM_PER_SIGMA, random_field, sample
from neurostrata.simulation.people.people import Person, Settings, stream

#: Width of a component's blobs, FWHM in mm, and how far each person's are displaced (sd per axis, mm).
BLOB_MM, DISPLACED_MM = 26.0, 1.5
#: Standard deviation over people of a component's amplitude, which is 1 on average.
AMPLITUDE_SD = 0.2
#: At diagnosis effect 1: amplitude of patients over controls in the affected components (a third, the first).
DIAGNOSIS_AMPLITUDE = -0.3
#: Smooth variation of each person's maps: FWHM mm -> standard deviation relative to a component's peak.
PERSON_MAPS = {20.0: 0.03}
#: Volumes and repetition time (s) of the BOLD series; AR(1) coefficient of the time courses.
VOLUMES, REPETITION_S, AUTOREGRESSION = 150, 2.0, 0.5
#: Mean BOLD signal; fluctuation at the peak of a component with amplitude 1; noise (sd) at noise 1.
BASELINE, FLUCTUATION, BOLD_NOISE = 10000.0, 300.0, 80.0


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks common to all people.

    Attributes
    ----------
    affine
        (4, 4), voxel to MNI152 mm.
    brain
        (X, Y, Z), bool.
    centres
        (components, 3), MNI mm; each component has a mirrored second blob.
    maps
        (X, Y, Z, components), float32, peak about 1, 0 outside the brain.
    effects
        (components,), amplitude of patients minus controls.
    """

    affine: np.ndarray
    brain: np.ndarray
    centres: np.ndarray
    maps: np.ndarray
    effects: np.ndarray


@dataclass(frozen=True, eq=False)
class Components:
    """A person's components: `maps` (X, Y, Z, components) float32, `amplitudes` (components,)."""

    maps: np.ndarray
    amplitudes: np.ndarray


def _blobs(centres: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return two mirrored Gaussian blobs per centre (n, 3) at points (3, ...), (..., n)."""
    width = 2 * (BLOB_MM / FWHM_PER_SIGMA) ** 2
    maps = []
    for centre in centres:
        parts = [
            np.exp(-((points - side.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) / width)
            for side in (centre, centre * [-1, 1, 1])
        ]
        maps.append(np.maximum(*parts))
    return np.stack(maps, axis=-1)


def make_networks(templates: Templates, settings: Settings) -> Networks:
    """Place the components in grey matter as far from each other as possible; nothing is random."""
    size = settings.bold_resolution_mm
    extent = np.array(templates.shape) * SPACING_MM
    shape = np.ceil(extent / size).astype(int)
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = templates.affine[:3, 3] + (extent - SPACING_MM - size * (shape - 1)) / 2
    points = np.indices(tuple(shape)) * size + affine[:3, 3].reshape(3, 1, 1, 1)
    # voxels of which about half or more is brain
    blurred = ndimage.uniform_filter(templates.brain, max(1, round(size / SPACING_MM)))
    index = (points - templates.affine[:3, 3].reshape(3, 1, 1, 1)) / SPACING_MM
    brain = sample(blurred, index.astype(np.float32)) > 0.5

    deep = ndimage.distance_transform_edt(templates.brain > 0.5) * SPACING_MM
    grey = (ndimage.gaussian_filter(templates.gm, 2.0) > 0.4) & (deep > 8)
    places = templates.coordinates()[:, grey].T.astype(np.float64)
    places = places[places[:, 0] > 6]
    centres = [places[np.argmin(places[:, 1])]]
    for _ in range(settings.components - 1):
        distance = np.min([((places - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
        centres.append(places[np.argmax(distance)])
    maps = (_blobs(np.array(centres), points) * brain[..., None]).astype(np.float32)
    effects = np.zeros(settings.components)
    effects[: -(-settings.components // 3)] = settings.diagnosis_effect * DIAGNOSIS_AMPLITUDE
    return Networks(affine, brain, np.array(centres), maps, effects)


def make_components(
    person: Person, settings: Settings, networks: Networks, share_of_patients: float
) -> Components:
    """Draw a person's component maps.

    Parameters
    ----------
    share_of_patients
        Share of patients in the cohort, used to centre the amplitudes so that their mean stays 1.
    """
    rng = stream(settings.seed, "components", person.number)
    count = len(networks.centres)
    amplitudes = 1.0 + AMPLITUDE_SD * rng.standard_normal(count)
    if settings.diagnosis_effect > 0:
        amplitudes += (person.patient - share_of_patients) * networks.effects
    amplitudes = np.maximum(amplitudes, 0.05)
    size = settings.bold_resolution_mm
    x, y, z = networks.brain.shape
    points = np.indices((x, y, z)) * size + networks.affine[:3, 3].reshape(3, 1, 1, 1)
    moved = networks.centres + DISPLACED_MM * rng.standard_normal((count, 3))
    maps = _blobs(moved, points) * amplitudes
    individual = [random_field((x, y, z), size, PERSON_MAPS, rng) for _ in range(count)]
    maps = (maps + np.stack(individual, axis=-1)) * networks.brain[..., None]
    # rounding makes the file small
    return Components((np.round(maps * 1024) / 1024).astype(np.float32), amplitudes)


def time_courses(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return AR(1) time courses (VOLUMES, count), each with mean 0 and standard deviation 1."""
    rest = rng.standard_normal((VOLUMES + 20, count))
    values = np.zeros_like(rest)
    for t in range(1, len(rest)):
        values[t] = AUTOREGRESSION * values[t - 1] + rest[t]
    values = values[20:]
    return (values - values.mean(axis=0)) / values.std(axis=0)


def make_bold(
    person: Person, settings: Settings, networks: Networks, components: Components
) -> tuple[np.ndarray, np.ndarray]:
    """Make a preprocessed resting-state series of a person's components.

    Returns
    -------
    series
        (X, Y, Z, VOLUMES), int16, MNI space, 0 outside the brain.
    courses
        (VOLUMES, components), the time courses in it, mean 0 and standard deviation 1.
    """
    rng = stream(settings.seed, "bold", person.number)
    courses = time_courses(components.maps.shape[-1], rng)
    inside = networks.brain
    level = BASELINE * (1 + 0.1 * rng.standard_normal())
    signal = FLUCTUATION * components.maps[inside] @ courses.T + level
    sigma = BOLD_NOISE * settings.noise * (3.0 if person.bad_scan else 1.0)
    signal += sigma * rng.standard_normal(signal.shape)
    series = np.zeros((*inside.shape, VOLUMES), dtype=np.int16)
    series[inside] = np.round(np.clip(signal, 0, 32000))
    return series, courses
