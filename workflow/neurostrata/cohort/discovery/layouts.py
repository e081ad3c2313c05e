"""Layouts with fixed file names: HCP (S1200 and Lifespan) and UK Biobank's bulk folders. Standard library only."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurostrata.cohort.discovery.messages import listed, ordered, people
from neurostrata.cohort.discovery.sessions import chosen_session, row_id
from neurostrata.cohort.sheet import Row, subject_id
from neurostrata.core.errors import UserError

#: Column -> file below SUBJECT/T1w in the HCP's minimally preprocessed releases.
HCP = {
    "t1w": "T1w_acpc_dc_restore.nii.gz",
    "t1w_mask": "brainmask_fs.nii.gz",
    "dwi": "Diffusion/data.nii.gz",
    "bval": "Diffusion/bvals",
    "bvec": "Diffusion/bvecs",
    "dwi_mask": "Diffusion/nodif_brain_mask.nii.gz",
    "grad_dev": "Diffusion/grad_dev.nii.gz",
}
#: Names of folders in the Lifespan studies: HCA6002236_V1_MR (person, visit).
_LIFESPAN = re.compile(r"([A-Za-z0-9]+)_(V[0-9]+)_MR")

#: Column -> field of the bulk data, and its files, of which the first that a person has is taken.
UKB: dict[str, tuple[str, tuple[str, ...]]] = {
    "t1w": ("20252", ("T1/T1.nii.gz",)),
    "t1w_mask": ("20252", ("T1/T1_brain_mask.nii.gz",)),
    "dwi": ("20250", ("dMRI/dMRI/data_ud.nii.gz",)),
    "bval": ("20250", ("dMRI/dMRI/bvals",)),
    "bvec": ("20250", ("dMRI/dMRI/data.eddy_rotated_bvecs", "dMRI/dMRI/bvecs")),
    "dwi_mask": (
        "20250",
        ("dMRI/dMRI/nodif_brain_mask_ud.nii.gz", "dMRI/dMRI.bedpostX/nodif_brain_mask.nii.gz"),
    ),
    "flair": ("20253", ("T2_FLAIR/T2_FLAIR.nii.gz",)),
}
#: EID_20252_2_0, or 20252_2_0 in a folder of the person; the number after the field is the visit.
_BULK = re.compile(r"(?:([0-9]+)_)?(2025[0-3])_([0-9]+)_[0-9]+")

Scans = dict[str, dict[str, dict[str, Path]]]  # person -> session -> column -> file


def is_there(path: Path) -> bool:
    """Tell whether there is a file, or a link to one: the check names links to contents that are not there."""
    return path.is_file() or path.is_symlink()


def hcp_scans(folder: Path) -> Scans:
    """Find the people of the HCP S1200 or a Lifespan release: SUBJECT/T1w/..., SUBJECT_V1_MR/T1w/...

    The T1w image includes the skull and comes with FreeSurfer's brain mask; the diffusion data are in T1w space
    already (set ``diffusion: {space: T1w}``).
    """
    if not folder.is_dir():
        raise UserError(f"cohort.hcp: {folder} is not a folder")
    scans: Scans = defaultdict(lambda: defaultdict(dict))
    for subject in sorted(folder.iterdir()):
        images = {column: path for column, name in HCP.items() if is_there(path := subject / "T1w" / name)}
        if "t1w" in images:
            match = _LIFESPAN.fullmatch(subject.name)
            person, session = match.groups() if match else (subject.name, "")
            for column, path in images.items():
                _add(scans, "hcp", subject_id(person), session, column, path)
    if not scans:
        below = folder / "fmriresults01"
        hint = f"; name {below} instead" if below.is_dir() else ""
        raise UserError(f"cohort.hcp: no SUBJECT/T1w/{HCP['t1w']} below {folder}{hint}")
    return scans


def ukb_scans(folder: Path) -> Scans:
    """Find the people of unpacked UK Biobank bulk data, each zip file in a folder with its name.

    EID_20252_2_0/T1/..., or EID/20252_2_0/T1/..., or (one visit only) EID/T1/... The visit (instance) is the session.
    """
    if not folder.is_dir():
        raise UserError(f"cohort.ukb: {folder} is not a folder")
    scans: Scans = defaultdict(lambda: defaultdict(dict))
    packed = 0
    for entry in sorted(folder.iterdir()):
        packed += entry.suffix == ".zip"
        if not entry.is_dir():
            continue
        match = _BULK.fullmatch(entry.name)
        if match and match.group(1):
            _ukb_images(scans, match.group(1), match.group(3), entry, match.group(2))
        elif entry.name.isdecimal():
            inside = [(m, path) for path in sorted(entry.iterdir()) if (m := _BULK.fullmatch(path.name))]
            for m, path in inside:
                if path.is_dir() and m.group(1) in (None, entry.name):
                    _ukb_images(scans, entry.name, m.group(3), path, m.group(2))
            if not inside:
                _ukb_images(scans, entry.name, "", entry, None)
    if not any("t1w" in images for sessions in scans.values() for images in sessions.values()):
        hint = f" ({packed} zip files: unpack each into a folder with its name)" if packed else ""
        raise UserError(f"cohort.ukb: no EID_20252_2_0/{UKB['t1w'][1][0]} below {folder}{hint}")
    return scans


def _ukb_images(scans: Scans, person: str, session: str, folder: Path, field: str | None) -> None:
    for column, (source, names) in UKB.items():
        if field not in (None, source):
            continue
        path = next((folder / name for name in names if is_there(folder / name)), None)
        if path is not None:
            _add(scans, "ukb", person, session, column, path)


def _add(scans: Scans, key: str, person: str, session: str, column: str, path: Path) -> None:
    """Add an image of a person's visit; two folders of one visit (a copy, say) are not chosen between."""
    known = scans[person][session].setdefault(column, path)
    if known != path:
        visit = f", visit {session}" if session else ""
        raise UserError(
            f"cohort.{key}: subject {person}{visit}: two images for {column}: {known} and {path}; keep one of them"
        )


def choose_scans(
    scans: Mapping[str, Mapping[str, Mapping[str, Path]]],
    key: str,
    sessions: str | None,
    participants: Sequence[str] | None,
) -> tuple[list[Row], list[Row], list[str]]:
    """Return rows, the origin of every cell, and notices, by the same rules on sessions as for BIDS.

    Raises
    ------
    UserError
        When people have several visits and `sessions` does not say which, or a participant was not found.
    """
    asked = set(scans)
    if participants is not None:
        asked = {str(name).strip().removeprefix("sub-") for name in participants}
        absent = sorted(asked - set(scans))
        if absent:
            raise UserError(f"cohort.participants: not found by cohort.{key}: {', '.join(absent[:10])}")
    several: list[str] = []
    rows: list[Row] = []
    sources: list[Row] = []
    named = None if sessions in (None, "first", "last", "all") else str(sessions).removeprefix("ses-")
    labels = {label for person in asked for label in scans[person]}
    if named is not None and named not in labels:
        known_labels = ", ".join(ordered(labels - {""})) or "no visits"
        raise UserError(f"cohort.sessions: there is no {named}; there are {known_labels}")
    for person in sorted(asked):
        known = ordered(scans[person])
        chosen: list[str] = known
        if named is not None:
            chosen = [named] if named in known else []
        elif sessions in ("first", "last"):
            with_t1w = [label for label in known if "t1w" in scans[person][label]] or known
            one = chosen_session(with_t1w, sessions, {})
            chosen = [] if one is None else [one]
        elif sessions is None and len(known) > 1:
            several.append(f"{person}: {', '.join(known)}")
            continue
        for position, label in enumerate(chosen):
            rows.append(_row(person, label, scans[person][label], sessions == "all", position, key, sources))
    if several:
        example = several[0].split(": ")[1].split(",")[0]
        raise UserError(
            f"cohort.{key}: {people(len(several))} with several visits; choose with cohort.sessions: {example} (or first, last, "
            f"all):{listed(several)}"
        )
    counts = {c: sum(bool(row.get(c)) for row in rows) for c in ("t1w", "dwi", "flair")}
    chosen_by = f", cohort.sessions: {sessions}" if sessions is not None else ""
    persons = len({row["person"] for row in rows})
    found = ", ".join(f"{column} {count}" for column, count in counts.items() if count or column != "flair")
    notices = [f"{people(persons)}{chosen_by}: {found}"]
    without = len(asked) - persons
    return rows, sources, notices + ([f"{people(without)} without such a visit"] if without else [])


def _row(
    person: str,
    label: str,
    images: Mapping[str, Path],
    every: bool,
    position: int,
    key: str,
    sources: list[Row],
) -> Row:
    subject = row_id(person, label) if every and label else person
    row = {"subject": subject, "person": person, "session": label}
    if every:
        row |= {"family": f"sub-{person}", "template": "no" if position else ""}
    for column, path in images.items():
        row[column] = str(path)
        sources.append(
            {
                "subject": subject,
                "person": person,
                "session": label,
                "column": column,
                "dataset": key,
                "file": str(path),
                "why": f"its place in the layout of cohort.{key}",
            }
        )
    return row
