"""A folder with BIDS datasets: raw, derivatives, or several of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neurostrata.beginning.findings import Findings, Wishes
from neurostrata.beginning.tables import describing, read_tables
from neurostrata.beginning.undecided import undecided
from neurostrata.cohort.discovery.bids import Found, UndecidedImages, choose
from neurostrata.cohort.discovery.bids_candidates import OWN_SPACES, Request
from neurostrata.cohort.discovery.bids_index import IMAGES, Index, load_index, read_datasets, write_index
from neurostrata.cohort.discovery.messages import ordered
from neurostrata.cohort.discovery.participants import People, add_facts, read_people
from neurostrata.cohort.sheet import FAMILY_NAMES
from neurostrata.core.errors import UserError
from neurostrata.core.wording import count
from neurostrata.planning.results import holds_results

#: Levels of folders below a folder in which further datasets are looked for (derivatives/qsiprep/output).
_DEPTH = 3
#: Column of the sheet -> usual names of columns of participants.tsv with the same (compared in lower case).
_USUALLY = {
    "diagnosis": ("group", "dx", "diag"),
    "site": ("scanner", "scanner_id", "center", "centre", "site_id"),
    "family": FAMILY_NAMES[1:],
}
#: Folders that are never derivatives of images that can be used.
_NEVER = ("sourcedata", "work", "logs", "code", "stimuli")
#: Suffixes that are listed.
_MOST_SUFFIXES = 12
_T1W, _DWI = ("t1w", "t1w_mask"), ("dwi", "dwi_mask")


def _holds_people(folder: Path) -> bool:
    return any(name.startswith("sub-") for name in _folders_in(folder))


def _folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder; none where it may not be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except PermissionError:
        return []


def datasets_in(folder: Path, leave_out: Path, results: list[Path], depth: int = _DEPTH) -> list[Path]:
    """Return the BIDS datasets of a folder: itself, and those below it.

    Parameters
    ----------
    leave_out
        A folder that is not searched.
    results
        Filled with the results folders of other studies, which are not searched: their images are derivatives too.
    depth
        How many levels of folders are searched.
    """
    found = [folder] if _holds_people(folder) else []
    for name in _folders_in(folder) if depth else ():
        below = folder / name
        if below == leave_out or name in _NEVER or name.startswith(("sub-", "ses-", ".")):
            continue
        if holds_results(below):
            results.append(below)
        else:
            found += datasets_in(below, leave_out, results, depth - 1)
    return found


def look_at_datasets(roots: Sequence[Path], wishes: Wishes) -> Findings:
    """Return what BIDS datasets hold.

    Parameters
    ----------
    roots
        The datasets.
    wishes
        What was chosen by options.

    Raises
    ------
    UserError
        When only a person can choose, with the choices.
    """
    with tempfile.TemporaryDirectory() as cache:
        index = _index([str(root) for root in roots], Path(cache))
        used, unused = _with_images(index, wishes)
        if not used:
            present = sorted({file.suffix for file in index.files if file.extension in IMAGES} - {""})
            offered = (
                f"; there are {', '.join(present)}, which --filter-t1w suffix=... takes" if present else ""
            )
            raise UserError(
                f"{roots[0]}: no NIfTI image of kind T1w or dwi in the folders sub-*; neurostrata needs T1w images{offered}"
            )
        if len(used) < len(roots):
            index = _index(used, Path(cache))
        index.files  # noqa: B018 - read before the folder goes
    people = read_people(index.datasets, index.subjects)
    request = Request(
        columns=[*_T1W, *_DWI],
        spaces={},
        sessions=wishes.session,
        runs=int(wishes.run) if wishes.run and wishes.run.isdecimal() else wishes.run,
        filters=wishes.filters,
        participants=wishes.participants or None,
    )
    found, request, more = _choose(index, request, people)
    unused += more
    in_t1w_space = _in_t1w_space(found, index)
    if in_t1w_space:
        request = replace(request, dwi_space="T1w")
        found = choose(index, request, people.times)
    add_facts(found.rows, people, {})
    findings = Findings(
        layout=_layout(index),
        cohort=_section(used, wishes),
        rows=found.rows,
        in_t1w_space=in_t1w_space,
        notes=[*found.notices, *people.notices],
        unused=unused,
    )
    alike = {new: name for new, names in _USUALLY.items() for name in people.columns if name.lower() in names}
    if alike:
        pairs = ", ".join(f"{new}: {name}" for new, name in alike.items())
        findings.choices.append(f"  # columns: {{{pairs}}}   # columns of participants.tsv that may be these")
    labels = ordered({file.session for file in index.files if file.session})
    kinds = {file.suffix for file in index.files if file.extension in IMAGES} - {"T1w", "dwi", "mask", ""}
    findings.suffixes = sorted(kinds)[:_MOST_SUFFIXES]
    if wishes.session is not None:
        others = [label for label in (*labels, "first", "last", "all") if label != wishes.session]
        findings.comments["sessions"] = f"or {', '.join(others)}"
    paths = [str(path) for root in used for path in sorted(Path(root).glob("phenotype/*.tsv"))]
    lists = [str(path) for root in used if (path := Path(root) / "participants.tsv").is_file()]
    findings.tables, without = read_tables([*paths, *lists[:1], *wishes.tables], _ids(found))
    findings.certain = [t.path for t in findings.tables if t.variables and t.path in (*paths, *wishes.tables)]
    if not findings.certain:
        findings.certain = [t.path for t in findings.tables if t.variables and t.path in lists]
    findings.beside = describing(findings.tables, wishes.tables)
    findings.unused += without
    return findings


def _index(roots: list[str], cache: Path) -> Index:
    """Return the index of datasets, made in this process: another one would take a second to load the library."""
    read_datasets(roots)  # which says what is wrong with a folder
    write_index(roots, cache / "bids_index.tsv", cache / "bids_folders.json")
    return load_index(roots, cache)


def _ids(found: Found) -> list[str]:
    return [row["subject"] for row in found.rows]


def _with_images(index: Index, wishes: Wishes) -> tuple[list[str], list[str]]:
    """Return the folders of the datasets with images that may be used, and a line for each other dataset."""
    wanted = {"T1w", "dwi"}
    for keys in wishes.filters.values():
        suffix = keys.get("suffix") or ()
        wanted |= {suffix} if isinstance(suffix, str) else set(suffix)
    used, unused = [], []
    for number, dataset in enumerate(index.datasets):
        kinds = {f.suffix for f in index.files if f.root == number and f.extension in IMAGES}
        if kinds & wanted:
            used.append(dataset.folder)
        else:
            unused.append(f"{dataset.folder}: no T1w or diffusion-weighted images")
    return used, unused


def _choose(index: Index, request: Request, people: People) -> tuple[Found, Request, list[str]]:
    """Choose everybody's images, without diffusion data where all of them are raw."""
    unused: list[str] = []
    try:
        try:
            return choose(index, request, people.times), request, unused
        except UndecidedImages as error:
            if not error.raw_diffusion:
                raise
            raw = sum(f.suffix == "dwi" and f.extension in IMAGES for f in index.files)
            unused.append(
                f"diffusion data: {count(raw, 'file')}, all raw (no desc-preproc in their names). Preprocess them with QSIPrep, and "
                "name its output with --derivatives; or, if they are preprocessed though their names do not say so, set cohort.dwi_preprocessed: true "
                "and the modalities of the experiments"
            )
            request = replace(request, columns=list(_T1W))
            return choose(index, request, people.times), request, unused
    except UndecidedImages as error:
        raise undecided(index, request, people, error) from error


def _in_t1w_space(found: Found, index: Index) -> bool:
    """Tell whether everybody's diffusion data are in the space of the T1w image of the same dataset."""
    roots = {
        f"{dataset.folder.rstrip('/')}/{file.path}": file
        for file in index.files
        for dataset in [index.datasets[file.root]]
    }
    with_dwi = [row for row in found.rows if row.get("dwi")]

    def aligned(row: Mapping[str, str]) -> bool:
        dwi, t1w = roots[row["dwi"]], roots.get(row.get("t1w", ""))
        return dwi.entities.get("space") in OWN_SPACES and t1w is not None and t1w.root == dwi.root

    return bool(with_dwi) and all(aligned(row) for row in with_dwi)


def _layout(index: Index) -> str:
    kinds = [dataset.pipeline or ("raw" if dataset.raw else "derivatives") for dataset in index.datasets]
    names = [f"{dataset.folder} ({kind})" for dataset, kind in zip(index.datasets, kinds)]
    return f"BIDS: {', '.join(names)}"


def _section(roots: Sequence[str], wishes: Wishes) -> dict[str, object]:
    return {"sheet": None, "bids": list(roots), **dict(_chosen(wishes))}


def _chosen(wishes: Wishes) -> Iterator[tuple[str, object]]:
    """Yield the keys of `cohort` for what was chosen by options."""
    if wishes.session is not None:
        yield "sessions", wishes.session
    if wishes.run is not None:
        yield "runs", int(wishes.run) if wishes.run.isdecimal() else wishes.run
    if wishes.filters:
        yield "filters", {column: dict(keys) for column, keys in wishes.filters.items()}
    if wishes.participants:
        yield "participants", list(wishes.participants)
