"""What is wrong with a configuration, in people's words: which key, what is needed there, and what was given.

The validator (jsonschema) finds the disagreements with a schema; its own words are for programmers ("'three' is not of
type 'integer'"). Each kind of disagreement has a sentence here. Standard library, PyYAML and jsonschema only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from neurostrata.core.config.schemas import matching_branch
from neurostrata.core.wording import nearest

#: Type of a schema -> what is needed, in words.
TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a group of keys",
    "null": "null",
}
#: Pattern of a schema -> what it allows, in words.
PATTERNS = {
    "^[A-Za-z][A-Za-z0-9]*$": "letters and digits are needed, a letter first",
    "^[A-Za-z][A-Za-z0-9_]*$": "letters, digits and _ are needed, a letter first",
    "^[A-Za-z0-9][A-Za-z0-9._-]*$": "letters, digits, '.', '_' and '-' are needed, a letter or digit first",
}
#: A longer value is cut where it is shown.
LONGEST = 60


# ---------------------------------------------------------------------------------------- words


def place_of(path: Iterable[Any]) -> str:
    """Return a key's path as text: ``experiments[0].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the configuration"


def shown(value: Any) -> str:
    """Return a value as it stands in a configuration, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"'{value if len(value) <= LONGEST else value[: LONGEST - 3] + '...'}'"
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {shown(part)}" for key, part in value.items()) + "}"
    elif isinstance(value, Sequence):
        text = "[" + ", ".join(shown(part).strip("'") for part in value) + "]"
    else:
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _plain(value: Any) -> str:
    """Return a value that may be chosen, without quotation marks."""
    return value if isinstance(value, str) else shown(value)


def _either(words: Iterable[str]) -> str:
    """Return "a, b or c"."""
    listed = list(dict.fromkeys(words))
    return f"{', '.join(listed[:-1])} or {listed[-1]}" if len(listed) > 1 else "".join(listed)


def _types(schema: Mapping[str, Any]) -> list[str]:
    allowed = schema.get("type", [])
    return [allowed] if isinstance(allowed, str) else list(allowed)


def _number(schema: Mapping[str, Any]) -> str:
    """Return which number a schema asks for: "a whole number from 2 to 12", "a number above 0"."""
    kind = "a whole number" if "integer" in _types(schema) else "a number"
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{kind} from {low:,} to {high:,}"
    lower = f"of {low:,} or more" if low is not None else f"above {above:,}" if above is not None else ""
    upper = f"of at most {high:,}" if high is not None else f"below {below:,}" if below is not None else ""
    return " ".join([kind, " and ".join(part for part in (lower, upper) if part)]).strip()


def _needed(schema: Mapping[str, Any]) -> list[str]:
    """Return what a schema asks for, each possibility in words."""
    if "const" in schema:
        return [_plain(schema["const"])]
    if "enum" in schema:
        return [_plain(value) for value in schema["enum"]]
    found = []
    for kind in _types(schema):
        found.append(_number(schema) if kind in ("integer", "number") else TYPES[kind])
    for branch in [*schema.get("oneOf", ()), *schema.get("anyOf", ())]:
        found += _needed(branch)
    return list(dict.fromkeys(found))


def _is_not(number: int) -> str:
    return {1: "is none", 2: "is neither"}.get(number, "is none of these")


def _advice(value: Any, schema: Mapping[str, Any]) -> str:
    """Return what to write instead, where YAML reads something else than it looks like."""
    allowed = set(_types(schema))
    for branch in [*schema.get("oneOf", ()), *schema.get("anyOf", ())]:
        allowed |= set(_types(branch))
    if isinstance(value, str) and allowed & {"integer", "number"} and "string" not in allowed:
        text = value.strip()
        if re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", text):
            mantissa, _, exponent = text.lower().partition("e")
            whole = mantissa if "." in mantissa else f"{mantissa}.0"
            signed = exponent if exponent[0] in "+-" else f"+{exponent}"
            return f"; YAML reads it as a text: write {whole}e{signed}"
        if re.fullmatch(r"[-+]?\d+(\.\d+)?", text):
            return "; leave the quotation marks out"
        if re.fullmatch(r"\d+,\d+", text):
            return f"; write {text.replace(',', '.')}"
    if isinstance(value, bool) and "string" in allowed:
        return "; put yes, no, on, off, true and false in quotation marks where a word is meant"
    if isinstance(value, int | float) and not isinstance(value, bool) and "string" in allowed:
        return "; put it in quotation marks"
    if isinstance(value, str) and "array" in allowed and "string" not in allowed:
        return f"; write [{value}]" if len(value) <= LONGEST else ""
    return ""


def _kind_is_needed(value: Any, schema: Mapping[str, Any]) -> str:
    needed = _needed(schema)
    proper = [words for words in needed if words != "null"] or needed
    empty = " (or null)" if proper != needed else ""
    return (
        f"{_either(proper)}{empty} is needed, {shown(value)} {_is_not(len(proper))}{_advice(value, schema)}"
    )


def _entries(number: int, what: str) -> str:
    many = {"entry": "entries", "key": "keys", "character": "characters"}[what]
    return f"{number} {what if number == 1 else many}"


def _how_many(least: int | None, most: int | None, given: int, what: str) -> str:
    """Return how many entries are needed and how many there are."""
    if least is not None and least == most:
        needed = f"exactly {_entries(least, what)}"
    elif least is not None and given < least:
        needed = f"at least {_entries(least, what)}"
    else:
        needed = f"at most {_entries(most or 0, what)}"
    verb = "is" if needed.endswith(what) else "are"
    there = "none" if given == 0 else str(given)
    return f"{needed} {verb} needed, there {'is' if given in (0, 1) else 'are'} {there}"


# ---------------------------------------------------------------------------------------- sentences

# Each takes the validator's error and returns what is wrong with the value at its place.


def _type(error: Any) -> str:
    if "enum" in error.schema:  # which says the same in other words
        return _enum(error)
    return _kind_is_needed(error.instance, error.schema)


def _enum(error: Any) -> str:
    known = [_plain(value) for value in error.schema["enum"]]
    return f"{shown(error.instance)} is not one of {', '.join(known)}{nearest(str(error.instance), known, 1)}"


def _range(error: Any) -> str:
    whole = "integer" in _types(error.schema) and "number" not in _types(error.schema)
    if (
        whole and isinstance(error.instance, float) and not error.instance.is_integer()
    ):  # which is said of its kind as well
        return _type(error)
    return f"{_number(error.schema)} is needed, not {shown(error.instance)}"


def _multiple(error: Any) -> str:
    return f"a multiple of {error.validator_value} is needed, {shown(error.instance)} is none"


def _count(error: Any) -> str:
    schema = error.schema
    return _how_many(schema.get("minItems"), schema.get("maxItems"), len(error.instance), "entry")


def _length(error: Any) -> str:
    if error.validator == "minLength" and not error.instance:
        return "is empty"
    schema = error.schema
    return _how_many(schema.get("minLength"), schema.get("maxLength"), len(error.instance), "character")


def _keys(error: Any) -> str:
    schema = error.schema
    return _how_many(schema.get("minProperties"), schema.get("maxProperties"), len(error.instance), "key")


def _unique(error: Any) -> str:
    values = [shown(value) for value in error.instance]
    return f"{next(value for value in values if values.count(value) > 1)} is given twice"


def _pattern(error: Any) -> str:
    words = PATTERNS.get(error.validator_value, "has characters that are not possible here")
    if "propertyNames" in list(map(str, error.absolute_schema_path)):
        return f"the name {shown(error.instance)}: {words}"
    return f"{shown(error.instance)}: {words}"


def _const(error: Any) -> str:
    condition = _condition(error)
    only = f"only {_plain(error.validator_value)} is possible"
    return f"{only}{f' where {condition}' if condition else ''}, not {shown(error.instance)}"


def _required(error: Any) -> str:
    missing = next(key for key in error.validator_value if key not in error.instance)
    known = error.schema.get("properties", {}).get(missing, {})
    needed = _needed(known)
    hint = (
        f" (one of {', '.join(needed)})" if "enum" in known else f" ({needed[0]})" if len(needed) == 1 else ""
    )
    return f"the key '{missing}' is missing{hint}"


def _dependent(error: Any) -> str:
    for key, others in error.validator_value.items():
        missing = [other for other in others if other not in error.instance]
        if key in error.instance and missing:
            return f"'{key}' needs the key '{missing[0]}' as well"
    return "a key is missing"


def _condition(error: Any) -> str:
    """Return under which condition a part of a schema holds: "kind is mask"."""
    path = list(error.relative_schema_path)
    if "then" not in path or error.parent is None:
        return ""
    schema = error.parent.validator_value  # the alternatives
    for part in path[: path.index("then")]:
        schema = schema[part]
    tested = schema.get("if", {}).get("properties", {})
    return " and ".join(f"{key} is {_either(_needed(part))}" for key, part in tested.items())


SENTENCES: dict[str, Callable[[Any], str]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _range),
    "multipleOf": _multiple,
    **dict.fromkeys(("minItems", "maxItems"), _count),
    **dict.fromkeys(("minLength", "maxLength"), _length),
    **dict.fromkeys(("minProperties", "maxProperties"), _keys),
    "uniqueItems": _unique,
    "pattern": _pattern,
    "required": _required,
    "dependentRequired": _dependent,
}


# ---------------------------------------------------------------------------------------- problems


def _known_keys(schema: Mapping[str, Any], value: Any) -> list[str]:
    keys = set(schema.get("properties", {}))
    if isinstance(value, dict):
        keys |= set(matching_branch(value, schema).get("properties", {}))
    return sorted(keys)


def _unknown(error: Any) -> Iterator[str]:
    """Yield a sentence for each key that is not known."""
    known = _known_keys(error.schema, error.instance)
    for key in sorted(set(error.instance) - set(known)):
        hint = nearest(str(key), known, 1) or f"; known keys: {', '.join(known)}"
        yield f"unknown key '{key}'{hint}"


def _said_above(error: Any) -> bool:
    """Tell whether a key that chooses the alternative (``from``) is missing or wrong, which is said on its own."""
    branches = error.validator_value
    chosen_by = [
        {key: part["const"] for key, part in branch.get("properties", {}).items() if "const" in part}
        for branch in branches
    ]
    keys = set.intersection(*map(set, chosen_by)) if chosen_by else set()
    return any(
        error.instance.get(key) not in [constants[key] for constants in chosen_by]
        for key in keys
        if isinstance(error.instance, Mapping)
    )


def _meant(error: Any) -> list[Any]:
    """Return the disagreements with the branch of an alternative that was meant.

    It is the one whose constants agree; else one of the value's own kind; else the one with the fewest disagreements.
    """

    def off(branch: int) -> tuple[bool, bool, int]:
        found = [e for e in error.context if e.schema_path[0] == branch]
        other_kind = any(e.validator in ("type", "const", "enum") and not e.relative_path for e in found)
        return any(e.validator == "const" and e.relative_path for e in found), other_kind, len(found)

    best = min({e.schema_path[0] for e in error.context}, key=off)
    return [e for e in error.context if e.schema_path[0] == best]


def _explain(error: Any) -> Iterator[tuple[list[Any], str]]:
    """Yield the path and a sentence for each thing that an error of the validator stands for."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        yield from ((path, sentence) for sentence in _unknown(error))
    elif error.validator in ("oneOf", "anyOf") and _said_above(error):
        return
    elif error.validator in ("oneOf", "anyOf") and error.context:
        chosen = _meant(error)
        if all(e.validator in ("type", "const", "enum") and not e.relative_path for e in chosen):
            words = [e for e in chosen if e.validator == "enum"]
            # a text where words or a list are possible: which words
            same_kind = words and isinstance(error.instance, str)
            yield path, _enum(words[0]) if same_kind else _kind_is_needed(error.instance, error.schema)
            return
        for complaint in chosen:
            yield from _explain(complaint)
    else:
        sentence = SENTENCES.get(error.validator)
        yield path, sentence(error) if sentence else f"{shown(error.instance)} is not possible here"


def schema_problems(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return every disagreement of `value` with `schema`, one line each: key, what is needed, what was given."""
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
    found = [(path, sentence) for error in errors for path, sentence in _explain(error)]
    return list(dict.fromkeys(f"{place_of(path)}: {sentence}" for path, sentence in found))


def nested_problems(place: str, value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of a part of the configuration that has a schema of its own, with its place."""
    for line in schema_problems(value, schema):
        yield place + (
            line.removeprefix("the configuration") if line.startswith("the config") else f".{line}"
        )


# ---------------------------------------------------------------------------------------- files


def _find(node: Any, path: Sequence[Any]) -> tuple[Any, int]:
    """Return the node that a path leads to in a composed YAML file, and how much of the path was found."""
    for depth, part in enumerate(path):
        if isinstance(node, yaml.MappingNode):
            found = [value for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            found = node.value[part : part + 1]
        else:
            found = []
        if not found:
            return node, depth
        node = found[-1]
    return node, len(path)


def _path(problem: str) -> list[Any]:
    """Return the path of the key that a problem's line begins with; of an unknown key, that key's."""
    place = problem.partition(": ")[0]
    parts: list[Any] = [] if place == "the configuration" else re.split(r"\.|(?=\[)", place)
    path = [int(part[1:-1]) if re.fullmatch(r"\[\d+\]", part) else part for part in parts]
    unknown = re.match(r"[^:]*: unknown key '([^']+)'", problem)
    return [*path, unknown[1]] if unknown else path


def with_lines(problems: Iterable[str], files: Sequence[str | Path]) -> list[str]:
    """Return problems with the file and line in which each value stands, where it can be found.

    Parameters
    ----------
    problems
        Lines that begin with a key's path.
    files
        The configuration's files, of which later ones go over earlier ones.
    """
    composed = []
    for file in files:
        try:
            composed.append((file, yaml.compose(Path(file).read_text(encoding="utf-8"), yaml.SafeLoader)))
        except (OSError, ValueError, yaml.YAMLError):
            continue  # was read a moment ago
    lines = []
    for problem in problems:
        path = _path(problem)
        # in the last file that has the key, or as much of its path as any has
        found = [(_find(node, path), file) for file, node in composed if node is not None]
        best = max(((depth, number) for number, ((_, depth), _) in enumerate(found)), default=(0, 0))
        if best[0]:
            (node, _), file = found[best[1]]
            problem += f"  ({file}, line {node.start_mark.line + 1})"
        lines.append(problem)
    return lines
