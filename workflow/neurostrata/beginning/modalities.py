"""What can be made of the images that were found: modalities and experiments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurostrata.cohort.sheet import Row
from neurostrata.cohort.sources.registry import source_of
from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.wording import count
from neurostrata.gate.gradients import Gradients, noddi_shells, read_gradients, tensor_measurements
from neurostrata.gate.problems import few

#: What replaces the modalities of an experiment that cannot be made, in the names of the recommended configuration.
_WITHOUT_DIFFUSION = ("t1w", "jac", "gmv")
#: A map of the tensor, which needs one shell only.
_TENSOR = "fa"
#: Fewest people in each fold.
_LEAST_IN_FOLD = 2


@dataclass
class Diffusion:
    """The diffusion data of a study.

    Attributes
    ----------
    people
        How many people have diffusion data with gradients that can be read.
    several_shells
        How many of them have the shells that NODDI needs.
    problems
        A line for each person without gradients, and for each pair of files that cannot be used, with whose they are.
    """

    people: int
    several_shells: int
    problems: list[str]


def read_diffusion(rows: Iterable[Row]) -> Diffusion:
    """Read everybody's gradients."""
    section = section_defaults("diffusion")
    good = several = 0
    without: list[str] = []
    known: dict[tuple[str, str], tuple[bool, str]] = {}
    unusable: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if not row.get("dwi"):
            continue
        files = row.get("bval", ""), row.get("bvec", "")
        if not all(files):
            without.append(f"{row['subject']}: diffusion data without bval and bvec")
            continue
        if files not in known:  # everybody may inherit the same
            known[files] = _shells(files, row["subject"], section)
        noddi, problem = known[files]
        if problem:
            unusable.setdefault(files, []).append(row["subject"])
        else:
            good, several = good + 1, several + noddi
    problems = [f"subject {few(people)}: {known[files][1]}" for files, people in unusable.items()]
    return Diffusion(good, several, [*problems, *without])


def _shells(files: tuple[str, str], subject: str, section: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether NODDI can be fitted, and what is wrong with the gradients."""
    try:
        gradients: Gradients = read_gradients(
            Path(files[0]), Path(files[1]), subject, None, section["b0_max"]
        )
        tensor_measurements(gradients, section["tensor_b_max"], subject)
    except UserError as error:
        return False, str(error).removeprefix(f"subject {subject}: ")
    try:
        noddi_shells(gradients, section["shell_gap"], subject)
    except UserError:
        return False, ""
    return True, ""


@dataclass
class Plan:
    """The experiments of a study.

    Attributes
    ----------
    experiments
        As they stand in the configuration; None where the recommended ones can be taken as they are.
    why
        Why they are not the recommended ones, and what else could be chosen.
    people
        How many people take part.
    """

    experiments: list[dict[str, Any]] | None
    why: list[str]
    people: int


def plan_experiments(recommended: Mapping[str, Any], rows: Sequence[Row], diffusion: Diffusion) -> Plan:
    """Return the experiments that can be made of the images.

    Parameters
    ----------
    recommended
        The recommended configuration: its modalities and experiments.
    rows
        Everybody's images.
    diffusion
        What the gradients say.
    """
    modalities = recommended["modalities"]
    with_t1w = sum(bool(row.get("t1w")) for row in rows)
    why: list[str] = []
    people = with_t1w
    if diffusion.people and diffusion.several_shells == diffusion.people:
        people = diffusion.people
    elif diffusion.people:
        people = diffusion.people
        shells = "have one shell" if diffusion.people > 1 else "has one shell"
        alone = diffusion.people - diffusion.several_shells
        why.append(
            f"{alone} of {count(diffusion.people, 'person', 'people')} with diffusion data {shells}: FA instead of NDI, which needs two"
        )
        if diffusion.several_shells:
            why.append(
                f"NDI is possible for the other {diffusion.several_shells}: write jac and ndi below, and leave the others' dwi out "
                f"(config/qc.tsv: modality ndi, decision exclude)"
            )
    else:
        why.append(f"no diffusion data, so neither FA nor NDI: {', '.join(_WITHOUT_DIFFUSION)} instead")
    changed = []
    for experiment in recommended["experiments"]:
        names = [_instead(name, modalities, diffusion) for name in experiment["modalities"]]
        wanted = list(dict.fromkeys(name for name in names if name))
        if not diffusion.people:
            wanted = [name for name in _WITHOUT_DIFFUSION if name in modalities]
        stem = "-".join(experiment["modalities"])
        name = experiment["name"].replace(stem, "-".join(wanted))
        changed.append({**experiment, "name": name, "modalities": wanted})
    folds = max((e.get("validation", {}).get("folds", 0) for e in changed), default=0)
    if people < _LEAST_IN_FOLD * folds:
        fewer = max(2, people // _LEAST_IN_FOLD)
        why.append(
            f"{count(people, 'person', 'people')} are too few for {folds} folds, so experiments have {fewer}"
        )
        for experiment in changed:
            experiment["validation"] = {**experiment["validation"], "folds": fewer}
    same = changed == [dict(experiment) for experiment in recommended["experiments"]]
    return Plan(None if same else changed, why, people)


def _instead(name: str, modalities: Mapping[str, Any], diffusion: Diffusion) -> str:
    """Return the modality that takes the place of another one that cannot be made, "" for none."""
    source = source_of(modalities[name])
    if not diffusion.people and source.space_of(modalities[name]) == "dwi":
        return ""
    several = diffusion.several_shells == diffusion.people
    return _TENSOR if source.several_shells and not several else name
