"""Simpler methods that synthesis is compared with: the mean image, and regression voxel by voxel (Chartsias 2018, V)."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.evaluation.baselines import MEAN_IMAGE
from neurostrata.fusion.models.interface import LEAST_MEAN

#: Voxels predicted at once.
VOXELS_AT_ONCE = 20000
#: Most people whose voxels a regression learns from.
MOST_PEOPLE = 300
#: Distances (voxels) between the points of the three patches of the random forest.
SCALES = (1, 2, 4)


def in_units_of_mean(image: np.ndarray) -> np.ndarray:
    """Return an image (x, y, z) divided by its mean intensity (V, pre-processing)."""
    return (image / max(float(image.mean(dtype=np.float64)), LEAST_MEAN)).astype(np.float32)


def neighbourhood(volumes: np.ndarray, voxels: np.ndarray, step: int = 1) -> np.ndarray:
    """Return the 3x3x3 values around voxels.

    Parameters
    ----------
    volumes
        (channels, x, y, z); what lies outside is the nearest voxel's value.
    voxels
        (voxels, 3).
    step
        Distance between the values, in voxels.

    Returns
    -------
    ndarray, shape (voxels, channels * 27)
    """
    sides = np.array(volumes.shape[1:])
    offsets = np.array(list(itertools.product((-step, 0, step), repeat=3)))
    places = np.clip(voxels[:, None, :] + offsets, 0, sides - 1)
    values = volumes[:, places[..., 0], places[..., 1], places[..., 2]]  # (channels, voxels, 27)
    return values.swapaxes(0, 1).reshape(len(voxels), -1)


def smoothed_copies(volumes: np.ndarray) -> np.ndarray:
    """Return volumes (channels, x, y, z) smoothed for each of :data:`SCALES`, shape (scales * channels, x, y, z)."""
    from scipy.ndimage import gaussian_filter

    return np.concatenate(
        [
            volumes if step == 1 else np.stack([gaussian_filter(volume, step / 2) for volume in volumes])
            for step in SCALES
        ]
    )


def multiscale_patches(copies: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Return 3x3x3 patches at three scales (REPLICA-like).

    Parameters
    ----------
    copies
        From :func:`smoothed_copies`.
    voxels
        (voxels, 3).

    Returns
    -------
    ndarray, shape (voxels, channels * 81)
    """
    parts = np.split(copies, len(SCALES))
    return np.concatenate(
        [neighbourhood(part, voxels, step) for part, step in zip(parts, SCALES, strict=True)], axis=1
    )


def patches_and_position(volumes: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Return 3x3x3 patches and the voxels' positions, -1 to 1 along each axis (LSDN-like).

    Returns
    -------
    ndarray, shape (voxels, channels * 27 + 3)
    """
    sides = np.array(volumes.shape[1:])
    position = 2 * voxels / np.maximum(sides - 1, 1) - 1
    return np.concatenate([neighbourhood(volumes, voxels), position.astype(np.float32)], axis=1)


def intensities(volumes: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Return the values at voxels, shape (voxels, channels)."""
    return volumes[:, voxels[:, 0], voxels[:, 1], voxels[:, 2]].T


class VoxelRegression:
    """A method that predicts each voxel of an output from features of the inputs around it.

    Parameters
    ----------
    regressor
        With scikit-learn's ``fit`` and ``predict``.
    features
        (volumes (channels, x, y, z), voxels (n, 3)) -> (n, features).
    voxels
        How many voxels of the mask are learned from, drawn over people; of more than :data:`MOST_PEOPLE`
        people these are drawn first.
    seed
        Seed of the draws.
    prepare
        Applied once to a person's volumes before features are taken.
    """

    def __init__(
        self,
        regressor: Any,
        features: Callable[[np.ndarray, np.ndarray], np.ndarray],
        voxels: int,
        seed: int,
        prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.regressor, self.features, self.voxels, self.seed = regressor, features, voxels, seed
        self.prepare = prepare or (lambda volumes: volumes)

    def fit(self, people: VolumeSet, inputs: Sequence[int], output: int, mask: np.ndarray) -> VoxelRegression:
        """Learn from people who have the inputs and the output.

        Parameters
        ----------
        people
            Training people.
        inputs, output
            Positions of the modalities.
        mask
            Brain mask, shape (x, y, z).
        """
        inside = np.argwhere(mask)
        generator = np.random.default_rng(self.seed)
        members = np.sort(generator.permutation(len(people))[:MOST_PEOPLE])
        each = min(len(inside), -(-self.voxels // len(members)))
        features, targets = [], []
        for index in members:
            volumes = people[int(index)]
            chosen = inside[np.sort(generator.permutation(len(inside))[:each])]
            given = np.stack([in_units_of_mean(volumes[i]) for i in inputs])
            features.append(self.features(self.prepare(given), chosen))
            targets.append(intensities(in_units_of_mean(volumes[output])[None], chosen)[:, 0])
        with warnings.catch_warnings():
            # A network that uses all its epochs has not failed: the limit was set here.
            warnings.filterwarnings("ignore", message=".*Maximum iterations.*")
            self.regressor.fit(np.concatenate(features), np.concatenate(targets))
        self.mask_ = mask
        return self

    def predict(self, volumes: np.ndarray) -> np.ndarray:
        """Return the output (x, y, z) of inputs (channels, x, y, z), all in units of their means; 0 outside the mask."""
        result = np.zeros(self.mask_.shape, np.float32)
        inside, volumes = np.argwhere(self.mask_), self.prepare(volumes)
        for start in range(0, len(inside), VOXELS_AT_ONCE):
            some = inside[start : start + VOXELS_AT_ONCE]
            result[tuple(some.T)] = self.regressor.predict(self.features(volumes, some))
        return result


class MeanImage:
    """The mean of the training people's images, whatever the inputs."""

    def fit(self, people: VolumeSet, inputs: Sequence[int], output: int, mask: np.ndarray) -> MeanImage:
        """Average the output over people."""
        total = np.zeros(mask.shape)
        for index in range(len(people)):
            total += in_units_of_mean(people[index][output])
        self.mean_ = (total / len(people)).astype(np.float32)
        return self

    def predict(self, volumes: np.ndarray) -> np.ndarray:
        """Return the mean image (x, y, z)."""
        return self.mean_


def build_baseline(name: str, settings: Mapping[str, Any], seed: int, threads: int = 1) -> Any:
    """Return an untrained baseline.

    Parameters
    ----------
    name
        One of `settings`' ``baselines``.
    settings
        See ``synthesis.schema.yaml``.
    seed
        Seed of draws and of learning.
    threads
        For the random forest.
    """
    if name == MEAN_IMAGE:
        return MeanImage()
    if name == "linear_regression":
        from sklearn.linear_model import LinearRegression

        return VoxelRegression(LinearRegression(), intensities, settings["voxels"], seed)
    if name == "random_forest":
        from sklearn.ensemble import RandomForestRegressor

        # A third of the features per division and leaves of five samples, as REPLICA has them.
        forest = RandomForestRegressor(
            settings["trees"], max_features=1 / 3, min_samples_leaf=5, random_state=seed, n_jobs=threads
        )
        return VoxelRegression(forest, multiscale_patches, settings["voxels"], seed, smoothed_copies)
    if name == "position_mlp":
        from sklearn.neural_network import MLPRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        network = MLPRegressor(
            hidden_layer_sizes=tuple(settings["hidden"]),
            batch_size=128,
            early_stopping=True,
            n_iter_no_change=5,
            max_iter=100,
            random_state=seed,
        )
        return VoxelRegression(
            make_pipeline(StandardScaler(), network), patches_and_position, settings["voxels"], seed
        )
    raise UserError(
        f"synthesis.baselines: '{name}' is none of mean_image, linear_regression, random_forest, position_mlp"
    )
