"""Images without a standard: whose they are, and what kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from bids_trees import plant
from image_trees import fill, write_table

from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.loose import look_at_loose
from neurostrata.core.errors import UserError

IDS = ["IXI002", "IXI012", "IXI013", "IXI014"]


def found(root: Path, **wishes: object) -> Findings:
    return look_at_loose(root, root / "no study", Wishes(**wishes))  # type: ignore[arg-type]


def loose(root: Path, *names: str) -> Path:
    """Empty files, ``{}`` being each id."""
    return plant(root, [name.format(person) for name in names for person in IDS], kind=None)


def test_ids_come_from_the_table_whose_cells_occur_in_the_names(tmp_path: Path) -> None:
    root = loose(tmp_path, "t1w/{}_T1w.nii.gz", "labels/{}_dlmuse.nii.gz")
    write_table(
        root / "people.csv", [*IDS, "IXI999"], {"Age": "number", "sex": "F M", "score": "number"}, "code"
    )
    findings = found(root)
    assert [row["subject"] for row in findings.rows] == IDS
    assert findings.rows[0]["t1w"] == str(root / "t1w" / "IXI002_T1w.nii.gz")
    assert findings.sheet == ["subject", "t1w", "dlmuse", "age", "sex"]
    assert findings.rows[1]["sex"] == "M"
    assert findings.further == ["dlmuse"]
    assert findings.certain == [str(root / "people.csv")]
    assert findings.tables[0].variables == ["score"]
    assert findings.notes[0] == f"ids from column code of {root / 'people.csv'}"


def test_of_several_tables_only_a_person_knows_which_hold_phenotypes(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz")
    write_table(root / "a.tsv", IDS, {"age": "number"})
    write_table(root / "b.tsv", IDS, {"volume": "number"})
    write_table(root / "c.tsv", ["x1", "x2", "x3"], {"volume": "number"})
    findings = found(root)
    assert findings.certain == []
    assert [table.path for table in findings.tables if table.variables] == [str(root / "b.tsv")]
    assert any("c.tsv: its ids (x1, x2, x3) are not those of the images" in line for line in findings.unused)


def test_ids_may_have_punctuation_and_are_written_without(tmp_path: Path) -> None:
    ids = [f"OAS1_000{n}" for n in range(1, 5)]
    root = plant(tmp_path, [f"{person}/T1.nii.gz" for person in ids], kind=None)
    write_table(root / "people.tsv", ids, {"mmse": "number"}, "ID")
    findings = found(root)
    assert [row["subject"] for row in findings.rows] == ["OAS10001", "OAS10002", "OAS10003", "OAS10004"]
    assert not findings.tables[0].exact
    assert findings.tables[0].people == ["OAS10001", "OAS10002", "OAS10003", "OAS10004"]


def test_without_a_table_the_one_part_that_differs_is_the_id(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}/anat/T1.nii.gz", "{}/anat/T1_mask.nii.gz", "{}/anat/FLAIR.nii.gz")
    findings = found(root)
    assert [row["subject"] for row in findings.rows] == IDS
    assert findings.sheet == ["subject", "t1w", "t1w_mask", "FLAIR"]
    assert findings.rows[3]["t1w_mask"].endswith("IXI014/anat/T1_mask.nii.gz")


def test_two_parts_that_differ_are_a_question(tmp_path: Path) -> None:
    names = [f"{person}-{site}-0{n}-T1.nii.gz" for n, (person, site) in enumerate(zip(IDS, "ABAB"))]
    root = plant(tmp_path, names, kind=None)
    with pytest.raises(UserError) as error:
        found(root)
    assert "--path-t1w '{subject}-*-*-T1.nii.gz'\n" in str(error.value)
    assert "--path-t1w '*-*-{subject}-T1.nii.gz'" in str(error.value)
    findings = found(root, patterns={"t1w": "{subject}-*-*-T1.nii.gz"})
    assert [row["subject"] for row in findings.rows] == IDS


def test_two_t1w_images_are_a_question(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz", "{}_mprage.nii.gz")
    with pytest.raises(UserError, match="4 people have more than one t1w image") as error:
        found(root)
    assert "  --path-t1w '{subject}_mprage.nii.gz'" in str(error.value)
    findings = found(root, patterns={"t1w": "{subject}_mprage.nii.gz"})
    assert findings.rows[0]["t1w"].endswith("IXI002_mprage.nii.gz")


def test_an_image_whose_name_says_more_is_no_t1w_image(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz", "{}_T1w_seg.nii.gz", "{}_T1w_brain_mask.nii.gz")
    findings = found(root)
    assert findings.rows[0]["t1w"].endswith("IXI002_T1w.nii.gz")
    assert findings.rows[0]["t1w_mask"].endswith("IXI002_T1w_brain_mask.nii.gz")
    assert findings.further == ["T1wseg"]


def test_names_that_say_nothing_are_a_question(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}/brain.nii.gz")
    with pytest.raises(UserError, match="no name says that an image is T1-weighted") as error:
        found(root)
    assert "--path-t1w '{subject}/brain.nii.gz'" in str(error.value)
    assert found(root, patterns={"t1w": "{subject}/brain.nii.gz"}).having("t1w")


def test_diffusion_data_need_gradients_and_several_volumes(tmp_path: Path) -> None:
    root = loose(tmp_path / "with", "{}/T1.nii.gz", "{}/dwi.nii.gz", "{}/dwi.bval", "{}/dwi.bvec")
    findings = found(fill(root))
    assert findings.rows[0]["bvec"] == str(root / "IXI002" / "dwi.bvec")
    assert len(findings.having("dwi", "bval", "bvec")) == 4

    root = loose(tmp_path / "without", "{}/T1.nii.gz", "{}/dwi.nii.gz")
    findings = found(fill(root))
    assert not findings.having("dwi")
    assert findings.unused == [
        "4 diffusion-weighted images without gradients (.bval and .bvec of the same name): IXI002/dwi.nii.gz"
    ]

    root = loose(
        tmp_path / "single", "{}/T1.nii.gz", "{}/dti_fa.nii.gz", "{}/DTI.nii.gz", "{}/DTI.bval", "{}/DTI.bvec"
    )
    findings = found(fill(root))
    assert not findings.having("dwi")
    assert "is a single volume" in findings.unused[0]


def test_people_and_images_that_do_not_fit_are_named(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz")
    plant(root, ["phantom_T1w.nii.gz", "IXI050_flair.nii.gz"], kind=None)
    write_table(root / "people.tsv", [*IDS, "IXI050"], {"age": "number"}, "subject")
    findings = found(root)
    assert [row["subject"] for row in findings.rows] == IDS
    assert "1 person without a T1w image: IXI050" in findings.unused
    assert any("1 image without an id in the name: phantom_T1w.nii.gz" in line for line in findings.unused)
    chosen = found(root, participants=["IXI012"])
    assert [row["subject"] for row in chosen.rows] == ["IXI012"]
    with pytest.raises(UserError, match="--participant-label IXI777: no image"):
        found(root, participants=["IXI777"])


def test_the_study_and_hidden_folders_are_not_searched(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz", "study/results/{}_T1w.nii.gz", ".cache/{}_T1w.nii.gz")
    findings = look_at_loose(root, root / "study", Wishes())
    assert findings.rows[0]["t1w"] == str(root / "IXI002_T1w.nii.gz")


def test_options_of_bids_do_not_apply(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz")
    with pytest.raises(UserError, match="this folder is not in BIDS"):
        found(root, session="1")


def test_an_image_of_two_people_tells_nobody(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz")
    plant(root, ["IXI002_to_IXI012_T1w.nii.gz"], kind=None)
    write_table(root / "people.tsv", IDS, {"age": "number"}, "subject")
    with pytest.raises(UserError, match="which part of their names is the person's id"):
        found(root)
