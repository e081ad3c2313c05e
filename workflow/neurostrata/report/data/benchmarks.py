"""The time and memory that the jobs of each rule used and requested, from Snakemake's benchmark files."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Columns of resources.tsv and what they hold.
COLUMNS = {
    "rule": "Rule",
    "jobs": "Jobs that left a benchmark file",
    "minutes_median": "Wall time of a job, median (minutes)",
    "minutes_max": "Wall time of the longest job (minutes)",
    "minutes_asked": "Time that was asked for (minutes)",
    "memory_max": "Memory of the largest job: greatest resident set (MB)",
    "memory_asked": "Memory that was asked for (MB)",
    "threads": "Threads of a job",
    "busy": "Threads that were at work on average",
    "cpu_hours": "CPU time of all jobs (hours)",
    "memory_suggested": "Memory to ask for: 1.5 times the largest job, in steps of 100 MB, at least 500",
    "minutes_suggested": "Time to ask for: twice the longest job, at least 10 minutes",
}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")  # "NA", "-": a job too short to be measured


def read_benchmarks(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the content of each benchmark file: rule, seconds, memory, cpu, threads, asked memory and time.

    What was requested is only in files written with ``--benchmark-extended``, which our profiles set.
    """
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        try:
            with open(path, newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream, delimiter="\t"))
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
        for row in rows:
            try:
                asked = ast.literal_eval(row.get("resources") or "{}")
            except (ValueError, SyntaxError):
                asked = {}
            yield {
                "rule": rule,
                "seconds": _number(row.get("s")),
                "memory": _number(row.get("max_rss")),
                "cpu": _number(row.get("cpu_time")),
                "threads": _number(row.get("threads")),
                "memory_asked": _number(str(asked.get("mem_mb"))),
                "minutes_asked": _number(str(asked.get("runtime"))),
            }


def resource_table(folder: Path) -> pd.DataFrame | None:
    """Return a row per rule with the columns of :data:`COLUMNS`; None without benchmark files.

    Rules are in the order of the CPU time that they took.
    """
    frame = pd.DataFrame(read_benchmarks(folder))
    if frame.empty:
        return None
    rows = []
    for rule, jobs in frame.groupby("rule", sort=True):
        longest, largest = jobs["seconds"].max() / 60, jobs["memory"].max()
        wall = jobs.loc[jobs["cpu"].notna(), "seconds"].sum()
        rows.append(
            {
                "rule": rule,
                "jobs": len(jobs),
                "minutes_median": jobs["seconds"].median() / 60,
                "minutes_max": longest,
                "minutes_asked": jobs["minutes_asked"].max(),
                "memory_max": largest,
                "memory_asked": jobs["memory_asked"].max(),
                "threads": jobs["threads"].max(),
                "busy": jobs["cpu"].sum() / wall if wall > 0 else np.nan,
                "cpu_hours": jobs["cpu"].sum() / 3600,
                "memory_suggested": max(500.0, 100 * np.ceil(1.5 * largest / 100)),
                "minutes_suggested": max(10.0, np.ceil(2 * longest)),
            }
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("cpu_hours", ascending=False, ignore_index=True)
