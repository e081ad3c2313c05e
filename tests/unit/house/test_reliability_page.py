"""docs/reliability.md is what its tables say, and the tests that it names are there."""

import re

import pytest
from reliability_page import PAGE, PARTS, ROOT, page, rows


def test_page_is_made_of_its_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/reliability_page.py"


@pytest.mark.parametrize("name", PARTS.values())
def test_every_row_is_whole_and_names_tests_that_exist(name: str) -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    known = set(re.findall(r"\b(test_\w+)", "\n".join(re.findall(r"^ *def (test_\w+)", source, re.M))))
    known |= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    found = rows(name)
    assert found
    for row in found:
        assert None not in row, row
        assert all(row.values()), row
        named = set(re.findall(r"\btest_\w+", row.get("test", "")))
        assert named or "test" not in row or row["test"] == "by hand", row
        assert named <= known, named - known
