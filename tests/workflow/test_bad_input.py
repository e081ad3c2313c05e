"""What a user can get wrong ends in one clear message and exit status 2, before any job."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml


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


def test_a_slurm_that_is_down(study, tmp_path) -> None:
    sinfo = tmp_path / "bin" / "sinfo"
    sinfo.parent.mkdir()
    sinfo.write_text(
        "#!/bin/sh\necho 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1\n"
    )
    sinfo.chmod(0o755)
    study.environment["PATH"] = f"{sinfo.parent}:{study.environment['PATH']}"
    run = study.snakemake("--executor", "slurm", "--jobs", "2", "template_start")
    assert run.returncode == 2, run.stderr
    assert "Slurm does not answer on this host: slurm_load_partitions: Unable to contact slurm" in run.stderr
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


def test_results_that_cannot_be_written(study) -> None:
    """A study of somebody else, or on a disk that only reads: a dry run keeps what it learns of the files, too."""
    (study.folder / "full").write_text("")
    study.configure(output="full/results")
    run = study.snakemake("-n")
    assert run.returncode == 2, run.stderr
    assert "neurostrata: full/results/cohort: cannot be written (Not a directory)" in run.stderr
    assert "Traceback" not in run.stderr


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
    assert "cohort.tsv, line 8: subject 01 has a row already, line 2" in run.stderr
    assert "Traceback" not in run.stderr


def test_phenotypes_that_share_no_ids(study) -> None:
    table = study.folder / "phenotypes.tsv"
    table.write_text(table.read_text().replace("\n0", "\nX0"))
    run = study.snakemake()
    assert run.returncode == 2, run.stderr
    assert "phenotypes.tsv: shares no ids with the cohort (table: X01" in run.stderr
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


def test_a_dry_run_tells_before_anything_is_planned(study) -> None:
    """What used to be found after the training."""
    config = yaml.safe_load((study.folder / "config" / "config.yaml").read_text())
    config["experiments"][0]["analyses"] = {"prediction": ["v11"]}
    study.configure(experiments=config["experiments"])
    table = study.folder / "phenotypes.tsv"
    table.write_text(table.read_text().replace("\n03\t", "\n3\t"))
    image = study.folder / "images" / "sub-02_T1w.nii.gz"
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 4
    image.write_bytes(bytes(content))
    run = study.snakemake("-n")
    assert run.returncode == 2, run.stderr
    assert "Job stats" not in run.stdout + run.stderr
    said = [line.strip() for line in run.stderr.splitlines() if "problem" in line or line.startswith("    ")]
    assert said[0].endswith("3 problems, the ones to solve first on top:")
    assert "'v11' is not a column" in said[1]
    assert "'3' for 03" in said[2]
    assert "subject 02: t1w: images/sub-02_T1w.nii.gz: is damaged" in said[3]
    # mended, the message is gone: nothing is replayed
    config["experiments"][0]["analyses"] = {}
    study.configure(experiments=config["experiments"])
    table.write_text(table.read_text().replace("\n3\t", "\n03\t"))
    content[len(content) // 2] ^= 4
    image.write_bytes(bytes(content))
    assert study.planned()["check_cohort"] == 1
    kept = (study.folder / "results" / "cohort" / "headers.json").stat().st_mtime_ns
    study.planned()  # and the second time nothing is read again
    assert (study.folder / "results" / "cohort" / "headers.json").stat().st_mtime_ns == kept


def test_a_broken_configuration_is_named(study) -> None:
    path = study.folder / "config" / "config.yaml"
    path.write_text(path.read_text() + "\nqc: null\n")
    run = study.snakemake("-n")
    assert run.returncode == 2, run.stderr
    assert "config/config.yaml, line" in run.stderr
    assert "the key 'qc' is given twice" in run.stderr


def test_a_study_with_problems_can_be_unlocked(study) -> None:
    (study.folder / "images" / "sub-03_T1w.nii.gz").unlink()
    assert study.snakemake("--unlock").returncode == 0
