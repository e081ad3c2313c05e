"""The grid of affinity propagation: order, progress, and what is left to scikit-learn."""

import warnings

import numpy as np
import pytest
import sklearn.cluster
from sklearn.exceptions import ConvergenceWarning

from neurostrata.strata.finders.affinity import Propagation, _all_equal, _noise, run_grid

ALIKE = -np.ones((4, 4))


@pytest.mark.parametrize(
    "told", [(), (UserWarning,), (UserWarning, ConvergenceWarning), (ConvergenceWarning,)]
)
def test_equal_similarities_are_left_to_scikit_learn(monkeypatch, told):
    asked = []

    def theirs(similarities, **given):
        asked.append((similarities, given))
        for kind in told:
            warnings.warn("so it is", kind, stacklevel=1)
        return [2.0], [0.0] * 4, 9.0

    monkeypatch.setattr(sklearn.cluster, "affinity_propagation", theirs)
    setting = Propagation(ALIKE, 30, 4, seed=6).run(np.float64(0.75), np.float64(-2.0))
    ((similarities, given),) = asked
    np.testing.assert_array_equal(similarities, ALIKE)
    assert given == {
        "damping": 0.75,
        "preference": -2.0,
        "max_iter": 30,
        "convergence_iter": 4,
        "random_state": 6,
        "return_n_iter": True,
    }
    assert (setting.damping, setting.preference, setting.n_iter) == (0.75, -2.0, 9)
    assert setting.converged is (ConvergenceWarning not in told)
    np.testing.assert_array_equal(setting.labels, [0] * 4)
    np.testing.assert_array_equal(setting.exemplars, [2])
    assert setting.labels.dtype == setting.exemplars.dtype == np.intp


def test_similarities_of_different_people_are_equal_or_not():
    similarities = ALIKE.copy()
    np.fill_diagonal(similarities, [0, 1, 2, 3])
    assert _all_equal(similarities)
    similarities[3, 0] = -2
    assert not _all_equal(similarities)


def test_noise_is_scikit_learns():
    values, drawn = np.array([1.0, -3.0, 0.0]), np.array([1.0, 2.0, -1.0])
    limits = np.finfo(float)
    np.testing.assert_array_equal(_noise(values, drawn), (limits.eps * values + limits.tiny * 100) * drawn)


@pytest.mark.parametrize("threads", [1, 2])
def test_settings_come_in_order_and_are_counted(threads):
    done = []
    dampings, preferences = np.array([0.5, 0.7]), np.linspace(-3, -1, 9)
    found = list(run_grid(ALIKE, dampings, preferences, 30, 4, 6, threads, lambda *step: done.append(step)))
    assert [(setting.damping, setting.preference) for setting in found] == [
        (damping, preference) for damping in dampings for preference in preferences
    ]
    assert done[-1] == (18, 18)
    counts = [count for count, _ in done]
    assert counts == sorted(set(counts))
    assert counts[0] == 18 // (4 * threads)
    assert {number for _, number in done} == {18}
    (only,) = run_grid(ALIKE, dampings[:1], preferences[:1], 30, 4, 6)
    assert only.preference == -3


def test_chunks_have_25_settings_at_most():
    done = []
    list(
        run_grid(
            ALIKE, np.array([0.5]), np.linspace(-3, -1, 220), 30, 4, 6, 1, lambda *step: done.append(step[0])
        )
    )
    assert done == [*range(25, 220, 25), 220]
