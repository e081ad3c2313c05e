"""Quality of reconstruction of a fold's test people, by the model and by two baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.evaluation import metrics
from neurostrata.fusion.evaluation.baselines import MEAN_IMAGE, PCA, fit_pca
from neurostrata.fusion.models.interface import FusionModel

#: Columns of reconstruction.tsv and what they hold.
COLUMNS = {
    "subject": "A test person of the fold",
    "fold": "Fold",
    "method": "The experiment's model, or a baseline learned from the same training people: mean_image, pca",
    "modality": "Modality, scaled as the experiment says",
    "mse": "Mean squared error over the whole image",
    "normdiff": "Median of (decoded - real) / (decoded + real) over the mask's voxels with a sum above 0.01",
    "abs_normdiff": "Median of its absolute value",
    "cnr_normdiff": "(decoded - real) / (decoded + real) of the median contrast-to-noise ratios",
    "ssim": "Mean structural similarity, 3-D Gaussian window",
    "psnr": "Peak signal-to-noise ratio, dB, data range 1",
    "normdiff_excluded": "Share of the mask's voxels that normdiff leaves out",
    "mse_mask": "Mean squared error inside the mask",
    "cnr_real": "Median |contrast-to-noise ratio| of the real image",
    "cnr_decoded": "Median |contrast-to-noise ratio| of the decoded image",
}


def measure(real: np.ndarray, decoded: np.ndarray, mask: np.ndarray, pairs: np.ndarray) -> dict[str, float]:
    """Return every measure of one decoded image; see :data:`COLUMNS`."""
    signed, absolute, excluded = metrics.normalized_difference(real, decoded, mask)
    contrast, contrast_real, contrast_decoded = metrics.contrast_difference(real, decoded, pairs)
    return {
        "mse": metrics.mean_squared_error(real, decoded),
        "normdiff": signed,
        "abs_normdiff": absolute,
        "cnr_normdiff": contrast,
        "ssim": metrics.structural_similarity(real, decoded),
        "psnr": metrics.peak_signal_to_noise(real, decoded),
        "normdiff_excluded": excluded,
        "mse_mask": metrics.mean_squared_error(real, decoded, mask),
        "cnr_real": contrast_real,
        "cnr_decoded": contrast_decoded,
    }


def decoders(
    model: FusionModel,
    training_people: VolumeSet,
    mask: np.ndarray,
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return method name -> function that decodes volumes: the model, the mean training image, and PCA.

    PCA has as many components as the training people allow, at most as many as the model's code has
    numbers. It is left out when the model is itself PCA.
    """
    mean = training_people.mean()
    methods: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        model.name: model.reconstruct,
        MEAN_IMAGE: lambda volumes: np.broadcast_to(mean, volumes.shape),
    }
    if PCA not in methods:
        methods[PCA] = fit_pca(training_people, mask, model.code_size, model.seed).reconstruct
    return methods


def evaluate_people(
    methods: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    test_people: VolumeSet,
    mask: np.ndarray,
    pairs: np.ndarray,
    fold: str,
) -> pd.DataFrame:
    """Decode and measure every test person, modality and method.

    Returns
    -------
    DataFrame
        With the columns of :data:`COLUMNS`.
    """
    rows = []
    for subjects, real in test_people.chunks():
        for method, decode in methods.items():
            decoded = decode(real)
            for person, subject in enumerate(subjects):
                for position, modality in enumerate(test_people.modalities):
                    images = real[person, position], decoded[person, position]
                    if any(np.isnan(image[0, 0, 0]) for image in images):
                        continue  # missing, or not decoded by the method
                    values = measure(real[person, position], decoded[person, position], mask, pairs)
                    rows.append(
                        {"subject": subject, "fold": fold, "method": method, "modality": modality, **values}
                    )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def middle_slices(image: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the three planes through a voxel, padded with zeros to one size.

    Returns
    -------
    ndarray, shape (3, side, side)
        Sagittal (y, z), coronal (x, z), axial (x, y); the first array axis is the first of each pair.
    """
    side = max(image.shape)
    planes = np.zeros((3, side, side), np.float32)
    x, y, z = (int(c) for c in centre)
    for number, plane in enumerate((image[x], image[:, y], image[:, :, z])):
        before = [(side - length) // 2 for length in plane.shape]
        planes[number, before[0] : before[0] + plane.shape[0], before[1] : before[1] + plane.shape[1]] = plane
    return planes


def example_slices(
    methods: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    test_people: VolumeSet,
    mask: np.ndarray,
    number: int = 3,
) -> dict[str, np.ndarray]:
    """Return mid-brain slices of the first test people, real and decoded by the model and its baselines (Fig. 4).

    Parameters
    ----------
    methods
        As :func:`decoders` returns them, the model first.
    test_people
        Those with every modality come first.
    mask
        Brain mask; the slices go through the middle of it.
    number
        Of people, at most.

    Returns
    -------
    dict of ndarray
        ``real`` and ``decoded`` (people, modalities, 3 planes, side, side), ``baselines`` (baselines, then as these) and
        ``baseline_names``, ``subjects``, ``modalities``, ``planes``, ``centre`` (voxel).
    """
    centre = np.round(np.argwhere(mask).mean(axis=0)).astype(int)
    complete = np.flatnonzero(test_people.present().all(axis=1))
    chosen = (complete if len(complete) else np.arange(len(test_people)))[:number].tolist()
    real = np.stack([test_people[i] for i in chosen])

    def slices(images: np.ndarray) -> np.ndarray:
        whole = np.nan_to_num(images)
        return np.stack([[middle_slices(image, centre) for image in person] for person in whole])

    model, *baselines = methods
    return {
        "real": slices(real),
        "decoded": slices(methods[model](real)),
        "baselines": np.stack([slices(methods[name](real)) for name in baselines]),
        "baseline_names": np.array(baselines),
        "subjects": np.array([test_people.subjects[i] for i in chosen]),
        "modalities": np.array(test_people.modalities),
        "planes": np.array(["sagittal", "coronal", "axial"]),
        "centre": centre,
    }


#: Columns of robustness.tsv and what they hold.
ROBUSTNESS_COLUMNS = {
    "subject": "A test person of the fold who has every modality",
    "fold": "Fold",
    "method": "The experiment's model, or pca",
    "hidden": "The modality that the method was not shown",
    "modality": "The modality that was decoded",
    "mse_mask": "Mean squared error inside the mask with `hidden` hidden",
    "mse_mask_all": "The same with nothing hidden",
    "mse_mask_mean": "The same of the mean training image: what can be said without any image",
    "code_change": (
        "Distance of the code from the one with nothing hidden, over the root mean square distance of test "
        "people's codes from their mean (1: as far off as people are apart)"
    ),
}


def hide_each(
    models: Mapping[str, FusionModel],
    mean: np.ndarray,
    test_people: VolumeSet,
    mask: np.ndarray,
    fold: str,
) -> pd.DataFrame:
    """Hide each modality in turn and measure how much codes and decoded images change.

    Parameters
    ----------
    models
        Method -> fitted model that handles missing modalities.
    mean
        Mean training image, shape (modalities, x, y, z).
    test_people
        People with a missing modality are left out.
    mask
        Brain mask.
    fold
        Name of the fold.

    Returns
    -------
    DataFrame
        With the columns of :data:`ROBUSTNESS_COLUMNS`.
    """
    people = test_people.subset(np.flatnonzero(test_people.present().all(axis=1)).tolist())
    rows = []
    for method, model in models.items():
        whole = {
            s: code for subjects, real in people.chunks() for s, code in zip(subjects, model.encode(real))
        }
        codes = np.stack(list(whole.values())) if whole else np.zeros((0, 1))
        spread = (
            float(np.sqrt(((codes - codes.mean(axis=0)) ** 2).sum(axis=1).mean()))
            if len(codes) > 1
            else np.nan
        )
        for subjects, real in people.chunks():
            with_all = model.reconstruct(real)
            for position, hidden in enumerate(people.modalities):
                seen = real.copy()
                seen[:, position] = np.nan
                decoded, changed = model.reconstruct(seen), model.encode(seen)
                for person, subject in enumerate(subjects):
                    off = float(np.linalg.norm(changed[person] - whole[subject]))
                    for number, modality in enumerate(people.modalities):
                        truth = real[person, number]
                        rows.append(
                            {
                                "subject": subject,
                                "fold": fold,
                                "method": method,
                                "hidden": hidden,
                                "modality": modality,
                                "mse_mask": metrics.mean_squared_error(truth, decoded[person, number], mask),
                                "mse_mask_all": metrics.mean_squared_error(
                                    truth, with_all[person, number], mask
                                ),
                                "mse_mask_mean": metrics.mean_squared_error(truth, mean[number], mask),
                                "code_change": off / spread if spread > 0 else np.nan,
                            }
                        )
    return pd.DataFrame(rows, columns=list(ROBUSTNESS_COLUMNS))
