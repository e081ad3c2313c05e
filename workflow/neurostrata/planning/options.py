"""Which settings a stage uses: those of the chosen engine, model or method, and none of the others.

A stage's results depend on the options of its own engine alone: a changed option of another engine must not plan it.
:func:`used_options` removes from a stage's settings what it does not read; rules track what is left.

Results of an earlier release were recorded with more settings. :func:`same_results` compares only those that decide
results, so that they stay valid. A key that a later release added has ``later: true`` in its schema: at its default it is
no setting of the stages of an experiment and of the template, since their results are those of the release without it. A key
of the template, or an option of a registration engine, whose default is not what the release without it did has its former
default in ``config/former-defaults.yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from neurostrata.core.config import fill_config, later_defaults, load_schema, read_yaml, without_later
from neurostrata.core.locations import FORMER_DEFAULTS
from neurostrata.stages import STAGES

Values = dict[str, Any]

#: Keys of the section `template` that each stage of the template reads; the others reach it through its inputs.
TEMPLATE_KEYS = {
    "template_start": ("resolution_mm", "margin_mm"),
    "template_register": ("coarse_iterations",),
    "template_update": ("shape_step", "hold_pose", "sharpening", "tolerance", "early_people"),
    "template_final": ("resolution_mm", "tolerance"),
    "template_mask": (),
}

#: In the settings of stages that read the phenotype tables: digests of the tables.
CONTENTS = "contents"
#: In the settings of `describe_people`: digests of the rows of the study's people in the phenotype tables.
OWN_ROWS = "own_rows"

#: In the settings of stages that remove sites and columns from codes: that they do it together. It stands only where a study has both,
#: since the results of all others are those of the releases that removed one after the other.
TOGETHER = "sites_and_columns"
#: In the settings of `predict`: the class whose measures stand in the table. It stands only where an experiment lists its classes out of
#: alphabetical order: former releases measured the other one.
POSITIVE = "positive"
#: In the settings of `train`: that an output offset is the mean of those who are learned from. It stands only where former releases had everybody in
#: it, also those held out.
LEARNED_FROM = "offset"

#: In the settings of stages that remove columns from codes: that `splines: auto` removes straight lines alone.
#: Results are then those of `splines: 1`, and are not made again where that was the default.
LINES = "lines"

#: In the settings of stages that read files as they were given: what tells each file from another one, by the name of the job's input.
FILES = "files"

#: What only one engine of NODDI reads.
NODDI_OPTIONS = {
    "amico": ("lambda1", "lambda2"),
    "maximum_likelihood": ("likelihood",),
}

#: Stages that work with a trained model: the model, which is among their inputs, says how it was trained.
AFTER_TRAINING = (
    "embed",
    "evaluate",
    "robustness",
    "relevance",
    "explain",
    "synthesise",
    "generate",
    "decode_strata",
)

#: Stages that record the whole configuration.
WHOLE = [name for name, stage in STAGES.items() if stage.sections == ("*",)]

#: What each baseline of a synthesis reads of the section `synthesis`.
SYNTHESIS_KEYS = {
    "mean_image": (),
    "linear_regression": ("voxels",),
    "random_forest": ("voxels", "trees"),
    "position_mlp": ("voxels", "hidden"),
}


@cache
def _keys(schema: str, key: str = "") -> tuple[str, ...]:
    """Return the properties of a schema, or the values that one of them can have."""
    properties = load_schema(schema)["properties"]
    return tuple(properties[key]["enum"]) if key else tuple(properties)


def _without(values: Mapping[str, Any], keys: Collection[str]) -> Values:
    return {key: value for key, value in values.items() if key not in keys}


def _only(values: Mapping[str, Any], keys: Collection[str]) -> Values:
    return {key: value for key, value in values.items() if key in keys}


def training_keys(model: str) -> tuple[str, ...]:
    """Return the keys of the section `training` that a model reads, as its schema says in `training`."""
    # a model whose schema says nothing may read all of them
    every = _without(_schema("training")["properties"], ["preset"])
    return tuple(_schema(f"models/{model}").get("training", every))


@cache
def _schema(name: str) -> Values:
    return load_schema(name)


@cache
def _former(section: str) -> Values:
    former: Values = read_yaml(FORMER_DEFAULTS)[section]
    return former


def _engine(section: Mapping[str, Any]) -> Values:
    """The section `registration` with the options of its engine alone."""
    engine = section["engine"]
    kept = _without(section, [name for name in _keys("registration", "engine") if name != engine])
    if engine in kept:
        # An option that a later release added: results were as with its former default.
        kept[engine] = {**_former("registration").get(engine, {}), **kept[engine]}
    return kept


def _registering(values: Values) -> Values:
    """Settings with the whole section under `registration`."""
    return {**values, "registration": _engine(values["registration"])}


def _template(stage: str) -> Callable[[Values], Values]:
    def used(values: Values) -> Values:
        kept = _without(values, set(_keys("template")) - set(TEMPLATE_KEYS[stage]))
        kept = without_later(kept, _schema("template"))
        # Results of a release without a key were as with its former default.
        kept = {**_only(_former("template"), TEMPLATE_KEYS[stage]), **kept}
        if "early_people" in kept:  # a template of a part of the people is not asked whether it has converged
            kept = _without(kept, ["tolerance"])
        return _registering(kept) if "registration" in kept else kept

    return used


def _regions(values: Values) -> Values:
    return _registering(values) if "registration" in values else values  # an atlas in MNI152 space alone


def _bias(values: Values) -> Values:
    if values["n4"]["enabled"]:
        return values
    return {**values, "n4": {"enabled": False}}


def _noddi(values: Values) -> Values:
    noddi = values["noddi"]
    unused = [key for engine, keys in NODDI_OPTIONS.items() if engine != noddi["engine"] for key in keys]
    return {**values, "noddi": _without(noddi, unused)}


def _split(values: Values) -> Values:
    validation = values["experiment"]["validation"]
    other = "test_fraction" if validation["method"] == "kfold" else "folds"
    return {**values, "experiment": {**values["experiment"], "validation": _without(validation, [other])}}


def _experiment(values: Mapping[str, Any]) -> Values:
    """An experiment, and the options of its model, without keys of a later release at their defaults."""
    kept = without_later(values, _schema("experiments"))
    if "options" in kept and "model" in kept:
        kept["options"] = without_later(kept["options"], _schema(f"models/{kept['model']}"))
    return kept


def _train(values: Values) -> Values:
    """Keep the keys of `training` that the model reads, each where its value comes from: experiment, section or preset."""
    experiment, section = values["experiment"], values["training"]
    keys = training_keys(experiment["model"])
    schema = _schema("training")
    # a misspelled key is kept: the stage refuses it
    own = {k: v for k, v in experiment["training"].items() if k in keys or k not in schema["properties"]}
    shared = without_later(_only(_without(section, own), keys), schema)
    own = without_later(own, schema)
    if any(
        value is None for key, value in {**shared, **own}.items() if key in keys
    ):  # null takes the preset's
        preset = {**section, **experiment["training"]}["preset"]
        (own if "preset" in experiment["training"] else shared)["preset"] = preset
    return {**values, "experiment": {**experiment, "training": own}, "training": shared}


def _trained(values: Values) -> Values:
    return {**_without(values, ["training"]), "experiment": _without(values["experiment"], ["training"])}


def _synthesise(values: Values) -> Values:
    section = values["synthesis"]
    read = {key for name in section["baselines"] for key in SYNTHESIS_KEYS[name]}
    unread = {key for keys in SYNTHESIS_KEYS.values() for key in keys} - read
    return {**_trained(values), "synthesis": _without(section, unread)}


def _phenotypes(values: Values) -> Values:
    if values["method"] == "pca_varimax":
        return values
    return _without(values, ["n_factors", "rotation", "parallel_draws"])


def _halves(values: Values) -> Values:
    return {**values, "comparisons": _only(values["comparisons"], ["alpha"])}


#: Stage -> its settings without those that it does not read. Stages that read all of theirs are not listed.
_USED: dict[str, Callable[[Values], Values]] = {
    "prepare_t1w": _bias,
    **{stage: _template(stage) for stage in TEMPLATE_KEYS},
    "template_to_mni": _registering,
    "register": _engine,
    "grid_regions": _regions,
    "fit_noddi": _noddi,
    "split": _split,
    "train": _train,
    **dict.fromkeys(AFTER_TRAINING, _trained),
    "synthesise": _synthesise,
    "factor_phenotypes": _phenotypes,
    "split_half": _halves,
}


def used_options(stage: str, values: Mapping[str, Any]) -> Values:
    """Return a stage's settings without those that it does not read; applied twice it changes nothing more.

    Parameters
    ----------
    stage
        Name of the stage.
    values
        Its settings, such as sections of the configuration.
    """
    kept = dict(values)
    if isinstance(kept.get("experiment"), Mapping):
        kept["experiment"] = _experiment(kept["experiment"])
    used = _USED.get(stage)  # most stages read all of theirs
    return used(kept) if used else kept


def _deciding(stage: str, values: Values) -> Values:
    """Settings that decide the results."""
    used = used_options(stage, values)
    if not STAGES[stage].draws:
        used = _without(used, ["seed"])
    if stage == "list_people":
        # The digest is that of the rows that are written; the declarations only select them.
        used["config"] = _without(used["config"], ["modalities"])
    if stage in TEMPLATE_KEYS:
        # so that a change from the default is said as one
        used = {**_only(later_defaults(_schema("template")), TEMPLATE_KEYS[stage]), **used}
    if stage in WHOLE:
        # A key that a later release added, at its default, is no change.
        used |= fill_config(_only(used, _keys("config")))
    return used


def deciding(stage: str, text: str) -> Values | None:
    """Return the part of recorded settings that decides a stage's results; None when they cannot be read.

    Parameters
    ----------
    stage
        Name of the stage.
    text
        Settings (JSON) of any release, or ``@FILE`` where they are handed over by file.
    """
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return _deciding(stage, json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # of a release with other sections


def deciding_both(stage: str, recorded: str, now: str) -> tuple[Values, Values] | None:
    """Return what decides a stage's results of recorded settings, and of those of now; None when they cannot be read.

    Parameters
    ----------
    stage
        Name of the stage.
    recorded, now
        See :func:`deciding`.
    """
    before, after = deciding(stage, recorded), deciding(stage, now)
    if before is None or after is None:
        return None
    if CONTENTS not in before:
        # recorded by a release that only looked at the files' dates
        after = _without(after, [CONTENTS])
    if OWN_ROWS in before and OWN_ROWS in after:
        before, after = (_without(values, ["tables"]) for values in (before, after))
    elif OWN_ROWS in after:
        # recorded by a release that looked at everybody in the tables
        after = _without(after, [OWN_ROWS])
    if FILES in before or FILES in after:
        # Recorded by a release that only looked at dates, or come or gone: then the job has other inputs.
        known = before.get(FILES, {}).keys() & after.get(FILES, {}).keys()
        before, after = ({**values, FILES: _only(values.get(FILES, {}), known)} for values in (before, after))
    return _as_lines(before, after), _as_lines(after, before)


def _as_lines(values: Values, other: Values) -> Values:
    """Settings of `splines: auto` that removes lines alone as those of `splines: 1`, where the others have that."""
    if LINES in values and other.get("adjust", {}).get("splines") == 1:
        return {**_without(values, [LINES]), "adjust": {**values["adjust"], "splines": 1}}
    return values


def same_results(stage: str, recorded: str, now: str) -> bool:
    """Tell whether two settings texts give the same results of a stage."""
    if recorded == now:
        return True
    both = deciding_both(stage, recorded, now)
    return both is not None and both[0] == both[1]
