"""Finding people's images without a sheet: BIDS folders and the HCP S1200 layout. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurostrata.cohort.sheet import IMAGES, Row, subject_id
from neurostrata.core.errors import UserError

COLUMNS = ["subject", *IMAGES, "session"]

#: File of each sheet column below SUBJECT/T1w in the HCP's minimally preprocessed release.
_HCP = {
    "t1w": "T1w_acpc_dc_restore.nii.gz",
    "t1w_mask": "brainmask_fs.nii.gz",
    "dwi": "Diffusion/data.nii.gz",
    "bval": "Diffusion/bvals",
    "bvec": "Diffusion/bvecs",
    "dwi_mask": "Diffusion/nodif_brain_mask.nii.gz",
    "grad_dev": "Diffusion/grad_dev.nii.gz",
}


def discover_hcp(folder: str | Path) -> list[Row]:
    """Return one row per subject folder below `folder` that has a ``T1w`` folder.

    The T1w image keeps its skull and comes with FreeSurfer's brain mask; the diffusion data are
    already in T1w space there (set ``diffusion: {space: T1w}``).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"cohort.hcp: {folder} is not a folder")
    rows = []
    for subject in sorted(folder.iterdir()):
        images = {column: subject / "T1w" / name for column, name in _HCP.items()}
        if images["t1w"].is_file():
            row = {column: str(path) if path.is_file() else "" for column, path in images.items()}
            rows.append({"subject": subject_id(subject.name), **row, "session": ""})
    if not rows:
        raise UserError(f"cohort.hcp: no SUBJECT/T1w/{_HCP['t1w']} below {folder}")
    return rows


def _first(folder: Path, *patterns: str) -> str:
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if "_space-" not in path.name)
        if found:
            return str(found[0])
    return ""


def _gradient_file(dwi: Path, suffix: str) -> str:
    path = dwi.with_name(dwi.name.removesuffix(".nii.gz").removesuffix(".nii") + suffix)
    return str(path) if path.is_file() else ""


def discover_bids(folders: Sequence[str | Path]) -> list[Row]:
    """Return one row per ``sub-*`` folder of one or more BIDS datasets, raw or derivatives.

    An image is taken from the first dataset that has it; with several sessions the first one that has
    a T1w image is used, and named in ``session``. Only native-space images are taken.
    """
    rows: dict[str, Row] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UserError(f"cohort.bids: {folder} is not a folder")
        for subject in sorted(path for path in folder.glob("sub-*") if path.is_dir()):
            identity = subject_id(subject.name)
            row = rows.setdefault(identity, dict.fromkeys(COLUMNS, "") | {"subject": identity})
            sessions = sorted(path for path in subject.glob("ses-*") if path.is_dir()) or [subject]
            chosen = [s for s in sessions if row["session"] and s.name == f"ses-{row['session']}"]
            with_t1w = [s for s in sessions if _first(s, "anat/*_T1w.nii.gz", "anat/*_T1w.nii")]
            session = (chosen or with_t1w or sessions)[0]
            if not row["session"] and session != subject:
                row["session"] = session.name.removeprefix("ses-")
            found = {
                "t1w": _first(
                    session, "anat/*desc-preproc_T1w.nii.gz", "anat/*_T1w.nii.gz", "anat/*_T1w.nii"
                ),
                "t1w_mask": _first(session, "anat/*desc-brain_mask.nii.gz"),
                "dwi": _first(session, "dwi/*desc-preproc_dwi.nii.gz", "dwi/*_dwi.nii.gz", "dwi/*_dwi.nii"),
                "dwi_mask": _first(session, "dwi/*desc-brain_mask.nii.gz"),
            }
            if found["dwi"]:
                found["bval"] = _gradient_file(Path(found["dwi"]), ".bval")
                found["bvec"] = _gradient_file(Path(found["dwi"]), ".bvec")
            if row["dwi"]:  # gradients and mask belong to the image they came with
                for column in ("dwi", "bval", "bvec"):
                    found.pop(column, None)
            for column, path in found.items():
                row[column] = row[column] or path
    if not rows:
        raise UserError(f"cohort.bids: no sub-* folder in {', '.join(map(str, folders))}")
    return [rows[subject] for subject in sorted(rows)]
