"""What a study costs as it grows: costs of small ones that were run, and a prediction that a larger one tests.

    python tests/benchmarks/scaling.py run STUDY --people 30     # simulate and run a small study, keep its costs
    python tests/benchmarks/scaling.py take STUDY NAME --folders derivatives template    # keep those of one that was run
    python tests/benchmarks/scaling.py write                     # docs/scaling.md: predictions tested, and of large studies

A rule's CPU seconds are a + b n in the number n of people (of pairs of people for clustering). The smallest simulated
studies give a and b, the largest one tests them. Costs are those that Snakemake notes in a study's benchmarks/, and the
whole run's, which has Snakemake's own and those of starting each job in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "real"), str(ROOT / "workflow")]

NUMBERS = ROOT / "docs" / "scaling.json"
PAGE = ROOT / "docs" / "scaling.md"
SIMULATED = "simulated"


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def take(study: Path, name: str, folders: Sequence[str] = (".",)) -> dict[str, Any]:
    """Return people, disk and each rule's jobs, CPU seconds and memory of a study that was run.

    `folders` are those of ``results/`` that the disk is counted of, where a study has others from other trials.
    """
    from evaluate_ixi import costs

    people = len((study / "results/cohort/groups/people.tsv").read_text().splitlines()) - 1
    return {
        "name": name,
        "people": people,
        "disk_mb": round(sum(folder_bytes(study / "results" / folder) for folder in folders) / 1e6, 1),
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
    runs = [r for r in runs if (r["name"], r.get("people")) != (measured["name"], measured["people"])]
    runs = sorted([*runs, measured], key=lambda r: (r["name"], r.get("people", 0)))
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
    small, large = runs[0], runs[-2]
    test = runs[-1]
    if small is large:
        return ["Three sizes are needed to predict one from two others."]
    forecast, jobs = (predicted(small, large, test["people"], what) for what in ("cpu_s", "jobs"))
    sizes = [study["people"] for study in (small, large, test)]
    lines = [
        f"| rule | {sizes[0]} people, CPU s | {sizes[1]} | {sizes[2]} predicted | measured | jobs, predicted | measured |",
        "|---|---|---|---|---|---|---|",
    ]

    def value(study: dict[str, Any], rule: str, what: str = "cpu_s") -> float:
        return float(study["rules"].get(rule, {}).get(what, 0.0))

    shown = sorted(test["rules"], key=lambda rule: -value(test, rule))
    for rule in shown[:10]:
        lines.append(
            f"| {rule} | {value(small, rule):.0f} | {value(large, rule):.0f} | {forecast[rule]:.0f} | {value(test, rule):.0f} "
            f"| {jobs[rule]:.0f} | {value(test, rule, 'jobs'):.0f} |"
        )
    slope = (large["cpu_s"] - small["cpu_s"]) / (sizes[1] - sizes[0])
    whole = large["cpu_s"] + slope * (sizes[2] - sizes[1])
    lines.append(
        f"| **whole run** | {small['cpu_s']:.0f} | {large['cpu_s']:.0f} | **{whole:.0f}** | **{test['cpu_s']:.0f}** "
        f"| {sum(jobs.values()):.0f} | {sum(value(test, r, 'jobs') for r in test['rules']):.0f} |"
    )
    slope = (large["disk_mb"] - small["disk_mb"]) / (sizes[1] - sizes[0])
    disk = large["disk_mb"] + slope * (sizes[2] - sizes[1])
    lines += ["", f"Disk (`results/`): {disk:.0f} MB predicted, {test['disk_mb']:.0f} MB measured."]
    return lines


# ---------------------------------------------------------------------------------------- large studies

#: Jobs of each rule per person of a study with T1w, JAC and grey matter (template registrations: per iteration).
PER_PERSON = {
    "prepare_t1w": 1,
    "template_register": 5,
    "register": 1,
    "jacobian": 1,
    "segment_tissue": 1,
    "map_to_template": 3,
    "subject_page": 1,
}
REGISTRATIONS = ("template_register", "register")
SIZES = (1_000, 10_000, 40_000)


def job_overhead(runs: list[dict[str, Any]]) -> float:
    """Return the CPU seconds per job that no rule's benchmark has: Snakemake's, shell's, the interpreter's start and end."""
    spent = sum(r["cpu_s"] - sum(rule["cpu_s"] for rule in r["rules"].values()) for r in runs)
    return float(spent / sum(rule["jobs"] for r in runs for rule in r["rules"].values()))


def large_studies(runs: list[dict[str, Any]], real: dict[str, Any], bench: dict[str, float]) -> list[str]:
    """Return the tables of what large studies cost.

    Parameters
    ----------
    runs
        The simulated studies.
    real
        The study of real brains at 2 mm.
    bench
        Measured by ``make bench`` and by hand: ``values`` of the entry "measured" of docs/scaling.json.
    """
    each = {rule: real["rules"][rule]["cpu_s"] / real["rules"][rule]["jobs"] for rule in PER_PERSON}
    overhead = job_overhead(runs)
    update = real["rules"]["template_update"]
    update_s = update["cpu_s"] / update["jobs"] / real["people"]
    lines = [
        "| rule | jobs per person | CPU s per job | memory, MB |",
        "|---|---|---|---|",
        *(
            f"| {rule} | {jobs} | {each[rule]:.1f} | {real['rules'][rule]['max_rss_mb']:.0f} |"
            for rule, jobs in PER_PERSON.items()
        ),
        f"| template_update, per person and iteration | | {update_s:.2f} | {update['max_rss_mb']:.0f} |",
        f"| starting and ending any job | | {overhead:.2f} | |",
        "",
        "| people | " + " | ".join(f"{n:,}" for n in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
    ]

    def row(name: str, values: list[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(values) + " |")

    jobs_each = sum(PER_PERSON.values())
    row("jobs", [f"{jobs_each * n:,}" for n in SIZES])
    row(
        "CPU hours: all jobs but registrations",
        [
            f"{n * sum(PER_PERSON[r] * each[r] for r in PER_PERSON if r not in REGISTRATIONS) / 3600:,.0f}"
            for n in SIZES
        ],
    )
    number = sum(PER_PERSON[r] for r in REGISTRATIONS)
    for engine in ("torch", "greedy", "SyN"):
        row(
            f"CPU hours: {number} registrations each, `{engine}`",
            [f"{n * number * bench[engine] / 3600:,.0f}" for n in SIZES],
        )
    row("CPU hours: starting and ending jobs", [f"{n * jobs_each * overhead / 3600:,.0f}" for n in SIZES])
    row("hours of one core: each template update", [f"{n * update_s / 3600:.1f}" for n in SIZES])
    row(
        "CPU hours: affinity propagation, 10 x 1,000 settings",
        [
            f"{10_000 * bench['setting_s'] * (n / bench['setting_people']) ** bench['setting_power'] / 3600:,.0f}"
            for n in SIZES
        ],
    )
    row("memory of `cluster`, GB", [f"{8 * bench['cluster_matrices'] * n**2 / 1e9:,.1f}" for n in SIZES])
    row(
        "million training steps, 200 epochs, 10 folds and one",
        [f"{n * 200 * (10 * 0.9 + 1) / 1e6:,.0f}" for n in SIZES],
    )
    row("disk, GB", [f"{n * real['disk_mb'] / real['people'] / 1000:,.0f}" for n in SIZES])
    row(
        "fusion arrays on disk, 2 x 128x128x96 float32, GB",
        [f"{n * 2 * 128 * 128 * 96 * 4 / 1e9:,.0f}" for n in SIZES],
    )
    row(
        "planning (`snakemake -n`), minutes",
        [f"{n * bench['plan_s'] / bench['plan_people'] / 60:.0f}" for n in SIZES],
    )
    row(
        "memory of Snakemake, GB",
        [f"{n * bench['plan_mb'] / bench['plan_people'] / 1000:.1f}" for n in SIZES],
    )
    return lines


def write() -> None:
    """Write docs/scaling.md: the measured part between its marks."""
    runs = json.loads(NUMBERS.read_text())
    simulated = [r for r in runs if r["name"] == SIMULATED]
    real = next(r for r in runs if r["name"] == "ixi")
    bench = next(r for r in runs if r["name"] == "measured")["values"]
    text = PAGE.read_text()
    for name, lines in (
        ("comparison", comparison(simulated)),
        ("large", large_studies(simulated, real, bench)),
    ):
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = "\n".join([before + start, *lines, end + after])
    PAGE.write_text(text)


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
    taking.add_argument("--folders", nargs="+", default=["."], help="of results/, to count the disk of")
    commands.add_parser("write")
    chosen = parser.parse_args()
    if chosen.command == "run":
        keep(run(chosen.study.resolve(), chosen.people))
    elif chosen.command == "take":
        keep(take(chosen.study.resolve(), chosen.name, chosen.folders))
    else:
        write()


if __name__ == "__main__":
    main()
