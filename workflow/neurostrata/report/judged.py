"""The verdict on each experiment with the tables that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurostrata.report.data.evidence import Evidence, read_evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults
from neurostrata.report.text.judge import decoding_caution, judge
from neurostrata.report.text.verdict import Verdict

#: Of an experiment that was renamed, or taken out of the configuration.
_LEFT = (
    "Not in the configuration any more: these are results of an earlier run, which follow no later change."
)


@dataclass(frozen=True)
class Judged:
    """An experiment, its configuration, the verdict on it and the tables of its leading partition."""

    experiment: Experiment
    config: Mapping[str, Any]
    verdict: Verdict
    evidence: Evidence

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name


def experiment_verdict(
    study: StudyResults, experiment: Experiment, config: Mapping[str, Any], meanings: Mapping[str, str]
) -> tuple[Verdict, Evidence]:
    """Judge one experiment from its tables."""
    evidence = read_evidence(study, experiment)
    verdict = judge(
        experiment.name,
        evidence,
        experiment=config,
        alpha=study.alpha,
        counted_alpha=study.counted_alpha,
        level=study.level,
        meanings=meanings,
        decoding=decoding_caution(study, experiment, config),
    )
    if config["model"] is None:
        verdict.doubts.append("no longer in the configuration")
        verdict.headline = f"{_LEFT} {verdict.headline}"
    return verdict, evidence


def judge_all(study: StudyResults, meanings: Mapping[str, str]) -> list[Judged]:
    """Judge every experiment of a study.

    Parameters
    ----------
    study
        The results.
    meanings
        Factor -> what it is, from :func:`neurostrata.report.sections.phenotypes.factor_meanings`.
    """
    return [
        Judged(experiment, config, *experiment_verdict(study, experiment, config, meanings))
        for experiment, config in study.experiments()
    ]
