"""How many people there are at each step of a study, and why others are not: the numbers of a CONSORT-like flow chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from neurostrata.report.data.evidence import Evidence, read_evidence
from neurostrata.report.data.layout import Experiment
from neurostrata.report.data.results import StudyResults, is_yes

#: Reason of people for whom none is recorded.
NO_REASON = "no reason recorded"
#: Columns of ``exclusions.tsv``.
EXCLUSIONS = ("subject", "modality", "stage", "reason")


@dataclass(frozen=True)
class Step:
    """One step: who is left, and who left before it.

    Attributes
    ----------
    title
        Who is left, in words.
    people
        How many are left.
    lost
        Reason -> how many left for it between the step before and this one.
    """

    title: str
    people: int
    lost: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    """The steps of the whole study, then those of each experiment, which begin with the last of them.

    `template`: how many of them the template was made of, where it was not made of all.
    """

    study: list[Step]
    experiments: dict[str, list[Step]]
    template: int | None = None


def study_flow(study: StudyResults) -> Flow | None:
    """Return the numbers of people at each step; None for a study without a table of people.

    Within the study and within each experiment, the people of a step plus those lost before it are the people of the step
    before.
    """
    people = study.subjects()
    if not people:
        return None
    exclusions = study.table(study.tree.exclusions, columns=EXCLUSIONS)
    whole: dict[str, str] = {}
    if exclusions is not None:
        rows = exclusions[(exclusions["modality"] == "all") & (exclusions["stage"] != "template")]
        for subject, reason in zip(rows["subject"].astype(str), rows["reason"].astype(str)):
            whole.setdefault(subject, reason)
    took_part = set(people)
    gone = {subject: reason for subject, reason in whole.items() if subject not in took_part}
    first = [
        Step("people found", len(people) + len(gone)),
        Step("people took part", len(people), _counted(gone.values())),
    ]
    experiments = {
        experiment.name: steps
        for experiment, config in study.experiments()
        if (steps := experiment_steps(study, experiment, config["modalities"]))
    }
    cohort = study.table(study.tree.subjects, columns=["subject"])
    assert cohort is not None
    members = int(is_yes(cohort["template"]).sum()) if "template" in cohort else len(people)
    return Flow(first, experiments, members if members < len(people) else None)


def experiment_steps(study: StudyResults, experiment: Experiment, modalities: Iterable[str]) -> list[Step]:
    """Return the steps of one experiment with these modalities, from the people who took part; none without both."""
    people = set(study.subjects())
    splits = study.table(experiment.file("splits.tsv"), columns=["subject"])
    if splits is None or not people:
        return []
    used = set(splits["subject"].astype(str)) & people
    reasons = _reasons(study, experiment.name)
    steps = [
        Step("in the model", len(used), _counted(reasons.get(s, NO_REASON) for s in people - used)),
    ]
    evidence = read_evidence(study, experiment)
    if evidence.clusters is None:
        return steps
    clustered = set(evidence.clusters["subject"].astype(str)) & used
    inside = clustered - set(evidence.outside())
    lost = _counted(not_clustered(study, experiment, modalities, used - clustered).values())
    if clustered - inside:
        lost["too far from every cluster"] = len(clustered - inside)
    steps.append(Step(_where(evidence), len(inside), lost))
    scores = study.table(study.tree.phenotypes("scores.tsv"), columns=["subject"])
    if scores is not None and evidence.comparisons is not None and evidence.comparisons["p"].notna().any():
        known = scores.drop(columns="subject").notna().any(axis=1)
        compared = inside & set(scores.loc[known, "subject"].astype(str))
        left = len(inside) - len(compared)
        steps.append(
            Step("compared in phenotype", len(compared), {"no phenotype scores": left} if left else {})
        )
    return steps


def _where(evidence: Evidence) -> str:
    """Return in what the people of a partition are: in clusters only where these are not denied."""
    if len(evidence.sizes()) < 2:
        return "in the only group"
    return "in a part of the partition" if evidence.claimed() is False else "in a cluster"


def _reasons(study: StudyResults, experiment: str) -> dict[str, str]:
    """Return subject -> why the person is not in an experiment: what is missing, where that is recorded."""
    exclusions = study.table(study.tree.exclusions, columns=EXCLUSIONS)
    if exclusions is None:
        return {}
    found: dict[str, str] = {}
    for _, row in exclusions.iterrows():
        if str(row["stage"]) == f"experiment {experiment}":
            # who lacks no modality is of another class than the model's
            lacking = row["modality"]
            known = isinstance(lacking, str) and lacking
            found[str(row["subject"])] = f"no {lacking.upper()}" if known else str(row["reason"])
    return found


def not_clustered(
    study: StudyResults, experiment: Experiment, modalities: Iterable[str], people: Iterable[str]
) -> dict[str, str]:
    """Return subject -> why the codes of these people of a model with these modalities were not clustered.

    Only people with all modalities are clustered, and where codes are adjusted, only those whose covariates are known.
    """
    cohort = study.table(study.tree.subjects, columns=["subject"])
    assert cohort is not None
    having = {m: set(cohort.loc[is_yes(cohort[m]), "subject"].astype(str)) for m in modalities if m in cohort}
    left_out: dict[str, str] = {}
    if experiment.codes[0] == "adjusted":
        rows = study.sidecar(experiment.adjusted_codes).get("LeftOut", [])
        left_out = {str(row["subject"]): str(row["reason"]) for row in rows}
    found = {}
    for subject in people:
        lacking = [modality for modality, those in having.items() if subject not in those]
        found[subject] = (
            f"no {', '.join(lacking).upper()}" if lacking else left_out.get(subject, "without a code")
        )
    return found


def _counted(reasons: Iterable[str]) -> dict[str, int]:
    """Return reason -> how many, the most frequent first."""
    return dict(sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0])))
