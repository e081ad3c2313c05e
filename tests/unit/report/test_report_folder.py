"""What the folder of a report holds beside its pages, and what its pages link."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neurostrata.core.records import DamagedError, recording
from neurostrata.core.tables import write_table
from neurostrata.report.html.folder import (
    ASSETS,
    LARGEST,
    SCRIPTS,
    STYLES,
    copied,
    renew_copies,
    script_json,
    write_assets,
    write_data,
)
from neurostrata.report.html.navigation import Entry, fixed_navigation, neighbours
from neurostrata.report.html.page import Page


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("experiments/a/splits.tsv", "experiments/a/splits.json", "template/template.nii.gz"):
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "results/report").mkdir()
    return tmp_path / "results"


def test_a_table_is_copied_with_its_sidecar_and_kept_up_to_date(results: Path) -> None:
    report, table = results / "report", results / "experiments/a/splits.tsv"
    copy = copied(report, results, table)
    assert copy == report / "tables/experiments/a/splits.tsv"
    assert copy.read_text() == "experiments/a/splits.tsv"
    assert copy.with_suffix(".json").is_file()
    before = copy.stat()
    copied(report, results, table)
    assert copy.stat().st_ino == before.st_ino  # nothing to do
    table.write_text("changed")
    copied(report, results, table)
    assert copy.read_text() == "changed"
    # a page of a person links the copy: it is renewed although this run linked it nowhere, and goes with its table
    table.write_text("changed again")
    renew_copies(report, results)
    assert copy.read_text() == "changed again"
    table.unlink()
    renew_copies(report, results)
    assert not copy.exists()
    assert copy.with_suffix(".json").exists()


def test_what_is_not_copied(results: Path, tmp_path: Path) -> None:
    report = results / "report"
    private = tmp_path / "questionnaires.tsv"
    private.write_text("of the study, not of its results")
    large = results / "large.tsv"
    with large.open("wb") as stream:
        stream.truncate(LARGEST + 1)
    for path in (private, large, results / "template/template.nii.gz", results / "experiments"):
        assert copied(report, results, path) is None
    assert not (report / "tables").exists()
    own = report / "verdicts.tsv"
    own.write_text("made here")
    assert copied(report, results, own) == own


def test_a_table_that_was_changed_after_it_was_made_is_not_passed_on(results: Path) -> None:
    import pandas as pd

    table = results / "experiments/a/clusters.tsv"
    with recording("cluster"):
        write_table(table, pd.DataFrame({"subject": ["1"]}))
    table.write_text("subject\n2\n")
    with pytest.raises(DamagedError):
        copied(results / "report", results, table)


def test_a_page_links_copies_and_names_the_rest(results: Path, tmp_path: Path) -> None:
    study: Any = SimpleNamespace(tree=SimpleNamespace(root=results))
    private = tmp_path / "questionnaires.tsv"
    private.write_text("private")
    paths = (
        results / "experiments/a/splits.tsv",
        results / "template/template.nii.gz",
        private,
        results / "none.tsv",
    )
    page = Page(study, results / "report/index.html", results / "report/figures")
    assert [(link.text, link.href) for link in page.sources(*paths)] == [
        ("experiments/a/splits.tsv", "tables/experiments/a/splits.tsv"),
        ("template/template.nii.gz", ""),
        ("questionnaires.tsv", ""),
    ]
    person = Page(study, results / "report/subjects/sub-1.html", results / "report/subjects")
    assert person.href(paths[0]) == "../tables/experiments/a/splits.tsv"


def test_scripts_and_styles_are_there_and_need_no_network(tmp_path: Path) -> None:
    folder = write_assets(tmp_path)
    assert {*SCRIPTS, *STYLES} <= {path.name for path in folder.iterdir()}
    changed = folder / "report.css"
    changed.write_text("body{display:none}")
    before = (folder / "theme.js").stat().st_ino
    write_assets(tmp_path)
    assert changed.read_bytes() == (ASSETS / "report.css").read_bytes()
    assert (folder / "theme.js").stat().st_ino == before
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")  # the name of SVG
        assert not any(
            word in text for word in ("http://", "https://", "@import", "import(", "fetch(", "XMLHttpRequest")
        ), path


def test_data_of_scripts_cannot_end_the_script(tmp_path: Path) -> None:
    value = {"<img onerror=x>": ["</script><script>alert(1)</script>", "\u2028", "ü"]}
    text = script_json(value)
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="JSON"):
        script_json(float("nan"))
    write_data(tmp_path / "data/x.js", "x", value)
    assert (tmp_path / "data/x.js").read_text(encoding="utf-8") == f"window.x={text};\n"


def test_pages_stand_in_one_order() -> None:
    pages = [Entry("a", "a.html"), Entry("b", "b.html", current=True), Entry("c", "c.html")]
    around = neighbours(pages)
    assert (around.previous, around.next) == (pages[0], pages[2])
    assert neighbours(pages[:2]).next is None
    assert neighbours(pages[1:]).previous is None
    assert neighbours([pages[0]]).next is None
    links = fixed_navigation(Path("/r/report"), Path("/r/report/subjects/sub-1.html"))
    assert links[0].href == "../index.html"
    assert [entry.placeholder for entry in links].index(True) == 5
