"""What a study costs as it grows: costs of small ones that were run, and a prediction that a larger one tests.

    python tests/benchmarks/scaling.py run STUDY --people 30     # simulate and run a small study, keep its costs
    python tests/benchmarks/scaling.py take STUDY NAME           # keep the costs of a study that was run
    python tests/benchmarks/scaling.py compare                   # the third size: predicted from two others, and measured

A rule's CPU seconds are a + b n in the number n of people (of pairs of people for clustering). Two sizes give a and b, a
third one tests them. Costs are those that Snakemake notes in a study's benchmarks/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "real"), str(ROOT / "workflow")]

NUMBERS = ROOT / "docs" / "scaling.json"
SIMULATED = "simulated"


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def take(study: Path, name: str) -> dict[str, Any]:
    """Return people, disk and each rule's jobs, CPU seconds and memory of a study that was run."""
    from evaluate_ixi import costs

    people = len((study / "results/cohort/groups/people.tsv").read_text().splitlines()) - 1
    return {
        "name": name,
        "people": people,
        "disk_mb": round(folder_bytes(study / "results") / 1e6, 1),
        "rules": costs(study / "benchmarks"),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }


def run(study: Path, people: int) -> dict[str, Any]:
    """Simulate a cohort, run the whole workflow on it and return its costs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    subprocess.run(
        [
            *(sys.executable, "-m", "neurostrata", "simulate", "--output", str(study / "cohort")),
            *("--people", str(people), "--no-diffusion", "--resolution-mm", "4", "--threads", "2"),
        ],
        env=environment,
        check=True,
    )
    before = _children_seconds()
    subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(study)),
            *("--configfile", str(HERE / "scaling.yaml"), "--cores", "2", "--quiet", "rules", "--notemp"),
            *("--set-threads", "train=1", "embed=1", "evaluate=1"),
        ],
        env=environment,
        check=True,
    )
    return {**take(study, SIMULATED), "cpu_s": round(_children_seconds() - before, 1)}


def _children_seconds() -> float:
    """Return the CPU seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def keep(measured: dict[str, Any]) -> None:
    """Add a study's costs to docs/scaling.json, in place of those of the same name and size."""
    runs = json.loads(NUMBERS.read_text()) if NUMBERS.is_file() else []
    runs = [r for r in runs if (r["name"], r["people"]) != (measured["name"], measured["people"])]
    runs = sorted([*runs, measured], key=lambda r: (r["name"], r["people"]))
    NUMBERS.write_text(json.dumps(runs, indent=1) + "\n")


#: Rules of which the cost grows with the square of the number of people.
SQUARE = ("cluster",)


def line(small: dict[str, Any], large: dict[str, Any], rule: str, what: str) -> tuple[float, float]:
    """Return a and b of ``what = a + b n`` (n squared for some rules) through two studies; neither is below 0."""
    power = 2 if rule in SQUARE else 1
    n, m = small["people"] ** power, large["people"] ** power
    low = small["rules"].get(rule, {}).get(what, 0.0)
    high = large["rules"].get(rule, {}).get(what, 0.0)
    slope = max(0.0, (high - low) / (m - n))
    return max(0.0, high - slope * m), slope


def predicted(
    small: dict[str, Any], large: dict[str, Any], people: int, what: str = "cpu_s"
) -> dict[str, float]:
    """Return each rule's cost in a study of `people`."""
    found = {}
    for rule in large["rules"]:
        start, slope = line(small, large, rule, what)
        found[rule] = start + slope * people ** (2 if rule in SQUARE else 1)
    return found


def comparison(runs: list[dict[str, Any]]) -> list[str]:
    """Return the table of predicted and measured costs of the largest simulated study."""
    small, large, test = runs[:3]
    forecast, jobs = (predicted(small, large, test["people"], what) for what in ("cpu_s", "jobs"))
    lines = [
        f"| rule | {small['people']} people, CPU s | {large['people']} | {test['people']} predicted | measured | jobs, predicted | measured |",
        "|---|---|---|---|---|---|---|",
    ]

    def value(study: dict[str, Any], rule: str, what: str = "cpu_s") -> float:
        return float(study["rules"].get(rule, {}).get(what, 0.0))

    shown = sorted(test["rules"], key=lambda rule: -value(test, rule))
    for rule in shown[:12]:
        lines.append(
            f"| {rule} | {value(small, rule):.0f} | {value(large, rule):.0f} | {forecast[rule]:.0f} | {value(test, rule):.0f} "
            f"| {jobs[rule]:.0f} | {value(test, rule, 'jobs'):.0f} |"
        )
    total = [sum(value(study, rule) for rule in study["rules"]) for study in (small, large, test)]
    lines.append(
        f"| **all** | {total[0]:.0f} | {total[1]:.0f} | **{sum(forecast.values()):.0f}** | **{total[2]:.0f}** "
        f"| {sum(jobs.values()):.0f} | {sum(value(test, r, 'jobs') for r in test['rules']):.0f} |"
    )
    slope = (large["disk_mb"] - small["disk_mb"]) / (large["people"] - small["people"])
    disk = large["disk_mb"] + slope * (test["people"] - large["people"])
    lines += ["", f"Disk (`results/`): {disk:.0f} MB predicted, {test['disk_mb']:.0f} MB measured."]
    return lines


def main() -> None:
    """Do what was asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("study", type=Path)
    running.add_argument("--people", type=int, required=True)
    taking = commands.add_parser("take")
    taking.add_argument("study", type=Path)
    taking.add_argument("name")
    commands.add_parser("compare")
    chosen = parser.parse_args()
    if chosen.command == "run":
        keep(run(chosen.study.resolve(), chosen.people))
    elif chosen.command == "take":
        keep(take(chosen.study.resolve(), chosen.name))
    else:
        runs = [r for r in json.loads(NUMBERS.read_text()) if r["name"] == SIMULATED]
        print("\n".join(comparison(runs)))


if __name__ == "__main__":
    main()
