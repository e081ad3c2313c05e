"""Writing files atomically, so that a killed job never leaves a partial file that looks complete."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurostrata import __version__
from neurostrata.core import records
from neurostrata.core.errors import UserError
from neurostrata.core.naming import file_suffix, sidecar_path
from neurostrata.core.records import sha256_file

__all__ = [
    "atomic_directory",
    "atomic_path",
    "file_suffix",
    "read_json",
    "settings_record",
    "sha256_file",
    "sidecar_path",
    "write_json",
    "write_sidecar",
]


@contextmanager
def atomic_path(path: str | Path, *, record: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; move it there when the block succeeds, else delete it.

    Parameters
    ----------
    path
        Of the finished file. Its folder is made when it is missing.
    record
        Whether a running stage leaves a record of the file (:mod:`neurostrata.core.records`), as it should of files that
        other stages read.

    Yields
    ------
    Path
        A name in the same folder with the same suffix (so that writers choose the right format).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.name.split('.')[0]}-", suffix=file_suffix(path), dir=path.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; give the mode that a plain open() would have given.
        os.chmod(temporary, 0o666 & ~_umask())
        digest = sha256_file(temporary) if record and records.is_recording() else None
        records.forget(path)
        os.replace(temporary, path)
        if digest:
            records.remember(path, digest)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, which replaces `path` when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        umask = _umask()
        os.chmod(temporary, 0o777 & ~umask)
        for part in temporary.rglob("*"):  # other libraries may write private files
            if not part.is_symlink():
                part.chmod((0o777 if part.is_dir() else 0o666) & ~umask)
        records.remember_folder(temporary, path.name)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def writable_folder(path: str | Path) -> None:
    """Make a folder where it is missing, and make sure that files can be written to it.

    Raises
    ------
    UserError
        When they cannot.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def absence(path: str | Path) -> str:
    """Say of a file that is not there whether a link names it, as DataLad's do until their contents are fetched."""
    path = Path(path)
    if not path.is_symlink():
        return "no such file"
    target = str(path.readlink())
    hint = " (fetch it: datalad get, or git annex get)" if "/annex/objects/" in target else ""
    return f"is a link to {target}, which is not there{hint}"


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; NaN is refused."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a :class:`UserError` names the file when it is missing, broken or not as its stage wrote it."""
    records.check(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not valid JSON ({error})") from error


def write_sidecar(path: str | Path, **content: Any) -> None:
    """Write the JSON sidecar of `path`; the version of this package is added."""
    write_json(
        sidecar_path(path), {**content, "GeneratedBy": {"Name": "neurostrata", "Version": __version__}}
    )


def settings_record(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in the form that sidecars hold: plain values, sorted keys."""
    return json.loads(json.dumps(settings, sort_keys=True))
