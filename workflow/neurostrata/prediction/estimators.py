"""Linear predictors from codes, learned from a fold's training people only, and how well they do.

Ridge regression for numbers, a linear support vector machine for classes (Geenjaar 2021, III.E). Codes are
standardised and the penalty is chosen within the training people.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.fusion.data.splits import stratified_parts

#: Penalties tried: of ridge regression for standardised codes, and of the support vector machine.
RIDGE_PENALTIES = np.logspace(-1, 6, 15)
SVM_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
#: Inner folds that choose the support vector machine's penalty.
INNER_FOLDS = 5
#: Bootstrap draws of the intervals.
DRAWS = 2000


def predict_number(train: np.ndarray, values: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return ridge predictions for test codes; the penalty by generalised cross-validation.

    Parameters
    ----------
    train, test
        (people, dimensions).
    values
        (training people,).
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(RIDGE_PENALTIES)).fit(train, values)
    return np.asarray(model.predict(test))


def inner_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the folds that choose the penalty: rows to learn from and rows to judge by, families kept together.

    There are at most :data:`INNER_FOLDS`, and no more than the smallest class has families. A fold in which either part lacks
    a class is left out, because there is nothing to judge in it; the list may be empty.

    Parameters
    ----------
    labels, groups
        Class and family of each person.
    seed
        Seed of the division.
    """
    classes, number = np.unique(labels), np.unique(groups, return_inverse=True)[1].ravel()
    most = min(INNER_FOLDS, *(len(np.unique(number[labels == name])) for name in classes))
    if most < 2:
        return []
    parts = stratified_parts(labels, number, most, seed)
    folds = [(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in range(most)]
    return [fold for fold in folds if all(len(np.unique(labels[rows])) == len(classes) for rows in fold)]


def fit_classes(train: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> Any:
    """Return a linear support vector machine of standardised codes, its penalty chosen by inner folds.

    Parameters
    ----------
    train
        (people, dimensions).
    labels
        (people,).
    groups
        Families: they stay together when the penalty is chosen.
    seed
        Seed of the inner folds.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted; its last step has ``coef_``, its classes are sorted.
    """
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    machine = make_pipeline(
        StandardScaler(),
        LinearSVC(class_weight="balanced", dual="auto", tol=1e-3, max_iter=2000, random_state=seed),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # slow convergence at the largest penalties
        folds = inner_folds(labels, groups, seed)
        if folds:
            several = len(np.unique(labels)) > 2
            search = GridSearchCV(
                machine,
                {"linearsvc__C": SVM_PENALTIES},
                scoring="balanced_accuracy" if several else "roc_auc",
                cv=folds,
                error_score=0.0,
            ).fit(train, labels)
            machine = search.best_estimator_
        else:
            machine.set_params(linearsvc__C=SVM_PENALTIES[1]).fit(train, labels)
    return machine


def predict_classes(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[list[str], np.ndarray]:
    """Return decision values of a linear support vector machine (:func:`fit_classes`), one column per class.

    Parameters
    ----------
    train, test
        (people, dimensions).
    labels, groups
        Classes and families of the training people.
    seed
        Seed of the inner folds.

    Returns
    -------
    classes : list of str
        Sorted.
    scores : ndarray, shape (test people, classes)
        With two classes the second column is minus the first.
    """
    machine = fit_classes(train, labels, groups, seed)
    decision = machine.decision_function(test)
    if decision.ndim == 1:
        decision = np.stack([-decision, decision], axis=1)
    return [str(name) for name in machine.classes_], decision


def area_under_curve(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the area under the ROC curve: how often a positive person scores above a negative one, ties half.

    Parameters
    ----------
    scores
        (people,).
    positive
        (people,), bool.
    weights
        How often each person counts, a row per result, shape (results, people); None: once, one result.

    Returns
    -------
    ndarray, shape (results,)
        NaN where there is only one class.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    above = np.sign(scores[positive][:, None] - scores[~positive][None]) / 2 + 0.5
    wins = ((weights[:, positive] @ above) * weights[:, ~positive]).sum(axis=1)
    pairs = weights[:, positive].sum(axis=1) * weights[:, ~positive].sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(pairs > 0, wins / pairs, np.nan)


def explained(
    predicted: np.ndarray, observed: np.ndarray, training_mean: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the share of the variance that is predicted: 1 - squared error over that of the training mean.

    Shapes and weights as in :func:`area_under_curve`.
    """
    weights = np.ones((1, len(observed))) if weights is None else weights
    total = weights @ (observed - training_mean) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1 - weights @ (observed - predicted) ** 2 / total, np.nan)


def bootstrap_weights(groups: Sequence[object], seed: int, draws: int = DRAWS) -> np.ndarray:
    """Return how often each row counts in each bootstrap draw, families drawn as a whole.

    Parameters
    ----------
    groups
        Family of each row.

    Returns
    -------
    ndarray, shape (draws, rows), float32
    """
    codes, names = pd.factorize(np.asarray(groups, dtype=object))
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    return counts.astype(np.float32)[:, codes]


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of bootstrap values; NaN when most of them are."""
    finite = values[np.isfinite(values)]
    if len(finite) <= len(values) // 2:
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def widened_interval(
    value: float, drawn: np.ndarray, ratios: Sequence[float], least: float = -np.inf, most: float = 1
) -> tuple[float, float]:
    """Return a 95% interval from a bootstrap of test people that allows for other training people too.

    Drawing test people anew leaves the predictors as they are, but another study would have other training people, and the
    folds of this one share most of theirs. The variance is larger by 1 + the sum over folds of test people / training people
    (Nadeau and Bengio 2003, Machine Learning 52:239); of k folds, by 1 + k / (k - 1).

    Parameters
    ----------
    value
        Of the people as they are.
    drawn
        Bootstrap values.
    ratios
        Of each fold, test people / training people.
    least, most
        Least and largest possible value.
    """
    ends = np.array(percentile_interval(drawn))
    low, high = (value + np.sqrt(1 + sum(ratios)) * (ends - value)).clip(least, most)
    return float(low), float(high)
