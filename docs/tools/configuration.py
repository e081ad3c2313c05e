"""Write docs/configuration.md: every key of the configuration, from workflow/schemas.

PYTHONPATH=workflow python docs/tools/configuration.py     # a test fails when the page is out of date
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neurostrata.core.config import finder_names, load_schema, model_names, read_yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "configuration.md"

INTRODUCTION = """\
# All keys of the configuration

A study's `config/config.yaml` names only what differs from the column *default*, which is what holds when the study says nothing: the
value in neurostrata's own [config/config.yaml](../config/config.yaml) or, where that is silent, in the schemas.
[config/README.md](../config/README.md) says how files are combined. A key that is not on this page is refused, with the nearest one as a
suggestion.

A dot goes one level down: `template.iterations` is written as

```yaml
template:
  iterations: 3
```

`PYTHONPATH=workflow python docs/tools/configuration.py` writes this page from `workflow/schemas/`.
"""
TOP = (
    "The study",
    "Where the people, their images and tables are, and what holds for the whole study.",
)
EMPTY: dict[str, Any] = {}
OURS = read_yaml(ROOT / "config" / "config.yaml")


def holds(name: str, schema: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return what holds for a key that a study does not set, as code: its value in `ours`, else its default, if it has one."""
    value: Any = ours
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is not None:
        return code(value)
    return code(schema["default"]) if "default" in schema else ""


def in_words(schema: Mapping[str, Any]) -> str:
    """Say in words which values a key takes."""
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    branches = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    if branches and "type" not in schema:
        return "; or ".join(in_words(branch) or code(None) for branch in branches)
    kinds = schema.get("type", "anything")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    words = [kind_in_words(kind, schema) for kind in kinds if kind != "null"]
    return " or ".join(words) + (", or `null`" if words and "null" in kinds else "")


def kind_in_words(kind: str, schema: Mapping[str, Any]) -> str:
    """Say in words what one of JSON schema's types is."""
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + limits_in_words(schema)
    if kind == "array":
        items = schema.get("items", EMPTY)
        entries = in_words(items) if items else "anything"
        least, most = schema.get("minItems"), schema.get("maxItems")
        if least is not None and least == most:
            return f"list of {least}: {entries}"
        return f"list: {entries}"
    return {"string": "text", "boolean": "`true`, `false`", "object": "keys and values"}.get(kind, kind)


def limits_in_words(schema: Mapping[str, Any]) -> str:
    """Say in words between which limits a number is."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = []
    if low is not None and high is not None:
        return f", {low} to {high}"
    if above is not None:
        parts.append(f"above {above}")
    if low is not None:
        parts.append(f"{low} or more")
    if below is not None:
        parts.append(f"below {below}")
    if high is not None:
        parts.append(f"at most {high}")
    return ", " + ", ".join(parts) if parts else ""


def code(value: Any) -> str:
    """Return a value as it is written in YAML, as code."""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value, ensure_ascii=False)}`"


def cell(text: str) -> str:
    """Return a description for a cell of a table; files become links where there is a page."""
    text = " ".join(str(text).split()).replace("|", "\\|")
    return re.sub(r"\bdocs/([a-z0-9-]+\.md)", r"[\1](\1)", text)


def rows(
    schema: Mapping[str, Any], prefix: str = "", ours: Mapping[str, Any] = OURS
) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, values, default and description of every key below a schema, nested ones with dots.

    `ours` has no values for keys that stand in a list or a mapping of the configuration, such as an experiment's seed.
    """
    for key, part in schema.get("properties", {}).items():
        name = f"{prefix}{key}"
        inner = part.get("properties")
        if inner:
            if part.get("description"):
                empty = part.get("default", EMPTY)
                yield name, in_words(part), "" if empty == {} else code(empty), part["description"]
            yield from rows(part, f"{name}.", ours)
            continue
        yield name, in_words(part), holds(name, part, ours), part.get("description", "")


def table(lines: Iterator[tuple[str, str, str, str]]) -> str:
    """Return a Markdown table of keys."""
    text = "| key | value | default | meaning |\n|---|---|---|---|\n"
    for key, values, default, meaning in lines:
        text += f"| `{key}` | {cell(values)} | {default} | {cell(meaning)} |\n"
    return text


def sections(whole: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield heading, description and body of each section."""
    parts = whole["properties"]
    simple = {key: part for key, part in parts.items() if not part.get("properties")}
    plain = {key: simple[key] for key in simple if key not in ("modalities", "experiments")}
    cohort = {"cohort": parts["cohort"]}
    yield *TOP, table(rows({"properties": {**plain, **cohort}}))
    for key, part in parts.items():
        if key == "modalities":
            yield key, part["description"], modalities(part)
        elif key == "experiments":
            yield f"{key}[]", part["items"]["description"], table(rows(part["items"], ours=EMPTY))
        elif key != "cohort" and part.get("properties"):
            finders = finder_names() if key == "strata" else ()
            own = {name: inner for name, inner in part["properties"].items() if name not in finders}
            yield key, part["description"], table(rows({"properties": own}, f"{key}."))
            for name in finders:
                inner = part["properties"][name]
                yield f"strata.{name}", inner["description"], table(rows(inner, f"strata.{name}."))
    for name in model_names():
        model = load_schema(f"models/{name}")
        reads = model.get("training")
        words = model["description"]
        if reads is not None:
            words += " Of `training` it reads " + (", ".join(f"`{k}`" for k in reads) or "nothing") + "."
        yield f"options of {name}", words, table(rows(model, ours=EMPTY))


def modalities(part: Mapping[str, Any]) -> str:
    """Return the keys of each source of a modality."""
    declaration = part["additionalProperties"]
    text = "A modality is `NAME: {from: SOURCE, ...}`. Every source also takes `domain`: "
    text += cell(declaration["properties"]["domain"]["description"]) + "\n\n"
    for branch in declaration["anyOf"]:
        own = {k: v for k, v in branch["properties"].items() if k not in ("from", "domain")}
        name = branch["properties"]["from"]["const"]
        text += f"### from: {name}\n\n{cell(branch['description'])}"
        required = [key for key in branch["required"] if key != "from"]
        text += f" Required: {', '.join(f'`{key}`' for key in required)}.\n\n" if required else "\n\n"
        if own:
            text += table(rows({"properties": own}, ours=EMPTY)) + "\n"
    return text.rstrip("\n") + "\n"


def page() -> str:
    """Return docs/configuration.md."""
    text = INTRODUCTION
    for heading, description, body in sections(load_schema("config")):
        text += f"\n## {heading}\n\n{cell(description)}\n\n{body}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
