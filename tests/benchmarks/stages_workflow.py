"""Planning a large study."""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
import tempfile
from pathlib import Path

from measure import Row

for _folder in ("workflow", "fixtures", "."):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / _folder))


def _plan(people: int, options: tuple[str, ...]) -> tuple[float, float, int]:
    """Plan once; return CPU seconds, MiB and the number of jobs (0 where it is not told)."""
    from small_study import approve
    from test_planning import large_study

    with tempfile.TemporaryDirectory() as name:
        study = large_study(Path(name) / "study", people)
        approve(study)  # the files are no images
        before = _children_seconds()
        run = study.process("-n", *options)
        seconds = _children_seconds() - before
    if run.returncode:
        raise RuntimeError(run.stderr[-2000:])
    total = re.search(r"^total +(\d+)", run.stdout + run.stderr, re.M)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return seconds, memory, int(total[1]) if total else 0


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


#: What is planned: a new study with every job and its reason listed, with the tables alone, the plan alone, and the plan where
#: everybody's images are prepared again.
COMMANDS = {
    "snakemake -n": ((), "every job listed, with its reason"),
    "snakemake -n --quiet rules": (("--quiet", "rules"), "the number of jobs of each rule"),
    "snakemake -n --quiet": (("--quiet",), "without going through the jobs; before a run"),
    "snakemake -n --quiet -R prepare_t1w": (
        ("--quiet", "--forcerun", "prepare_t1w"),
        "everybody's images again",
    ),
}


def planning(quick: bool, people: int = 1000, repeats: int = 2) -> list[Row]:
    """Plan the paper's study (`snakemake -n`); there is nobody to compare with.

    A plan is one process on one core: its CPU seconds (the smallest of several, taken in turn) are those that one waits for
    on a machine that does nothing else.
    """
    people = 100 if quick else people
    runs: dict[str, list[tuple[float, float, int]]] = {command: [] for command in COMMANDS}
    for _ in range(repeats):
        for command, (options, _note) in COMMANDS.items():
            # Each in a process of its own: the largest memory of children is remembered over all of them.
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                runs[command].append(pool.apply(_plan, (people, options)))
    jobs = max(number for found in runs.values() for _, _, number in found)
    rows = []
    for command, (_, note) in COMMANDS.items():
        seconds, memory, _ = min(runs[command])
        rows.append(
            Row(
                f"{command}, {people:,} people, {jobs:,} jobs",
                "none",
                seconds,
                None,
                "cpu",
                "20 s and 1 GiB for 1,000 people",
                None if quick else seconds <= 20 and memory <= 1024,
                "jobs, reasons and commands as without shortcuts: tests/workflow/test_shortened_plans.py",
                f"{memory:.0f} MiB; {note}; CPU seconds",
            )
        )
    return rows


STAGES = {"planning": planning}
