"""A summary of a finished run in a few lines: what was found, and where the report is."""

from __future__ import annotations

from pathlib import Path

from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults


def summary(*, results: Path) -> None:
    """Print what the experiments found and where the report is.

    Parameters
    ----------
    results
        The results folder of a finished study.
    """
    from neurostrata.report.index import experiment_verdict
    from neurostrata.report.sections.phenotypes import factor_meanings

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
