"""People's pictures show the right side and the same points of space; the numbers of everybody are those of the tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from report_fixture import make_results

from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.images.io import Grid, Image
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.page import Page
from neurostrata.report.people import mosaic
from neurostrata.report.people.data import people_numbers, robust_z, write_people
from neurostrata.report.people.examples import decoded_pictures
from neurostrata.report.people.montage import (
    outlines,
    paint,
    plan_montage,
    save_picture,
    svg_path,
    values_on,
)
from neurostrata.report.people.mosaic import write_mosaic


def ball(
    shape: tuple[int, int, int], affine: np.ndarray, centre: tuple[float, float, float], radius: float
) -> Image:
    grid = Grid(shape, affine)
    distance = np.linalg.norm(grid.points() - np.array(centre), axis=-1)
    return Image((distance < radius).astype(np.float32), grid)


def affine_of(side: float, origin: tuple[float, float, float], flip: bool = False) -> np.ndarray:
    affine = np.diag([-side if flip else side, side, side, 1.0])
    affine[:3, 3] = origin
    return affine


def middle(values: np.ndarray) -> np.ndarray:
    """Return the mean (column, row) of what is not 0."""
    rows, columns = np.nonzero(values > 0.5)
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("flip", [False, True])
def test_the_persons_left_front_and_top_are_where_the_marks_say(flip: bool) -> None:
    affine = affine_of(2, (39 if flip else -39, -39, -39), flip)
    head = ball((40, 40, 40), affine, (0, 0, 0), 34)
    spot = ball((40, 40, 40), affine, (-15, 12, 18), 9)  # left, in front, high
    montage = plan_montage(head, per_plane=9)
    shown = [
        (panel, part) for panel, part in zip(montage.panels, values_on(montage, spot)) if part.max() > 0.9
    ]
    assert {panel.plane for panel, _ in shown} == {0, 1, 2}
    for panel, part in shown:
        column, row = middle(part) / [panel.width, panel.height]
        if panel.plane == 0:
            assert column > 0.55  # A stands on the right
            assert row < 0.45
        else:
            assert column < 0.45  # L stands on the left
            assert row < 0.45
    # slices of one plane stand side by side in one row, rows one below the other
    assert [len(montage.of_plane(plane)) for plane in range(3)] == [9, 9, 9]
    assert {panel.top for panel in montage.of_plane(1)} == {montage.of_plane(1)[0].top}
    assert montage.of_plane(2)[0].top >= montage.of_plane(1)[0].top + montage.of_plane(1)[0].height


def test_layers_show_the_same_points_whatever_their_grids() -> None:
    head = ball((60, 60, 60), affine_of(1.5, (-45, -45, -45)), (0, 0, 0), 38)
    montage = plan_montage(head)
    here = ball((60, 60, 60), affine_of(1.5, (-45, -45, -45)), (6, -9, 12), 14)
    moved = np.eye(4)
    moved[:3, 3] = (20, 5, -10)
    # the same ball, scanned with larger voxels while the head lay elsewhere
    there = ball((30, 30, 30), affine_of(4, (-38, -53, -68)), (26, -4, 2), 14)
    pairs = zip(values_on(montage, here), values_on(montage, there, moved), values_on(montage, there))
    apart, unaligned = [], []
    for first, second, wrong in pairs:
        if first.max() < 0.9 or second.max() < 0.9:
            continue
        apart.append(np.abs(middle(first) - middle(second)).max())
        if wrong.max() > 0.9:
            unaligned.append(np.abs(middle(first) - middle(wrong)).max())
    assert len(apart) >= 4
    assert max(apart) < 2.0  # pixels of 1 mm; its voxels are 4 mm
    assert max(unaligned) > 8


def test_outlines_lie_on_the_edge_in_the_picture(tmp_path: Path) -> None:
    head = ball((50, 50, 50), affine_of(2, (-49, -49, -49)), (0, 0, 0), 40)
    montage = plan_montage(head)
    lines = outlines(values_on(montage, head), 0.5)
    path = svg_path(montage, lines, 1)
    assert path.count("M") == 3  # one closed line per slice
    numbers = [int(number) for number in re.findall(r"[+-]?\d+", path.split("M")[1])]
    points = np.cumsum(np.array(numbers).reshape(-1, 2), axis=0) / 2
    panel = montage.of_plane(1)[0]
    centre = np.array([panel.left + panel.width / 2, panel.top + panel.height / 2])
    radii = np.linalg.norm(points - centre, axis=1)
    y = panel.millimetres
    assert radii == pytest.approx(np.sqrt(40**2 - y**2), abs=3)
    picture = paint(montage, values_on(montage, head), (0, 1))
    saved = matplotlib.image.imread(save_picture(picture, tmp_path / "a.webp"))
    assert saved.shape[:2] == (montage.height, montage.width)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return make_results(tmp_path_factory.mktemp("people"), people=20, clusters=3, factors=2, variables=6)


def page_of(results: Path, config: dict[str, Any]) -> Page:
    report = results.resolve() / "report"
    return Page(
        StudyResults(ResultsTree(results.resolve()), config), report / "index.html", report / "figures"
    )


def test_a_mosaic_is_small_enough_for_fifty_on_a_page(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    results, _ = study
    tree = ResultsTree(results.resolve())
    path = write_mosaic(tree, "001", tmp_path / "mosaic.webp")
    assert path is not None
    assert path.stat().st_size < 100_000
    height, width = matplotlib.image.imread(path).shape[:2]
    assert width > 500
    assert height > 300  # three rows: scan, registration, diffusion
    assert write_mosaic(tree, "002", tmp_path / "none.webp") is None  # this one has no images


def test_a_mosaic_says_which_side_is_which(
    study: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[np.ndarray] = []
    monkeypatch.setattr(mosaic, "save_picture", lambda picture, path, **_: drawn.append(picture) or path)
    write_mosaic(ResultsTree(study[0].resolve()), "001", tmp_path / "mosaic.webp")
    white = (drawn[0] == 255).all(axis=-1)
    windows = np.lib.stride_tricks.sliding_window_view(white, (7, 5))

    def found(*lines: str) -> list[tuple[int, int]]:
        letter = np.array([[cell == "#" for cell in line] for line in lines])
        return [(int(row), int(column)) for row, column in np.argwhere((windows == letter).all(axis=(2, 3)))]

    left = found("#    ", "#    ", "#    ", "#    ", "#    ", "#    ", "#####")
    right = found("#### ", "#   #", "#   #", "#### ", "# #  ", "#  # ", "#   #")
    # two coronal and two axial slices in each of three rows; the person's left is on the left
    assert len(left) == len(right) == 12
    assert [row for row, _ in left] == [row for row, _ in right]
    columns = [(one[1], other[1]) for one, other in zip(left, right)]
    assert all(40 < end - start < 400 for start, end in columns)


def test_the_numbers_of_everybody_are_those_of_the_tables(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    results, config = study
    before = people_numbers(page_of(results, config))
    assert before["subjects"] == [f"{i + 1:03d}" for i in range(20)]
    assert not [m for m in before["measures"] if m["group"] == "scan"]
    attack = "<img src=x onerror=alert(1)></script>"
    people = [f"{i + 1:03d}" for i in range(19)] + [
        "777"
    ]  # 020 was not measured, 777 is no longer in the study
    values = np.arange(20) / 7 + 5
    try:
        write_table(
            results / "qc/measures.tsv", pd.DataFrame({"subject": people, "snr": values, "unheard": 1.0})
        )
        rows = pd.DataFrame({"subject": people, "measure": "snr", "value": values, "expected": 6.0})
        rows["z"], rows["limit"], rows["compared_with"] = -1.234567, 4.0, 20
        rows["flagged"] = ["true" if s in ("003", "777") else "false" for s in people]
        write_table(results / "qc/deviations.tsv", rows)
        write_table(
            results / "qc/suggested_exclusions.tsv",
            pd.DataFrame(
                [("003", None, "snr", attack)], columns=["subject", "modality", "measure", "reason"]
            ),
        )
        page = page_of(results, config)
        text = write_people(page).read_text()
    finally:
        for path in (results / "qc").iterdir():
            path.unlink()
    assert "<" not in text
    numbers = json.loads(text.removeprefix("window.neurostrataPeople=").rstrip(";\n"))
    assert numbers["suggestions"] == [{"subject": "003", "modality": "", "measure": "snr", "reason": attack}]
    snr = next(m for m in numbers["measures"] if m["name"] == "snr")
    assert not [m for m in numbers["measures"] if m["name"] == "unheard"]
    assert snr["values"][:2] == [5.0, 5.143]
    assert snr["values"][19] is None
    assert snr["z"][0] == -1.23
    assert snr["flagged"] == [2]
    assert (snr["bad"], snr["log"], snr["unit"]) == ("low", True, "")
    clusters = read_table(results / "experiments/jac-ndi/strata/adjusted/mixture/clusters.tsv")
    strata = next(s for s in numbers["strata"] if s["experiment"] == "jac-ndi")
    expected = dict(zip(clusters["subject"], clusters["cluster"]))
    assert strata["cluster"] == [expected.get(subject) for subject in numbers["subjects"]]
    assert sum(strata["sizes"].values()) == len(clusters)
    for pictures in numbers["decoded"].values():
        for kind in ("real", "decoded"):
            assert (results / "report/subjects" / pictures[0][kind]).is_file()


def test_decoded_pictures_are_those_of_the_decoded_images(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    results, config = study
    page = page_of(results, config)
    fold = next(f for e, _ in page.study.experiments() for f in e.folds() if f.examples.is_file())
    with np.load(fold.examples) as content:
        arrays = dict(content)
    real = np.zeros_like(arrays["real"])
    real[..., 2:-2, 2:-2] = 1.0
    kept = fold.examples.read_bytes()
    try:
        np.savez(fold.examples, **(arrays | {"real": real, "decoded": real * 0.5}))
        subject = str(arrays["subjects"][0])
        entry = decoded_pictures(page, page.path)[subject][0]
        shown = [matplotlib.image.imread(page.path.parent / str(entry[kind])) for kind in ("real", "decoded")]
    finally:
        fold.examples.write_bytes(kept)
    assert entry["modalities"] == list(arrays["modalities"])
    # both on the grey scale of the real one
    assert [int(picture.max()) for picture in shown] == pytest.approx([255, 127], abs=2)


def test_decisions_are_those_of_the_sheet_or_the_report_stops(
    study: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    results, config = study
    sheet = tmp_path / "qc.tsv"
    config = config | {"qc": str(sheet)}
    sheet.write_text("subject\tmodality\tdecision\treason\n003\t\texclude\tmoved\n")
    assert people_numbers(page_of(results, config))["decisions"] == [
        {"subject": "003", "modality": "", "decision": "exclude", "reason": "moved", "rater": "", "date": ""}
    ]
    sheet.write_text("subject\tmodality\tdecision\treason\n003\t\texclud\tmoved\n")
    with pytest.raises(UserError, match=r"qc\.tsv.*exclud"):
        people_numbers(page_of(results, config))


def test_robust_z_does_without_what_it_cannot_compare() -> None:
    values = pd.Series([1.0, 2.0, 3.0, 4.0, 100.0, np.nan])
    z = robust_z(values)
    assert z[2] == 0
    assert z[4] == pytest.approx(97 / 1.4826, rel=1e-5)
    assert np.isnan(z[5])
    assert robust_z(pd.Series([1.0, 1.0, 1.0, 5.0])).isna().all()
    assert robust_z(pd.Series([0.0, 1.0, np.e, np.e**2]), logarithm=True)[2] == 0
