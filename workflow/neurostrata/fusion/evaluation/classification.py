"""Measures of classification into two classes: those of Table 2, and the curves of Fig. 5 (Arco et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError

#: Measures and what they are; the second of the sorted classes is the positive one.
MEASURES = {
    "balanced_accuracy": "Mean of sensitivity and specificity",
    "sensitivity": "Share of the positive class that is found",
    "specificity": "Share of the negative class that is found",
    "precision": "Share of those taken for positive who are",
    "f1": "Harmonic mean of precision and sensitivity",
    "auc": "Area under the receiver operating characteristic curve",
}
#: Columns of a table of predictions.
PREDICTIONS = {
    "subject": "A test person of the fold",
    "fold": "Fold",
    "label": "The person's class",
    "score": "Probability of the positive class, by a model that has not seen the person",
}


def class_pair(labels: Sequence[str]) -> tuple[str, str]:
    """Return the negative and the positive class: the labels' two values, sorted.

    Raises
    ------
    UserError
        When there are not two.
    """
    found = sorted(set(labels))
    if len(found) != 2:
        raise UserError(f"classification: two classes are needed, found {len(found)} ({', '.join(found)})")
    return found[0], found[1]


def binary_measures(positive: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """Return :data:`MEASURES` of one set of test people.

    Parameters
    ----------
    positive
        Members of the positive class, shape (people,), bool.
    scores
        Probabilities of the positive class.
    threshold
        A person with at least this score is classified as positive.

    Returns
    -------
    dict
        All NaN when one of the classes is absent; precision is NaN when nobody is classified as positive.
    """
    from sklearn.metrics import (
        balanced_accuracy_score,
        f1_score,
        precision_score,
        recall_score,
        roc_auc_score,
    )

    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return dict.fromkeys(MEASURES, float("nan"))
    found = np.asarray(scores) >= threshold
    return {
        "balanced_accuracy": float(balanced_accuracy_score(positive, found)),
        "sensitivity": float(recall_score(positive, found)),
        "specificity": float(recall_score(positive, found, pos_label=False)),
        "precision": float(precision_score(positive, found)) if found.any() else float("nan"),
        "f1": float(f1_score(positive, found)),
        "auc": float(roc_auc_score(positive, scores)),
    }


def fold_measures(
    predictions: pd.DataFrame, threshold: float = 0.5, positive: str | None = None
) -> pd.DataFrame:
    """Return a row per fold with its :data:`MEASURES` and how many people of each class it tested.

    Parameters
    ----------
    predictions
        With the columns of :data:`PREDICTIONS`, one pair of labels.
    threshold
        See :func:`binary_measures`.
    positive
        The positive class, where one of the two may be absent; None: the second of the labels.

    Returns
    -------
    DataFrame
        fold, negative, positive (counts), and the measures; NaN in a fold without one of the classes.
    """
    second = positive or class_pair(list(predictions["label"]))[1]
    rows = []
    for fold, part in predictions.groupby("fold", sort=False):
        members = (part["label"] == second).to_numpy()
        counts = {"fold": fold, "negative": int((~members).sum()), "positive": int(members.sum())}
        rows.append({**counts, **binary_measures(members, part["score"].to_numpy(), threshold)})
    return pd.DataFrame(rows)


def summarise_folds(folds: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread of each measure over folds, as in Table 2.

    Parameters
    ----------
    folds
        As :func:`fold_measures` returns them.

    Returns
    -------
    DataFrame
        measure, mean, sd (ddof 1; NaN with one fold), folds (that have the measure), skipped (that do not).
    """
    rows = []
    for measure in MEASURES:
        values = folds[measure].dropna()
        rows.append(
            {
                "measure": measure,
                "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)),
                "folds": len(values),
                "skipped": len(folds) - len(values),
            }
        )
    return pd.DataFrame(rows)


def roc_points(predictions: pd.DataFrame, steps: int = 101, positive: str | None = None) -> pd.DataFrame:
    """Return the points of the ROC curve of each fold, and of their mean (Fig. 5).

    Scores of different folds come from different models, so they are not pooled: the mean curve has the mean
    sensitivity of the folds' curves at `steps` false positive rates. `positive` as in :func:`fold_measures`.

    Returns
    -------
    DataFrame
        fold ("mean" for the mean), false_positive_rate, true_positive_rate, threshold (the first is
        infinite; NaN for the mean). Folds without one of the classes are left out.
    """
    from sklearn.metrics import roc_curve

    second = positive or class_pair(list(predictions["label"]))[1]
    grid = np.linspace(0, 1, steps)
    frames, curves = [], []
    for fold, part in predictions.groupby("fold", sort=False):
        members = (part["label"] == second).to_numpy()
        if members.all() or not members.any():
            continue
        false, true, threshold = roc_curve(members, part["score"].to_numpy(), drop_intermediate=False)
        frames.append(_curve(fold, false, true, threshold))
        curve = np.interp(grid, false, true)
        curve[0] = 0.0  # a step at 0 begins there
        curves.append(curve)
    if curves:
        frames.append(_curve("mean", grid, np.mean(curves, axis=0), np.full(steps, np.nan)))
    return pd.concat(frames, ignore_index=True) if frames else _curve("", *[np.empty(0)] * 3)


def _curve(fold: object, false: np.ndarray, true: np.ndarray, threshold: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "fold": str(fold),
            "false_positive_rate": false,
            "true_positive_rate": true,
            "threshold": threshold,
        }
    )
