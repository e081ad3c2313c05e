"""Measures and curves of two classes, by hand."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.errors import UserError
from neurostrata.fusion.evaluation.classification import (
    MEASURES,
    binary_measures,
    class_pair,
    fold_measures,
    roc_points,
    summarise_folds,
)


def predictions():
    rows = [
        # fold 0: sensitivity 2/3, specificity 1, precision 1
        ("a", "0", "ad", 0.9),
        ("b", "0", "ad", 0.8),
        ("c", "0", "ad", 0.3),
        ("d", "0", "ctl", 0.4),
        ("e", "0", "ctl", 0.1),
        # fold 1: everybody is taken for the other class
        ("f", "1", "ad", 0.2),
        ("g", "1", "ctl", 0.6),
        # fold 2: one class only
        ("h", "2", "ad", 0.7),
    ]
    table = pd.DataFrame(rows, columns=["subject", "fold", "label", "score"])
    # "ctl" sorts after "ad" and would be the positive class; here the patients shall be.
    return table.replace({"label": {"ad": "patient"}})


def test_the_second_of_the_sorted_labels_is_positive():
    assert class_pair(["patient", "ctl", "ctl"]) == ("ctl", "patient")
    with pytest.raises(UserError, match=r"two classes are needed, found 3 \(a, b, c\)"):
        class_pair(["c", "a", "b"])


def test_measures_by_hand():
    folds = fold_measures(predictions()).set_index("fold")
    first = folds.loc["0"]
    assert (first["negative"], first["positive"]) == (2, 3)
    assert first["sensitivity"] == pytest.approx(2 / 3)
    assert first["specificity"] == 1
    assert first["balanced_accuracy"] == pytest.approx(5 / 6)
    assert first["precision"] == 1
    assert first["f1"] == pytest.approx(0.8)
    assert first["auc"] == pytest.approx(5 / 6)  # of 6 pairs only (c, d) is in the wrong order
    second = folds.loc["1"]
    assert (second[["balanced_accuracy", "sensitivity", "specificity", "precision", "f1", "auc"]] == 0).all()
    assert folds.loc["2", list(MEASURES)].isna().all()


def test_precision_of_nobody_is_not_a_number():
    measures = binary_measures(np.array([True, False]), np.array([0.2, 0.1]))
    assert np.isnan(measures["precision"])
    assert measures["f1"] == 0
    assert measures["auc"] == 1


def test_a_score_at_the_threshold_is_of_the_positive_class():
    positive, scores = np.array([True, True, False, False]), np.array([0.5, 0.3, 0.1, 0.5])
    measures = binary_measures(positive, scores)
    assert (measures["sensitivity"], measures["specificity"], measures["precision"]) == (0.5, 0.5, 0.5)
    lower = binary_measures(positive, scores, threshold=0.3)
    assert (lower["sensitivity"], lower["specificity"], lower["precision"]) == (1, 0.5, 2 / 3)


def test_folds_keep_their_order():
    table = pd.concat([predictions().query("fold == '0'").assign(fold=fold) for fold in ("9", "10", "2")])
    assert fold_measures(table)["fold"].tolist() == ["9", "10", "2"]
    assert roc_points(table)["fold"].unique().tolist() == ["9", "10", "2", "mean"]


def test_curves_have_every_threshold_and_their_mean_a_hundred_steps():
    random = np.random.default_rng(1)
    folds = [
        pd.DataFrame({"fold": fold, "label": random.permutation(["a", "b"] * 20), "score": random.random(40)})
        for fold in ("0", "1")
    ]
    curves = roc_points(pd.concat(folds))
    mean = curves[curves["fold"] == "mean"]
    np.testing.assert_allclose(mean["false_positive_rate"], np.arange(101) / 100)
    assert mean["threshold"].isna().all()
    for fold in folds:
        own = curves[curves["fold"] == fold["fold"].iloc[0]]
        np.testing.assert_allclose(own["threshold"][1:], np.sort(fold["score"])[::-1])
        found = [(fold["score"] >= limit)[fold["label"] == "b"].mean() for limit in own["threshold"]]
        np.testing.assert_allclose(own["true_positive_rate"], found)
        area = np.trapezoid(own["true_positive_rate"], own["false_positive_rate"])
        assert area == pytest.approx(binary_measures(fold["label"] == "b", fold["score"])["auc"])


def test_folds_without_a_class_are_skipped_and_counted():
    summary = summarise_folds(fold_measures(predictions())).set_index("measure")
    assert (summary["folds"] == 2).all()
    assert (summary["skipped"] == 1).all()
    assert summary.loc["auc", "mean"] == pytest.approx(5 / 12)
    assert summary.loc["auc", "sd"] == pytest.approx(np.std([5 / 6, 0], ddof=1))
    alone = summarise_folds(fold_measures(predictions().query("fold == '0'")))
    assert alone["sd"].isna().all()


def test_curves_by_hand():
    curves = roc_points(predictions(), steps=3)
    assert list(curves["fold"].unique()) == ["0", "1", "mean"]
    first = curves[curves["fold"] == "0"]
    np.testing.assert_allclose(first["false_positive_rate"], [0, 0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(first["true_positive_rate"], [0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert np.isinf(first["threshold"].iloc[0])
    mean = curves[curves["fold"] == "mean"]
    np.testing.assert_allclose(mean["false_positive_rate"], [0, 0.5, 1])
    np.testing.assert_allclose(mean["true_positive_rate"], [0, 0.5, 1])  # of (1 and 0), (1 and 1)


def test_no_fold_with_both_classes_gives_no_curve():
    table = predictions().query("fold == '2'")
    both = pd.concat([table, table.assign(fold="3", label="ctl")])
    assert roc_points(both).empty
    assert summarise_folds(fold_measures(both))["mean"].isna().all()
