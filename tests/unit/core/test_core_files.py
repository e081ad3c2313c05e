from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from neurostrata.core.errors import UserError
from neurostrata.core.files import (
    atomic_directory,
    atomic_path,
    file_suffix,
    read_json,
    settings_record,
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


def test_cells_of_ids_and_of_declared_texts_stay_what_they_are(tmp_path: Path) -> None:
    ids = ["NA", "n/a", "nan", "007", "1e5", "None"]
    frame = pd.DataFrame(
        {
            "subject": ids,
            "group": ["NA", "n/a", "", "None", "01", "a"],
            "x": ["1", "NA", "", "n/a", "None", "2"],
        }
    )
    for name, separator in (("t.tsv", "\t"), ("t.csv", ",")):
        frame.to_csv(tmp_path / name, sep=separator, index=False)
        found = read_table(tmp_path / name, text=("subject", "group", "absent"))
        assert found["subject"].tolist() == ids
        assert found["group"].isna().tolist() == [False, True, True, False, False, False]
        assert found["group"].dropna().tolist() == ["NA", "None", "01", "a"]
        assert found["x"].isna().tolist() == [False, True, True, True, True, False]
        assert found["x"].dropna().tolist() == [1.0, 2.0]


def test_numbers_are_written_with_ten_digits_and_lines_end_alike(tmp_path: Path) -> None:
    write_table(
        tmp_path / "t.tsv",
        pd.DataFrame({"subject": ["01"], "x": [1 / 3], "y": [2e9 / 3], "n": [12345678901234]}),
    )
    assert (
        tmp_path / "t.tsv"
    ).read_bytes() == b"subject\tx\ty\tn\n01\t0.3333333333\t666666666.7\t12345678901234\n"
    assert not (tmp_path / "t.json").exists()  # nothing is said of its columns


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


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o007, 0o660, 0o770), (0o077, 0o600, 0o700)]
)
def test_finished_files_are_as_readable_as_any_that_the_user_writes(
    tmp_path: Path, umask: int, file: int, folder: int
) -> None:
    """A lab shares its studies: temporary files are private, finished ones are not, and what is private stays so."""

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        with atomic_directory(tmp_path / "model") as temporary:
            (temporary / "deep").mkdir(mode=0o700)
            (temporary / "deep" / "weights").touch(mode=0o600)
            (temporary / "link").symlink_to(tmp_path / "a.json")
        # the next file of this process is no more open than before
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.json") == mode(tmp_path / "model" / "deep" / "weights") == file
    assert mode(tmp_path / "model") == mode(tmp_path / "model" / "deep") == folder


def test_temporary_files_are_hidden_beside_the_finished_one_and_of_its_kind(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "new" / "map.nii.gz") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.name.startswith(".map-")
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"1")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["map.nii.gz"]
    with atomic_directory(tmp_path / "model") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(".model-")


def test_settings_of_a_record_are_plain_and_sorted() -> None:
    found = settings_record({"b": (1, 2), "a": {"d": None, "c": 1}})
    assert found == {"a": {"c": 1, "d": None}, "b": [1, 2]}
    assert [list(found), list(found["a"])] == [["a", "b"], ["c", "d"]]
