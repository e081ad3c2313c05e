"""Expectation maximisation against its definition: densities of scipy, memberships and clusters one by one.

The functions are run before they are compiled: compiling takes seconds, and other tests run what was compiled.
"""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from neurostrata.strata.finders import mixture_fit
from neurostrata.strata.finders.mixture import whiten


def white_groups(seed=0, people=40, components=3):
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((people, components))
    values[: people // 2, 0] += 3.0
    return whiten(values)


def soft_memberships(people, clusters, seed=0):
    share = np.random.default_rng(seed).random((people, clusters)) + 0.1
    share[np.arange(people), np.arange(people) * clusters // people] += 1.0
    return share / share.sum(axis=1, keepdims=True)


def by_definition(white, share, iterations):
    """Return the log likelihood above that of one Gaussian, and the memberships."""
    p = white.shape[1]
    gain = -np.inf
    for _ in range(iterations):
        weight = share.mean(axis=0)
        means = share.T @ white / share.sum(axis=0)[:, None]
        within = np.eye(p) - sum(w * np.outer(m, m) for w, m in zip(weight, means))
        logs = np.column_stack(
            [np.log(w) + multivariate_normal(m, within).logpdf(white) for w, m in zip(weight, means)]
        )
        gain = logsumexp(logs, axis=1).sum() - multivariate_normal(np.zeros(p)).logpdf(white).sum()
        share = np.exp(logs - logsumexp(logs, axis=1)[:, None])
    return gain, share


@pytest.mark.parametrize("clusters", [2, 3])
def test_iterations_are_those_of_the_definition(monkeypatch, clusters):
    monkeypatch.setattr(mixture_fit, "TOLERANCE", -np.inf)
    white = white_groups()
    for iterations in (1, 2, 5):
        start = soft_memberships(len(white), clusters)
        wanted, memberships = by_definition(white, start, iterations)
        gain = mixture_fit._iterate.py_func(white, start, iterations)
        assert gain == pytest.approx(wanted, abs=1e-9)
        np.testing.assert_allclose(start, memberships, atol=1e-10)


def test_iterations_end_when_the_likelihood_rises_no_more():
    white = white_groups()
    share = soft_memberships(len(white), 2, seed=18)
    gains = []
    for _ in range(40):
        gain, share = by_definition(white, share, 1)
        gains.append(gain)
    # the first whose gain over the one before is below 0.01
    last = next(i for i in range(3, 40) if gains[i] - gains[i - 1] < 0.01)
    assert last > 8
    assert 0.01 < gains[last - 1] - gains[last - 2] < 0.02
    share = soft_memberships(len(white), 2, seed=18)
    assert mixture_fit._iterate.py_func(white, share, 200) == pytest.approx(gains[last], abs=1e-9)


def test_at_least_four_iterations_are_run():
    white = white_groups()
    _, settled = by_definition(white, soft_memberships(len(white), 2), 14)
    wanted = by_definition(white, settled, 4)[1]
    long = settled.copy()
    mixture_fit._iterate.py_func(white, long, 200)
    np.testing.assert_allclose(long, wanted, rtol=1e-13, atol=0)
    for number in (3, 5):
        assert np.abs(by_definition(white, settled, number)[1] / long - 1).max() > 1e-9


@pytest.mark.parametrize(("weight", "collapsed"), [(0.999, True), (1.0, False)])
def test_a_cluster_of_less_than_a_person_has_collapsed(weight, collapsed):
    white = white_groups()
    share = np.column_stack([np.ones(40), np.zeros(40)])
    share[7] = [1 - weight, weight]
    assert np.isneginf(mixture_fit._iterate.py_func(white, share, 1)) == collapsed


@pytest.mark.parametrize(("variance", "collapsed"), [(0.9e-6, True), (1.5e-6, False)])
def test_clusters_without_a_spread_have_collapsed(variance, collapsed):
    white = np.repeat([1.0, -1.0], 4)[:, None] * np.sqrt(1 - variance)
    white[:, 0] += np.tile([1.0, -1.0], 4) * np.sqrt(variance)
    share = np.repeat(np.eye(2), 4, axis=0)
    assert np.isneginf(mixture_fit._iterate.py_func(white, share, 1)) == collapsed


def two_steps_of_kmeans(white, k):
    n = len(white)
    centres = white[np.random.choice(n, k, replace=False)]  # noqa: NPY002 - the same draws
    for _ in range(2):
        label = np.square(white[:, None] - centres).sum(axis=2).argmin(axis=1)
        for c in range(k):
            members = white[label == c]
            centres[c] = members.mean(axis=0) if len(members) else white[np.random.randint(n)]  # noqa: NPY002
    share = np.where(label[:, None] == np.arange(k), 1.0, 0.001)
    return share / share.sum(axis=1, keepdims=True)


def test_a_start_is_two_steps_of_kmeans_from_random_people():
    white = white_groups()
    twice = np.concatenate([white[:2], white[:2], white[:2]])  # two people at one place: a cluster is empty
    for seed in range(6):
        for values, k in ((white, 3), (twice, 4), (white[::8], 4)):  # the last: clusters of one person
            np.random.seed(seed)  # noqa: NPY002
            wanted = two_steps_of_kmeans(values, k)
            np.random.seed(seed)  # noqa: NPY002
            np.testing.assert_allclose(mixture_fit._start.py_func(values, k), wanted, rtol=1e-12)


@pytest.mark.parametrize(("starts", "continued"), [(40, 5), (10, 3), (2, 2)])
def test_the_best_starts_are_continued_and_the_best_of_them_kept(monkeypatch, starts, continued):
    generator = np.random.default_rng(1)
    short = generator.permutation(starts).astype(float)
    calls = []

    def start(white, k):
        return np.full((len(white), k), float(len(calls)))

    def iterate(white, share, iterations):
        number = int(share[0, 0])
        calls.append((number, iterations))
        if iterations == 10:
            share[:] += 0.25  # what is continued is where the short run ended
            return short[number]
        assert share[0, 0] == number + 0.25
        share[:] += 0.5
        return 100.0 - abs(short[number] - (starts - 2))  # the second best is best in the end

    monkeypatch.setattr(mixture_fit, "_start", start)
    monkeypatch.setattr(mixture_fit, "_iterate", iterate)
    gain, share = mixture_fit.fit_mixture.py_func(np.zeros((5, 2)), 3, starts, 1)
    order = np.argsort(-short)
    assert calls == [(s, 10) for s in range(starts)] + [(s, 200) for s in order[:continued]]
    assert gain == 100.0
    np.testing.assert_array_equal(share, np.full((5, 3), order[1] + 0.75))


def test_a_fit_where_all_collapse_says_so(monkeypatch):
    monkeypatch.setattr(mixture_fit, "_start", lambda white, k: np.full((len(white), k), 0.5))
    monkeypatch.setattr(mixture_fit, "_iterate", lambda *_: -np.inf)
    gain, share = mixture_fit.fit_mixture.py_func(np.zeros((5, 2)), 2, 4, 1)
    assert gain == -np.inf
    np.testing.assert_array_equal(share, np.full((5, 2), 0.5))


def test_the_seed_decides_the_starts(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        mixture_fit,
        "_start",
        lambda white, k: drawn.append(np.random.random()) or np.zeros((len(white), k)),  # noqa: NPY002
    )
    monkeypatch.setattr(mixture_fit, "_iterate", lambda *_: 0.0)
    for seed in (1, 1, 2):
        mixture_fit.fit_mixture.py_func(np.zeros((5, 2)), 2, 1, seed)
    assert drawn[0] == drawn[1] != drawn[2]
