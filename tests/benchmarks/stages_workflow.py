"""Planning a large study."""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

from measure import Row

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def _plan(people: int, *quiet: str) -> tuple[float, float, int]:
    """Plan once; return seconds, MiB and the number of jobs (0 where it is not told)."""
    from test_planning import large_study

    with tempfile.TemporaryDirectory() as name:
        study = large_study(Path(name) / "study", people)
        started = time.perf_counter()
        run = study.snakemake("-n", "--quiet", *quiet)
        seconds = time.perf_counter() - started
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    total = re.search(r"^total +(\d+)", run.stdout + run.stderr, re.M)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return seconds, memory, int(total[1]) if total else 0


def planning(quick: bool) -> list[Row]:
    """Plan the paper's study (`snakemake -n`); there is nobody to compare with."""
    people = 100 if quick else 1000
    # Each in a process of its own: the largest memory of children is remembered over all of them.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        table, alone = pool.apply(_plan, (people, "rules")), pool.apply(_plan, (people,))
    jobs = table[2]
    return [
        Row(
            f"{command}, {people:,} people, {jobs:,} jobs",
            "none",
            seconds,
            None,
            "wall",
            "20 s and 1 GiB for 1,000 people",
            None if quick else seconds <= 20 and memory <= 1024,
            "number of jobs of each rule: tests/workflow/test_planning.py",
            f"{memory:.0f} MiB{note}",
        )
        for command, (seconds, memory, _), note in (
            ("snakemake -n", table, ""),
            ("snakemake -n --quiet", alone, "; without printing the plan, as before a run"),
        )
    ]


STAGES = {"planning": planning}
