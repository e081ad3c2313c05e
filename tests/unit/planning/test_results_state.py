"""The state of a study's results, by which the report of a part of a study is planned again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neurostrata.planning.results import results_state


@pytest.mark.parametrize("place", ["results", "report/results"])
@pytest.mark.parametrize("name", ["qc/measures.tsv", "experiments/report/splits.tsv", "provenance.json"])
def test_a_new_or_changed_table_is_another_state(tmp_path: Path, place: str, name: str) -> None:
    """Also of an experiment called `report`, and of results in a folder of this name."""
    before = results_state(tmp_path / place)
    table = tmp_path / place / name
    table.parent.mkdir(parents=True)
    table.write_text("a\n")
    made = results_state(tmp_path / place)
    assert made != before
    os.utime(table, ns=(1, 1))
    assert results_state(tmp_path / place) not in (before, made)


@pytest.mark.parametrize(
    "name", ["report/index.json", "cohort/gate.json", "cohort/headers.json", "qc/.measures-a1.tsv"]
)
def test_what_is_no_result_is_no_other_state(tmp_path: Path, name: str) -> None:
    """Nor is a file that is being written, which may be gone before it is looked at."""
    before = results_state(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere") if "/." in name else path.write_text("a")
    assert results_state(tmp_path) == before
