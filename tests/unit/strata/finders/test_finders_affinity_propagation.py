"""Which setting of the grid is chosen, with settings that are given."""

import numpy as np

from neurostrata.strata.finders import affinity_propagation as module
from neurostrata.strata.finders.affinity import Setting
from neurostrata.strata.finders.affinity_propagation import AffinityPropagation

OPTIONS = {
    "damping": {"min": 0.5, "max": 1.0, "steps": 3},
    "preference": {"low": 1, "high": 99, "steps": 20},
    "max_iter": 50,
    "convergence_iter": 5,
    "sample": None,
}
CODES = np.array([[0.0], [1.0], [10.0], [11.0], [12.0], [30.0]])


def setting(damping, preference, labels, exemplars, converged=True):
    return Setting(damping, preference, converged, 7, np.array(labels), np.array(exemplars))


def found(monkeypatch, *settings):
    asked = []
    monkeypatch.setattr(module, "run_grid", lambda *given: asked.append(given) or iter(settings))
    return AffinityPropagation(OPTIONS, seed=3, threads=2).find(CODES, "progress"), asked[0]


def test_of_equal_silhouettes_the_first_converged_setting_is_chosen(monkeypatch):
    good = [0, 0, 1, 1, 1, 2]
    renamed = [2, 2, 0, 0, 0, 1]
    finding, asked = found(
        monkeypatch,
        setting(0.5, -9.0, [0, 0, 0, 1, 1, 1], [0, 3]),
        setting(0.5, -8.0, good, [0, 2, 5], converged=False),
        setting(0.5, -7.0, good, [1, 3, 5]),
        setting(0.6, -9.0, renamed, [2, 5, 0]),
        setting(0.6, -8.0, [0] * 6, [0]),
        setting(0.6, -7.0, list(range(6)), list(range(6))),
    )
    np.testing.assert_array_equal(finding.clusters, [2, 2, 1, 1, 1, 3])
    np.testing.assert_array_equal(finding.exemplars, [1, 1, 3, 3, 3, 5])
    assert finding.facts == {
        "clustered": 6,
        "settings_tried": 6,
        "settings_converged": 5,
        "settings_eligible": 3,
        "damping": 0.5,
        "preference": -7.0,
    }
    search = finding.search
    assert list(search) == list(AffinityPropagation.search_columns)
    assert search["silhouette"].isna().tolist() == [False] * 4 + [True] * 2
    assert finding.statistic == search["silhouette"][1] == search["silhouette"][2] == search["silhouette"][3]
    assert list(search["n_clusters"]) == [2, 3, 3, 3, 1, 6]
    similarities, dampings, preferences, *rest = asked
    np.testing.assert_allclose(similarities, -np.square(CODES - CODES.T))
    np.testing.assert_allclose(dampings, [1 / 2, 2 / 3, 5 / 6])
    assert len(preferences) == 20
    assert rest == [50, 5, 3, 2, "progress"]


def test_why_there_is_no_partition(monkeypatch):
    finding, _ = found(monkeypatch, setting(0.5, -1.0, [0, 0, 0, 1, 1, 1], [0, 3], converged=False))
    assert finding.reason == "none of 1 settings converged"
    finding, _ = found(monkeypatch, setting(0.5, -1.0, [0] * 6, [0]), setting(0.5, -2.0, range(6), range(6)))
    assert finding.reason == "none of the 2 settings that converged gave 2 to 5 clusters"
    finding = AffinityPropagation(OPTIONS).find(CODES[:2])
    assert finding.reason == "2 people cannot be divided into 2 to n-1 clusters"
    assert list(finding.search) == list(AffinityPropagation.search_columns)
    assert finding.facts == {"settings_tried": 0, "settings_converged": 0, "settings_eligible": 0}


def test_repeats_beside_each_other_have_one_thread_each():
    """Eight threads in each of eight repeats took 2.6 GB with 1,000 people."""
    finder = AffinityPropagation(OPTIONS, threads=8)
    assert finder.quick().threads == finder.quick().changed(seed=3).threads == 1
    assert finder.threads == 8


def test_the_quick_form_has_a_coarser_grid_but_never_a_finer_one():
    quick = AffinityPropagation(OPTIONS).quick().options
    assert quick["damping"] == {"min": 0.5, "max": 1.0, "steps": 2}
    assert quick["preference"] == {"low": 1, "high": 99, "steps": 15}
    small = {**OPTIONS, "damping": {"steps": 1}, "preference": {"steps": 4}}
    quick = AffinityPropagation(small).quick().options
    assert (quick["damping"]["steps"], quick["preference"]["steps"]) == (1, 4)
    assert OPTIONS["damping"]["steps"] == 3


def test_a_sample_is_drawn_in_order_and_all_get_the_nearest_exemplar():
    np.testing.assert_array_equal(module._sample(5, None, 1), np.arange(5))
    np.testing.assert_array_equal(module._sample(5, 5, 1), np.arange(5))
    drawn = module._sample(50, 20, 1)
    assert list(drawn) == sorted(set(drawn))
    assert len(drawn) == 20
    assert (module._sample(50, 20, 2) != drawn).any()
    exemplars = module._nearest_exemplar(CODES, np.array([0, 2, 4]), np.array([0, 4, 4]))
    np.testing.assert_array_equal(exemplars, [0, 0, 4, 4, 4, 4])
