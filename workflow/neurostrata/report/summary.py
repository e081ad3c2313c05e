"""The end of a run in a few lines: where the report is, what was found, and, with a planted truth, how much of it."""

from __future__ import annotations

from pathlib import Path

from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.tables import read_table
from neurostrata.report.layout import ResultsTree
from neurostrata.report.study import Study


def agreement_with_truth(results: Path, truth: Path) -> dict[str, float]:
    """Return experiment -> adjusted Rand index between its clusters and the planted strata.

    Parameters
    ----------
    results
        The results folder.
    truth
        The ``truth`` folder of a simulated cohort (``participants.tsv`` with subject and stratum).
    """
    from sklearn.metrics import adjusted_rand_score

    planted = read_table(truth / "participants.tsv").set_index("subject")["stratum"]
    agreement = {}
    for experiment, _ in Study(ResultsTree(results), {}).experiments():
        path = experiment.strata("clusters.tsv")
        if path.is_file():
            clusters = read_table(path).set_index("subject")["cluster"]
            agreement[experiment.name] = float(
                adjusted_rand_score(planted.loc[clusters.index], clusters.to_numpy())
            )
    return agreement


def summary(*, results: Path, truth: Path | None = None) -> None:
    """Print what the experiments found and where the report is.

    Parameters
    ----------
    results
        The results folder of a finished study.
    truth
        The ``truth`` folder of a simulated cohort: then also how well the clusters agree with it.
    """
    from neurostrata.report.index import experiment_verdict

    report = results / "report" / "index.html"
    if not report.is_file():
        raise UserError(f"{report}: no such file; run the workflow first")
    settings = read_json(results / "provenance.json").get("settings", {})
    study = Study(ResultsTree(results.resolve()), settings)
    print("\nWhat was found")
    for experiment, config in study.experiments():
        print(f"  {experiment.name}: {experiment_verdict(study, experiment, config, {}).headline}")
    if truth is not None:
        oracle = read_json(truth / "oracle.json")["adjusted_rand"]
        print(
            f"\nAgreement with the planted strata (adjusted Rand; the true regional values reach {oracle:.2f})"
        )
        for name, value in agreement_with_truth(results, truth).items():
            print(f"  {name}: {value:.2f}")
    print(f"\nReport: {report.resolve()}")
