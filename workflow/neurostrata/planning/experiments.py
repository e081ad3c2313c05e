"""What is done with each experiment: its folds, what its model can do, and the analyses that follow from both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurostrata.cohort.columns import class_columns
from neurostrata.cohort.study import Study
from neurostrata.core.config import capability, load_schema


def can(experiment: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """Tell what an experiment's model can do or needs, as the schema of its options says."""
    return capability(load_schema(f"models/{experiment['model']}"), key, experiment["options"], default)


def folds(experiment: Mapping[str, Any]) -> list[int]:
    """Return the names of an experiment's folds, without the final model of everybody."""
    validation = experiment["validation"]
    return list(range(validation["folds"] if validation["method"] == "kfold" else 1))


def reconstruction_folds(experiment: Mapping[str, Any]) -> list[int]:
    """Return the folds whose test people are decoded."""
    decoded = experiment["analyses"]["reconstruction"] and can(experiment, "reconstructs", True)
    return folds(experiment) if decoded else []


def special_keys(experiment: Mapping[str, Any]) -> list[str]:
    """Return the keys of an experiment that decide who takes part, where they differ from what most experiments have."""
    keys = ["missing", "options"] if experiment["missing"] == "include" else []
    return keys + (["label"] if experiment["label"] else [])


def prediction_analyses(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the analyses that predictions depend on; those that are not asked for are left out."""
    analyses = experiment["analyses"]
    adjusting = {key: analyses[key] for key in ("harmonise", "covariates") if analyses[key]}
    return {"prediction": analyses["prediction"]} | adjusting


def predicts(experiment: Mapping[str, Any]) -> bool:
    """Tell whether anything is predicted from an experiment's codes."""
    return bool(experiment["analyses"]["prediction"] or experiment["label"])


def explains(study: Study, name: str) -> bool:
    """Tell whether the difference between two classes of people can be decoded by an experiment's model."""
    return can(study.experiments[name], "decodes") and bool(class_columns(study, name))
