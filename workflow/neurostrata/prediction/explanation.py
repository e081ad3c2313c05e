"""Explanation of the difference between two classes: the modalities that count, and where in the brain (Geenjaar 2021, III.B, IV.A).

The paper's importance of a modality is its share of a linear classifier's weights. It needs a code in which each number
belongs to one modality. For fused codes, importance is what the classifier loses without the modality, which is computed for
every model. Decoding the mean codes of the two classes shows how much of their difference the code holds, to be compared with
the difference of the classes' mean images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel
from neurostrata.prediction.estimators import area_under_curve, fit_classes

IMPORTANCE_COLUMNS = {
    "target": "The two classes that are told apart",
    "modality": "Modality",
    "fold": "Fold",
    "weight_share": (
        "Sum of the absolute weights that a linear support vector machine gives to the modality's numbers of the code "
        "(standardised, training people), over that of all numbers (Geenjaar 2021, III.B): sums to 1 over modalities, so that "
        "1 / modalities is an even share. n/a where the code belongs to all modalities together"
    ),
    "auc": "Area under the ROC curve of the fold's test people, nothing hidden",
    "auc_without": (
        "The same machine's when the modality is taken from the test people: its part of the code at the training people's "
        "mean, or in fused codes the modality missing (where the model knows no missing modalities: the mean training image)"
    ),
    "auc_drop": "auc - auc_without: what the other modalities cannot make up for; near 0 where they tell the classes apart alone",
    "separation_drop": (
        "The same for the difference of the two classes' mean decision values over their pooled standard deviation, which has no "
        "upper end: nothing is hidden by an AUC near 1"
    ),
}
DIFFERENCE_COLUMNS = {
    "target": IMPORTANCE_COLUMNS["target"],
    "modality": "Modality",
    "fold": "Fold",
    "decoded_train": (
        "Correlation over the mask's voxels of the decoded difference (mean codes of the training people's two classes, "
        "decoded) with the voxelwise difference of the same people's mean images"
    ),
    "decoded_test": "Correlation of the decoded difference with the voxelwise difference of the fold's test people",
    "train_test": (
        "Correlation of the training people's voxelwise difference with that of the test people: what `decoded_test` is to "
        "be compared with"
    ),
}


def present_rows(missing: pd.Series | None, people: int, modalities: Sequence[str]) -> np.ndarray:
    """Return which modalities each person has, shape (people, modalities), bool, from an embedding table's column `missing`."""
    present = np.ones((people, len(modalities)), bool)
    if missing is not None:
        for row, text in enumerate(missing.fillna("")):
            present[row] = [name not in str(text).split(", ") for name in modalities]
    return present


def weight_shares(
    weights: np.ndarray, code_modalities: Sequence[str | None], modalities: Sequence[str]
) -> np.ndarray:
    """Return each modality's share of the absolute weights (III.B), shape (modalities,); NaN for a fused code.

    Parameters
    ----------
    weights
        (code size,).
    code_modalities
        The modality of each number of the code, None where it belongs to all.
    modalities
        In the order of the result.
    """
    if None in code_modalities or not np.any(weights):
        return np.full(len(modalities), np.nan)
    owner = np.asarray(code_modalities, dtype=object)
    sums = np.array([np.abs(weights[owner == name]).sum() for name in modalities])
    return sums / sums.sum()


def codes_without(
    model: FusionModel, people: VolumeSet, codes: np.ndarray, mean_code: np.ndarray, mean: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the codes of people without each modality in turn: modality -> codes.

    Parameters
    ----------
    model
        Fitted.
    people
        The people of `codes`.
    codes
        (people, code size), nothing hidden.
    mean_code
        Mean code of the training people, shape (code size,): replaces a modality's own part of the code.
    mean
        Mean image of the training people, shape (modalities, x, y, z): replaces the modality where a model with a
        fused code needs all of them.
    """
    owner = np.asarray(model.code_modalities, dtype=object)
    if None not in model.code_modalities:
        return {name: np.where(owner == name, mean_code, codes) for name in model.modalities}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in model.modalities}
    for _, volumes in people.chunks():
        for position, name in enumerate(model.modalities):
            seen = volumes.copy()
            seen[:, position] = np.nan if model.handles_missing else mean[position]
            parts[name].append(model.encode(seen))
    return {name: np.concatenate(part) if part else codes for name, part in parts.items()}


def separation(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the difference of two classes' mean scores over their pooled standard deviation; 0 for constant scores.

    NaN with fewer than two people of a class.
    """
    groups = [scores[positive], scores[~positive]]
    if min(map(len, groups)) < 2:
        return float("nan")
    degrees = [len(group) - 1 for group in groups]
    spread = np.sqrt(sum(d * g.var(ddof=1) for d, g in zip(degrees, groups)) / sum(degrees))
    return float((groups[0].mean() - groups[1].mean()) / spread) if spread > 1e-12 else 0.0


def modality_importance(
    train: np.ndarray,
    labels: np.ndarray,
    families: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    without: Mapping[str, np.ndarray],
    code_modalities: Sequence[str | None],
    seed: int,
) -> pd.DataFrame:
    """Return how much each modality counts for telling two classes apart.

    Parameters
    ----------
    train, test
        Codes (people, code size).
    labels, test_labels
        Class of each training and test person.
    families
        Families of the training people.
    without
        Modality -> codes of the test people without it (:func:`codes_without`).
    code_modalities
        The modality of each number of the code.
    seed
        Seed of the inner folds that choose the penalty.

    Returns
    -------
    DataFrame
        modality, weight_share, auc, auc_without, auc_drop, separation_drop of :data:`IMPORTANCE_COLUMNS`.
    """
    machine = fit_classes(train, labels, families, seed)
    shares = weight_shares(machine[-1].coef_[0], code_modalities, list(without))
    positive = test_labels == machine.classes_[1]

    def measured(codes: np.ndarray) -> tuple[float, float]:
        if positive.all() or not positive.any():
            return float("nan"), float("nan")
        scores = machine.decision_function(codes)
        return float(area_under_curve(scores, positive)[0]), separation(scores, positive)

    auc, apart = measured(test)
    reduced = np.array([measured(codes) for codes in without.values()])
    return pd.DataFrame(
        {
            "modality": list(without),
            "weight_share": shares,
            "auc": auc,
            "auc_without": reduced[:, 0],
            "auc_drop": auc - reduced[:, 0],
            "separation_drop": apart - reduced[:, 1],
        }
    )


def class_means(
    people: VolumeSet, members: Mapping[tuple[str, str], np.ndarray], model: FusionModel
) -> tuple[dict[tuple[str, str], np.ndarray], np.ndarray]:
    """Return the mean image of each class, and what the model divides these people's volumes by; one pass over them.

    Parameters
    ----------
    people
        The people whose volumes are averaged.
    members
        (target, class) -> who is of the class, shape (people,), bool.
    model
        Its :meth:`FusionModel.scales` give what each volume is divided by.

    Returns
    -------
    means : dict
        (target, class) -> (modalities, x, y, z), of those who have each modality; NaN where nobody does.
    scale : ndarray, shape (modalities,)
        Mean over the people who have the modality; 1 where nobody does.
    """
    present = people.present()
    sums = {key: np.zeros((len(people.modalities), *people.shape)) for key in members}
    scale = np.zeros(len(people.modalities))
    for index in range(len(people)):
        volumes = people[index]
        scale += np.where(present[index], model.scales(volumes[None])[0], 0)
        filled = np.nan_to_num(volumes)
        for key, chosen in members.items():
            if chosen[index]:
                sums[key] += filled
    means = {}
    for key, chosen in members.items():
        counts = present[chosen].sum(axis=0)
        means[key] = np.full_like(sums[key], np.nan)
        means[key][counts > 0] = sums[key][counts > 0] / counts[counts > 0, None, None, None]
    counts = present.sum(axis=0)
    return means, np.where(counts > 0, scale / counts.clip(1), 1.0)


def decoded_difference(
    model: FusionModel, codes: np.ndarray, present: np.ndarray, second: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return the second class's decoded mean code minus the first's (IV.A), shape (modalities, x, y, z).

    Parameters
    ----------
    model
        Fitted; it decodes.
    codes
        Of people of the two classes, shape (people, code size).
    present
        Which modalities each person has, shape (people, modalities), bool: a modality's own part of the code is averaged over
        those who have it.
    second
        Members of the second class, shape (people,), bool.
    scale
        What decoded images are multiplied by, shape (modalities,): one number for both classes, so that the map
        shows nothing that is not in the codes.
    """
    position = {name: number for number, name in enumerate(model.modalities)}
    counted = np.ones(codes.shape, bool)
    for column, name in enumerate(model.code_modalities):
        if name is not None:
            counted[:, column] = present[:, position[name]]
    centres = []
    for chosen in (~second, second):
        weights = counted & chosen[:, None]
        centres.append((codes * weights).sum(axis=0) / weights.sum(axis=0).clip(1))
    first, other = (model.decode(centre[None])[0].astype(np.float64) for centre in centres)
    return (other - first) * scale[:, None, None, None]


def map_correlation(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of two maps inside the mask, per modality; NaN where one is constant or unknown.

    Parameters
    ----------
    first, second
        (modalities, x, y, z).
    mask
        (x, y, z), bool.
    """
    a, b = first[:, mask], second[:, mask]
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, (a * b).sum(axis=1) / size, np.nan)


def summarise(frame: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Return mean and standard deviation over folds of some measures, per target and modality.

    Returns
    -------
    DataFrame
        target, modality, folds, and MEASURE, MEASURE_sd for each; modalities in the order of the folds' tables.
    """
    rows = []
    for (target, modality), part in frame.groupby(["target", "modality"], sort=False):
        row: dict[str, object] = {"target": target, "modality": modality, "folds": len(part)}
        for measure in measures:
            row[measure] = part[measure].mean()
            row[f"{measure}_sd"] = part[measure].std(ddof=1)
        rows.append(row)
    columns = ["target", "modality", "folds", *[c for m in measures for c in (m, f"{m}_sd")]]
    return pd.DataFrame(rows, columns=columns)


def ranked(summary: pd.DataFrame) -> pd.DataFrame:
    """Add the rank of each modality within its target: by weight share, or by what is lost where the code is fused."""
    by = summary["weight_share"].where(summary["weight_share"].notna(), summary["separation_drop"])
    rank = by.groupby(summary["target"]).rank(ascending=False, method="first")
    return summary.assign(rank=rank.astype("Int64"))
