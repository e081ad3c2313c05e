"""Notes about jobs that failed by themselves, so that they are not done again in vain.

A workflow manager tries a failed job again, and cannot tell a job that ran out of time or memory, which
the next attempt gets more of, from one that met a broken file, which it meets again. Only the latter lives
to write a note; its next attempt in the same run repeats the message and ends. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

#: Where the notes of this run are; not set outside the workflow.
VARIABLE = "NEUROSTRATA_FAILURES"
#: Options that differ from one attempt to the next.
_GROWING = ("--threads", "--memory-mb", "--gpus")


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
    """Return the message with which this very command failed earlier in this run, if it did."""
    note = _note(arguments)
    try:
        return note.read_text(encoding="utf-8") if note else None
    except OSError:
        return None


def note_failure(arguments: Sequence[str], message: str) -> None:
    """Remember that a command failed, and why; without a folder for notes nothing is done."""
    note = _note(arguments)
    if note:
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(message, encoding="utf-8")
        except OSError:
            pass  # a full disk: the job is then simply tried again
