"""Predictions for test people only, from training people only; a null target gives a null result."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from neurostrata.core.embeddings import Embeddings
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.evaluation.classification import MEASURES
from neurostrata.prediction.commands import predict
from neurostrata.prediction.crossfold import (
    PREDICTION_COLUMNS,
    classifier_predictions,
    fold_predictions,
    score_predictions,
    two_class_tables,
)
from neurostrata.prediction.estimators import (
    SVM_PENALTIES,
    area_under_curve,
    bootstrap_weights,
    explained,
    fit_classes,
    inner_folds,
    percentile_interval,
    predict_classes,
    predict_number,
)
from neurostrata.prediction.targets import as_target, gather_targets

PEOPLE = [f"{i:03d}" for i in range(120)]
RANDOM = np.random.default_rng(3)
CODES = RANDOM.normal(size=(120, 20))


def in_fold(fold, folds=4, codes=CODES):
    roles = np.where(np.arange(120) % folds == fold, "test", "train")
    table = pd.DataFrame({"subject": PEOPLE, "role": roles})
    return Embeddings(list(PEOPLE), codes, table)


def over_folds(target, codes=CODES, families=None):
    parts = [
        fold_predictions(target, "embedding", str(k), in_fold(k, codes=codes), families or {}, 1)
        for k in range(4)
    ]
    return pd.concat(parts, ignore_index=True)


def target(values, name="t"):
    return as_target(name, pd.Series(values, index=PEOPLE))


def test_kinds_of_targets():
    numbers = target(np.arange(120.0))
    assert numbers.kind == "number"
    assert target([0, 1] * 60).kind == "classes"
    assert target(["a", "b", "c"] * 40).kind == "classes"
    bins = target(["22-25", "26-30", "31-35", "36+"] * 30)
    assert bins.kind == "number"
    assert bins.values.iloc[0] == 23.5
    # codes of sites and diagnoses have no order, however many there are
    for name in ("diagnosis", "site"):
        assert target([0, 1, 2] * 40, name).kind == "classes"
        assert target(["22-25", "26-30", "31-35", "36+"] * 30, name).kind == "classes"
    rare = target(["a"] * 60 + ["b"] * 57 + ["c"] * 3)
    assert rare.values.isna().sum() == 3
    with pytest.raises(UserError, match="'t' has fewer than two values"):
        target(["a"] * 118 + ["b"] * 2)


def test_names_are_looked_for_in_sheet_tables_and_factors():
    sheet = pd.DataFrame({"diagnosis": ["a", "b"] * 60}, index=PEOPLE)
    tables = pd.DataFrame({"age": np.arange(120.0), "diagnosis": 1.0}, index=PEOPLE)
    scores = pd.DataFrame({"factor01": CODES[:, 0], "factor02": CODES[:, 1]}, index=PEOPLE)
    found = gather_targets(["diagnosis", "age", "factors"], sheet, tables, scores)
    assert [t.name for t in found] == ["diagnosis", "age", "factor01", "factor02"]
    assert found[0].kind == "classes"
    with pytest.raises(UserError, match="'iq' is no column"):
        gather_targets(["iq"], sheet, tables, None)


def test_a_linear_effect_is_found_with_its_interval():
    values = CODES[:, 0] * 2 + CODES[:, 1] + RANDOM.normal(size=120)  # 5/6 of the variance
    number = target(values)
    predictions = over_folds(number)
    assert sorted(predictions["subject"]) == PEOPLE  # everybody once, when tested
    found = score_predictions(predictions, [number], {}, 1).iloc[0]
    assert found["measure"] == "r2"
    assert 0.6 < found["value"] < 0.9
    assert found["low"] < found["value"] < found["high"]
    assert found["high"] - found["low"] < 0.35
    classes = target(np.where(values > 0, "patient", "control"))
    found = score_predictions(over_folds(classes), [classes], {}, 1).iloc[0]
    assert found["measure"] == "auc"
    assert found["value"] > 0.75
    assert found["low"] > 0.6


def test_intervals_are_as_wide_as_results_vary_between_studies():
    """Of 80 studies of 60 people with other training and test people each."""
    random = np.random.default_rng(4)
    names = [f"{i:03d}" for i in range(60)]
    roles = [np.where(np.arange(60) % 5 == fold, "test", "train") for fold in range(5)]
    found = []
    for _ in range(80):
        codes = random.standard_normal((60, 8))
        number = as_target("t", pd.Series(codes[:, 0] + random.standard_normal(60), index=names))
        tables = [pd.DataFrame({"subject": names, "role": role}) for role in roles]
        parts = [
            fold_predictions(number, "e", str(fold), Embeddings(names, codes, table), {}, 1)
            for fold, table in enumerate(tables)
        ]
        found.append(score_predictions(pd.concat(parts, ignore_index=True), [number], {}, 1).iloc[0])
    scores = pd.DataFrame(found)
    assert set(parts[0]["learned"]) == {48}
    # two thirds of this if only test people are drawn anew, and 83% would cover
    assert 0.9 < (scores["high"] - scores["low"]).mean() / 3.92 / scores["value"].std() < 1.4
    middle = scores["value"].mean()
    assert ((scores["low"] < middle) & (middle < scores["high"])).mean() > 0.92


def test_several_classes_are_each_told_from_the_rest():
    group = np.array(["a", "b", "c"])[np.argmax(CODES[:, :3] + 0.3 * RANDOM.normal(size=(120, 3)), axis=1)]
    classes = target(group)
    predictions = over_folds(classes)
    assert set(predictions["class"]) == {"a", "b", "c"}
    assert two_class_tables(predictions, [classes])[0].empty
    assert score_predictions(predictions, [classes], {}, 1).iloc[0]["value"] > 0.85


def test_permuted_labels_are_predicted_at_chance():
    areas = []
    for seed in range(20):
        labels = np.random.default_rng(seed).permutation(["patient", "control"] * 60)
        classes = target(labels)
        predictions = over_folds(classes, codes=CODES[:, :8])
        areas.append(score_predictions(predictions, [classes], {}, 1).iloc[0]["value"])
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)


def test_noise_explains_nothing():
    number = target(RANDOM.normal(size=120))
    assert score_predictions(over_folds(number), [number], {}, 1).iloc[0]["value"] < 0.1


def test_test_people_teach_nothing():
    """Somebody's own target value does not move their prediction."""
    values = CODES[:, 0] + 0.1 * RANDOM.normal(size=120)
    changed = values.copy()
    changed[::4] += 100  # the test people of fold 0
    before = fold_predictions(target(values), "e", "0", in_fold(0), {}, 1)
    after = fold_predictions(target(changed), "e", "0", in_fold(0), {}, 1)
    np.testing.assert_allclose(before["predicted"], after["predicted"])


def test_measures_by_hand():
    assert explained(np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.array([2.0, 2.0]))[0] == pytest.approx(
        0.5
    )
    scores, positive = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    assert area_under_curve(scores, positive)[0] == 0.75
    assert np.isnan(area_under_curve(np.array([1.0, 2.0]), np.array([True, True])))[0]
    tied = RANDOM.integers(0, 5, 60).astype(float)
    classes = RANDOM.random(60) < 0.4
    twice = np.ones((1, 60))
    twice[0, 3] = 2
    assert area_under_curve(tied, classes)[0] == pytest.approx(roc_auc_score(classes, tied))
    assert area_under_curve(tied, classes, twice)[0] == pytest.approx(
        roc_auc_score(np.append(classes, classes[3]), np.append(tied, tied[3]))
    )
    exact = predict_number(CODES[:60], CODES[:60, 3] * 5, CODES[60:])
    np.testing.assert_allclose(exact, CODES[60:, 3] * 5, atol=0.2)


def test_families_are_drawn_as_a_whole():
    """Pairs of equal rows: counted one by one their interval would be too narrow by the root of two."""
    values = np.repeat(RANDOM.normal(size=60), 2)
    widths = []
    for groups in (list(range(120)), [i // 2 for i in range(120)]):
        weights = bootstrap_weights(groups, 1)
        low, high = percentile_interval(weights @ values / weights.sum(axis=1))
        widths.append(high - low)
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(2), rel=0.12)


@pytest.mark.parametrize("classes", [("control", "patient"), ("01", "02"), ("false", "true"), ("CTL", "AD")])
def test_the_stage_writes_both_tables(tmp_path, classes):
    # of its own: those of RANDOM depend on the tests that ran before
    severity = CODES[:, 0] + 0.5 * np.random.default_rng(4).normal(size=120)
    sheet = pd.DataFrame(
        {"subject": PEOPLE, "family": "", "diagnosis": np.where(severity > 0, *classes[::-1])}
    )
    write_table(tmp_path / "people.tsv", sheet)
    write_table(
        tmp_path / "phenotypes.tsv", pd.DataFrame({"participant_id": PEOPLE, "age": severity * 10 + 40})
    )
    folds, bases = [], []
    for k in range(4):
        folder = tmp_path / f"fold-{k}"
        (folder / "baselines").mkdir(parents=True)
        codes = in_fold(k)
        names = [f"z{i}" for i in range(20)]
        whole = pd.concat([codes.table, pd.DataFrame(CODES, columns=names)], axis=1)
        base = whole.copy()
        base[names] = np.random.default_rng(k).normal(size=(120, 20))
        whole.insert(2, "probability", 1 / (1 + np.exp(-severity)))
        write_table(folder / "embeddings.tsv", whole)
        write_table(folder / "baselines" / "pca_stacked.tsv", base)
        folds.append(folder / "embeddings.tsv")
        bases.append(folder / "baselines")
    predict(
        embeddings=folds,
        baselines=bases,
        people=tmp_path / "people.tsv",
        tables=[tmp_path / "phenotypes.tsv"],
        output=tmp_path / "predictions.tsv",
        summary=tmp_path / "scores.tsv",
        classification=tmp_path / "classification.tsv",
        roc=tmp_path / "roc.tsv",
        settings={
            "prediction": ["age"],
            "label": {"column": "diagnosis", "classes": list(classes)},
            "id_column": None,
            "seed": 1,
            "version": 1,
        },
    )
    scores = read_table(tmp_path / "scores.tsv").set_index(["features", "target"])
    assert set(scores.index) == {
        (f, t) for f in ("embedding", "pca_stacked") for t in ("diagnosis", "age")
    } | {("classifier", "diagnosis")}
    assert scores.loc[("embedding", "age"), "value"] > 0.6
    assert scores.loc[("embedding", "diagnosis"), "value"] > 0.85
    assert scores.loc[("pca_stacked", "diagnosis"), "value"] < 0.75
    assert scores.loc[("classifier", "diagnosis"), "value"] == pytest.approx(1)
    measures = read_table(tmp_path / "classification.tsv").set_index(["features", "target", "measure"])
    assert set(measures.index.get_level_values("target")) == {"diagnosis"}
    assert measures.loc[("classifier", "diagnosis", "auc"), "mean"] == pytest.approx(1)
    assert measures.loc[("classifier", "diagnosis", "balanced_accuracy"), "mean"] == pytest.approx(1)
    assert measures.loc[("embedding", "diagnosis", "balanced_accuracy"), "mean"] > 0.65
    curves = read_table(tmp_path / "roc.tsv", text=("fold",))
    mean = curves[(curves["features"] == "classifier") & (curves["fold"] == "mean")]
    assert mean["true_positive_rate"].iloc[1:].min() == 1
    predictions = read_table(tmp_path / "predictions.tsv", text=("class",))
    assert len(predictions) == 120 * 5
    # the second of the classes as listed, whatever their alphabetical order: of the classifier and of all it stands beside
    of_classes = predictions[predictions["target"] == "diagnosis"]
    assert set(of_classes["class"]) == {classes[1]}
    own = of_classes[of_classes["features"] == "embedding"]
    found = own[own["observed"] == 1].groupby("fold")["predicted"].apply(lambda scores: (scores >= 0).mean())
    assert measures.loc[("embedding", "diagnosis", "sensitivity"), "mean"] == pytest.approx(found.mean())


def test_every_inner_fold_has_every_class():
    """In a fold of one class no penalty can be judged; the smallest was then taken whatever the data."""
    for few, pairs in ((5, False), (8, False), (12, True)):
        labels = np.array(["b"] * few + ["a"] * (60 - few))
        groups = np.array([f"family {i // 2 if pairs else i:02d}" for i in range(60)])
        for seed in range(20):
            order = np.random.default_rng(seed).permutation(60)
            folds = inner_folds(labels[order], groups[order], seed)
            assert len(folds) == 5
            assert sorted(np.concatenate([judged for _, judged in folds])) == list(range(60))
            for learned, judged in folds:
                assert set(labels[order][learned]) == set(labels[order][judged]) == {"a", "b"}
                assert not set(groups[order][learned]) & set(groups[order][judged])
    alone = np.array(["family"] * 6 + [f"{i}" for i in range(30)])
    assert inner_folds(np.array(["b"] * 6 + ["a"] * 30), alone, 1) == []


def test_a_class_that_nobody_tested_has_leaves_its_measures_empty():
    """A held-out set may have nobody of a rare class: that is a result, not a mistake of the user."""
    rare = target(["patient"] * 5 + ["control"] * 115)
    roles = np.where(np.arange(120) > 90, "test", "train")
    held_out = Embeddings(list(PEOPLE), CODES, pd.DataFrame({"subject": PEOPLE, "role": roles}))
    predictions = fold_predictions(rare, "embedding", "0", held_out, {}, 1)
    measures, curves = two_class_tables(predictions, [rare])
    assert set(measures["measure"]) == set(MEASURES)
    assert measures["mean"].isna().all()
    assert (measures["folds"] == 0).all()
    assert (measures["skipped"] == 1).all()
    assert curves.empty


def by_hand(penalty, train, labels, test):
    """Decisions of a support vector machine with one penalty."""
    scaler = StandardScaler().fit(train)
    machine = LinearSVC(C=penalty, class_weight="balanced", dual="auto", tol=1e-6, max_iter=20000)
    return machine.fit(scaler.transform(train), labels).decision_function(scaler.transform(test))


@pytest.mark.filterwarnings("ignore:Liblinear")
@pytest.mark.parametrize(("classes", "seed"), [(2, 21), (3, 12)])
def test_the_penalty_is_the_one_that_tells_most_apart_in_the_inner_folds(classes, seed):
    """By AUC for two classes, where another penalty has the best balanced accuracy; for more classes by that.

    Small classes count as much as large ones.
    """
    random = np.random.default_rng(seed)
    labels = np.array(["c"] * 25 + ["a"] * 70 + ["b"] * (25 if classes == 3 else 0))
    codes = random.normal(size=(len(labels), 30))
    codes[:, 0] += 1.5 * (labels == "a")
    codes[:, 1] += 1.5 * (labels == "b")
    codes[:, 2:12] += 1.0 * random.normal(size=(len(labels), 1))
    groups, new = np.arange(len(labels)), random.normal(size=(40, 30))
    found = []
    for penalty in SVM_PENALTIES:
        judged = []
        for learn, judge in inner_folds(labels, groups, 3):
            decision = by_hand(penalty, codes[learn], labels[learn], codes[judge])
            if classes == 2:
                judged.append(roc_auc_score(labels[judge] == "c", decision))
            else:
                named = np.array(["a", "b", "c"])[decision.argmax(axis=1)]
                judged.append(balanced_accuracy_score(labels[judge], named))
        found.append(np.mean(judged))
    machine = fit_classes(codes, labels, groups, 3)
    assert sorted(found)[-1] - sorted(found)[-2] > 0.002  # the choice is no matter of rounding
    chosen = SVM_PENALTIES[int(np.argmax(found))]
    assert machine[-1].get_params()["C"] == chosen
    names, scores = predict_classes(codes, labels, new, groups, 3)
    expected = by_hand(chosen, codes, labels, new)
    expected = np.stack([-expected, expected], axis=1) if classes == 2 else expected
    assert names == sorted(set(labels))
    np.testing.assert_allclose(scores, expected, atol=0.01 * np.abs(expected).max())


def test_where_no_inner_fold_can_judge_the_second_penalty_is_taken():
    labels, groups = np.array(["b"] * 6 + ["a"] * 30), np.array(["family"] * 6 + [f"{i}" for i in range(30)])
    assert inner_folds(labels, groups, 1) == []
    assert fit_classes(CODES[:36], labels, groups, 1)[-1].get_params()["C"] == SVM_PENALTIES[1]
    groups[3:6] = "other"  # two families can be judged by each other
    assert len(inner_folds(labels, groups, 1)) == 2


def test_bootstrap_draws_are_samples_in_which_people_stand_several_times():
    """Each row of weights gives what the repeated rows give: AUC, share of variance, and the interval of both."""
    random = np.random.default_rng(5)
    scores, positive = random.normal(size=30).round(1), random.random(30) < 0.5
    predicted, observed, usual = random.normal(size=(3, 30))
    weights = random.multinomial(30, np.full(30, 1 / 30), size=200)
    areas, shares = (
        area_under_curve(scores, positive, weights),
        explained(predicted, observed, usual, weights),
    )
    for row in range(5):
        drawn = np.repeat(np.arange(30), weights[row])
        assert areas[row] == pytest.approx(roc_auc_score(positive[drawn], scores[drawn]))
        left = ((observed - predicted)[drawn] ** 2).sum()
        assert shares[row] == pytest.approx(1 - left / ((observed - usual)[drawn] ** 2).sum())
    assert percentile_interval(areas) == pytest.approx(np.quantile(areas, [0.025, 0.975]))
    half = np.where(np.arange(200) < 99, areas, np.nan)
    assert np.isnan(percentile_interval(half)).all()  # most draws have one class only
    half[99:102] = areas[99:102]
    assert percentile_interval(half) == pytest.approx(np.quantile(half[:102], [0.025, 0.975]))
    small = explained(predicted / 100, observed / 100, usual / 100, weights)
    np.testing.assert_allclose(small, shares)
    # nobody differs from the training mean: there is no variance to explain
    assert np.isnan(explained(predicted, observed, observed)[0])


def test_scores_of_classes_are_means_over_folds():
    """Against scikit-learn, fold by fold; the threshold of a support vector machine is its plane, that of a probability 0.5."""
    random = np.random.default_rng(6)
    values = np.where(CODES[:, 0] + random.normal(size=120) > -0.4, "patient", "control")
    classes = target(values)
    predictions = over_folds(classes)
    areas, balanced = [], []
    for _, fold in predictions.groupby("fold"):
        areas.append(roc_auc_score(fold["observed"], fold["predicted"]))
        balanced.append(balanced_accuracy_score(fold["observed"], fold["predicted"] > 0))
        learned = ~np.isin(PEOPLE, fold["subject"])
        assert (fold["usual"] == (values[learned] == "patient").mean()).all()
    found = score_predictions(predictions, [classes], {}, 1).iloc[0]
    assert found["value"] == pytest.approx(np.mean(areas))
    assert found["fold_sd"] == pytest.approx(np.std(areas, ddof=1))
    assert (found["people"], found["folds"]) == (120, 4)
    two = score_predictions(predictions[predictions["fold"].isin(["0", "1"])], [classes], {}, 1).iloc[0]
    assert two["fold_sd"] == pytest.approx(np.std(areas[:2], ddof=1))
    measures, _ = two_class_tables(predictions, [classes])
    measures = measures.set_index("measure")
    assert measures.loc["balanced_accuracy", "mean"] == pytest.approx(np.mean(balanced))
    assert measures.loc["auc", "sd"] == pytest.approx(np.std(areas, ddof=1))

    table = pd.DataFrame(
        {"subject": PEOPLE, "role": in_fold(0).table["role"], "probability": random.random(120)}
    )
    own = classifier_predictions(classes, "patient", "0", table)
    assert list(own.columns) == list(PREDICTION_COLUMNS)
    tested = np.arange(120) % 4 == 0
    np.testing.assert_array_equal(own["observed"], values[tested] == "patient")
    assert (own["usual"] == (values[~tested] == "patient").mean()).all()
    assert set(own["learned"]) == {90}
    measures, _ = two_class_tables(own, [classes])
    named = table["probability"][tested] > 0.5
    assert measures.set_index("measure").loc["balanced_accuracy", "mean"] == pytest.approx(
        balanced_accuracy_score(values[tested] == "patient", named)
    )
