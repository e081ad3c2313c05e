"""Write the table of measures in docs/quality.md, from their registry.

PYTHONPATH=workflow python docs/tools/quality.py     # a test fails when the table is out of date
"""

from __future__ import annotations

import re
from pathlib import Path

from neurostrata.imaging.quality.registry import FAMILIES, MEASURES, Measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quality.md"
GROUPS = {
    "scan": "The T1-weighted scan",
    "placement": "Brain mask and registration",
    "brain": "Size",
    "diffusion": "Diffusion data",
    "maps": "Each modality's map on the fusion grid",
}


def row(name: str, measure: Measure) -> str:
    """Return a measure's row."""
    bad = {"low": "low", "high": "high", "both": "either"}[measure.bad]
    unit = "" if measure.unit == "1" else measure.unit
    words = measure.words.format(modality="the modality")
    return f"| `{name}` | {words} | {unit} | {bad} |\n"


def table() -> str:
    """Return the table."""
    text = ""
    for group, title in GROUPS.items():
        text += f"\n**{title}**\n\n| measure | what it is | unit | bad |\n|---|---|---|---|\n"
        text += "".join(row(name, m) for name, m in MEASURES.items() if m.group == group)
        text += "".join(row(f"{name}_MODALITY", m) for name, m in FAMILIES.items() if m.group == group)
    return text


def page() -> str:
    """Return the page with the table."""
    between = r"(?<=<!-- measures -->\n).*?(?=<!-- /measures -->)"
    return re.sub(between, lambda _: table() + "\n", PAGE.read_text(encoding="utf-8"), flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
