"""The people's images are a dataset that other programs can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurostrata import __version__
from neurostrata.cohort.discovery.bids_index import read_datasets
from neurostrata.controller.dataset import describe_derivatives


def test_the_images_of_people_are_bids_derivatives(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "derivatives"
    (folder / "sub-01").mkdir(parents=True)
    describe_derivatives({"output": str(tmp_path / "out")})
    (dataset,) = read_datasets([str(folder)])
    assert dataset.pipeline == "neurostrata"
    assert not dataset.raw
    assert json.loads((folder / "dataset_description.json").read_text())["BIDSVersion"]


@pytest.mark.parametrize("damage", ["", "[]", '{"GeneratedBy": 3}'])
def test_a_damaged_description_is_written_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "derivatives" / "dataset_description.json"
    path.parent.mkdir()
    path.write_text(damage)
    describe_derivatives({"output": str(tmp_path)})
    assert json.loads(path.read_text())["GeneratedBy"] == [{"Name": "neurostrata", "Version": __version__}]


def test_what_somebody_has_added_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "derivatives" / "dataset_description.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"Name": "My maps", "Authors": ["A"], "GeneratedBy": [{"Version": "0"}]}))
    describe_derivatives({"output": str(tmp_path)})
    written = json.loads(path.read_text())
    assert (written["Name"], written["Authors"]) == ("My maps", ["A"])
    assert written["GeneratedBy"] == [{"Name": "neurostrata", "Version": __version__}]
    path.chmod(0o444)
    before = path.stat().st_mtime_ns
    describe_derivatives({"output": str(tmp_path)})
    assert path.stat().st_mtime_ns == before
