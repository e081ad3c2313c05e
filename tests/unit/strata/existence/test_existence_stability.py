"""How well clusters are found again, in numbers that a person can count."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from neurostrata.strata.existence.stability import COLUMNS, SEEDS, find_again
from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress

CLUSTERS = np.array([1] * 6 + [2] * 4)


class Given(Finder):
    """Takes the first number of a person's code for their cluster; notes its seeds."""

    name = title = measure = "given"
    search_columns: ClassVar[dict[str, str]] = {}
    seeds: ClassVar[list[int]] = []

    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        self.seeds.append(self.seed)
        return Finding(codes[:, 0].astype(int), 0.0, pd.DataFrame())


def test_measures_of_each_cluster_over_the_folds() -> None:
    """The second cluster is found again whole, by half and with a stranger, and by half in another cluster."""
    again = [
        np.array([1] * 6 + [2] * 4),
        np.array([1] * 5 + [2] + [2] * 2 + [3] * 2),
        np.array([1] * 6 + [2] * 2 + [1] * 2),
    ]
    folds = {str(k): (np.arange(10), one[:, None].astype(float)) for k, one in enumerate(again)}
    codes = CLUSTERS[:, None].astype(float)
    table = find_again(Given({}), codes, CLUSTERS, [""] * 10, folds, 3, 1)
    assert list(table.columns) == list(COLUMNS)
    found = table[table["repeated"] == "fold"].set_index("cluster")
    jaccard = {1: [1, 5 / 6, 6 / 8], 2: [1, 1 / 2, 1 / 2]}
    for cluster, values in jaccard.items():
        assert found.loc[cluster, "jaccard"] == pytest.approx(np.mean(values))
        assert found.loc[cluster, "jaccard_low"] == pytest.approx(np.percentile(values, 5))
    assert found["dissolved"].tolist() == [0, 2 / 3]
    assert found["n"].tolist() == [6, 4]
    rand = np.mean([adjusted_rand_score(CLUSTERS, one) for one in again])
    np.testing.assert_allclose(found["adjusted_rand"], rand)


def test_other_seeds_are_not_the_finders_own() -> None:
    codes = CLUSTERS[:, None].astype(float)
    Given.seeds.clear()
    find_again(Given({}, seed=3), codes, CLUSTERS, [""] * 10, {}, 2, 3)
    other = [seed for seed in Given.seeds if seed != 3]
    assert len(set(other)) == len(other) == SEEDS
    assert Given.seeds.count(3) == 2  # the bootstrap samples
