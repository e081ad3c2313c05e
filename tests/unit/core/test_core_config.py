from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from neurostrata.core.config import (
    adjusts_codes,
    check_config,
    expand_modalities,
    fill_config,
    fill_defaults,
    finder_names,
    load_schema,
    modality_domains,
    read_yaml,
    schema_problems,
    section_defaults,
)
from neurostrata.core.errors import UserError
from neurostrata.core.locations import DEFAULT_CONFIG, FORMER_DEFAULTS, SCHEMAS
from neurostrata.strata.finders.registry import finder_class

SYNTHESIS = {"name": "s", "model": "latent_synthesis", "modalities": ["jac", "ndi"]}


def config(**changes: Any) -> dict[str, Any]:
    return {
        "cohort": {"sheet": "cohort.tsv"},
        "modalities": {"jac": {"from": "jacobian"}, "ndi": {"from": "noddi", "measure": "ndi"}},
        "experiments": [{"name": "a", "modalities": ["jac"]}],
    } | changes


def test_defaults_are_filled_recursively() -> None:
    filled = check_config(config())
    assert filled["seed"] == 1
    assert filled["modalities"]["jac"]["measure"] == "nonlinear"
    assert filled["registration"]["ants"]["gradient_step"] == 0.12
    assert filled["experiments"][0]["model"] == "separable_autoencoder"
    assert filled["experiments"][0]["options"]["dropout"] == 0.1
    assert filled["strata"]["repartition"]["draws"] == 10000


def leaves(values: dict[str, Any], place: str = "") -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        found |= leaves(value, f"{place}{key}.") if isinstance(value, dict) else {f"{place}{key}": value}
    return found


def test_a_default_is_the_same_in_the_schemas_and_in_the_configuration() -> None:
    recommended = leaves(read_yaml(DEFAULT_CONFIG))
    defaults = leaves(fill_config({"cohort": {}}))
    # what no schema can know: where a study's files are, and what it fuses
    own = {
        "cohort.sheet",
        "qc",
        "experiments",
        *(key for key in recommended if key.startswith("modalities.")),
    }
    assert {key: defaults[key] for key in recommended.keys() - own} == {
        key: value for key, value in recommended.items() if key not in own
    }


def test_former_defaults_are_others_than_now() -> None:
    former = read_yaml(FORMER_DEFAULTS)
    assert schema_problems({"cohort": {}, **former}, load_schema("config")) == []
    now = leaves(fill_config(read_yaml(DEFAULT_CONFIG)))
    filled = leaves(fill_config({"cohort": {}, **former}))
    assert leaves(former)
    for key in leaves(former):
        assert filled[key] != now[key], key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regstration": {}}, r"unknown key 'regstration'; did you mean 'registration'\?"),
        ({"registration": {"engin": "ants"}}, r"registration: unknown key 'engin'; did you mean 'engine'\?"),
        ({"registration": {"engine": "elastix"}}, r"registration.engine: 'elastix' is not one of"),
        (
            {"template": {"iterations": "five"}},
            r"template.iterations: a whole number of 1 or more is needed, 'five' is none",
        ),
        ({"experiments": [{"name": "a", "modalities": ["pet"]}]}, r"'pet' is not declared under modalities"),
        ({"experiments": [{"name": "a", "model": "vaee", "modalities": ["jac"]}]}, r"'vaee' is not one of"),
        (
            {"experiments": [{"name": "a", "modalities": ["jac"], "options": {"droput": 0.2}}]},
            r"unknown key 'droput'; did you mean 'dropout'\?",
        ),
        (
            {"experiments": [{"name": "a", "modalities": ["jac"]}, {"name": "a", "modalities": ["jac"]}]},
            r"the name 'a' is taken",
        ),
        ({"modalities": {"fa": {"from": "tensor", "mesure": "fa"}}}, r"modalities.fa: unknown key 'mesure'"),
        ({"modalities": {"fa": {"from": "tensr"}}}, r"modalities.fa"),
        (
            {"strata": {"finders": ["mixture", "kmeans"]}},
            r"strata.finders\[1\]: 'kmeans' is not one of .*affinity_propagation.*mixture",
        ),
        ({"strata": {"finders": []}}, r"strata.finders"),
        (
            {"modalities": {"icn": {"from": "column", "column": "c", "components": 3, "domain": ["a", "b"]}}},
            r"modalities.icn.domain: 2 domains for 3 components",
        ),
        ({"modalities": {"jac": {"from": "jacobian", "domain": ["a", "b"]}}}, r"2 domains for 1 component;"),
        ({"modalities": {"jac": {"from": "jacobian", "domain": ""}}}, r"modalities.jac.domain"),
        ({"phenotypes": {"factor_names": []}}, r"phenotypes.factor_names"),
        ({"phenotypes": {"factor_names": ["a", "a"]}}, r"phenotypes.factor_names"),
        (
            {"strata": {"adjust": {"columns": ["age", "diagnosis"]}}},
            r"strata.adjust.columns: 'diagnosis' is never adjusted for",
        ),
        (
            {"strata": {"mixture": {"start": 5}}},
            r"strata.mixture: unknown key 'start'; did you mean 'starts'\?",
        ),
        (
            {"experiments": [{"name": "a", "modalities": ["jac"], "scaling": "maximum"}]},
            r"experiments\[0\].scaling: separable_autoencoder learns and decodes values in \[0, 1\], .*; set limits",
        ),
        (
            {"training": {"adam_epsilon": 0}},
            r"training.adam_epsilon: a number above 0 is needed, not 0",
        ),
        (
            {"training": {"modality_losses": "sum"}, "experiments": [SYNTHESIS]},
            r"^  training.modality_losses: latent_synthesis \(experiments\[0\]\) does not read it \(it has no loss for each "
            r"modality\); set it in `training` of the experiments whose models do$",
        ),
        (
            {"experiments": [{**SYNTHESIS, "training": {"modality_losses": "sum"}}]},
            r"experiments\[0\].training.modality_losses: latent_synthesis .*; remove it",
        ),
        (
            {"experiments": [{**SYNTHESIS, "model": "pca", "training": {"adam_epsilon": 1e-8}}]},
            r"experiments\[0\].training.adam_epsilon: pca \(experiments\[0\]\) does not read it; remove it",
        ),
        *[
            (
                {"experiments": [{**SYNTHESIS, "options": options, "analyses": {"robustness": True}}]},
                r"experiments\[0\].analyses.robustness: hides each modality in turn, and 'jac' is the only input",
            )
            for options in ({"inputs": ["jac"]}, {"mask_input": "ndi"})
        ],
        (
            {"strata": {"clustering": {"damping": {"steps": 5}}}},
            r"strata.clustering: its keys are now under strata.affinity_propagation, .*strata.small_clusters",
        ),
    ],
)
def test_mistakes_are_named_with_their_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.compile(message, re.M)):
        check_config(config(**changes))


@pytest.mark.parametrize("key", ["hcp", "ukb", "bids"])
def test_the_home_folder_is_written_out(key: str) -> None:
    """Only shells read ~: results would go to a folder of this name."""
    text = "a ~ is not read as the home folder; write the path from / on"
    with pytest.raises(UserError, match=f"cohort.{key}: '~/data': {text}"):
        check_config(config(cohort={key: "~/data"}))
    with pytest.raises(UserError, match=f"output: '~/results': {text}"):
        check_config(config(output="~/results"))
    assert check_config(config(output="~results"))["output"] == "~results"


@pytest.mark.parametrize("written", ["results", "results/", "./results", "results//"])
def test_an_output_is_one_folder_however_it_is_written(written: str) -> None:
    """Snakemake keeps the records of results by their paths."""
    assert check_config(config(output=written))["output"] == "results"


def test_keys_of_a_later_release_are_read_by_models_that_can() -> None:
    models = ["shared_vae", "latent_synthesis", "residual_autoencoder", "pca"]
    signed = [{"name": m, "model": m, "modalities": ["jac"], "scaling": "maximum"} for m in models]
    checked = check_config(config(experiments=signed, training={"adam_epsilon": 1e-8}))
    assert [e["scaling"] for e in checked["experiments"]] == ["maximum"] * 4
    summed = {"modality_losses": "sum"}
    # PCA is not trained; the synthesis says `mean` for itself
    others = [signed[0], {**signed[1], "training": {"modality_losses": "mean"}}, *signed[2:]]
    assert check_config(config(experiments=others, training=summed))["training"]["modality_losses"] == "sum"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        check_config(config(sed=2, template={"iteration": 3}))
    assert "'sed'" in str(caught.value)
    assert "'iteration'" in str(caught.value)


def test_a_renamed_key_is_told_once_and_without_a_guess() -> None:
    with pytest.raises(UserError) as error:
        check_config(config(strata={"clustering": {}}))
    (line,) = str(error.value).splitlines()[1:]
    assert "unknown key" not in line


def test_whether_codes_are_adjusted() -> None:
    for adjust, wanted in (({}, True), ({"columns": []}, False), ({"columns": [], "sites": "site"}, True)):
        assert adjusts_codes(check_config(config(strata={"adjust": adjust}))["strata"]) is wanted


def test_every_finder_has_options_and_every_block_of_options_a_finder() -> None:
    assert all(finder_class(name).name == name for name in finder_names())
    strata = check_config(config())["strata"]
    assert set(strata["finders"]) <= set(finder_names()) <= set(strata)
    assert strata["finders"][0] == "mixture"


def test_four_dimensional_modalities_expand() -> None:
    expanded = expand_modalities({"icn": {"from": "column", "column": "icn", "components": 12}})
    assert list(expanded)[:2] == ["icn01", "icn02"]
    assert expanded["icn12"]["component"] == 11


def test_a_key_of_a_modality_that_changes_nothing_is_no_difference() -> None:
    """Maps that were made before somebody wrote the default down stay valid."""
    plain = {"from": "column", "column": "pet", "space": "t1w", "components": 2}
    written = plain | {"intensity": "none", "kind": "image", "domain": "function"}
    assert expand_modalities({"pet": written}) == expand_modalities({"pet": plain})
    for key, value in (("intensity", "pet"), ("kind", "mask"), ("space", "mni")):
        assert expand_modalities({"pet": plain | {key: value}})["pet2"][key] == value


def test_domains_of_modalities_and_of_components() -> None:
    sources = {
        "jac": {"from": "jacobian", "domain": "structure"},
        "fa": {"from": "tensor", "measure": "fa"},
        "icn": {"from": "column", "column": "icn", "components": 3, "domain": ["visual", "motor", "visual"]},
        "rsn": {"from": "column", "column": "rsn", "components": 2, "domain": "rest"},
    }
    modalities = check_config(config(modalities=sources))["modalities"]
    assert modality_domains(modalities) == {
        "jac": "structure", "icn1": "visual", "icn2": "motor", "icn3": "visual", "rsn1": "rest", "rsn2": "rest",
    }  # fmt: skip
    assert not any("domain" in declaration for declaration in expand_modalities(modalities).values())


def _objects(schema: Any, place: str) -> Any:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield place, schema
        for key, part in schema.items():
            if key in ("if", "then", "else"):  # conditions between keys, not a place for keys
                continue
            yield from _objects(part, f"{place}.{key}")
    elif isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from _objects(part, f"{place}[{number}]")


SCHEMA_FILES = sorted(SCHEMAS.rglob("*.schema.yaml"))


@pytest.mark.parametrize("path", SCHEMA_FILES, ids=[str(p.relative_to(SCHEMAS)) for p in SCHEMA_FILES])
def test_schemas_are_closed_and_explain_every_key(path: Any) -> None:
    for place, node in _objects(yaml.safe_load(path.read_text()), path.name):
        branches = node.get("anyOf", [node])
        assert all(b.get("additionalProperties") is not None for b in branches), f"{place} is open"
        for key, part in node["properties"].items():
            assert part.get("description") or "$ref" in part or "const" in part, (
                f"{place}.{key} is not described"
            )


def test_defaults_satisfy_their_own_schema() -> None:
    from jsonschema import Draft202012Validator

    for path in SCHEMA_FILES:
        name = str(path.relative_to(SCHEMAS)).removesuffix(".schema.yaml")
        schema = load_schema(name)
        Draft202012Validator.check_schema(schema)
        if not schema.get("required"):
            assert not list(Draft202012Validator(schema).iter_errors(fill_defaults({}, schema))), name


def test_section_defaults_are_fresh_copies() -> None:
    section_defaults("strata")["affinity_propagation"]["damping"]["steps"] = 99
    assert section_defaults("strata")["affinity_propagation"]["damping"]["steps"] == 10
