"""Figures as SVG: text that stays text, points that name people, and colours that follow the page."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.figures.clusters import clusters_figure
from neurostrata.report.figures.images import slice_rows
from neurostrata.report.figures.slices import Volume
from neurostrata.report.figures.style import BLACK, DARK, figure_style, name_points, new_figure, save_figure
from neurostrata.report.html.folder import ASSETS
from neurostrata.report.html.page import Page
from neurostrata.report.html.svg import SVG, adaptive, inline

EVIL = '<img src=x onerror="alert(1)">'


def points_of(text: str) -> dict[str, ElementTree.Element]:
    """Person -> the element of the point."""
    return {
        e.attrib["data-person"]: e for e in ElementTree.fromstring(text).iter() if "data-person" in e.attrib
    }


def people() -> tuple[pd.DataFrame, pd.DataFrame]:
    clusters = pd.DataFrame({"subject": ["01", EVIL, "03"], "cluster": [1, 1, 2]})
    return clusters, clusters[["subject"]].assign(x=[0.0, 1.0, 2.0], y=[1.0, 0.0, 2.0])


def test_text_is_text_and_each_point_names_its_person(tmp_path: Path) -> None:
    path = save_figure(clusters_figure(*people()), tmp_path / "c.svg")
    text = path.read_text()
    root = ElementTree.fromstring(text)
    words = ["".join(element.itertext()) for element in root.iter(f"{{{SVG}}}text")]
    assert {"Cluster sizes", "number of people", "t-SNE of the embeddings"} <= set(words)
    found = points_of(text)
    assert list(found) == ["01", EVIL, "03"]
    titles = [found[name].findtext(f"{{{SVG}}}title") for name in found]
    assert titles == ["sub-01, cluster 1", f"sub-{EVIL}, cluster 1", "sub-03, cluster 2"]
    # From left to right as in the table, and nothing of an id is markup.
    assert sorted(found, key=lambda name: float(found[name].attrib["x"])) == list(found)
    assert "<img" not in text
    assert "font-family: 'DejaVu Sans', Verdana, Geneva" in text


def test_an_inline_figure_has_ids_of_its_own_and_colours_of_the_page(tmp_path: Path) -> None:
    text = save_figure(clusters_figure(*people()), tmp_path / "c.svg").read_text()
    first, second = (
        inline(text, name, f"shows {EVIL}", "subjects/sub-*.html") for name in ("a.svg", "b.svg")
    )
    ids = [set(re.findall(r'\bid="([^"]+)"', part)) for part in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for part, own in zip((first, second), ids):
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', part)) == own
    assert "var(--figure-332288, #332288)" in first
    root = ElementTree.fromstring(first)
    assert root.attrib["aria-label"] == f"shows {EVIL}"
    assert root.attrib["data-page"] == "subjects/sub-*.html"
    assert "<img" not in first


def test_a_figure_has_no_ground_but_one_of_brains(tmp_path: Path) -> None:
    with figure_style():
        figure = new_figure(3, 2)
        figure.subplots().plot([0, 1])
    text = save_figure(figure, tmp_path / "a.svg").read_text()
    assert "fill: #ffffff" not in text
    volume = Volume(pd.Series(range(1, 513)).to_numpy(float).reshape(8, 8, 8), (1.0, 1.0, 1.0))
    brains = save_figure(slice_rows(volume), tmp_path / "b.svg").read_text()
    assert f"fill: {BLACK}" in brains
    assert re.search(r"fill: #e4e8eb[^>]*>axial", brains)


def test_the_narrow_file_turns_dark_by_itself(tmp_path: Path) -> None:
    text = adaptive(save_figure(clusters_figure(*people(), narrow=True), tmp_path / "c.svg").read_text())
    assert "prefers-color-scheme:dark" in text
    assert f"--figure-332288:{DARK['#332288']}" in text
    assert "fill: var(--figure-332288, #332288)" in text


def test_the_style_sheet_has_the_dark_colours() -> None:
    sheet = (ASSETS / "figures.css").read_text()
    blocks = re.findall(r"svg\.plot\{((?:--figure-[^}]*))\}", sheet)
    assert len(blocks) == 2  # by the system, and by the page's button
    for block in blocks:
        assert dict(pair.split(":") for pair in block.split(";")) == {
            f"--figure-{light[1:]}": dark for light, dark in DARK.items()
        }


def test_as_many_names_as_points() -> None:
    points = new_figure(2, 2).subplots().scatter([0, 1], [0, 1])
    with pytest.raises(ValueError, match="zip"):
        name_points(points, ["01", "02"], [1.0])


def test_a_page_has_the_figure_its_files_and_the_narrow_one(tmp_path: Path) -> None:
    (tmp_path / "report" / "subjects").mkdir(parents=True)
    (tmp_path / "report" / "subjects" / "sub-01.html").touch()
    study = StudyResults(ResultsTree(tmp_path), {})
    page = Page(study, tmp_path / "report" / "x.html", tmp_path / "report" / "figures")
    clusters, tsne = people()
    block = page.figure(
        lambda narrow: clusters_figure(clusters, tsne, narrow=narrow),
        "e/c.svg",
        "Title",
        "Caption",
        alt="seen",
    )
    assert (block.href, block.png, block.narrow) == tuple(
        f"figures/e/c{end}" for end in (".svg", ".png", "-narrow.svg")
    )
    assert all((page.path.parent / name).is_file() for name in (block.href, block.png, block.narrow))
    assert 'data-page="subjects/sub-*.html"' in block.svg
    widths = [
        float(
            ElementTree.fromstring((page.path.parent / name).read_text()).attrib["width"].removesuffix("pt")
        )
        for name in (block.href, block.narrow)
    ]
    assert widths[1] < 320 < widths[0]  # points: 420 pixels are 315
