"""The part of the configuration that decides who takes part in what, and digests of the sheets' cells it looks at."""

from __future__ import annotations

from typing import Any

from neurostrata.cohort.sources.registry import SOURCES
from neurostrata.cohort.study import Study
from neurostrata.core.config.modalities import SHOWN_KEYS
from neurostrata.core.settings import rows_digest
from neurostrata.planning.experiments import prediction_analyses, special_keys

#: What decides in a modality's declaration who has it; how it is smoothed or weighted does not.
SELECTING_KEYS = (
    "from",
    "measure",
    "tissue",
    "column",
    "space",
    "components",
    "components_image",  # a dual regression is not complete without
)


def _uses_gradient_deviations(study: Study) -> bool:
    """Tell whether the engine of NODDI reads the gradients' deviations; otherwise they are not checked and plan nothing."""
    return "grad_dev" in SOURCES["noddi"].further_columns(study.config)


def _experiment(study: Study, name: str) -> dict[str, Any]:
    experiment = study.experiments[name]
    return {key: experiment[key] for key in ("name", "model", "modalities", *special_keys(experiment))}


def selection(study: Study) -> dict[str, Any]:
    """Return the part of the configuration that decides who takes part in anything."""
    config = study.config
    diffusion = {key: config["diffusion"][key] for key in ("b0_max", "shell_gap")}
    if _uses_gradient_deviations(study):
        diffusion["noddi"] = {"engine": "maximum_likelihood"}
    return {
        "modalities": {
            name: {key: value for key, value in declaration.items() if key not in SHOWN_KEYS}
            for name, declaration in config["modalities"].items()
        },
        "experiments": [
            {**_experiment(study, name), "validation": experiment["validation"]}
            for name, experiment in study.experiments.items()
        ],
        "diffusion": diffusion,
        "phenotypes": {key: config["phenotypes"][key] for key in ("tables", "id_column")},
    }


def sheets_digest(study: Study) -> str:
    """Return a digest of all cells that the check of the cohort looks at: the sheet's and those of quality decisions that act."""
    columns = {column for row in study.rows.values() for column in row} - {"note"}
    if not _uses_gradient_deviations(study):
        columns.discard("grad_dev")
    rows = [*study.rows.values(), *study.acting()]
    return rows_digest(rows, [*sorted(columns), "modality", "decision", "reason"])


def group_selection(study: Study, group: str) -> dict[str, Any]:
    """Return the part of the configuration that decides who is in a group.

    Parameters
    ----------
    study
        People and configuration.
    group
        Name of the group; see :func:`neurostrata.cohort.groups.named_group`.
    """
    kind, _, name = group.partition("-")
    chosen: dict[str, Any] = {}
    used: list[str] = [name] if kind == "modality" else []
    if kind in ("experiment", "targets", "covariates"):
        experiment = _experiment(study, name)
        if kind == "targets":
            predicted = study.experiments[name]["analyses"]["prediction"]
            experiment["analyses"] = {"prediction": predicted}
        elif kind == "covariates":
            experiment["analyses"] = prediction_analyses(study.experiments[name])
        chosen["experiments"] = [experiment]
        used = experiment["modalities"]
    elif kind == "characteristics":
        chosen["strata"] = {"adjust": characteristics_adjusted(study)}
    declared = {study.declared(modality) for modality in used}
    chosen["modalities"] = {
        name: {key: value for key, value in declaration.items() if key in SELECTING_KEYS}
        for name, declaration in study.config["modalities"].items()
        if name in declared
    }
    return chosen


def characteristics_adjusted(study: Study) -> dict[str, Any]:
    """Return which characteristics of people the codes are adjusted by."""
    adjust = study.config["strata"]["adjust"]
    return {key: adjust[key] for key in ("columns", "sites")}
