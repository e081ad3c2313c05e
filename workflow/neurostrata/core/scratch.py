"""The temporary folder of a stage, removed when the stage ends, and the folders of stages that were killed. Standard library only.

Libraries leave things in TMPDIR (compiled kernels, sockets, half-written images) on thousands of nodes' local disks. A
stage that ends, or is asked to end, removes its folder itself; one that is killed cannot, so the next stage on that
machine does. A lock tells whether a folder is in use; the kernel releases it when the process and all that it
started are dead. Process numbers would not do: they are reused, and containers that share a folder count their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "neurostrata-"


def _names() -> str:
    """Return the prefix of this host's folders: where hosts share a folder, a lock may be visible on one host only."""
    return f"{_PREFIX}{re.sub(r'[^A-Za-z0-9.]', '_', socket.gethostname())}-"


def _lock(folder: str | Path) -> int | None:
    """Lock a folder and return the descriptor that holds the lock; None when another process has it, or the file system has no locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def remove_left_folders(place: str | Path) -> list[str]:
    """Remove the folders that this user's dead stages left on this host.

    Parameters
    ----------
    place
        Where temporary folders are made.

    Returns
    -------
    list of str
        Names of the folders that were removed.
    """
    removed: list[str] = []
    try:
        entries = [entry for entry in os.scandir(place) if entry.name.startswith(_names())]
    except OSError:
        return removed
    for entry in entries:
        try:
            mine = (
                entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            )
        except OSError:
            continue  # another stage has just removed it
        descriptor = _lock(entry.path) if mine else None
        if descriptor is not None:
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(descriptor)
            removed.append(entry.name)
    return removed


def _make_locked(place: str) -> tuple[Path, int | None]:
    """Make a folder that is locked before it gets the name by which others find it."""
    hidden = Path(tempfile.mkdtemp(prefix=".neurostrata-", dir=place))
    descriptor = _lock(hidden)
    # Without locks (some network file systems) it must not look like the folder of a dead stage.
    name = _names() if descriptor is not None else f"{_PREFIX}unlocked-"
    folder = hidden.with_name(name + hidden.name.rpartition("-")[2])
    hidden.rename(folder)
    return folder, descriptor


@contextlib.contextmanager
def own_folder() -> Iterator[None]:
    """Put temporary files of the block into a folder of this process, and remove it in the end.

    A stage that is asked to end (SIGTERM) cleans up too.
    """

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before, folder = os.environ.get("TMPDIR"), tempfile.tempdir
    main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGTERM, end) if main_thread else None
    place = tempfile.gettempdir()
    remove_left_folders(place)
    own, descriptor = _make_locked(place)
    try:
        os.environ["TMPDIR"] = tempfile.tempdir = str(own)
        yield
    finally:
        shutil.rmtree(own, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)
        tempfile.tempdir = folder
        if before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before
        if main_thread:
            signal.signal(signal.SIGTERM, handler)
