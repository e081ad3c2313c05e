from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from neurostrata.core.errors import UserError
from neurostrata.core.files import (
    atomic_directory,
    atomic_path,
    file_suffix,
    read_json,
    sidecar_path,
    write_json,
)
from neurostrata.core.settings import rows_digest, settings_text
from neurostrata.core.tables import read_table, write_table


def test_atomic_path_leaves_nothing_behind_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "image.nii.gz"

    def write_half() -> None:
        with atomic_path(target) as temporary:
            assert temporary.name.endswith(".nii.gz")
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(target.parent.iterdir()) == []


def test_atomic_path_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "table.tsv"
    target.write_text("old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["table.tsv"]


def test_atomic_directory_replaces_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "stale").touch()
    with atomic_directory(target) as temporary:
        (temporary / "weights").touch()
    assert [path.name for path in target.iterdir()] == ["weights"]
    with pytest.raises(RuntimeError), atomic_directory(target) as temporary:
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("name", "suffix", "sidecar"),
    [("a.nii.gz", ".nii.gz", "a.json"), ("a.b.tsv", ".tsv", "a.b.json"), ("fa.npy", ".npy", "fa.json")],
)
def test_suffixes_and_sidecars(name: str, suffix: str, sidecar: str) -> None:
    assert file_suffix(name) == suffix
    assert sidecar_path(Path("x") / name) == Path("x") / sidecar


def test_json_refuses_nan_and_names_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not (tmp_path / "a.json").exists()
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(UserError, match=r"b\.json"):
        read_json(tmp_path / "b.json")


def test_table_round_trip(tmp_path: Path) -> None:
    frame = pd.DataFrame({"subject": ["01", "02"], "x": [0.1 + 0.2, None]})
    write_table(tmp_path / "t.tsv", frame, columns={"subject": "id", "x": "a number"}, Seed=1)
    assert (tmp_path / "t.tsv").read_text().splitlines()[2] == "02\tn/a"
    back = read_table(tmp_path / "t.tsv")
    assert back["subject"].tolist() == ["01", "02"]
    assert back["x"].isna().tolist() == [False, True]
    sidecar = json.loads((tmp_path / "t.json").read_text())
    assert sidecar["Columns"]["x"] == "a number"
    assert sidecar["Seed"] == 1


def test_read_table_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.tsv"):
        read_table(tmp_path / "nowhere.tsv")


def test_settings_text_does_not_depend_on_the_order_of_keys() -> None:
    assert settings_text("train", 1, {"a": 1, "b": 2}) == settings_text("train", 1, {"b": 2, "a": 1})
    assert settings_text("train", 1, {"a": True, "b": False}) != settings_text(
        "train", 1, {"a": False, "b": True}
    )


def test_rows_digest_sees_used_columns_only() -> None:
    rows = [{"subject": "1", "family": "a", "note": "x"}]
    other = [{"subject": "1", "family": "a", "note": "y"}]
    assert rows_digest(rows, ["subject", "family"]) == rows_digest(other, ["subject", "family"])
    assert rows_digest(rows, ["subject", "note"]) != rows_digest(other, ["subject", "note"])
