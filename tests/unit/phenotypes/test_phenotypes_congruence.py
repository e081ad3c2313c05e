"""Congruence of factors between halves of the people."""

import numpy as np
import pytest

from neurostrata.phenotypes.congruence import (
    COLUMNS,
    congruence_table,
    half_congruence,
    matched_loadings,
    standardise_safely,
)
from neurostrata.phenotypes.factors import principal_varimax, standardise, tucker_congruence


def test_constant_variables_become_zero():
    values = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    found = standardise_safely(values)
    np.testing.assert_allclose(found[:, 0], (values[:, 0] - 3) / np.sqrt(7))
    np.testing.assert_array_equal(found[:, 1], 0)


def test_loadings_are_matched_in_order_and_sign():
    reference = np.array([[0.9, 0.1, 0.0], [0.8, 0.0, 0.1], [0.1, 0.9, 0.2], [0.0, 0.1, 0.7]])
    turned = np.column_stack([-reference[:, 2], reference[:, 0], -reference[:, 1]])
    np.testing.assert_allclose(matched_loadings(turned, reference), reference)
    # two for three: the one without a partner is 0, also beside a factor that is 0 everywhere
    np.testing.assert_allclose(
        matched_loadings(turned[:, :2], reference), reference * np.array([1.0, 0.0, 1.0])
    )
    with_nothing = np.column_stack([turned[:, 1:], np.zeros(4)])
    np.testing.assert_allclose(
        matched_loadings(with_nothing, reference), reference * np.array([1.0, 1.0, 0.0])
    )


def table(people=200, loading=0.8, seed=3):
    generator = np.random.default_rng(seed)
    values = np.repeat(generator.standard_normal((people, 2)), 4, axis=1) * loading
    return values + np.sqrt(1 - loading**2) * generator.standard_normal((people, 8))


def test_halves_of_planted_factors_agree_and_of_noise_do_not():
    found = {}
    for loading in (0.8, 0.0):
        values = table(loading=loading)
        loadings = principal_varimax(standardise(values)[0], 2).loadings
        found[loading] = half_congruence(values, loadings, [""] * 200, 20, 1)
        assert found[loading].shape == (20, 2)
        again = half_congruence(values, loadings, [""] * 200, 20, 1)
        np.testing.assert_array_equal(found[loading], again)
    assert found[0.8].min() > 0.95
    assert found[0.0].mean() < 0.7
    assert len({tuple(row) for row in found[0.8]}) == 20


def test_one_division_by_hand(monkeypatch):
    values = table(60)
    half = np.arange(60) % 2
    loadings = principal_varimax(standardise(values)[0], 2).loadings
    monkeypatch.setattr(
        "neurostrata.phenotypes.congruence.family_parts", lambda families, parts, generator: half
    )
    found = half_congruence(values, loadings, [""] * 60, 1, 1, tolerance=1e-3, max_iter=5)
    both = [
        principal_varimax(standardise(values[half == part])[0], 2, tolerance=1e-3, max_iter=5).loadings
        for part in (0, 1)
    ]
    both = [matched_loadings(part, loadings) for part in both]
    np.testing.assert_allclose(found[0], np.diag(tucker_congruence(*both)))


def test_families_are_not_divided():
    """Pairs of twins with equal values: halves that divide them would agree fully."""
    twins = np.repeat(table(30, loading=0.0), 2, axis=0)
    loadings = principal_varimax(standardise(twins)[0], 2).loadings
    families = [f"f{row // 2}" for row in range(60)]
    together = half_congruence(twins, loadings, families, 20, 1).mean()
    apart = half_congruence(twins, loadings, [""] * 60, 20, 1).mean()
    assert together < apart


def test_the_table():
    found = np.linspace(0.5, 1.0, 21)[:, None] * np.array([1.0, 0.5])
    frame = congruence_table(["a", "b"], found)
    assert list(frame) == list(COLUMNS)
    assert frame["factor"].tolist() == ["a", "b"]
    assert frame["congruence"].tolist() == pytest.approx([0.75, 0.375])
    assert frame["low"].tolist() == pytest.approx([0.525, 0.2625])
    assert frame["splits"].tolist() == [21, 21]


def test_the_sum_of_congruences_decides_and_signs_do_not_need_perfect_factors(monkeypatch):
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((6, 2))
    near = reference + 0.3 * generator.standard_normal((6, 2))
    np.testing.assert_array_equal(matched_loadings(near * [1, -1], reference), near)
    monkeypatch.setattr(
        "neurostrata.phenotypes.congruence.tucker_congruence", lambda *_: np.array([[0.9, -0.6], [-0.6, 0.2]])
    )
    # 0.6 + 0.6 is more than 0.9 + 0.2
    np.testing.assert_array_equal(matched_loadings(near, reference), -near[:, ::-1])


def test_a_factor_that_a_half_does_not_have_is_not_congruent():
    """Three people have two dimensions at most."""
    values = np.random.default_rng(1).standard_normal((6, 5))
    loadings = principal_varimax(standardise(values)[0], 4).loadings
    found = half_congruence(values, loadings, [""] * 6, 10, 1)
    assert np.isfinite(found).all()
    assert (np.abs(found) <= 1 + 1e-9).all()
    assert ((found == 0).sum(axis=1) >= 2).all()
