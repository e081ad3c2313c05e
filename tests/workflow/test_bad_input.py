"""What a user can get wrong ends in one clear message and exit status 2, before any job."""

from __future__ import annotations

from pathlib import Path

import pytest


def _nothing_ran(folder: Path) -> bool:
    return not list((folder / "results").glob("derivatives/**/*.nii.gz")) and not list(
        (folder / ".snakemake").glob("locks/*")
    )


def test_missing_file(study) -> None:
    (study.folder / "images" / "sub-03_T1w.nii.gz").unlink()
    run = study.snakemake()
    assert run.returncode == 2, run.stderr
    assert "subject 03: t1w: images/sub-03_T1w.nii.gz: no such file" in run.stderr
    assert "Traceback" not in run.stderr
    assert _nothing_ran(study.folder)


def test_truncated_nifti(study) -> None:
    image = study.folder / "images" / "sub-02_T1w.nii.gz"
    image.write_bytes(image.read_bytes()[:-2000])
    run = study.snakemake()
    assert run.returncode == 2, run.stderr
    assert "subject 02: t1w: images/sub-02_T1w.nii.gz: is truncated" in run.stderr
    assert "Traceback" not in run.stderr
    assert _nothing_ran(study.folder)


def test_misspelled_key(study) -> None:
    study.configure(templat={"iterations": 2})
    run = study.snakemake()
    assert run.returncode == 2, run.stderr
    assert "unknown key 'templat'; did you mean 'template'?" in run.stderr
    assert "Traceback" not in run.stderr


def test_duplicated_subject(study) -> None:
    study.edit_sheet(lambda cells: cells.append(["sub-01", *cells[1][1:]]))
    run = study.snakemake()
    assert run.returncode == 2, run.stderr
    assert "cohort.tsv, line 8: subject 01 stands already in line 2" in run.stderr
    assert "Traceback" not in run.stderr


def test_phenotypes_that_share_no_ids(study) -> None:
    table = study.folder / "phenotypes.tsv"
    table.write_text(table.read_text().replace("\n0", "\nX0"))
    run = study.snakemake()
    assert run.returncode == 2, run.stderr
    assert "phenotypes.tsv: shares no ids with the cohort (there: X01" in run.stderr
    assert "Traceback" not in run.stderr
    assert _nothing_ran(study.folder)


@pytest.mark.parametrize("dry", [True, False])
def test_all_problems_at_once(study, dry: bool) -> None:
    for number in (1, 4):
        (study.folder / "images" / f"sub-0{number}_T1w.nii.gz").unlink()
    run = study.snakemake(*(["-n"] if dry else []))
    assert run.returncode == 2, run.stderr
    assert "subject 01" in run.stderr
    assert "subject 04" in run.stderr


def test_one_person_only(study) -> None:
    study.edit_sheet(lambda cells: cells.__delitem__(slice(2, None)))
    run = study.snakemake()
    assert run.returncode == 2, run.stderr
    assert "experiment jac: 1 people have all of jac; at least 4 are needed" in run.stderr
