"""The index of BIDS datasets: every image with its entities, kept until a folder changes.

The library bids2table reads the names in a separate process, so that the process that parses the workflow neither
imports the library nor keeps its memory. The rest of this module uses the standard library only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, sha256_file, write_json
from neurostrata.core.locations import LIBRARY

#: Raised when the index has other content for the same folders.
_FORMAT = 1
#: Extensions of the files that are kept.
IMAGES = (".nii.gz", ".nii")
_KEPT = (*IMAGES, ".bval", ".bvec")
_SUBJECT_FOLDER = re.compile(r"sub-([A-Za-z0-9]+)")
#: A folder that changed less than so many seconds ago may change again within one tick of its time: it is read again.
_SETTLED_S = 2.0
#: Entities whose values are numbers: run-01 and run-1 are the same.
NUMBERED = ("run", "echo", "flip", "inv", "split", "chunk")
_HEADER = ("root", "path", "subject", "session", "datatype", "suffix", "extension", "entities")


@dataclass(frozen=True)
class Dataset:
    """One dataset: its folder as configured, its name in messages, its pipeline, and whether it says that it is raw."""

    folder: str
    name: str
    pipeline: str
    raw: bool


@dataclass(frozen=True)
class File:
    """One file of a dataset; `entities` are those of its name except ``sub`` and ``ses``, run numbers without zeros."""

    root: int
    path: str
    subject: str
    session: str
    datatype: str
    suffix: str
    extension: str
    entities: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Its folder below the root, "" for the root itself."""
        return self.path.rpartition("/")[0]


@dataclass
class Index:
    """All files and people of some datasets."""

    datasets: list[Dataset]
    #: The table of all files.
    table: Path
    #: Subjects that have a folder in some root.
    subjects: list[str]
    #: Folders whose names begin with ``sub-`` and have other characters than letters and digits after it.
    strange: list[str]
    #: Changes when the folders change.
    digest: str

    @cached_property
    def files(self) -> list[File]:
        """All files, read on first use; they are not needed when nothing has changed."""
        return _read(self.table)


def _description(folder: Path) -> dict[str, Any]:
    path = folder / "dataset_description.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"cohort.bids: {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(
            f"cohort.bids: {path}: is not valid JSON{line}; correct it or copy it again"
        ) from error
    return content if isinstance(content, dict) else {}


def read_datasets(folders: Sequence[str]) -> list[Dataset]:
    """Return the datasets as their ``dataset_description.json`` describes them.

    Raises
    ------
    UserError
        When a dataset is not a folder, is given twice, or has no ``sub-*`` folder (datasets below it are named).
    """
    found: list[Dataset] = []
    seen: dict[str, str] = {}
    for text in folders:
        folder = Path(text)
        if not folder.is_dir():
            raise UserError(f"cohort.bids: {folder} is not a folder")
        real = str(folder.resolve())
        if real in seen:
            raise UserError(f"cohort.bids: {folder} is the same folder as {seen[real]}; name it once")
        seen[real] = text
        if not any(entry.name.startswith("sub-") for entry in os.scandir(folder)):
            below = [str(path) for path in _datasets_below(folder)]
            hint = f"; name the datasets below it instead: {', '.join(below)}" if below else ""
            raise UserError(f"cohort.bids: no sub-* folder in {folder}{hint}")
        said = _description(folder)
        made = said.get("GeneratedBy") or said.get("PipelineDescription") or []
        first = made[0] if isinstance(made, list) and made else made
        pipeline = str(first.get("Name", "")) if isinstance(first, dict) else ""
        kind = str(said.get("DatasetType", "derivative" if made else "raw")).lower()
        found.append(Dataset(text, folder.resolve().name, pipeline, kind == "raw"))
    names = [dataset.name for dataset in found]
    return [
        dataset if names.count(dataset.name) == 1 else Dataset(d.folder, d.folder, d.pipeline, d.raw)
        for dataset in found
        for d in [dataset]
    ]


def _datasets_below(folder: Path) -> list[Path]:
    candidates = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[:1] != "."]
    candidates += [path for top in candidates for path in sorted(top.glob("*")) if path.is_dir()]
    return [path for path in candidates if any(path.glob("sub-*/"))][:5]


def _walk(top: str, times: dict[str, int], now: float) -> Iterator[str]:
    """Yield the files of a folder and all folders below it, and note the folders' times; links are followed once."""
    waiting, visited = [top], set()
    while waiting:
        folder = waiting.pop()
        status = os.stat(folder)  # noqa: PTH116 - ten thousands of them
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        # noted before the names are read, so that a change in between is found the next time
        times[folder] = -1 if now - status.st_mtime < _SETTLED_S else status.st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                elif entry.name.endswith(_KEPT):
                    yield entry.path


def _unchanged(times: Mapping[str, int]) -> bool:
    try:
        return all(os.stat(f).st_mtime_ns == known for f, known in times.items())  # noqa: PTH116
    except OSError:
        return False


def load_index(folders: Sequence[str], cache: Path) -> Index:
    """Return the index of some datasets, from `cache` when no folder has changed since.

    Parameters
    ----------
    folders
        The datasets, raw or derivatives.
    cache
        Folder for ``bids_index.tsv`` (the files) and ``bids_folders.json`` (the times of all folders).

    Raises
    ------
    UserError
        When a dataset is unusable, the library is missing, or a file is in the folder of another person.
    """
    datasets = read_datasets(folders)
    table, state = cache / "bids_index.tsv", cache / "bids_folders.json"
    try:
        known = json.loads(state.read_text(encoding="utf-8"))
        fresh = (
            known["format"] == _FORMAT
            and known["roots"] == list(folders)
            and known["sha256"] == sha256_file(table)
            and _unchanged(known["times"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        fresh = False
    if not fresh:
        state.unlink(missing_ok=True)
        _renew(folders, table, state)
        known = json.loads(state.read_text(encoding="utf-8"))
    people, strange = set(), []
    for dataset in datasets:
        with os.scandir(dataset.folder) as entries:
            folders_there = sorted(e.name for e in entries if e.name.startswith("sub-") and e.is_dir())
        for name in folders_there:
            match = _SUBJECT_FOLDER.fullmatch(name)
            if match:
                people.add(match.group(1))
            else:
                strange.append(f"{dataset.folder}/{name}")
    said = json.dumps([vars(dataset) for dataset in datasets])
    return Index(datasets, table, sorted(people), strange, f"{known['state']} {said}")


def _renew(folders: Sequence[str], table: Path, state: Path) -> None:
    library = str(LIBRARY)
    command = [sys.executable, "-m", "neurostrata.cohort.discovery.bids_index", json.dumps(list(folders))]
    environment = {**os.environ, "PYTHONPATH": library}
    run = subprocess.run([*command, str(table), str(state)], env=environment, capture_output=True, text=True)
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.strip()] or ["no message"]
        raise UserError(f"cohort.bids: the folders could not be indexed: {lines[-1]}")


def write_index(folders: Sequence[str], table: Path, state: Path) -> None:
    """Write the index: the names of images and gradients with their entities, and the folders' times.

    The folders are walked here, since the library refuses datasets with a dot in their name (``fmriprep-23.1.0``),
    takes brackets for a pattern, does not see gradients beside the subjects, and takes eight times as long.
    """
    try:
        from bids2table import parse_bids_entities
    except ImportError as error:
        raise UserError(
            f"the package bids2table is missing ({error}); install requirements.txt, or envs/controller.yaml"
        ) from error
    lines = ["\t".join(_HEADER)]
    times: dict[str, int] = {}
    now = time.time()
    for number, folder in enumerate(folders):
        status = os.stat(folder)  # noqa: PTH116 - ten thousands of them
        times[folder] = -1 if now - status.st_mtime < _SETTLED_S else status.st_mtime_ns
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir():
                paths: Iterable[str] = (
                    _walk(entry.path, times, now) if _SUBJECT_FOLDER.fullmatch(entry.name) else ()
                )
            else:  # gradients that everybody inherits
                paths = [entry.path] if entry.name.endswith((".bval", ".bvec")) else ()
            for full in sorted(paths):
                path = os.path.relpath(full, folder)
                name = path.rpartition("/")[2]
                if name.startswith("sub-") == ("/" in path) and not set("\t\n") & set(path):
                    lines.append(_line(number, path, parse_bids_entities(path)))
    with atomic_path(table) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    content = {"format": _FORMAT, "roots": list(folders), "sha256": sha256_file(table), "times": times}
    write_json(state, content | {"state": os.urandom(8).hex()})


def _line(number: int, path: str, entities: Mapping[str, str]) -> str:
    special = {
        key: entities.get(short, "")
        for key, short in (
            ("subject", "sub"),
            ("session", "ses"),
            ("datatype", "datatype"),
            ("suffix", "suffix"),
            ("extension", "ext"),
        )
    }
    rest = {k: v for k, v in entities.items() if k not in ("sub", "ses", "datatype", "suffix", "ext")}
    rest |= {k: str(int(rest[k])) for k in NUMBERED if rest.get(k, "").isdecimal()}
    words = "_".join(f"{key}-{value}" for key, value in rest.items())
    return "\t".join([str(number), Path(path).as_posix(), *special.values(), words])


def _read(table: Path) -> list[File]:
    files = []
    with open(table, encoding="utf-8", errors="surrogateescape") as stream:
        next(stream)
        for line in stream:
            root, path, subject, session, datatype, suffix, extension, words = line[:-1].split("\t")
            entities = dict(word.split("-", 1) for word in words.split("_")) if words else {}
            folders = path.split("/")
            if len(folders) > 2 and folders[1].startswith("ses-"):
                session = session or folders[1][4:]
                if session != folders[1][4:]:
                    raise UserError(f"cohort.bids: {path}: a file of ses-{session} is in {folders[1]}")
            if subject and folders[0] != f"sub-{subject}":
                raise UserError(f"cohort.bids: {path}: a file of sub-{subject} is in {folders[0]}")
            files.append(File(int(root), path, subject, session, datatype, suffix, extension, entities))
    return files


if __name__ == "__main__":
    try:
        write_index(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
    except UserError as problem:
        sys.exit(str(problem))
