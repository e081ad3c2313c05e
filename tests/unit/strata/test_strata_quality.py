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
