"""The one tracked parameter of each rule: exactly the settings that the results of its stage depend on."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from neurostrata.cohort.columns import characteristics_in_tables, class_columns
from neurostrata.cohort.decisions import kept, rater_of
from neurostrata.cohort.groups import group_digest
from neurostrata.cohort.ids import plain_id
from neurostrata.cohort.sources.registry import SOURCES, columns_read, source_of
from neurostrata.cohort.study import Study
from neurostrata.core.config import adjusts_codes, further_covariates, only_lines
from neurostrata.core.records import sha256_file
from neurostrata.core.settings import handed_over, rows_digest, settings_text
from neurostrata.planning import selection
from neurostrata.planning.experiments import can, prediction_analyses, special_keys
from neurostrata.planning.inputs import Inputs
from neurostrata.planning.jobs import by_wildcards
from neurostrata.planning.options import (
    CONTENTS,
    FILES,
    LEARNED_FROM,
    LINES,
    OWN_ROWS,
    POSITIVE,
    TOGETHER,
    used_options,
)
from neurostrata.planning.results import results_state
from neurostrata.stages import STAGES

Values = dict[str, Any]

#: Settings that are too long for a command line, in files that jobs on other machines see as well.
LONG_SETTINGS = ".snakemake/neurostrata/settings"
#: Keys of an experiment that every stage with its trained model gets.
MODEL_KEYS = ("model", "modalities", "limits", "options")
#: Inputs of jobs that are small text files; the others that are given are images.
TEXTS = ("bval", "bvec", "names")


def leading_codes(study: Study) -> str:
    """Return the codes that lead the report: adjusted ones, or raw where nothing is taken out of them."""
    return "adjusted" if adjusts_codes(study.config["strata"]) else "raw"


def _section(study: Study, name: str, *keys: str) -> Values:
    section = study.config[name]
    return {key: section[key] for key in keys} if keys else dict(section)


@cache
def _digest(path: Path) -> str:
    """Return the digest of a file, read once in a process; "" where there is none, which the check before a run reports."""
    return sha256_file(path) if path.is_file() else ""


@cache
def _bytes(path: str) -> int:
    """Return the size of a file, looked up once in a process; 0 where there is none, which the check before a run reports."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - of a hundred thousand files
    except OSError:
        return 0


def _files(paths: Mapping[str, str]) -> Values:
    """Return what tells files that were given from others, whatever their dates: sizes of images, digests of small texts.

    Parameters
    ----------
    paths
        By the names of the job's inputs, and recorded by these: a folder of images may move. "" for an input that is not given.
    """
    found: dict[str, int | str] = {}
    for name, path in paths.items():
        if path:
            full = os.path.abspath(path)  # noqa: PTH100 - of a hundred thousand files
            found[name] = _digest(Path(full)) if name in TEXTS else _bytes(full)
    known = {name: mark for name, mark in found.items() if mark}
    return {FILES: known} if known else {}


def _cells(study: Study, subject: str, *columns: str) -> dict[str, str]:
    """Return a person's files in columns of the cohort sheet that have the names of a job's inputs."""
    return {column: study.source(subject, column) for column in columns}


def _template(study: Study) -> Values:
    # The number of iterations is in the file names; as a setting it would redo those that are there.
    return {key: value for key, value in study.config["template"].items() if key != "iterations"}


def _template_update(study: Study, iteration: str) -> Values:
    # only where an iteration uses a part of the people: other iterations do not depend on it
    return {**_template(study), "early_people": study.early_people(int(iteration))}


def _template_and_registration(study: Study) -> Values:
    return {"registration": study.config["registration"], **_template(study)}


def _prepare_t1w(study: Study, subject: str) -> Values:
    return {**_section(study, "anatomy"), **_files(_cells(study, subject, "t1w", "t1w_mask"))}


def _tensor(study: Study, subject: str) -> Values:
    values = _section(study, "diffusion", "b0_max", "tensor_b_max", "shell_gap")
    return {**values, **_files(_cells(study, subject, "dwi", "bval", "bvec", "dwi_mask"))}


def _noddi(study: Study, subject: str) -> Values:
    further = SOURCES["noddi"].further_columns(study.config)
    values = _section(study, "diffusion", "b0_max", "shell_gap", "noddi")
    return {**values, **_files(_cells(study, subject, "dwi", "bval", "bvec", *further))}


def _map(study: Study, subject: str, modality: str) -> Values:
    declared = study.modalities[modality]
    values = {**_grid(study), "modality": declared}
    if source_of(declared).image(declared):
        return values
    # the image is one that was given
    return {**values, **_files({"image": study.source(subject, declared["column"])})}


def _grid(study: Study) -> Values:
    return _section(study, "volumes", "resolution_mm", "downsample", "shape")


def _regions(study: Study) -> Values:
    regions = study.config["regions"]
    if regions["image"] is None:
        return {"parcels": regions["parcels"], "volumes": study.config["volumes"]["shape"]}
    files = _files({"atlas": regions["image"], "names": regions["names"] or ""})
    if regions["space"] == "template":
        return {"space": "template", **files}
    return {"space": regions["space"], "registration": study.config["registration"], **files}


def _normalise(study: Study, modality: str) -> Values:
    kind = {key: value for key, value in study.modalities[modality].items() if key == "kind"}
    return {"percentiles": study.config["volumes"]["percentiles"], **_grid(study), **kind}


def _quality(study: Study, subject: str) -> Values:
    """What the fits depended on, and what each modality of the person is: its usual range follows from that."""
    declared = {name: study.modalities[name] for name in study.modalities_of(subject)}
    values: dict[str, Any] = {
        "modalities": {
            name: {key: declaration[key] for key in ("from", "measure") if key in declaration}
            for name, declaration in declared.items()
        }
    }
    if any("dwi" in columns_read(declaration, study.config) for declaration in declared.values()):
        values["diffusion"] = _section(study, "diffusion", "b0_max", "tensor_b_max", "shell_gap")
        if any(declaration["from"] == "noddi" for declaration in declared.values()):
            noddi = study.config["diffusion"]["noddi"]
            values["diffusion"] |= {key: noddi[key] for key in ("d_parallel", "d_iso")}
    read = Inputs(study).quality(subject)
    return {**values, **_files({name: str(read[name] or "") for name in ("raw", "dwi", "bval", "bvec")})}


def _dual_regression(study: Study, subject: str, declared: str) -> Values:
    declaration = study.config["modalities"][declared]
    values = {key: declaration[key] for key in ("components", "statistic", "normalise")}
    series = study.source(subject, declaration["column"])
    return {**values, **_files({"bold": series, "components": declaration["components_image"]})}


def _of_experiment(
    *keys: str, options: bool = False, **more: Callable[[Study, str], Any]
) -> Callable[..., Values]:
    """Return a function that takes keys of an experiment, and what decides who takes part in it.

    Parameters
    ----------
    keys
        Of the experiment, besides its name.
    options
        Whether its options are taken where people may lack modalities, though they are not among `keys`.
    more
        Further settings as functions of the study and the name of the experiment.
    """

    def values(study: Study, experiment: str) -> Values:
        declared = study.experiments[experiment]
        special = [key for key in special_keys(declared) if options or key != "options"]
        chosen = {key: declared[key] for key in ("name", *keys, *special)}
        return {"experiment": chosen} | {key: take(study, experiment) for key, take in more.items()}

    return values


def _train(study: Study, experiment: str) -> Values:
    training = study.config["training"]
    values = _of_experiment(*MODEL_KEYS, "scaling", "training")(study, experiment) | {"training": training}
    declared = study.experiments[experiment]
    if declared["model"] == "latent_synthesis" and declared["options"]["output_offset"] == "mean":
        values[LEARNED_FROM] = "learned from"
    return values


def _targets(study: Study, experiment: str) -> list[str]:
    return class_columns(study, experiment)


def _baselines(study: Study, experiment: str) -> Values:
    """Beside codes of equal parts the baselines have as many components as a part has numbers."""
    values = _of_experiment("modalities")(study, experiment)
    declared = study.experiments[experiment]
    if can(declared, "modality_codes"):
        values["components"] = declared["options"]["latent_size"]
    return values


def _together(sites: object, columns: object) -> Values:
    return {TOGETHER: "together"} if sites and columns else {}


def _adjust(study: Study) -> Values:
    adjust = study.config["strata"]["adjust"]
    return {"adjust": adjust, **({LINES: "lines"} if only_lines(adjust, len(study.rows)) else {})}


def _adjust_codes(study: Study) -> Values:
    adjust = study.config["strata"]["adjust"]
    return {**_adjust(study), **_together(adjust["sites"], adjust["columns"])}


def _predict(study: Study, experiment: str) -> Values:
    declared = study.experiments[experiment]
    analyses = prediction_analyses(declared)
    harmonise = analyses.get("harmonise", {"keep": []})
    classes = (declared["label"] or {"classes": []})["classes"]
    return {
        **analyses,
        **_together("harmonise" in analyses, set(analyses.get("covariates", [])) - set(harmonise["keep"])),
        **({POSITIVE: classes[-1]} if classes != sorted(classes) else {}),
        "label": declared["label"],
        "id_column": study.config["phenotypes"]["id_column"],
        **_contents(study),
    }


def _of_finder(*keys: str, adjust: bool = False) -> Callable[..., Values]:
    """Return a function that takes a finder, its options and keys of the section `strata`."""

    def values(study: Study, finder: str) -> Values:
        strata = study.config["strata"]
        return {"finder": finder, "options": strata[finder]} | {key: strata[key] for key in keys}

    def adjusted(study: Study, finder: str, codes: str) -> Values:
        more = _adjust(study) if codes == "adjusted" else {}
        return values(study, finder) | more

    return adjusted if adjust else values


def _phenotypes(study: Study) -> Values:
    """What the factors depend on: the section without what only the check before the first job and the report read."""
    unread = ("matching", "factor_names")
    return {key: value for key, value in study.config["phenotypes"].items() if key not in unread}


def _contents(study: Study) -> Values:
    """Digests of the phenotype tables: one that replaces another may have an older date than what was made of that one."""
    return {CONTENTS: [_digest(Path(path).resolve()) for path in study.config["phenotypes"]["tables"]]}


def _characteristics(study: Study) -> Values:
    """The columns that are looked for, and their cells in the phenotype tables: of everybody, and of the study's people."""
    found = characteristics_in_tables(study)
    own = [[row for row in rows if plain_id(row[columns[0]]) in study.rows] for _, columns, rows in found]
    return {
        "adjust": selection.characteristics_adjusted(study),
        "id_column": study.config["phenotypes"]["id_column"],
        "tables": [rows_digest(rows, columns) for _, columns, rows in found],
        OWN_ROWS: [rows_digest(rows, columns) for rows, (_, columns, _) in zip(own, found)],
    }


def _permutations(study: Study) -> Values:
    strata = study.config["strata"]
    return {
        "draws": strata["repartition"]["draws"],
        "confidence": strata["comparisons"]["confidence"],
    }


def _covariates(study: Study) -> Values:
    """What phenotypes are freed of where they are compared or predicted."""
    adjust = study.config["strata"]["adjust"]
    named = further_covariates(adjust)
    values: Values = {"covariates": named} if named else {}
    if (splines := adjust["splines"]) != 1:
        values["splines"] = splines
    return values


def _compare_adjusted(study: Study) -> Values:
    families = study.config["strata"]["repartition"]["families"]
    return {"families": families, **_covariates(study), **_permutations(study)}


def _shuffles(study: Study) -> Values:
    strata = study.config["strata"]
    return {
        "shuffles": strata["shuffles"],
        "alpha": strata["comparisons"]["alpha"],
        "families": strata["repartition"]["families"],
    }


def _continuous(study: Study) -> Values:
    adjusted = leading_codes(study) == "adjusted"
    more = {"adjust": study.config["strata"]["adjust"]} if adjusted else {}
    return {**_section(study, "strata", "continuous"), **_covariates(study), **more}


def _compare_quality(study: Study) -> Values:
    """The section, and what decides of whom nothing is suggested and what a suggestion is about."""
    of_diffusion = dict.fromkeys(
        study.declared(name)
        for name in study.used_modalities()
        if "dwi" in columns_read(study.modalities[name], study.config)
    )
    excluded = {(row["subject"], row["modality"]) for row in study.exclusions}
    return {
        "quality": study.config["quality"],
        "decided": sorted([*pair] for pair in kept(study.decisions) | excluded),
        "modalities": study.used_modalities(),
        "of_diffusion": list(of_diffusion),
    }


def _compare_raters(study: Study) -> Values:
    rows = ([row["subject"], row["modality"], row["decision"], rater_of(row)] for row in study.decisions)
    return {"decisions": list(rows)}


def _recorded(study: Study) -> Values:
    """The whole configuration: without the seed, which is in all settings, and the container, which alters no result."""
    kept = {key: value for key, value in study.config.items() if key not in ("seed", "container")}
    names = _section(study, "phenotypes", "factor_names")
    return kept | {"phenotypes": _phenotypes(study) | names}


def _provenance(study: Study) -> Values:
    return {key: value for key, value in _recorded(study).items() if key != "report"}


def _report(study: Study) -> Values:
    partial = study.config["report"]["partial"]
    state = {"state": results_state(study.config["output"])} if partial else {}
    return _recorded(study) | state


#: Stage -> its settings as a function of the study and of the rule's wildcards with the names of its parameters.
_SETTINGS: dict[str, Callable[..., Values]] = {
    "check_cohort": lambda study: {
        "config": selection.selection(study),
        "digest": selection.sheets_digest(study),
    },
    "list_people": lambda study, group: {
        "config": selection.group_selection(study, group),
        "digest": group_digest(study, group),
    },
    "prepare_t1w": _prepare_t1w,
    "template_start": _template,
    "template_register": _template_and_registration,
    "template_update": _template_update,
    "template_final": _template,
    "template_mask": _template_and_registration,
    "template_to_mni": lambda study: {"registration": study.config["registration"]},
    "register": lambda study: _section(study, "registration"),
    "segment_tissue": lambda study: _section(study, "tissue"),
    "fit_tensor": _tensor,
    "fit_noddi": _noddi,
    "align_diffusion": lambda study: _section(study, "diffusion", "alignment"),
    "dual_regression": _dual_regression,
    "map_to_template": _map,
    "measure_quality": _quality,
    "grid_mask": _grid,
    "grid_regions": _regions,
    "normalise": _normalise,
    "split": _of_experiment("validation"),
    "train": _train,
    **dict.fromkeys(("embed", "evaluate", "robustness", "relevance", "generate", "decode_strata"), _of_experiment(*MODEL_KEYS)),
    **dict.fromkeys(("summarise_experiment", "summarise_synthesis"), _of_experiment("model")),
    "explain": _of_experiment(*MODEL_KEYS, targets=_targets),
    "summarise_explanation": _of_experiment(targets=_targets),
    "map_codes": _of_experiment("modalities", targets=_targets),
    "synthesise": _of_experiment(
        *MODEL_KEYS, options=True, synthesis=lambda study, _: study.config["synthesis"]
    ),
    "baselines": _baselines,
    "predict": _predict,
    "factor_phenotypes": lambda study: {**_phenotypes(study), **_contents(study)},
    "factor_congruence": lambda study: {**_section(study, "phenotypes", "id_column", "rotation"), **_contents(study)},
    "describe_people": _characteristics,
    "adjust_codes": _adjust_codes,
    "cluster": _of_finder("small_clusters", "outliers"),
    "existence": _of_finder("existence"),
    "stability": _of_finder("stability", adjust=True),
    "split_half": _of_finder("split_half", "comparisons"),
    "project": lambda study: _section(study, "strata", "tsne"),
    "repartition_strata": lambda study: _section(study, "strata", "repartition"),
    "compare_strata": lambda study: _section(study, "strata", "comparisons"),
    "composition": _permutations,
    "strata_quality": _permutations,
    "measure_codes": _of_experiment("model"),
    "compare_quality": _compare_quality,
    "compare_raters": _compare_raters,
    "map_strata": lambda study: {"confidence": study.config["strata"]["comparisons"]["confidence"]},
    "compare_adjusted": _compare_adjusted,
    "shuffle_links": _shuffles,
    "continuous": _continuous,
    "provenance": _provenance,
    "report": _report,
}  # fmt: skip


#: Stages without wildcards whose settings are found in files: not before they are asked for, since every job on another
#: machine parses the workflow and would read all phenotype tables.
_FROM_FILES = ("grid_regions", "factor_phenotypes", "factor_congruence", "describe_people", "report")


def _nothing(study: Study) -> Values:
    """The settings of stages that have none: version and seed alone."""
    return {}


def stage_seed(study: Study, stage: str, experiment: str | None = None) -> int:
    """Return the seed of a stage; an experiment may have its own for its training."""
    key = STAGES[stage].seed
    if key != "experiment":
        return study.config[key]
    assert experiment is not None
    # folds, baselines and statistics keep the study's seed
    own = study.experiments[experiment]["seed"]
    return study.config["seed"] if own is None else own


def stage_settings(study: Study, stage: str, **names: str) -> str:
    """Return the settings text of a job.

    Parameters
    ----------
    study
        People and configuration.
    stage
        Name of the stage.
    names
        Those of the job's wildcards that its settings depend on.
    """
    values = used_options(stage, _SETTINGS.get(stage, _nothing)(study, **names))
    return settings_text(stage, stage_seed(study, stage, names.get("experiment")), values)


def parameter(study: Study, stage: str) -> Any:
    """Return what a rule has for its parameter: the text, or a function of the wildcards where it depends on them or on files."""

    def text(**names: str) -> str:
        return handed_over(stage_settings(study, stage, **names), LONG_SETTINGS)

    parameters = list(inspect.signature(_SETTINGS.get(stage, _nothing)).parameters.values())[1:]
    if not parameters and stage not in _FROM_FILES:
        return text()
    shared = cache(text)  # the people of a study share them
    shared.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    return by_wildcards(shared)
