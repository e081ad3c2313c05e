"""Every option of every engine, model and finder: in the settings of the stages that use it, and of no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from planned_study import make_planned_study
from settings_texts import Settings, differing, leaves, others, tracked
from small_study import StudyFolder

from neurostrata.core.config import finder_names, later_defaults, load_schema, model_names
from neurostrata.planning.options import LEARNED_FROM, training_keys

Read = Callable[..., Settings]
REGISTRATION = load_schema("registration")["properties"]
ENGINES = REGISTRATION["engine"]["enum"]
NODDI = load_schema("diffusion")["properties"]["noddi"]["properties"]
#: Engine of NODDI -> the options that it alone reads.
NODDI_OPTIONS = {"amico": {"lambda1", "lambda2"}, "maximum_likelihood": {"likelihood"}}
#: Stages of an experiment that get the model's options.
OF_MODELS = {"train", "embed", "evaluate", "robustness", "relevance", "explain", "synthesise", "generate"}
#: Stages that repeat the search for groups.
OF_FINDERS = {"cluster", "existence", "stability", "split_half"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return make_planned_study(tmp_path_factory.mktemp("options") / "study")


@pytest.fixture(scope="module")
def read(folder: StudyFolder) -> Read:
    """Settings of the planned study with some sections replaced."""
    plain = yaml.safe_load((folder.folder / "config" / "config.yaml").read_text())
    known: dict[str, Settings] = {}

    def settings(**sections: Any) -> Settings:
        key = json.dumps(sections)
        if key not in known:
            known[key] = tracked(folder, plain | sections)
        return known[key]

    return settings


def stages(found: dict[tuple[str, str], set[str]]) -> set[str]:
    return {stage for stage, _ in found}


@pytest.mark.parametrize("engine", ENGINES)
def test_options_of_the_registration(read: Read, engine: str) -> None:
    atlas = {"image": "atlas.nii.gz"}
    pet = {"pet": {"from": "column", "column": "t1w", "space": "mni"}}
    same = {"regions": atlas, "modalities": pet}
    before = read(registration={"engine": engine}, **same)
    changed = {name: others(REGISTRATION[name]) for name in ENGINES}
    unused = {name: options for name, options in changed.items() if name != engine}
    assert not differing(before, read(registration={"engine": engine, **unused}, **same))
    used = differing(before, read(registration={"engine": engine, engine: changed[engine]}, **same))
    expected = {f"{engine}.{key}" for key in REGISTRATION[engine]["properties"]}
    within = {"template_register", "template_mask", "template_to_mni", "grid_regions"}
    assert stages(used) == within | {"register"}
    assert used.pop(("register", "")) == expected
    assert all(places == {f"registration.{key}" for key in expected} for places in used.values())


@pytest.mark.parametrize("engine", NODDI["engine"]["enum"])
def test_options_of_noddi(read: Read, engine: str) -> None:
    before = read(diffusion={"noddi": {"engine": engine}})
    changed = others(load_schema("diffusion")["properties"]["noddi"])
    del changed["engine"]
    after = read(diffusion={"noddi": {"engine": engine, **changed}})
    expected = {f"noddi.{key}" for key in {"d_parallel", "d_iso"} | NODDI_OPTIONS[engine]}
    # the fit's error is measured with the diffusivities of the fit
    diffusivities = {"diffusion.d_parallel", "diffusion.d_iso"}
    assert differing(before, after) == {("fit_noddi", ""): expected, ("measure_quality", ""): diffusivities}


def experiment(model: str, **more: Any) -> dict[str, Any]:
    label = {"label": {"column": "family", "classes": ["f1", "f3"]}} if model == "siamese_attention" else {}
    validation = {"method": "kfold", "folds": 2}
    return (
        {"name": model, "model": model, "modalities": ["jac", "ndi"], "validation": validation} | label | more
    )


@pytest.mark.parametrize("model", model_names())
def test_options_of_a_model(read: Read, model: str) -> None:
    schema = load_schema(f"models/{model}")
    changed = others(schema)
    both = [experiment(model), experiment("pca", name="other")]
    before = read(experiments=both)
    after = read(experiments=[experiment(model, options=changed), both[1]])
    found = differing(before, after)
    expected = {f"experiment.options.{place}" for place in leaves(changed)}
    # one of its options is that of the linear baselines beside it
    assert found.pop(("baselines", model), {"components"}) == {"components"}
    # the centres of each clustering are decoded by the final model
    decoded = [found.pop(place) for place in list(found) if place[0] == "decode_strata"]
    assert decoded
    assert all(places == expected for places in decoded)
    # whose mean image the output offset is, beside the option
    assert (LEARNED_FROM in found["train", model]) == (model == "latent_synthesis")
    found["train", model].discard(LEARNED_FROM)
    assert found == {(stage, model): expected for stage in OF_MODELS}


@pytest.mark.parametrize("model", model_names())
def test_keys_of_the_training(read: Read, model: str) -> None:
    section = load_schema("training")
    every = set(section["properties"]) - {"preset"}
    keys = set(training_keys(model))
    refused = later_defaults(section).keys() - keys  # to ask for these is an error
    changed = {k: v for k, v in others(section).items() if k != "preset" and k not in refused}
    plain = read(experiments=[experiment(model)])
    expected = {f"training.{key}" for key in keys}
    with_preset = expected | (
        {"training.preset"} if keys else set()
    )  # with all keys given it decides nothing
    found = differing(plain, read(experiments=[experiment(model)], training=changed))
    assert found == ({("train", model): with_preset} if keys else {})
    # the preset decides what nothing else does
    preset = differing(plain, read(experiments=[experiment(model)], training={"preset": "fast"}))
    assert preset == ({("train", model): {"training.preset"}} if keys else {})
    # an experiment that says all itself reads nothing of the section
    own = experiment(model, training=changed)
    values = read(experiments=[own])
    opposite = {
        key: value for key, value in leaves(plain[("provenance", "")]["training"]).items() if key in every
    }
    assert not differing(values, read(experiments=[own], training={**opposite, "preset": "fast"}))


@pytest.mark.parametrize("finder", finder_names())
def test_options_of_a_finder(read: Read, finder: str) -> None:
    schema = load_schema("strata")["properties"]
    changed = {name: others(schema[name]) for name in finder_names()}
    before = read(strata={"finders": [finder]})
    unused = {name: options for name, options in changed.items() if name != finder}
    assert not differing(before, read(strata={"finders": [finder], **unused}))
    found = differing(before, read(strata={"finders": [finder], finder: changed[finder]}))
    expected = {f"options.{place}" for place in leaves(changed[finder])}
    assert stages(found) == OF_FINDERS
    assert all(places == expected for places in found.values())


def test_what_each_stage_of_the_template_reads(read: Read) -> None:
    schema = load_schema("template")
    changed = others(schema)
    del changed["iterations"]
    found = differing(read(), read(template={"iterations": 4, **changed}))
    assert found == {
        ("template_start", ""): {"resolution_mm", "margin_mm"},
        ("template_register", ""): {"coarse_iterations"},
        ("template_update", "1"): {"shape_step", "hold_pose", "sharpening", "early_people"},
        ("template_update", "4"): {"shape_step", "hold_pose", "sharpening", "tolerance"},
        ("template_final", ""): {"resolution_mm", "tolerance"},
    }


def test_a_part_of_the_people_in_early_iterations(read: Read) -> None:
    template = {"iterations": 4}
    fewer = read(template={**template, "early_people": 3})
    assert differing(read(template=template), fewer) == {("template_update", "1"): {"early_people"}}
    assert not differing(read(template=template), read(template={**template, "early_people": 8}))
    # whether the template has converged is only asked of the last
    judged = read(template={**template, "early_people": 3, "tolerance": 0.1})
    assert differing(fewer, judged) == {
        ("template_update", "4"): {"tolerance"},
        ("template_final", ""): {"tolerance"},
    }


def test_what_is_switched_off_is_not_read(read: Read) -> None:
    n4 = others(load_schema("anatomy")["properties"]["n4"])
    assert n4["enabled"] is False
    off = {"anatomy": {"n4": {"enabled": False}}}
    assert not differing(read(**off), read(anatomy={"n4": n4}))
    on = differing(read(), read(anatomy={"n4": {**n4, "enabled": True}}))
    assert on == {("prepare_t1w", ""): {f"n4.{key}" for key in n4 if key != "enabled"}}


def test_baselines_of_a_synthesis(read: Read) -> None:
    experiments = [experiment("latent_synthesis")]
    changed = {
        k: v for k, v in others(load_schema("synthesis")).items() if k in ("voxels", "trees", "hidden")
    }
    for baselines, keys in {
        ("mean_image",): set(),
        ("linear_regression",): {"voxels"},
        ("random_forest",): {"voxels", "trees"},
        ("position_mlp", "mean_image"): {"voxels", "hidden"},
    }.items():
        same = {"baselines": list(baselines)}
        before = read(experiments=experiments, synthesis=same)
        found = differing(before, read(experiments=experiments, synthesis={**same, **changed}))
        expected = {f"synthesis.{key}" for key in keys}
        assert found == ({("synthesise", "latent_synthesis"): expected} if keys else {})


def test_methods_of_phenotypes_folds_and_halves(read: Read) -> None:
    phenotypes = {"tables": ["phenotypes.tsv"], "exclude": ["age"]}
    rotated = {"n_factors": 2, "parallel_draws": 7}
    whole = read(phenotypes=phenotypes)
    found = differing(whole, read(phenotypes={**phenotypes, **rotated}))
    assert found == {("factor_phenotypes", ""): {"n_factors", "parallel_draws"}}
    single = {**phenotypes, "method": "variables"}
    assert not differing(read(phenotypes=single), read(phenotypes={**single, **rotated}))
    for method, read_key, other in (
        ("kfold", "folds", "test_fraction"),
        ("holdout", "test_fraction", "folds"),
    ):
        values = {"folds": 4, "test_fraction": 0.2}
        before = read(experiments=[experiment("pca", validation={"method": method})])
        for key, expected in (
            (other, {}),
            (read_key, {("split", "pca"): {f"experiment.validation.{read_key}"}}),
        ):
            validation = {"method": method, key: values[key]}
            after = read(experiments=[experiment("pca", validation=validation)])
            found = {key: places for key, places in differing(before, after).items() if key[0] == "split"}
            assert found == expected
    found = differing(whole, read(phenotypes=phenotypes, strata={"comparisons": {"power": 0.7}}))
    assert found == {("compare_strata", ""): {"comparisons.power"}}


def test_who_has_a_modality_is_asked_of_its_own_declaration(read: Read) -> None:
    image = {"from": "column", "space": "template"}
    modalities = {
        "pet": {**image, "column": "t1w"},
        "pet2": {**image, "column": "t1w"},
        "icn": {**image, "column": "dwi", "components": 13},
    }
    experiments = [experiment("pca", modalities=["pet2", "icn03"])]
    found = read(modalities=modalities, experiments=experiments)
    declared = {
        name: list(found["list_people", name]["config"]["modalities"])
        for name in ("modality-pet2", "modality-icn03", "people")
    }
    assert declared == {"modality-pet2": ["pet2"], "modality-icn03": ["icn"], "people": []}
