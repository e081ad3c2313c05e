"""The best figures that can be expected of a cohort."""

import numpy as np

from neurostrata.simulation.people.oracle import oracle


def grouped(distance: float, seed: int = 2):
    rng = np.random.default_rng(seed)
    strata = np.repeat([0, 1, 2], [11, 7, 5])
    centres = distance * rng.standard_normal((3, 20)) / np.sqrt(20)
    return centres[strata] * np.sqrt(20) + rng.standard_normal((23, 20)), strata, np.arange(23) % 3


def test_groups_far_apart_are_found_by_all():
    found = oracle(*grouped(3.0), seed=1)
    assert found["adjusted_rand"] == 1.0
    assert found["adjusted_rand_kmeans"] == 1.0
    assert found["adjusted_rand_affinity_propagation"] == 1.0
    assert found["clusters_affinity_propagation"] == 3
    assert found["auc"] == 1.0
    assert found["adjusted_rand_sites"] < 0.2
    assert (found["people"], found["features"]) == (23, 20)


def test_groups_that_do_not_differ_are_not_found():
    found = oracle(*grouped(0.0), seed=1)
    assert found["adjusted_rand"] < 0.4
    both = found["adjusted_rand_kmeans"], found["adjusted_rand_affinity_propagation"]
    assert both[0] != both[1]
    assert found["adjusted_rand"] == max(both)
    assert found["auc"] < 0.8


def test_a_group_of_one_has_no_auc():
    values, strata, sites = grouped(3.0)
    strata[-5:-1] = 1
    assert oracle(values, strata, sites, seed=1)["auc"] is None
