"""A summary of a finished run in a few lines: what was found, and where the report is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurostrata.core.config import fill_defaults, load_schema, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.locations import STUDY_CONFIG
from neurostrata.core.wording import join_words
from neurostrata.fusion.evaluation.baselines import PCA
from neurostrata.report.data.decoding import (
    RECONSTRUCTION_COLUMNS,
    modality_order,
    model_method,
    shares_decoded,
)
from neurostrata.report.data.layout import Experiment, ResultsTree
from neurostrata.report.data.results import StudyResults


def behind_pca(study: StudyResults, experiment: Experiment, config: Mapping[str, Any]) -> str:
    """Return why a network decodes people it has not seen worse than principal components do; "" where it does not.

    Parameters
    ----------
    study, experiment, config
        The results of the study, an experiment and its configuration.
    """
    frame = study.table(experiment.file("reconstruction.tsv"), columns=RECONSTRUCTION_COLUMNS)
    if frame is None:
        return ""
    shares, model = shares_decoded(frame), model_method(frame, config)
    both = [m for m in modality_order(frame, config) if (model, m) in shares and (PCA, m) in shares]
    if model == PCA or not any(shares[model, m] < shares[PCA, m] for m in both):
        return ""

    def decoded(method: str) -> str:
        return join_words([f"{shares[method, m]:.0%} of {m.upper()}" for m in both])

    held_out = [fold.folder for fold in experiment.folds() if fold.name != "all"]
    models = [found for folder in held_out if (found := study.json(folder / "model" / "model.json"))]
    effort = ""
    if models and "parameters" in models[0]["facts"]:
        people = min(int(one["training_people"]) for one in models)
        effort = (
            f" It had to find {int(models[0]['facts']['parameters']):,} numbers from {people} people by small steps; PCA computes the main "
            "differences between the same people directly."
        )
    return (
        f"Why PCA is ahead: of what differs between people it has not seen, this network decodes {decoded(model)}; PCA {decoded(PCA)} "
        f"(0%: the mean image).{effort} What helps, and what is not known: docs/learning.md."
    )


def summary(*, directory: Path = Path(), results: Path | None = None) -> None:
    """Print what the experiments found and where the report is.

    Parameters
    ----------
    directory
        The study's folder.
    results
        Its results folder, where a ``--configfile`` has set another one than the study's configuration.
    """
    from neurostrata.report.data.finders import read_verdicts

    if results is None:
        own = directory / STUDY_CONFIG
        config = fill_defaults(read_yaml(own) if own.is_file() else {}, load_schema("config"))
        results = directory / config["output"]
    report = results / "report" / "index.html"
    if not report.is_file():
        raise UserError(f"{report}: no such file; run the workflow first")
    settings = read_json(results / "provenance.json")["settings"]
    study = StudyResults(ResultsTree(results.resolve()), settings)
    print("\nWhat was found")
    # as the report says it: the record of what ran has not the report's own settings
    verdicts = {verdict.name: verdict for verdict in read_verdicts(report.with_name("verdicts.tsv"))}
    for experiment, config in study.experiments():
        if verdict := verdicts.get(experiment.name):
            print(f"  {experiment.name} [{verdict.label}]: {verdict.headline}")
        if words := behind_pca(study, experiment, config):
            print(f"    {words}")
    print(f"\nReport: {report.resolve()}")
