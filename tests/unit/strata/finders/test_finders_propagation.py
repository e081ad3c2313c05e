"""Message passing against matrices of all messages, to the last bit; the functions are run before they are compiled."""

import numpy as np
import pytest

from neurostrata.strata.finders import propagation


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Leave nothing compiled; compiling takes seconds, and other tests run what was compiled."""
    for name, function in list(vars(propagation).items()):
        if hasattr(function, "py_func"):
            monkeypatch.setattr(propagation, name, function.py_func)


def similar(people=14, groups=3, apart=4.0, seed=0):
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((people, 2))
    values[:, 0] += apart * (np.arange(people) % groups)
    similarities = -np.square(values[:, None] - values).sum(axis=2)
    np.fill_diagonal(similarities, 99.0)  # not used
    return similarities


def passed(similarities, diagonal, damping, max_iter, window, whole_rows_from, monkeypatch):
    """Return exemplars, iterations, whether it converged, and the two matrices that whole rows leave."""
    monkeypatch.setattr(propagation, "WHOLE_ROWS_FROM", whole_rows_from)
    n = len(similarities)
    order = np.array(
        [[k for k in np.argsort(-row) if k != i] for i, row in enumerate(similarities)], np.int32
    )
    ordered = np.take_along_axis(similarities, order, axis=1)
    rubbish = [np.full((n, n), 7.0) for _ in range(3)]
    found = propagation.pass_messages(
        similarities,
        order.reshape(n, -1),
        ordered.reshape(n, -1),
        diagonal,
        damping,
        max_iter,
        window,
        np.full((n, n), 3, np.int32),
        *rubbish,
        np.full((n, max_iter), 7.0),
    )
    return *found, rubbish[1], rubbish[2]


def by_matrices(similarities, diagonal, damping, max_iter, window):
    """Frey and Dueck's iteration with scikit-learn's order of operations; availabilities before the last update."""
    n = len(similarities)
    s = similarities.copy()
    np.fill_diagonal(s, diagonal)
    a, r = np.zeros((n, n)), np.zeros((n, n))
    past = []
    for iteration in range(max_iter):
        sums = a + s
        place = sums.argmax(axis=1)
        other = np.repeat(sums.max(axis=1)[:, None], n, axis=1)
        sums[np.arange(n), place] = -np.inf
        other[np.arange(n), place] = sums.max(axis=1)
        r = r * damping + (s - other) * (1 - damping)
        before = a
        positive = np.where(np.eye(n, dtype=bool), r, np.maximum(r, 0.0))
        total = np.zeros(n)
        for row in positive:
            total = total + row
        over = positive - total
        a = a * damping - np.where(np.eye(n, dtype=bool), over, np.maximum(over, 0.0)) * (1 - damping)
        past.append(np.diag(a) + np.diag(r) > 0)
        last = np.array(past[-window:])
        if iteration >= window and past[-1].any() and (last == last[0]).all():
            return past[-1], iteration + 1, True, before, r
    return past[-1], max_iter, False, before, r


@pytest.mark.parametrize("whole_rows_from", [0.0, 0.12, 0.16, 0.2, 0.25, 9.0])
@pytest.mark.parametrize("damping", [0.5, 0.8])
def test_messages_are_those_of_whole_matrices(monkeypatch, whole_rows_from, damping):
    for seed in range(3):
        for preference in (-30.0, -6.0, -1.0):
            similarities = similar(seed=seed)
            diagonal = preference + np.random.default_rng(seed).standard_normal(14) * 0.1
            given = (similarities, diagonal, damping)
            for last in (2, 9, 23):
                found = passed(*given, last, last, whole_rows_from, monkeypatch)
                wanted = by_matrices(*given, last, last)
                np.testing.assert_array_equal(found[0], wanted[0])
                assert found[1:3] == (last, False)
                if whole_rows_from == 0.0:
                    np.testing.assert_array_equal(found[3], wanted[3])
                    np.testing.assert_array_equal(found[4], wanted[4])


def test_active_pairs_become_whole_rows_at_any_time(monkeypatch):
    """Turn pairs into rows after some iterations: nothing may have been lost on the way."""
    write = propagation._write_rows
    turned = []
    monkeypatch.setattr(
        propagation, "_write_rows", lambda *given: (turned.append(given[0]), write(*given))[1]
    )
    for seed in range(4):
        for damping in (0.5, 0.7):
            level = 50.0 * (seed % 2)  # similarities may be above 0
            similarities = similar(people=11, seed=seed, apart=1.0 + seed) + level
            diagonal = np.full(11, level - 4.0) + np.arange(11) * 0.01
            for share in np.linspace(0.09, 0.5, 12):
                turned.clear()
                found = passed(similarities, diagonal, damping, 25, 25, share, monkeypatch)
                wanted = by_matrices(similarities, diagonal, damping, 25, 25)
                np.testing.assert_array_equal(found[0], wanted[0])
                if turned and turned[0] < 25:
                    np.testing.assert_array_equal(found[3], wanted[3])
                    np.testing.assert_array_equal(found[4], wanted[4])


@pytest.mark.parametrize(
    ("people", "preference", "seed"),
    [
        (4, -60.0, 92),  # the least similar of all others exceeds the largest sum, too
        (4, -60.0, 98),
        (8, -3.0, 48),  # the largest sum is that of somebody new, and others are active already
    ],
)
def test_everybody_becomes_active_who_must(monkeypatch, people, preference, seed):
    similarities = similar(people, groups=2, apart=seed % 5, seed=seed)
    given = (similarities, preference + np.arange(people) * 0.01, 0.7, 25, 25)
    found = passed(*given, 9.0, monkeypatch)
    np.testing.assert_array_equal(found[0], by_matrices(*given)[0])


@pytest.mark.parametrize("whole_rows_from", [0.0, 0.2, 9.0])
def test_iterations_end_when_exemplars_are_settled(monkeypatch, whole_rows_from):
    ends = set()
    for seed in range(3):
        for preference in (-200.0, -8.0, -0.5):
            for damping, window, max_iter in ((0.5, 5, 60), (0.9, 3, 60), (0.6, 15, 16), (0.5, 1, 30)):
                given = (similar(9, seed=seed), np.full(9, preference) - np.arange(9) * 1e-3, damping)
                wanted = by_matrices(*given, max_iter, window)
                found = passed(*given, max_iter, window, whole_rows_from, monkeypatch)
                np.testing.assert_array_equal(found[0], wanted[0])
                assert found[1:3] == wanted[1:3]
                ends.add(found[2])
    assert ends == {True, False}


def test_equal_sums_have_their_first_place():
    best = (-np.inf, -1, -np.inf, -1)
    for total, k in ((1.0, 5), (3.0, 4), (3.0, 2), (3.0, 6), (2.0, 0)):
        best = propagation._with(best, total, k)
    assert best == (3.0, 2, 3.0, 4)
    assert propagation._with((3.0, 2, 1.0, 4), 2.0, 7) == (3.0, 2, 2.0, 7)
    assert propagation._with((3.0, 2, 1.0, 4), 1.0, 7) == (3.0, 2, 1.0, 4)
    assert propagation._with((3.0, 2, 1.0, 4), 4.0, 7) == (4.0, 7, 3.0, 2)


@pytest.mark.parametrize("places", [(0, 0), (3, 1), (1, 3), (5, 2)])
def test_the_two_largest_sums_and_the_first_place(places):
    cases = {
        (1.0, 4.0, 2.0, 5.0, 0.0, 3.0): (5.0, 4.0, 3),
        (5.0, 4.0, 2.0, 1.0, 0.0, 3.0): (5.0, 4.0, 0),
        (1.0, 5.0, 2.0, 5.0, 0.0, 3.0): (5.0, 5.0, 1),
        (0.0, 4.0, 4.0, 5.0, 4.0, 3.0): (5.0, 4.0, 3),
    }
    for sums, wanted in cases.items():
        guess = np.array(places)
        added = np.arange(6.0)
        assert propagation._two_largest(np.array(sums) - added, added, guess) == wanted
        largest, second = sums[guess[0]], sums[guess[1]]
        assert largest == wanted[0]  # the places are right for the next time
        assert guess[0] == guess[1] or second == wanted[1] or sorted(sums)[-2] == second


def nearest(similarities, exemplars):
    found = similarities[:, exemplars].argmax(axis=1)
    found[exemplars] = np.arange(len(exemplars))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_people_are_assigned_exemplars_refined_and_people_assigned_again(seed):
    generator = np.random.default_rng(seed)
    similarities = similar(20, seed=seed, apart=2.0)
    if seed > 2:
        similarities = np.round(similarities)  # equal ones: the first counts
    diagonal = generator.standard_normal(20) * 20
    exemplars = np.sort(generator.choice(20, 4, replace=False))
    s = similarities.copy()
    np.fill_diagonal(s, diagonal)
    first = nearest(s, exemplars)
    np.testing.assert_array_equal(propagation._nearest(similarities, exemplars), first)
    refined = exemplars.copy()
    for k in range(4):
        members = np.flatnonzero(first == k)
        refined[k] = members[s[np.ix_(members, members)].sum(axis=0).argmax()]
    given = exemplars.copy()
    found = propagation.assign(similarities, diagonal, given)
    np.testing.assert_array_equal(found, refined[nearest(s, refined)])
    np.testing.assert_array_equal(given, exemplars)
    assert (refined != exemplars).any()
