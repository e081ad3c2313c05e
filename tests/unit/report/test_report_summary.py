"""The words at the end of the demo: why principal components are ahead of a network, only when they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_fixture import make_config, make_results

from neurostrata.core.files import write_json
from neurostrata.core.tables import write_table
from neurostrata.report.data.finders import verdict_rows
from neurostrata.report.data.layout import Experiment, ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.judged import experiment_verdict
from neurostrata.report.summary import behind_pca, summary
from neurostrata.report.text.verdict import Verdict

CONFIG: dict[str, Any] = {"model": "residual_autoencoder", "modalities": ["jac", "ndi"]}


def study_of(folder: Path, model: str, jac: float, ndi: float) -> tuple[StudyResults, Experiment]:
    """One experiment in which each method leaves such a part of the mean image's error."""
    left = {model: (jac, ndi), "mean_image": (1.0, 1.0), "pca": (0.4, 0.25)}
    rows = [
        {
            "subject": person,
            "fold": "0",
            "method": method,
            "modality": modality,
            "mse": error,
            "mse_mask": error,
        }
        for method, errors in left.items()
        for modality, error in zip(("jac", "ndi"), errors)
        for person in ("01", "02")
    ]
    experiment = Experiment(folder / "experiments" / "jac-ndi")
    for fold, people in (("0", 14), ("all", 22)):
        place = experiment.folder / f"fold-{fold}" / "model"
        place.mkdir(parents=True)
        facts = {"training_people": people, "facts": {"parameters": 983030}}
        (place / "model.json").write_text(json.dumps(facts))
    pd.DataFrame(rows).to_csv(experiment.file("reconstruction.tsv"), sep="\t", index=False)
    return StudyResults(ResultsTree(folder), {}), experiment


def test_a_network_behind_pca_is_explained_by_its_numbers(tmp_path: Path) -> None:
    study, experiment = study_of(tmp_path, "residual_autoencoder", 0.5, 1.2)
    assert behind_pca(study, experiment, CONFIG) == (
        "Why PCA is ahead: of what differs between people it has not seen, this network decodes 50% of JAC and -20% of NDI; PCA 60% of "
        "JAC and 75% of NDI (0%: the mean image). It had to find 983,030 numbers from 14 people by small steps; PCA computes the main "
        "differences between the same people directly. What helps, and what is not known: docs/learning.md."
    )
    for model in experiment.folder.glob("fold-*/model/model.json"):
        model.unlink()
    assert "(0%: the mean image). What helps" in behind_pca(study, experiment, CONFIG)


def test_what_an_experiment_left_behind_is_no_finding_of_this_study(tmp_path: Path) -> None:
    """Renamed or taken out of the configuration, it has results of another run, which nothing updates."""
    results, config = make_results(tmp_path, images=False)
    first, *others = config["experiments"]
    study = StudyResults(ResultsTree(results), config | {"experiments": others})
    left = {experiment.name: (experiment, found) for experiment, found in study.experiments()}[first["name"]]
    verdict, _ = experiment_verdict(study, *left, {})
    assert verdict.headline.startswith(
        "Not in the configuration any more: these are results of an earlier run"
    )
    assert "no longer in the configuration" in verdict.doubts
    kept = study.experiments()[0]
    assert "configuration" not in experiment_verdict(study, *kept, {})[0].headline


@pytest.mark.parametrize(("model", "jac", "ndi"), [("residual_autoencoder", 0.3, 0.2), ("pca", 0.9, 0.9)])
def test_nothing_is_said_of_what_does_not_lose(tmp_path: Path, model: str, jac: float, ndi: float) -> None:
    study, experiment = study_of(tmp_path, model, jac, ndi)
    assert behind_pca(study, experiment, {**CONFIG, "model": model}) == ""


def test_nothing_is_said_of_what_was_not_measured(tmp_path: Path) -> None:
    assert behind_pca(StudyResults(ResultsTree(tmp_path), {}), Experiment(tmp_path), CONFIG) == ""


def test_what_was_found_is_what_the_report_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report has limits of its own (report.alpha), which the record of what ran has not."""
    config = make_config([])
    settings = {key: value for key, value in config.items() if key != "report"}
    write_json(tmp_path / "provenance.json", {"settings": settings})
    verdicts = [
        Verdict(
            "jac-ndi",
            "explained",
            ["not stable"],
            "The clusters are explained by site.",
            explained_by=["site"],
        ),
        Verdict("jac-ndi-pca", "clusters_only", [], "2 clusters exist; nothing was compared."),
    ]
    write_table(tmp_path / "report/verdicts.tsv", verdict_rows(verdicts))
    (tmp_path / "report/index.html").write_text("")
    summary(results=tmp_path)
    said = capsys.readouterr().out
    assert "  jac-ndi [clusters explained by site, in doubt]: The clusters are explained by site.\n" in said
    assert (
        "  jac-ndi-pca [clusters, phenotypes not compared]: 2 clusters exist; nothing was compared.\n" in said
    )
