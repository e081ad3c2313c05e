"""Configuration files: what is refused, what a merge takes from an anchor, and files over files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neurostrata.core.config import look_up, overlaid, read_configuration, read_yaml
from neurostrata.core.errors import UserError


def read(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: is not valid YAML: the key 'a' is given twice"),
        ("a:\n  b:\n    c: 1\n    c: 2\n", "line 4: is not valid YAML: the key 'c' is given twice"),
        ("a:\n  - {name: x}\n  - {name: y, name: z}\n", "line 3: is not valid YAML: the key 'name' is given twice"),
        ("base: &base {a: 1, a: 2}\nb: {<<: *base}\n", "line 1: is not valid YAML: the key 'a' is given twice"),
        ("? [a, b]\n: 1\n", "line 1: is not valid YAML: a key is a list or a mapping"),
        ("? {a: 1}\n: 1\n", "line 1: is not valid YAML: a key is a list or a mapping"),
    ],
)  # fmt: skip
def test_a_key_that_would_be_lost_is_refused_wherever_it_stands(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'config.yaml'}, {said}"


def test_a_merged_key_may_be_given_anew(tmp_path: Path) -> None:
    text = "base: &base {name: a, options: {size: 1, rate: 2}}\nnew: {<<: *base, name: b}\n"
    text += "both: {<<: [{name: c, more: 3}, *base]}\ntwice: {<<: *base, <<: {more: 4}}\n"
    found = read(tmp_path, text)
    options = {"size": 1, "rate": 2}
    assert found["new"] == {"name": "b", "options": options}
    assert found["both"] == {"name": "c", "more": 3, "options": options}
    assert found["twice"] == {"name": "a", "more": 4, "options": options}
    assert found["base"] == {"name": "a", "options": options}


def test_a_long_complaint_is_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, "a: !!int '" + "x" * 1000 + "'\n")
    assert len(str(caught.value)) < len(str(tmp_path)) + 400
    assert str(caught.value).endswith("; put it in quotation marks where a text is meant")


def test_later_files_win_maps_are_merged_and_lists_are_replaced(tmp_path: Path) -> None:
    texts = (
        "seed: 1\nstrata: {finders: [mixture, consensus], mixture: {starts: 5, components: [4, 6]}}\n",
        "strata: {finders: [consensus], mixture: {components: [8]}}\nqc: null\n",
        "strata: {mixture: {starts: 7}}\nseed: {a: 2}\n",
    )
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(text)
    mixture = {"starts": 7, "components": [8]}
    found = read_configuration(files)
    assert found == {"seed": {"a": 2}, "qc": None, "strata": {"finders": ["consensus"], "mixture": mixture}}
    assert read_configuration(files[:1]) == read_yaml(files[0])
    assert overlaid({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
    assert overlaid({"a": 2}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_a_configuration_that_is_laid_over_is_not_changed() -> None:
    under: dict[str, Any] = {"a": {"b": 1}}
    assert overlaid(under, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert under == {"a": {"b": 1}}


def test_keys_are_looked_up_by_their_sections() -> None:
    config = {"registration": {"engine": "torch", "torch": {"step_vox": 0}}, "qc": None, "seed": 3}
    assert look_up(config, "registration.engine") == "torch"
    assert look_up(config, "registration.torch.step_vox") == 0
    assert look_up(config, "seed") == 3
    for key in ("registration.ants", "seed.more", "registration.engine.more", "absent"):
        assert look_up(config, key) is None
        assert look_up(config, key, absent="no") == "no"
    assert look_up(config, "qc", absent="no") is None
