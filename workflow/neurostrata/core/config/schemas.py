"""Schemas: reading them, filling in the defaults they give, and explaining what disagrees with them."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from neurostrata.core.locations import SCHEMAS


def _schemas_in(folder: str | Path) -> dict[str, Path]:
    """Return the name and file of each schema in a folder of the schemas, by name."""
    files = sorted((SCHEMAS / folder).glob("*.schema.yaml"))
    return {path.name.removesuffix(".schema.yaml"): path for path in files}


def _inline(node: Any, folder: Path) -> Any:
    """Replace every ``$ref`` to a file next to the schema by the content of that file.

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


def later_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a schema that a later release added (``later: true``), with their defaults."""
    return {key: part["default"] for key, part in schema.get("properties", {}).items() if part.get("later")}


def without_later(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` without keys that a later release added and that are at their defaults.

    What is left is what the release without these keys had, so that what it finished stays valid.
    """
    later = later_defaults(schema)
    return {key: value for key, value in values.items() if key not in later or value != later[key]}


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
    """Return a section of the configuration with all values at their defaults."""
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
        # Report the branch that was meant: the one whose constants agree, else the one with the fewest errors.
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


def nested_problems(place: str, value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of a part of the configuration that has a schema of its own, with its place."""
    for line in schema_problems(value, schema):
        yield place + (
            line.removeprefix("the configuration") if line.startswith("the config") else f".{line}"
        )


def model_names() -> list[str]:
    """Return the names of all models that have a schema of options."""
    return list(_schemas_in("models"))


def finder_names() -> list[str]:
    """Return the names of all finders that have a schema of options."""
    return list(_schemas_in("finders"))
