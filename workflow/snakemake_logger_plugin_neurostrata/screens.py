"""Where progress is shown: a few lines that move in a terminal, lines now and then elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from neurostrata.controller.progress import AtWork, overall, percent, stage_line, stage_words

#: Stages that have a line of their own in a terminal; others are counted.
MOST_STAGES = 4
#: Without a terminal, a line is due when so many percent more are done and so many seconds have passed,
STEP_PERCENT = 5
PAUSE_S = 10
#: or after so many seconds, in a long run after such a part of its time so far.
SILENCE_S = 60
SILENCE_PART = 1 / 8


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    done, total
        Jobs.
    left
        Seconds left, where that is known.
    stages
        At work.
    elapsed
        Seconds since the first job.
    failed
        Jobs that have failed.
    note
        What is said in place of all this, before the first job.
    """

    done: int = 0
    total: int = 0
    left: float | None = None
    stages: Sequence[AtWork] = ()
    elapsed: float = 0.0
    failed: int = 0
    note: str = ""


class Plain:
    """Lines for a file, a pipe or a terminal that can only write lines."""

    every_s = 5.0

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._said = 0.0
        self._percent = 0

    def say(self, text: str, style: str = "") -> None:
        """Write a message, unless its reader has gone (``| head``): the run goes on without one."""
        try:
            print(text, file=self.stream, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def show(self, status: Status) -> None:
        """Write a line when one is due."""
        if status.note or not status.total:
            return
        now_at = percent(status.done, status.total)
        silent = status.elapsed - self._said
        step = now_at >= self._percent + STEP_PERCENT and silent >= PAUSE_S
        if now_at < 100 and (step or silent >= max(SILENCE_S, status.elapsed * SILENCE_PART)):
            self._said, self._percent = status.elapsed, now_at
            self.say(f"[{time.strftime('%H:%M:%S')}] {_in_one_line(status)}")

    def close(self) -> None:
        """Nothing has to be cleaned up."""


def _words(status: Status) -> str:
    return overall(status.done, status.total, status.left) + (
        f", {status.failed} failed" if status.failed else ""
    )


def _in_one_line(status: Status) -> str:
    parts = [_words(status)]
    # The last ones are the furthest; those that only started say little.
    for stage in status.stages[-2:]:
        parts.append(f"{stage_words(stage.stage)}{', ' if stage.count else ''}{stage.count}")
    if len(status.stages) > 2:
        parts.append(f"and {len(status.stages) - 2} more")
    return "; ".join(parts)


class Terminal:
    """A few lines at the lower end of a terminal that are drawn again and again; messages stand above them."""

    every_s = 0.5

    def __init__(self, stream: TextIO, nocolor: bool = False, **options: Any) -> None:
        from rich.console import Console
        from rich.live import Live

        class Visible(Console):
            """A terminal whose cursor is never hidden: a killed process could not show it again."""

            def show_cursor(self, show: bool = True) -> bool:
                return False

        self.console = Visible(
            file=stream,
            force_terminal=True,
            no_color=nocolor or None,
            highlight=False,
            markup=False,
            **options,
        )
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self._started = False

    def say(self, text: str, style: str = "") -> None:
        """Write a message above the lines that move."""
        self.console.print(text, style=style or None, soft_wrap=True)

    def show(self, status: Status) -> None:
        """Draw the lines again."""
        if not self._started:
            self._started = True
            self.live.start()
        self.live.update(self._block(status), refresh=True)

    def close(self) -> None:
        """Remove the lines."""
        if self._started:
            self.live.stop()

    def _block(self, status: Status) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self.console.width
        if status.note:
            return Text(status.note[:width], style="dim")
        lines: list[Any] = [
            Text(line, style="cyan", no_wrap=True, overflow="ellipsis") for line in stage_rows(status, width)
        ]
        words = _words(status)
        bar = ProgressBar(
            total=max(1, status.total), completed=status.done, width=max(4, min(30, width - len(words) - 2))
        )
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_row(bar, Text(words, no_wrap=True, overflow="ellipsis"))
        return Group(*lines, row)


def stage_rows(status: Status, width: int) -> list[str]:
    """Return a line for each stage at work, in columns: words, how far it is, what is running.

    Parameters
    ----------
    status
        How far the run is.
    width
        Of the terminal. What does not fit is cut, from the end.
    """
    shown = list(status.stages[:MOST_STAGES])
    wide = max((len(stage_words(stage.stage)) for stage in shown), default=0)
    counts = max((len(stage.count) for stage in shown), default=0)
    rows = []
    for stage in shown:
        words, *rest = stage_line(stage)
        names = rest[-1] if rest and rest[-1] != stage.count else ""
        rows.append(f"{words:<{wide}}  {stage.count:<{counts}}  {names}".rstrip())
    if more := len(status.stages) - len(shown):
        rows.append(f"and {more} more stages" if more > 1 else "and one more stage")
    return [row if len(row) <= width else f"{row[: width - 1]}…" for row in rows]


def screen_for(stream: TextIO, nocolor: bool = False) -> Plain | Terminal:
    """Return where progress is shown on a stream.

    Parameters
    ----------
    stream
        Standard error, or standard output.
    nocolor
        Without colours (the variable NO_COLOR has the same effect).
    """
    if stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        try:
            return Terminal(stream, nocolor)
        except ImportError:  # rich is not installed: lines say the same
            pass
    return Plain(stream)
