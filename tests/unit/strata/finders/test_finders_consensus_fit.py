"""Resampled k-means and its consensus by definition; the functions are run before they are compiled."""

import numpy as np
import pytest

from neurostrata.strata.finders import consensus_fit


def seeded(seed):
    np.random.seed(seed)  # noqa: NPY002 - what is compiled draws from this


def kmeans_by_definition(values, k, iterations=30):
    """Return labels and the sum of squares to the centres that the last labels were taken from."""
    n = len(values)
    chosen = [np.random.randint(n)]  # noqa: NPY002
    while len(chosen) < k:
        nearest = np.square(values[:, None] - values[chosen]).sum(axis=2).min(axis=1)
        goal = np.random.random() * nearest.sum()  # noqa: NPY002
        above = np.flatnonzero(np.cumsum(nearest) > goal)
        chosen.append(above[0] if len(above) else n - 1)
    centres, labels = values[chosen], None
    for _ in range(iterations):
        distances = np.square(values[:, None] - centres).sum(axis=2)
        before, labels = labels, distances.argmin(axis=1)
        if before is not None and (before == labels).all():
            break
        centres = np.array(
            [values[labels == c].mean(axis=0) if (labels == c).any() else centres[c] for c in range(k)]
        )
    return labels, distances.min(axis=1).sum()


def people(number=18, numbers=2, seed=0):
    return np.random.default_rng(seed).standard_normal((number, numbers))


@pytest.mark.filterwarnings("error")  # nothing is divided by 0
@pytest.mark.parametrize("k", [2, 4])
def test_kmeans_is_that_of_the_definition(k):
    in_places = np.repeat(people(3), 4, axis=0)  # fewer places than clusters
    for seed in range(8):
        for values in (people(seed=seed), in_places):
            seeded(seed)
            wanted, total = kmeans_by_definition(values, k)
            seeded(seed)
            label = np.full(len(values), 99)
            assert consensus_fit._kmeans.py_func(values, k, label) == pytest.approx(
                total, rel=1e-12, abs=1e-12
            )
            np.testing.assert_array_equal(label, wanted)


def test_kmeans_ends_after_thirty_iterations():
    values = np.linspace(0, 1, 500)[:, None] ** 3
    seeded(3)
    wanted, total = kmeans_by_definition(values, 8)
    seeded(3)
    later, _ = kmeans_by_definition(values, 8, 31)
    assert (later != wanted).any()
    seeded(3)
    label = np.zeros(500, int)
    assert consensus_fit._kmeans.py_func(values, 8, label) == pytest.approx(total, rel=1e-9)
    np.testing.assert_array_equal(label, wanted)


def plain(monkeypatch):
    """Run what the functions call before it is compiled, too."""
    for name in ("_subsets", "_consensus", "_ones"):
        monkeypatch.setattr(consensus_fit, name, getattr(consensus_fit, name).py_func)


@pytest.mark.parametrize(
    ("share", "size", "k", "subsets"), [(0.5, 9, 3, 7), (0.8, 14, 5, 130), (0.03, 3, 3, 64)]
)
def test_consensus_is_over_the_subsets_that_have_both(monkeypatch, share, size, k, subsets):
    plain(monkeypatch)
    values = people()
    best, wanted_k = [], k

    def kmeans(part, k, label):
        assert (len(part), k) == (size, wanted_k)
        label[:] = np.random.randint(0, k, size)  # noqa: NPY002
        total = float(np.random.randint(5))  # noqa: NPY002 - often equal: the first counts
        best.append((total, label.copy(), part.copy()))
        return total

    monkeypatch.setattr(consensus_fit, "_kmeans", kmeans)
    found = consensus_fit.consensus_matrix.py_func(values, k, subsets, share, 4, 5)
    both, together = np.zeros((18, 18)), np.zeros((18, 18))
    assert len(best) == subsets * 4
    for start in range(0, len(best), 4):
        assert len({part.tobytes() for _, _, part in best[start : start + 4]}) == 1
        _, label, part = min(best[start : start + 4], key=lambda call: call[0])
        rows = [int(np.flatnonzero((values == person).all(axis=1))[0]) for person in part]
        assert rows == sorted(rows)
        both[np.ix_(rows, rows)] += 1
        together[np.ix_(rows, rows)] += label[:, None] == label
    assert len({part.tobytes() for _, _, part in best}) > subsets / 2
    wanted = np.divide(together, both, out=np.zeros((18, 18)), where=both > 0)
    np.fill_diagonal(wanted, 1)
    np.testing.assert_array_equal(found, wanted)
    again = consensus_fit.consensus_matrix.py_func(values, k, subsets, share, 4, 5)
    np.testing.assert_array_equal(again, found)
    assert (consensus_fit.consensus_matrix.py_func(values, k, subsets, share, 4, 6) != found).any()


def test_bits_are_counted():
    words = np.array([0, 1, 2**63, 2**64 - 1, 0b1011], np.uint64)
    assert [consensus_fit._ones(word) for word in words] == [0, 1, 1, 64, 3]
    assert [consensus_fit._ones.py_func(word) for word in words] == [0, 1, 1, 64, 3]


def test_pairs_between_a_tenth_and_nine_tenths_are_ambiguous(monkeypatch):
    consensus = np.eye(5)
    shares = [0.0, 0.1, 0.11, 0.5, 0.89, 0.9, 1.0, 0.05, 0.95, 0.3]
    consensus[np.tril_indices(5, -1)] = shares
    monkeypatch.setattr(consensus_fit, "_consensus", lambda values, k, a, b: values[a, b] if k == 3 else None)
    monkeypatch.setattr(consensus_fit, "_subsets", lambda values, k, *how: (values, k))
    assert consensus_fit.ambiguous_pairs.py_func(consensus, 3, 7, 0.8, 2, 1) == 0.4
