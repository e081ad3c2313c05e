"""Trees of empty files in the manner of BIDS datasets, for the tests of the cohort."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

LISTS = Path(__file__).parent / "bids_trees"


def plant(root: Path, names: Iterable[str], kind: str | None = "raw", pipeline: str = "") -> Path:
    """Make empty files below `root`, and a description of the dataset unless `kind` is None."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    root.mkdir(parents=True, exist_ok=True)
    if kind is not None:
        said = {"Name": root.name, "BIDSVersion": "1.10.0", "DatasetType": kind}
        if pipeline:
            said |= {"GeneratedBy": [{"Name": pipeline}]}
        (root / "dataset_description.json").write_text(json.dumps(said))
    return root


def listed(root: Path, name: str, kind: str | None = "raw", pipeline: str = "") -> Path:
    """Plant the names of a list in bids_trees/."""
    lines = (LISTS / f"{name}.txt").read_text().splitlines()
    files = [line for line in lines if line and not line.startswith("#")]
    return plant(root, files, kind, pipeline)


def settle(root: Path) -> None:
    """Make the folders as old as those of a real study (what changed just now is looked at again)."""
    past = time.time() - 3600
    for folder, _, _ in os.walk(root):
        os.utime(folder, (past, past))


def raw_person(
    person: str, session: str = "", t1w: Iterable[str] = ("",), dwi: Iterable[str] = ("",)
) -> list[str]:
    """Return the names of one raw session; `t1w` and `dwi` are the entities of several images, e.g. ``run-1_``."""
    place = f"sub-{person}/" + (f"ses-{session}/" if session else "")
    stem = f"sub-{person}_" + (f"ses-{session}_" if session else "")
    names = [f"{place}anat/{stem}{e}T1w.{x}" for e in t1w for x in ("nii.gz", "json")]
    return names + [f"{place}dwi/{stem}{e}dwi.{x}" for e in dwi for x in ("nii.gz", "json", "bval", "bvec")]


def fmriprep_person(person: str) -> list[str]:
    """Return what fMRIPrep writes of the anatomy of one person (with several sessions as well)."""
    stem = f"sub-{person}/anat/sub-{person}_"
    standard = f"{stem}space-MNI152NLin2009cAsym_res-2_"
    return [
        *(f"{start}desc-preproc_T1w.{x}" for start in (stem, standard) for x in ("nii.gz", "json")),
        *(f"{start}desc-brain_mask.nii.gz" for start in (stem, standard)),
        f"{stem}dseg.nii.gz",
        f"{stem}from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        f"sub-{person}/figures/sub-{person}_desc-conform_T1w.html",
    ]


def qsiprep_person(person: str, session: str = "", space: str = "ACPC", entities: str = "") -> list[str]:
    """Return what QSIPrep writes of one person: its anatomy once, diffusion data for each session."""
    anat = f"sub-{person}/anat/sub-{person}_" + ("space-ACPC_" if space == "ACPC" else "")
    place = f"sub-{person}/" + (f"ses-{session}/" if session else "")
    stem = f"sub-{person}_" + (f"ses-{session}_" if session else "")
    dwi = f"{place}dwi/{stem}{entities}space-{space}_"
    return [
        f"{anat}desc-preproc_T1w.nii.gz",
        f"{anat}desc-brain_mask.nii.gz",
        f"sub-{person}/anat/sub-{person}_space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz",
        *([f"{place}anat/{stem}from-orig_to-anat_mode-image_xfm.txt"] if session else []),
        *(f"{dwi}desc-preproc_dwi.{x}" for x in ("nii.gz", "bval", "bvec", "json", "b")),
        f"{dwi}desc-brain_mask.nii.gz",
        f"{dwi}dwiref.nii.gz",
        f"{dwi}model-eddy_stat-cnr_dwimap.nii.gz",
    ]
