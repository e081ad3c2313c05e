"""BIDS datasets: which are used, what is chosen, and what only a person can choose."""

from __future__ import annotations

from pathlib import Path

import pytest
from bids_trees import fmriprep_person, plant, qsiprep_person, raw_person, settle
from image_trees import people, write_table

from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.looking import look_at
from neurostrata.core.errors import UserError


def found(root: Path, **wishes: object) -> Findings:
    settle(root)
    return look_at(root, root / "study", Wishes(**wishes))  # type: ignore[arg-type]


def test_raw_data_with_one_session_raise_no_question(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", [n for p in people(4) for n in raw_person(p, "1")])
    write_table(
        root / "participants.tsv",
        [f"sub-{p}" for p in people(4)],
        {"age": "number", "group": "a b", "iq": "number"},
    )
    write_table(root / "phenotype" / "panas.tsv", [f"sub-{p}" for p in people(4)], {"v1": "number"})
    findings = found(root)
    assert findings.cohort == {"sheet": None, "bids": [str(root)]}
    assert len(findings.having("t1w")) == 4
    assert not findings.having("dwi")
    assert findings.unused[0].startswith("diffusion data: 4 files, all raw")
    assert findings.certain == [str(root / "phenotype" / "panas.tsv")]
    assert [t.path for t in findings.tables if t.variables][1:] == [str(root / "participants.tsv")]
    assert findings.choices == [
        "  # columns: {diagnosis: group}   # columns of participants.tsv that may be these"
    ]


def test_several_sessions_are_a_question_with_what_each_answer_gives(tmp_path: Path) -> None:
    names = [n for p in people(4) for s in ("1", "2") for n in raw_person(p, s) if (p, s) != ("04", "2")]
    root = plant(tmp_path / "raw", names)
    with pytest.raises(UserError) as error:
        found(root)
    lines = str(error.value).splitlines()
    assert lines[0] == "nothing was written."
    assert lines[1].startswith(
        "3 people have more than one t1w image, and only you know which to take. They differ in session: 1, 2"
    )
    assert lines[-5:] == [
        "  --session-label 1   (4 people)",
        "  --session-label 2   (3 people)",
        "  --session-label first   (4 people)",
        "  --session-label last   (4 people)",
        "  --session-label all   (4 people, 7 images)",
    ]
    findings = found(root, session="1")
    assert findings.cohort["sessions"] == "1"
    assert findings.comments["sessions"] == "or 2, first, last, all"
    with pytest.raises(UserError, match="--session-label: there is no ses-5; there are 1, 2"):
        found(root, session="5")


def test_several_acquisitions_are_a_question_that_a_filter_answers(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "raw", [n for p in people(4) for n in raw_person(p, t1w=["acq-mprage_", "acq-fspgr_"])]
    )
    with pytest.raises(UserError) as error:
        found(root)
    assert str(error.value).splitlines()[-2:] == [
        "  --filter-t1w acquisition=fspgr   (4 people)",
        "  --filter-t1w acquisition=mprage   (4 people)",
    ]
    findings = found(root, filters={"t1w": {"acquisition": "mprage"}}, participants=["02", "03"])
    assert [row["t1w"][-28:] for row in findings.rows] == [
        "/sub-02_acq-mprage_T1w.nii.gz"[-28:],
        "/sub-03_acq-mprage_T1w.nii.gz"[-28:],
    ]
    assert findings.cohort["participants"] == ["02", "03"]
    with pytest.raises(
        UserError, match="--filter-t1w: 'aquisition' is not a BIDS entity; did you mean 'acquisition'"
    ):
        found(root, filters={"t1w": {"aquisition": "mprage"}})


def test_runs_are_a_question(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", [n for p in people(4) for n in raw_person(p, t1w=["run-1_", "run-2_"])])
    with pytest.raises(UserError, match=r"--run-label first   \(4 people"):
        found(root)
    assert found(root, run="2").cohort["runs"] == 2


def test_derivatives_inside_and_side_by_side(tmp_path: Path) -> None:
    root = plant(tmp_path / "study of mine", [n for p in people(4) for n in raw_person(p)])
    below = root / "derivatives"
    plant(
        below / "fmriprep-23.1", [n for p in people(4) for n in fmriprep_person(p)], "derivative", "fMRIPrep"
    )
    plant(below / "qsiprep", [n for p in people(4) for n in qsiprep_person(p)], "derivative", "QSIPrep")
    plant(below / "mriqc", [f"sub-{p}/anat/sub-{p}_T1w.json" for p in people(4)], "derivative", "MRIQC")
    plant(root / "sourcedata" / "old", [n for p in people(4) for n in raw_person(p)])
    findings = found(root)
    assert findings.cohort["bids"] == [str(root), str(below / "fmriprep-23.1"), str(below / "qsiprep")]
    assert findings.in_t1w_space
    assert findings.rows[0]["t1w"].startswith(str(below / "qsiprep"))
    assert findings.unused == [f"{below / 'mriqc'}: no T1w or diffusion-weighted images"]
    # the T1w image of another frame: the diffusion data are aligned with it
    other = found(root, filters={"t1w": {"dataset": "fMRIPrep"}})
    assert not other.in_t1w_space
    assert other.rows[0]["t1w"].startswith(str(below / "fmriprep-23.1"))
    # from the folder of the derivatives alone
    assert found(below).cohort["bids"] == findings.cohort["bids"][1:]


def test_derivatives_elsewhere_are_named(tmp_path: Path) -> None:
    root = plant(tmp_path / "raw", [n for p in people(4) for n in raw_person(p)])
    other = plant(
        tmp_path / "out" / "qsiprep",
        [n for p in people(4) for n in qsiprep_person(p)],
        "derivative",
        "QSIPrep",
    )
    findings = look_at(root, tmp_path / "study", Wishes(), [tmp_path / "out"])
    assert findings.cohort["bids"] == [str(root), str(other)]
    assert len(findings.having("t1w", "dwi", "bval", "bvec")) == 4
    with pytest.raises(UserError, match="no folder sub"):
        look_at(root, tmp_path / "study", Wishes(), [root / "sub-01"])


def test_a_folder_without_usable_images_is_refused(tmp_path: Path) -> None:
    root = plant(tmp_path / "func", [f"sub-{p}/func/sub-{p}_task-rest_bold.nii.gz" for p in people(3)])
    with pytest.raises(UserError, match="no NIfTI image of kind T1w or dwi"):
        found(root)
    with pytest.raises(UserError, match="is not a folder"):
        found(tmp_path / "nothing")


def test_images_of_another_suffix_are_taken_where_a_filter_says_so(tmp_path: Path) -> None:
    """MP2RAGE's uniform image, which is T1-weighted, is called UNIT1."""
    suffixes = ("inv-1_MP2RAGE", "inv-2_MP2RAGE", "UNIT1", "T1map")
    root = plant(tmp_path / "raw", [f"sub-{p}/anat/sub-{p}_{s}.nii.gz" for p in people(4) for s in suffixes])
    with pytest.raises(UserError) as error:
        found(root)
    assert str(error.value).endswith(
        "neurostrata needs T1w images; there are MP2RAGE, T1map, UNIT1, which --filter-t1w suffix=... takes"
    )
    findings = found(root, filters={"t1w": {"suffix": "UNIT1"}})
    assert findings.rows[0]["t1w"] == f"{root}/sub-01/anat/sub-01_UNIT1.nii.gz"
    assert findings.cohort["filters"] == {"t1w": {"suffix": "UNIT1"}}


def other_study(root: Path) -> Path:
    """The results of another study below a folder."""
    results = root / "first" / "results"
    plant(
        results, [f"derivatives/sub-{p}/anat/sub-{p}_desc-preproc_T1w.nii.gz" for p in people(4)], kind=None
    )
    (results / "cohort").mkdir()
    (results / "cohort" / "gate.json").write_text("{}")
    return results


def test_results_of_another_study_are_no_derivatives(tmp_path: Path) -> None:
    root = plant(tmp_path / "data" / "raw", [n for p in people(4) for n in raw_person(p, "1")]).parent
    results = other_study(root)
    findings = found(root)
    assert findings.cohort == {"sheet": None, "bids": [str(root / "raw")]}
    assert f"{results}: the results of a study" in findings.unused
    named = look_at(root / "raw", tmp_path / "study", Wishes(), [results / "derivatives"])
    assert named.cohort["bids"] == [str(root / "raw"), str(results / "derivatives")]


def test_results_of_another_study_do_not_hide_loose_images(tmp_path: Path) -> None:
    root = plant(tmp_path, [f"IXI{p}_T1w.nii.gz" for p in people(4)], kind=None)
    results = other_study(root)
    findings = look_at(root, tmp_path / "study", Wishes())
    assert [Path(row["t1w"]).parent for row in findings.rows] == [root] * 4
    assert findings.further == []
    assert findings.unused[-1] == f"{results}: the results of a study"
