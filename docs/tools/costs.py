"""Write README's table of what a study costs, from the model that `neurostrata init` and dry runs use.

    PYTHONPATH=workflow python docs/tools/costs.py     # a test fails when the table is out of date
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "README.md"


def table() -> str:
    """Return the table."""
    return ""


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    whole = re.sub(
        r"(<!-- costs -->\n).*?(<!-- end of costs -->)", lambda m: m[1] + table() + m[2], text, flags=re.S
    )
    PAGE.write_text(whole, encoding="utf-8")
