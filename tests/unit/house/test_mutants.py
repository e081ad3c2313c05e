"""The small changes of `make mutants` are what docs/mutants.md says, and the page is made of its tables."""

import ast
from pathlib import Path

import pytest

CODE = '''
"""Words."""
import os

LIMIT = 3


def f(a: int = 1, *, b: str = "key") -> float:
    """Words."""
    if a < LIMIT:
        raise ValueError(f"not {a + 1}")
    print("words", a + 2)
    a += 1
    return max(a, 0.5) - g(a, size=2)
'''


@pytest.fixture
def tools(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "tests" / "mutants"))


def test_every_change_is_found_and_made(tmp_path: Path, tools: None) -> None:
    from operators import mutants

    path = tmp_path / "code.py"
    path.write_text(CODE)
    _, found = mutants(path, tmp_path)
    assert [(m.function, m.operator, m.before, m.after) for m in found] == [
        ("", "constant", "3", "4"),
        ("f", "constant", "'key'", "'XXkeyXX'"),
        ("f", "constant", "1", "2"),
        ("f", "comparison", "a < LIMIT", "a <= LIMIT"),
        ("f", "deleted", "a += 1", "pass"),
        ("f", "arithmetic", "a += 1", "a -= 1"),
        ("f", "constant", "1", "2"),
        ("f", "arithmetic", "max(a, 0.5) - g(a, size=2)", "max(a, 0.5) + g(a, size=2)"),
        ("f", "operand", "max(a, 0.5) - g(a, size=2)", "g(a, size=2)"),
        ("f", "name", "max(a, 0.5)", "min(a, 0.5)"),
        ("f", "constant", "0.5", "1.0"),
        ("f", "argument", "g(a, size=2)", "g(a)"),
        ("f", "constant", "2", "3"),
    ]
    assert len({m.key for m in found}) == len(found)
    for number in range(len(found)):
        tree, again = mutants(path, tmp_path)
        again[number].apply()
        assert ast.unparse(ast.fix_missing_locations(tree)) != ast.unparse(ast.parse(CODE))


def test_page_is_made_of_its_tables(tools: None) -> None:
    from run import PAGE, page

    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run: python tests/mutants/run.py"
