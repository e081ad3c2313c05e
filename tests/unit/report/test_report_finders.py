"""Every partition beside the others: each number against the tables that it is from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics import adjusted_rand_score

from neurostrata.core.tables import write_table
from neurostrata.report.data.evidence import Evidence, false_discovery_rates, read_evidence
from neurostrata.report.data.finders import (
    COLUMNS,
    VERDICT_COLUMNS,
    compare_finders,
    finder_row,
    read_verdicts,
    verdict_rows,
)
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.text.verdict import Verdict


def clusters(*numbers: int, out: tuple[int, ...] = ()) -> pd.DataFrame:
    subjects = [f"{i:02d}" for i in range(len(numbers))]
    fits = ["no" if i in out else "yes" for i in range(len(numbers))]
    return pd.DataFrame({"subject": subjects, "cluster": numbers, "fits": fits})


def stability(*rows: tuple[int, int, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["cluster", "n", "repeated", "jaccard"])


COMPARISONS = pd.DataFrame(
    {
        "factor": ["a", "b", "c", "d", "e"],
        "p": [0.001, 0.002, 0.003, np.nan, 0.5],
        "q": [0.01, 0.02, 0.03, np.nan, 0.5],
        "q_repartition": [0.01, 0.2, 0.04, np.nan, 0.01],
        "eta2": [0.2, 0.3, 0.1, np.nan, 0.0],
    }
)


def test_a_row_has_the_numbers_of_its_tables() -> None:
    leading = Evidence(clusters=clusters(1, 1, 1, 2, 2, 3))
    evidence = Evidence(
        "mixture",
        "adjusted",
        clusters=clusters(1, 1, 1, 1, 2, 2, out=(1, 5)),
        existence=pd.Series({"p": 0.015, "claimed": "yes"}),
        stability=stability(
            (1, 4, "bootstrap", 0.9),
            (2, 2, "bootstrap", 0.3),
            (1, 4, "half", 0.1),
            (3, 9, "bootstrap", np.nan),
        ),
        comparisons=COMPARISONS,
        adjusted=pd.DataFrame({"factor": ["a", "c", "e"], "q": [0.04, 0.06, 0.01]}),
    )
    row = finder_row(evidence, leading, alpha=0.05)
    assert ["experiment", *row] == list(COLUMNS)
    assert (row["codes"], row["finder"], row["clusters"], row["sizes"]) == ("adjusted", "mixture", 2, "4, 2")
    assert (row["outside"], row["p"], row["claimed"]) == (2, 0.015, "yes")
    assert row["jaccard"] == pytest.approx((4 * 0.9 + 2 * 0.3) / 6)
    # four factors were tested; a and c have both q below 0.05, of these a after adjustment too
    assert (row["tested"], row["differ"], row["differ_adjusted"]) == (4, 2, 1)
    wanted = adjusted_rand_score([1, 1, 1, 2, 2, 3], [1, 1, 1, 1, 2, 2])
    assert row["agreement"] == pytest.approx(wanted)
    assert finder_row(leading, leading, 0.05)["agreement"] == 1


def test_what_was_not_made_is_not_a_number() -> None:
    row = finder_row(Evidence(clusters=clusters(1, 1, 1)), Evidence(), alpha=0.05)
    assert (row["clusters"], row["sizes"], row["outside"]) == (1, "3", 0)
    assert row["claimed"] is None
    assert row["jaccard"] is None
    for name in ("p", "tested", "differ", "differ_adjusted", "agreement"):
        assert np.isnan(row[name])
    alone = Evidence(clusters=clusters(1, 1), stability=stability((1, 2, "bootstrap", 1.0)))
    assert finder_row(alone, alone, 0.05)["jaccard"] is None  # one group says nothing of stability
    many = finder_row(Evidence(clusters=clusters(*range(1, 14), 1)), Evidence(), 0.05)
    assert many["sizes"] == "2" + ", 1" * 11 + ", …"
    untested = pd.Series({"p": np.nan, "claimed": np.nan})
    assert (
        finder_row(Evidence(clusters=clusters(1, 2), existence=untested), Evidence(), 0.05)["claimed"] is None
    )
    denied = pd.Series({"p": 0.4, "claimed": "no"})
    assert (
        finder_row(Evidence(clusters=clusters(1, 2), existence=denied), Evidence(), 0.05)["claimed"] == "no"
    )


def test_every_partition_of_every_experiment_has_a_row(tmp_path: Path) -> None:
    strata: dict[str, Any] = {"finders": ["mixture", "affinity_propagation"], "adjust": {"columns": ["age"]}}
    study = StudyResults(ResultsTree(tmp_path), {"strata": strata, "report": {"alpha": 0.05}})
    experiment = study.tree.experiment("e")
    for codes, finder, numbers in (
        ("adjusted", "mixture", (1, 1, 2, 2)),
        ("raw", "mixture", (1, 2, 1, 2)),
        ("raw", "affinity_propagation", (1, 2, 3, 4)),
    ):
        write_table(experiment.strata("clusters.tsv", finder, codes), clusters(*numbers))
    table = compare_finders(study, [experiment])
    assert list(table) == list(COLUMNS)
    assert table[["experiment", "codes", "finder", "clusters"]].to_numpy().tolist() == [
        ["e", "adjusted", "mixture", 2],
        ["e", "raw", "mixture", 2],
        ["e", "raw", "affinity_propagation", 4],
    ]
    np.testing.assert_allclose(table["agreement"], [1, adjusted_rand_score([1, 1, 2, 2], [1, 2, 1, 2]), 0])
    assert list(compare_finders(study, [])) == list(COLUMNS)
    own = read_evidence(study, experiment, "affinity_propagation", "raw")
    assert own.sizes() == {1: 1, 2: 1, 3: 1, 4: 1}


def test_verdicts_are_read_as_they_were_written(tmp_path: Path) -> None:
    verdicts = [
        Verdict(
            "e",
            "explained",
            ["unstable clusters", "decodes no better than the mean image"],
            "The clusters follow the site.",
            finder="mixture",
            clusters=3,
            people=40,
            p=0.01,
            jaccard=0.5,
            tested=7,
            found=["a", "b"],
            explained_by=["site", "head_size"],
        ),
        Verdict("f", "unknown"),
    ]
    table = verdict_rows(verdicts)
    assert list(table) == list(VERDICT_COLUMNS)
    assert table["colour"].tolist() == ["amber", "grey"]
    assert table.loc[0, "found"] == "a, b"
    assert table.loc[0, ["clusters", "people", "p", "jaccard"]].tolist() == [3, 40, 0.01, 0.5]
    write_table(tmp_path / "verdicts.tsv", table)
    first, second = read_verdicts(tmp_path / "verdicts.tsv")
    assert (first.name, first.kind, first.headline) == ("e", "explained", "The clusters follow the site.")
    assert first.doubts == verdicts[0].doubts
    assert (first.tested, first.explained_by) == (7, ["site", "head_size"])
    assert (second.kind, second.doubts, second.tested, second.explained_by) == ("unknown", [], None, [])
    assert read_verdicts(tmp_path / "absent.tsv") == []


def test_false_discovery_rates_leave_out_what_was_not_tested() -> None:
    p = pd.Series([0.01, np.nan, 0.02, 0.9], index=["w", "x", "y", "z"])
    q = false_discovery_rates(p)
    assert list(q.index) == list(p.index)
    assert np.isnan(q["x"])
    np.testing.assert_allclose(q.dropna(), false_discovery_control([0.01, 0.02, 0.9]))
    assert false_discovery_rates(pd.Series([np.nan, np.nan])).isna().all()
