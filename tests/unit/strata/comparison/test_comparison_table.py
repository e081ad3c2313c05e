"""Every column of the table of comparisons, against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, kruskal, ncx2
from statsmodels.stats.multitest import multipletests

from neurostrata.strata.comparison.table import COLUMNS, compare_clusters

SETTINGS = {"confidence": 0.9, "alpha": 0.05, "power": 0.8}


def test_columns_of_the_table() -> None:
    """Two factors can be tested; one is known in one cluster alone, of one everybody has the same value."""
    random = np.random.default_rng(1)
    clusters = pd.Series(np.repeat([1, 2, 3], [30, 20, 10]), index=[f"{i:02d}" for i in range(60)])
    scores = pd.DataFrame(random.normal(size=(60, 4)), index=clusters.index, columns=list("abcd"))
    scores["a"] += 0.8 * (clusters == 1)
    scores.loc[clusters == 3, "b"] = np.nan
    scores.loc[clusters != 2, "c"] = np.nan
    scores["d"] = 4.0
    drawn = pd.DataFrame(
        {"factor": ["b", "a", "d"], "p_repartition": [0.4, 0.1, np.nan], "q_repartition": [0.5, 0.2, np.nan]}
    )
    table = compare_clusters(clusters, scores, drawn, SETTINGS)
    assert list(table.columns) == list(COLUMNS)
    assert table["factor"].tolist() == list("abcd")
    table = table.set_index("factor")
    p = []
    for name, k in (("a", 3), ("b", 2)):
        row, known = table.loc[name], scores[name].dropna()
        n = len(known)
        wanted = kruskal(*[own for _, own in known.groupby(clusters)])
        p.append(wanted.pvalue)
        assert row["h"] == pytest.approx(wanted.statistic)
        assert row["p"] == pytest.approx(wanted.pvalue)
        assert row["eta2"] == pytest.approx(max(0.0, (wanted.statistic - k + 1) / (n - k)))
        assert row["epsilon2"] == pytest.approx(wanted.statistic / (n - 1))
        assert (row["n"], row["missing"], row["n_clusters"]) == (n, 60 - n, k)
        assert ncx2.sf(wanted.statistic, k - 1, row["eta2_high"] * (n - k)) == pytest.approx(0.95)
        # two tests
        for column, level in (("detectable_eta2", 0.05), ("detectable_eta2_corrected", 0.025)):
            found = ncx2.sf(chi2.isf(level, k - 1), k - 1, row[column] * (n - k))
            assert found == pytest.approx(0.8)
    low = table.loc["a", "eta2_low"] * 57
    assert ncx2.sf(table.loc["a", "h"], 2, low) == pytest.approx(0.05)
    np.testing.assert_allclose(table.loc[["a", "b"], "q"], multipletests(p, method="fdr_bh")[1])
    assert table["p_repartition"].tolist()[:2] == [0.1, 0.4]
    assert table["q_repartition"].tolist()[:2] == [0.2, 0.5]
    untested = ["h", "p", "q", "eta2", "eta2_low", "eta2_high", "epsilon2", "p_repartition"]
    assert table.loc[["c", "d"], untested].isna().all(axis=None)
    assert table.loc["c", ["n", "missing", "n_clusters"]].tolist() == [20, 40, 1]
    assert np.isnan(table.loc["c", "detectable_eta2"])


def test_one_test_alone_is_not_corrected() -> None:
    random = np.random.default_rng(2)
    clusters = pd.Series(np.repeat([1, 2], 20))
    scores = pd.DataFrame({"a": random.normal(size=40)})
    drawn = pd.DataFrame({"factor": ["a"], "p_repartition": [0.4], "q_repartition": [0.4]})
    row = compare_clusters(clusters, scores, drawn, SETTINGS).iloc[0]
    assert row["detectable_eta2"] == row["detectable_eta2_corrected"]
    assert row["q"] == row["p"]
