"""README and docs: every link leads somewhere, every configuration in them is one, generated pages are current, the site is whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documentation import PAGES, ROOT, blocks, headings, inline_code, links, name_of

from neurostrata.core.config import load_schema, overlaid, schema_problems

sys.path.insert(0, str(ROOT / "docs" / "tools"))
import configuration
import costs
import quality

SECTIONS = set(load_schema("config")["properties"])
LANGUAGES = {"bash", "yaml", "python", "diff", "mermaid", "text"}
#: Blocks of YAML that are no configuration of a study: a key that each has, and what it is.
OTHER_YAML = {
    "title": "a schema (test_extending.py follows it)",
    "default-resources": "a profile of Snakemake",
}
#: Not to be taken by the letter; `ratio` is the source that extending.md adds.
PLACEHOLDERS = ("...", "from: ratio", "NAME:")


def configurations() -> list[tuple[str, dict[str, object]]]:
    """Return page and content of every piece of a configuration: YAML blocks, and `key: value` in running text."""
    found = []
    for block in blocks("yaml"):
        content = yaml.safe_load(block.text)
        if not OTHER_YAML.keys() & content.keys():
            found.append((block.page, content))
    for page, code in inline_code():
        if not re.match(r"\w+: \S", code):
            continue
        try:
            content = yaml.safe_load(code)
        except yaml.YAMLError:
            continue
        if (
            isinstance(content, dict)
            and content.keys() <= SECTIONS
            and not any(w in code for w in PLACEHOLDERS)
        ):
            found.append((page, content))
    return found


def test_every_block_has_a_language() -> None:
    assert [(b.page, b.text[:40]) for b in blocks() if b.language not in LANGUAGES] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            assert anchor in headings(target), f"{path}#{anchor}"


def test_the_configurations_in_the_pages_are_ones() -> None:
    schema = load_schema("config")
    found = configurations()
    assert len(found) > 15
    for page, content in found:
        content = overlaid({"cohort": {}}, {k: v for k, v in content.items() if v is not None})
        assert schema_problems(content, schema) == [], (page, content)


def test_the_page_of_all_keys_is_current() -> None:
    assert configuration.PAGE.read_text(encoding="utf-8") == configuration.page(), (
        "run: PYTHONPATH=workflow python docs/tools/configuration.py"
    )


def test_the_page_of_all_keys_has_every_key() -> None:
    text = configuration.page()
    files = (ROOT / "workflow" / "schemas").rglob("*.yaml")
    keys = {key for path in files for key in re.findall(r"^ +(\w+):\n +description:", path.read_text(), re.M)}
    assert len(keys) > 150
    missing = [key for key in keys if not re.search(rf"[`.]{key}`", text)]
    assert sorted(set(missing) - SECTIONS - {"from", "domain"}) == []


def test_an_experiment_has_its_own_defaults_in_the_page() -> None:
    """Not those of the sections with the same names."""
    lines = configuration.page().partition("## experiments[]")[2].partition("\n## ")[0].splitlines()
    defaults = {line.split(" | ")[0].strip("| `"): line.split(" | ")[2] for line in lines if "| `" in line}
    assert [defaults[key] for key in ("modalities", "seed", "training")] == ["", "`null`", "`{}`"]


def test_every_kind_of_value_has_words() -> None:
    kinds = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
    assert configuration.in_words(kinds) == "list: text; or `null`"


def test_the_table_of_costs_is_current() -> None:
    assert costs.table() in (ROOT / "README.md").read_text(encoding="utf-8"), (
        "run: PYTHONPATH=workflow python docs/tools/costs.py"
    )


def test_the_table_of_measures_is_current() -> None:
    assert quality.PAGE.read_text(encoding="utf-8") == quality.page(), (
        "run: PYTHONPATH=workflow python docs/tools/quality.py"
    )


def test_pictures_are_small_and_all_used() -> None:
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    assert max(pictures.values()) <= 200_000
    assert sum(pictures.values()) <= 1_500_000
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in pictures if f"images/{name})" not in text] == []


def test_the_site_has_every_page_and_nothing_from_outside(tmp_path: Path) -> None:
    if shutil.which("mkdocs") is None and not (Path(sys.executable).parent / "mkdocs").exists():
        pytest.skip("mkdocs is missing")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        sources = re.findall(
            r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"?(https?://[^\s\">]+)", page.read_text()
        )
        assert [s for s in sources if "localhost" not in s] == [], page
