"""docs/papers/*.md is what resources/papers says, whole, and its links lead somewhere."""

import re

import pytest
from papers_pages import COHORTS, MEASURED, PAGES, ROOT, page

from neurostrata.core.config import read_yaml

PAPERS = sorted(path.stem for path in (ROOT / "resources" / "papers").glob("*.yaml"))


def table_rows(text, heading):
    """Return the rows of the table under a heading, as lists of cells."""
    part = text.split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_there_is_a_page_for_every_paper():
    assert sorted(path.stem for path in PAGES.glob("*.md")) == PAPERS == sorted(MEASURED) == sorted(COHORTS)


@pytest.mark.parametrize("paper", PAPERS)
def test_pages_are_up_to_date(paper):
    assert (PAGES / f"{paper}.md").read_text(encoding="utf-8") == page(paper), (
        "run: PYTHONPATH=workflow python tests/papers_pages.py"
    )


@pytest.mark.parametrize("paper", PAPERS)
def test_every_result_and_number_has_a_row(paper):
    text = (PAGES / f"{paper}.md").read_text(encoding="utf-8")
    results = read_yaml(ROOT / "resources" / "papers" / f"{paper}.yaml")["results"]
    rows = {row[0].strip("*"): row for row in table_rows(text, "Tables and figures")}
    assert list(rows) == [result["id"] for result in results]
    for result in results:
        place = rows[result["id"]][3]
        if "here" in result:
            assert place.startswith("here: ")
            assert re.findall(r"`([^`]+)`", place) == result["here"]
        else:
            assert place.startswith("not here: ")
            assert place.lower().endswith(result["not_here"].lower())
    numbers = [(result["id"], number) for result in results for number in result.get("numbers", [])]
    if not numbers:
        return
    for (name, number), row in zip(numbers, table_rows(text, "Numbers"), strict=True):
        assert row[0] == name
        plain = row[2].translate(str.maketrans("−⁻⁵", "--5")).replace("×10", "e")
        assert [float(part) for part in plain.split(" ± ")] == [
            number["paper"], *([number["spread"]] if "spread" in number else []),
        ]  # fmt: skip
        for path in number.get("tables", [number["table"]] if "table" in number else []):
            assert f"`{path}`" in row[3]


@pytest.mark.parametrize("paper", PAPERS)
def test_links_lead_somewhere(paper):
    text = (PAGES / f"{paper}.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (PAGES / link).exists(), link


def test_what_stands_beside_a_result_is_measured():
    for entries in MEASURED.values():
        for entry in entries:
            assert len(entry.numbers()) >= 2, entry
    assert [len(MEASURED["dimitri2022"][0].numbers())] == [10]  # cohorts, not rows
