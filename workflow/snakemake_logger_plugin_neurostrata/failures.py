"""A failed job in words: what it was doing, its message, its log, how it ended."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Lines from the end of a log that are shown of a job that did not say in one line why it failed.
LAST_LINES = 15
_STATUS = re.compile(r"returned non-zero exit status (\d+)\.|died with <Signals\.\w+: (\d+)>")
#: What executors add to their messages.
_HINT = "For further error details see the cluster/cloud log and the log files of the involved rule(s)."


@dataclass(frozen=True)
class Failure:
    """A failed job.

    Attributes
    ----------
    words
        What it was doing, for whom.
    message
        Why it failed: its own line, or the last one of its log.
    explained
        Whether that is a line of the stage that says what is wrong.
    logs
        Its log, and the cluster's.
    ending
        How its command ended, and what the cluster says.
    """

    words: str
    message: str
    explained: bool
    logs: tuple[Path, ...]
    ending: str = ""

    def lines(self, tail: bool, named: Callable[[Path], object] = str) -> list[str]:
        """Return it for people.

        Parameters
        ----------
        tail
            Whether the end of the log is shown where the message does not explain the failure.
        named
            Returns how a path is written.
        """
        lines = [f"FAILED  {self.words}", f"  {self.message}"]
        lines += [f"  {self.ending}"] if self.ending else []
        lines += [f"  log: {named(log)}" for log in self.logs] or ["  (it has no log)"]
        if tail and not self.explained:
            written = next((own for log in self.logs if (own := _own(read_log(log)))), [])
            lines += [f"  | {line}" for line in written[-LAST_LINES:]]
        return lines


def read_log(path: Path) -> list[str]:
    """Return the lines of a log that are not empty; none where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _own(log: Sequence[str]) -> list[str]:
    """Return the lines of a log that the job has written, without those at the head of its attempts."""
    return [line for line in log if not line.startswith("---- neurostrata")]


def message_of(log: Sequence[str]) -> tuple[str, bool]:
    """Return why a job failed, and whether it said so itself.

    Parameters
    ----------
    log
        Its lines.
    """
    said = [line for line in log if re.match(r"neurostrata [\w -]+: ", line)]
    if said:
        # "unexpected ValueError: ... (details in the job's log)": what led to it stands in the log
        return said[-1], "(details in the job's log)" not in said[-1]
    own = _own(log)
    return (own[-1].strip(), False) if own else ("it ended without a message", False)


def ending_of(error: str) -> tuple[str, int]:
    """Return how a command ended, in words, and the number of the signal that ended it (0: none).

    Parameters
    ----------
    error
        Snakemake's message about the command.
    """
    found = _STATUS.search(error)
    if not found:
        return "", 0
    status, number = found.groups()
    if number is None:
        number = str(int(status) - 128) if int(status) > 128 else None
    if number is None:
        return f"exit status {status}", 0
    try:
        name = signal.Signals(int(number)).name
    except ValueError:
        return f"exit status {status}", 0
    memory = "; there was probably not enough memory" if name == "SIGKILL" else ""
    return f"ended by {name}{memory}", int(number)


def failure(words: str, record: Any, error: str, folder: Path) -> Failure:
    """Describe a failed job.

    Parameters
    ----------
    words
        What it was doing, for whom.
    record
        Snakemake's message: an event JOB_ERROR.
    error
        Snakemake's message about the job's command; "" where there is none (on a cluster).
    folder
        The study's.
    """
    logs = tuple(folder / str(log) for log in record.log)
    message, explained = message_of(read_log(logs[0]) if logs else [])
    said = str(getattr(record, "rule_msg", None) or "").replace(_HINT, "").strip()
    ending = [said] if said else []
    if not explained and (how := ending_of(error)[0]):
        ending.append(how)
    job = (getattr(record, "aux", None) or {}).get("external_jobid")
    if job and str(job) not in said:
        ending.append(f"job {job} of the cluster")
    return Failure(words, message, explained, logs, "; ".join(ending))
