"""Where a run departs from a paper: a row for every kind of difference, and none where there is none."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from report_fixture import make_config

from neurostrata.core.config import check_config, fill_config, read_configuration, read_yaml
from neurostrata.core.locations import REPOSITORY
from neurostrata.report.data.papers import paper_tables
from neurostrata.report.html.blocks import Link, Section
from neurostrata.report.sections.departures import add_departures
from neurostrata.report.text.departures import compared, departures, unsettled

PAPERS = paper_tables()


@cache
def _configuration(paper: str) -> dict[str, Any]:
    config = check_config(
        read_configuration([REPOSITORY / "config/config.yaml", REPOSITORY / PAPERS[paper]["preset"]])
    )
    return {**config, "phenotypes": {**config["phenotypes"], "tables": ["phenotypes.tsv"]}}


def configuration(paper: str) -> dict[str, Any]:
    """Return the preset of a paper over the main configuration, with a table of phenotypes; to be changed at will."""
    return copy.deepcopy(_configuration(paper))


@pytest.fixture
def dimitri() -> dict[str, Any]:
    return configuration("dimitri2022")


def set_value(settings: dict[str, Any], key: str, value: Any) -> None:
    *parts, last = key.split(".")
    for part in parts:
        settings = settings.setdefault(part, {})
    settings[last] = value


def found(config: dict[str, Any], paper: str = "dimitri2022") -> dict[str, str]:
    """Return setting -> what the run has."""
    return {row.key: row.here for row in departures(PAPERS[paper], config)}


@pytest.mark.parametrize("paper", PAPERS)
def test_the_preset_departs_in_nothing(paper: str) -> None:
    assert departures(PAPERS[paper], configuration(paper)) == []
    alone = check_config(
        {"cohort": {"sheet": "cohort.tsv"}, **read_yaml(REPOSITORY / PAPERS[paper]["preset"])}
    )
    assert departures(PAPERS[paper], alone) == []
    # nor where some experiments of the preset were removed
    model = PAPERS[paper]["model"]
    for experiment in alone["experiments"]:
        assert experiment["model"] == model
        assert departures(PAPERS[paper], {**alone, "experiments": [experiment]}) == []


@pytest.mark.parametrize("paper", PAPERS)
def test_every_setting_of_a_paper_is_compared(paper: str) -> None:
    """Each value is exchanged for one that no setting has: a row with the paper's words, for every row of the table."""
    table, config = PAPERS[paper], configuration(paper)
    for row in table["settings"]:
        before = row["equals"]
        number = isinstance(before, int | float) and not isinstance(before, bool)
        other = before + 7 if number else "other"
        *parts, last = row["key"].split(".")
        section = config
        for part in parts:
            section = section[part]
        section[last] = other
        (departure,) = [d for d in departures(table, config) if d.key == row["key"]]
        section[last] = before
        words = (row["topic"], row["section"], row["paper"])
        assert (departure.topic, departure.section, departure.paper) == words
        assert departure.here == other or float(departure.here) == other
    for row in table["experiments"]:
        changed = {**config, "experiments": copy.deepcopy(config["experiments"])}
        for experiment in changed["experiments"]:
            set_value(experiment, row["key"], "other")
        (departure,) = [d for d in departures(table, changed) if d.key == row["key"]]
        assert (departure.topic, departure.section, departure.paper) == (
            row["topic"],
            row["section"],
            row["paper"],
        )
        assert departure.here.split(" in ")[0] == "other"
    assert compared(table) == len(table["settings"]) + len(table["experiments"])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("volumes.resolution_mm", 2.5, "2.5"),
        ("registration.ants.gradient_step", 0.1200000001, "0.1200000001"),
        ("volumes.shape", [64, 64, 64], "64, 64, 64"),
        ("volumes.shape", [128, 128], "128, 128"),  # a list that only begins like the paper's
        ("template.tolerance", 0.005, "0.005"),  # where the paper has none
        ("strata.adjust.columns", ["age", "sex"], "age, sex"),
        ("diffusion.tensor_b_max", None, "not set"),
        ("registration.balance", True, "yes"),
        ("registration.balance", 0, "0"),  # which is not `no`
        (
            "strata.affinity_propagation.damping",
            {"min": 0.5, "max": 1.0, "steps": 5},
            "min 0.5, max 1, steps 5",
        ),
        ("registration.engine", "torch", "torch"),
    ],
)
def test_a_setting_that_differs_is_a_row(dimitri: dict[str, Any], key: str, value: Any, words: str) -> None:
    set_value(dimitri, key, value)
    assert found(dimitri) == {key: words}


def test_experiments_that_differ_are_named(dimitri: dict[str, Any]) -> None:
    first, second, third = dimitri["experiments"][:3]
    dimitri["experiments"] = [first, second, third]
    first["options"]["dropout"] = 0.2
    third["options"]["dropout"] = 0.3
    assert found(dimitri) == {"options.dropout": "0.2 in jac-ndi; 0.3 in t1-ndi"}
    second["options"]["dropout"], third["options"]["dropout"] = 0.2, 0.1
    assert found(dimitri) == {"options.dropout": "0.2 in jac-ndi and jac-fa"}
    third["options"]["dropout"] = 0.2
    assert found(dimitri) == {"options.dropout": "0.2"}


def test_experiments_with_another_model_are_not_compared(dimitri: dict[str, Any]) -> None:
    other = {**dimitri["experiments"][0], "name": "other", "model": "pca", "limits": "train"}
    dimitri["experiments"].append(other)
    assert found(dimitri) == {}
    dimitri["experiments"] = [other]
    dimitri["volumes"]["resolution_mm"] = 3
    assert found(dimitri) == {}


def test_training_is_the_experiments_own_the_sections_or_the_presets(dimitri: dict[str, Any]) -> None:
    dimitri["experiments"] = dimitri["experiments"][:2]
    dimitri["training"]["epochs"] = 100
    assert found(dimitri) == {"training.epochs": "100"}
    dimitri["experiments"][0]["training"] = {"epochs": 200}
    assert found(dimitri) == {"training.epochs": "100 in jac-fa"}
    dimitri["training"].update(preset="fast", epochs=None, batch_size=None)
    batch = found(dimitri)["training.batch_size"]
    assert batch == "4"


def test_a_value_among_the_papers_is_no_departure() -> None:
    config = configuration("chartsias2018")
    config["experiments"] = config["experiments"][:1]
    options = config["experiments"][0]["options"]
    for value in (4, 8, 16):
        options["latent_channels"] = value
        assert found(config, "chartsias2018") == {}
    options["latent_channels"] = 12
    options["test_plane"] = "sagittal"
    options["costs"] = ["c1"]
    assert found(config, "chartsias2018") == {
        "options.latent_channels": "12",
        "options.test_plane": "sagittal",
        "options.costs": "c1",
    }


def test_an_experiment_without_a_seed_has_the_studys() -> None:
    config = configuration("geenjaar2021")
    config["experiments"] = config["experiments"][:1]
    config["experiments"][0]["seed"] = None
    assert found({**config, "seed": 42}, "geenjaar2021") == {}
    assert found({**config, "seed": 7}, "geenjaar2021") == {"seed": "7"}


def test_rows_hold_only_under_their_conditions(dimitri: dict[str, Any]) -> None:
    folds, holdout = dimitri["experiments"][0], dimitri["experiments"][3]
    assert (folds["validation"]["method"], holdout["validation"]["method"]) == ("kfold", "holdout")
    dimitri["experiments"] = [folds, holdout]
    holdout["validation"]["folds"] = 3  # not read
    folds["validation"]["test_fraction"] = 0.1
    assert found(dimitri) == {}
    folds["validation"]["folds"] = 3
    holdout["validation"]["test_fraction"] = 0.1
    assert found(dimitri) == {
        "validation.folds": f"3 in {folds['name']}",
        "validation.test_fraction": f"0.1 in {holdout['name']}",
    }
    table = copy.deepcopy(PAPERS["dimitri2022"])
    (row,) = [row for row in table["settings"] if row["key"] == "template.resolution_mm"]
    table["settings"] = [{**row, "when": {"registration.engine": "greedy"}}]
    dimitri["template"]["resolution_mm"] = 9
    assert [row.key for row in departures({**table, "experiments": []}, dimitri)] == []
    dimitri["registration"]["engine"] = "greedy"
    assert [row.key for row in departures({**table, "experiments": []}, dimitri)] == [
        "template.resolution_mm"
    ]


@pytest.mark.parametrize(
    ("unless", "ignored"),
    [
        ({"registration.engine": "greedy"}, {"registration.ants.gradient_step": 0.5}),
        ({"diffusion.noddi.engine": "amico"}, {"diffusion.noddi.likelihood": "gaussian"}),
        ({"strata.finders": ["mixture"]}, {"strata.affinity_propagation.sample": 500}),
        ({"phenotypes.method": "variables"}, {"phenotypes.n_factors": 4}),
        (
            {"phenotypes.tables": []},
            {"phenotypes.variables": "all", "strata.repartition.draws": 9, "report.loading_threshold": 0.5},
        ),
    ],
)
def test_settings_that_decide_nothing_are_no_departures(
    dimitri: dict[str, Any], unless: dict[str, Any], ignored: dict[str, Any]
) -> None:
    for key, value in ignored.items():
        set_value(dimitri, key, value)
    assert set(found(dimitri)) == set(ignored)  # where they do
    for key, value in unless.items():
        set_value(dimitri, key, value)
    assert set(found(dimitri)) == set(unless) - {"phenotypes.tables"}


def test_what_the_papers_experiments_do_not_use_is_no_departure(dimitri: dict[str, Any]) -> None:
    changes = {
        "strata.outliers": 0.1,
        "report.alpha": 0.01,
        "modalities.ndi.tissue_weighted": True,
        "diffusion.noddi.engine": "amico",
    }
    for key, value in changes.items():
        set_value(dimitri, key, value)
    assert set(found(dimitri)) == set(changes)
    dimitri["experiments"] = [dimitri["experiments"][1]]  # JAC and FA, without strata
    assert found(dimitri) == {}


def test_a_modality_without_the_papers_setting_or_name() -> None:
    config = configuration("arco2023")
    del config["modalities"]["gm"]["modulate"]
    assert found(config, "arco2023") == {"modalities.gm.modulate": "not set"}
    config["modalities"]["grey"] = config["modalities"].pop("gm")
    for experiment in config["experiments"]:
        experiment["modalities"] = ["grey", "pet"]
    row, fused = departures(PAPERS["arco2023"], config)
    assert (fused.key, fused.here) == ("modalities", "grey, pet")
    assert (row.topic, row.key, row.here) == ("Modality gm", "modalities.gm", "no modality of this name")
    assert row.paper.startswith("Tissue: we only focused")
    assert "; Smoothing: none mentioned" in row.paper
    assert row.section == "3.2 and 4.2.1"


def test_other_modalities_and_covariates_are_departures_and_another_order_is_none() -> None:
    config = configuration("geenjaar2021")
    for experiment in config["experiments"]:
        experiment["modalities"] = experiment["modalities"][::-1]
    assert found(config, "geenjaar2021") == {}
    first, second = config["experiments"][:2]
    config["experiments"] = [first, second]
    first["modalities"] = [name for name in first["modalities"] if name != "gmv"]
    assert found(config, "geenjaar2021") == {"modalities": "53 modalities, icn53 to icn01 in vae-128"}
    first["modalities"] = second["modalities"] = ["icn01", "gmv"]
    assert found(config, "geenjaar2021") == {"modalities": "icn01, gmv"}
    first["modalities"] = second["modalities"] = configuration("geenjaar2021")["experiments"][0]["modalities"]
    first["analyses"].update(harmonise={"sites": "site", "keep": ["age", "sex"]}, covariates=["age"])
    assert found(config, "geenjaar2021") == {
        "analyses.harmonise": "sites site, keep age, sex in vae-128",
        "analyses.covariates": "age in vae-128",
    }
    config = configuration("chartsias2018")
    config["experiments"] = config["experiments"][:1]
    options = config["experiments"][0]["options"]
    options.update(inputs=["trace", "t2w"], outputs=["t1w"])
    assert found(config, "chartsias2018") == {"options.outputs": "t1w"}
    config = configuration("arco2023")
    config["experiments"][0]["label"]["classes"] = ["CTL", "patient"]
    assert found(config, "arco2023") == {"label.classes": "CTL, patient in ctl-ad"}


def test_what_no_setting_can_say() -> None:
    table: dict[str, Any] = copy.deepcopy(PAPERS["dimitri2022"])
    table["needed"] = []
    assert [row.topic for row in unsettled(table)] == [row["topic"] for row in table["beyond"]]
    table["needed"] = [
        {"key": "a.b", "equals": 1, "section": "9", "topic": "New", "paper": "1", "meaning": "2 today"}
    ]
    row = unsettled(table)[-1]
    assert (row.topic, row.section, row.paper, row.here) == ("New", "9", "1", "no setting yet: 2 today")


def section_of(config: dict[str, Any]) -> Section:
    section = Section("methods", "Methods")
    study = SimpleNamespace(config=config, tree=SimpleNamespace(provenance="provenance.json"))
    page: Any = SimpleNamespace(study=study, sources=lambda *paths: [Link(path, path) for path in paths])
    add_departures(page, section)
    return section


def test_the_report_has_a_table_for_each_paper() -> None:
    config = fill_config(make_config(["p.tsv"]))
    label = {"column": "diagnosis", "classes": ["a", "b"]}
    siamese = {"name": "pairs", "model": "siamese_attention", "modalities": ["jac", "ndi"], "label": label}
    config = fill_config({**config, "experiments": [*config["experiments"], siamese]})
    blocks = section_of(config).blocks
    texts = [block.text for block in blocks if block.block == "text"]
    assert [text.split(",")[0] for text in texts[:2]] == ["Arco et al. 2023", "Dimitri et al. 2022"]
    assert "(pairs)" in texts[0]
    assert "(jac-ndi)" in texts[1]
    assert texts[2].startswith("Not compared, because no experiment has the model: Chartsias et al. 2018 (")
    tables = {block.title: block for block in blocks if block.block == "table"}
    assert list(tables) == [
        "Where this run departs from Arco et al. 2023",
        "Differences from Arco et al. 2023 that are no settings",
        "Where this run departs from Dimitri et al. 2022",
        "Differences from Dimitri et al. 2022 that are no settings",
    ]
    rows = {
        row[0].text: [cell.text for cell in row[1:]]
        for row in tables["Where this run departs from Dimitri et al. 2022"].rows
    }
    assert rows["Template iterations"] == [
        "2.3.5",
        "averaged iteratively (5 iterations)",
        "template.iterations: 3",
    ]
    assert rows["Registration"][2] == "registration.engine: greedy"
    assert rows["Epochs"][1:] == ["200", "training.epochs: 3"]
    assert f"{len(rows)} departures." in texts[1]


def test_the_report_says_when_nothing_differs_and_when_nothing_was_compared(dimitri: dict[str, Any]) -> None:
    blocks = section_of(dimitri).blocks
    assert "none differs" in blocks[0].text
    many = configuration("chartsias2018")
    assert f"({len(many['experiments'])} experiments); none differs." in section_of(many).blocks[0].text
    assert [block.title for block in blocks if block.block == "table"] == [
        "Differences from Dimitri et al. 2022 that are no settings"
    ]
    dimitri["experiments"] = [{**dimitri["experiments"][0], "model": "pca"}]
    (only,) = section_of(dimitri).blocks
    assert only.text.startswith("No experiment of this run has the model of a paper")
    assert all(table["paper"] in only.text for table in PAPERS.values())


def test_without_tables_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paper_tables(tmp_path) == {}
    monkeypatch.setattr("neurostrata.report.sections.departures.paper_tables", dict)
    notes: list[tuple[str, str]] = []
    page: Any = SimpleNamespace(study=SimpleNamespace(config={}, note=lambda *line: notes.append(line)))
    section = Section("methods", "Methods")
    add_departures(page, section)
    assert not section.blocks
    assert notes[0][0] == "Departures from the papers"
