"""What an experiment asks of its model, and by which columns its predictions are adjusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neurostrata.core.config.messages import nested_problems
from neurostrata.core.config.modalities import expand_modalities
from neurostrata.core.config.schemas import later_defaults, load_schema, model_names


def capability(
    schema: Mapping[str, Any], key: str, options: Mapping[str, Any] | None = None, default: bool = False
) -> bool:
    """Tell from a model's schema what it can do or needs (``handles_missing``, ``decodes``, ``regions``, ...).

    Parameters
    ----------
    schema
        Of the model's options. Its `key` is true, false, the name of an option that must not be 0, or the options that must
        have certain values.
    key
        What is asked.
    options
        The experiment's, for capabilities that depend on them; an option that is not given has its default.
    default
        What holds where the schema says nothing.
    """
    said = schema.get(key, default)

    def value(option: str) -> Any:
        return (options or {}).get(option, schema["properties"][option].get("default"))

    if isinstance(said, str):
        return bool(value(said))
    if isinstance(said, Mapping):
        return all(value(option) == needed for option, needed in said.items())
    return bool(said)


def adjusting_columns(experiment: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return key -> the columns that an experiment's predictions are adjusted by; empty without any."""
    analyses = experiment["analyses"]
    found = {}
    if analyses.get("harmonise"):
        found["harmonise.sites"] = [analyses["harmonise"]["sites"]]
        found["harmonise.keep"] = list(analyses["harmonise"]["keep"])
    found["covariates"] = list(analyses.get("covariates", ()))
    return {key: columns for key, columns in found.items() if columns}


def _capability_problems(
    place: str, experiment: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    """Check that the model can do what the experiment asks for."""
    able = capability(schema, "handles_missing", experiment["options"])
    remedy = "choose another model"
    if isinstance(schema.get("handles_missing"), str):
        remedy = f"set options.{schema['handles_missing']} above 0, or choose another model"
    if experiment["missing"] == "include" and not able:
        yield f"{place}.missing: {experiment['model']} needs every modality of every person; {remedy}"
    if experiment["analyses"]["robustness"]:
        if not able:
            yield f"{place}.analyses.robustness: {experiment['model']} needs every modality; {remedy}"
        if len(experiment["modalities"]) < 2:
            yield f"{place}.analyses.robustness: needs at least two modalities"
        elif capability(schema, "synthesises"):
            options = experiment["options"]
            every = [name for name in experiment["modalities"] if name != options.get("mask_input")]
            encoded = options.get("inputs") or every
            if len(encoded) == 1:
                yield (
                    f"{place}.analyses.robustness: hides each modality in turn, and '{encoded[0]}' is the only input; add to "
                    "options.inputs, or remove it"
                )
    if capability(schema, "supervised") and not experiment["label"]:
        yield (
            f"{place}.label: {experiment['model']} learns to tell two classes apart; set it to "
            "{column: COLUMN, classes: [REFERENCE, OTHER]}"
        )


def _scaling_problems(place: str, experiment: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Check that the model can learn from volumes in [-1, 1]."""
    if experiment["scaling"] == "maximum" and not capability(schema, "signed", experiment["options"]):
        yield (
            f"{place}.scaling: {experiment['model']} learns and decodes values in [0, 1], which volumes over their maxima are not; "
            "set limits, or choose another model"
        )


def _training_problems(
    place: str, experiment: Mapping[str, Any], section: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    """Check that the model reads the keys that a later release added, where these are set."""
    known, own = load_schema("training"), experiment["training"]
    read = schema.get("training", known["properties"])
    for key, default in later_defaults(known).items():
        value = own.get(key, section[key])
        # A section's keys mean nothing to a model without any training, such as PCA.
        if key in read or value == default or not (read or key in own):
            continue
        where = f"{place}.training.{key}" if key in own else f"training.{key}"
        why = " (it has no loss for each modality)" if key == "modality_losses" else ""
        remedy = "remove it" if key in own else "set it in `training` of the experiments whose models do"
        yield f"{where}: {experiment['model']} ({place}) does not read it{why}; {remedy}"


def _adjustment_problems(place: str, experiment: Mapping[str, Any]) -> Iterator[str]:
    """Check that no predicted variable leaks into the codes of test people."""
    adjusting = adjusting_columns(experiment)
    label, predicted = experiment["label"], experiment["analyses"]["prediction"]
    if adjusting and not (predicted or label):
        yield (
            f"{place}.analyses.{next(iter(adjusting)).split('.')[0]}: applies to predictions, but nothing is predicted; "
            "set analyses.prediction, or remove it"
        )
    for key, columns in adjusting.items():
        for column in columns:
            where = f"{place}.analyses.{key}: '{column}'"
            if column in predicted or (label and column == label["column"]):
                yield f"{where} is predicted by this experiment, and would leak into the test people's codes; remove it"
            elif column == "diagnosis" and key != "harmonise.sites":
                yield f"{where} is never kept or removed: codes would carry the test people's diagnoses; remove it"
            elif key != "harmonise.sites" and column in adjusting.get("harmonise.sites", ()):
                yield f"{where} is the variable that is harmonised; remove it here"


def _grid_problems(
    place: str, experiment: Mapping[str, Any], shape: list[int], schema: Mapping[str, Any]
) -> Iterator[str]:
    """Check the grid's sides against the model's ``grid_multiple``: a number, or the option that lists its halvings."""
    said = schema.get("grid_multiple", 1)
    if isinstance(said, str):
        said = 2 ** len(experiment["options"].get(said, schema["properties"][said]["default"]))
    wrong = [side for side in shape if side % said]
    if wrong:
        near = [max(said, round(side / said) * said) for side in shape]
        yield (
            f"volumes.shape: {shape}: {place} ({experiment['model']}) needs sides that are multiples of {said}, such as {near}"
        )


def experiment_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Check what a single schema cannot express: model options, references between sections, unique names."""
    names: set[str] = set()
    modalities = expand_modalities(config["modalities"])
    for position, experiment in enumerate(config["experiments"]):
        place = f"experiments[{position}]"
        if experiment["name"] in names:
            yield f"{place}: the name '{experiment['name']}' is taken by an earlier experiment"
        names.add(experiment["name"])
        if experiment["model"] not in model_names():
            yield f"{place}.model: '{experiment['model']}' is not one of {', '.join(model_names())}"
        else:
            schema = load_schema(f"models/{experiment['model']}")
            wrong = list(nested_problems(f"{place}.options", experiment["options"], schema))
            yield from wrong or _grid_problems(place, experiment, config["volumes"]["shape"], schema)
            yield from _capability_problems(place, experiment, schema)
            yield from _scaling_problems(place, experiment, schema)
            yield from _training_problems(place, experiment, config["training"], schema)
        yield from nested_problems(f"{place}.training", experiment["training"], load_schema("training"))
        yield from _adjustment_problems(place, experiment)
        for modality in experiment["modalities"]:
            if modality not in modalities:
                yield f"{place}.modalities: '{modality}' is not declared under modalities ({', '.join(modalities)})"
