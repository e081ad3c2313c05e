"""Images without a standard: whose they are, and what kind."""

from __future__ import annotations

import re
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
    assert not findings.in_t1w_space
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
    assert [row["subject"] for row in found(root, participants=["OAS1_0003", "OAS10001"]).rows] == [
        "OAS10001",
        "OAS10003",
    ]
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


def test_the_pattern_that_is_offered_fits_everybody(tmp_path: Path) -> None:
    """ADNI's names hold the date of the scan and the number of the image."""
    place = "002_S_400{0}/MPRAGE/2011-0{0}-1{0}_08_23/I900{0}/ADNI_002_S_400{0}_MR_MPRAGE_br_raw_I900{0}.nii"
    root = plant(tmp_path, [place.format(n) for n in range(1, 5)], kind=None)
    write_table(root / "a.csv", [f"002_S_400{n}" for n in range(1, 5)], {"score": "number"}, "PTID")
    with pytest.raises(UserError, match="no name says that an image is T1-weighted") as error:
        found(root)
    (offered,) = re.findall("--path-t1w '(.*)'", str(error.value))
    assert offered == "*/MPRAGE/2011-*-*_08_23/*/ADNI_{subject}_MR_MPRAGE_br_raw_*.nii"
    rows = found(root, patterns={"t1w": offered}).rows
    assert [row["subject"] for row in rows] == [f"002S400{n}" for n in range(1, 5)]


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


def test_gradients_with_names_of_fsl_lie_beside_each_series(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}/T1w.nii.gz", "{}/dwi/data_dwi.nii.gz", "{}/dwi/bvals", "{}/dwi/bvecs")
    write_table(root / "people.tsv", IDS, {"score": "number"}, "subject")
    rows = found(fill(root)).rows
    assert [row["bval"] for row in rows] == [str(root / person / "dwi" / "bvals") for person in IDS]
    assert [row["bvec"] for row in rows] == [str(root / person / "dwi" / "bvecs") for person in IDS]


def test_only_the_images_of_the_people_who_were_asked_for_matter(tmp_path: Path) -> None:
    """Somebody with two T1w images, or two of another kind, is a reason to leave that person out."""
    root = loose(tmp_path, "{}/T1w.nii.gz", "{}/flair.nii.gz")
    plant(root, ["IXI012/more/T1w.nii.gz", "IXI013/more/flair.nii.gz"], kind=None)
    write_table(root / "people.tsv", IDS, {"score": "number"}, "subject")
    with pytest.raises(UserError, match="1 person has more than one t1w image"):
        found(root)
    asked = ["IXI002", "IXI013", "IXI014"]
    assert found(root, participants=asked).further == []
    findings = found(root, participants=["IXI002", "IXI014"])
    assert [row["subject"] for row in findings.rows] == ["IXI002", "IXI014"]
    assert findings.further == ["flair"]
    assert not [line for line in findings.unused if "several" in line]


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


def test_a_number_is_not_taken_for_the_beginning_of_another(tmp_path: Path) -> None:
    """Person 1, in whose file name stands a 10, was taken for person 10."""
    ids = ["1", "2", "3", "10"]
    root = plant(tmp_path, ["1/T1_10.nii.gz", "2/T1_2.nii.gz", "3/T1_3.nii.gz"], kind=None)
    write_table(root / "people.tsv", ids, {"iq": "number"}, "subject")
    with pytest.raises(UserError, match="which part of their names is the person's id") as error:
        found(root)
    assert "--path-t1w '{subject}/T1_*.nii.gz'" in str(error.value)
    findings = found(root, patterns={"t1w": "{subject}/T1_*.nii.gz"})
    assert [row["subject"] for row in findings.rows] == ["1", "2", "3"]


def test_of_two_ids_in_one_name_the_longer_is_meant(tmp_path: Path) -> None:
    root = plant(tmp_path, ["01_T1w.nii.gz", "01-2_T1w.nii.gz", "01-3_T1w.nii.gz"], kind=None)
    write_table(root / "people.tsv", ["01", "01-2", "01-3"], {"iq": "number"}, "subject")
    assert [row["subject"] for row in found(root).rows] == ["01", "012", "013"]


def test_masks_that_are_several_for_a_person_are_said(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}_T1w.nii.gz", "{}_T1w_brain_mask.nii.gz", "{}_T1w_mask.nii.gz")
    findings = found(root)
    assert not findings.having("t1w_mask")
    said = "8 images such as IXI002_T1w_brain_mask.nii.gz (t1w_mask): several for 4 people"
    assert said in findings.unused


def test_images_that_a_pattern_chooses_are_no_further_images(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}/brain.nii.gz", "{}/other.nii.gz")
    findings = found(root, patterns={"t1w": "{subject}/brain.nii.gz"})
    assert findings.sheet == ["subject", "t1w", "other"]
    assert findings.further == ["other"]


def test_a_pattern_may_begin_with_the_folder(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}/brain.nii.gz")
    findings = found(root, patterns={"t1w": f"{root}/{{subject}}/brain.nii.gz"})
    assert [row["subject"] for row in findings.rows] == IDS


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*/brain.nii.gz", "needs one {subject} in the place of the person's id"),
        (
            "{subject}/{session}/brain.nii.gz",
            r"no other word in braces than {subject} has a meaning; write \*",
        ),
        ("{subject}/absent.nii.gz", "no image has such a name; there are"),
        ("{subject}/brain.dcm", "no image has such a name; there are"),
    ],
)
def test_patterns_that_fit_nothing_are_named_with_their_option(
    tmp_path: Path, pattern: str, message: str
) -> None:
    root = loose(tmp_path, "{}/T1.nii.gz", "{}/brain.nii.gz")
    for column in ("t1w", "dwi"):
        with pytest.raises(UserError, match=f"^--path-{column} {re.escape(pattern)}: {message}"):
            found(root, patterns={column: pattern})


def test_a_pattern_may_take_any_name_for_an_id_that_is_not_too_long(tmp_path: Path) -> None:
    root = plant(tmp_path, [f"OAS_1_{n:04d}_MR_1_T1.nii.gz" for n in range(4)], kind=None)
    findings = found(root, patterns={"t1w": "{subject}_T1.nii.gz"})
    assert [row["subject"] for row in findings.rows] == [f"OAS1{n:04d}MR1" for n in range(4)]


def test_ids_of_a_pattern_that_are_the_same_without_punctuation_are_refused(tmp_path: Path) -> None:
    root = plant(tmp_path, [f"{person}/brain.nii.gz" for person in ("a-1", "a_1", "a_2", "a_3")], kind=None)
    with pytest.raises(
        UserError, match=r"^--path-t1w .*: a-1 and a_1 are the same id once they are written with"
    ):
        found(root, patterns={"t1w": "{subject}/brain.nii.gz"})


def test_diffusion_data_of_a_pattern_belong_to_people_with_t1w_images(tmp_path: Path) -> None:
    names = ("{}/T1.nii.gz", "{}_late/dwi.nii.gz", "{}_late/dwi.bval", "{}_late/dwi.bvec")
    root = fill(loose(tmp_path, *names))
    with pytest.raises(
        UserError, match=r"^--path-dwi .*: its ids are none of the people's.*IXI002late.*IXI002"
    ):
        found(root, patterns={"t1w": "{subject}/T1.nii.gz", "dwi": "{subject}/dwi.nii.gz"})
    findings = found(root, patterns={"t1w": "{subject}/T1.nii.gz", "dwi": "{subject}_late/dwi.nii.gz"})
    assert len(findings.having("dwi", "bval", "bvec")) == 4
    (root / "IXI002" / "T1.nii.gz").unlink()
    findings = found(root, patterns={"t1w": "{subject}/T1.nii.gz", "dwi": "{subject}_late/dwi.nii.gz"})
    assert "1 person without a T1w image: IXI002" in findings.unused


def test_a_series_is_no_t1w_image(tmp_path: Path) -> None:
    root = fill(loose(tmp_path, "{}/dwi.nii.gz"))
    with pytest.raises(UserError, match=r"T1w images: .*IXI002/dwi.nii.gz has shape \(8, 8, 8, 13\)"):
        found(root, patterns={"t1w": "{subject}/dwi.nii.gz"})


def test_t1w_files_that_are_no_images_are_said(tmp_path: Path) -> None:
    root = loose(tmp_path, "{}/T1.nii.gz")
    for path in root.rglob("*.nii.gz"):
        path.write_text("not an image")
    assert any("IXI002/T1.nii.gz is not a readable NIfTI image" in line for line in found(root).unused)
