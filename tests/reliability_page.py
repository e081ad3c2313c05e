"""Write docs/reliability.md from docs/tables/reliability-*.tsv, the tables in which the tests of each part record faults.

    python tests/reliability_page.py      # writes the page; tests/unit/house/test_reliability_page.py fails when it is out of date

Each row is one fault: what was done to a study, what happened before it was fixed, what happens now, and the test that repeats it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
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
#: What the page shows of a table, and under which heading. The tables also have what happened before a fault was fixed.
COLUMNS = {"what was done": "what was done to a study", "now": "what happens", "test": "test"}
#: The part of which the page has only the numbers of kinds and outcomes.
COUNTED = "reliability-damage.tsv"
HEAD = """# Reliability

What happens when something is wrong? A fault either ends in one clear line and exit status 2 before anything is computed, or the result is
made again. Each row is a fault that was made in a study, and the test that makes it again, unless the last column says *by hand*.

[reruns.md](reruns.md) says which changes to results are noticed, [inputs.md](inputs.md) what is checked before every plan.

`python tests/reliability_page.py` writes this page from [tables/](tables); they also say what happened before a fault was mended.
"""


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of one table."""
    with open(ROOT / "docs" / "tables" / name, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def table(found: list[list[str]]) -> str:
    """Return lines as a Markdown table."""
    lines = [found[0], ["---"] * len(found[0]), *found[1:]]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def name_of_test(cell: str) -> str:
    """Return tests without the folders of their files."""
    return re.sub(r"tests/(\w+/)*(test_\w+\.py)", r"\2", cell)


def counted(found: list[dict[str, str]]) -> str:
    """Say how many kinds of files were damaged in each way, and what the stage that read them did."""
    record, none = "with a record", "without a record"  # of the checksums; files that are given have none
    numbers = Counter((row["damage"], row[record] if row[record] != "n/a" else row[none]) for row in found)
    lines = [[damage, outcome, str(number)] for (damage, outcome), number in numbers.items()]
    return (
        "A byte, a line or an end was changed in each kind of file of a small study. The next stage that read it refused it, or its result was the "
        f"same. [tables/{COUNTED}](tables/{COUNTED}) has each file.\n\n"
        + table([["damage", "what the reading stage did", "kinds of files"], *lines])
    )


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    for heading, name in PARTS.items():
        found = rows(name)
        if name == COUNTED:
            parts.append(f"## {heading}\n\n{counted(found)}\n")
            continue
        lines = [[row[column] for column in COLUMNS] for row in found]
        lines = [[*line[:-1], name_of_test(line[-1])] for line in lines]
        parts.append(f"## {heading}\n\n{table([list(COLUMNS.values()), *lines])}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
