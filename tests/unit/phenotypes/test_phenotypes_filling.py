"""Filling of gaps and scores by the saved model, against plain implementations."""

import json

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.errors import UserError
from neurostrata.phenotypes.factors import (
    correlation_eigen,
    parallel_analysis,
    principal_varimax,
    standardise,
    varimax,
)
from neurostrata.phenotypes.imputation import Imputation, fit_imputation
from neurostrata.phenotypes.model import PhenotypeModel, code_variables, score_people


def holed(people=30, seed=2):
    generator = np.random.default_rng(seed)
    values = (
        3 + generator.standard_normal((people, 1)) * [1, 2, -1, 0.5] + generator.standard_normal((people, 4))
    )
    values[generator.random(values.shape) < 0.2] = np.nan
    return values[~np.isnan(values).all(axis=1)]


def plain_em(values, rounds, ridge=0.01):
    """Mean and covariance of a normal table with gaps, person by person (Little and Rubin, chapter 11)."""
    centre, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1)
    scaled = (values - centre) / spread
    n, p = scaled.shape
    start = np.nan_to_num(scaled)
    mean, covariance = np.zeros(p), start.T @ start / n + ridge * np.eye(p)
    for _ in range(rounds):
        filled, left = scaled.copy(), np.zeros((p, p))
        for row in range(n):
            gap = np.isnan(scaled[row])
            if gap.any():
                known = ~gap
                slope = covariance[np.ix_(gap, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
                filled[row, gap] = mean[gap] + slope @ (scaled[row, known] - mean[known])
                left[np.ix_(gap, gap)] += (
                    covariance[np.ix_(gap, gap)] - slope @ covariance[np.ix_(known, gap)]
                )
        mean = filled.mean(axis=0)
        covariance = (np.cov(filled.T, bias=True) * n + left) / n + ridge * np.eye(p)
    return centre + mean * spread, covariance * np.outer(spread, spread)


@pytest.mark.parametrize("rounds", [1, 4])
def test_iterations_are_those_of_em(rounds):
    values = holed()
    found = fit_imputation(values, "iterative", tolerance=0, max_iter=rounds)
    mean, covariance = plain_em(values, rounds)
    np.testing.assert_allclose(found.centre, mean)
    np.testing.assert_allclose(found.covariance, covariance)


def test_it_stops_when_nothing_changes():
    values = holed()
    found = fit_imputation(values, "iterative")
    mean, covariance = plain_em(values, 100)
    np.testing.assert_allclose(found.centre, mean, atol=1e-3)
    np.testing.assert_allclose(found.covariance, covariance, rtol=2e-3)
    assert np.abs(fit_imputation(values, "iterative", tolerance=0.3).centre - mean).max() > 1e-4
    # without gaps one round is enough
    whole = values[~np.isnan(values).any(axis=1)]
    one = fit_imputation(whole, "iterative", tolerance=0)
    np.testing.assert_allclose(one.covariance, plain_em(whole, 1)[1])


def test_gaps_are_filled_by_regression_and_values_stay():
    values = holed()
    found = fit_imputation(values, "iterative")
    filled = found.fill(values)
    gaps = np.isnan(values)
    np.testing.assert_array_equal(filled[~gaps], values[~gaps])
    row = int(np.flatnonzero(gaps.sum(axis=1) == 2)[0])
    gap, known = gaps[row], ~gaps[row]
    slope = found.covariance[np.ix_(gap, known)] @ np.linalg.inv(found.covariance[np.ix_(known, known)])
    wanted = found.centre[gap] + slope @ (values[row, known] - found.centre[known])
    np.testing.assert_allclose(filled[row, gap], wanted)
    np.testing.assert_array_equal(
        Imputation("median", np.arange(4.0)).fill(values)[gaps],
        np.tile(np.arange(4.0), (len(values), 1))[gaps],
    )
    np.testing.assert_array_equal(fit_imputation(values, "median").centre, np.nanmedian(values, axis=0))


def model(policy="median", method="pca_varimax", largest=0.5):
    return PhenotypeModel(
        method=method,
        variables=["a", "b", "c", "d"],
        factors=["one", "two"],
        mean=np.array([1.0, 2, 3, 4]),
        sd=np.array([1.0, 2, 4, 5]),
        weights=np.arange(8.0).reshape(4, 2),
        imputation=Imputation(policy, np.array([5.0, 6, 7, 8])),
        max_missing_person=largest,
        coding={"a": {"low": 1.0, "high": 2.0}},
    )


def test_scores_by_hand():
    nan = np.nan
    values = np.array([[1.0, 4, 3, 9], [2, nan, nan, 4], [nan, nan, nan, 4], [1, 2, nan, 4]])
    standardised = np.array([[0, 1, 0, 1], [1, 2, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0.0]])
    wanted = standardised @ np.arange(8.0).reshape(4, 2)
    wanted[2] = nan  # 3 of 4 are missing; 2 of 4 are allowed
    np.testing.assert_allclose(model().score(values), wanted)
    wanted[[1, 3]] = nan
    np.testing.assert_allclose(model("complete").score(values), wanted)
    alone = model(method="variables").score(values)
    np.testing.assert_allclose(alone[0], standardised[0])
    assert np.isnan(alone).tolist() == np.isnan(values).tolist()


def test_a_model_goes_through_its_file():
    for covariance in (None, np.eye(4)):
        one = model()
        one.imputation.covariance = covariance
        other = PhenotypeModel.from_dict(json.loads(json.dumps(one.to_dict())))
        assert other.to_dict() == one.to_dict()
        assert (other.imputation.covariance is None) == (covariance is None)
    assert set(one.to_dict()) == {
        "method",
        "variables",
        "factors",
        "mean",
        "sd",
        "weights",
        "missing",
        "coding",
    }


def test_people_by_the_model():
    table = pd.DataFrame(
        {"d": [4.0, 9], "c": ["3", "7"], "b": [2, 4], "a": ["low", "high"], "more": 1}, index=["x", "y"]
    )
    coded = code_variables(model(), table)
    assert coded.loc["y"].tolist() == [2, 4, 7, 9]
    scored = score_people(model(), table)
    assert (list(scored), scored.index.tolist()) == (["one", "two"], ["x", "y"])
    np.testing.assert_allclose(scored.loc["y"], [1 * 0 + 1 * 2 + 1 * 4 + 1 * 6, 1 + 3 + 5 + 7])
    with pytest.raises(UserError, match=r"lacks a, b \(2 of 4"):
        score_people(model(), table[["c", "d"]])
    with pytest.raises(UserError, match="d is not numeric"):
        code_variables(model(), table.assign(d=["p", "q"]))


@pytest.mark.parametrize("people", [12, 19, 20, 21, 40])
def test_eigenvectors_whatever_the_shape(people):
    generator = np.random.default_rng(people)
    values = standardise(generator.standard_normal((people, 20)))[0]
    values[-1] = values[-2]  # a rank less
    if people == 12:
        values[:] = np.tile(values[:4], (3, 1))  # more of them, so that rounding makes some negative
    values = standardise(values)[0]
    eigenvalues, vectors = correlation_eigen(values)
    correlation = np.corrcoef(values.T)
    wanted = np.linalg.eigvalsh(correlation)[::-1]
    np.testing.assert_allclose(eigenvalues, np.maximum(wanted, 0), atol=1e-9)
    assert eigenvalues.min() >= 0
    assert np.isfinite(vectors).all()
    rank = 3 if people == 12 else min(20, people - 2)
    held = vectors[:, :rank]
    np.testing.assert_allclose(held.T @ held, np.eye(rank), atol=1e-8)
    np.testing.assert_allclose((held * eigenvalues[:rank]) @ held.T, correlation, atol=1e-8)


def test_no_more_factors_than_the_table_has_dimensions():
    base = np.random.default_rng(0).standard_normal((30, 2))
    values = standardise(np.column_stack([base, base[:, 0], base[:, 1] * 2]))[0]
    found = principal_varimax(values, 4)
    assert found.loadings.shape == (4, 2)
    np.testing.assert_allclose(found.communalities, 1)
    assert principal_varimax(values, 1).loadings.shape == (4, 1)


@pytest.mark.parametrize(("people", "variables"), [(8, 20), (20, 8)])
def test_random_tables_have_the_eigenvalues_of_their_correlations(people, variables):
    found = parallel_analysis(people, variables, 3, seed=5)
    generator = np.random.default_rng(5)
    for row in found:
        drawn = generator.standard_normal((people, variables))
        wanted = np.maximum(np.linalg.eigvalsh(np.corrcoef(drawn.T))[::-1], 0)
        np.testing.assert_allclose(row, wanted, atol=1e-9)


def test_varimax_stops_where_it_is_told():
    loadings = np.random.default_rng(3).standard_normal((12, 4))
    done, once = varimax(loadings)[0], varimax(loadings, max_iter=1)[0]
    assert np.abs(done - once).max() > 0.01
    assert np.abs(varimax(loadings, tolerance=0.5)[0] - done).max() > 1e-6
    empty = np.vstack([loadings, np.zeros(4)])
    np.testing.assert_allclose(varimax(empty)[0][:-1], done, atol=1e-9)
