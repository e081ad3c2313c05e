"""Problems of who takes part: quality decisions about nobody, and too few people for the template or an experiment."""

from __future__ import annotations

from collections.abc import Iterator

from neurostrata.cohort.columns import sheet_columns
from neurostrata.cohort.sources.registry import required_columns
from neurostrata.cohort.study import Study
from neurostrata.gate.problems import Problem, few

#: Fewest people of an experiment.
FEWEST_PEOPLE = 4


def decision_problems(study: Study) -> Iterator[Problem]:
    """Yield quality decisions about people or modalities that do not exist."""
    names = set(study.modalities) | set(study.config["modalities"])
    for decision in study.decisions:
        subject, modality = decision["subject"], decision["modality"]
        place = f"{study.config['qc']}: subject {subject}"
        if subject not in study.rows:
            yield Problem("sheets", f"{place} is not in the cohort; correct the id or remove the line")
        if modality and modality not in names:
            declared = ", ".join(study.modalities)
            yield Problem("sheets", f"{place}: no such modality: '{modality}' (declared: {declared})")


def member_problems(study: Study) -> Iterator[Problem]:
    """Check that there are people for the template and for every experiment, and say which modality is missing."""
    if not study.template_members():
        yield Problem(
            "study", "nobody is left for the template: every row says template: no, is excluded or has no t1w"
        )
    people, known = study.people(), sheet_columns(study)
    for name, experiment in study.experiments.items():
        label = experiment.get("label")
        if label and label["column"] not in known:
            continue  # reported with the configuration's names
        count = len(study.experiment_members(name))
        if count < FEWEST_PEOPLE:
            which = "a class of the label and " if label else ""
            which += "one of" if experiment.get("missing") == "include" else "all of"
            which += f" {few(experiment['modalities'])}"
            text = f"experiment {name}: {count} people have {which}; at least {FEWEST_PEOPLE} are needed"
            yield Problem("study", "; ".join([text, *_lacking(study, name, people)]))
            continue
        if experiment.get("missing") == "include":
            for modality in experiment["modalities"]:
                if not study.with_modality(modality):
                    text = (
                        f"experiment {name}: nobody has {modality}{_why(study, modality, people)}; take it out of the "
                        "experiment, or give the images"
                    )
                    yield Problem("study", text)
        validation = experiment["validation"]
        if validation["method"] == "kfold" and count < 2 * validation["folds"]:
            yield Problem(
                "study",
                f"experiment {name}: {count} people are too few for {validation['folds']} folds; "
                f"set validation.folds to {count // 2} or less",
            )


def _lacking(study: Study, name: str, people: list[str]) -> Iterator[str]:
    """Say for how many people each modality of an experiment is missing, and why."""
    for modality in study.experiments[name]["modalities"][:10]:
        have = set(study.with_modality(modality))
        without = [subject for subject in people if subject not in have]
        if not without:
            continue
        why = _why(study, modality, without)
        yield f"{modality} is missing for {len(without)} of {len(people)} people{why}"


def _why(study: Study, modality: str, without: list[str]) -> str:
    """Say which images the people without a modality lack."""
    columns = required_columns(study.modalities[modality])
    empty = [c for c in columns if any(not study.has(subject, c) for subject in without)]
    return f" (no {', '.join(empty)} in the sheet)" if empty else " (excluded)"
