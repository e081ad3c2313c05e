"""What ``reconstruction.tsv`` says of an experiment: its methods, its modalities, and where a baseline is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.fusion.evaluation.baselines import MEAN_IMAGE, PCA

BASELINES = (MEAN_IMAGE, PCA)


RECONSTRUCTION_COLUMNS = ("subject", "fold", "method", "modality", "mse")


def model_method(frame: pd.DataFrame, config: Mapping[str, Any]) -> str:
    """Return which of the methods in ``reconstruction.tsv`` is the experiment's own model."""
    methods = list(dict.fromkeys(frame["method"]))
    if config["model"] in methods:
        return config["model"]
    return next((method for method in methods if method not in BASELINES), methods[0])


def ordered_methods(frame: pd.DataFrame, config: Mapping[str, Any]) -> list[str]:
    """Return the methods, the experiment's model first."""
    first = model_method(frame, config)
    return [first] + [method for method in dict.fromkeys(frame["method"]) if method != first]


def modality_order(frame: pd.DataFrame, config: Mapping[str, Any]) -> list[str]:
    """Return the modalities in the order of the configuration."""
    found = [str(modality) for modality in dict.fromkeys(frame["modality"])]
    configured = [str(m) for m in config["modalities"] if m in found]
    return configured + [modality for modality in found if modality not in configured]


def better_baselines(
    frame: pd.DataFrame, methods: list[str], modalities: list[str]
) -> list[tuple[str, str, float, float]]:
    """Return where a baseline has the lower (or equal) median MSE: modality, baseline, its median, the model's."""
    medians = {
        (str(method), str(modality)): float(part.median())
        for (method, modality), part in frame.groupby(["method", "modality"])["mse"]
    }
    found = []
    for modality in modalities:
        ours = medians.get((methods[0], modality), np.nan)
        for other in methods[1:]:
            theirs = medians.get((other, modality), np.nan)
            if theirs <= ours:
                found.append((modality, other, theirs, ours))
    return found


def shares_decoded(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return how much of the variance about the mean training image each method decodes, inside the mask.

    Returns
    -------
    dict
        (method, modality) -> 1 - summed squared error / that of the mean image, over the people whom both decode:
        1 for a perfect image, 0 for the mean image itself, below 0 for what is worse. Empty without the mean image.
    """
    if "mse_mask" not in frame or MEAN_IMAGE not in set(frame["method"]):
        return {}
    people = ["subject", "fold", "modality"]
    about = frame.loc[frame["method"] == MEAN_IMAGE, [*people, "mse_mask"]]
    both = frame.merge(about, on=people, suffixes=("", "_mean_image")).dropna(
        subset=["mse_mask", "mse_mask_mean_image"]
    )
    shares = {}
    for (method, modality), part in both.groupby(["method", "modality"]):
        total = float(part["mse_mask_mean_image"].sum())
        if total > 0:
            shares[str(method), str(modality)] = 1 - float(part["mse_mask"].sum()) / total
    return shares
