"""Settings of a stage: what decides its results, and how a change of them is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from inspect import signature
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from planned import LABEL, experiment, planned

from neurostrata.cohort.study import Study
from neurostrata.controller import reasons
from neurostrata.core.config import fill_config, section_defaults
from neurostrata.core.settings import settings_text
from neurostrata.planning.changes import _leaves, _words, changed_files, changed_values, changes, config_key
from neurostrata.planning.options import LEARNED_FROM, POSITIVE, TOGETHER, same_results, used_options
from neurostrata.planning.parameters import _SETTINGS, stage_settings
from neurostrata.stages import STAGES

REGISTRATION = section_defaults("registration") | {"engine": "ants"}


def text(stage: str, **values: Any) -> str:
    return settings_text(stage, 1, values)


def test_an_option_of_another_engine_is_no_difference() -> None:
    recorded = text("register", **REGISTRATION)
    other = {**REGISTRATION, "torch": {**REGISTRATION["torch"], "step_vox": 0.5}}
    assert same_results("register", recorded, text("register", **used_options("register", other)))
    own = {**REGISTRATION, "ants": {**REGISTRATION["ants"], "cc_radius": 2}}
    assert not same_results("register", recorded, text("register", **used_options("register", own)))
    version = json.loads(text("register", **REGISTRATION)) | {"version": 99}
    assert not same_results("register", recorded, json.dumps(version))


@pytest.mark.parametrize("recorded", ["", "{", "[]", "{}", '{"engine": "ants"}', '{"engine": {}}', "null"])
def test_settings_that_cannot_be_read_are_different(recorded: str) -> None:
    assert not same_results("register", recorded, text("register", **used_options("register", REGISTRATION)))


def test_settings_that_go_by_file_are_compared_by_what_stands_in_it(tmp_path: Path) -> None:
    whole = text("register", **REGISTRATION)
    (tmp_path / "whole.json").write_text(whole)
    assert same_results("register", whole, f"@{tmp_path / 'whole.json'}")
    (tmp_path / "other.json").write_text(text("register", **{**REGISTRATION, "balance": False}))
    assert not same_results("register", whole, f"@{tmp_path / 'other.json'}")
    assert not same_results("register", whole, f"@{tmp_path / 'gone.json'}")


def test_a_new_key_at_its_default_is_no_difference() -> None:
    config = {"cohort": {"sheet": "cohort.tsv"}, "template": {"iterations": 3}}
    recorded = text("provenance", **config)
    now = text("provenance", **fill_config(config))
    assert same_results("provenance", recorded, now)
    assert changes("provenance", recorded, now, {}) == []
    other = text("provenance", **fill_config({**config, "template": {"iterations": 4}}))
    assert changes("provenance", recorded, other, {}) == ["template.iterations: 3 -> 4"]


def test_a_key_of_the_template_that_is_new_at_its_default_is_no_difference() -> None:
    recorded = text("template_update", shape_step=1.0, sharpening=0, tolerance=0.01)
    now = text("template_update", shape_step=1.0, sharpening=0, tolerance=0.01, early_people=None)
    assert same_results("template_update", recorded, now)
    part = text("template_update", shape_step=1.0, sharpening=0, early_people=3)
    assert not same_results("template_update", recorded, part)
    # only the last iteration reads the tolerance then
    other = text("template_update", shape_step=1.0, sharpening=0, tolerance=0.5, early_people=3)
    assert same_results("template_update", part, other)


def test_the_record_of_who_takes_part_is_compared_by_the_people() -> None:
    before = text("list_people", config={"modalities": {"pet": {}, "pet2": {}}}, digest="a")
    after = text("list_people", config={"modalities": {"pet2": {}}}, digest="a")
    assert same_results("list_people", before, after)
    assert not same_results("list_people", before, after.replace('"a"', '"b"'))


def test_files_are_compared_where_both_are_known() -> None:
    none, one = text("prepare_t1w", n4={"enabled": False}), {"t1w": 10}
    before = text("prepare_t1w", n4={"enabled": False}, files=one)
    assert same_results("prepare_t1w", none, before)
    assert same_results("prepare_t1w", before, none)
    # a mask that has come is another input, which Snakemake notices
    masked = text("prepare_t1w", n4={"enabled": False}, files={"t1w": 10, "t1w_mask": 5})
    assert same_results("prepare_t1w", before, masked)
    after = text("prepare_t1w", n4={"enabled": False}, files={"t1w": 1234, "t1w_mask": 5})
    assert not same_results("prepare_t1w", before, after)
    assert changes("prepare_t1w", before, after, {}) == []  # none of a setting
    assert changed_values("prepare_t1w", before, after, {}) == {}
    how = "is another file than before (10 -> 1,234 bytes)"
    assert changed_files("prepare_t1w", before, after) == {"t1w": how}
    gradients = [text("fit_tensor", files={"dwi": 7, "bval": digest}) for digest in "ab"]
    assert changed_files("fit_tensor", *gradients) == {"bval": "has other content than before"}


@pytest.mark.parametrize(
    ("stage", "before", "after", "names", "line"),
    [
        (
            "cluster",
            {"finder": "affinity_propagation", "options": {"damping": {"min": 0.5, "steps": 10}}},
            {"finder": "affinity_propagation", "options": {"damping": {"min": 0.5, "steps": 5}}},
            {"finder": "affinity_propagation", "experiment": "fusion"},
            "strata.affinity_propagation.damping.steps: 10 -> 5",
        ),
        (
            "template_update",
            {"tolerance": 0.01},
            {"tolerance": None},
            {},
            "template.tolerance: 0.01 -> null",
        ),
        (
            "template_update",
            {"shape_step": 1.0, "tolerance": 0.01},
            {"shape_step": 1.0, "early_people": 3},
            {"iteration": "1"},
            "template.early_people: null -> 3",
        ),
        (
            "embed",
            {"experiment": {"name": "fusion", "options": {"dropout": 0.1}}},
            {"experiment": {"name": "fusion", "options": {"dropout": 0.2}}},
            {"experiment": "fusion"},
            "experiments[fusion].options.dropout: 0.1 -> 0.2",
        ),
        (
            "map_to_template",
            {"modality": {"from": "tissue", "smooth_fwhm_mm": 0}},
            {"modality": {"from": "tissue", "smooth_fwhm_mm": 6}},
            {"modality": "gmv"},
            "modalities.gmv.smooth_fwhm_mm: 0 -> 6",
        ),
        (
            "check_cohort",
            {"config": {"diffusion": {"b0_max": 50}}},
            {"config": {"diffusion": {"b0_max": 60}}},
            {},
            "diffusion.b0_max: 50 -> 60",
        ),
        (
            "report",
            {"experiments": [{"name": "a", "seed": 1}]},
            {"experiments": [{"name": "a", "seed": 2}]},
            {},
            "experiments[a].seed: 1 -> 2",
        ),
        (
            "register",
            {"engine": "ants", "ants": {"a": 1}},
            {"engine": "greedy", "greedy": {"b": 2}},
            {},
            None,
        ),
    ],
)
def test_a_change_is_said_by_the_configuration_s_key(
    stage: str, before: dict[str, Any], after: dict[str, Any], names: dict[str, str], line: str | None
) -> None:
    expected = [line or 'registration.engine: "ants" -> "greedy"']
    assert changes(stage, json.dumps(before), json.dumps(after), names) == expected


def test_digests_and_versions_are_said_in_words() -> None:
    def said(stage: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
        return changes(stage, json.dumps(before), json.dumps(after), {"experiment": "e"})

    assert (
        "cohort sheet"
        in said("check_cohort", {"config": {}, "digest": "a"}, {"config": {}, "digest": "b"})[0]
    )
    assert "phenotype tables" in said("describe_people", {"tables": ["a"]}, {"tables": ["b"]})[0]
    assert said("cluster", {"version": 1}, {"version": 2}) == [
        "this release makes other results in cluster (version 1 -> 2)"
    ]
    together = {TOGETHER: "together"}
    assert said("adjust_codes", {"adjust": {}}, {"adjust": {}, **together}) == [
        "this release removes sites and columns together"
    ]
    assert said("predict", {"covariates": []}, {"covariates": [], POSITIVE: "AD", **together}) == [
        "this release measures the second class as listed",
        "this release removes sites and columns together",
    ]
    assert said("predict", {"covariates": []}, {"covariates": ["age"], **together}) == [
        'experiments[e].analyses.covariates: [] -> ["age"]'
    ]
    own = {"model": "latent_synthesis", "options": {"fusion": "max"}, "training": {}}
    model = {"experiment": own, "training": {}}
    with_offset = {**model, "experiment": own | {"options": {"fusion": "max", "output_offset": "mean"}}}
    learned = {LEARNED_FROM: "learned from"}
    assert said("train", with_offset, with_offset | learned) == [
        "the mean image is of those who are learned from, not of those held out"
    ]
    assert said("train", model, with_offset | learned) == [
        'experiments[e].options.output_offset: (nothing) -> "mean"'
    ]
    assert said("align_diffusion", {"seed": 1}, {"seed": 2}) == ["imaging_seed: 1 -> 2"]
    assert said("jacobian", {"seed": 1}, {"seed": 2}) == []  # which draws no numbers
    assert said("project", {"seed": 1}, {"seed": 2}) == ["seed: 1 -> 2"]


#: What the settings of each stage are about.
JOBS: dict[str, list[str]] = {
    "experiment": ["codes", "classes"],
    "modality": ["jac", "ndi"],
    "declared": ["rsn"],
    "group": ["people", "modality-ndi", "experiment-codes", "targets-classes", "characteristics"],
    "finder": ["mixture", "affinity_propagation"],
    "codes": ["raw", "adjusted"],
    "subject": ["01", "02"],
    "iteration": ["1"],
}


def jobs(study: Study) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """Yield stage, wildcards and settings of jobs of every kind."""
    for stage in STAGES:
        parameters = signature(_SETTINGS.get(stage, lambda study: {})).parameters
        chosen = {name: JOBS[name] for name in parameters if name in JOBS}
        for names in product(*chosen.values()):
            of = dict(zip(chosen, names))
            yield stage, of, json.loads(stage_settings(study, stage, **of))


def said_of(before: Study, after: Study) -> dict[str, set[str]]:
    """Stage -> the lines about its jobs, where they differ between two studies."""
    pairs = zip(jobs(before), jobs(after), strict=True)
    found: dict[str, set[str]] = {}
    for (stage, of, old), (_, _, new) in pairs:
        found.setdefault(stage, set()).update(changes(stage, json.dumps(old), json.dumps(new), of))
    return {stage: lines for stage, lines in found.items() if lines}


def experiments(**first: Any) -> dict[str, Any]:
    """Experiments of which the first has further keys."""
    classes = experiment("classes", "jac", "ndi", model="siamese_attention", **LABEL)
    return {"experiments": [experiment("codes", "jac", "ndi", model="shared_vae", **first), classes]}


def test_every_key_that_may_be_named_is_in_the_configuration(tmp_path: Path) -> None:
    study = planned(output=str(tmp_path), regions={"image": "atlas.nii", "space": "MNI152"}, **experiments())
    config = {**study.config, "experiments": study.experiments}
    for stage, of, values in jobs(study):
        for place in _leaves(values):
            # of the stage, of its wildcards, of files, or said in other words
            if place in ("seed", "version", "finder") or _words(stage, place) or place.startswith("files."):
                continue
            at: Any = config
            for part in re.findall(r"[^.\[\]]+", config_key(stage, place, of).removesuffix(": names")):
                assert part in at, (stage, place)
                at = at[part]


def test_a_person_who_has_less_than_before_is_no_change_of_the_configuration() -> None:
    study = planned()
    less = [{**row, "dwi": "" if subject == "01" else row["dwi"]} for subject, row in study.rows.items()]
    assert said_of(study, Study(study.config, less)) == {
        "check_cohort": {"the cohort sheet or the quality decisions have changed"},
        "list_people": {"who takes part in what, or what the cohort sheet says of people, has changed"},
        "measure_quality": {"other images of people are used"},
    }


def test_people_who_make_curves_possible_are_no_change_of_the_configuration() -> None:
    """Nor of what is recommended, of which a run would ask."""
    few, several = (planned(strata={"adjust": {"columns": ["age"]}}) for _ in range(2))
    several.rows.update({f"further{number}": several.rows["01"] for number in range(300)})
    before, after = (stage_settings(study, "adjust_codes") for study in (few, several))
    assert changes("adjust_codes", before, after, {}) == [
        "the number of people has come to allow curves, or no longer does"
    ]
    assert changed_values("adjust_codes", before, after, {}) == {}
    former = stage_settings(planned(strata={"adjust": {"columns": ["age"], "splines": 1}}), "adjust_codes")
    assert changed_values("adjust_codes", former, after, {}) == {"strata.adjust.splines": (1, "auto")}
    other = stage_settings(planned(strata={"adjust": {"columns": ["age"], "splines": 4}}), "adjust_codes")
    assert changes("adjust_codes", before, other, {}) == ['strata.adjust.splines: "auto" -> 4']


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({}, {"anatomy": {"n4": {"enabled": False}}}, {"prepare_t1w": {"anatomy.n4.enabled: true -> false"}}),
        ({}, {"phenotypes": {"method": "variables"}}, {
            "factor_phenotypes": {'phenotypes.method: "pca_varimax" -> "variables"'}
        }),
        ({}, {"synthesis": {"baselines": ["mean_image"]}}, {
            "synthesise": {
                'synthesis.baselines: ["mean_image", "linear_regression", "random_forest", "pos... -> ["mean_image"]'
            },
        }),
        ({}, {"regions": {"image": "atlas.nii"}}, {"grid_regions": {"regions.image has come or gone"}}),
        ({}, {"diffusion": {"noddi": {"d_iso": 0.002}}}, {
            stage: {"diffusion.noddi.d_iso: 0.003 -> 0.002"} for stage in ("fit_noddi", "measure_quality")
        }),
        ({}, {"diffusion": {"noddi": {"engine": "amico"}}}, {
            "fit_noddi": {'diffusion.noddi.engine: "maximum_likelihood" -> "amico"'},
            "check_cohort": {"whether deviations of the gradients are read has changed"},
        }),
        ({}, {"strata": {"adjust": {"columns": ["age", "education"]}}}, {
            **{
                stage: {'strata.adjust.columns: "auto" -> ["age", "education"]'}
                for stage in ("list_people", "describe_people", "adjust_codes", "stability")
            },
            "compare_adjusted": {"strata.adjust names other columns"},
            "continuous": {
                'strata.adjust.columns: "auto" -> ["age", "education"]', "strata.adjust names other columns"
            },
        }),
        ({}, experiments(training={"epochs": 3}), {"train": {"experiments[codes].training.epochs: (nothing) -> 3"}}),
        ({"training": {"epochs": 3}}, {"training": {"epochs": 5}}, {"train": {"training.epochs: 3 -> 5"}}),
        ({}, experiments(analyses={"prediction": ["sex"], "harmonise": {}}), {
            "predict": {
                'experiments[codes].analyses.prediction: [] -> ["sex"]',
                "experiments[codes].analyses.harmonise.keep: (nothing) -> []",
                'experiments[codes].analyses.harmonise.sites: (nothing) -> "site"',
            },
        }),
    ],
)  # fmt: skip
def test_what_came_or_went_with_a_choice_is_not_said_by_itself(
    before: dict[str, Any], after: dict[str, Any], lines: dict[str, set[str]]
) -> None:
    found = said_of(*(planned(**experiments() | sections) for sections in (before, after)))
    whole = {stage: found.pop(stage) for stage in ("provenance", "report")}
    assert found == lines
    assert not any("(nothing)" in line and "{}" in line for line in set().union(*whole.values()))


def test_options_that_decide_who_takes_part_are_not_said_one_by_one() -> None:
    """They are among the settings of lists of people only where an experiment includes those who lack a modality."""
    found = said_of(planned(**experiments()), planned(**experiments(missing="include")))
    assert found["check_cohort"] == found["list_people"] == found["train"] == {
        'experiments[codes].missing: (nothing) -> "include"'
    }  # fmt: skip


def test_a_plan_that_cannot_be_read_does_not_end_the_run(caplog: pytest.LogCaptureFixture) -> None:
    reasons.say_changes(SimpleNamespace())


def test_a_snakemake_that_is_not_known_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import snakemake.persistence

    monkeypatch.delattr(snakemake.persistence.PersistenceBase, "params_changed")
    reasons.explain_reruns(str)
    assert "this release of Snakemake is unknown" in capsys.readouterr().err
