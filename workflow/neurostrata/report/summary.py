"""A summary of a finished run in a few lines: what was found, and where the report is."""

from __future__ import annotations

from pathlib import Path

from neurostrata.core.config import fill_defaults, load_schema, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.locations import STUDY_CONFIG
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults


def summary(*, directory: Path = Path(), results: Path | None = None) -> None:
    """Print what the experiments found and where the report is.

    Parameters
    ----------
    directory
        The study's folder.
    results
        Its results folder, where a ``--configfile`` has set another one than the study's configuration.
    """
    from neurostrata.report.index import experiment_verdict
    from neurostrata.report.sections.phenotypes import factor_meanings

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
    for experiment, config in study.experiments():
        verdict, _ = experiment_verdict(study, experiment, config, factor_meanings(study))
        print(f"  {experiment.name} [{verdict.label}]: {verdict.headline}")
    print(f"\nReport: {report.resolve()}")
