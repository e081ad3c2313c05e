"""Questionnaires: planted structure, shifts between groups, families, missing values."""

import numpy as np
import pytest

from neurostrata.simulation.people.questionnaires import (
    AGE_SLOPE,
    FAMILY_SHARE,
    SHIFT,
    answers,
    factor_scores,
    group_contrasts,
    simple_loadings,
    variable_names,
)


def draw(people=6000, effect=1.0, seed=4, factors=4):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat([0, 1, 2], [people // 2, people * 3 // 10, people // 5]))
    families = np.arange(people) // 2
    age = rng.standard_normal(people)
    scores, shifts = factor_scores(groups, families, age, rng, factors=factors, effect=effect)
    return groups, families, age, scores, shifts, rng


@pytest.mark.parametrize("sizes", [[12, 7, 5], [50, 30, 12, 8], [9, 1]])
def test_contrasts_are_orthogonal_over_people(sizes):
    contrasts = group_contrasts(sizes)
    weights = np.array(sizes) / sum(sizes)
    products = contrasts.T @ (weights[:, None] * contrasts)
    np.testing.assert_allclose(products, np.eye(len(sizes) - 1), atol=1e-12)
    np.testing.assert_allclose(weights @ contrasts, 0, atol=1e-12)


def test_the_first_factors_are_shifted_and_the_others_are_not():
    groups, _, age, scores, shifts, _ = draw()
    share = SHIFT**2 / (1 + SHIFT**2)
    for factor in range(4):
        means = np.array([scores[groups == k, factor].mean() for k in range(3)])
        np.testing.assert_allclose(means, shifts[:, factor], atol=0.08)
        between = sum((groups == k).mean() * means[k] ** 2 for k in range(3))
        assert between == pytest.approx(share if factor < 2 else 0.0, abs=0.03)
    np.testing.assert_allclose(scores.var(axis=0), 1.0, atol=0.08)
    np.testing.assert_allclose(np.corrcoef(scores.T) - np.eye(4), 0, atol=0.05)
    assert np.corrcoef(scores[:, 3], age)[0, 1] == pytest.approx(AGE_SLOPE, abs=0.04)


def test_without_effect_the_groups_do_not_differ():
    groups, _, _, scores, shifts, _ = draw(effect=0.0)
    assert not shifts.any()
    for factor in range(4):
        means = [scores[groups == k, factor].mean() for k in range(3)]
        assert np.ptp(means) < 0.15


def test_families_share_part_of_their_scores():
    _, families, _, scores, _, _ = draw(effect=0.0)
    order = np.argsort(families, kind="stable")
    pairs = scores[order].reshape(-1, 2, 4)
    for factor in range(3):
        assert np.corrcoef(pairs[:, 0, factor], pairs[:, 1, factor])[0, 1] == pytest.approx(
            FAMILY_SHARE, abs=0.05
        )


def test_answers_have_the_planted_correlations_and_missing_cells():
    _, _, _, scores, _, rng = draw(factors=4)
    loadings = simple_loadings(4, 5, 0.75)
    table = answers(scores, loadings, rng, missing=0.01)
    assert list(table.columns) == variable_names(4, 5)
    assert table.columns[0] == "mood_1"
    correlation = table.corr().to_numpy()
    expected = loadings @ loadings.T
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(correlation, expected, atol=0.07)
    assert table.isna().to_numpy().mean() == pytest.approx(0.01, abs=0.002)
    np.testing.assert_allclose(table.mean(), 50, atol=0.6)
    np.testing.assert_allclose(table.std(), 10, atol=0.6)


def test_more_factors_than_named_domains():
    names = variable_names(13, 4)
    assert len(set(names)) == 52
    assert names[-1] == "domain13_4"
