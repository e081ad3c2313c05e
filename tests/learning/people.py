"""People to learn from: simulated ones, made by numpy alone, or real brains from a finished study.

A simulated person is a smooth deformation of one synthetic head and a map of densities in it. Both are sums of effects
of the whole cohort (factors), of the person's stratum, of the person alone (coarse and fine), and noise: `jac` is the
determinant of the deformation's derivative, `ndi` the head's densities times a smooth factor, a little displaced.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

if importlib.util.find_spec("nibabel") is None:  # no image is read here: machines without it can train
    _parts = {name: types.ModuleType(f"nibabel.{name}") for name in ("filebasedimages", "spatialimages")}
    for _part, _error in (("filebasedimages", "ImageFileError"), ("spatialimages", "HeaderDataError")):
        setattr(_parts[_part], _error, type(_error, (Exception,), {}))
    _stand_in = types.ModuleType("nibabel")
    vars(_stand_in).update(_parts)
    sys.modules |= {"nibabel": _stand_in} | {part.__name__: part for part in _parts.values()}

MODALITIES = ("jac", "ndi")
#: People per stratum, shares.
SHARES = (0.4, 0.35, 0.25)
#: Effects that the whole cohort shares.
FACTORS = 8
#: Knots along an axis of effects, of each person's own coarse field, and of the fine one.
KNOTS = {"effect": 6, "coarse": 8, "fine": 20}
#: Standard deviation of the deformation's derivative from factors, own coarse field, own fine field.
STRETCH = {"factor": 0.06, "coarse": 0.05, "fine": 0.05}
#: The same of the logarithm of densities.
DENSITY = {"factor": 0.06, "coarse": 0.05, "fine": 0.05}
#: Distance of strata from their mean, in standard deviations of one factor.
DISTANCE = 1.3
#: Noise of a voxel on a grid of 64 voxels (finer voxels have more).
NOISE = 0.01


def basis(voxels: int, knots: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cubic B-splines (voxels, knots + 3) on an axis from -1 to 1, and their derivatives."""
    at = np.linspace(0, knots, voxels, endpoint=False) + knots / voxels / 2
    distance = at[:, None] - (np.arange(knots + 3) - 1)[None]
    far = np.abs(distance)
    value = np.where(far < 1, 2 / 3 - far**2 + far**3 / 2, np.clip(2 - far, 0, None) ** 3 / 6)
    slope = np.where(far < 1, -2 * far + 1.5 * far**2, -(np.clip(2 - far, 0, None) ** 2) / 2)
    return value.astype(np.float32), (slope * np.sign(distance) * knots / 2).astype(np.float32)


class Splines:
    """Smooth fields on a grid from coefficients."""

    def __init__(self, shape: tuple[int, ...], knots: int) -> None:
        counts = (knots, knots, round(0.8 * knots))  # whatever the grid: the same people on each
        self.axes = [basis(side, count) for side, count in zip(shape, counts)]
        self.size = tuple(count + 3 for count in counts)

    def field(self, coefficients: np.ndarray, derivative: int | None = None) -> np.ndarray:
        """Return fields (..., x, y, z) of coefficients (..., i, j, k), or their derivative along an axis."""
        result = coefficients.astype(np.float32)
        for axis, (value, slope) in enumerate(self.axes):
            matrix = slope if axis == derivative else value
            result = np.moveaxis(np.moveaxis(result, axis - 3, -1) @ matrix.T, -1, axis - 3)
        return result


def head(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return densities of a synthetic brain at positions from -1 to 1: folded cortex, white matter, ventricles, nuclei."""

    def step(distance: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(distance / 0.015, -30, 30)))

    radius = np.sqrt((x / 0.80) ** 2 + (y / 0.88) ** 2 + (z / 0.82) ** 2)
    folds = np.sin(17 * x + 2 * np.sin(5 * y)) * np.sin(15 * y + 2 * np.sin(6 * z)) + np.sin(
        16 * z + 2 * np.sin(5 * x)
    )
    white = step(0.80 + 0.06 * folds - radius)
    sulcus = step(0.05 * folds - 0.06 + 0.5 * (radius - 0.9))
    density = 0.38 + 0.27 * white - 0.22 * sulcus * (1 - white)
    for side in (-1, 1):
        ventricle = step(
            0.1 - np.sqrt(((x - side * 0.1) / 0.7) ** 2 + (y / 3) ** 2 + (z - 0.1 - 0.2 * y**2) ** 2)
        )
        nucleus = step(0.13 - np.sqrt((x - side * 0.28) ** 2 + ((y - 0.05) / 1.5) ** 2 + (z + 0.05) ** 2))
        density = density * (1 - ventricle) + 0.03 * ventricle - 0.15 * nucleus * (1 - ventricle)
    return density.astype(np.float32)


@dataclass(frozen=True)
class Cohort:
    """Volumes before scaling.

    Attributes
    ----------
    arrays : dict
        Modality -> (people, x, y, z) float32.
    mask : ndarray, shape (x, y, z), bool
    strata : ndarray, shape (people,), or None
        The planted stratum of each person.
    """

    arrays: dict[str, np.ndarray]
    mask: np.ndarray
    strata: np.ndarray | None


def simulate(people: int, shape: tuple[int, int, int], seed: int, threads: int = 4) -> Cohort:
    """Simulate a cohort; the same people (but for noise) on every grid, whatever the number of threads."""
    random = np.random.default_rng([seed, 2022])
    grid = np.meshgrid(*[(np.arange(n) + 0.5) / n * 2 - 1 for n in shape], indexing="ij", sparse=True)
    mask = np.sqrt((grid[0] / 0.80) ** 2 + (grid[1] / 0.88) ** 2 + (grid[2] / 0.82) ** 2) < 1
    splines = {name: Splines(shape, knots) for name, knots in KNOTS.items()}

    def normed(kind: str, coefficients: np.ndarray, derivative: bool) -> np.ndarray:
        """Scale effects so that the field (or the sum of the deformation's derivatives) has a standard deviation of 1."""
        spline = splines[kind]
        if derivative:
            field = sum(spline.field(coefficients[:, axis], axis) for axis in range(3))
        else:
            field = spline.field(coefficients)
        spread = np.sqrt((np.asarray(field)[:, mask] ** 2).mean(axis=1))
        return coefficients / spread.reshape(-1, *[1] * (coefficients.ndim - 1))

    size = splines["effect"].size
    count = FACTORS + len(SHARES) - 1
    bends = normed("effect", random.normal(size=(count, 3, *size)), True)
    dense = normed("effect", random.normal(size=(count, *size)), False)
    strata = random.permutation(
        np.repeat(np.arange(len(SHARES)), np.diff(np.round(np.cumsum([0, *SHARES]) * people)).astype(int))
    )
    weights = np.zeros((people, count))
    weights[:, :FACTORS] = random.normal(size=(people, FACTORS)) * np.sqrt(
        2 * np.arange(FACTORS, 0, -1) / (FACTORS + 1)
    )
    corners = np.array([[np.cos(angle), np.sin(angle)] for angle in 2 * np.pi * np.arange(3) / 3])
    weights[:, FACTORS:] = DISTANCE * corners[strata] + 0.5 * random.normal(size=(people, 2))
    # Half of what the factors do to density has nothing to do with what they do to shape.
    other = weights.copy()
    other[:, :FACTORS] = np.sqrt(0.5) * (weights[:, :FACTORS] + random.normal(size=(people, FACTORS)))
    scale = 1 / np.sqrt(FACTORS)
    own = {
        kind: (
            1 / np.sqrt(np.mean(sum(splines[kind].field(probe[:, a], a) for a in range(3))[:, mask] ** 2)),
            1 / np.sqrt(np.mean(splines[kind].field(probe[:, 0])[:, mask] ** 2)),
        )
        for kind in ("coarse", "fine")
        for probe in [np.random.default_rng([seed, 7]).normal(size=(8, 3, *splines[kind].size))]
    }
    arrays = {name: np.empty((people, *shape), np.float32) for name in MODALITIES}

    def grow(person: int) -> None:
        draw = np.random.default_rng([seed, 1, person])
        fields = {kind: draw.normal(size=(4, *splines[kind].size)) for kind in ("coarse", "fine")}
        shift = np.tensordot(weights[person], bends, 1) * STRETCH["factor"] * scale
        factor = np.tensordot(other[person], dense, 1) * DENSITY["factor"] * scale
        gradient = np.zeros((3, 3, *shape), np.float32)
        for axis in range(3):
            gradient[:, axis] += splines["effect"].field(shift, axis)
            for kind, field in fields.items():
                gradient[:, axis] += splines[kind].field(field[:3] * STRETCH[kind] * own[kind][0], axis)
        for axis in range(3):
            gradient[axis, axis] += 1
        a, b, c = gradient
        determinant = (
            a[0] * (b[1] * c[2] - b[2] * c[1])
            - a[1] * (b[0] * c[2] - b[2] * c[0])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        # What registration leaves: a quarter of the person's own fine deformation.
        left = splines["fine"].field(fields["fine"][:3] * STRETCH["fine"] * own["fine"][0] / 4)
        log_density = splines["effect"].field(factor)
        for kind, field in fields.items():
            log_density = log_density + splines[kind].field(field[3] * DENSITY[kind] * own[kind][1])
        noise = NOISE * (shape[0] / 64) ** 1.5 * draw.normal(size=(2, *shape)).astype(np.float32)
        arrays["jac"][person] = determinant + noise[0]
        place = [g.astype(np.float32) + move for g, move in zip(grid, left)]
        arrays["ndi"][person] = head(*place) * np.exp(log_density) + noise[1]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(grow, range(people)))
    return Cohort(arrays, mask, strata)


def real(folder: Path, modalities: Sequence[str]) -> Cohort:
    """Read the volumes of a finished study (its ``results/volumes``), of the people who have every modality.

    A folder without the sidecars has MODALITY.npy, each (people, x, y, z) before scaling, and mask.npy.
    """
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in modalities}
    if (folder / "mask.npy").is_file():
        return Cohort(arrays, np.load(folder / "mask.npy") > 0, None)
    from neurostrata.imaging.images.io import read_image

    facts = {name: json.loads((folder / f"{name}.json").read_text()) for name in modalities}
    known = [facts[name]["subjects"] for name in modalities]
    both = [subject for subject in known[0] if all(subject in some for some in known)]
    rows = {name: [facts[name]["subjects"].index(subject) for subject in both] for name in modalities}
    mask = read_image(folder / facts[modalities[0]]["mask"]).data > 0
    return Cohort({name: array[rows[name]] for name, array in arrays.items()}, mask, None)


def save(cohort: Cohort, folder: Path, facts: dict[str, object]) -> None:
    """Write a cohort; facts.json comes last and tells that it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in cohort.arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "mask.npy", cohort.mask)
    if cohort.strata is not None:
        np.save(folder / "strata.npy", cohort.strata)
    (folder / "facts.json").write_text(json.dumps(facts))


def load(folder: Path) -> Cohort:
    """Read what :func:`save` wrote."""
    names = [name for name in MODALITIES if (folder / f"{name}.npy").is_file()]
    strata = folder / "strata.npy"
    return Cohort(
        {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names},
        np.load(folder / "mask.npy"),
        np.load(strata) if strata.is_file() else None,
    )
