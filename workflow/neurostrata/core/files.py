"""Writing files so that a killed job never leaves a half file that looks whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurostrata import __version__
from neurostrata.core.errors import UserError

#: Suffixes of two parts; temporary names must keep them, image writers choose the format by them.
_DOUBLE_SUFFIXES = (".nii.gz", ".tsv.gz")


def file_suffix(path: str | Path) -> str:
    """Return the suffix of a path, ``.nii.gz`` counting as one."""
    name = Path(path).name
    for suffix in _DOUBLE_SUFFIXES:
        if name.endswith(suffix):
            return suffix
    return Path(name).suffix


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it there when the block ends well, else delete it.

    Parameters
    ----------
    path
        Where the finished file shall stand. Its folder is made when it is missing.

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
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it takes the place of `path` when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o777 & ~umask)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; NaN is refused."""
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a :class:`UserError` names the file when it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: is not valid JSON ({error})") from error


def sidecar_path(path: str | Path) -> Path:
    """Return the JSON sidecar's path of an image or table: ``x.nii.gz`` -> ``x.json``."""
    path = Path(path)
    return path.with_name(path.name[: len(path.name) - len(file_suffix(path))] + ".json")


def write_sidecar(path: str | Path, **content: Any) -> None:
    """Write the JSON sidecar of `path`; the version that made it is added."""
    write_json(
        sidecar_path(path), {**content, "GeneratedBy": {"Name": "neurostrata", "Version": __version__}}
    )


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def settings_record(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they go into a sidecar: plain, sorted."""
    return json.loads(json.dumps(settings, sort_keys=True))
