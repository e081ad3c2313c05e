"""The progress of a study: jobs done, jobs per hour, and the time left."""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from neurostrata.controller.state import controller_of, is_alive, logs
from neurostrata.core.errors import UserError

_STAMP = re.compile(r"^\[(\w{3} \w{3} +\d+ \d+:\d+:\d+ \d{4})\]$")
_FINISHED = re.compile(r"^Finished jobid: \d+ \(Rule: (\w+)\)$")
_TABLE = re.compile(r"^job +count\n[- ]+\n(.*?)^total +\d+", re.M | re.S)


@dataclass
class Run:
    """What a log of Snakemake says about a run.

    Attributes
    ----------
    planned : dict
        Rule -> number of jobs.
    finished : list of (float, str)
        When (seconds since the epoch) a job was finished, and its rule.
    begun : float
        When the run began.
    """

    planned: dict[str, int] = field(default_factory=dict)
    finished: list[tuple[float, str]] = field(default_factory=list)
    begun: float = 0.0


def read_run(log: Path) -> Run:
    """Read a log of Snakemake."""
    text = log.read_text(encoding="utf-8", errors="replace")
    run = Run()
    table = _TABLE.search(text)
    if table:
        run.planned = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table.group(1), re.M)}
    now = 0.0
    for line in text.splitlines():
        stamp = _STAMP.match(line)
        if stamp:
            now = time.mktime(time.strptime(stamp.group(1)))
            run.begun = run.begun or now
        done = _FINISHED.match(line)
        if done:
            run.finished.append((now, done.group(1)))
    return run


def job_seconds(benchmarks: Path) -> dict[str, list[float]]:
    """Return rule -> wall seconds of its jobs, from the benchmark files of a study."""
    found: dict[str, list[float]] = {}
    for path in benchmarks.rglob("*.tsv"):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        try:
            with open(path, newline="", encoding="utf-8") as stream:
                found.setdefault(rule, []).extend(
                    float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")
                )
        except (OSError, ValueError, KeyError):
            continue  # is just being written
    return found


def seconds_left(
    left: Mapping[str, int], seconds: Mapping[str, list[float]], finished: Counter[str], elapsed: float
) -> float | None:
    """Return how long the jobs that are left will take at this run's pace.

    The work left, in seconds of jobs, is divided by how many jobs ran in parallel so far: a thousand short jobs
    that are done say little about long jobs that are not.

    Parameters
    ----------
    left
        Rule -> jobs that are left.
    seconds
        Rule -> wall seconds of finished jobs. A rule without finished jobs counts as average.
    finished
        Rule -> jobs that this run has finished.
    elapsed
        Seconds since the run began.

    Returns
    -------
    float or None
        None before anything is known.
    """
    each = {rule: mean(values) for rule, values in seconds.items() if values}
    done = sum(number * each.get(rule, 0.0) for rule, number in finished.items())
    if not each or done <= 0 or elapsed <= 0:
        return None
    typical = mean(each.values())
    work = sum(number * each.get(rule, typical) for rule, number in left.items())
    return work / (done / elapsed)


def duration(seconds: float) -> str:
    """Return a duration for people: "3 h 20 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 1440:.1f} days"


def progress(*, directory: Path = Path(), window_minutes: int = 60) -> None:
    """Print how many jobs of a running study are done, how many it does in an hour, and the time left.

    Parameters
    ----------
    directory
        The study's folder.
    window_minutes
        The rate is measured over these last minutes.
    """
    known = logs(directory)
    runs = [run for log in reversed(known) if (run := read_run(log)).planned]
    if not runs:
        raise UserError(f"{directory.resolve()}: no run of Snakemake has left a log here (see --directory)")
    run = runs[0]
    facts = controller_of(directory)
    running = facts is not None and is_alive(facts) is not False
    now = time.time() if running else max([run.begun, *(when for when, _ in run.finished)])
    finished = Counter(rule for _, rule in run.finished)
    left = {rule: max(0, number - finished[rule]) for rule, number in run.planned.items()}
    total, done = sum(run.planned.values()), sum(finished.values())
    window = min(window_minutes * 60, max(1.0, now - run.begun))
    rate = sum(when >= now - window for when, _ in run.finished) / window * 3600
    seconds = job_seconds(directory / "benchmarks")
    print(f"{done} of {total} jobs done ({100 * done // max(1, total)}%), {rate:.0f} an hour lately", end="")
    if not running:
        print("; nobody is running this study now" if done < total else "; finished")
    else:
        remaining = seconds_left(left, seconds, finished, now - run.begun)
        print(
            f"; about {duration(remaining)} left" if remaining is not None else "; too early to say how long"
        )
    print(f"\n{'rule':<24}{'done':>7}{'left':>7}{'minutes each':>14}")
    for rule, number in sorted(run.planned.items(), key=lambda item: -item[1]):
        each = f"{mean(seconds[rule]) / 60:.1f}" if seconds.get(rule) else "not yet run"
        print(f"{rule:<24}{finished[rule]:>7}{left[rule]:>7}{each:>14}" if number else "")
