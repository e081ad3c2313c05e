"""What all finders have: defaults, copies with changes, and the finding that there is nothing."""

import numpy as np
import pandas as pd

from neurostrata.strata.finders.interface import Finding, nothing
from neurostrata.strata.finders.mixture import Mixture


def test_a_finder_keeps_its_defaults_and_changes():
    finder = Mixture({"a": 1, "b": 2})
    assert (finder.seed, finder.threads, finder.parts) == (1, 1, None)
    other = finder.changed({"b": 3}, seed=5)
    assert (other.options, other.seed) == ({"a": 1, "b": 3}, 5)
    assert (finder.options, finder.seed) == ({"a": 1, "b": 2}, 1)
    assert finder.changed().options == finder.options


def test_nothing_is_one_cluster():
    search = pd.DataFrame()
    found = nothing(4, search, "too few", tried=3)
    np.testing.assert_array_equal(found.clusters, [1, 1, 1, 1])
    assert found.clusters.dtype == np.intp
    assert (found.statistic, found.number, found.reason, found.facts) == (-np.inf, 1, "too few", {"tried": 3})
    assert found.search is search
    assert Finding(np.array([2, 1, 3]), 0.0, search).number == 3
