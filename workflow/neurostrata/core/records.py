"""Records of results: the checksum of each file as its stage wrote it, checked before the file is used.

A result is trusted only if it is as its stage wrote it. Every file that a later stage reads has a record in the hidden
folder ``.sha256`` next to it, one for a file and its sidecar, in the format of ``sha256sum`` (``cd FOLDER; sha256sum -c
.sha256/*.sha256`` checks a folder without this library). Names in it are relative, so a results folder can be moved or
copied. A file without a record (raw data, results of a release before there were records) is read as it is.

A record and its file never disagree because a job was killed: a file's line is removed before the file is
replaced, and written afterwards. Killed in between, the file has no record, and Snakemake makes it again anyway.

Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neurostrata.core.errors import UserError
from neurostrata.core.naming import file_stem

#: Hidden folder of the records, in each folder of results.
FOLDER = ".sha256"
_SUFFIX = ".sha256"
#: Hexadecimal digits kept of a row's checksum: 64 bits, against damage and edits, not against forgery.
_ROW_DIGITS = 16

_stage: str | None = None


class DamagedError(UserError):
    """A result is not as its stage wrote it, or a part of it is gone."""


@dataclass
class _Record:
    """What stands in a record.

    Attributes
    ----------
    stage
        Which stage wrote the files.
    whole
        The folder that the files are a part of and are made again with; "" for files of their own.
    digests
        Name -> SHA-256, in the order in which they were written.
    """

    stage: str = ""
    whole: str = ""
    digests: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def recording(stage: str) -> Iterator[None]:
    """Record the files that are written inside the block, under the name of a stage."""
    global _stage
    before, _stage = _stage, stage
    try:
        yield
    finally:
        _stage = before


def is_recording() -> bool:
    """Tell whether a stage is running whose results are recorded."""
    return _stage is not None


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_path(path: str | Path) -> Path:
    """Return where the record of a file is; its sidecar has the same."""
    path = Path(path)
    return path.parent / FOLDER / (file_stem(path) + _SUFFIX)


def _rows_path(path: Path) -> Path:
    return path.parent / FOLDER / f"{path.name}.rows"


def _read(path: Path) -> _Record | None:
    """Read the record of a file; None when there is none."""
    try:
        text = record_path(path).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{record_path(path)}: cannot be read ({error.strerror})") from error
    record = _Record()
    for line in text.splitlines():
        if line.startswith("# stage: "):
            record.stage = line.removeprefix("# stage: ")
        elif line.startswith("# part of: "):
            record.whole = line.removeprefix("# part of: ")
        elif "  " in line:
            digest, _, name = line.partition("  ")
            record.digests[name] = digest
    return record


def _replace(target: Path, text: str) -> None:
    """Write a small file atomically."""
    handle, name = tempfile.mkstemp(prefix=".", dir=target.parent)
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def _write(path: Path, record: _Record) -> None:
    target = record_path(path)
    if not record.digests:
        target.unlink(missing_ok=True)
        return
    target.parent.mkdir(exist_ok=True)
    lines = [f"# stage: {record.stage}", *([f"# part of: {record.whole}"] if record.whole else [])]
    lines += [f"{digest}  {name}" for name, digest in record.digests.items()]
    _replace(target, "\n".join(lines) + "\n")


def forget(path: str | Path) -> None:
    """Take a file out of its record; to be done before another file takes its place."""
    path = Path(path)
    _rows_path(path).unlink(missing_ok=True)
    record = _read(path)
    if record is not None and record.digests.pop(path.name, None) is not None:
        _write(path, record)


def remember(path: str | Path, digest: str | None = None, whole: str = "") -> None:
    """Record the checksum of a file; does nothing while no stage is running.

    Parameters
    ----------
    path
        A finished file.
    digest
        Its SHA-256 where it is known already.
    whole
        Name of the folder that it is a part of and is made again with.
    """
    if _stage is None:
        return
    path = Path(path)
    record = _read(path) or _Record()
    record.stage, record.whole = _stage, whole
    record.digests.pop(path.name, None)
    record.digests[path.name] = digest or sha256_file(path)
    _write(path, record)


def remember_folder(folder: Path, name: str) -> None:
    """Record the checksums of the files of a folder that is one result.

    Parameters
    ----------
    folder
        The finished folder, perhaps still under a temporary name.
    name
        The name that it will have.
    """
    if _stage is None:
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            known = _read(path)
            digest = known.digests.get(path.name) if known else None
            remember(path, digest, "/".join([".."] * (len(path.relative_to(folder).parts) - 1) + [name]))


def _main_file(record: _Record, path: Path) -> Path:
    """Return what to delete so that a file is made again: itself, the file that it describes, or the whole folder."""
    if record.whole:
        up = record.whole.count("../")
        return path.parents[up]
    main = [name for name in record.digests if not name.endswith(".json")]
    return path.with_name(main[0]) if main else path


def _way_out(record: _Record, path: Path) -> str:
    return f"delete {_main_file(record, path)} and run again"


def is_expected(path: str | Path) -> bool:
    """Tell whether a file is there.

    Raises
    ------
    DamagedError
        When it is gone but the rest of its result is not: only a result that is gone altogether is made again.
    """
    path = Path(path)
    if path.is_file():
        return True
    record = _read(path)
    if record is not None and path.name in record.digests:
        main = _main_file(record, path)
        if main != path and main.exists():
            raise DamagedError(f"{path}: is gone, though {record.stage} wrote it; {_way_out(record, path)}")
    return False


def check(path: str | Path) -> bool:
    """Compare a file with its record.

    Returns
    -------
    bool
        Whether it has one.

    Raises
    ------
    DamagedError
        When it is not as its stage wrote it, or is gone from a result that is there.
    """
    path = Path(path)
    record = _read(path)
    if record is None or path.name not in record.digests or not is_expected(path):
        return False
    try:
        digest = sha256_file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if digest != record.digests[path.name]:
        raise DamagedError(
            f"{path}: is not as {record.stage or 'its stage'} wrote it (damaged or edited); {_way_out(record, path)}"
        )
    return True


def row_digest(content: bytes | memoryview) -> str:
    """Return the checksum of a row of a large array, or of the header before the first row."""
    return hashlib.sha256(content).hexdigest()[:_ROW_DIGITS]


def remember_rows(path: str | Path, header: str, rows: Sequence[str]) -> None:
    """Record the checksums of a large array's header and rows, so that rows can be checked as they are read."""
    if _stage is None:
        return
    path = Path(path)
    target = _rows_path(path)
    target.parent.mkdir(exist_ok=True)
    _replace(target, "\n".join([f"# stage: {_stage}", header, *rows]) + "\n")


def rows_of(path: str | Path) -> tuple[str, list[str]] | None:
    """Return the checksums of a large array's header and rows; None when there is no record."""
    try:
        lines = _rows_path(Path(path)).read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{_rows_path(Path(path))}: cannot be read ({error.strerror})") from error
    digests = [line for line in lines if not line.startswith("#")]
    return (digests[0], digests[1:]) if digests else ("", [])
