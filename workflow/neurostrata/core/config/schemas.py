"""Schemas: reading them, and filling in the defaults they give."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from neurostrata.core.config.reading import read_own_yaml
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
    content = read_own_yaml(path)
    content.pop("$schema", None)
    return _inline(content, path.parent)


def load_schema(name: str) -> dict[str, Any]:
    """Return the schema ``workflow/schemas/{name}.schema.yaml``, references inlined."""
    return copy.deepcopy(_read(SCHEMAS / f"{name}.schema.yaml"))


def fill_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return `value` with every missing key that has a default in `schema` filled in, recursively."""
    if isinstance(value, dict):
        schema = matching_branch(value, schema)
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


def matching_branch(value: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
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


def model_names() -> list[str]:
    """Return the names of all models that have a schema of options."""
    return list(_schemas_in("models"))


def finder_names() -> list[str]:
    """Return the names of all finders that have a schema of options."""
    return list(_schemas_in("finders"))
