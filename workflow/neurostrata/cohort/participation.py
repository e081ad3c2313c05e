"""The tables of who takes part and who does not, and why."""

from __future__ import annotations

from collections.abc import Iterator

from neurostrata.cohort.sheet import Row
from neurostrata.cohort.sources.registry import required_columns
from neurostrata.cohort.study import Study

_FACTS = ("site", "family", "diagnosis", "session")
EXCLUSION_COLUMNS = ["subject", "modality", "stage", "reason"]


def subjects_table(study: Study) -> tuple[list[str], list[Row]]:
    """Return columns and rows of the table of people: whether they are in the template and have each modality."""
    members = {"template": set(study.template_members())}
    members |= {modality: set(study.with_modality(modality)) for modality in study.used_modalities()}
    rows = [
        {"subject": subject}
        | {fact: study.rows[subject].get(fact, "") or "n/a" for fact in _FACTS}
        | {name: "yes" if subject in group else "no" for name, group in members.items()}
        for subject in study.people()
    ]
    return ["subject", *_FACTS, *members], rows


def exclusions_table(study: Study) -> list[Row]:
    """Return who is left out of what, with reasons: decisions, and missing or incomplete images."""
    decided = [
        {
            "subject": d["subject"],
            "modality": d["modality"] or "all",
            "stage": "template" if d["decision"] == "exclude_template" else "volumes",
            "reason": d["reason"],
        }
        for d in study.acting()
    ]
    return [*decided, *_without_modality(study), *_without_experiment(study)]


def _without_modality(study: Study) -> Iterator[Row]:
    for modality in study.used_modalities():
        columns = required_columns(study.modalities[modality])
        for subject in study.people():
            lacking = [column for column in columns if not study.has(subject, column)]
            if lacking:
                reason = f"no {', '.join(lacking)} in the cohort sheet"
                yield {"subject": subject, "modality": modality, "stage": "volumes", "reason": reason}


def _without_experiment(study: Study) -> Iterator[Row]:
    have = {modality: set(study.with_modality(modality)) for modality in study.used_modalities()}
    for name, experiment in study.experiments.items():
        members = set(study.experiment_members(name))
        most = len(experiment["modalities"]) - 1 if experiment["missing"] == "include" else 0
        for subject in study.people():
            if subject in members:
                continue
            lacking = [modality for modality in experiment["modalities"] if subject not in have[modality]]
            if len(lacking) <= most:
                reason = f"{experiment['label']['column']} is none of the experiment's classes"
            elif most:
                reason = "the model needs at least one modality of the experiment"
            else:
                reason = "the model needs every modality of the experiment"
            yield {
                "subject": subject,
                "modality": ", ".join(lacking),
                "stage": f"experiment {name}",
                "reason": reason,
            }
