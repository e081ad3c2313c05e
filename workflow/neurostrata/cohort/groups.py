"""Named groups of people and their columns, for the stages that work on many people; see ``rule list_people``.

Standard library only: used while the workflow is parsed.
"""

from __future__ import annotations

from neurostrata.cohort.columns import characteristic_columns, covariate_columns, target_columns
from neurostrata.cohort.sheet import Row
from neurostrata.cohort.study import Study
from neurostrata.core.settings import rows_digest


def named_group(study: Study, name: str) -> tuple[list[str], list[str]]:
    """Return a group's columns and subjects.

    Parameters
    ----------
    name
        ``template``, ``people``, ``families``, ``registered``, ``characteristics`` (what describes people),
        ``modality-NAME``, ``experiment-NAME``, ``targets-NAME`` (the sheet columns that an experiment predicts) or
        ``covariates-NAME`` (those that its predictions are adjusted for).
    """
    if name == "template":
        return ["subject"], study.template_members()
    if name == "people":
        return ["subject"], study.people()
    if name == "families":
        return ["subject", "family"], study.people()
    if name == "registered":
        return ["subject"], study.registered()
    if name == "characteristics":
        return ["subject", "family", "site", "diagnosis", *characteristic_columns(study)], study.people()
    kind, _, of = name.partition("-")
    if kind == "modality":
        return ["subject"], study.with_modality(of)
    if kind == "experiment":
        return ["subject", "family", "diagnosis", "site"], study.experiment_members(of)
    if kind == "targets":
        columns = dict.fromkeys(["subject", "family", *target_columns(study, of)])
        return list(columns), study.experiment_members(of)
    if kind == "covariates":
        return ["subject", *covariate_columns(study, of)], study.experiment_members(of)
    raise KeyError(name)


def group_rows(study: Study, name: str) -> list[Row]:
    """Return the rows of a group, only its columns."""
    columns, subjects = named_group(study, name)
    return [{column: study.rows[s].get(column, "") for column in columns} for s in subjects]


def group_digest(study: Study, name: str) -> str:
    """Return a digest of the rows of a group's table."""
    return rows_digest(group_rows(study, name), named_group(study, name)[0])
