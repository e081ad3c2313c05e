"""Write docs/glossary.md from resources/glossary.yaml.

PYTHONPATH=workflow python docs/tools/glossary.py     # a test fails when the page is out of date
"""

from __future__ import annotations

from pathlib import Path

from neurostrata.report.text.glossary import glossary

PAGE = Path(__file__).resolve().parents[1] / "glossary.md"

HEAD = "# The words\n\nIn the order in which a study meets them.\n"


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for title, words in glossary().items():
        rows = [f"| {word} | {meaning} |" for word, meaning in words.items()]
        parts.append("\n".join([f"## {title}", "", "| word | what it means here |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
