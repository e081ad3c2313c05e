"""The alternative without clusters: ridge and canonical correlation out of fold."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from neurostrata.prediction import continuous
from neurostrata.prediction.continuous import (
    CanonicalFolds,
    RidgeFold,
    cohorts,
    compare_features,
    correlation,
    divided,
)
from neurostrata.strata.comparison.covariates import covariate_columns


def without_covariates(people):
    """Return folds of everybody whose targets are only centred."""
    return pd.DataFrame(index=range(people)), 1


def run(
    features,
    scores,
    clusters=None,
    families=None,
    folds=5,
    permutations=39,
    seed=1,
    covariates=None,
    splines=1,
):
    people = len(scores)
    scores = pd.DataFrame(scores, columns=[f"factor_{j}" for j in range(scores.shape[1])])
    return compare_features(
        *(features, clusters or {}, scores, families or [""] * people, folds, permutations, seed),
        *(covariates, splines),
    )


@pytest.mark.parametrize("dimensions", [5, 80])
def test_predictions_are_those_of_ridge_regression(monkeypatch, dimensions):
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(50, dimensions)) * 3 + 1, generator.normal(size=(20, dimensions))
    targets = generator.normal(size=(50, 3)) + train[:, :1]
    monkeypatch.setattr(continuous, "RIDGE_PENALTIES", np.array([7.0]))
    scaler = StandardScaler().fit(train)
    wanted = Ridge(alpha=7.0).fit(scaler.transform(train), targets).predict(scaler.transform(test))
    np.testing.assert_allclose(RidgeFold(train, test).predict(targets), wanted, rtol=1e-6, atol=1e-8)


def test_each_target_has_its_own_penalty_by_generalised_cross_validation():
    generator = np.random.default_rng(1)
    train, test = generator.normal(size=(60, 10)), generator.normal(size=(15, 10))
    targets = np.column_stack([train[:, 0] + 0.1 * generator.normal(size=60), generator.normal(size=60)])
    scaler = StandardScaler().fit(train)
    x = scaler.transform(train)
    chosen = []
    for target in targets.T:
        errors = []
        for penalty in continuous.RIDGE_PENALTIES:
            hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(10), x.T)
            left = (target - target.mean()) - hat @ (target - target.mean())
            errors.append((left**2).sum() / (59 - np.trace(hat)) ** 2)
        chosen.append(continuous.RIDGE_PENALTIES[int(np.argmin(errors))])
    assert chosen[0] < chosen[1]
    predicted = RidgeFold(train, test).predict(targets)
    for column, penalty in enumerate(chosen):
        model = Ridge(alpha=penalty).fit(x, targets[:, column])
        np.testing.assert_allclose(predicted[:, column], model.predict(scaler.transform(test)), rtol=1e-6)


def test_what_codes_hold_is_predicted_and_what_not_is_not():
    generator = np.random.default_rng(2)
    codes = generator.normal(size=(300, 8))
    scores = np.column_stack([codes[:, 0] + generator.normal(size=300), generator.normal(size=300)])
    scores[:20, 1] = np.nan
    table, added = run({"codes": codes}, scores, permutations=99)
    ridge = table[table["method"] == "ridge"].set_index("factor")
    assert ridge.loc["factor_0", "value"] == pytest.approx(0.5, abs=0.1)
    assert ridge.loc["factor_0", "low"] < 0.5 < ridge.loc["factor_0", "high"]
    assert ridge.loc["factor_0", "p"] == 0.01
    assert ridge.loc["factor_1", "p"] > 0.05
    assert ridge.loc["factor_1", "value"] < 0.05
    assert list(ridge["n"]) == [300, 280]
    cca = table[table["method"] == "cca"].iloc[0]
    assert cca["value"] == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert (cca["p"], cca["n"], cca["measure"]) == (0.01, 280, "canonical_correlation")
    assert added.empty


def test_nothing_is_found_by_chance(monkeypatch):
    monkeypatch.setattr(continuous, "BOOTSTRAP", 10)
    generator = np.random.default_rng(3)
    p = []
    for seed in range(150):
        table, _ = run({"codes": generator.normal(size=(40, 4))}, generator.normal(size=(40, 2)), seed=seed)
        p.append(table["p"].to_numpy())
    share = (np.array(p) <= 0.05).mean(axis=0)
    assert len(share) == 3  # two factors by ridge, one canonical correlation
    assert (share <= 0.1).all()
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_relatives_stay_in_one_fold():
    """Twins with equal codes and scores would predict each other."""
    generator = np.random.default_rng(4)
    codes = np.repeat(generator.normal(size=(60, 90)), 2, axis=0)
    scores = np.repeat(generator.normal(size=(60, 1)), 2, axis=0)
    families = [f"f{k // 2}" for k in range(120)]
    ruled = run({"codes": codes}, scores, families=families)[0]["value"][0]
    free = run({"codes": codes}, scores)[0]["value"][0]
    assert ruled < 0.05
    assert free > 0.5
    for cohort in cohorts(scores, families, 5, 20, 1, *without_covariates(120)):
        assert all((fold.test[::2] + 1 == fold.test[1::2]).all() for fold in cohort.folds)
        assert sorted(np.concatenate([fold.test for fold in cohort.folds])) == list(range(120))
        assert (cohort.orders[:, 1::2] == cohort.orders[:, ::2] + 1).all()
        assert (cohort.weights[:, ::2] == cohort.weights[:, 1::2]).all()


def test_clusters_that_codes_do_not_tell_add_to_them():
    generator = np.random.default_rng(5)
    codes = generator.normal(size=(300, 30))
    group = pd.Series(generator.integers(1, 4, size=300)).astype(float)
    score = codes[:, 0] + 1.5 * (group == 2) + generator.normal(size=300)
    group[:3] = np.nan
    table, added = run({"codes": codes}, score.to_numpy()[:, None], {"mixture": group}, permutations=99)
    row = added.iloc[0]
    assert (row["finder"], row["p"]) == ("mixture", 0.01)
    assert 0.05 < row["low"] < row["added_r2"] < row["high"]
    ridge = table[table["method"] == "ridge"].set_index("features")["value"]
    assert set(ridge.index) == {"codes", "clusters of mixture", "codes + clusters of mixture"}
    directions = RidgeFold(codes, codes).predict(continuous.indicators(group))
    (cohort,) = cohorts(score.to_numpy()[:, None], [""] * 300, 5, 1, 1, *without_covariates(300))
    alone = continuous.RidgeFolds(codes, cohort.folds, directions).errors(score.to_numpy()[:, None])
    without = continuous.explained_share(*alone)[0]
    assert row["added_r2"] == pytest.approx(ridge["codes + clusters of mixture"] - without)
    assert ridge["clusters of mixture"] > 0.05


@pytest.mark.parametrize(
    ("studies", "people", "dimensions", "slope", "cuts"),
    [
        (100, 80, 4, 1.0, [1 / 2]),
        # ridge shrinks the one direction that matters as it does all others; clusters along it must not pass for more than it
        (80, 100, 60, 0.6, [1 / 3, 2 / 3]),
    ],
)
def test_a_cut_through_a_continuum_adds_nothing_to_it(monkeypatch, studies, people, dimensions, slope, cuts):
    monkeypatch.setattr(continuous, "BOOTSTRAP", 10)
    generator = np.random.default_rng(11)
    p, gains = [], []
    for seed in range(studies):
        codes = generator.normal(size=(people, dimensions))
        score = slope * codes[:, :1] + generator.normal(size=(people, 1))
        group = pd.Series(1 + np.digitize(codes[:, 0], np.quantile(codes[:, 0], cuts)))
        _, added = run({"codes": codes}, score, {"mixture": group}, seed=seed)
        p.append(added["p"][0])
        gains.append(added["added_r2"][0])
    assert (np.array(p) <= 0.05).mean() <= 0.11
    assert np.mean(gains) < 0.01


def test_intervals_allow_for_other_training_people(monkeypatch):
    """Those of the tested people alone are two thirds as wide."""
    monkeypatch.setattr(continuous, "BOOTSTRAP", 200)
    generator = np.random.default_rng(18)
    found, gains = [], []
    for seed in range(60):
        codes = generator.normal(size=(60, 8))
        group = pd.Series(generator.integers(1, 3, size=60))
        score = (codes[:, 0] + (group == 1) + generator.normal(size=60)).to_numpy()[:, None]
        table, added = run({"codes": codes}, score, {"mixture": group}, permutations=1, seed=seed)
        found.append(table[table["features"] == "codes"].iloc[[0, -1]])
        gains.append(added.rename(columns={"added_r2": "value"}))
    for rows in (pd.concat(found), pd.concat(gains).assign(method="added")):
        for method, own in rows.groupby("method"):
            ratio = (own["high"] - own["low"]).mean() / 3.92 / own["value"].std()
            assert 0.85 < ratio < 1.5, method
    assert rows["high"].max() <= 1


def test_one_cluster_predicts_nothing_and_few_people_give_no_rows():
    generator = np.random.default_rng(7)
    table, added = run(
        {"codes": generator.normal(size=(30, 3))}, generator.normal(size=(30, 1)), {"ap": pd.Series([1] * 30)}
    )
    own = table[table["features"] == "clusters of ap"].iloc[0]
    assert own["value"] == pytest.approx(0, abs=1e-12)
    assert own["p"] == 1
    assert added["added_r2"][0] == pytest.approx(0, abs=1e-12)
    assert run({"codes": generator.normal(size=(5, 3))}, generator.normal(size=(5, 1)))[0].empty


def test_a_large_cohort_takes_seconds():
    generator = np.random.default_rng(8)
    codes, scores = generator.normal(size=(1000, 256)), generator.normal(size=(1000, 13))
    clusters = {"mixture": pd.Series(generator.integers(1, 4, size=1000))}
    start = time.process_time()
    run({"codes": codes}, scores, clusters, folds=10, permutations=199)
    assert time.process_time() - start < 60


def test_canonical_correlation_is_that_of_everybodys_variates():
    """Of the leading eigenvectors of the training people's covariances; a fold's variates have unit length in its training."""
    generator = np.random.default_rng(9)
    codes = generator.normal(size=(150, 3)) @ generator.normal(size=(3, 3))
    factors = np.column_stack([codes[:, 0] + generator.normal(size=150), generator.normal(size=150)])
    fold = np.arange(150) % 3
    one, other = np.zeros(150), np.zeros(150)
    for number in range(3):
        train, test = fold != number, fold == number
        x, y = codes - codes[train].mean(axis=0), factors - factors[train].mean(axis=0)
        xx, yy, xy = (a[train].T @ b[train] for a, b in ((x, x), (y, y), (x, y)))
        values, vectors = np.linalg.eig(np.linalg.solve(xx, xy) @ np.linalg.solve(yy, xy.T))
        a = vectors[:, values.real.argmax()].real
        b = np.linalg.solve(yy, xy.T @ a)
        one[test] = x[test] @ a / np.linalg.norm(x[train] @ a)
        other[test] = y[test] @ b / np.linalg.norm(y[train] @ b)
    wanted = (one @ other) / np.sqrt((one @ one) * (other @ other))
    folds = divided(fold, np.zeros((150, 0)))
    found = correlation(*CanonicalFolds(codes, folds).variates(factors))
    assert found[0] == pytest.approx(wanted)
    twice = np.ones((1, 150))
    twice[0, :40] = 3
    weighted = correlation(*CanonicalFolds(codes, folds).variates(factors), twice)
    rows = np.repeat(np.arange(150), twice[0].astype(int))
    assert weighted[0] == pytest.approx(
        one[rows] @ other[rows] / np.sqrt((one[rows] @ one[rows]) * (other[rows] @ other[rows]))
    )
    # features or factors in which nobody differs have no variates
    assert correlation(*CanonicalFolds(np.ones((150, 2)), folds).variates(factors)) == [0]
    assert correlation(*CanonicalFolds(codes, folds).variates(np.ones((150, 2)))) == [0]


@pytest.mark.parametrize("adjusted", [False, True])
def test_permutations_that_change_nothing_reach_every_value(monkeypatch, adjusted):
    """Whatever is permuted is put together again as it was."""
    monkeypatch.setattr(continuous, "BOOTSTRAP", 10)
    monkeypatch.setattr(continuous, "orders", lambda families, *_: np.tile(np.arange(len(families)), (3, 1)))
    generator = np.random.default_rng(10)
    codes = generator.normal(size=(80, 3))
    cluster = generator.integers(1, 3, size=80)
    scores = np.column_stack([3 * codes[:, 0] + cluster, cluster]) + generator.normal(size=(80, 2))
    covariates = pd.DataFrame({"age": codes[:, 1] + generator.normal(size=80)}) if adjusted else None
    table, added = run(
        {"codes": codes}, scores, {"mixture": pd.Series(cluster)}, permutations=3, covariates=covariates
    )
    assert (added["added_r2"] > 0.01).all()
    assert (table["p"] == 1).all()
    assert (added["p"] == 1).all()


def test_each_factor_has_a_p_of_its_own(monkeypatch):
    monkeypatch.setattr(continuous, "BOOTSTRAP", 10)
    generator = np.random.default_rng(11)
    codes = generator.normal(size=(60, 2))
    scores = np.column_stack([codes[:, 0], generator.normal(size=60), np.full(60, np.nan)])
    table, _ = run({"codes": codes}, scores, permutations=39)
    assert list(table.columns) == list(continuous.COLUMNS)
    ridge = table[table["method"] == "ridge"].set_index("factor")
    assert ridge.loc["factor_0", "p"] == 1 / 40
    assert ridge.loc["factor_1", "p"] > 0.1
    assert list(table["n"]) == [60] * 3


def test_factors_are_freed_of_covariates_by_effects_of_the_other_folds():
    """By least squares and scikit-learn's ridge regression, one fold after the other."""
    generator = np.random.default_rng(12)
    people = 90
    covariates = pd.DataFrame({"age": generator.permutation(people) + 20.0})
    covariates["site"] = generator.choice(["a", "b"], people)
    covariates.loc[4, "age"] = np.nan
    age = covariates["age"].fillna(60) / 20
    codes = generator.normal(size=(people, 4)) + age.to_numpy()[:, None]
    score = age + codes[:, 0] + 2 * (covariates["site"] == "a") + generator.normal(size=people)
    table, _ = run({"codes": codes}, score.to_numpy()[:, None], covariates=covariates)
    (cohort,) = cohorts(score.to_numpy()[:, None], [""] * people, 5, 1, 1, covariates, 1)
    known = covariates.iloc[cohort.rows]
    assert list(cohort.rows) == [row for row in range(people) if row != 4]
    design = np.column_stack([np.ones(people - 1), known["age"].rank(), known["site"] == "b"])
    y, x = score.to_numpy()[cohort.rows], codes[cohort.rows]
    error = plain = 0.0
    for fold in cohort.folds:
        effects = np.linalg.lstsq(design[fold.train], y[fold.train], rcond=None)[0]
        left = y - design @ effects
        predicted = RidgeFold(x[fold.train], x[fold.test]).predict(left[fold.train, None])[:, 0]
        error += ((left[fold.test] - predicted) ** 2).sum()
        plain += (left[fold.test] ** 2).sum()
    row = table[table["method"] == "ridge"].iloc[0]
    assert row["value"] == pytest.approx(1 - error / plain)
    assert (row["n"], row["adjusted_for"], row["curves"], row["slopes"]) == (89, "age, site", "none", "none")
    assert row["value"] > 0.2
    assert row["p"] == 1 / 40


def test_what_covariates_alone_join_is_not_predicted(monkeypatch):
    """A site has other codes and other factors; age bends in both."""
    monkeypatch.setattr(continuous, "BOOTSTRAP", 10)
    generator = np.random.default_rng(13)
    people, p, gains, without = 120, [], [], []
    for seed in range(40):
        covariates = pd.DataFrame({"age": generator.uniform(20, 85, people)})
        covariates["site"] = generator.choice(["a", "b", "c"], people)
        bend = ((covariates["age"] - 52) / 19) ** 2
        shared = (1.5 * (covariates["site"] == "c") + bend).to_numpy()
        codes = generator.normal(size=(people, 4)) + shared[:, None]
        scores = generator.normal(size=(people, 2)) + shared[:, None]
        group = pd.Series(1 + (shared > np.median(shared)))
        table, added = run(
            {"codes": codes}, scores, {"mixture": group}, seed=seed, covariates=covariates, splines="auto"
        )
        p.append(table["p"].to_numpy())
        gains.append(added["p"].to_numpy())
        without.append(run({"codes": codes}, scores, seed=seed)[0]["p"].to_numpy())
        assert set(table["curves"]) == {"age"}
    assert len(p[0]) == 7  # two factors by ridge of codes, clusters and both; one canonical correlation
    assert (np.array(p) <= 0.05).mean(axis=0).max() <= 0.12
    assert (np.array(gains) <= 0.05).mean() <= 0.1
    assert (np.array(without) <= 0.05).mean() > 0.95


def test_effects_of_covariates_are_not_learned_from_the_people_who_are_tested():
    generator = np.random.default_rng(14)
    columns = generator.normal(size=(40, 2))
    fold = divided(np.arange(40) % 4, columns)[1]
    targets = generator.normal(size=(40, 3))
    known, tested = fold.freed(targets)
    changed = targets.copy()
    changed[fold.test] += 5
    again, other = fold.freed(changed)
    np.testing.assert_array_equal(again, known)
    np.testing.assert_allclose(other, tested + 5)
    np.testing.assert_allclose(known.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(columns[fold.train].T @ known, 0, atol=1e-12)


@pytest.mark.parametrize("sites", ["bac", "abc", "ab"])
def test_a_site_of_which_only_tested_people_are_has_no_effect(sites):
    """Whatever its name, and however far from 0 scores are: the first class has no column."""
    site = np.repeat([0, 1, len(sites) - 1], [3, 17, 10])
    targets = 1000 + np.array([100.0, 0, 8 * (len(sites) - 2)])[site][:, None]
    columns, _, _ = covariate_columns(pd.DataFrame({"site": np.array(list(sites))[site]}), 1)
    fold = divided(np.arange(30) // 10, columns)[0]
    known, tested = fold.freed(targets)
    np.testing.assert_allclose(known, 0, atol=1e-9)
    np.testing.assert_allclose(tested[3:], 0, atol=1e-9)
    assert (np.abs(tested[:3] - 100) <= 8 + 1e-9).all()


def test_covariates_alike_in_those_who_are_learned_from_have_no_effect():
    generator = np.random.default_rng(16)
    columns = np.full((30, 1), 0.1 + 0.2)
    columns[:5] = generator.normal(size=(5, 1))
    targets = generator.normal(size=(30, 2)) + 7
    _, tested = divided(np.arange(30) // 10, columns)[0].freed(targets)
    np.testing.assert_allclose(tested, targets[:10] - targets[10:].mean(axis=0))


def test_gains_above_1_are_in_their_intervals():
    """Of few people, codes and directions may predict much worse than nothing."""
    gains = 0
    for seed in range(25):
        generator = np.random.default_rng(seed)
        codes, scores = generator.normal(size=(8, 3)), generator.normal(size=(8, 2))
        group = pd.Series(generator.integers(1, 3, 8).astype(float))
        _, added = run({"codes": codes}, scores, {"mixture": group}, permutations=1, seed=0)
        large = added[added["added_r2"] > 1]
        gains += len(large)
        assert (large["high"] > large["added_r2"]).all()
    assert gains


def test_a_factor_that_covariates_determine_is_not_tested():
    generator = np.random.default_rng(15)
    covariates = pd.DataFrame({"age": generator.permutation(60) + 20.0})
    scores = np.column_stack([3 * covariates["age"] - 7, generator.normal(size=60)])
    cluster = pd.Series(generator.integers(1, 3, size=60))
    codes = generator.normal(size=(60, 3))
    table, added = run({"codes": codes}, scores, {"mixture": cluster}, covariates=covariates)
    for rows, value in ((table, "value"), (added, "added_r2")):
        own = rows[rows["factor"] == "factor_0"]
        assert len(own) > 0
        assert own[[value, "low", "high", "p", "q"]].isna().all(axis=None)
        assert rows.loc[rows["factor"] == "factor_1", [value, "low", "high", "p", "q"]].notna().all(axis=None)
    one = run({"codes": codes}, scores[:, 1:], covariates=covariates)[0]
    np.testing.assert_allclose(
        table.loc[table["method"] == "cca", "value"], one.loc[one["method"] == "cca", "value"]
    )


def test_covariates_that_leave_too_few_people_give_no_rows():
    """One for each column of covariates, and six."""
    generator = np.random.default_rng(16)
    for people, rows in ((11, 0), (12, 2)):
        covariates = pd.DataFrame({"site": [f"s{number % 7}" for number in range(people)]})
        features = {"codes": generator.normal(size=(people, 2))}
        table, _ = run(features, generator.normal(size=(people, 1)), covariates=covariates)
        assert len(table) == rows
