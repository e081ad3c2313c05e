"""How well modalities are synthesised from each subset of others, beside simpler methods (Chartsias 2018, V and VI).

Everything here is in units of an image's mean intensity, as in the paper: volumes are divided by it, so that a
method is judged by the contrast that it predicts.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.evaluation import metrics
from neurostrata.fusion.evaluation.reconstruction import middle_slices
from neurostrata.fusion.models.synthesis.latent_synthesis import LatentSynthesis
from neurostrata.fusion.models.synthesis.network import LEAST_MEAN, PLANES

#: Columns of synthesis.tsv and what they hold.
COLUMNS = {
    "subject": "A test person of the fold",
    "fold": "Fold",
    "method": "The experiment's model, or a baseline learned from the same training people",
    "inputs": "Modalities that the method was given, joined by +",
    "output": "Modality that was synthesised",
    "mse": "Mean squared error over the whole image, both images in units of their means",
    "ssim": "Structural similarity from the moments of the whole image (Chartsias 2018, V)",
    "ssim_windowed": "Mean structural similarity, 3-D Gaussian window",
    "psnr": "10 log10(max^2 / mse), dB; max is the greatest value of the real image",
    "off_plane": "Mean absolute difference between neighbouring slices of the plane that is synthesised slice by slice, synthesised over real",
}
MEAN_IMAGE = "mean_image"
#: Measures that methods are compared by; whether more is better.
MEASURES = {"mse": False, "ssim": True, "ssim_windowed": True, "psnr": True}
#: Columns of the comparison of methods.
COMPARISON_COLUMNS = {
    "inputs": "Modalities that both methods were given",
    "output": "Modality that was synthesised",
    "measure": "Column of synthesis.tsv",
    "method": "The experiment's model",
    "baseline": "The method that it is compared with",
    "n": "People with both values",
    "mean": "Mean of the model's values",
    "mean_baseline": "Mean of the baseline's values",
    "difference": "Mean of model minus baseline",
    "t": "Paired t statistic",
    "p": "Its two-sided p-value",
    "p_holm": "The same, corrected by Holm's method over all comparisons of the measure",
    "better": "Whether the model is better by the mean",
}
#: Voxels predicted at once.
VOXELS_AT_ONCE = 20000
#: People whose voxels a method on voxels learns from, at most.
MOST_PEOPLE = 300
#: Distances (voxels) between the points of the three patches of the random forest.
SCALES = (1, 2, 4)


def in_units_of_mean(image: np.ndarray) -> np.ndarray:
    """Return an image (x, y, z) divided by its mean intensity (V, pre-processing)."""
    return (image / max(float(image.mean(dtype=np.float64)), LEAST_MEAN)).astype(np.float32)


# ------------------------------------------------------------------------------------ measures


def global_similarity(real: np.ndarray, synthesised: np.ndarray) -> float:
    """Return the paper's SSIM, from the moments of the two whole volumes.

    The paper leaves the constants open: (0.01 L)^2 and (0.03 L)^2 with L the greatest value of the real image.
    """
    a, b = real.astype(np.float64), synthesised.astype(np.float64)
    largest = a.max()
    c1, c2 = (0.01 * largest) ** 2, (0.03 * largest) ** 2
    mean_a, mean_b = a.mean(), b.mean()
    covariance = ((a - mean_a) * (b - mean_b)).mean()
    return float(
        (2 * mean_a * mean_b + c1)
        * (2 * covariance + c2)
        / ((mean_a**2 + mean_b**2 + c1) * (a.var() + b.var() + c2))
    )


def off_plane_ratio(real: np.ndarray, synthesised: np.ndarray, plane: str) -> float:
    """Return how much neighbouring slices differ, synthesised over real (VI-I, Fig. 12).

    Parameters
    ----------
    real, synthesised
        Volumes (x, y, z).
    plane
        Plane of the slices that were synthesised one by one.

    Returns
    -------
    float
        Mean absolute difference between neighbours of the synthesised volume, divided by that of the real one.
        Above 1 slices do not fit together; below 1 they are smoother than real ones.
    """
    axis = PLANES[plane]
    steps = [
        float(np.abs(np.diff(volume.astype(np.float64), axis=axis)).mean()) for volume in (synthesised, real)
    ]
    return steps[0] / steps[1] if steps[1] > 0 else float("nan")


def measure(real: np.ndarray, synthesised: np.ndarray, plane: str) -> dict[str, float]:
    """Return every measure of one synthesised image; see :data:`COLUMNS`."""
    error = metrics.mean_squared_error(real, synthesised)
    largest = max(float(real.max()), LEAST_MEAN)
    return {
        "mse": error,
        "ssim": global_similarity(real, synthesised),
        "ssim_windowed": metrics.structural_similarity(real / largest, synthesised / largest),
        "psnr": float(10 * np.log10(largest**2 / error)) if error > 0 else float("nan"),
        "off_plane": off_plane_ratio(real, synthesised, plane),
    }


# ------------------------------------------------------------------------------------ features


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


# ----------------------------------------------------------------------------------- baselines


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
        Of the draws.
    prepare
        What is done to a person's volumes before, once.
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
            # A network that uses all its epochs is no failure: the limit is ours.
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
        Of draws and of learning.
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


# ---------------------------------------------------------------------------------- evaluation


def input_subsets(inputs: Sequence[str], all_up_to: int) -> list[tuple[str, ...]]:
    """Return the subsets of inputs to try, small ones first.

    All of them up to `all_up_to` inputs; of more, each alone, all but one, and all.
    """
    count = len(inputs)
    sizes = range(1, count + 1) if count <= all_up_to else sorted({1, count - 1, count})
    return [subset for size in sizes for subset in itertools.combinations(inputs, size)]


def tasks(model: LatentSynthesis, all_up_to: int) -> list[tuple[tuple[str, ...], str]]:
    """Return pairs of given inputs and one output that is not among them.

    Raises
    ------
    UserError
        When there are none: the one input is the one output.
    """
    pairs = [
        (subset, output)
        for subset in input_subsets(model.inputs, all_up_to)
        for output in model.outputs
        if output not in subset
    ]
    if not pairs:
        raise UserError(
            f"latent_synthesis: '{model.outputs[0]}' is the only input and the only output, there is nothing to "
            "synthesise; add a modality"
        )
    return pairs


def only(volumes: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Return a person's volumes (modalities, x, y, z) with NaN in place of all but some modalities."""
    result = np.full_like(volumes, np.nan)
    result[list(kept)] = volumes[list(kept)]
    return result


def _who_has(people: VolumeSet, positions: Sequence[int]) -> np.ndarray:
    return np.flatnonzero(people.present()[:, list(positions)].all(axis=1))


def evaluate_synthesis(
    model: LatentSynthesis,
    training_people: VolumeSet,
    test_people: VolumeSet,
    mask: np.ndarray,
    fold: str,
    settings: Mapping[str, Any],
    seed: int,
    threads: int = 1,
) -> pd.DataFrame:
    """Synthesise every output from every subset of inputs, by one model and by baselines made for the task.

    Parameters
    ----------
    model
        A trained model; it is given the subset only (the paper's experiment B).
    training_people
        Whom it learned from; the baselines learn from those of them who have the inputs and the output.
    test_people
        Those of them who have the inputs and the output count.
    mask
        Brain mask, shape (x, y, z). Images are 0 outside it, and so is what any method predicts there.
    fold
        For the table.
    settings
        See ``synthesis.schema.yaml``.
    seed, threads
        Of and for the baselines.

    Returns
    -------
    DataFrame
        With the columns of :data:`COLUMNS`. A baseline that nobody can teach is left out of a task.
    """
    names, plane = test_people.modalities, model.network.test_plane
    lesions = [] if model.options["mask_input"] is None else [names.index(model.options["mask_input"])]
    rows: list[dict[str, Any]] = []
    means: dict[tuple[str, ...], Any] = {}  # the mean image does not depend on the inputs
    for subset, output in tasks(model, settings["all_subsets_up_to"]):
        inputs, target = [names.index(name) for name in subset], names.index(output)
        tested = _who_has(test_people, [*inputs, target])
        if not len(tested):
            continue
        learned = training_people.subset(_who_has(training_people, [*inputs, target]).tolist())
        baselines = {}
        for name in settings["baselines"] if len(learned) else []:
            key = (output, *learned.subjects)
            if name == MEAN_IMAGE and key in means:
                baselines[name] = means[key]
                continue
            baselines[name] = build_baseline(name, settings, seed, threads)
            baselines[name].fit(learned, inputs, target, mask)
            if name == MEAN_IMAGE:
                means[key] = baselines[name]
        for index in tested:
            volumes = test_people[int(index)]
            real = in_units_of_mean(volumes[target])
            given = np.stack([in_units_of_mean(volumes[i]) for i in inputs])
            synthesised = {model.name: model.synthesise(only(volumes, [*inputs, *lesions])[None])[0, target]}
            synthesised.update({name: baseline.predict(given) for name, baseline in baselines.items()})
            for method, image in synthesised.items():
                rows.append(
                    {
                        "subject": test_people.subjects[int(index)],
                        "fold": fold,
                        "method": method,
                        "inputs": "+".join(subset),
                        "output": output,
                        **measure(real, np.where(mask, image, 0), plane),
                    }
                )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def example_syntheses(
    model: LatentSynthesis, test_people: VolumeSet, mask: np.ndarray, all_up_to: int, number: int = 3
) -> dict[str, np.ndarray]:
    """Return mid-brain slices of the first test people, real and synthesised from each subset of inputs (Fig. 6).

    Returns
    -------
    dict of ndarray
        ``real`` (people, modalities, 3 planes, side, side) and ``synthesised`` (people, tasks, 3 planes, side,
        side), both in units of the image's mean, NaN where a modality lacks; ``inputs`` (joined by +) and
        ``output`` of each task, ``subjects``, ``modalities``, ``planes``, ``centre`` (voxel).
    """
    centre = np.round(np.argwhere(mask).mean(axis=0)).astype(int)
    names, pairs = test_people.modalities, tasks(model, all_up_to)
    lesions = [] if model.options["mask_input"] is None else [names.index(model.options["mask_input"])]
    chosen = range(min(number, len(test_people)))
    real, synthesised = [], []
    for index in chosen:
        volumes = test_people[index]
        has = test_people.present()[index]
        real.append([middle_slices(in_units_of_mean(image), centre) for image in volumes])
        images = []
        for subset, output in pairs:
            inputs = [names.index(name) for name in subset]
            image = np.full(mask.shape, np.nan, np.float32)
            if has[inputs].all():
                decoded = model.synthesise(only(volumes, [*inputs, *lesions])[None])[0, names.index(output)]
                image = np.where(mask, decoded, 0)
            images.append(middle_slices(image, centre))
        synthesised.append(images)
    return {
        "real": np.array(real),
        "synthesised": np.array(synthesised),
        "inputs": np.array(["+".join(subset) for subset, _ in pairs]),
        "output": np.array([output for _, output in pairs]),
        "subjects": np.array([test_people.subjects[i] for i in chosen]),
        "modalities": np.array(names),
        "planes": np.array(["sagittal", "coronal", "axial"]),
        "centre": centre,
    }


def compare_methods(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Compare a model with each baseline by paired t-tests over people (V, significance tests).

    Parameters
    ----------
    table
        From :func:`evaluate_synthesis`, all folds; each person is tested once.
    method
        The model's name in it.

    Returns
    -------
    DataFrame
        With the columns of :data:`COMPARISON_COLUMNS`. The paper tests against the best baseline at 5%; here
        against each, with Holm's correction over all tasks and baselines of a measure. With fewer than two
        people, or differences all alike, p is missing.
    """
    from scipy.stats import ttest_rel
    from statsmodels.stats.multitest import multipletests

    baselines = [name for name in pd.unique(table["method"]) if name != method]
    rows = []
    for name, more_is_better in MEASURES.items():
        for (inputs, output), part in table.groupby(["inputs", "output"], sort=False):
            values = part.pivot(index="subject", columns="method", values=name)
            for baseline in baselines:
                if baseline not in values or method not in values:
                    continue
                both = values[[method, baseline]].dropna().to_numpy(dtype=float)
                difference = both[:, 0] - both[:, 1]
                testable = len(both) > 1 and np.ptp(difference) > 0
                t, p = ttest_rel(both[:, 0], both[:, 1]) if testable else (np.nan, np.nan)
                gap = float(difference.mean()) if len(both) else np.nan
                rows.append(
                    {
                        "inputs": inputs,
                        "output": output,
                        "measure": name,
                        "method": method,
                        "baseline": baseline,
                        "n": len(both),
                        "mean": both[:, 0].mean() if len(both) else np.nan,
                        "mean_baseline": both[:, 1].mean() if len(both) else np.nan,
                        "difference": gap,
                        "t": float(t),
                        "p": float(p),
                        "better": bool(gap > 0 if more_is_better else gap < 0),
                    }
                )
    result = pd.DataFrame(rows, columns=[c for c in COMPARISON_COLUMNS if c != "p_holm"])
    result["p_holm"] = np.nan
    for _, members in result.dropna(subset="p").groupby("measure"):
        result.loc[members.index, "p_holm"] = multipletests(members["p"], method="holm")[1]
    return result[list(COMPARISON_COLUMNS)]
