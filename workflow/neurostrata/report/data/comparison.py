"""The numbers that compare the experiments: decoding, prediction, missing modalities and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.families import families_of, family_weights
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults

#: Columns of comparison.tsv and what they hold.
COLUMNS = {
    "experiment": "Experiment",
    "model": "Its model",
    "what": "decoded, predicted, hidden (a modality) or cost",
    "of": "Modality, target, hidden modality, or kind of cost",
    "method": "The model itself or a baseline of the same folds",
    "value": (
        "decoded: 1 - squared error in the mask over that of the mean training image; predicted: auc or r2; "
        "hidden: error with the modality hidden over the error with all; cost: as named"
    ),
    "low": "Lower end of the 95% interval",
    "high": "Upper end",
    "people": "People it rests on",
}
_DRAWS = 2000


def ratio_interval(
    part: np.ndarray, whole: np.ndarray, families: Sequence[str], seed: int = 1
) -> tuple[float, float, float]:
    """Return sum(part) / sum(whole) over people and its 95% bootstrap interval, families ("" for none) drawn as a whole."""
    counts = family_weights(families, _DRAWS, np.random.default_rng(seed))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (counts @ part) / (counts @ whole)
        value = float(part.sum() / whole.sum()) if whole.sum() > 0 else float("nan")
    low, high = np.nanpercentile(ratios, [2.5, 97.5]) if np.isfinite(ratios).any() else (np.nan, np.nan)
    return value, float(low), float(high)


def _people(study: StudyResults) -> pd.DataFrame:
    """Return what the cohort sheet says of people (index: subjects)."""
    frame = study.table(study.tree.subjects)
    return pd.DataFrame() if frame is None else frame.set_index("subject")


def decoded_rows(study: StudyResults, experiment: Experiment) -> list[dict[str, Any]]:
    """Return the share of the differences between people that each method decodes, per modality."""
    needed = ("subject", "method", "modality", "mse_mask")
    frame = study.table(experiment.file("reconstruction.tsv"), columns=needed)
    if frame is None or "mean_image" not in set(frame["method"]):
        return []
    rows, known = [], _people(study)
    for modality, part in frame.groupby("modality", sort=False):
        wide = part.pivot_table(index="subject", columns="method", values="mse_mask").dropna()
        for method in part["method"].unique():
            if method != "mean_image" and len(wide) > 1:
                value, low, high = ratio_interval(
                    wide[method].to_numpy(), wide["mean_image"].to_numpy(), families_of(known, wide.index)
                )
                rows.append(
                    {
                        "what": "decoded",
                        "of": modality,
                        "method": method,
                        "value": 1 - value,
                        "low": 1 - high,
                        "high": 1 - low,
                        "people": len(wide),
                    }
                )
    return rows


def predicted_rows(study: StudyResults, experiment: Experiment) -> list[dict[str, Any]]:
    """Return how well each target is predicted from the embedding and from each baseline."""
    frame = study.table(experiment.file("prediction_scores.tsv"), columns=("features", "target", "value"))
    if frame is None:
        return []
    return [
        {
            "what": "predicted",
            "of": f"{row['target']} ({str(row['measure']).upper()})",
            "method": row["features"],
            **{key: row[key] for key in ("value", "low", "high", "people")},
        }
        for _, row in frame.iterrows()
    ]


def hidden_rows(study: StudyResults, experiment: Experiment) -> list[dict[str, Any]]:
    """Return how much larger the decoding error of all modalities is when one is hidden."""
    frames = [study.table(fold.folder / "robustness.tsv") for fold in experiment.folds()]
    tables = [frame for frame in frames if frame is not None]
    if not tables:
        return []
    rows, known = [], _people(study)
    for (method, hidden), part in pd.concat(tables).groupby(["method", "hidden"], sort=False):
        people = part.groupby("subject")[["mse_mask", "mse_mask_all"]].sum()
        if len(people) > 1:
            value, low, high = ratio_interval(
                people["mse_mask"].to_numpy(),
                people["mse_mask_all"].to_numpy(),
                families_of(known, people.index),
            )
            rows.append(
                {
                    "what": "hidden",
                    "of": hidden,
                    "method": method,
                    "value": value,
                    "low": low,
                    "high": high,
                    "people": len(people),
                }
            )
    return rows


def cost_rows(study: StudyResults, experiment: Experiment) -> list[dict[str, Any]]:
    """Return code size, trained parameters, and the time of the final training."""
    model = study.json(experiment.folder / "model" / "model.json")
    if not model:
        return []  # not trained yet
    history = study.table(experiment.folder / "fold-all" / "history.tsv")
    values: dict[str, Any] = {
        "code size": model["code_size"],
        "parameters": model["facts"].get("parameters"),  # networks have them
    }
    if history is not None and "seconds" in history:
        values["training (minutes)"] = history["seconds"].sum() / 60
        if "epoch" in history:  # else a row is a whole network of many
            values["seconds per epoch"] = history["seconds"].median()
            values["epochs"] = len(history)
    people = model["training_people"]
    return [
        {"what": "cost", "of": kind, "method": model["model"], "value": value, "people": people}
        for kind, value in values.items()
        if value is not None
    ]


def compare_experiments(study: StudyResults) -> pd.DataFrame:
    """Return the numbers of all experiments, with the columns of :data:`COLUMNS`."""
    rows = []
    for experiment, config in study.experiments():
        own = {"experiment": experiment.name, "model": config["model"] or ""}
        for part in (decoded_rows, predicted_rows, hidden_rows, cost_rows):
            rows += [{**own, **row} for row in part(study, experiment)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def same_people_and_folds(study: StudyResults) -> Mapping[str, list[str]]:
    """Return groups of experiments with the same people in the same folds: name of the first -> names."""
    groups: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    for experiment, _ in study.experiments():
        frame = study.table(experiment.file("splits.tsv"), columns=("subject", "fold", "role"))
        if frame is None:
            continue
        ordered = frame.sort_values(["fold", "subject"])[["subject", "fold", "role"]]
        key = ordered.to_csv(index=False)
        first = seen.setdefault(key, experiment.name)
        groups.setdefault(first, []).append(experiment.name)
    return groups
