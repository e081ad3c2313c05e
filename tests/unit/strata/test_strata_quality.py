"""Whether clusters are explained by quality, site or head size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from neurostrata.core.tables import read_table, write_table
from neurostrata.strata.comparison.commands import strata_quality
from neurostrata.strata.comparison.quality import COLUMNS, compare_quality


def test_a_planted_difference_in_quality_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60
    subjects = [f"{number:02d}" for number in range(n)]
    cluster = np.repeat([1, 2], n // 2)
    clusters = pd.DataFrame({"subject": subjects, "cluster": cluster, "fits": "yes"})
    write_table(tmp_path / "clusters.tsv", clusters, {"subject": "person"}, people=n)
    by_construction = 3.0 * cluster + rng.normal(size=n)  # what the clusters were found in
    measures = pd.DataFrame(
        {"subject": subjects, "snr": rng.normal(size=n) + 2 * cluster, "cnr": rng.normal(size=n)}
    )
    measures = measures.assign(map_mean_jac=by_construction, warp=by_construction)
    write_table(
        tmp_path / "measures.tsv", measures, {"subject": "person", "snr": "Signal.", "cnr": "Contrast."}
    )
    people = pd.DataFrame({"subject": subjects, "family": "", "diagnosis": "x", "age": rng.normal(size=n)})
    people["site"] = np.where(rng.random(n) < 0.9, cluster, 3 - cluster)
    people["head_size"] = rng.normal(size=n)
    write_table(tmp_path / "people.tsv", people)
    strata_quality(
        clusters=tmp_path / "clusters.tsv",
        measures=tmp_path / "measures.tsv",
        people=tmp_path / "people.tsv",
        output=tmp_path / "quality_tests.tsv",
        settings={"draws": 300, "confidence": 0.95, "seed": 1, "version": 1},
    )
    table = read_table(tmp_path / "quality_tests.tsv", text=("variable",)).set_index("variable")
    assert [*COLUMNS] == ["variable", *table.columns]
    assert set(table.index) == {"snr", "cnr", "site", "head_size"}
    assert (table.loc[["snr", "site"], "p_adjusted"] < 0.02).all()
    assert (table.loc[["cnr", "head_size"], "p_adjusted"] > 0.05).all()
    assert table.loc["site", "effect_name"] == "cramers_v"
    assert table.loc["snr", "words"] == "Signal."
    assert (table["low"] <= table["effect"]).all()
    assert json.loads((tmp_path / "quality_tests.json").read_text())["people"] == n
    # a measured size stands for the head size
    sized = measures.set_index("subject").assign(size=rng.normal(size=n))
    about = people.set_index("subject")
    groups = clusters.set_index("subject")["cluster"]
    tests = compare_quality(groups, sized, about, {name: name for name in sized}, 50, 0.95, 1)
    assert set(tests["variable"]) == {"snr", "cnr", "site", "size"}


def test_strongest_effects_come_first_and_what_cannot_be_tested_last() -> None:
    """A site that some people lack is tested in the others; without a site or a head size there is nothing to test them by."""
    rng = np.random.default_rng(2)
    subjects = [f"{number:02d}" for number in range(40)]
    clusters = pd.Series(np.repeat([1, 2], 20), index=subjects)
    measured = pd.DataFrame(
        {
            "weak": clusters + rng.normal(size=40),
            "alike": 1.0,
            "strong": 5.0 * clusters + rng.normal(size=40),
            "jacobian_folds": clusters * 1.0,
        },
        index=subjects,
    )
    people = pd.DataFrame({"site": np.where(clusters == 1, "a", "b")}, index=subjects)
    people.iloc[:5] = np.nan
    words = dict.fromkeys(measured, "words")
    tests = compare_quality(clusters, measured, people, words, 50, 0.95, 1).set_index("variable")
    assert tests.index.tolist() == ["site", "strong", "weak", "alike"]
    assert tests["effect"].iloc[:3].is_monotonic_decreasing
    assert np.isnan(tests.loc["alike", "effect"])
    assert tests.loc["site", "n"] == 35


def test_relatives_are_exchanged_together() -> None:
    """Four families fall into two pairs in three ways: of forty people, the third of all draws are as unlike as these."""
    subjects = [f"{number:02d}" for number in range(40)]
    clusters = pd.Series(np.repeat([1, 2], 20), index=subjects)
    measured = pd.DataFrame({"snr": np.repeat([1.0, 2, 3, 4], 10)}, index=subjects)
    people = pd.DataFrame({"family": np.repeat(list("wxyz"), 10)}, index=subjects)
    alone = people.assign(family="")
    related, apart = (
        compare_quality(clusters, measured, one, {"snr": "Signal."}, 400, 0.95, 1)["p"][0]
        for one in (people, alone)
    )
    assert apart < 0.01
    assert abs(related - 1 / 3) < 0.08
