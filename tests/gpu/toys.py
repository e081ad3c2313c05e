"""Made-up data of the checks: volumes of people, and a head to register. Only numpy and scipy are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.fusion.data.volumes import ModalityVolumes, VolumeSet
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.models.registry import build_model

MODALITIES = ("jac", "ndi")


def ellipsoid(shape: tuple[int, ...]) -> np.ndarray:
    """Return a brain-like mask."""
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    return sum(axis**2 for axis in axes) < 0.8


def people(number: int, shape: tuple[int, int, int], folder: Path | None = None) -> VolumeSet:
    """Return people whose volumes vary smoothly along two planted directions; memory-mapped where a folder is given."""
    mask = ellipsoid(shape)
    random = np.random.default_rng(1)
    subjects = [f"{i:04d}" for i in range(number)]
    modes = random.normal(size=(number, 2))
    volumes = []
    for modality, name in enumerate(MODALITIES):
        patterns = [
            ndimage.zoom(
                ndimage.gaussian_filter(random.normal(size=[side // 4 for side in shape]), 1), 4, order=1
            )
            for _ in range(3)
        ]
        patterns = [pattern / pattern.std() for pattern in patterns]
        array = np.empty((number, *shape), np.float32)
        for row, (first, second) in enumerate(modes):
            image = 0.4 + 0.1 * patterns[0] + 0.05 * first * patterns[1] + 0.05 * second * patterns[2]
            array[row] = np.clip(image + 0.02 * random.standard_normal(shape, np.float32), 0, 1)
        stored: np.ndarray = array
        if folder is not None:
            np.save(folder / f"{modality}.npy", array)
            stored = np.load(folder / f"{modality}.npy", mmap_mode="r")
        info: dict[str, Any] = {"subjects": subjects, "affine": np.eye(4).tolist()}
        volumes.append(ModalityVolumes(name, stored, {s: i for i, s in enumerate(subjects)}, info, mask))
    labels = {s: "patient" if i % 2 else "control" for i, s in enumerate(subjects)}
    regions = np.where(mask, 1 + np.arange(mask.size).reshape(shape) // (mask.size // 4 + 1), 0)
    limits = {name: {"low": 0.0, "high": 1.0} for name in MODALITIES}
    return VolumeSet(volumes, subjects, limits, labels=labels, regions=regions)


def model(name: str, shape: tuple[int, int, int], **options: Any) -> FusionModel:
    """Return an untrained model."""
    return build_model(
        name, fill_defaults(options, load_schema(f"models/{name}")), list(MODALITIES), shape, seed=1
    )


def training(**given: Any) -> TrainingSettings:
    """Return training settings: the defaults, and what is given."""
    return TrainingSettings.resolve({**section_defaults("training"), **given}, {}, seed=1)


class Head:
    """A head of tissue and regions that can be seen anywhere in space: no image has to be interpolated.

    Positions are mm, the origin is the centre.
    """

    #: Spacing of the splines that the head is made of, mm, and half their extent.
    SPACING, REACH = 6.0, 108.0

    def __init__(self) -> None:
        random = np.random.default_rng(3)
        side = int(2 * self.REACH / self.SPACING) + 1
        smooth = [ndimage.gaussian_filter(random.normal(size=(side,) * 3), sigma) for sigma in (1.0, 2.5)]
        self.tissue, self.region = (field / field.std() for field in smooth)
        moves = [ndimage.gaussian_filter(random.normal(size=(side,) * 3), 3.0) for _ in range(3)]
        self.moves = [3.0 * move / np.abs(move).max() for move in moves]

    def _at(self, field: np.ndarray, points: np.ndarray, order: int = 3) -> np.ndarray:
        return ndimage.map_coordinates(
            field, (points + self.REACH) / self.SPACING, order=order, mode="nearest"
        )

    def moved(self, points: np.ndarray) -> np.ndarray:
        """Return where the other person has these points (3, ...): a smooth map that differs by up to some 5 mm."""
        shift = np.stack([self._at(move, points) for move in self.moves])
        return 1.03 * points + shift

    def image(self, points: np.ndarray) -> np.ndarray:
        """Return the intensity at points (3, ...)."""
        radius = np.sqrt(sum((axis / half) ** 2 for axis, half in zip(points, (65, 80, 60), strict=True)))
        inside = np.clip((1 - radius) * 20, 0, 1)
        return (inside * (0.6 + 0.3 * np.tanh(2 * self._at(self.tissue, points)))).astype(np.float32)

    def labels(self, points: np.ndarray) -> np.ndarray:
        """Return the region (0: none, 1 to 8) at points (3, ...)."""
        radius = np.sqrt(sum((axis / half) ** 2 for axis, half in zip(points, (65, 80, 60), strict=True)))
        ends = (-1.2, -0.7, -0.3, 0.0, 0.3, 0.7, 1.2)
        return np.where(radius < 1, 1 + np.digitize(self._at(self.region, points, order=1), ends), 0)


def grid(resolution_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the points (3, x, y, z) and the affine (4, 4), voxels to mm, of a grid around the origin."""
    sides = [int(2 * half / resolution_mm) for half in (78, 94, 72)]
    affine = np.diag([resolution_mm] * 3 + [1.0])
    affine[:3, 3] = [-(side - 1) / 2 * resolution_mm for side in sides]
    voxels = np.stack(np.meshgrid(*[np.arange(side) for side in sides], indexing="ij")).astype(np.float64)
    return voxels * resolution_mm + affine[:3, 3].reshape(3, 1, 1, 1), affine
