"""What is said of a wrong configuration: for every key of the schema, in words that need no knowledge of schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from neurostrata.core.config import (
    check_config,
    fill_defaults,
    load_schema,
    model_names,
    read_yaml,
    schema_problems,
)
from neurostrata.core.config.messages import PATTERNS, SENTENCES, place_of, shown, with_lines
from neurostrata.core.errors import UserError
from neurostrata.core.locations import SCHEMAS

#: Words of the validator, of JSON and of Python.
JARGON = re.compile(
    r"is not of type|valid under|given schemas|schema|is a required property|non-unique|does not match|regex|\bpattern\b|"
    r"should be|instance|\bstring\b|\binteger\b|\bboolean\b|\barray\b|\bobject\b|propert|\benum\b|\bconst\b|\bNone\b|\bTrue\b|\bFalse\b|"
    r"minimum|maximum of|\[A-Z|\bdict\b|\bstr\b|\['|is too (short|long)"
)
#: A value of each kind.
VALUES: dict[str, Any] = {
    "text": "three",
    "whole number": 7_000_000_000,
    "negative number": -3,
    "number": 0.123,
    "truth": True,
    "null": None,
    "list": [[]],
    "same twice": ["a", "a"],
    "empty list": [],
    "group": {"nobody's": 1},
    "empty group": {},
    "empty text": "",
}


def keys(schema: Mapping[str, Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every key of a schema; a key of the user's choice is called `own`."""
    for name, part in schema.get("properties", {}).items():
        yield (*path, name)
        yield from keys(part, (*path, name))
    items, others = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, Mapping):
        yield (*path, 0)
        yield from keys(items, (*path, 0))
    if isinstance(others, Mapping):
        yield (*path, "own")
        yield from keys(others, (*path, "own"))
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from keys(branch, path)


def with_value(path: tuple[Any, ...], value: Any) -> Any:
    """A configuration with this value at this place and nothing else."""
    for part in reversed(path):
        value = [value] if part == 0 else {part: value}
    return value


@pytest.mark.parametrize("kind", VALUES)
def test_a_wrong_value_of_any_key_is_said_in_words(kind: str) -> None:
    schema, value = load_schema("config"), VALUES[kind]
    asked = set(keys(schema))
    assert len(asked) > 250
    for path in asked:
        for line in schema_problems(with_value(path, value), schema):
            assert not JARGON.search(line.replace("nobody's", "")), line
            assert "\n" not in line
            assert len(line) < 500, line


def test_what_is_said_names_the_key() -> None:
    schema = load_schema("config")
    for path in set(keys(schema)):
        wrong = {"nobody's": [1]}
        lines = schema_problems(with_value(path, wrong), schema)
        # where any group of keys may stand, such as an experiment's options, a schema of its own says what may
        free = all(
            "the key '" in line for line in lines
        )  # and the keys that must stand beside it are missing
        named = [line for line in lines if line.startswith((f"{place_of(path)}: ", f"{place_of(path)}."))]
        assert named or free, (path, lines)


@pytest.mark.parametrize("model", model_names())
def test_options_of_models_are_said_in_words(model: str) -> None:
    schema = load_schema(f"models/{model}")
    for path in set(keys(schema)):
        for value in VALUES.values():
            for line in schema_problems(with_value(path, value), schema):
                assert not JARGON.search(line.replace("nobody's", "")), line


MODALITY = {"jac": {"from": "jacobian"}}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"training": {"epochs": "three"}}, "training.epochs: a whole number of 1 or more (or null) is needed, 'three' is none"),
        ({"training": {"epochs": "3"}}, "training.epochs: a whole number of 1 or more (or null) is needed, '3' is none; leave the quotation marks out"),
        ({"training": {"learning_rate": "1e-3"}}, "training.learning_rate: a number above 0 (or null) is needed, '1e-3' is none; YAML reads it as a text: write 1.0e-3"),
        ({"training": {"learning_rate": "0,1"}}, "training.learning_rate: a number above 0 (or null) is needed, '0,1' is none; write 0.1"),
        ({"training": {"epochs": 0}}, "training.epochs: a whole number of 1 or more is needed, not 0"),
        ({"training": {"preset": "papers"}}, "training.preset: 'papers' is not one of paper, fast; did you mean 'paper'?"),
        ({"training": {"epoch": 3}}, "training: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"training": 5}, "training: a group of keys is needed, 5 is none"),
        ({"training": {"deterministic": "yes"}}, "training.deterministic: true or false is needed, 'yes' is none"),
        ({"output": True}, "output: a text is needed, true is none; put yes, no, on, off, true and false in quotation marks where a word is meant"),
        ({"volumes": {"shape": [32, 32]}}, "volumes.shape: exactly 3 entries are needed, there are 2"),
        ({"volumes": {"percentiles": [1, 101]}}, "volumes.percentiles[1]: a number from 0 to 100 is needed, not 101"),
        ({"volumes": {"shape": 32}}, "volumes.shape: a list is needed, 32 is none"),
        ({"experiments": [{"model": "pca", "modalities": ["jac"]}]}, "experiments[0]: the key 'name' is missing (a text)"),
        ({"experiments": [{"name": "a", "modalities": "jac"}]}, "experiments[0].modalities: a list is needed, 'jac' is none; write [jac]"),
        ({"experiments": [{"name": "a", "modalities": []}]}, "experiments[0].modalities: at least 1 entry is needed, there is none"),
        ({"experiments": [{"name": "a", "modalities": ["jac", "jac"]}]}, "experiments[0].modalities: 'jac' is given twice"),
        ({"experiments": [{"name": "a b", "modalities": ["jac"]}]}, "experiments[0].name: 'a b': letters, digits, '.', '_' and '-' are needed, a letter or digit first"),
        ({"modalities": {"my map": {"from": "t1w"}}}, "modalities: the name 'my map': letters and digits are needed, a letter first"),
        ({"modalities": {"fa": {"from": "tensor"}}}, "modalities.fa: the key 'measure' is missing (one of fa, md)"),
        ({"modalities": {"fa": {"from": "tensr"}}}, "modalities.fa.from: 'tensr' is not one of t1w, jacobian, tensor, noddi, tissue, column, dual_regression; did you mean 'tensor'?"),
        (
            {"modalities": {"l": {"from": "column", "column": "l", "kind": "mask", "intensity": "pet"}}},
            "modalities.l.intensity: only none is possible where kind is mask, not 'pet'",
        ),
        ({"strata": {"adjust": {"columns": 3}}}, "strata.adjust.columns: auto or a list is needed, 3 is neither"),
        ({"strata": {"adjust": {"columns": ["age", "age"]}}}, "strata.adjust.columns: 'age' is given twice"),
        ({"phenotypes": {"variables": "dimitri"}}, "phenotypes.variables: 'dimitri' is not one of all, dimitri2022; did you mean 'dimitri2022'?"),
        ({"experiments": [{"name": "a", "modalities": ["jac"], "options": {"dropout": 2}}]}, "experiments[0].options.dropout: "),
    ],
)  # fmt: skip
def test_sentences(changes: dict[str, Any], line: str) -> None:
    sheet = {
        "cohort": {"sheet": "c.tsv"},
        "modalities": MODALITY,
        "experiments": [{"name": "a", "modalities": ["jac"]}],
    }
    with pytest.raises(UserError) as refused:
        check_config(sheet | changes)
    said = str(refused.value).splitlines()[1:]
    assert len(said) == 1, said
    assert said[0].strip() == line if line[-2:] != ": " else said[0].strip().startswith(line)


def test_every_kind_of_rule_has_a_sentence() -> None:
    known = {
        *SENTENCES,
        "additionalProperties",
        "oneOf",
        "anyOf",
        "properties",
        "items",
        "propertyNames",
        "if",
        "then",
    }
    from jsonschema import Draft202012Validator

    def used(node: Any, names: bool = False) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict):
            for key, part in node.items():
                if not names:
                    yield key, part
                yield from used(part, key in ("properties", "patternProperties") and not names)
        elif isinstance(node, list):
            for part in node:
                yield from used(part)

    for file in SCHEMAS.rglob("*.yaml"):
        for key, value in used(yaml.safe_load(file.read_text())):
            if key in Draft202012Validator.VALIDATORS:
                assert key in known or key == "$ref", f"{file.name}: {key}"
            if key == "pattern":
                assert value in PATTERNS, f"{file.name}: {value}"


def test_values_are_shown_as_they_are_written() -> None:
    assert [shown(value) for value in (None, True, 1.5, "a", ["a", 1], {"a": None})] == [
        *("null", "true", "1.5", "'a'", "[a, 1]", "{a: null}")
    ]
    assert len(shown("x" * 500)) <= 62
    assert len(shown(list(range(500)))) <= 62


def test_the_line_of_a_value_is_found(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(
        "training:\n  epochs: three\n  preset: paper\nexperiments:\n- name: a\n- {name: b,\n   modalities: x}\n"
    )
    second.write_text("# a comment\ntraining: {epochs: four,\n  epoch: 1}\n")

    def lines(*problems: str, files: tuple[Path, ...] = (first, second)) -> list[str]:
        return [line.rpartition("  (")[2].replace(f"{tmp_path}/", "") for line in with_lines(problems, files)]

    assert lines("training.epochs: is wrong", "training.preset: is wrong") == [
        *("second.yaml, line 2)", "first.yaml, line 3)")
    ]
    assert lines("training: unknown key 'epoch'; did you mean 'epochs'?") == ["second.yaml, line 3)"]
    assert lines("experiments[1].modalities: a list is needed", "experiments[1].options.x: is wrong") == [
        *("first.yaml, line 7)", "first.yaml, line 6)")
    ]
    untouched = ["seed: is wrong", "the configuration: the key 'cohort' is missing"]
    assert with_lines(untouched, [first, tmp_path / "gone.yaml"]) == untouched


def test_a_right_configuration_is_said_nothing_of() -> None:
    for name in ("training", "template", "registration", "volumes", "strata"):
        schema = load_schema(name)
        assert schema_problems(fill_defaults({}, schema), schema) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: a: b\n", "line 1: is not valid YAML: a ':' where no key can be"),
        ("training:\n\tepochs: 3\n", "line 2: is not valid YAML: a tab"),
        ("a: [1, 2\nb: 3\n", "the bracket that opens in line 1 is not closed by ]"),
        ("a: {x: 1\n", "the bracket that opens in line 1 is not closed by }"),
        (
            "training:\n   epochs: 3\n  preset: fast\n",
            "line 3: is not valid YAML: the line does not fit those above",
        ),
        ("training:\n  epochs: 3\n  preset\n", "a key needs a ':' and a blank after it (line 3)"),
        ('title: "a\nb: 1\n', "the quotation mark that opens in line 1 is not closed"),
        ("title: 'it's'\n", "text after a closing quotation mark"),
        ("a: %x\n", "a text that begins with % must be in quotation marks"),
        ("path: *.nii\n", "a text that begins with *, & or ! must be in quotation marks"),
        ("a: *x\n", "a text that begins with *, & or ! must be in quotation marks"),
        ("a: !x 1\n", "a text that begins with *, & or ! must be in quotation marks"),
        ("a: 1\n---\nb: 2\n", "line 2: is not valid YAML: a line '---' begins a second configuration"),
        ("a: \0\n", "a character that no text has"),
        ("a: 2020-13-45\n", "put it in quotation marks"),
    ],
)
def test_broken_files_are_said_in_words(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_yaml(path)
    said = str(refused.value)
    assert said.startswith(str(path))
    assert words in said
    assert not re.search(
        r"token|scan|stream|<block|mapping|constructor|alias|scalar", said.replace("study.yaml", "")
    )
