"""Networks of people and their fusion against the paper's equations, entry by entry."""

import numpy as np
import pytest

from neurostrata.strata.finders.network_fusion import affinity, fuse, leading_eigenvalues


def people(number=7, numbers=3, seed=0):
    return np.random.default_rng(seed).standard_normal((number, numbers))


@pytest.mark.parametrize(("neighbours", "used"), [(3, 3), (50, 6)])
def test_affinity_is_a_normal_density_of_the_distance(neighbours, used):
    values, mu = people(), 0.6
    n = len(values)
    distance = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in values] for a in values])
    near = [np.sort(row)[1 : used + 1].mean() for row in distance]
    wanted = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            scale = mu * (near[i] + near[j] + distance[i, j]) / 3
            wanted[i, j] = np.exp(-(distance[i, j] ** 2) / (2 * scale**2)) / np.sqrt(2 * np.pi * scale**2)
    np.testing.assert_allclose(affinity(values, neighbours, mu), wanted, rtol=1e-12)


def test_people_in_one_place_have_a_finite_affinity():
    found = affinity(np.zeros((5, 2)), 3, 0.5)
    scale = 0.5 * (2 / 3 + 1) * np.finfo(float).eps  # what keeps each distance from 0
    np.testing.assert_allclose(found, 1 / (scale * np.sqrt(2 * np.pi)), rtol=1e-12)


def rows_to_one(weight):
    weight = weight / weight.sum(axis=1, keepdims=True)
    return (weight + weight.T) / 2


def fused_by_definition(affinities, neighbours, iterations):
    networks = [rows_to_one(weight) for weight in affinities]
    n, number = len(networks[0]), len(networks)
    kept = []
    for network in networks:
        near = np.zeros((n, n))
        for i in range(n):
            columns = np.argsort(-network[i])[:neighbours]
            near[i, columns] = network[i, columns] / network[i, columns].sum()
        kept.append(near)
    for _ in range(iterations):
        passed = []
        for v in range(number):
            others = sum(networks[w] for w in range(number) if w != v) / (number - 1)
            step = kept[v] @ others @ kept[v].T
            passed.append((step + step.T) / 2 + np.eye(n))
        networks = passed
    mean = sum(networks) / number
    mean = mean / mean.sum(axis=1, keepdims=True)
    return (mean + mean.T + np.eye(n)) / 2


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize(("count", "neighbours"), [(7, 1), (7, 3), (7, 20), (60, 12)])
def test_fusion_is_the_papers_equation(number, count, neighbours):
    networks = [affinity(people(count, seed=seed), 4, 0.5) for seed in range(number)]
    for iterations in (1, 4):
        found = fuse(networks, neighbours, iterations)
        np.testing.assert_allclose(found, fused_by_definition(networks, neighbours, iterations), rtol=1e-10)


def test_the_nearest_of_many_are_found():
    networks = [affinity(people(600, seed=seed), 40, 0.5) for seed in range(2)]
    np.testing.assert_allclose(fuse(networks, 300, 1), fused_by_definition(networks, 300, 1), rtol=1e-8)


def test_somebody_who_is_nobodys_nearest_is_in_the_network():
    networks = []
    for seed in range(2):
        network = np.random.default_rng(seed).random((7, 7)) + 0.2
        network[-1] = network[:, -1] = np.linspace(0.01, 0.001, 7)
        networks.append(network + network.T)
    np.testing.assert_allclose(fuse(networks, 3, 2), fused_by_definition(networks, 3, 2), rtol=1e-10)


def test_a_single_network_is_only_normalised():
    network = affinity(people(), 4, 0.5)
    uneven = network * np.arange(1, 8)[:, None]  # its rows are divided, not its columns
    for given in (network, uneven):
        np.testing.assert_allclose(fuse([given], 3, 5), fused_by_definition([given], 3, 0), rtol=1e-12)


@pytest.mark.parametrize("number", [3, 7, 12])
def test_leading_eigenvalues_are_those_of_the_normalised_network(number):
    network = affinity(people(), 4, 0.5)
    weight = network.copy()
    np.fill_diagonal(weight, 0)
    degree = weight.sum(axis=1)
    # the eigenvalues of a random walk on the network
    wanted = np.sort(np.linalg.eigvals(weight / degree[:, None]).real)[::-1]
    found = leading_eigenvalues(network, number)
    np.testing.assert_allclose(found, wanted[:number], atol=1e-12)


def test_somebody_without_links_has_an_eigenvalue_of_zero():
    network = np.ones((4, 4))
    network[3, :3] = network[:3, 3] = 0
    np.testing.assert_allclose(leading_eigenvalues(network, 4), [1, 0, -0.5, -0.5], atol=1e-12)
