from __future__ import annotations

from pathlib import Path

import pytest

from neurostrata.cohort.discovery.layouts import choose_scans, hcp_scans
from neurostrata.cohort.sheet import read_cohort_sheet, read_qc_sheet, subject_id
from neurostrata.core.errors import UserError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "wanted"), [("sub-01", "01"), ("01", "01"), ("sub-sub-1", None), ("a b", None), ("", None)]
)
def test_subject_ids(text: str, wanted: str | None) -> None:
    if wanted is None:
        with pytest.raises(UserError, match="letters and digits"):
            subject_id(text)
    else:
        assert subject_id(text) == wanted


def test_the_prefix_is_removed_once_and_no_character_more() -> None:
    assert subject_id("sub-bus1") == "bus1"  # str.strip("sub-") would leave "1"


def test_sheet_is_sorted_and_paths_follow_the_sheet(tmp_path: Path) -> None:
    sheet = write(
        tmp_path / "in" / "cohort.tsv", "subject\tt1w\tsite\nsub-2\tb.nii.gz\tx\n1\t/a.nii.gz\tn/a\n"
    )
    _, rows = read_cohort_sheet(sheet)
    assert [row["subject"] for row in rows] == ["1", "2"]
    assert rows[0] == {"subject": "1", "t1w": "/a.nii.gz", "site": ""}
    assert rows[1]["t1w"] == str(tmp_path / "in" / "b.nii.gz")


def test_words_with_a_slash_are_no_paths(tmp_path: Path) -> None:
    sheet = write(
        tmp_path / "in" / "cohort.tsv",
        "subject\tscanner\tscanned\tpet\n1\tGE/MR750\t01/02/2020\tpet/1.nii.gz\n2\tSiemens\t03/02/2020\tpet/2.mgh\n",
    )
    rows = read_cohort_sheet(sheet)[1]
    assert [row["scanner"] for row in rows] == ["GE/MR750", "Siemens"]
    assert rows[0]["scanned"] == "01/02/2020"
    assert [row["pet"] for row in rows] == [str(tmp_path / "in/pet/1.nii.gz"), str(tmp_path / "in/pet/2.mgh")]


def test_every_mistake_of_the_sheet_is_listed(tmp_path: Path) -> None:
    sheet = write(
        tmp_path / "c.tsv", "subject\tt1w\ttemplate\n01\ta\tyes\nsub-01\tb\tno\nx y\tc\tno\n03\td\tmaybe\n"
    )
    with pytest.raises(UserError) as caught:
        read_cohort_sheet(sheet)
    text = str(caught.value)
    assert "line 3: subject 01 has a row already, line 2" in text
    assert "line 4: subject 'x y'" in text
    assert "line 5: subject 03: template is 'maybe'" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("t1w\nx\n", "no id column"),
        ("subject\tt1w\n", "has no rows"),
        ("subject\tsubject\n", "is given twice"),
    ],
)
def test_unusable_sheets(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_cohort_sheet(write(tmp_path / "c.tsv", text))


def test_qc_decisions_need_a_reason_and_a_known_decision(tmp_path: Path) -> None:
    sheet = write(
        tmp_path / "qc.tsv", "subject\tmodality\tdecision\treason\n01\t\tdrop\tmotion\n02\tfa\texclude\t\n"
    )
    with pytest.raises(UserError) as caught:
        read_qc_sheet(sheet)
    assert "decision is 'drop'" in str(caught.value)
    assert "02: the reason is missing" in str(caught.value)


def test_hcp_discovery(tmp_path: Path) -> None:
    names = (
        "T1w_acpc_dc_restore.nii.gz",
        *(f"Diffusion/{n}" for n in ("data.nii.gz", "bvals", "grad_dev.nii.gz")),
    )
    for name in names:
        write(tmp_path / "100307" / "T1w" / name, "")
    (row,), _, _ = choose_scans(hcp_scans(tmp_path), "hcp", None, None)
    assert row["subject"] == "100307"
    assert row["bval"].endswith("Diffusion/bvals")
    assert row["grad_dev"].endswith("Diffusion/grad_dev.nii.gz")
    assert "t1w_mask" not in row
    with pytest.raises(UserError, match="not a folder"):
        hcp_scans(tmp_path / "nowhere")
