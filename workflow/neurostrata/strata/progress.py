"""Lines in a job's log that say how far a long search is."""

from __future__ import annotations

import sys

from neurostrata.strata.finders.interface import Progress


def progress_lines(label: str) -> Progress:
    """Return a function that prints a line at every tenth of the way."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // total
        if tenth > shown:
            shown = tenth
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)

    return show
