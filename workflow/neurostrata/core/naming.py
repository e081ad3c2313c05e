"""File names: suffixes of two parts, and the sidecar of an image or table. Standard library only."""

from __future__ import annotations

from pathlib import Path

#: Suffixes of two parts; temporary names must keep them, since image writers choose the format by suffix.
_DOUBLE_SUFFIXES = (".nii.gz", ".tsv.gz")


def file_suffix(path: str | Path) -> str:
    """Return the suffix of a path, ``.nii.gz`` counting as one."""
    name = Path(path).name
    for suffix in _DOUBLE_SUFFIXES:
        if name.endswith(suffix):
            return suffix
    return Path(name).suffix


def file_stem(path: str | Path) -> str:
    """Return the name of a path without its suffix."""
    name = Path(path).name
    return name[: len(name) - len(file_suffix(name))]


def sidecar_path(path: str | Path) -> Path:
    """Return the JSON sidecar's path of an image or table: ``x.nii.gz`` -> ``x.json``."""
    return Path(path).with_name(file_stem(path) + ".json")
