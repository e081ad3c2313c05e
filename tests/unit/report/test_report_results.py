"""How tables, descriptions and arrays of a study are read: names stay text, what is missing is said, what was changed is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixture import make_results

from neurostrata.core.files import write_json
from neurostrata.core.records import DamagedError, recording
from neurostrata.core.tables import write_table
from neurostrata.report.data.evidence import read_evidence
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import Missing, StudyResults
from neurostrata.strata.comparison.quality import COLUMNS as QUALITY_COLUMNS


@pytest.fixture
def study(tmp_path: Path) -> StudyResults:
    return StudyResults(ResultsTree(tmp_path), {})


def test_names_that_look_like_numbers_stay_as_they_are(study: StudyResults) -> None:
    names = ("subject", "fold", "modality", "method", "factor", "variable", "family", "site", "session")
    names += ("finder", "characteristic", "level", "rater", "exemplar")
    path = study.tree.root / "table.tsv"
    write_table(path, pd.DataFrame({**{name: ["007", "1e3"] for name in names}, "p": [0.5, 1e-3]}))
    table = study.table(path)
    assert table is not None
    assert {name: list(table[name]) for name in names} == {name: ["007", "1e3"] for name in names}
    assert list(table["p"]) == [0.5, 0.001]


def test_what_is_missing_is_said_once_and_only_where_it_would_have_been_shown(study: StudyResults) -> None:
    root = study.tree.root
    write_table(root / "some.tsv", pd.DataFrame({"subject": ["01"], "value": [1.0]}))
    write_table(root / "empty.tsv", pd.DataFrame({"subject": []}))
    (root / "binary.tsv").write_bytes(b"\xff\xfe\x00\xd8")
    for name in ("some", "empty", "none"):
        study.table(root / f"{name}.tsv")
    assert study.missing == []
    for _ in range(2):
        assert study.table(root / "some.tsv", "Values", ["subject", "value"]) is not None
        assert study.table(root / "some.tsv", "Scores", ["subject", "score", "q"]) is None
        assert study.table(root / "empty.tsv", "People") is None
        assert study.table(root / "none.tsv", "Clusters") is None
        assert study.table(root / "none.tsv", "Clusters", why_absent="it was not asked for") is None
        assert study.table(root / "binary.tsv", "Words") is None
    *said, unreadable = study.missing
    assert said == [
        Missing("Scores", "some.tsv has no column score, q"),
        Missing("People", "empty.tsv has no rows"),
        Missing("Clusters", "none.tsv was not made"),
        Missing("Clusters", "it was not asked for"),
    ]
    assert unreadable.what == "Words"
    assert unreadable.why.startswith("binary.tsv ")


def test_what_was_changed_after_its_stage_wrote_it_is_refused(study: StudyResults) -> None:
    root = study.tree.root
    with recording("cluster"):
        write_table(root / "a.tsv", pd.DataFrame({"p": [0.5]}))
        write_json(root / "b.json", {"People": 12})
    assert study.json(root / "b.json") == {"People": 12}
    (root / "a.tsv").write_text("p\n0.01\n")
    (root / "b.json").write_text('{"People": 21}')
    with pytest.raises(DamagedError):
        study.table(root / "a.tsv")
    with pytest.raises(DamagedError):
        study.json(root / "b.json")


def test_arrays_that_cannot_be_read_are_said(study: StudyResults) -> None:
    path = study.tree.root / "curves.npz"
    np.savez(path, low=np.arange(3), high=np.ones(2))
    assert study.arrays(path, "Curves")["low"].tolist() == [0, 1, 2]
    assert list(study.arrays(path, "Curves", ["high"])) == ["high"]
    assert study.missing == []
    assert study.arrays(path, "", ["middle"]) == {}
    assert study.missing == []
    assert study.arrays(path, "Curves", ["middle"]) == {}
    assert study.missing[0].what == "Curves"
    assert study.missing[0].why.startswith("curves.npz cannot be read")


def test_every_table_of_a_partition_is_evidence(tmp_path: Path) -> None:
    results, config = make_results(tmp_path, people=24, images=False)
    config["strata"] = config["strata"] | {"adjust": {"sites": "scanner"}}
    study = StudyResults(ResultsTree(results), config)
    experiment, _ = study.experiments()[0]
    write_table(experiment.quality_tests(), pd.DataFrame({name: [0] for name in QUALITY_COLUMNS}))
    evidence = read_evidence(study, experiment)
    absent = {name for name, value in vars(evidence).items() if value is None or len(value) == 0}
    assert absent == set()
    assert (evidence.finder, evidence.codes) == (experiment.finders[0], experiment.codes[0])
    assert evidence.nuisances == ("site", "image_quality", "head_size", "scanner")
    assert evidence.added is not None
    assert set(evidence.added["finder"]) == {evidence.finder}
