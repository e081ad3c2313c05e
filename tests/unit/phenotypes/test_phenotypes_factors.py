"""Factors against what was planted, and against R's psych::principal."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.config import section_defaults
from neurostrata.core.locations import REPOSITORY
from neurostrata.phenotypes.analysis import analyse_phenotypes
from neurostrata.phenotypes.factors import (
    kaiser_count,
    parallel_analysis,
    principal_varimax,
    standardise,
    tucker_congruence,
    varimax,
)

REFERENCE = REPOSITORY / "tests" / "reference"


def planted(people, per_factor, loading, seed):
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(per_factor)), per_factor)
    factors = generator.standard_normal((people, len(per_factor)))
    noise = generator.standard_normal((people, len(owner)))
    truth = np.zeros((len(owner), len(per_factor)))
    truth[np.arange(len(owner)), owner] = loading
    return loading * factors[:, owner] + np.sqrt(1 - loading**2) * noise, truth, factors


def matched(found, wanted):
    """Columns of `found` in the order and with the signs of `wanted`."""
    congruence = tucker_congruence(found, wanted)
    order = np.abs(congruence).argmax(axis=0)
    assert len(set(order)) == wanted.shape[1]
    return order, np.sign(congruence[order, np.arange(wanted.shape[1])])


@pytest.mark.parametrize("per_factor", [[5] * 4, [4] * 12 + [3]], ids=["4x5", "13 of 51"])
@pytest.mark.parametrize("seed", range(5))
def test_planted_factors_are_found(per_factor, seed):
    values, truth, factors = planted(500, per_factor, 0.75, seed)
    solution = principal_varimax(standardise(values)[0])
    assert solution.loadings.shape[1] == len(per_factor)
    best = np.abs(tucker_congruence(solution.loadings, truth)).max(axis=0)
    assert best.min() >= 0.95
    order, sign = matched(solution.loadings, truth)
    scores = standardise(values)[0] @ solution.weights[:, order] * sign
    r = [np.corrcoef(scores[:, j], factors[:, j])[0, 1] for j in range(len(per_factor))]
    assert min(r) > 0.8


def test_congruence_is_lower_where_nothing_is_planted():
    values, truth, _ = planted(500, [5] * 4, 0.0, 0)
    solution = principal_varimax(standardise(values)[0], n_factors=4)
    truth[truth == 0] = 0.0
    shape = np.kron(np.eye(4), np.ones((5, 1)))
    assert np.abs(tucker_congruence(solution.loadings, shape)).max(axis=0).min() < 0.9


def reference(name, what):
    return pd.read_csv(REFERENCE / f"{name}_{what}.tsv", sep="\t").to_numpy(dtype=float)


def check_against_r(name, values, with_scores=True):
    standardised = standardise(values)[0]
    solution = principal_varimax(standardised)
    loadings = reference(name, "loadings")
    assert solution.loadings.shape == loadings.shape
    np.testing.assert_allclose(solution.eigenvalues, reference(name, "eigenvalues").ravel(), atol=1e-8)
    order, sign = matched(solution.loadings, loadings)
    np.testing.assert_allclose(solution.loadings[:, order] * sign, loadings, rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        solution.weights[:, order] * sign, reference(name, "weights"), rtol=0, atol=1e-4
    )
    if with_scores:
        scores = standardised @ solution.weights[:, order] * sign
        np.testing.assert_allclose(scores, reference(name, "scores"), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["four_factors", "thirteen_factors"])
def test_equal_to_psych_principal(name):
    check_against_r(name, pd.read_csv(REFERENCE / f"{name}.tsv", sep="\t").to_numpy(dtype=float))


def test_equal_to_psych_principal_on_a_real_table(real_data):
    wanted = pd.read_csv(REFERENCE / "ds000030_variables.tsv", sep="\t")
    tables = []
    for name, part in wanted.groupby("table", sort=False):
        path = real_data / "ds000030" / "phenotype" / f"{name}.tsv"
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
        tables.append((str(path), table[["participant_id", *part["column"]]]))
    people = list(tables[0][1]["participant_id"].str.removeprefix("sub-"))
    settings = {**section_defaults("phenotypes"), "seed": 1, "variables": list(wanted["column"])}
    result = analyse_phenotypes(tables, people, settings)
    assert result.facts["people_analysed"] == 261
    loadings = reference("ds000030", "loadings")
    found = result.loadings.drop(columns="variable").to_numpy()
    order, sign = matched(found, loadings)
    np.testing.assert_allclose(found[:, order] * sign, loadings, rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        result.model.weights[:, order] * sign, reference("ds000030", "weights"), rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(
        result.eigenvalues["eigenvalue"], reference("ds000030", "eigenvalues").ravel(), atol=1e-8
    )


def test_only_the_rotator_of_factor_analyzer_is_used(monkeypatch):
    """The rest calls `check_array` with an argument that scikit-learn 1.8 dropped."""
    import factor_analyzer.factor_analyzer

    monkeypatch.delattr(factor_analyzer.factor_analyzer, "check_array")
    check_against_r(
        "four_factors", pd.read_csv(REFERENCE / "four_factors.tsv", sep="\t").to_numpy(dtype=float)
    )


def test_signs_order_and_score_scale():
    values = -planted(300, [3, 6, 4], 0.8, 3)[0]
    solution = principal_varimax(standardise(values)[0])
    assert (np.diff(solution.variance) <= 0).all()
    largest = np.abs(solution.loadings).argmax(axis=0)
    assert (solution.loadings[largest, range(3)] > 0).all()
    scores = standardise(values)[0] @ solution.weights
    np.testing.assert_allclose(np.cov(scores.T, ddof=1), np.eye(3), atol=1e-10)
    # the loadings are the correlations of variables and scores
    correlation = standardise(values)[0].T @ scores / (len(scores) - 1)
    np.testing.assert_allclose(correlation, solution.loadings, atol=1e-10)


def test_the_sign_does_not_depend_on_the_order_of_people():
    """A variable and its mirror (correct and wrong answers) load alike: rounding must not decide which is positive."""
    generator = np.random.default_rng(3)
    values = generator.standard_normal((40, 6)) + generator.standard_normal((40, 1))
    values = np.column_stack([values, 20 - values])
    first = principal_varimax(standardise(values)[0]).loadings
    for _ in range(20):
        again = principal_varimax(standardise(values[generator.permutation(40)])[0]).loadings
        np.testing.assert_allclose(again, first, atol=1e-6)


def test_more_variables_than_people_uses_the_pseudo_inverse():
    values = planted(20, [5] * 6, 0.8, 4)[0]
    standardised = standardise(values)[0]
    solution = principal_varimax(standardised)
    assert np.isfinite(solution.weights).all()
    correlation = standardised.T @ standardised / 19
    wanted = np.linalg.pinv(correlation, hermitian=True) @ solution.loadings
    np.testing.assert_allclose(solution.weights, wanted, atol=1e-8)
    frame = pd.DataFrame(values, columns=[f"v{j}" for j in range(30)])
    frame.insert(0, "subject", [f"{k:02d}" for k in range(20)])
    settings = {**section_defaults("phenotypes"), "seed": 1}
    result = analyse_phenotypes([("t.tsv", frame)], list(frame["subject"]), settings)
    assert any("30 variables and only 20 people" in line for line in result.facts["warnings"])
    assert result.scores.notna().to_numpy().all()


def test_varimax_keeps_communalities_and_simplifies():
    generator = np.random.default_rng(0)
    simple = np.kron(np.eye(3), np.ones((4, 1))) * 0.8
    mixing, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    rotated, rotation = varimax(simple @ mixing)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose((rotated**2).sum(axis=1), (simple**2).sum(axis=1))
    np.testing.assert_allclose(np.sort(np.abs(rotated), axis=1), np.sort(simple, axis=1), atol=1e-3)


def test_kaiser_count_and_parallel_analysis():
    assert kaiser_count(np.array([2.0, 1.0 + 1e-12, 0.5])) == 1
    assert kaiser_count(np.array([1.0, 1.0])) == 1
    random = parallel_analysis(100, 10, 20, seed=1)
    assert random.shape == (20, 10)
    np.testing.assert_allclose(random.sum(axis=1), 10)
    assert random[:, 0].min() > 1.2
    np.testing.assert_array_equal(random, parallel_analysis(100, 10, 20, seed=1))
