"""Write docs/reliability.md from docs/tables/reliability-*.tsv, the tables in which the tests of each part record faults.

    python tests/reliability_page.py      # writes the page; tests/unit/house/test_reliability_page.py fails when it is out of date

Each row is one fault: what was done to a study, what happened before it was fixed, what happens now, and the test that repeats it.
"""

from __future__ import annotations

import csv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
#: Part of the page -> its table. The numbers under `item` are those of the faults as they were reported.
PARTS = {
    "Tables, sheets, images and configuration": "reliability-inputs.tsv",
    "Which images are used": "reliability-bids.tsv",
    "Jobs that fail, and how to continue": "reliability-failing.tsv",
    "What is run again": "reliability-reruns.tsv",
    "Results that are missing, damaged or edited": "reliability-damage.tsv",
}
HEAD = """# Reliability

This page says what happens when something is wrong. A fault either ends in one clear line and exit status 2 before anything is
computed, or the result is made again. Each row is one fault that was introduced into a study, and a test repeats it unless the
last column says *by hand*. *Before* is what happened before the fault was fixed, *now* is what happens since. *Item* is the number
under which it was reported.

[reruns.md](reruns.md) says which changes to results are noticed. [inputs.md](inputs.md) lists what is checked before every plan.

`python tests/reliability_page.py` writes this page from [tables/](tables).
"""


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of one table."""
    with open(ROOT / "docs" / "tables" / name, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    for heading, name in PARTS.items():
        found = rows(name)
        lines = [list(found[0]), ["---"] * len(found[0])]
        lines += [[cell.replace("|", "\\|") for cell in row.values()] for row in found]
        parts.append(f"## {heading}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
