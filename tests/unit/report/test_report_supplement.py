"""The supplement for a paper: references, software, and the numbers of people at each step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from report_fixture import make_config

from neurostrata.cohort.sources.registry import SOURCES
from neurostrata.core.config import fill_config, finder_names, model_names
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.registration.engines import ENGINES
from neurostrata.report.data.flow import Flow, Step, study_flow
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.papers import paper_tables
from neurostrata.report.data.results import StudyResults
from neurostrata.report.figures.flow import flow_figure
from neurostrata.report.figures.style import save_figure
from neurostrata.report.html.svg import SVG
from neurostrata.report.text import references as report_references
from neurostrata.report.text.glossary import glossary, meaning
from neurostrata.report.text.methods import methods_paragraphs
from neurostrata.report.text.references import (
    bibtex,
    cite,
    model_references,
    numbered,
    plain_reference,
    references,
)
from neurostrata.report.text.supplement import participants_text, supplement

RECORD = {
    "neurostrata": "0.1.0",
    "code": {"commit": "0123456789abcdef", "changed": False},
    "python": "3.11",
    "packages": {
        "numpy": "2.4",
        "antspyx": "0.6.1",
        "picsl-greedy": "1.4",
        "dmri-amico": "2.1",
        "torch": "2.9",
    },
}


def config(**changes: Any) -> dict[str, Any]:
    return fill_config({**make_config([]), **changes})


def test_what_the_text_cites_is_in_the_list_and_in_bibtex_and_nothing_else() -> None:
    made = supplement(config(), None, RECORD)
    text = " ".join(text for _, text in made.paragraphs)
    numbers = {int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(", ") if n}
    numbers -= {0}  # intensities scaled to [0, 1]
    assert numbers == set(range(1, len(made.keys) + 1))
    assert [line.split(". ", 1)[0] for line in made.references()] == [str(n) for n in sorted(numbers)]
    assert set(re.findall(r"^@\w+\{(\w+),", made.bibtex(), flags=re.M)) == set(made.keys)
    assert "@" not in text
    assert made.markdown().count("\n1. ") == 1


def test_only_what_the_run_used_is_cited() -> None:
    greedy = supplement(config(), None, RECORD)
    assert {"yushkevich2016greedy", "daducci2015amico", "zhang2012noddi", "dimitri2022"} <= set(greedy.keys)
    assert {"avants2008syn", "geenjaar2021"}.isdisjoint(greedy.keys)
    ants = supplement(config(registration={"engine": "ants"}), None, RECORD)
    assert "avants2008syn" in ants.keys
    assert "yushkevich2016greedy" not in ants.keys
    own = supplement(config(diffusion={"space": "T1w"}), None, RECORD)
    assert "daducci2015amico" not in own.keys
    texts = {name: dict(made.paragraphs) for name, made in (("greedy", greedy), ("own", own))}
    assert "picsl-greedy 1.4" in texts["greedy"]["Software"]
    assert "were in the space of the T1-weighted image already" in texts["own"]["Maps"]
    aligned = dict(supplement(config(diffusion={"space": "native"}), None, RECORD).paragraphs)["Maps"]
    assert "aligned with the T1-weighted image of the same person: the mean b = 0 image rigidly" in aligned


def test_a_work_that_is_not_in_the_list_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody2000"):
        numbered([f"As said{cite('nobody2000')}."])


def test_it_is_said_which_works_describe_each_part() -> None:
    papers = {table["model"] for table in paper_tables().values()}
    assert set(report_references.FINDERS) == set(finder_names())
    assert set(report_references.ENGINES) == set(ENGINES)
    assert set(report_references.SOURCES) == set(SOURCES)
    assert set(report_references.MODELS) == set(model_names()) - papers
    assert model_references("pca") == ("jolliffe2016pca",)
    assert model_references("shared_vae") == ("geenjaar2021",)


def test_everything_that_can_be_cited_is_listed() -> None:
    tables = (
        report_references.FINDERS,
        report_references.ENGINES,
        report_references.SOURCES,
        report_references.MODELS,
    )
    can = {key for table in tables for keys in table.values() for key in keys}
    can |= set(report_references.PACKAGES.values())
    source = Path(report_references.__file__).parent
    for path in (source / "methods.py", source / "supplement.py"):
        can |= set(re.findall(r"[\"']([a-z]+\d{4}[a-z0-9]*)[\"']", path.read_text()))
    papers = set(paper_tables())
    assert can <= set(references())
    # Nothing is listed that no run can cite.
    assert set(references()) == can | papers


def test_entries_of_bibtex_are_well_formed() -> None:
    text = bibtex(list(references()))
    assert text.count("{") == text.count("}")
    for key, work in references().items():
        assert {"type", "authors", "title", "journal"} <= set(work), key
        assert plain_reference(key).startswith(str(work["authors"][0]).split(",")[0])
        if "doi" in work:
            assert re.fullmatch(r"10\.\d{4,}/\S+", work["doi"]), key


def study(folder: Path) -> StudyResults:
    """Ten people found: one excluded, one without a map, one outside of every cluster, two without scores."""
    tree = ResultsTree(folder)
    people = [f"{n:02d}" for n in range(1, 10)]
    write_table(tree.subjects, pd.DataFrame({"subject": people, "template": "yes"}))
    excluded = [
        ("10", "all", "volumes", "head motion <i>"),
        ("09", "ndi", "volumes", "no dwi"),
        ("09", "ndi", "experiment jac-ndi", "the model needs every modality of the experiment"),
        ("08", "all", "template", "not among the people of the template"),
    ]
    write_table(tree.exclusions, pd.DataFrame(excluded, columns=["subject", "modality", "stage", "reason"]))
    made = StudyResults(tree, make_config([]))
    experiment = made.tree.experiment("jac-ndi")
    used = people[:-1]
    write_table(experiment.file("splits.tsv"), pd.DataFrame({"subject": used, "fold": "0", "role": "test"}))
    write_table(
        experiment.strata("clusters.tsv"),
        pd.DataFrame(
            {
                "subject": used,
                "cluster": [1] * 5 + [2] * 3,
                "fits": ["no"] + ["yes"] * (len(used) - 1),
            }
        ),
    )
    numbers = {"h": 6.0, "p": 0.01, "q": 0.02, "eta2": 0.3}
    write_table(experiment.strata("comparisons.tsv"), pd.DataFrame([{"factor": "factor_01", **numbers}]))
    write_table(
        tree.phenotypes("scores.tsv"),
        pd.DataFrame({"subject": people, "factor_01": [None] * 3 + [1.0] * (len(people) - 3)}),
    )
    return made


def test_the_numbers_of_people_add_up(tmp_path: Path) -> None:
    flow = study_flow(study(tmp_path))
    assert flow is not None
    assert [(step.people, step.lost) for step in flow.study] == [(10, {}), (9, {"head motion <i>": 1})]
    steps = flow.experiments["jac-ndi"]
    assert [(step.people, step.lost) for step in steps] == [
        (8, {"no NDI": 1}),
        (7, {"too far from every cluster": 1}),
        (5, {"no phenotype scores": 2}),
    ]
    for before, after in zip([*flow.study, *steps], [*flow.study[1:], *steps]):
        assert before.people == after.people + sum(after.lost.values())
    text = participants_text(flow)
    assert "Of 10 people found, 9 took part (1 not: head motion <i>)." in text
    assert (
        "8 in the model (1 not: no NDI); 7 in a cluster (1 not: too far from every cluster); 5 compared"
        in text
    )


def test_it_is_said_why_people_of_a_model_are_not_clustered(tmp_path: Path) -> None:
    tree = study(tmp_path).tree
    excluded = read_table(tree.exclusions)
    # of another class than the model's two: nothing is missing
    excluded.loc[len(excluded)] = [
        "07",
        "",
        "experiment jac-ndi",
        "diagnosis is none of the experiment's classes",
    ]
    write_table(tree.exclusions, excluded)
    experiment = tree.experiment("jac-ndi")
    used = ["01", "02", "03", "04", "05", "06", "08"]
    write_table(experiment.file("splits.tsv"), pd.DataFrame({"subject": used, "fold": "0", "role": "test"}))
    people = read_table(tree.subjects).assign(jac="yes", ndi="yes")
    people.loc[people["subject"] == "05", "ndi"] = "no"  # with missing: include it has a code
    write_table(tree.subjects, people)
    left_out = [{"subject": "04", "reason": "no age"}, {"subject": "06", "reason": "no age"}]
    write_table(experiment.adjusted_codes, pd.DataFrame({"subject": ["01"]}), {}, LeftOut=left_out)
    clustered = ["01", "02", "03"]
    write_table(
        experiment.strata("clusters.tsv"), pd.DataFrame({"subject": clustered, "cluster": 1, "fits": "yes"})
    )
    flow = study_flow(StudyResults(tree, make_config([])))
    assert flow is not None
    model, clusters, _ = flow.experiments["jac-ndi"]
    assert model.lost == {"diagnosis is none of the experiment's classes": 1, "no NDI": 1}
    assert (clusters.people, clusters.lost) == (3, {"no age": 2, "no NDI": 1, "without a code": 1})


def test_people_are_in_no_cluster_where_there_is_none(tmp_path: Path) -> None:
    results = study(tmp_path)
    experiment = results.tree.experiment("jac-ndi")
    row = {"n_clusters": 2, "statistic": 5.0, "p": 0.4, "claimed": "no"}
    write_table(experiment.strata("existence.tsv"), pd.DataFrame([row]))

    def titles() -> list[str]:
        flow = study_flow(StudyResults(results.tree, make_config([])))
        assert flow is not None
        return [step.title for step in flow.experiments["jac-ndi"]]

    assert titles() == ["in the model", "in a part of the partition", "compared in phenotype"]
    everybody = read_table(experiment.strata("clusters.tsv")).assign(cluster=1)
    write_table(experiment.strata("clusters.tsv"), everybody)
    untested = read_table(experiment.strata("comparisons.tsv")).assign(p=None)
    write_table(experiment.strata("comparisons.tsv"), untested)
    assert titles() == ["in the model", "in the only group"]


def test_it_is_said_how_many_people_made_the_template(tmp_path: Path) -> None:
    tree = study(tmp_path).tree
    for members, said in (
        (3, "The template was made of the images of 3 of them."),
        (9, ""),
        (1, "of 1 of them."),
    ):
        people = read_table(tree.subjects)
        people["template"] = ["yes"] * members + ["no"] * (len(people) - members)
        write_table(tree.subjects, people)
        flow = study_flow(StudyResults(tree, make_config([])))
        assert flow is not None
        text = participants_text(flow)
        assert said in text
        assert ("template" in text) == bool(said)


@pytest.mark.parametrize("narrow", [False, True])
def test_the_chart_says_the_numbers(tmp_path: Path, narrow: bool) -> None:
    flow = study_flow(study(tmp_path))
    assert flow is not None
    text = save_figure(flow_figure(flow, narrow=narrow), tmp_path / "flow.svg").read_text()
    words = [
        " ".join(" ".join(element.itertext()).split())
        for element in ElementTree.fromstring(text).iter(f"{{{SVG}}}text")
    ]
    said = " ".join(words)
    for part in ("10 people found", "9 people took part", "1 head motion <i>", "jac-ndi", "8 in the model", "1 no NDI",
                 "7 in a cluster", "5 compared in phenotype", "2 no phenotype scores"):  # fmt: skip
        assert part in said, said
    assert "<i>" not in text


def test_many_experiments_and_reasons_fit() -> None:
    lost = {f"reason {n} that is long enough for more than one line of the box": n for n in range(9, 0, -1)}
    flow = Flow(
        [Step("people found", 90), Step("people took part", 45, lost)],
        {f"e{n}": [Step("in the model", 45)] for n in range(7)},
    )
    figure = flow_figure(flow)
    words = " ".join(text.get_text() for text in figure.axes[0].texts).replace("\n", " ")
    assert all(f"e{n} 45 in the model" in words for n in range(7))
    assert "10 for other reasons" in words  # the four that are not shown: 4 + 3 + 2 + 1
    bottom, top = figure.axes[0].get_ylim()
    assert all(bottom <= text.get_position()[1] <= top for text in figure.axes[0].texts)


def test_paragraphs_without_numbers_still_say_what_they_cite() -> None:
    assert any("[@" in text for _, text in methods_paragraphs(config()))


def test_the_page_of_words_is_made_from_the_resource() -> None:
    root = Path(__file__).resolve().parents[3]
    page = (root / "docs" / "glossary.md").read_text(encoding="utf-8")
    for section, words in glossary().items():
        assert f"## {section}\n" in page
        for word, text in words.items():
            assert f"| {word} | {text} |\n" in page, "run docs/tools/glossary.py"
    assert page.count("\n| ") == sum(len(words) + 1 for words in glossary().values())
    assert meaning("verdict") == "the outcome, by fixed rules from these tables"  # without its link
    with pytest.raises(KeyError):
        meaning("nobody's word")


@pytest.mark.parametrize("narrow", [False, True])
def test_long_names_of_experiments_stay_in_their_boxes(narrow: bool) -> None:
    names = ["t1w-jac-fa-md-ndi-residual-autoencoder-latent-64", "jac-ndi", *(f"e{n}" for n in range(3))]
    flow = Flow(
        [Step("people found", 90), Step("people took part", 45, {"withdrew": 45})],
        {name: [Step("in the model", 45), Step("in a part of the partition", 45)] for name in names},
    )
    figure = flow_figure(flow, narrow=narrow)
    FigureCanvasAgg(figure).draw()
    axis = figure.axes[0]
    boxes = [patch.get_window_extent() for patch in axis.patches if isinstance(patch, Rectangle)]
    for text in axis.texts:
        if not text.get_text() or "who took part" in text.get_text():
            continue
        extent = text.get_window_extent()
        middle = (extent.x0 + extent.x1) / 2, (extent.y0 + extent.y1) / 2
        box = next(box for box in boxes if box.contains(*middle))
        assert box.contains(extent.x0, extent.y0), text.get_text()
        assert box.contains(extent.x1, extent.y1), text.get_text()
    words = " ".join(text.get_text().replace("\n", "") for text in axis.texts)
    assert "t1w-jac-fa-md-ndi-residual-autoencoder-latent-6445 in the model" in words
    # the experiments of a second row begin with the people of the study
    assert [text.get_text() for text in axis.texts].count("the 45 people who took part") == (
        4 if narrow else 2
    )
