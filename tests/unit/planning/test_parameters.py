"""Every stage tracks the sections that its record says, and exactly what decides its results."""

from __future__ import annotations

import hashlib
import json
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from planned import LABEL, experiment, planned

from neurostrata.cohort.study import Study
from neurostrata.planning import parameters
from neurostrata.planning.options import LEARNED_FROM, POSITIVE, TOGETHER, same_results
from neurostrata.planning.parameters import parameter, stage_settings
from neurostrata.planning.selection import group_selection
from neurostrata.stages import STAGES

JOB = SimpleNamespace(
    experiment="classes", modality="ndi", declared="rsn", group="people", finder="mixture", codes="adjusted", subject="01",
    iteration="1",
)  # fmt: skip


class Looked(dict[str, Any]):
    """A configuration that knows which of its sections were looked at."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.at: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.at.add(key)
        return super().__getitem__(key)


def settings(study: Study, stage: str, **names: str) -> dict[str, Any]:
    return json.loads(stage_settings(study, stage, **names))


def sections_read(study: Study, stage: str) -> set[str]:
    """The sections of the configuration that a stage's settings are taken from."""
    looked = Looked(study.config)
    study.config = looked
    made = parameter(study, stage)
    if callable(made):
        for group in ("modality-ndi", "targets-classes", "covariates-classes", "characteristics"):
            made(SimpleNamespace(**{**vars(JOB), "group": group}))
    return looked.at


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_reads_the_sections_of_its_record(stage: str, tmp_path: Path) -> None:
    atlas = {"image": "atlas.nii", "space": "MNI152"}
    of_all = {"output": str(tmp_path), "strata": {"adjust": {"columns": ["age"]}}}
    read = sections_read(planned(**of_all), stage) | sections_read(planned(**of_all, regions=atlas), stage)
    recorded = set(STAGES[stage].sections)
    if recorded == {"*"}:
        study = planned(**of_all)
        assert settings(study, stage).keys() > set(study.config) - {"container", "report"}
        return
    # experiments and modalities are looked up by name in the study itself
    by_name = {"experiments", "modalities"}
    assert read - by_name - {"seed", "imaging_seed", "output"} == recorded - by_name


def test_text_or_function_of_the_wildcards() -> None:
    study = planned()
    assert json.loads(parameter(study, "register"))["engine"] == "torch"
    assert json.loads(parameter(study, "dual_regression")(JOB))["components"] == 2
    assert json.loads(parameter(study, "stability")(JOB))["finder"] == "mixture"


def test_files_are_read_only_for_the_jobs_whose_settings_are_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every job on another machine parses the workflow: it must not read a table of 40,000 people for that."""
    table = tmp_path / "phenotypes.tsv"
    table.write_text("subject\tage\tv\n01\t30\t1\n")
    study = planned(phenotypes={"tables": [str(table)]}, output=str(tmp_path), report={"partial": True})
    read: list[str] = []
    for name in ("_digest", "characteristics_in_tables", "results_state"):
        found = getattr(parameters, name)
        monkeypatch.setattr(
            parameters, name, lambda of, found=found, name=name: (read.append(name), found(of))[1]
        )
    made = {stage: parameter(study, stage) for stage in STAGES}
    assert not read
    for stage in ("factor_phenotypes", "factor_congruence", "predict", "describe_people", "report"):
        json.loads(made[stage](JOB))
        assert read
        read.clear()


def test_long_settings_go_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neurostrata.core.settings.LONGEST", 10)
    text = parameter(planned(), "register")
    assert text.startswith(f"@{parameters.LONG_SETTINGS}/")
    assert json.loads((tmp_path / text[1:]).read_text())["engine"] == "torch"


def test_seeds() -> None:
    own = [experiment("a", "jac", seed=7), experiment("b", "jac")]
    study = planned(seed=1, imaging_seed=2, experiments=own)
    assert settings(study, "train", experiment="a")["seed"] == 7
    assert settings(study, "train", experiment="b")["seed"] == 1
    assert settings(study, "embed", experiment="a")["seed"] == 1
    assert settings(study, "register")["seed"] == 2


def test_keys_that_decide_who_takes_part_are_tracked_where_they_are_unusual() -> None:
    study = planned()
    assert settings(study, "split", experiment="codes")["experiment"].keys() == {"name", "validation"}
    assert settings(study, "split", experiment="classes")["experiment"]["label"] == LABEL["label"]
    assert settings(study, "split", experiment="linear")["experiment"]["missing"] == "include"
    assert "options" not in settings(study, "split", experiment="linear")["experiment"]
    assert "options" in settings(study, "embed", experiment="linear")["experiment"]


@pytest.mark.parametrize(
    ("adjust", "analyses", "marked"),
    [
        ({"sites": None, "columns": "auto"}, {"covariates": ["age"]}, False),
        ({"sites": "site", "columns": []}, {"harmonise": {"keep": ["age"]}, "covariates": ["age"]}, False),
        ({"sites": "site", "columns": "auto"}, {"harmonise": {}, "covariates": ["age"]}, True),
    ],
)
def test_only_what_had_sites_and_columns_removed_one_after_the_other_is_made_again(
    adjust: dict[str, Any], analyses: dict[str, Any], marked: bool
) -> None:
    predicting = experiment("e", "jac", analyses={"prediction": ["iq"], **analyses})
    study = planned(strata={"adjust": adjust}, experiments=[predicting])
    assert (TOGETHER in settings(study, "adjust_codes")) == marked
    assert (TOGETHER in settings(study, "predict", experiment="e")) == marked


@pytest.mark.parametrize(("classes", "added"), [(["a", "b"], {}), (["b", "a"], {POSITIVE: "a"})])
def test_only_predictions_of_which_the_other_class_was_measured_are_made_again(
    classes: list[str], added: dict[str, str]
) -> None:
    label = {"column": "diagnosis", "classes": classes}
    study = planned(experiments=[experiment("e", "jac", model="siamese_attention", label=label)])
    found = settings(study, "predict", experiment="e")
    assert {key: found[key] for key in found if key == POSITIVE} == added


@pytest.mark.parametrize(
    ("model", "options", "marked"),
    [
        ("latent_synthesis", {"output_offset": "mean"}, True),
        ("latent_synthesis", {}, False),
        ("shared_vae", {"output_offset": "mean"}, False),
    ],
)
def test_only_models_whose_offset_was_also_of_those_held_out_are_trained_again(
    model: str, options: dict[str, Any], marked: bool
) -> None:
    study = planned(experiments=[experiment("e", "jac", "fa", model=model, options=options)])
    assert (LEARNED_FROM in settings(study, "train", experiment="e")) == marked
    assert LEARNED_FROM not in settings(study, "embed", experiment="e")


def test_keys_of_a_later_release_are_settings_where_they_are_not_at_their_defaults() -> None:
    own = {"options": {"validation_stratify_by": ["site"]}, "scaling": "maximum"}
    training = {"adam_epsilon": 1e-8, "modality_losses": "sum"}
    experiments = [
        experiment("plain", "jac", model="shared_vae"),
        experiment("own", "jac", model="shared_vae", **own),
        experiment("back", "jac", model="shared_vae", training={"adam_epsilon": 1e-7}),
    ]
    study = planned(experiments=experiments)
    for stage in ("train", "embed", "evaluate"):
        found = settings(study, stage, experiment="plain")["experiment"]
        assert "scaling" not in found
        assert "validation_stratify_by" not in found["options"]
        changed = settings(study, stage, experiment="own")["experiment"]
        assert changed["options"]["validation_stratify_by"] == ["site"]
        assert ("scaling" in changed) == (stage == "train")  # what follows reads it beside the model
    assert not training.keys() & settings(study, "train", experiment="plain")["training"].keys()
    section = planned(experiments=experiments, training=training)
    assert settings(section, "train", experiment="plain")["training"].items() >= training.items()
    back = settings(section, "train", experiment="back")
    assert "adam_epsilon" not in back["training"] | back["experiment"]["training"]  # at its default again


def test_an_update_of_the_template_has_a_number_of_people_where_it_uses_a_part_of_them() -> None:
    def of(iteration: int, **template: Any) -> dict[str, Any]:
        return settings(
            planned(6, template={"iterations": 3, **template}), "template_update", iteration=str(iteration)
        )

    usual = of(1)
    assert "early_people" not in usual  # as in the release without the key
    assert usual["tolerance"] is None
    early = of(1, early_people=3)
    assert early["early_people"] == 3
    assert "tolerance" not in early
    assert of(2, early_people=3) == early
    assert of(3, early_people=3) == usual
    assert of(1, early_people=6) == of(1, early_people=60) == usual
    assert of(3, early_people=3, iterations=4) == early  # it was the last


def test_quality_depends_on_what_the_person_has() -> None:
    study = planned()
    subject = study.people()[0]
    found = settings(study, "measure_quality", subject=subject)
    assert set(found["modalities"]) == set(study.modalities_of(subject))
    assert {"b0_max", "tensor_b_max", "shell_gap", "d_parallel", "d_iso"} == set(found["diffusion"])
    for row in study.rows.values():
        row["dwi"] = ""
    without = Study(study.config, list(study.rows.values()))
    found = settings(without, "measure_quality", subject=subject)
    assert "diffusion" not in found
    assert "ndi" not in found["modalities"]
    tensor = planned(experiments=[experiment("a", "jac", "fa")])
    assert "d_iso" not in settings(tensor, "measure_quality", subject=subject)["diffusion"]


def test_files_are_known_by_size_and_small_texts_by_content(tmp_path: Path) -> None:
    study = planned()
    row = study.rows["01"]
    for column, content in {"t1w": "image", "dwi": "diffusion", "bval": "0 1000", "pet": "abc"}.items():
        (tmp_path / column).write_text(content)
        row[column] = str(tmp_path / column)
    assert settings(study, "prepare_t1w", subject="01")["files"] == {"t1w": 5}
    digest = hashlib.sha256(b"0 1000").hexdigest()
    # what is not there, the check before the plan reports
    assert settings(study, "fit_tensor", subject="01")["files"] == {"dwi": 9, "bval": digest}
    assert settings(study, "measure_quality", subject="01")["files"] == {"raw": 5, "dwi": 9, "bval": digest}
    assert settings(study, "map_to_template", subject="01", modality="pet")["files"] == {"image": 3}
    assert "files" not in settings(study, "map_to_template", subject="01", modality="jac")
    assert "files" not in settings(study, "prepare_t1w", subject="02")


def test_baselines_have_as_many_components_as_a_part_of_the_codes() -> None:
    study = planned()
    size = study.experiments["codes"]["options"]["latent_size"]
    assert settings(study, "baselines", experiment="codes")["components"] == size
    assert "components" not in settings(study, "baselines", experiment="classes")


def test_what_the_codes_are_adjusted_by_is_tracked_where_they_are_adjusted() -> None:
    study = planned(strata={"adjust": {"columns": ["age"]}})
    adjusted = settings(study, "stability", finder="mixture", codes="adjusted")
    assert adjusted["adjust"] == {"columns": ["age"], "sites": None, "splines": "auto"}
    assert "adjust" not in settings(study, "stability", finder="mixture", codes="raw")
    assert "adjust" in settings(study, "continuous")
    assert "adjust" not in settings(planned(strata={"adjust": {"columns": []}}), "continuous")


@pytest.mark.parametrize(
    ("people", "columns", "splines", "as_before"),
    [
        *((299, ["age"], "auto", True), (300, ["age"], "auto", False), (300, [], "auto", True)),
        *((299, ["age"], 4, False), (300, ["age"], 1, True)),
    ],
)
def test_codes_of_few_people_have_no_curves_and_are_as_they_were(
    people: int, columns: list[str], splines: object, as_before: bool
) -> None:
    """Nor have codes that only sites are removed from."""
    study = planned(strata={"adjust": {"columns": columns, "sites": "site", "splines": splines}})
    lines = planned(strata={"adjust": {"columns": columns, "sites": "site", "splines": 1}})
    study.rows.update({f"further{number}": study.rows["01"] for number in range(people - len(study.rows))})
    for stage, names in {
        "adjust_codes": {},
        "stability": {"finder": "mixture", "codes": "adjusted"},
    }.items():
        recorded, now = (stage_settings(each, stage, **names) for each in (lines, study))
        assert same_results(stage, recorded, now) == as_before, stage
        assert same_results(stage, now, recorded) == as_before, stage
        assert json.loads(now)["adjust"]["splines"] == splines


@pytest.mark.parametrize("stage", ["compare_adjusted", "continuous"])
def test_comparisons_and_predictions_are_made_again_for_curves(stage: str) -> None:
    lines = settings(planned(strata={"adjust": {"columns": [], "splines": 1}}), stage)
    assert "splines" not in lines
    for splines in ("auto", 4):
        curves = settings(planned(strata={"adjust": {"columns": [], "splines": splines}}), stage)
        assert curves == {**lines, "splines": splines}


def test_comparisons_are_made_again_only_for_columns_that_they_do_not_take_anyway() -> None:
    """Those of studies that name age and sex need not be."""
    usual = settings(planned(), "compare_adjusted")
    named = planned(strata={"adjust": {"columns": ["age", "head_size"], "sites": "site"}})
    assert settings(named, "compare_adjusted") == usual
    further = planned(strata={"adjust": {"columns": ["age", "education"], "sites": "scanner"}})
    assert settings(further, "compare_adjusted") == {**usual, "covariates": ["education", "scanner"]}
    assert settings(further, "continuous")["covariates"] == ["education", "scanner"]
    assert "covariates" not in settings(named, "continuous")


@pytest.mark.parametrize(
    ("regions", "keys"),
    [
        ({}, {"parcels", "volumes"}),
        ({"image": "a.nii", "space": "template"}, {"space"}),
        ({"image": "a.nii", "space": "MNI152"}, {"space", "registration"}),
    ],
)
def test_regions_depend_on_where_they_come_from(regions: dict[str, str], keys: set[str]) -> None:
    assert settings(planned(regions=regions), "grid_regions").keys() - {"seed", "version"} == keys


def test_an_atlas_is_known_by_its_size_and_its_names_by_their_content(tmp_path: Path) -> None:
    """Either may be replaced by a file with an older date."""
    (tmp_path / "atlas.nii").write_text("labels")
    (tmp_path / "names.tsv").write_text("1\thippocampus")
    image, names = str(tmp_path / "atlas.nii"), str(tmp_path / "names.tsv")
    digest = hashlib.sha256(b"1\thippocampus").hexdigest()
    found = settings(planned(regions={"image": image, "names": names}), "grid_regions")
    assert found["files"] == {"atlas": 6, "names": digest}
    assert settings(planned(regions={"image": image}), "grid_regions")["files"] == {"atlas": 6}


def test_what_an_array_holds_is_tracked_where_it_is_no_image() -> None:
    lesions = {"from": "column", "column": "pet", "space": "t1w", "kind": "mask"}
    study = planned(modalities=planned().config["modalities"] | {"lesions": lesions})
    assert settings(study, "normalise", modality="lesions")["kind"] == "mask"
    assert "kind" not in settings(study, "normalise", modality="pet")


def test_a_comparison_of_quality_depends_on_whom_somebody_has_decided_about() -> None:
    def decided(*rows: tuple[str, str, str]) -> list[list[str]]:
        keys = ("subject", "modality", "decision")
        decisions = [{**dict(zip(keys, row)), "reason": "seen"} for row in rows]
        base = planned()
        return settings(Study(base.config, base.rows.values(), decisions), "compare_quality")["decided"]

    assert decided() == []
    assert decided(("02", "ndi", "exclude"), ("03", "", "keep"), ("01", "", "exclude")) == [
        ["01", ""],
        ["02", "ndi"],
        ["03", ""],
    ]
    assert decided(("02", "", "unsure"), ("03", "", "exclude_template")) == []


def test_the_record_of_a_study_does_not_depend_on_how_its_report_looks() -> None:
    plain, titled = planned(), planned(report={"title": "Another"})
    assert stage_settings(plain, "provenance") == stage_settings(titled, "provenance")
    assert stage_settings(plain, "report") != stage_settings(titled, "report")


def test_a_partial_report_is_written_again_when_results_come(tmp_path: Path) -> None:
    study = planned(output=str(tmp_path), report={"partial": True})
    before = stage_settings(study, "report")
    assert stage_settings(study, "report") == before
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "headers.json").touch()  # of the check, no result
    assert stage_settings(study, "report") == before
    (tmp_path / "cohort" / "subjects.tsv").touch()
    assert stage_settings(study, "report") != before


def test_a_group_depends_on_what_selects_its_people() -> None:
    study = planned()
    scaled = planned(modalities=study.config["modalities"] | {"done": {
        "from": "column", "column": "pet", "space": "template", "intensity": "pet"}})  # fmt: skip
    assert group_selection(study, "modality-done") == group_selection(scaled, "modality-done")
    assert group_selection(study, "modality-rsn2")["modalities"].keys() == {"rsn"}
    found = group_selection(study, "targets-classes")
    assert found["modalities"].keys() == {"jac", "ndi"}
    assert found["experiments"][0]["analyses"] == {"prediction": []}
    assert "validation" not in found["experiments"][0]
    assert group_selection(study, "characteristics")["strata"]["adjust"].keys() == {"columns", "sites"}
    assert group_selection(study, "people") == {"modalities": {}}


def test_deviations_of_the_gradients_count_for_the_engine_that_reads_them() -> None:
    for engine, differs in (("amico", False), ("maximum_likelihood", True)):
        study = planned(diffusion={"noddi": {"engine": engine}})
        before = stage_settings(study, "check_cohort")
        study.rows["01"]["grad_dev"] = "deviations.nii"
        assert (stage_settings(study, "check_cohort") != before) == differs
        study.rows["01"]["note"] = "whatever stands in a note changes nothing"
        same = stage_settings(study, "check_cohort")
        study.rows["01"]["note"] = "another"
        assert stage_settings(study, "check_cohort") == same


def test_names_and_domains_are_read_by_the_report_alone() -> None:
    modalities = planned().config["modalities"]
    shown = {
        "modalities": modalities | {"jac": modalities["jac"] | {"domain": "structure"}},
        "phenotypes": {"factor_names": {"1": "memory"}},
    }
    before, after = planned(), planned(**shown)
    for stage in STAGES:
        names = [
            name
            for name in vars(JOB)
            if name in signature(parameters._SETTINGS.get(stage, parameters._nothing)).parameters
        ]
        chosen = {name: getattr(JOB, name) for name in names} | (
            {"modality": "jac"} if "modality" in names else {}
        )
        same = stage_settings(before, stage, **chosen) == stage_settings(after, stage, **chosen)
        assert same == (stage not in ("provenance", "report")), stage
