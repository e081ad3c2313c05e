"""Predictions adjusted for sites and covariates: what they are planned from, and what is run again with them."""

from __future__ import annotations

from pathlib import Path

import yaml
from planned_study import make_planned_study
from small_study import StudyFolder


def configure(study: StudyFolder, **analyses: object) -> None:
    path = study.folder / "config" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["phenotypes"]["exclude"] = ["v1", "age"]
    config["experiments"] = [config["experiments"][-1] | {"analyses": analyses}]
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def test_adjusting_repeats_the_predictions_only(tmp_path: Path) -> None:
    study = make_planned_study(tmp_path / "study")

    def add_columns(cells: list[list[str]]) -> None:
        cells[0] += ["site", "age"]
        for number, row in enumerate(cells[1:]):
            row += ["ab"[number % 2], str(30 + number)]

    study.edit_sheet(add_columns)
    configure(study, prediction=["v2"])
    run = study.snakemake()
    assert run.returncode == 0, run.stderr[-4000:]
    configure(study, prediction=["v2"], harmonise={"keep": ["age"]}, covariates=["v1"])
    assert study.planned() == {"list_people": 1, "predict": 1, "provenance": 1, "report": 1}
    run = study.snakemake("results/experiments/linear/predictions.tsv")
    assert run.returncode == 0, run.stderr[-4000:]  # the check before the first job agrees
    study.edit_sheet(lambda cells: cells[1].__setitem__(-1, "70"))
    planned = study.planned("results/experiments/linear/predictions.tsv")
    assert planned == {"list_people": 1, "predict": 1}
    configure(study, prediction=["v2"], covariates=["v3"])  # a variable of the factors
    run = study.snakemake("results/experiments/linear/predictions.tsv")
    assert run.returncode == 2
    assert "experiment linear: analyses.covariates: 'v3' is one of the variables" in run.stderr
    configure(study, prediction=["v2"], covariates=["v2"])
    run = study.snakemake("-n")
    assert run.returncode == 2
    assert "experiments[0].analyses.covariates: 'v2' is predicted by this experiment" in run.stderr
