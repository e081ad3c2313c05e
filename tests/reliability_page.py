"""docs/reliability.md, made of what the tests of each part record in docs/tables/reliability-*.tsv.

    python tests/reliability_page.py      # writes the page; tests/unit/house/test_reliability_page.py says when that is due

Each row is one fault: what was done to a study, what happened before it was mended, what happens now, and the test that does it again.
"""

from __future__ import annotations

import csv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
#: Part of the page -> its table. The numbers under `item` are those of the faults as they were reported.
PARTS = {
    "Tables, sheets, images and configuration": "reliability-inputs.tsv",
    "Which images are taken": "reliability-bids.tsv",
    "Jobs that fail, and going on": "reliability-failing.tsv",
    "What is run again": "reliability-reruns.tsv",
    "Results that are missing, damaged or edited": "reliability-damage.tsv",
}
HEAD = """# Reliability

What happens when something is wrong. Each row was done to a study, and a test does it again. A fault ends in one clear line and exit
status 2 before anything is computed, or the result is made again. What is noticed of changed results: [reruns.md](reruns.md); what the
check before every plan looks at: [inputs.md](inputs.md).

This page is written by `python tests/reliability_page.py` from [tables/](tables).
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
