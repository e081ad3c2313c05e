"""What a study lacks before it can be planned, and only a person can give. Nothing is read from images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from neurostrata.beginning.configuration import presets
from neurostrata.beginning.findings import Findings
from neurostrata.beginning.modalities import Diffusion
from neurostrata.cohort.sources.registry import required_columns, source_of
from neurostrata.cohort.study import Study
from neurostrata.core.errors import UserError
from neurostrata.core.wording import count, join_words
from neurostrata.gate.membership import member_problems
from neurostrata.gate.named_columns import column_problems
from neurostrata.gate.phenotype_tables import read_tables
from neurostrata.gate.problems import Problem


def absent_columns(study: Study) -> dict[str, list[str]]:
    """Return columns that experiments need and nobody has -> the modalities that need them."""
    absent: dict[str, list[str]] = {}
    for modality in study.used_modalities():
        for column in required_columns(study.modalities[modality]):
            if not any(row.get(column) for row in study.rows.values()):
                absent.setdefault(column, []).append(study.declared(modality))
    return absent


def undecided_in(
    study: Study, findings: Findings, diffusion: Diffusion, preset: str, corrected: bool
) -> Iterator[str]:
    """Yield what is missing before the study can be planned, a line each.

    Parameters
    ----------
    study
        People and configuration.
    findings, diffusion
        What was found.
    preset
        Name of the settings, for the message.
    corrected
        Whether a table with corrected ids will be written, so that the one that is there does not match.

    Raises
    ------
    UserError
        When nobody has the images that the preset is about.
    """
    absent = absent_columns(study)
    needed = [column for column in ("t1w", "dwi", "bval", "bvec") if column in absent]
    if needed:
        raise UserError(
            f"--preset {preset}: needs {join_words(needed)} of people, and nobody has them here "
            f"({'; '.join(findings.unused[:2]) or findings.layout}). Choose another preset: {', '.join(presets())}"
        )
    shells = [m for m in study.used_modalities() if source_of(study.modalities[m]).several_shells]
    if shells and diffusion.several_shells < diffusion.people:
        alone = diffusion.people - diffusion.several_shells
        yield (
            f"{join_words(shells)}: {alone} of {count(diffusion.people, 'person', 'people')} with diffusion data have one shell, and two are needed; "
            "leave out the experiments with it, or these people (config/qc.tsv)"
        )
    for column, modalities in absent.items():
        names = join_words(list(dict.fromkeys(modalities)))
        if findings.sheet:
            yield f"images for {names}: fill in the column {column} of config/cohort.tsv"
        elif "bids" in findings.cohort:
            there = f" (suffixes here: {', '.join(findings.suffixes)})" if findings.suffixes else ""
            yield (
                f"images for {names}: say which files the column {column} holds, in config/config.yaml: "
                f"cohort: {{filters: {{{column}: {{suffix: SUFFIX}}}}}}{there}"
            )
        else:
            yield f"images for {names}: there are none in this layout; write a sheet (cohort.sheet) with a column {column}"
    problems: list[Problem] = []
    if not corrected:
        problems += column_problems(study, read_tables(study, problems))
    if not absent:
        problems += member_problems(study)
    # of several experiments with the same problem one is named
    once = {re.sub("^experiment [^:]*: ", "", problem.text): problem.text for problem in problems}
    yield from once.values()
    if "bids" in findings.cohort and any("is not a column of" in text for text in once):
        yield "columns of participants.tsv are taken with cohort: {columns: {NAME: COLUMN}} in config/config.yaml"
    for key in ("image", "names"):
        path = study.config["regions"][key]
        if path and not Path(path).exists():
            yield f"regions.{key} in config/config.yaml: {path} is the paper's; write where it is here"
