"""Quality of synthesis: every subset of inputs, compared with simpler methods (Chartsias 2018, V and VI).

Everything here is in units of an image's mean intensity, as in the paper: volumes are divided by it, so that a
method is judged by the contrast that it predicts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.families import family_numbers
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.evaluation import metrics
from neurostrata.fusion.evaluation.baselines import MEAN_IMAGE
from neurostrata.fusion.evaluation.reconstruction import middle_slices
from neurostrata.fusion.evaluation.synthesis_baselines import build_baseline, in_units_of_mean
from neurostrata.fusion.models.interface import LEAST_MEAN, PLANES, FusionModel

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
    "t": "Paired t statistic; its standard error is that of families drawn as a whole",
    "p": "Its two-sided p-value",
    "p_holm": "The same, corrected by Holm's method over all comparisons of the measure",
    "better": "Whether the model is better by the mean",
}


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


def off_plane_ratio(real: np.ndarray, synthesised: np.ndarray, plane: str | None) -> float:
    """Return how much neighbouring slices differ, synthesised over real (VI-I, Fig. 12).

    Parameters
    ----------
    real, synthesised
        Volumes (x, y, z).
    plane
        Plane of the slices that were synthesised one by one; None for whole volumes: NaN.

    Returns
    -------
    float
        Mean absolute difference between neighbours of the synthesised volume, divided by that of the real one.
        Above 1 slices do not fit together; below 1 they are smoother than real ones.
    """
    if plane is None:
        return float("nan")
    axis = PLANES[plane]
    steps = [
        float(np.abs(np.diff(volume.astype(np.float64), axis=axis)).mean()) for volume in (synthesised, real)
    ]
    return steps[0] / steps[1] if steps[1] > 0 else float("nan")


def measure(real: np.ndarray, synthesised: np.ndarray, plane: str | None) -> dict[str, float]:
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


def input_subsets(inputs: Sequence[str], all_up_to: int) -> list[tuple[str, ...]]:
    """Return the subsets of inputs to try, small ones first.

    All of them up to `all_up_to` inputs; of more, each alone, all but one, and all.
    """
    count = len(inputs)
    sizes = range(1, count + 1) if count <= all_up_to else sorted({1, count - 1, count})
    return [subset for size in sizes for subset in itertools.combinations(inputs, size)]


def tasks(model: FusionModel, all_up_to: int) -> list[tuple[tuple[str, ...], str]]:
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
            f"{model.name}: '{model.outputs[0]}' is the only input and the only output, there is nothing to "
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
    model: FusionModel,
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
        The people it learned from; the baselines learn from those of them who have the inputs and the output.
    test_people
        They count where they have the inputs and the output.
    mask
        Brain mask, shape (x, y, z). Images are 0 outside it, and so is what any method predicts there.
    fold
        For the table.
    settings
        See ``synthesis.schema.yaml``.
    seed, threads
        Seed and threads of the baselines.

    Returns
    -------
    DataFrame
        With the columns of :data:`COLUMNS`. A baseline without training people is left out of a task.
    """
    names, plane = test_people.modalities, model.slice_plane
    always_given = [names.index(name) for name in model.always_given]
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
            synthesised = {
                model.name: model.synthesise(only(volumes, [*inputs, *always_given])[None])[0, target]
            }
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
    model: FusionModel, test_people: VolumeSet, mask: np.ndarray, all_up_to: int, number: int = 3
) -> dict[str, np.ndarray]:
    """Return mid-brain slices of the first test people, real and synthesised from each subset of inputs (Fig. 6).

    Returns
    -------
    dict of ndarray
        ``real`` (people, modalities, 3 planes, side, side) and ``synthesised`` (people, tasks, 3 planes, side,
        side), both in units of the image's mean, NaN where a modality is missing; ``inputs`` (joined by +) and
        ``output`` of each task, ``subjects``, ``modalities``, ``planes``, ``centre`` (voxel).
    """
    centre = np.round(np.argwhere(mask).mean(axis=0)).astype(int)
    names, pairs = test_people.modalities, tasks(model, all_up_to)
    always_given = [names.index(name) for name in model.always_given]
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
                decoded = model.synthesise(only(volumes, [*inputs, *always_given])[None])[
                    0, names.index(output)
                ]
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


def paired_t(difference: np.ndarray, family: np.ndarray) -> tuple[float, float]:
    """Return t of a mean difference and its two-sided p, relatives counted together.

    Images of relatives are as hard as each other, so that they count for less than as many strangers: what varies is the sum of each
    family's deviations from the mean (Liang and Zeger 1986, Biometrika 73:13). Without relatives it is the paired t-test.

    Parameters
    ----------
    difference
        Of each person.
    family
        Number of each person's family, from 0 without gaps.
    """
    from scipy.stats import t as student

    families = int(family.max()) + 1
    sums = np.bincount(family, difference - difference.mean())
    t = difference.sum() / np.sqrt((sums**2).sum() * families / (families - 1))
    return float(t), float(2 * student.sf(abs(t), families - 1))


def compare_methods(table: pd.DataFrame, method: str, families: Mapping[str, str]) -> pd.DataFrame:
    """Compare a model with each baseline by paired t-tests over people (V, significance tests).

    Parameters
    ----------
    table
        From :func:`evaluate_synthesis`, all folds; each person is tested once.
    method
        The model's name in it.
    families
        Subject -> family, "" for none (:func:`paired_t`).

    Returns
    -------
    DataFrame
        With the columns of :data:`COMPARISON_COLUMNS`. The paper tests against the best baseline at 5%; here
        against each, with Holm's correction over all tasks and baselines of a measure. With fewer than two
        families, or differences all alike, p is missing.
    """
    from statsmodels.stats.multitest import multipletests

    baselines = [name for name in pd.unique(table["method"]) if name != method]
    rows = []
    for name, more_is_better in MEASURES.items():
        for (inputs, output), part in table.groupby(["inputs", "output"], sort=False):
            values = part.pivot(index="subject", columns="method", values=name)
            for baseline in baselines:
                if baseline not in values or method not in values:
                    continue
                known = values[[method, baseline]].dropna()
                both = known.to_numpy(dtype=float)
                difference = both[:, 0] - both[:, 1]
                family = family_numbers([families[str(subject)] for subject in known.index])
                testable = len(set(family)) > 1 and np.ptp(difference) > 0
                t, p = paired_t(difference, family) if testable else (np.nan, np.nan)
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
                        "t": t,
                        "p": p,
                        "better": bool(gap > 0 if more_is_better else gap < 0),
                    }
                )
    result = pd.DataFrame(rows, columns=[c for c in COMPARISON_COLUMNS if c != "p_holm"])
    result["p_holm"] = np.nan
    for _, members in result.dropna(subset="p").groupby("measure"):
        result.loc[members.index, "p_holm"] = multipletests(members["p"], method="holm")[1]
    return result[list(COMPARISON_COLUMNS)]
