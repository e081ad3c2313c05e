"""Predictions over folds: each fold's codes, its training people's targets, its test people's predictions."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import Embeddings
from neurostrata.core.families import family_names
from neurostrata.fusion.evaluation.classification import fold_measures, roc_points, summarise_folds
from neurostrata.prediction.estimators import (
    area_under_curve,
    bootstrap_weights,
    explained,
    predict_classes,
    predict_number,
    widened_interval,
)
from neurostrata.prediction.targets import Target

PREDICTION_COLUMNS = {
    "subject": "A test person of the fold",
    "fold": "Fold",
    "features": "What it was predicted from: embedding, a baseline, or classifier (a supervised model's own output)",
    "target": "What was predicted",
    "class": "For classes: the class that the score speaks for",
    "observed": "What the person has; for classes 1 when it is `class`, else 0",
    "predicted": "The prediction; for classes a score, higher for `class`",
    "usual": "The mean (or share) among the fold's training people",
    "learned": "How many training people the fold's predictor learned from",
}
SCORE_COLUMNS = {
    "features": PREDICTION_COLUMNS["features"],
    "target": PREDICTION_COLUMNS["target"],
    "kind": "number or classes",
    "measure": "auc (mean over classes, one against the rest, when there are more than two) or r2 (share of variance)",
    "value": "Mean over folds for auc (scores of different folds are not comparable), all people together for r2",
    "low": "Lower end of the 95% interval: bootstrap, families drawn as a whole, widened for what other training people would change",
    "high": "Upper end",
    "fold_sd": "Standard deviation over folds",
    "people": "People predicted",
    "folds": "Folds with a result",
}
CLASSIFICATION_COLUMNS = {
    "features": PREDICTION_COLUMNS["features"],
    "target": PREDICTION_COLUMNS["target"],
    "measure": "balanced_accuracy, sensitivity, specificity, precision, f1 (at the classifier's own threshold) or auc",
    "mean": "Mean over folds",
    "sd": "Standard deviation over folds",
    "folds": "Folds that have the measure",
    "skipped": "Folds that do not (one class only, or nobody taken for positive)",
}
ROC_COLUMNS = {
    "features": PREDICTION_COLUMNS["features"],
    "target": PREDICTION_COLUMNS["target"],
    "fold": "Fold; mean for their mean curve",
    "false_positive_rate": "1 - specificity",
    "true_positive_rate": "Sensitivity",
    "threshold": "Score from which on people are taken for positive",
}


def _family_names(subjects: Iterable[str], families: Mapping[str, str]) -> list[str]:
    subjects = list(subjects)
    return family_names(subjects, [families.get(subject, "") for subject in subjects])


def fold_predictions(
    target: Target,
    features: str,
    fold: str,
    codes: Embeddings,
    families: Mapping[str, str],
    seed: int,
    positive: str | None = None,
) -> pd.DataFrame:
    """Predict one target for the test people of one fold.

    Parameters
    ----------
    target, features, fold
        What is predicted, and what the table calls the codes and the fold.
    codes
        The fold's codes, with roles.
    families
        Subject -> family.
    seed
        Seed of the inner folds that choose the penalty.
    positive
        The class, of two, that scores speak for; None: the one whose name sorts last.

    Returns
    -------
    DataFrame
        With the columns of :data:`PREDICTION_COLUMNS`; empty when the fold's training people do not differ.
    """
    known = np.array([pd.notna(target.values.get(subject)) for subject in codes.subjects])
    role = codes.table["role"].to_numpy()
    train, test = codes.select(known & (role == "train")), codes.select(known & (role == "test"))
    observed = target.values.loc[train.subjects].to_numpy()
    rows: list[dict[str, object]] = []
    if len(test.subjects) == 0 or len(set(observed)) < 2:
        return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))
    common = {"fold": fold, "features": features, "target": target.name, "learned": len(observed)}
    if target.kind == "number":
        training_mean = float(observed.astype(float).mean())
        predicted = predict_number(train.values, observed.astype(float), test.values)
        for subject, value in zip(test.subjects, predicted):
            real = float(target.values[subject])
            rows.append(
                {
                    "subject": subject,
                    **common,
                    "class": "",
                    "observed": real,
                    "predicted": value,
                    "usual": training_mean,
                }
            )
    else:
        groups = np.array(_family_names(train.subjects, families))
        classes, scores = predict_classes(train.values, observed.astype(str), test.values, groups, seed)
        spoken_for = classes if len(classes) > 2 else [positive or classes[1]]
        for number, name in enumerate(classes):
            if name not in spoken_for:
                continue  # of two classes, one's score is minus the other's
            training_mean = float((observed == name).mean())
            for subject, value in zip(test.subjects, scores[:, number]):
                real = float(target.values[subject] == name)
                rows.append(
                    {
                        "subject": subject,
                        **common,
                        "class": name,
                        "observed": real,
                        "predicted": value,
                        "usual": training_mean,
                    }
                )
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def classifier_predictions(target: Target, positive: str, fold: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return a supervised model's own predictions for the test people of its fold.

    Parameters
    ----------
    target
        The classes that the model tells apart.
    positive
        The class whose probability is given.
    fold
        Name of the fold.
    table
        Columns of the embedding: subject, role, probability.

    Returns
    -------
    DataFrame
        With the columns of :data:`PREDICTION_COLUMNS`.
    """
    tested = table[table["role"] == "test"]
    observed = target.values.loc[tested["subject"]]
    learned = target.values.loc[table.loc[table["role"] == "train", "subject"]] == positive
    return pd.DataFrame(
        {
            "subject": tested["subject"].to_numpy(),
            "fold": fold,
            "features": "classifier",
            "target": target.name,
            "class": positive,
            "observed": (observed == positive).to_numpy(float),
            "predicted": tested["probability"].to_numpy(float),
            "usual": float(learned.mean()),
            "learned": len(learned),
        }
    )


def fold_values(frame: pd.DataFrame, kind: str, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the measure in each fold (for several classes their mean), shape (folds, results)."""
    everywhere = np.ones((1, len(frame))) if weights is None else weights
    values = []
    for rows in frame.reset_index(drop=True).groupby("fold", sort=False).indices.values():
        fold, counted = frame.iloc[rows], everywhere[:, rows]
        if kind == "number":
            values.append(_explained(fold, counted))
            continue
        areas = []
        for inside in fold.reset_index(drop=True).groupby("class", sort=False).indices.values():
            part = fold.iloc[inside]
            positive = part["observed"].to_numpy() == 1
            areas.append(area_under_curve(part["predicted"].to_numpy(float), positive, counted[:, inside]))
        values.append(_mean(np.array(areas)))
    return np.array(values)


def _explained(frame: pd.DataFrame, weights: np.ndarray | None) -> np.ndarray:
    predicted, observed, training_mean = (
        frame[c].to_numpy(float) for c in ("predicted", "observed", "usual")
    )
    return explained(predicted, observed, training_mean, weights)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing is: NaN
        return np.nanmean(values, axis=0)


def overall(frame: pd.DataFrame, kind: str, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the measure over all folds, shape (results,); see :data:`SCORE_COLUMNS` for how."""
    if kind == "number":
        return _explained(frame, weights)
    return _mean(fold_values(frame, kind, weights))


def score_predictions(
    predictions: pd.DataFrame, targets: Sequence[Target], families: Mapping[str, str], seed: int
) -> pd.DataFrame:
    """Return how well each target was predicted from each kind of features, with intervals.

    Returns
    -------
    DataFrame
        With the columns of :data:`SCORE_COLUMNS`.
    """
    kinds = {target.name: target.kind for target in targets}
    rows = []
    for (features, target), frame in predictions.groupby(["features", "target"], sort=False):
        kind = kinds[str(target)]
        values = fold_values(frame, kind)[:, 0]
        value = float(overall(frame, kind)[0])
        groups = _family_names(frame["subject"], families)
        drawn = overall(frame, kind, bootstrap_weights(groups, seed))
        folds = frame.groupby("fold", sort=False)
        ratios = folds["subject"].nunique() / folds["learned"].first()
        low, high = widened_interval(value, drawn, ratios.tolist(), -np.inf if kind == "number" else 0)
        finite = values[np.isfinite(values)]
        rows.append(
            {
                "features": features,
                "target": target,
                "kind": kind,
                "measure": "r2" if kind == "number" else "auc",
                "value": value,
                "low": low,
                "high": high,
                "fold_sd": float(finite.std(ddof=1)) if len(finite) > 1 else np.nan,
                "people": frame["subject"].nunique(),
                "folds": len(finite),
            }
        )
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def two_class_tables(
    predictions: pd.DataFrame, targets: Sequence[Target]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the classification measures and ROC curves of targets with two classes.

    Returns
    -------
    measures, curves : DataFrame
        With the columns of :data:`CLASSIFICATION_COLUMNS` and :data:`ROC_COLUMNS`; empty without such targets.
    """
    pairs = {t.name for t in targets if t.kind == "classes" and t.values.nunique() == 2}
    measures, curves = [], []
    for (features, target), frame in predictions.groupby(["features", "target"], sort=False):
        if target not in pairs:
            continue
        labels = frame["observed"].map({0.0: "no", 1.0: "yes"})
        table = pd.DataFrame({"fold": frame["fold"], "label": labels, "score": frame["predicted"]})
        threshold = 0.5 if features == "classifier" else 0.0  # a probability; a distance from the plane
        labels_of_rows = {"features": features, "target": target}
        measures.append(summarise_folds(fold_measures(table, threshold, "yes")).assign(**labels_of_rows))
        curves.append(roc_points(table, positive="yes").assign(**labels_of_rows))
    return tuple(
        (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns)))[list(columns)]
        for parts, columns in ((measures, CLASSIFICATION_COLUMNS), (curves, ROC_COLUMNS))
    )
