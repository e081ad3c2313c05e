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
from collections.abc import Iterable, Sequence
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

#: The study whose cost is told: everybody in the template, at the resolution of the real brains.
LARGE: dict[str, Any] = {
    "volumes": {"shape": [128, 128, 96]},
    "cohort": {"sheet": "cohort.tsv"},
    "template": {"resolution_mm": 2, "iterations": 5, "tolerance": None},
    "modalities": {"jac": {"from": "jacobian"}, "gmv": {"from": "tissue", "tissue": "gm"}},
    "experiments": [{"name": "all", "model": "separable_autoencoder", "modalities": ["jac", "gmv"]}],
    "strata": {"finders": ["affinity_propagation"]},
    "phenotypes": {"tables": ["phenotypes.tsv"]},
}
#: Stages of which there are as many jobs as people, or several times as many.
EACH = (
    "prepare_t1w",
    "template_register",
    "register",
    "jacobian",
    "segment_tissue",
    "map_to_template",
    "subject_page",
)
REGISTRATIONS = ("template_register", "register")
SIZES = (1_000, 10_000, 40_000)


def searches() -> list[str]:
    """Return the table of what jobs that search for clusters ask for."""
    from types import SimpleNamespace

    from neurostrata.core.config import fill_config
    from neurostrata.planning.cost import Sizes, imagined
    from neurostrata.planning.requests import Requests

    people = (1_000, 2_000, 4_000, 10_000)
    job = SimpleNamespace(experiment="all", finder="affinity_propagation")
    lines = [
        "| asked for, GB, with people | " + " | ".join(f"{n:,}" for n in people) + " |",
        "|---|" + "---|" * len(people),
    ]
    requests = [Requests(Sizes(imagined(fill_config(LARGE), n))) for n in people]
    for stages, threads in (
        ("cluster", 8),
        ("existence`, `stability", 8),
        ("existence`, `stability", 2),
        ("split_half", 8),
    ):
        asked = [
            each.search_memory(stages.partition("`")[0], 4000)(job, 1, threads) / 1000 for each in requests
        ]
        lines.append(
            f"| `{stages}`, {threads} threads | "
            + " | ".join(f"{gigabytes:.1f}" for gigabytes in asked)
            + " |"
        )
    return lines


def job_overhead(runs: list[dict[str, Any]]) -> float:
    """Return the CPU seconds per job that no rule's benchmark has: Snakemake's, shell's, the interpreter's start and end."""
    spent = sum(r["cpu_s"] - sum(rule["cpu_s"] for rule in r["rules"].values()) for r in runs)
    return float(spent / sum(rule["jobs"] for r in runs for rule in r["rules"].values()))


def large_studies() -> list[str]:
    """Return the tables of what large studies cost, by the model that dry runs use (planning/cost.py)."""
    from neurostrata.core.config import fill_config
    from neurostrata.planning.cost import (
        Cost,
        Images,
        Sizes,
        Work,
        amount,
        cost_of,
        imagined,
        jobs_of,
        measured,
        total,
    )

    numbers, images = measured(), Images(t1w_mm=2)
    engines = {"torch": "torch", "greedy": "greedy", "SyN": "ants"}

    def costs(people: int, engine: str = "torch", starting: bool = False) -> dict[str, Cost]:
        config = fill_config(LARGE | {"registration": {"engine": engine}})
        study = imagined(config, people)
        return cost_of(study, jobs_of(study), images, starting)

    studies = [costs(n) for n in SIZES]
    one = studies[0]
    lines = [
        "| rule | jobs per person | CPU s per job | memory, MB |",
        "|---|---|---|---|",
        *(
            f"| {stage} | {one[stage].jobs // SIZES[0]} | {3600 * one[stage].cpu_hours / one[stage].jobs:.1f} "
            f"| {1000 * one[stage].memory_gb:.0f} |"
            for stage in EACH
        ),
        f"| starting and ending any job | | {numbers['starting_s']:.2f} | |",
        "",
        "| people | " + " | ".join(f"{n:,}" for n in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
    ]

    def row(name: str, values: Iterable[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(values) + " |")

    def hours(stages: Iterable[str], study: dict[str, Cost]) -> float:
        return sum(study[stage].cpu_hours for stage in stages)

    others = [stage for stage in EACH if stage not in REGISTRATIONS]
    number = sum(one[stage].jobs for stage in REGISTRATIONS) // SIZES[0]
    row("jobs", [f"{total(study).jobs:,}" for study in studies])
    row(
        "CPU hours: jobs of each person but registrations",
        [f"{hours(others, study):,.0f}" for study in studies],
    )
    for name, engine in engines.items():
        row(
            f"CPU hours: {number} registrations each, `{name}`",
            [f"{hours(REGISTRATIONS, costs(n, engine)):,.0f}" for n in SIZES],
        )
    row(
        "CPU hours: starting and ending jobs",
        [f"{total(study).jobs * numbers['starting_s'] / 3600:,.0f}" for study in studies],
    )
    row(
        "hours of one core: each template update",
        [f"{study['template_update'].cpu_hours / 5:.1f}" for study in studies],
    )
    of_studies = [Sizes(imagined(fill_config(LARGE), n)) for n in SIZES]
    searches = [sizes.of(Work("cluster", "all", "affinity_propagation")) for sizes in of_studies]
    row(
        "CPU hours: affinity propagation, 10 x 1,000 settings",
        [f"{size['search'] / 3600:,.0f}" for size in searches],
    )
    for stage, threads in (("cluster", 8), ("existence", 8)):
        work, terms = Work(stage, "all", "affinity_propagation"), numbers["stages"][stage]["memory_mb"]
        row(
            f"memory of its `{stage}` in {threads} threads, GB",
            [f"{amount(terms, sizes.of_search(work, threads)) / 1000:,.1f}" for sizes in of_studies],
        )
    row(
        "million training steps, 200 epochs, 10 folds and one",
        [f"{n * 200 * (10 * 0.9 + 1) / 1e6:,.0f}" for n in SIZES],
    )
    row(
        f"hours of a GPU, {numbers['gpu']['card']}: these steps",
        [f"{study['train'].gpu_hours:,.0f}" for study in studies],
    )
    row("disk, GB", [f"{total(study).disk_gb:,.0f}" for study in studies])
    row(
        "of these arrays of 2 x 128x128x96 float32, GB",
        [f"{study['normalise'].disk_gb:,.0f}" for study in studies],
    )
    row("planning (`snakemake -n`), minutes", [f"{n * numbers['planning']['s'] / 60:.1f}" for n in SIZES])
    row("memory of Snakemake, GB", [f"{n * numbers['planning']['mb'] / 1000:.1f}" for n in SIZES])
    return lines


def write() -> None:
    """Write docs/scaling.md: the measured part between its marks."""
    runs = json.loads(NUMBERS.read_text())
    simulated = [r for r in runs if r["name"] == SIMULATED]
    text = PAGE.read_text()
    for name, lines in (
        ("comparison", comparison(simulated)),
        ("large", large_studies()),
        ("searches", searches()),
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
