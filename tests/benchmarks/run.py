"""Every stage compared with its peer, in one run: writes docs/benchmarks.json and, from it, docs/benchmarks.md.

    python tests/benchmarks/run.py [--stages affinity repartition ...] [--quick] [--output docs/benchmarks.md]

Stages that are not asked for keep the rows that they have. --quick takes small sizes, to see that everything runs.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "workflow")]

from measure import Row  # noqa: E402

MODULES = (
    "stages_imaging",
    "stages_diffusion",
    "stages_fusion",
    "stages_strata",
    "stages_workflow",
    "stages_gpu",
)


def stages() -> dict[str, object]:
    """Return name -> function of every stage, in the order of the workflow."""
    found: dict[str, object] = {}
    for name in MODULES:
        if (HERE / f"{name}.py").is_file():
            found.update(importlib.import_module(name).STAGES)
    return found


def machine() -> str:
    """Describe what this runs on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f} s" if value >= 20 else f"{value:.2g} s" if value >= 0.1 else f"{value * 1000:.2g} ms"


def page(rows: list[dict[str, object]]) -> str:
    """Return docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Each stage is compared with the software that people use today. Both get the same data and take turns in the "
        "same run. `make bench`",
        "(tests/benchmarks/) makes this page; the numbers are in benchmarks.json. Ratios can be compared between "
        "machines, seconds cannot.",
        "",
        "| Stage | Peer | Ratio | Goal | Reached | Agreement |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        r = Row(**{k: v for k, v in row.items() if k in Row.__dataclass_fields__})  # type: ignore[arg-type]
        reached = "not measured" if r.met is None else "yes" if r.met else "**no**"
        ratio = "" if r.ratio is None else f"**{r.ratio:.3g}x** ({r.kind})"
        lines.append(f"| {r.stage} | {r.peer} | {ratio} | {r.goal} | {reached} | {r.agreement} |")
    lines += [
        "",
        "Seconds and notes:",
        "",
        "| Stage | Ours | Peer | Machine, day | |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['stage']} | {_seconds(row['ours_s'])} | {_seconds(row['peer_s'])} "  # type: ignore[arg-type]
            f"| {row['machine']}, {row['day']} | {row['note']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the stages and write the page."""
    known = stages()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", nargs="+", default=list(known), choices=list(known))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    chosen = parser.parse_args()
    numbers = chosen.output.with_suffix(".json")
    done = {}
    if numbers.is_file():
        done = json.loads(numbers.read_text())
    for name in chosen.stages:
        rows = known[name](chosen.quick)  # type: ignore[operator]
        for row in rows:
            print(row, file=sys.stderr, flush=True)
        if rows:
            today = datetime.date.today().isoformat()
            done[name] = [
                {**asdict(row), "machine": row.machine or machine(), "day": row.day or today} for row in rows
            ]
            ordered = {stage: done[stage] for stage in known if stage in done}
            numbers.write_text(json.dumps(ordered, indent=1) + "\n")
            chosen.output.write_text(page([row for rows in ordered.values() for row in rows]))


if __name__ == "__main__":
    main()
