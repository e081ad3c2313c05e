"""Write README's table of what a study costs, from the model that `neurostrata init` and dry runs use.

PYTHONPATH=workflow python docs/tools/costs.py     # a test fails when the table is out of date
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from neurostrata.core.config import overlaid, read_yaml
from neurostrata.core.locations import DEFAULT_CONFIG
from neurostrata.planning.cost import Images, about, study_cost, total

PAGE = Path(__file__).resolve().parents[2] / "README.md"
PEOPLE = (100, 1000)
#: Side of the template's voxels, and what of the recommended configuration is changed for it.
RESOLUTIONS: dict[str, dict[str, Any]] = {
    "2 mm": {"template": {"resolution_mm": 2}, "volumes": {"resolution_mm": 2, "shape": [64, 64, 64]}},
    "1.25 mm": {},
}
ENGINES = {"torch": "`torch`", "ants": "`ants` (SyN)"}


def in_hours(hours: float) -> str:
    """Return hours for people."""
    return f"{float(f'{hours:.1g}'):,.0f}" if hours >= 1 else about(hours)


def table() -> str:
    """Return the table."""
    text = "| people | voxels | registration | CPU hours without a GPU | with one: CPU hours | GPU hours | disk, GB |\n|---|---|---|---|---|---|---|\n"
    recommended = read_yaml(DEFAULT_CONFIG)
    for people in PEOPLE:
        for resolution, grid in RESOLUTIONS.items():
            for engine, words in ENGINES.items():
                config = overlaid(recommended, {**grid, "registration": {"engine": engine}})
                cost = total(study_cost(config, people, Images()))
                alone = cost.cpu_hours + cost.cpu_hours_instead
                text += (
                    f"| {people:,} | {resolution} | {words} | {in_hours(alone)} | {in_hours(cost.cpu_hours)} | {in_hours(cost.gpu_hours)} "
                    f"| {in_hours(cost.disk_gb)} |\n"
                )
    return text


if __name__ == "__main__":
    whole = re.sub(
        r"(<!-- costs -->\n).*?(<!-- end of costs -->)",
        lambda m: m[1] + table() + m[2],
        PAGE.read_text(encoding="utf-8"),
        flags=re.S,
    )
    PAGE.write_text(whole, encoding="utf-8")
