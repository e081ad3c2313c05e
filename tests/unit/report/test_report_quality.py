"""The report on quality: suggestions, sites, raters, and clusters that differ in quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixture import make_results

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.tables import read_table, write_table
from neurostrata.quality.commands import compare_quality, compare_raters
from neurostrata.quality.gather import measures_of
from neurostrata.report.data.evidence import Evidence
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import Section, number_blocks
from neurostrata.report.html.page import Page
from neurostrata.report.html.pages import write_page
from neurostrata.report.sections.quality import quality_section
from neurostrata.report.text.judge import quality_sentences
from neurostrata.strata.comparison.quality import COLUMNS as TEST_COLUMNS

EVIL = "<img src=x onerror=alert(1)>"


def write_quality(results: Path, *, fewest: int = 10) -> None:
    """Everybody's measures, the last person's very noisy; one site apart; two raters; clusters of quality."""
    people = read_table(results / "cohort" / "subjects.tsv")
    subjects = people["subject"]
    rng = np.random.default_rng(0)
    site = np.where(np.arange(len(subjects)) % 2, "north", "south")
    snr = np.exp(3 + 0.1 * rng.normal(size=len(subjects)) + 2.0 * (site == "north"))
    snr[-1] /= 20
    table = pd.DataFrame(
        {"subject": subjects, "snr": snr, "similarity": 0.9 + 0.02 * rng.normal(size=len(subjects))}
    )
    measures = measures_of(["snr", "similarity"])
    words = {name: measure.words for name, measure in measures.items()}
    path = results / "qc" / "measures.tsv"
    write_table(path, table, words, Measures={name: vars(measure) for name, measure in measures.items()})
    characteristics = pd.DataFrame({"subject": subjects, "family": "", "site": site, "diagnosis": ""})
    write_table(results / "known.tsv", characteristics)
    compare_quality(
        measures=path,
        people=results / "known.tsv",
        output=results / "qc" / "deviations.tsv",
        suggestions=results / "qc" / "suggested_exclusions.tsv",
        tests=results / "qc" / "covariates.tsv",
        settings={
            "quality": fill_defaults({"fewest_people": fewest}, load_schema("quality")),
            "decided": [],
            "modalities": [],
            "of_diffusion": [],
            "version": 1,
            "seed": 1,
        },
    )
    decisions = [["001", "", "keep", EVIL], ["001", "", "exclude", "bob"], ["002", "", "keep", "bob"]]
    compare_raters(output=results / "qc" / "agreement.tsv", settings={"decisions": decisions})


def strata_tests(effect: float, p: float) -> pd.DataFrame:
    row = {"variable": "snr", "words": "w", "kind": "number", "statistic": 9.0, "effect": effect, "low": 0.1}
    row |= {"high": 0.9, "p": p, "p_adjusted": p, "n": 30, "effect_name": "eta2"}
    return pd.DataFrame([row], columns=list(TEST_COLUMNS))


def shown(results: Path, config: dict) -> tuple[Section, str]:
    study = StudyResults(ResultsTree(results), config)
    page = Page(study, results / "report" / "index.html", results / "report" / "figures")
    section = quality_section(page)
    number_blocks([section])
    write_page(
        page.path,
        "page.html.j2",
        {"title": "t", "sections": [section]},
    )
    return section, page.path.read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    return make_results(tmp_path_factory.mktemp("quality"), images=False)


def test_a_study_without_quality_has_no_section(made: tuple[Path, dict]) -> None:
    section, _ = shown(*made)
    assert not section.blocks


def test_what_the_section_says(made: tuple[Path, dict]) -> None:
    results, config = made
    write_quality(results)
    experiment = ResultsTree(results).experiment("jac-ndi")
    place = StudyResults(ResultsTree(results), config).experiments()[0][0].quality_tests()
    write_table(place, strata_tests(0.4, 0.001))
    section, html = shown(results, config)
    titles = [block.title for block in section.blocks if block.block == "table"]
    assert titles == [
        "Suggested exclusions",
        "Measures of quality",
        "Quality against site, age and sex",
        "Agreement of raters",
        "Clusters that differ in quality, site or head size",
    ]
    assert (
        "30 people were compared in 2 measures of quality; 1 person is unusual in at least one of them"
        in html
    )
    assert "1 measure differs between sites: SNR" in html
    assert "so that a site as a whole flags nobody" in html
    assert "low in noisy or uneven scans." in html
    assert experiment.name in html
    (raters,) = (block for block in section.blocks if getattr(block, "title", "") == "Agreement of raters")
    assert raters.rows[0][-1].text == "001"
    # the name of a rater is harmless
    assert EVIL not in html
    assert "&lt;img src=x onerror" in html


def test_too_few_people_are_not_compared(made: tuple[Path, dict]) -> None:
    results, config = made
    write_quality(results, fewest=31)
    section, html = shown(results, config)
    assert len(section.blocks) == 1
    assert "nothing can be compared: at least 31 people" in html


@pytest.mark.parametrize(
    ("effect", "p", "phenotype", "said"),
    [(0.4, 0.001, 0.2, True), (0.4, 0.001, 0.5, False), (0.4, 0.2, 0.2, False), (0.1, 0.001, None, True)],
)
def test_clusters_of_quality_are_named(effect: float, p: float, phenotype: float | None, said: bool) -> None:
    compared = None if phenotype is None else pd.DataFrame({"factor": ["RC1"], "eta2": [phenotype]})
    evidence = Evidence(quality_tests=strata_tests(effect, p), comparisons=compared)
    found = quality_sentences(evidence, 0.05)
    assert bool(found) == said
    if said:
        assert "The clusters differ in SNR (η² = 0." in found[0]
        assert "they may be clusters of image quality" in found[0]


@pytest.mark.parametrize(
    ("variable", "claimed", "said"),
    [
        ("site", "yes", "The clusters differ in site (η² = 0.40, q = 0.001): they may be clusters of sites."),
        ("size", "yes", "The clusters differ in size (η² = 0.40, q = 0.001): they may be clusters of head size."),
        ("snr", "no", "The parts of this partition differ in SNR (η² = 0.40, q = 0.001): they may be clusters of image quality."),
    ],
)  # fmt: skip
def test_what_clusters_may_be_depends_on_what_they_differ_in(variable: str, claimed: str, said: str) -> None:
    """Without phenotypes no effect of a phenotype is named either."""
    tests = strata_tests(0.4, 0.001).iloc[:1].assign(variable=variable)
    existence = pd.Series({"claimed": claimed, "p": 0.01})
    assert quality_sentences(Evidence(quality_tests=tests, existence=existence), 0.05) == [said]


def test_clusters_that_could_not_be_compared_are_not_called_alike(made: tuple[Path, dict]) -> None:
    results, config = made
    write_quality(results)
    study = StudyResults(ResultsTree(results), config)
    for experiment, _ in study.experiments():
        write_table(experiment.quality_tests(), strata_tests(np.nan, np.nan))
    _, html = shown(results, config)
    assert "Quality could not be compared between clusters" in html
    assert "were clusters found to differ in quality" not in html
