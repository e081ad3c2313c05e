"""Notes about jobs that failed because of a mistake in their input, so that they are not retried.

A workflow manager retries every failed job. It cannot tell a job that ran out of time or memory, of which the next
attempt gets more, from one that read a broken file, which the next attempt reads again. Only a :class:`UserError` leaves a note: the
next attempt in the same run repeats its message and ends. Everything else (memory of the machine or of the GPU, a full
disk, a file server that did not answer, a bug) gets its next attempt. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from neurostrata.core.errors import UserError

#: Where the notes of this run are; not set outside the workflow.
VARIABLE = "NEUROSTRATA_FAILURES"
#: Options that differ from one attempt to the next.
_GROWING = ("--threads", "--memory-mb", "--gpus")
#: Errors of the operating system that occur again at the same call: a file is missing or is not what it should be.
_LASTING = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EEXIST,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
    }
)
#: Errors of a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Beginnings of PyTorch's errors about a GPU, or text within them; their class is RuntimeError in many versions.
_GPU = (
    "out of memory",
    "CUDA error",
    "CUDA driver error",
    "HIP error",
    "cuDNN error",
    "CUBLAS",
    "NCCL error",
)


#: Bytes from the end of earlier attempts' logs that are copied into the next one.
_LOGGED = 1 << 20


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors that it was raised from or while handling, each once."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions


def _of_the_machine(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno is not None and error.errno not in _LASTING
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in _GPU)
    )


def is_lasting(error: BaseException) -> bool:
    """Tell whether the next attempt would fail in the same way, whatever time and memory it got.

    Parameters
    ----------
    error
        What ended the job.

    Returns
    -------
    bool
        True for a :class:`UserError`, unless the machine is its cause: a file could not be read because of a stale file
        handle, a full disk or a lack of memory.
    """
    return isinstance(error, UserError) and not any(_of_the_machine(one) for one in _chain(error))


def no_space(error: BaseException) -> OSError | None:
    """Return the error about a full disk (or a used-up quota) behind an error, if there is one."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _FULL:
            return one
    return None


def _note(arguments: Sequence[str]) -> Path | None:
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    same = [
        argument
        for position, argument in enumerate(arguments)
        if argument not in _GROWING and (position == 0 or arguments[position - 1] not in _GROWING)
    ]
    return Path(folder) / hashlib.sha256("\0".join(same).encode()).hexdigest()


def failed_before(arguments: Sequence[str]) -> str | None:
    """Return the message with which the same command failed earlier in this run, if it did."""
    note = _note(arguments)
    try:
        return note.read_text(encoding="utf-8") if note else None
    except OSError:
        return None


def _of_log(folder: Path, kind: str, log: str) -> Path:
    return folder / f"{kind}-{hashlib.sha256(log.encode()).hexdigest()}"


def _own_log() -> str | None:
    """Return which file standard error goes to (Linux)."""
    try:
        path = Path("/proc/self/fd/2").readlink()
    except OSError:
        return None
    return str(path) if path.is_file() else None


def note_failure(arguments: Sequence[str], message: str) -> None:
    """Remember that a command failed, and why; without a folder for notes nothing is done.

    The next attempt looks for its command, the controller for the job's log (:func:`is_noted`).
    """
    note = _note(arguments)
    if note:
        log = _own_log()
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(message, encoding="utf-8")
            if log:
                _of_log(note.parent, "log", log).touch()
        except OSError:
            pass  # a full disk: the job is then retried


def is_noted(folder: Path, log: str | Path) -> bool:
    """Tell whether the job that writes this log has failed in this run because of a mistake in its input.

    Parameters
    ----------
    folder
        Where the notes are.
    log
        The job's log file.
    """
    return _of_log(folder, "log", os.path.realpath(log)).exists()


def _kept() -> tuple[Path | None, str | None]:
    """Return the second name of this attempt's log, and its first."""
    folder, log = os.environ.get(VARIABLE), _own_log()
    return (_of_log(Path(folder), "attempt", log) if folder and log else None), log


def earlier_attempts() -> str:
    """Return what earlier attempts of this job have logged in this run, and keep this attempt's log for the next.

    Snakemake (9.27) deletes a job's log before each attempt. A second name for the same file (a hard link) keeps it,
    even after a kill.
    """
    kept, log = _kept()
    if kept is None or log is None:
        return ""
    text = ""
    with contextlib.suppress(OSError), open(kept, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LOGGED))
        text = stream.read().decode(errors="replace")
    with contextlib.suppress(OSError):  # a file system without hard links, a full disk
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.unlink(missing_ok=True)
        os.link(log, kept)
    return text


def forget_attempts() -> None:
    """Remove the second name of the log of a job that succeeded."""
    kept, _ = _kept()
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.unlink()
