"""Finding full disks, on which neither logs nor records can say what happened. Standard library only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from neurostrata.core.failures import no_space

#: Bytes that are written to find out: more than a log or a record takes, less than any image.
LITTLE = 1 << 18


def full(folders: Iterable[Path]) -> list[Path]:
    """Return those of these folders in which nothing more can be written: disk full, or a quota used up.

    Parameters
    ----------
    folders
        Folders that do not exist, and folders on the disk of an earlier one, are left out.
    """
    found: list[Path] = []
    disks: set[int] = set()
    for folder in folders:
        if not folder.is_dir() or folder.stat().st_dev in disks:
            continue
        disks.add(folder.stat().st_dev)
        try:
            with tempfile.TemporaryFile(dir=folder) as stream:
                stream.write(os.urandom(LITTLE))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            if no_space(error):
                found.append(folder.resolve())
    return found
