"""Checking the configuration against its closed schemas, and filling in the defaults they give.

Imported while the workflow is parsed, so: standard library, PyYAML and jsonschema only.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from neurostrata.core.errors import UserError
from neurostrata.core.locations import SCHEMAS


def _schemas_in(folder: str | Path) -> dict[str, Path]:
    """Return the name and file of each schema in a folder of the schemas, by name."""
    files = sorted((SCHEMAS / folder).glob("*.schema.yaml"))
    return {path.name.removesuffix(".schema.yaml"): path for path in files}


def _inline(node: Any, folder: Path) -> Any:
    """Replace every ``$ref`` to a file beside the schema by that file's content.

    ``$properties`` names a folder: each schema in it becomes a property of its name, empty by default.
    """
    if isinstance(node, dict):
        if "$properties" in node:
            files = _schemas_in(folder / node["$properties"])
            further = {name: {"$ref": str(path), "default": {}} for name, path in files.items()}
            node = {key: value for key, value in node.items() if key != "$properties"}
            node["properties"] = {**node["properties"], **further}
        if isinstance(node.get("$ref"), str) and not node["$ref"].startswith("#"):
            referenced = _read(folder / node["$ref"])
            return {**referenced, **{key: _inline(v, folder) for key, v in node.items() if key != "$ref"}}
        return {key: _inline(value, folder) for key, value in node.items()}
    if isinstance(node, list):
        return [_inline(value, folder) for value in node]
    return node


@cache
def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.pop("$schema", None)
    return _inline(content, path.parent)


def load_schema(name: str) -> dict[str, Any]:
    """Return the schema ``workflow/schemas/{name}.schema.yaml``, references inlined."""
    return copy.deepcopy(_read(SCHEMAS / f"{name}.schema.yaml"))


def fill_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return `value` with every missing key that has a default in `schema` filled in, recursively."""
    if isinstance(value, dict):
        schema = _matching_branch(value, schema)
        filled = dict(value)
        for key, part in schema.get("properties", {}).items():
            if key not in filled and "default" in part:
                filled[key] = copy.deepcopy(part["default"])
            if key in filled:
                filled[key] = fill_defaults(filled[key], part)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for key in filled.keys() - schema.get("properties", {}).keys():
                filled[key] = fill_defaults(filled[key], extra)
        return filled
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [fill_defaults(item, schema["items"]) for item in value]
    return value


def _matching_branch(value: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Pick the branch of a ``oneOf`` whose constants (such as ``from: tensor``) agree with `value`."""
    for branch in [*schema.get("oneOf", []), *schema.get("anyOf", [])]:
        constants = {
            key: part["const"] for key, part in branch.get("properties", {}).items() if "const" in part
        }
        if constants and all(value.get(key) == constant for key, constant in constants.items()):
            return {**schema, **branch}
    return schema


def section_defaults(name: str) -> dict[str, Any]:
    """Return a section of the configuration as it is when the user sets nothing."""
    return fill_defaults({}, load_schema(name))


def _where(path: list[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the configuration"


def _known_keys(schema: Mapping[str, Any], value: Any) -> list[str]:
    keys = set(schema.get("properties", {}))
    if isinstance(value, dict):
        keys |= set(_matching_branch(value, schema).get("properties", {}))
    return sorted(keys)


def _explain(error: Any) -> Iterator[str]:
    place = _where(list(error.absolute_path))
    if error.validator == "additionalProperties":
        known = _known_keys(error.schema, error.instance)
        for key in sorted(set(error.instance) - set(known)):
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
            yield f"{place}: unknown key '{key}'; {hint}"
    elif error.validator in ("oneOf", "anyOf") and error.context:
        # Report the branch that was meant: the one whose constants agree, else the shortest complaint.
        def off(branch: int) -> tuple[bool, int]:
            complaints = [e for e in error.context if e.schema_path[0] == branch]
            return any(e.validator == "const" for e in complaints), len(complaints)

        best = min({e.schema_path[0] for e in error.context}, key=off)
        chosen = [e for e in error.context if e.schema_path[0] == best]
        if all(e.validator == "type" for e in error.context):
            yield f"{place}: {error.message}"
        else:
            for complaint in chosen:
                # A branch's own constant, when an `enum` above lists all the names, says nothing new.
                named_above = complaint.validator == "const" and list(complaint.relative_path) == ["from"]
                if not named_above:
                    yield from _explain(complaint)
    elif error.validator == "required":
        yield f"{place}: {error.message.replace(' is a required property', ' is missing')}"
    else:
        yield f"{place}: {error.message}"


def schema_problems(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return every disagreement of `value` with `schema`, one line each, unknown keys with a suggestion."""
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
    return list(dict.fromkeys(line for error in errors for line in _explain(error)))


def model_names() -> list[str]:
    """Return the names of all models that have a schema of options."""
    return list(_schemas_in("models"))


def finder_names() -> list[str]:
    """Return the names of all finders that have a schema of options."""
    return list(_schemas_in("finders"))


def adjusts_codes(strata: Mapping[str, Any]) -> bool:
    """Tell whether anything is taken out of the codes before they are clustered."""
    return bool(strata["adjust"]["columns"] or strata["adjust"]["sites"])


#: Keys of the section `strata` that have other names now -> what to write.
RENAMED = {
    "clustering": "its keys stand under strata.affinity_propagation now, and small_cluster_people and small_cluster_share "
    "are strata.small_clusters: {people: 5, share: 0.01}",
}


def _renamed_problems(config: Mapping[str, Any]) -> list[str]:
    section = config.get("strata")
    if not isinstance(section, Mapping):
        return []
    return [f"strata.{key}: {what}" for key, what in RENAMED.items() if key in section]


def _strata_problems(config: Mapping[str, Any]) -> Iterator[str]:
    for position, name in enumerate(config["strata"]["finders"]):
        if name not in finder_names():
            yield f"strata.finders[{position}]: '{name}' is none of {', '.join(finder_names())}"
    if "diagnosis" in config["strata"]["adjust"]["columns"]:
        yield (
            "strata.adjust.columns: 'diagnosis' is never taken out: what clusters say about it would be lost; remove it"
        )


def _nested(place: str, value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of a part of the configuration that has a schema of its own, with its place."""
    for line in schema_problems(value, schema):
        yield place + (
            line.removeprefix("the configuration") if line.startswith("the config") else f".{line}"
        )


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


def _value_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Check values that the schema's types and limits do not."""
    low, high = config["volumes"]["percentiles"]
    if low >= high:
        yield f"volumes.percentiles: [{low}, {high}]: the first must be below the second"
    cohort = config["cohort"]
    bids = cohort["bids"] or []
    paths = [
        ("output", config["output"]),
        ("qc", config["qc"]),
        *((f"cohort.{key}", cohort[key]) for key in ("sheet", "hcp")),
        *(("cohort.bids", folder) for folder in ([bids] if isinstance(bids, str) else bids)),
        *(("phenotypes.tables", path) for path in config["phenotypes"]["tables"]),
        *((f"regions.{key}", config["regions"][key]) for key in ("image", "names")),
        *(
            (f"modalities.{name}.components_image", m.get("components_image"))
            for name, m in config["modalities"].items()
        ),
    ]
    for key, path in paths:
        odd = [character for character in "{}<>\n\t\0" if path and character in path]
        if odd:
            yield (
                f"{key}: {path!r}: a path with {odd[0]!r}, which has a meaning of its own in a workflow; rename it or link to it"
            )
        if path is not None and not path.strip():
            yield f"{key}: the path is empty"


def _odd_values(value: Any, place: str = "") -> Iterator[str]:
    """Yield what YAML allows and no setting can be: numbers that are none, keys that are no text."""
    if isinstance(value, dict):
        for key, part in value.items():
            if isinstance(key, bool) or key is None:
                word = "null" if key is None else "yes, no, true, false, on and off"
                yield f"{place or 'the configuration'}: a key is read as {key}; put {word} in quotes where it is a word"
            yield from _odd_values(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _odd_values(part, f"{place}[{position}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: {value} is no number that can be used"


def _text_keys(value: Any) -> Any:
    """Return a configuration whose keys are text: a questionnaire's codes are numbers in YAML."""
    if isinstance(value, Mapping):
        return {str(key): _text_keys(part) for key, part in value.items()}
    return [_text_keys(part) for part in value] if isinstance(value, list) else value


class _StrictLoader(yaml.SafeLoader):
    """A loader that refuses a key that stands twice, of which the first would be lost in silence."""


def _strict_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (list, dict)):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is a list or a mapping", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key}' stands twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _strict_mapping)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises
    ------
    UserError
        When it is no YAML, or a key stands in it twice: the file and the line.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _StrictLoader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        tab = " (YAML is indented by blanks, never by tabs)" if "'\\t'" in str(error.problem) else ""
        raise UserError(f"{path}{line}: is no valid YAML: {error.problem or error.context}{tab}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no valid YAML: {' '.join(str(error).split())[:200]}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: has no keys; a configuration is made of lines like 'output: results'")
    return content


def read_configuration(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Read configuration files, each laid over those before: maps are merged, anything else is replaced."""

    def lay(under: Any, over: Mapping[str, Any]) -> dict[str, Any]:
        merged = dict(under) if isinstance(under, Mapping) else {}
        for key, value in over.items():
            merged[key] = lay(merged.get(key), value) if isinstance(value, Mapping) else value
        return merged

    config: dict[str, Any] = {}
    for path in paths:
        config = lay(config, read_yaml(path))
    return config


def _model_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Check what one schema cannot say: model options, references between sections, unique names."""
    names: set[str] = set()
    yield from _name_problems(config["modalities"])
    modalities = expand_modalities(config["modalities"])
    for position, experiment in enumerate(config["experiments"]):
        place = f"experiments[{position}]"
        if experiment["name"] in names:
            yield f"{place}: the name '{experiment['name']}' is taken by an earlier experiment"
        names.add(experiment["name"])
        if experiment["model"] not in model_names():
            yield f"{place}.model: '{experiment['model']}' is none of {', '.join(model_names())}"
        else:
            schema = load_schema(f"models/{experiment['model']}")
            wrong = list(_nested(f"{place}.options", experiment["options"], schema))
            yield from wrong or _grid_problems(place, experiment, config["volumes"]["shape"], schema)
            yield from _capability_problems(place, experiment, schema)
        yield from _nested(f"{place}.training", experiment["training"], load_schema("training"))
        yield from _adjustment_problems(place, experiment)
        for modality in experiment["modalities"]:
            if modality not in modalities:
                yield f"{place}.modalities: '{modality}' is not declared under modalities ({', '.join(modalities)})"


def handles_missing(schema: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Tell from a model's schema, and its options, whether people may lack modalities.

    The schema's ``handles_missing`` is true, false (or absent), or the name of an option that must not be 0.
    """
    said = schema.get("handles_missing", False)
    if isinstance(said, str):
        return bool(options.get(said, schema["properties"][said].get("default")))
    return bool(said)


def decodes(schema: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Tell from a model's schema, and its options, whether it makes images of a code alone.

    The schema's ``decodes`` is true, false (or absent), or the options that must have certain values.
    """
    said = schema.get("decodes", False)
    if isinstance(said, Mapping):
        return all(
            options.get(option, schema["properties"][option].get("default")) == value
            for option, value in said.items()
        )
    return bool(said)


def _capability_problems(
    place: str, experiment: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    """Check that the experiment asks its model for nothing that it cannot do."""
    able = handles_missing(schema, experiment["options"])
    remedy = "take another model"
    if isinstance(schema.get("handles_missing"), str):
        remedy = f"set options.{schema['handles_missing']} above 0, or take another model"
    if experiment["missing"] == "include" and not able:
        yield f"{place}.missing: {experiment['model']} needs every modality of everybody; {remedy}"
    if experiment["analyses"]["robustness"]:
        if not able:
            yield f"{place}.analyses.robustness: {experiment['model']} needs every modality; {remedy}"
        if len(experiment["modalities"]) < 2:
            yield f"{place}.analyses.robustness: needs at least two modalities"
    if schema.get("supervised") and not experiment["label"]:
        yield (
            f"{place}.label: {experiment['model']} learns to tell two classes apart; set it to "
            "{column: COLUMN, classes: [REFERENCE, OTHER]}"
        )


def adjusting_columns(experiment: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return key -> the columns that an experiment's predictions are adjusted by; empty without any."""
    analyses = experiment["analyses"]
    found = {}
    if analyses.get("harmonise"):
        found["harmonise.sites"] = [analyses["harmonise"]["sites"]]
        found["harmonise.keep"] = list(analyses["harmonise"]["keep"])
    found["covariates"] = list(analyses.get("covariates", ()))
    return {key: columns for key, columns in found.items() if columns}


def _adjustment_problems(place: str, experiment: Mapping[str, Any]) -> Iterator[str]:
    """Check that nothing that is predicted finds its way into the codes of test people."""
    adjusting = adjusting_columns(experiment)
    label, predicted = experiment["label"], experiment["analyses"]["prediction"]
    if adjusting and not (predicted or label):
        yield (
            f"{place}.analyses.{next(iter(adjusting)).split('.')[0]}: is about predictions and nothing is predicted; "
            "set analyses.prediction, or remove it"
        )
    for key, columns in adjusting.items():
        for column in columns:
            where = f"{place}.analyses.{key}: '{column}'"
            if column in predicted or (label and column == label["column"]):
                yield f"{where} is what the experiment predicts, which would leak into the test people's codes; remove it"
            elif column == "diagnosis" and key != "harmonise.sites":
                yield f"{where} is never kept or removed: codes would carry the test people's diagnoses; remove it"
            elif key != "harmonise.sites" and column in adjusting.get("harmonise.sites", ()):
                yield f"{where} is what is harmonised; remove it here"


def component_names(name: str, declaration: Mapping[str, Any]) -> list[str]:
    """Return the modalities that one declaration stands for: its own name, or ``icn01`` .. ``icn53`` of a 4-D image.

    The only place that knows how components are called: which declaration a name belongs to is looked up
    (:func:`declared_names`), never guessed from its letters or digits.
    """
    count = declaration.get("components")
    if not count:
        return [name]
    width = len(str(count))
    return [f"{name}{component + 1:0{width}d}" for component in range(count)]


def declared_names(modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return modality name -> the name under which it is declared, which differs for components of a 4-D image."""
    return {
        modality: name
        for name, declaration in modalities.items()
        for modality in component_names(name, declaration)
    }


def expand_modalities(modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return modality name -> its declaration, a 4-D one of n components as n modalities.

    ``icn: {components: 53}`` becomes ``icn01`` .. ``icn53``, each with its ``component`` (from 0). An ``intensity``
    or ``kind`` that does nothing is left out: maps made before there was such a key stay valid.
    """
    idle = {("intensity", "none"), ("kind", "image")}
    expanded: dict[str, dict[str, Any]] = {}
    for name, declared in modalities.items():
        declaration = {k: v for k, v in declared.items() if (k, v) not in idle}
        for component, modality in enumerate(component_names(name, declared)):
            part = {"component": component} if declaration.get("components") else {}
            expanded[modality] = {**declaration, **part}
    return expanded


def _name_problems(modalities: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Check that no two declarations stand for the same modality: ``pet: {components: 2}`` beside ``pet2``."""
    first: dict[str, str] = {}
    for name, declaration in modalities.items():
        for modality in component_names(name, declaration):
            if modality in first:
                yield (
                    f"modalities.{name}: '{modality}' is a component of modalities.{first[modality]} too; "
                    "give one of the two another name"
                )
            first.setdefault(modality, name)


def fill_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with every default filled in, those of each experiment's model too."""
    filled = fill_defaults(dict(config), load_schema("config"))
    for experiment in filled["experiments"]:
        if experiment["model"] in model_names():
            experiment["options"] = fill_defaults(
                experiment["options"], load_schema(f"models/{experiment['model']}")
            )
    return filled


def check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a configuration and fill in every default.

    Parameters
    ----------
    config
        As read from YAML, overlays merged.

    Returns
    -------
    dict
        The whole configuration, with the options of each experiment's model filled in too.

    Raises
    ------
    UserError
        With all problems, one per line, each naming its key.
    """
    schema = load_schema("config")
    problems = list(_odd_values(config))
    config = _text_keys(config)
    problems = problems or _renamed_problems(config) or schema_problems(config, schema)
    if problems:
        raise UserError("the configuration has problems:\n  " + "\n  ".join(problems))
    filled = fill_defaults(dict(config), schema)
    problems = [*_value_problems(filled), *_model_problems(filled), *_strata_problems(filled)]
    if problems:
        raise UserError("the configuration has problems:\n  " + "\n  ".join(problems))
    return fill_config(config)
