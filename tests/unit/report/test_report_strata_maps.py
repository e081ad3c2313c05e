"""What the strata look like: pictures show what was planted where it was planted, and without strata there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from report_fixture import ellipsoid, make_results, save_image

from neurostrata.core.files import write_json
from neurostrata.core.tables import read_table, write_table
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import Experiment, ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.data.strata_maps import read_strata_maps, why_none
from neurostrata.report.figures.agreement import flow_figure, matrix_of, rand_matrix_figure
from neurostrata.report.figures.film import Cut, Layer, Panel, Placed, box_of, draw_film, straight
from neurostrata.report.figures.strata_maps import effect_layer, ground, scale_of, strongest
from neurostrata.report.figures.style import save_figure
from neurostrata.report.html.blocks import Figure, Section, Table, Text
from neurostrata.report.html.page import Page
from neurostrata.report.html.pages import write_page
from neurostrata.report.judged import experiment_verdict
from neurostrata.report.sections.composition import composition_section
from neurostrata.report.sections.strata_maps import more_maps_section, strata_maps_section, strata_overview
from neurostrata.report.text.verdict import Verdict
from neurostrata.strata.maps.commands import map_strata

SHAPE = (18, 22, 18)
AFFINE = np.diag([8.0, 8, 8, 1])
#: Where cluster 1 has more of `jac`: on the person's right.
PLANTED = (slice(12, 15), slice(8, 12), slice(7, 11))


def add_maps(results: Path, experiment: str, atlas: bool = False) -> None:
    """Write volumes with an effect of cluster 1 of the experiment, and run the stage on them."""
    generator = np.random.default_rng(4)
    mask = ellipsoid(SHAPE)
    save_image(results / "volumes/mask.nii.gz", mask, side=8.0)
    place = results / f"experiments/{experiment}/strata/adjusted/mixture"
    clusters = read_table(place / "clusters.tsv")
    first = set(clusters.loc[clusters["cluster"] == 1, "subject"])
    subjects = list(clusters["subject"])
    for modality in ("jac", "ndi"):
        array = generator.normal(1, 0.1, (len(subjects), *SHAPE)).astype(np.float32)
        for row, subject in enumerate(subjects):
            if subject in first:
                array[row][PLANTED] += 0.4 if modality == "jac" else 0.2
        np.save(results / f"volumes/{modality}.npy", array)
        facts = {"modality": modality, "subjects": subjects, "affine": AFFINE.tolist(), "mask": "mask.nii.gz"}
        limits = {"low": 0.5, "high": 1.5, "percentiles": [0.1, 99.9], "scope": "cohort"}
        write_json(results / f"volumes/{modality}.json", {**facts, "limits": limits})
    people = pd.DataFrame({"subject": subjects, "family": "", "site": "<i>x</i>", "diagnosis": ""})
    people["age"], people["head_size"] = (
        generator.normal(40, 9, len(subjects)),
        generator.normal(1, 0.1, len(subjects)),
    )
    people["sex"] = generator.choice(["F", "M"], len(subjects))
    write_table(results / "cohort/characteristics.tsv", people)
    given = {}
    if atlas:
        regions = np.zeros(SHAPE, np.int32)
        regions[PLANTED], regions[4:7, 4:12, 5:9] = 3, 4
        save_image(results / "volumes/regions.nii.gz", regions, side=8.0)
        names = pd.DataFrame({"region": [3, 4], "name": ["<img onerror=alert(1)>", "left & low"]})
        write_table(results / "volumes/regions.tsv", names)
        given = {"regions": results / "volumes/regions.nii.gz", "names": results / "volumes/regions.tsv"}
    map_strata(
        volumes=[results / "volumes/jac.npy", results / "volumes/ndi.npy"],
        mask=results / "volumes/mask.nii.gz",
        clusters=place / "clusters.tsv",
        existence=place / "existence.tsv",
        codes=results / f"experiments/{experiment}/strata/codes-adjusted.tsv",
        people=results / "cohort/characteristics.tsv",
        maps=place / "maps",
        output=place / "maps.tsv",
        places=place / "places.tsv",
        settings={"confidence": 0.95, "seed": 1},
        **given,
    )


Study = tuple[Page, list[tuple[Experiment, dict[str, Any], Verdict, Evidence]]]


def open_study(results: Path, config: dict[str, Any]) -> Study:
    study = StudyResults(ResultsTree(results), config)
    page = Page(study, results / "report/index.html", results / "report/figures")
    judged = [(e, c, *experiment_verdict(study, e, c, {})) for e, c in study.experiments()]
    return page, judged


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    results, config = make_results(
        tmp_path_factory.mktemp("maps"), people=30, clusters=3, factors=2, variables=6, images=False
    )
    template = np.where(ellipsoid((36, 44, 36)), 50 + np.random.default_rng(0).normal(0, 5, (36, 44, 36)), 0)
    save_image(results / "template/template.nii.gz", template)
    save_image(results / "template/mask.nii.gz", template > 0)
    add_maps(results, "jac-ndi-pca")
    add_maps(results, "jac-ndi", atlas=True)
    (results / "report/subjects").mkdir(parents=True)
    for subject in read_table(results / "experiments/jac-ndi/strata/adjusted/mixture/clusters.tsv")[
        "subject"
    ]:
        (results / f"report/subjects/sub-{subject}.html").write_text("")
    return results, config


@pytest.mark.parametrize(
    ("splines", "words"),
    [
        (1, "Linear effects of age, sex"),
        ({"age": 3}, "Effects (age along cubic curves) of age, sex"),
        (4, "Effects (cubic splines with 4 degrees of freedom for numbers) of age, sex"),
    ],
)
def test_what_was_removed_is_what_the_codes_say(
    made: tuple[Path, dict[str, Any]], splines: Any, words: str
) -> None:
    """A number stands in results of earlier releases."""
    results, config = made
    page, judged = open_study(results, config)
    path = judged[0][0].adjusted_codes.with_suffix(".json")
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "Splines": splines}))
    try:
        section = strata_maps_section(page, *judged[0])
    finally:
        path.write_text(before)
    assert any(f"{words} and head size were removed first" in text.text for text in blocks_of(section, Text))


def blocks_of(section: Section, kind: type) -> list[Any]:
    return [b for b in section.blocks if isinstance(b, kind)] + [
        b for s in section.sections for b in blocks_of(s, kind)
    ]


def test_each_cluster_has_its_maps_places_and_people(made: tuple[Path, dict[str, Any]]) -> None:
    results, config = made
    page, judged = open_study(results, config)
    experiment, options, verdict, evidence = judged[0]
    section = strata_maps_section(page, experiment, options, verdict, evidence)
    assert [part.title for part in section.sections] == ["Cluster 1", "Cluster 2", "Cluster 3"]
    figures = blocks_of(section, Figure)
    assert len(figures) == 6
    for figure in figures:
        assert (results / "report" / figure.href).is_file()
        assert figure.sources
        assert figure.alt
    said = " ".join(text.text for text in blocks_of(section, Text))
    assert "they have no p-values" in said
    assert "random groups of" in said
    assert (
        "Effects (age and head size along cubic curves) of age, sex and head size were removed first" in said
    )
    assert "stability: mean Jaccard index" in said
    # the planted region first, with an interval
    table = next(t for t in blocks_of(section, Table) if t.title == "Cluster 1: where it differs most")
    row = next(row for row in table.rows if row[0].text == "JAC")
    assert row[1].text == "<img onerror=alert(1)>"
    assert row[2].text.count(",") == 1
    assert float(row[2].text.split()[0]) > 1.5
    people = next(t for t in blocks_of(section, Table) if "least certain" in t.title)
    clusters = evidence.clusters
    assert clusters is not None
    own = clusters[clusters["cluster"] == 1].sort_values("typicality", ascending=False)
    assert people.rows[0][1].text == own["subject"].iloc[0]
    assert people.rows[0][1].href == f"subjects/sub-{own['subject'].iloc[0]}.html"
    shown = [row[1].text for row in people.rows]
    assert len(shown) == len(set(shown))
    assert set(shown) <= set(own["subject"])
    rest = own[~own["subject"].isin(shown[:5])]
    assert shown[5] == rest.sort_values("probability")["subject"].iloc[0]
    write_page(results / "report/page.html", "page.html.j2", {"title": "x", "sections": [section]})
    html = (results / "report/page.html").read_text()
    assert "<img onerror" not in html
    assert "&lt;img onerror" in html
    assert "<i>x" not in html


def test_further_maps_and_the_small_picture(made: tuple[Path, dict[str, Any]]) -> None:
    results, config = made
    page, judged = open_study(results, config)
    experiment, options, verdict, _ = judged[0]
    titles = [
        f.title.split(": ")[1]
        for f in blocks_of(more_maps_section(page, experiment, options, verdict), Figure)
    ]
    assert titles == ["large effects alone", "mean and spread of each cluster"] * 2
    small = strata_overview(page, experiment, verdict)
    assert isinstance(small, Figure)
    assert (results / "report" / small.href).is_file()


def test_without_clusters_nothing_is_drawn_and_the_report_says_why(made: tuple[Path, dict[str, Any]]) -> None:
    results, config = made
    page, judged = open_study(results, config)
    experiment, options, verdict, evidence = judged[1]
    assert verdict.kind == "nothing"
    page = replace(page, figures=results / "report/none")
    section = strata_maps_section(page, experiment, options, verdict, evidence)
    assert not section.sections
    assert [type(block) for block in section.blocks] == [Text]
    assert section.blocks[0].text.startswith("No map of strata is drawn: no strata were found")
    assert not more_maps_section(page, experiment, options, verdict).blocks
    small = strata_overview(page, experiment, verdict)
    assert isinstance(small, Text)
    assert "no clusters were found" in small.text
    # not even where another version of the study left maps behind
    for name in ("maps", "maps.tsv", "maps.json", "places.tsv", "places.json"):
        left = judged[0][0].strata(name)
        experiment.strata(name).unlink() if experiment.strata(name).is_file() else experiment.strata(
            name
        ).rmdir()
        experiment.strata(name).symlink_to(left)
    page, judged = open_study(results, config)
    page = replace(page, figures=results / "report/none")
    assert not strata_maps_section(page, *judged[1]).sections
    assert not more_maps_section(page, experiment, options, verdict).blocks
    assert isinstance(strata_overview(page, experiment, verdict), Text)
    assert not (results / "report/none").exists()


def test_maps_that_were_not_made_are_among_the_missing_pieces(tmp_path: Path) -> None:
    results, config = make_results(tmp_path, people=16, clusters=2, factors=2, variables=6, images=False)
    page, judged = open_study(results, config)
    section = strata_maps_section(page, *judged[0])
    assert "was not made" in section.blocks[0].text
    assert "Maps of the clusters in jac-ndi" in [line.what for line in page.study.missing]
    assert strata_overview(page, judged[0][0], judged[0][2]) is None


def test_modalities_are_in_the_order_of_their_large_effects_and_places_are_read(tmp_path: Path) -> None:
    study = StudyResults(ResultsTree(tmp_path), {})
    experiment = study.tree.experiment("e")
    assert read_strata_maps(study, experiment) is None
    assert why_none(study, experiment).endswith("maps.tsv was not made")
    table = pd.DataFrame({"stratum": [2, 2, 2, 5, 5, 5], "modality": ["fa", "jac", "ndi"] * 2})
    table = table.assign(n=9, n_others=20, share_chance=0.01, share_large=[0.1, 0.0, 0.2, 0.1, 0.4, 0.0])
    facts = {"Threshold": 0.5, "AdjustedFor": [], "Reason": "too few people"}
    write_table(experiment.strata("maps.tsv"), table, {}, **facts)
    assert why_none(study, experiment) == "too few people"
    fresh = StudyResults(study.tree, {})
    maps = read_strata_maps(fresh, experiment)
    assert maps is not None
    assert (maps.clusters, maps.modalities, maps.threshold) == ([2, 5], ["jac", "ndi", "fa"], 0.5)
    assert maps.places is None
    place = {"stratum": [5], "modality": "jac", "kind": "effect", "effect": 1.5, "peak": "0 0 0"}
    write_table(experiment.strata("places.tsv"), pd.DataFrame(place))
    maps = read_strata_maps(StudyResults(study.tree, {}), experiment)
    assert maps is not None
    assert maps.places is not None
    assert list(maps.places["effect"]) == [1.5]


def test_of_two_clusters_one_is_drawn(tmp_path: Path) -> None:
    results, config = make_results(tmp_path, people=24, clusters=2, factors=2, variables=6, images=False)
    add_maps(results, "jac-ndi")
    page, judged = open_study(results, config)
    section = strata_maps_section(page, *judged[0])
    first, second = section.sections
    assert len(blocks_of(first, Figure)) == 2
    assert not blocks_of(second, Figure)
    assert any("opposite sign" in text.text for text in blocks_of(second, Text))


# ---------------------------------------------------------------------------------------- figures


def planted(value: float = 2.0) -> Placed:
    data = np.where(ellipsoid(SHAPE), 0.1, 0.0)
    data[PLANTED] = value
    return Placed(data, AFFINE)


def test_cuts_go_through_the_strongest_effect_of_each_sign() -> None:
    effect = planted()
    effect.data[3:6, 6:9, 6:9] = -3.0
    for sign, where in ((1, PLANTED), (-1, (slice(3, 6), slice(6, 9), slice(6, 9)))):
        for cut in strongest(effect, sign):
            part = where[cut.axis]
            assert part.start <= effect.index(cut.axis, cut.position) < part.stop
    assert [cut.axis for cut in strongest(effect, 1)] == [2, 1, 0]


def test_what_is_on_the_persons_right_is_on_the_right_of_the_picture(tmp_path: Path) -> None:
    image = planted()
    cut = Cut(2, image.position(2, 9))
    film = draw_film([[Panel(cut, (Layer(image, "gray", 0, 2),))]], box_of(image))
    letters = {text.get_text(): text.get_position()[0] for text in film.axes[0].texts}
    assert letters["L"] < letters["R"]
    for text in film.axes[0].texts:
        text.set_visible(False)
    picture = matplotlib.image.imread(save_figure(film, tmp_path / "film.png"))[..., 0]
    bright_rows, bright = np.nonzero(picture > 0.9)
    assert len(bright) > 100
    # the planted voxels are at 0.75 of the brain's width and in its middle from back to front
    assert bright.min() > picture.shape[1] / 2
    assert abs(bright_rows.mean() / picture.shape[0] - 0.5) < 0.1
    sagittal = draw_film([[Panel(Cut(0, 0.0), (Layer(image, "gray", 0, 2),))]], box_of(image))
    assert [text.get_text() for text in sagittal.axes[0].texts] == ["P", "A"]


def test_small_effects_are_faint_or_hidden_and_large_ones_opaque() -> None:
    effect = planted()
    faint, hidden = effect_layer(effect, 0.5, 2.0), effect_layer(effect, 0.5, 2.0, hidden=True)
    assert faint.opacity is not None
    assert hidden.opacity is not None
    assert (faint.opacity[PLANTED] == 1).all()
    assert (hidden.opacity[PLANTED] == 1).all()
    small = effect.data == 0.1
    assert ((faint.opacity[small] > 0) & (faint.opacity[small] < 0.3)).all()
    assert not hidden.opacity[small].any()
    assert faint.lines == (0.5, -0.5)
    assert hidden.lines == ()
    assert scale_of([planted(0.2)]) == 1.0
    assert scale_of([planted(2.2), planted(0.3)]) >= 2.0


def test_images_of_other_voxel_sizes_lie_over_each_other() -> None:
    fine = Placed(
        np.zeros((36, 44, 36)), np.diag([4.0, 4, 4, 1]) + np.array([[0, 0, 0, -2.0]] * 3 + [[0] * 4])
    )
    coarse = planted()
    assert fine.edges(0) == coarse.edges(0)
    assert fine.edges(2) == coarse.edges(2)
    assert fine.index(0, coarse.position(0, 9)) in (18, 19)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    base = turn @ fine.affine
    np.testing.assert_allclose(straight(turn @ coarse.affine, base)[:3, 3], coarse.affine[:3, 3], atol=1e-9)
    under = ground(None, None, coarse)
    layer = under.layer()
    assert np.nanmax(layer.image.data) == 1
    assert layer.low < 0.5 < layer.high


def test_a_layer_with_gaps_shows_the_ground(tmp_path: Path) -> None:
    image = Placed(np.full(SHAPE, np.nan), AFFINE)
    panel = Panel(Cut(1, 80.0), (Layer(image, "gray", 0, 1),))
    picture = matplotlib.image.imread(
        save_figure(draw_film([[panel]], box_of(planted())), tmp_path / "x.png")
    )
    assert np.quantile(picture[..., :3], 0.9) < 0.1


def test_flow_and_matrix_of_agreement(tmp_path: Path) -> None:
    table = pd.DataFrame([[12, 0, 0], [0, 5, 5]], index=[1, 2], columns=[1, 2, 3])
    figure = flow_figure(["a <b>", "c"], [table])
    axis = figure.axes[0]
    bars = [p for p in axis.patches if hasattr(p, "get_height")]
    assert sorted(round(b.get_height() * 22) for b in bars) == [5, 5, 10, 12, 12]
    # clusters 2 and 3 have the colour of cluster 2 of the first partition, where their people come from
    colours = [b.get_facecolor() for b in bars]
    assert colours[3] == colours[1] == colours[4] != colours[0] == colours[2]
    assert len(axis.patches) - len(bars) == 3
    save_figure(figure, tmp_path / "flow.svg")
    matrix = matrix_of({("a", "b"): 0.5, ("a", "c"): -0.1, ("b", "c"): 1.0})
    assert matrix.loc["c", "a"] == -0.1
    assert matrix.loc["b", "b"] == 1
    words = [text.get_text() for text in rand_matrix_figure(matrix).axes[0].texts]
    assert words == ["0.50", "−0.10", "1.00"]


def test_clusters_that_follow_the_harmonised_sites_are_explained_and_said_to_be(tmp_path: Path) -> None:
    results, config = make_results(tmp_path, people=20, clusters=2, factors=2, variables=6, images=False)
    place = results / "experiments/jac-ndi/strata/adjusted/mixture"
    tests = read_table(place / "composition_tests.tsv").replace("site", "scanner")
    tests.loc[tests["characteristic"] == "scanner", ["p", "q", "effect"]] = 0.0005, 0.001, 0.81
    write_table(place / "composition_tests.tsv", tests)
    for sites, explained in ((None, []), ("scanner", ["scanner"])):
        config["strata"]["adjust"] = {"sites": sites}
        page, judged = open_study(results, config)
        experiment, verdict, evidence = judged[0][0], judged[0][2], judged[0][3]
        assert verdict.explained_by == explained
        caption = composition_section(page, experiment, evidence).blocks[0].caption
        assert ("A cluster that follows scanner says nothing about the brain." in caption) == bool(explained)


def test_composition_has_intervals_and_the_quality_of_each_cluster(tmp_path: Path) -> None:
    results, config = make_results(tmp_path, people=20, clusters=2, factors=2, variables=6, images=False)
    place = results / "experiments/jac-ndi/strata/adjusted/mixture"
    clusters = read_table(place / "clusters.tsv")
    quality = pd.DataFrame(
        {"subject": clusters["subject"], "snr": np.where(clusters["cluster"] == 1, 10.0, 20.0)}
    )
    quality["folds"] = np.arange(len(quality)) / 10
    quality["cjv"] = np.arange(len(quality)) % 3
    write_table(results / "qc/measures.tsv", quality)
    columns = ["variable", "words", "kind", "statistic", "effect", "low", "high", "p", "p_adjusted", "n"]
    rows = [
        ["cjv", "contrast", "number", 1.0, 0.1, 0.0, 0.2, 0.3, 0.4, 18],
        ["snr", "signal <b>", "number", 9.0, -0.8, -0.9, -0.5, 0.001, 0.002, 18],
    ]
    write_table(place / "quality_tests.tsv", pd.DataFrame(rows, columns=columns))
    page, judged = open_study(results, config)
    section = composition_section(page, judged[0][0], judged[0][3])
    table = section.blocks[0]
    by_name = {row[0].text: [cell.text for cell in row] for row in table.rows if row[0].text}
    assert by_name["signal <b>"][3:] == ["10 ± 0", "20 ± 0", "−0.80 [−0.90, −0.50]", "0.002"]
    assert by_name["folds"][-2:] == ["not tested", ""]
    # the strongest first, whatever its direction, and what was not tested last
    assert [name for name in by_name if name in ("signal <b>", "contrast", "folds")] == [
        "signal <b>",
        "contrast",
        "folds",
    ]
    marked = [row[0].text for row, mark in zip(table.rows, table.marked) if mark]
    assert "signal <b>" in marked
    assert any("qc/measures.tsv" in link.text for link in table.sources)
