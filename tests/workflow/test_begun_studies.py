"""Studies begun by `init` are planned in their own folder as they are, by `snakemake` with nothing but its usual options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import conda_stand_in
import pytest
from bids_trees import fmriprep_person, plant, qsiprep_person, raw_person, settle
from image_trees import fill, people, write_table
from small_study import StudyFolder

from neurostrata.beginning.commands import init
from neurostrata.cohort.discovery.layouts import HCP
from neurostrata.core.errors import UserError
from neurostrata.core.locations import RESOURCES
from neurostrata.core.text_tables import read_text_table

PEOPLE = 4


class BegunStudy(StudyFolder):
    """A study's folder, and Snakemake called in it."""

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on this study and return what it said."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )


def begin(images: Path, **options: object) -> BegunStudy:
    """Begin a study in a folder whose name has a blank, as the images' has."""
    settle(fill(images))
    study = images.parent / "my study"
    init(images, study, **options)  # type: ignore[arg-type]
    return BegunStudy(study)


def test_raw_bids_with_sessions(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "raw data", [n for p in people(PEOPLE) for s in ("1", "2") for n in raw_person(p, s)]
    )
    write_table(
        root / "participants.tsv", [f"sub-{p}" for p in people(PEOPLE)], {"age": "number", "sex": "M F"}
    )
    with pytest.raises(UserError, match="--session-label first"):
        begin(root)
    study = begin(root, session_label="first")
    jobs = study.planned()
    assert jobs["prepare_t1w"] == jobs["segment_tissue"] == PEOPLE
    assert jobs["map_to_template"] == 3 * PEOPLE
    assert "fit_tensor" not in jobs
    assert jobs["report"] == 1  # without a target, everything is made


def test_derivatives_of_fmriprep_and_qsiprep(tmp_path: Path) -> None:
    root = tmp_path / "derivatives of mine"
    plant(
        root / "fmriprep", [n for p in people(PEOPLE) for n in fmriprep_person(p)], "derivative", "fMRIPrep"
    )
    plant(root / "qsiprep", [n for p in people(PEOPLE) for n in qsiprep_person(p)], "derivative", "QSIPrep")
    study = begin(root)
    jobs = study.planned("--forcerun", "register")
    assert jobs["fit_noddi"] == PEOPLE
    assert "align_diffusion" not in jobs  # they are in the T1w image's space
    link = study.folder / "clone"
    link.unlink()
    link.symlink_to(tmp_path / "elsewhere")
    moved = study.snakemake("-n")
    assert moved.returncode == 2
    assert "the clone is no longer where the link `clone` of this study points to" in moved.stderr


def test_hcp_on_a_cluster(tmp_path: Path) -> None:
    ids = [f"10020{n}" for n in range(PEOPLE)]
    names = [name for column, name in HCP.items() if column != "grad_dev"]  # which is optional
    root = plant(tmp_path / "HCP 1200", [f"{p}/T1w/{name}" for p in ids for name in names], kind=None)
    table = read_text_table(RESOURCES / "hcp_phenotypes.tsv")
    for kind in ("unrestricted", "restricted"):
        columns = {
            n: "number" for n, where in zip(table.column("column"), table.column("hcp_file")) if where == kind
        }
        write_table(root / f"{kind}.csv", ids, columns, "Subject")
    study = begin(root)
    programs = conda_stand_in.install(tmp_path / "conda")  # which the profile asks for
    study.environment["PATH"] = f"{programs}:{study.environment['PATH']}"
    jobs = study.planned("--profile", "slurm")
    assert jobs["fit_noddi"] == PEOPLE
    assert jobs["factor_phenotypes"] == 1


def test_loose_images_with_a_table(tmp_path: Path) -> None:
    ids = [f"OAS1_000{n}" for n in range(PEOPLE)]
    root = plant(
        tmp_path / "my images", [f"{p}/{name}.nii.gz" for p in ids for name in ("T1", "flair")], kind=None
    )
    write_table(root / "people.csv", ids, {"Age": "number", **{f"v{n}": "number" for n in range(8)}}, "ID")
    study = begin(root)
    jobs = study.planned()
    assert jobs["map_to_template"] == 3 * PEOPLE
    assert jobs["factor_phenotypes"] == 1
