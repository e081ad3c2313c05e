"""The pages: a full study, half-finished ones, and what must hold for every figure and table on them."""

from __future__ import annotations

import itertools
import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from report_fixture import make_config, make_results

from neurostrata.core.config import fill_config
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.tables import read_table, write_table
from neurostrata.report.commands import provenance, report, subject_page
from neurostrata.report.data import results as report_results
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.figures import style as report_style
from neurostrata.report.html import page as report_page
from neurostrata.report.sections.agreement import agreement_section
from neurostrata.report.sections.cohort import cohort_section, origins_table


class Page(HTMLParser):
    """Collects links, ids, figures and tables with the sources named under them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.references: list[str] = []
        self.ids: list[str] = []
        self.blocks: list[dict[str, Any]] = []
        self.text = ""
        self._skip = 0
        self._block: dict[str, Any] | None = None
        self._source = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attributes}
        if tag in ("style", "script"):
            self._skip += 1
        if tag == "td":
            self.text += " "
        if tag == "span" and self._source and self._block and found.get("class") == "file":
            self._block["sources"].append("")
        self.references += [found[key] for key in ("href", "src") if key in found]
        if "id" in found:
            self.ids.append(found["id"])
            if re.fullmatch(r"(figure|table)-\d+", found["id"]):
                self._block = {"id": found["id"], "sources": [], "alt": None}
                self.blocks.append(self._block)
        if tag == "img" and self._block:
            self._block["alt"] = found.get("alt")
        if tag == "p":
            self._source = found.get("class") == "source"
        if tag == "a" and self._source and self._block:
            self._block["sources"].append(found["href"])

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "script"):
            self._skip -= 1

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.text += data

    def broken(self) -> list[str]:
        """Return links that lead nowhere, or out of the report's folder."""
        folder = next(parent for parent in self.path.parents if parent.name == "report")
        bad = []
        for reference in self.references:
            parts = urlsplit(reference)
            if parts.scheme == "data":
                continue
            target = (self.path.parent / unquote(parts.path)).resolve() if parts.path else self.path
            if (
                parts.scheme
                or parts.netloc
                or parts.path.startswith("/")
                or not target.exists()
                or not target.is_relative_to(folder.resolve())
                or (parts.fragment and parts.fragment not in _ids(target, target.stat().st_mtime_ns))
            ):
                bad.append(reference)
        return bad

    def flat(self) -> str:
        return " ".join(self.text.split())


@cache
def _ids(path: Path, _changed: int) -> list[str]:
    """Return the ids of a page; `_changed` makes a page that was written again another one."""
    return Page(path).ids


class Report:
    """All pages of a report but those of single people."""

    def __init__(self, index: Path) -> None:
        self.path = index
        self.pages = {path.name: Page(path) for path in sorted(index.parent.glob("*.html"))}
        self.references = [link for page in self.pages.values() for link in page.references]
        self.blocks = [block for page in self.pages.values() for block in page.blocks]
        self.ids = [name for page in self.pages.values() for name in page.ids]

    def broken(self) -> list[str]:
        return [link for page in self.pages.values() for link in page.broken()]

    def flat(self) -> str:
        return " ".join(page.flat() for page in self.pages.values())

    def on(self, name: str) -> str:
        return self.pages[name].flat()


def build(results: Path, config: dict[str, Any]) -> Report:
    output = results / "report" / "index.html"
    report(results=results, output=output, settings={**config, "version": 1})
    return Report(output)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Report]:
    results, config = make_results(
        tmp_path_factory.mktemp("study"), people=24, clusters=3, factors=3, variables=8
    )
    for subject in ("001", "024"):
        subject_page(
            results=results,
            subject=subject,
            output=results / f"report/subjects/sub-{subject}.html",
            settings=config["report"],
        )
    provenance(results=results, output=results / "provenance.json", settings=config)
    return results, config, build(results, config)


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    results, config = make_results(tmp_path, people=16, clusters=2, factors=2, variables=6, images=False)
    shutil.rmtree(results / "experiments" / "jac-ndi-pca")
    del config["experiments"][1]
    return results, config


def test_all_links_and_pictures_are_there(study: tuple[Path, dict[str, Any], Report]) -> None:
    results, _, page = study
    assert page.broken() == []
    assert len([r for r in page.references if r.endswith((".svg", ".png"))]) > 20
    for subject in ("001", "024"):
        assert Page(results / f"report/subjects/sub-{subject}.html").broken() == []
    assert "subjects/sub-001.html" in page.references


def test_every_figure_and_table_names_its_files(study: tuple[Path, dict[str, Any], Report]) -> None:
    _, _, page = study
    without = [block["id"] for block in page.blocks if not block["sources"]]
    assert len(without) <= 1, without
    assert len(page.blocks) == len({block["id"] for block in page.blocks})


def test_the_papers_figures_are_all_there(study: tuple[Path, dict[str, Any], Report]) -> None:
    results, _, _ = study
    figures = {path.name for path in (results / "report/figures/jac-ndi").glob("*.svg")}
    # Each has its PNG, and those for which it matters a layout for narrow screens.
    assert all(
        (results / "report/figures/jac-ndi" / name).with_suffix(".png").is_file() or "-narrow" in name
        for name in figures
    )
    assert "factors-narrow.svg" in figures
    figures = {name for name in figures if "-narrow" not in name}
    assert figures == {
        "examples.svg",
        "folds.svg",
        "methods.svg",
        "training.svg",
        "search.svg",
        "existence.svg",
        "stability.svg",
        "continuous.svg",
        "clusters.svg",
        "effects.svg",
        "factors.svg",
        "repartition.svg",
        "profiles.svg",
    }
    assert {p.name for p in (results / "report/figures/phenotypes").glob("*.svg")} == {
        "eigenvalues.svg",
        "eigenvalues-narrow.svg",
        "loadings.svg",
    }


def test_the_verdict_is_the_one_of_the_tables(study: tuple[Path, dict[str, Any], Report]) -> None:
    _, _, page = study
    text = page.flat()
    assert "In jac-ndi, clusters exist in the images and differ in phenotype after adjustment." in text
    assert "In jac-ndi-pca, no clusters were found." in text
    assert (
        "3 clusters exist (p = 0.010) and 2 of 3 phenotypic factors differ between them after adjustment for"
        in text
    )
    assert (
        "site and image quality (age and head size along cubic curves, age with slopes of its own by sex); adjusted η² is partial."
        in text
    )
    assert "No clusters were found: the best partition of the 22 people" in text
    assert "is a cut through a continuum" in text
    assert "nor shows that the clusters exist" in text
    assert "rest on the experiments that were run without them" in text
    assert "Each of the 2 experiments is judged by itself." in text


def test_finders_stand_side_by_side_with_the_numbers_of_their_tables(
    study: tuple[Path, dict[str, Any], Report],
) -> None:
    results, _, page = study
    frame = read_table(results / "report/strata_finders.tsv")
    assert len(frame) == 2 * 2 * 2
    for _, row in frame.iterrows():
        place = results / "experiments" / row["experiment"] / "strata" / row["codes"] / row["finder"]
        existence = read_table(place / "existence.tsv").iloc[0]
        assert (row["p"], row["claimed"]) == (existence["p"], existence["claimed"])
        sizes = read_table(place / "clusters.tsv")["cluster"].value_counts().sort_index()
        assert row["sizes"] == ", ".join(map(str, sizes))
        assert (place / "comparisons.tsv").is_file() == (row["tested"] == 3)
    leading = frame[(frame["finder"] == "mixture") & (frame["codes"] == "adjusted")]
    assert leading["agreement"].tolist() == [1, 1]
    verdicts = read_table(results / "report/verdicts.tsv")
    assert verdicts["kind"].tolist() == ["found", "nothing"]
    assert all(headline in page.flat() for headline in verdicts["headline"])
    assert "Every finder on every kind of codes" in page.flat()
    methods = (page.path.parent / "methods.rst").read_text(encoding="utf-8")
    assert methods.startswith("**Participants.** Of 25 people found, 24 took part")
    assert "**Anatomy.** T1-weighted images were corrected for the bias field with N4 [1]." in methods


def test_the_checks_stand_on_a_page_of_their_own(study: tuple[Path, dict[str, Any], Report]) -> None:
    results, _, page = study
    assert "strata-jac-ndi.html" in page.references
    checks = Page(results / "report" / "strata-jac-ndi.html")
    assert checks.broken() == []
    assert [block["id"] for block in checks.blocks if not block["sources"]] == []
    assert "experiment-jac-ndi.html" in checks.references
    text = checks.flat()
    assert "double dipping" in text
    assert "1 person fits into no cluster, because they are too far from every centre: 022" in text
    assert "At least one factor differed in 2.5% of these runs (95% interval 1.1% to 5.7%)" in text
    assert "Canonical correlation with all factors together, in held-out people: codes 0.41" in text
    assert "p = 0.010, so clusters are claimed" in text
    place = results / "experiments/jac-ndi/strata/adjusted/mixture"
    age = read_table(place / "composition.tsv").query("characteristic == 'age' and cluster == 'all'").iloc[0]
    assert f"{age['mean']:.1f} ± 4" in text
    splits = read_table(place / "split_half.tsv")["adjusted_rand"]
    assert f"adjusted Rand index {splits.median():.2f} (median" in text
    added = read_table(results / "experiments/jac-ndi/strata/continuous_added.tsv").iloc[0]
    assert f"{added['added_r2']:.3f}" in text
    freed = "factors adjusted for age and sex (age along cubic curves), whose effects are learned from the same people"
    assert f"families kept together; {freed}" in text
    assert f"canonical correlation; {freed}" in text
    assert f"the continuum that they are cut from; {freed}" in text
    assert "adjusted for</th>" not in text


def test_without_clusters_the_continuous_results_lead(study: tuple[Path, dict[str, Any], Report]) -> None:
    folder = study[2].path.parent
    html = (folder / "experiment-jac-ndi-pca.html").read_text(encoding="utf-8")
    assert html.index("continuous.svg") < html.index("clusters.svg")
    assert "continuous.svg" not in (folder / "experiment-jac-ndi.html").read_text(encoding="utf-8")


def test_what_explains_clusters_and_what_resampling_dissolves(tmp_path: Path) -> None:
    results, config = make_results(
        tmp_path, people=24, clusters=2, factors=2, variables=6, images=False, explained=True, jaccard=0.45
    )
    suggested = [("003", "", "snr", 3.0, -7.0, 4.0, "low"), ("003", "", "cjv", 2.0, 8.0, 4.0, "high")]
    columns = ["subject", "modality", "measure", "value", "z", "limit", "reason"]
    write_table(results / "qc/suggested_exclusions.tsv", pd.DataFrame(suggested, columns=columns))
    text = build(results, config).flat()
    # what can overturn the verdict comes first of what to look at next
    leads = text[text.rindex("What to look at next") :]
    places = [
        leads.index(lead)
        for lead in (
            "Quality 1 person to look at, and to keep or exclude, before the strata are believed.",
            "Checks of the clusters in jac-ndi The clusters follow site: look at how before",
            "Models side by side",
        )
    ]
    assert places == sorted(places)
    assert "Whether they are found again in halves" not in leads  # said once of a cluster that is explained
    assert (
        "The clusters are explained by site: they differ in site (Cramér's V = 0.81, q = 0.001), and" in text
    )
    assert "clusters explained by site, in doubt" in text
    assert "Training curves. Blue: the folds; black: the final model" in text
    assert "A cluster that follows site" in Page(results / "report" / "strata-jac-ndi.html").flat()


def test_it_is_said_that_not_all_experiments_are_drawn(tmp_path: Path) -> None:
    config = make_config([])
    first = config["experiments"][0]
    config["experiments"] = [{**first, "name": f"e{number}"} for number in range(8)]
    study = report_results.StudyResults(ResultsTree(tmp_path), config)
    names = [experiment["name"] for experiment in config["experiments"]]
    pair = ["experiment_a", "finder_a", "experiment_b", "finder_b"]
    pairs = [(a, "mixture", b, "mixture") for a, b in itertools.combinations(names, 2)]
    cells = [(*one, x, y, 5) for one in pairs for x in (1, 2) for y in (1, 2)]
    write_table(study.tree.agreement(), pd.DataFrame(pairs, columns=pair).assign(n=20, adjusted_rand=0.1))
    write_table(
        study.tree.agreement("agreement_crosstabs.tsv"),
        pd.DataFrame(cells, columns=[*pair, "cluster_a", "cluster_b", "n"]),
    )
    page = report_page.Page(study, tmp_path / "report/models.html", tmp_path / "report/figures")
    blocks = agreement_section(page).blocks
    flow = next(block for block in blocks if "same people in the clusters" in getattr(block, "title", ""))
    assert flow.caption.endswith(" The first 6 of 8 experiments.")
    assert (
        blocks[-1].text
        == "Drawn are the first 6 of 28 pairs of experiments; the table of cross-tables has all."
    )


def test_tables_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    results = tmp_path / "results"
    names = ("strata_finders", "comparison", "resources", "verdicts")
    for name in names:
        write_table(
            results / f"report/{name}.tsv", pd.DataFrame({"experiment": ["jac-ndi"]}), {"experiment": "x"}
        )
    config = make_config([])
    report = build(results, config).path.parent
    assert [name for name in names if (report / f"{name}.tsv").is_file()] == ["verdicts"]
    assert not list(report.glob("strata_finders*"))
    assert "Every finder on every kind of codes" not in Report(report / "index.html").flat()
    config["experiments"] = []
    build(results, config)
    assert not list(report.glob("verdicts*"))


def test_tables_say_their_levels(tmp_path: Path) -> None:
    results, config = make_results(tmp_path, people=20, clusters=2, factors=2, variables=6, images=False)
    config["experiments"][0].update(model="residual_autoencoder", options={})  # without skip connections
    config["report"]["alpha"] = 0.01
    config["strata"]["comparisons"] = {"alpha": 0.1, "confidence": 0.9}
    page = build(results, config)
    checks = page.on("strata-jac-ndi.html")
    assert "Share of halves with p ≤ 0.1" in checks
    assert "more than 10% would mean that the tests claim too much" in checks
    assert "Intervals: 90%." in checks
    assert "Marked: all q below 0.01. Intervals: 90%." in page.on("experiment-jac-ndi.html")
    assert "(expected: at most 10%)" in page.on("index.html")
    assert "Skip connections carry image detail" not in page.on("index.html")
    assert "points with 95% intervals" in checks


def test_tables_that_were_not_made_are_noted(small: tuple[Path, dict[str, Any]]) -> None:
    results, config = small
    for history in (results / "experiments/jac-ndi").glob("fold-[0-9]/history.tsv"):
        history.unlink()
    names = "existence stability comparisons_adjusted composition composition_tests split_half shuffles"
    for path in (results / "experiments/jac-ndi/strata").rglob("*"):
        if path.name.split(".")[0] in [*names.split(), "continuous", "continuous_added"]:
            path.unlink()
    page = build(results, config)
    text = page.flat()
    assert page.broken() == []
    assert "Whether clusters exist is not known" in text
    for what in (
        "Whether clusters exist in jac-ndi",
        "Stability of the clusters in jac-ndi",
        "Comparisons adjusted for age, sex, head size, site and image quality in jac-ndi",
        "Composition of the clusters in jac-ndi",
        "Split halves in jac-ndi",
        "Shuffled links in jac-ndi",
        "The continuous alternative in jac-ndi",
        "What clusters add to the continuous model in jac-ndi",
    ):
        assert f"{what} experiments/jac-ndi/strata/" in text
    # nothing is promised that is not there, and nothing is said of what the run has not
    own = page.on("experiment-jac-ndi.html")
    assert (
        "On the page of checks of jac-ndi: composition of the clusters; search for clusters, and whether they exist; phenotypes between the clusters; split halves and shuffled links."
        in own
    )
    assert (
        "Training curves. Black: the final model, trained on everybody, whose embeddings are clustered."
        in own
    )


def test_text_from_files_is_escaped(study: tuple[Path, dict[str, Any], Report]) -> None:
    _, _, page = study
    assert "head motion, <b>repeat</b> & discard" in page.flat()


def test_exclusions_missing_data_and_people_who_drop_out_are_listed(
    study: tuple[Path, dict[str, Any], Report],
) -> None:
    text = study[2].flat()
    assert "24 people took part; 1 person was excluded entirely" in text
    assert "no dwi in the cohort sheet" in text
    assert "Of 24 people of the cohort: 22 in the model (2 not: no reason recorded); 21 in a cluster" in text
    assert "Policy for missing values: median" in text
    assert "Pages of single people 22 people have no page" in text


@pytest.mark.parametrize(
    ("families", "repartition", "said"),
    [
        (["f", "f", "g"], {}, "2 people have relatives in the cohort (1 family of two or more). Families stay together in the folds, and random groups exchange whole families."),
        (["f", "f", "g"], {"families": False}, "Families stay together in the folds; random groups take people as independent (strata: repartition)."),
        (["f", "f", "g"], {"with_replacement": True}, "Families stay together in the folds; random groups take people as independent (strata: repartition)."),
        (["f", "g", "h"], {}, "No two people of the cohort are of one family."),
    ],
)  # fmt: skip
def test_what_is_said_of_families_is_what_the_run_does(
    tmp_path: Path, families: list[str], repartition: dict[str, bool], said: str
) -> None:
    config = make_config(["phenotypes.tsv"])
    config["strata"] = {"repartition": repartition}
    study = report_results.StudyResults(ResultsTree(tmp_path), config)
    write_table(study.tree.subjects, pd.DataFrame({"subject": ["01", "02", "03"], "family": families}))
    page = report_page.Page(study, tmp_path / "index.html", tmp_path)
    texts = [block.text for block in cohort_section(page).blocks if block.block == "text"]
    assert texts[-1].endswith(said)


def test_where_images_come_from(tmp_path: Path) -> None:
    lines = ["subject\tperson\tsession\tcolumn\tdataset\tfile\twhy"]
    for subject, dataset in (("01", "raw"), ("02", "qsiprep"), ("03", "qsiprep"), ("04", "qsiprep")):
        lines.append(f"{subject}\t{subject}\tpre\tt1w\t{dataset}\tx.nii.gz\tby cohort.sessions: pre")
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "sources.tsv").write_text("\n".join(lines) + "\n")

    def made(**cohort: str | None) -> Any:
        study = report_results.StudyResults(ResultsTree(tmp_path), {"cohort": cohort})
        page = report_page.Page(study, tmp_path / "index.html", tmp_path)
        return origins_table(page, ["01", "02", "03"])  # the fourth is excluded

    table = made(sheet=None, bids="raw")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["t1w", "raw", "by cohort.sessions: pre", "1"],
        ["t1w", "qsiprep", "by cohort.sessions: pre", "2"],
    ]
    assert made(sheet="cohort.tsv") is None  # the table of an earlier search says nothing about a sheet


def test_rebuilding_gives_the_same_bytes_and_leaves_nothing_old(
    small: tuple[Path, dict[str, Any]],
) -> None:
    results, config = small
    config["report"]["people_in_index"] = 5
    page = build(results, config)
    # More people than that are named on the list of people only.
    assert "Cluster 1: " in page.on("index.html")
    assert "016" not in page.on("index.html")
    assert "016" in page.on("people.html")
    first = {p: p.read_bytes() for p in (results / "report").rglob("*") if p.is_file()}
    old = results / "report" / "figures" / "gone" / "clusters.svg"
    old.parent.mkdir(parents=True)
    old.write_text("<svg/>")
    # People who left the study, perhaps because they withdrew: the folder is passed on.
    people = ("subjects/sub-gone.html", "subjects/sub-gone/T1w.png")
    for name in ("strata-gone.html", "experiment-gone.html", "tables/experiments/gone/splits.tsv", *people):
        stale = results / "report" / name
        stale.parent.mkdir(parents=True, exist_ok=True)
        stale.write_text("of an earlier run")
    build(results, config)
    second = {p: p.read_bytes() for p in (results / "report").rglob("*") if p.is_file()}
    assert first == second


def test_no_clusters_no_phenotypes_no_template(tmp_path: Path) -> None:
    results, config = make_results(tmp_path, people=14, clusters=1, factors=2, variables=5, images=False)
    shutil.rmtree(results / "template")
    shutil.rmtree(results / "experiments" / "jac-ndi-pca")
    page = build(results, config)
    text = page.flat()
    assert page.broken() == []
    assert "No clusters were found" in text
    assert "no candidate exceeds one group" in text
    assert "Template convergence template/convergence.tsv was not made" in text
    assert "Experiment jac-ndi-pca experiments/jac-ndi-pca/ was not made" in text
    shutil.rmtree(results / "phenotypes")
    for experiment in (results / "experiments").iterdir():
        for name in ("comparisons*.tsv", "repartition.tsv", "null.npz", "profiles.tsv"):
            for path in experiment.glob(f"strata/adjusted/*/{name}"):
                path.unlink()
    config["phenotypes"] = {"tables": []}
    # The mean image decodes better than the model: the verdict must say so.
    table = results / "experiments" / "jac-ndi" / "reconstruction.tsv"
    frame = read_table(table)
    frame.loc[frame["method"] == "mean_image", "mse"] = 1e-5
    write_table(table, frame)
    text = build(results, config).flat()
    assert "decodes JAC and NDI of people it has not seen no better than the mean training image" in text
    assert "No phenotypes: no phenotype table is configured" in text


def test_an_empty_results_folder_still_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    page = build(tmp_path / "results", {})
    assert page.broken() == []
    assert "No experiment was run" in page.flat()
    assert "The list of people cohort/subjects.tsv was not made" in page.flat()


def test_unreadable_files_are_named_not_fatal(small: tuple[Path, dict[str, Any]]) -> None:
    results, config = small
    experiment = results / "experiments" / "jac-ndi"
    place = experiment / "strata" / "adjusted" / "mixture"
    (place / "null.npz").write_bytes(b"PK\x03\x04 cut off")
    (experiment / "fold-0" / "examples.npz").write_bytes(b"")
    (place / "profiles.tsv").write_text("cluster\tfactor\n1\tfactor_01\n")
    (results / "phenotypes" / "loadings.tsv").write_bytes(b"\xff\xfe\x00")
    (results / "template" / "template.nii.gz").write_bytes(b"nothing")
    text = build(results, config).flat()
    assert "Random repartition in jac-ndi experiments/jac-ndi/strata/adjusted/mixture/null.npz" in text
    assert "fold-0/examples.npz cannot be read" in text
    assert "strata/adjusted/mixture/profiles.tsv has no column quantile" in text
    assert "phenotypes/loadings.tsv is not a readable table" in text
    assert "template/template.nii.gz was not made or cannot be read" in text


def test_subject_page_names_what_a_person_lacks(study: tuple[Path, dict[str, Any], Report]) -> None:
    results, _, _ = study
    # The last person has no diffusion maps; the first has.
    pages = {s: Page(results / f"report/subjects/sub-{s}.html").flat() for s in ("001", "024")}
    assert "Neurite density index" in pages["001"]
    assert "Neurite density index" not in pages["024"]
    size = sum(p.stat().st_size for p in (results / "report/subjects/sub-001").iterdir())
    assert size < 1_000_000
    with pytest.raises(UserError, match="nobody"):
        subject_page(
            results=results, subject="nobody", output=results / "report/subjects/sub-nobody.html", settings={}
        )


def test_results_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such results folder"):
        report(results=tmp_path / "none", output=tmp_path / "index.html", settings={})


def test_provenance_digests_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "scan.nii.gz").write_bytes(b"a" * 9000)
    sheet = tmp_path / "cohort.tsv"
    sheet.write_text("subject\tt1w\n01\tscan.nii.gz\n")
    table = tmp_path / "p.tsv"
    table.write_text("subject\tage\n01\t30\n")
    config: dict[str, Any] = {
        "output": str(tmp_path / "results"),
        "seed": 3,
        "cohort": {"sheet": str(sheet), "bids": None, "hcp": None},
        "qc": None,
        "modalities": {},
        "experiments": [{"name": "x", "model": "pca", "modalities": []}],
        "phenotypes": {"tables": [str(table), str(tmp_path / "gone.tsv")]},
        "registration": {"engine": "greedy"},
    }
    config = fill_config(config)
    output = tmp_path / "results" / "provenance.json"
    provenance(results=tmp_path / "results", output=output, settings={**config, "version": 1})
    record = read_json(output)
    assert record["seeds"] == {"seed": 3, "imaging_seed": 1}
    assert record["engines"] == {"registration": "greedy", "noddi": None, "models": ["pca"]}
    assert record["packages"]["numpy"]
    assert record["settings"]["seed"] == 3
    assert record["inputs"][str(tmp_path / "gone.tsv")] == {"sha256": None}
    images = record["inputs"]["images"]["t1w"]
    assert (images["files"], images["bytes"], images["unreadable"]) == (1, 9000, [])
    before = record["inputs"]
    # A changed value, and an image of another size, show in the digests.
    table.write_text("subject\tage\n01\t31\n")
    (tmp_path / "scan.nii.gz").write_bytes(b"a" * 9001)
    provenance(results=tmp_path / "results", output=output, settings={**config, "version": 1})
    after = read_json(output)["inputs"]
    assert after[str(table)] != before[str(table)]
    assert after["images"]["t1w"]["sha256"] != images["sha256"]
    assert after[str(sheet)] == before[str(sheet)]


def _quickly(figure: Any, path: Path) -> Path:
    """Write a file in place of the figure, which has been drawn: most of a report's time goes into writing figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return path


@pytest.mark.slow
def test_any_one_file_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every file away in turn: a report is made each time and no link of it is broken."""
    monkeypatch.setattr(report_style, "save_figure", _quickly)
    results, config = make_results(tmp_path, people=14, clusters=2, factors=2, variables=5, images=False)
    shutil.rmtree(results / "experiments" / "jac-ndi-pca")
    del config["experiments"][1]
    files = [p for p in results.rglob("*") if p.is_file() and "report" not in p.parts]
    # One finder on one kind of codes stands for all.
    files = [p for p in files if not {"raw", "affinity_propagation"} & set(p.parts)]
    assert len(files) > 40
    for path in files:
        kept = path.with_name("kept-aside")
        path.rename(kept)
        try:
            assert build(results, config).broken() == [], path
        finally:
            kept.rename(path)
