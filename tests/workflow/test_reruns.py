"""What is planned again after each kind of change: exactly what depends on it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_study import REPOSITORY

REPORT = {"report": 1}
CLOSING = {"provenance": 1, **REPORT}
COMPARISONS = {"repartition_strata": 1, "compare_strata": 1, "profile_strata": 1, **CLOSING}
STRATA = {"cluster": 1, **COMPARISONS}
MODELS = {"train": 3, "embed": 1, "evaluate": 2, "summarise_experiment": 1, "project": 1, **STRATA}
FROM_MAPS = {"normalise": 1, **MODELS}
FROM_TEMPLATE = {
    "template_final": 1,
    "template_mask": 1,
    "grid_mask": 1,
    "register": 6,
    "jacobian": 6,
    "map_to_template": 6,
    "subject_page": 6,
    **FROM_MAPS,
}


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        both[key] = (
            merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
        )
    return both


def test_a_finished_study_that_was_moved_plans_nothing(rerun) -> None:
    assert rerun.planned() == {}


@pytest.mark.parametrize(
    ("key", "value", "jobs"),
    [
        ("report.title", "Another title", REPORT),
        ("strata.clustering.damping.steps", 5, STRATA),
        ("strata.clustering.preference.steps", 12, STRATA),
        ("strata.repartition.draws", 300, {k: v for k, v in COMPARISONS.items() if k != "profile_strata"}),
        ("strata.tsne.perplexity", 5, {"project": 1, **CLOSING}),
        ("phenotypes.missing", "median", {"factor_phenotypes": 1, **COMPARISONS}),
        ("volumes.percentiles", [1, 99], FROM_MAPS),
        ("volumes.downsample", 2, {"map_to_template": 6, "subject_page": 6, "grid_mask": 1, **FROM_MAPS}),
        ("template.iterations", 3, {"template_register": 6, "template_update": 1, **FROM_TEMPLATE}),
        (
            "registration.greedy.step_vox",
            0.9,
            {"template_register": 12, "template_update": 2, **FROM_TEMPLATE},
        ),
    ],
)
def test_a_changed_setting(rerun, key: str, value: Any, jobs: dict[str, int]) -> None:
    path = rerun.folder / "config" / "config.yaml"
    path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), nested(key, value))))
    assert rerun.planned() == jobs


def test_a_comment_in_the_configuration_plans_nothing(rerun) -> None:
    path = rerun.folder / "config" / "config.yaml"
    path.write_text("# a comment\n" + path.read_text())
    assert rerun.planned() == {}


def test_threads_and_memory_plan_nothing(rerun) -> None:
    assert rerun.planned("--set-threads", "register=7", "--set-resources", "register:mem_mb=9000") == {}


def test_a_note_plans_nothing(rerun) -> None:
    rerun.edit_sheet(lambda cells: cells[1].__setitem__(6, "was late"))
    assert rerun.planned() == {}


def test_sheets_that_moved_replan_no_result(rerun) -> None:
    for name in ("qc", "cohort"):
        (rerun.folder / f"{name}.tsv").rename(rerun.folder / f"our-{name}.tsv")
    rerun.configure(qc="our-qc.tsv", cohort={"sheet": "our-cohort.tsv"})
    assert rerun.planned() == CLOSING  # they record the configuration


def test_no_quality_sheet_is_as_good_as_an_empty_one(rerun) -> None:
    rerun.configure(qc=None)
    assert rerun.planned() == CLOSING


def test_a_phenotype_value(rerun) -> None:
    rerun.edit_sheet(lambda cells: cells[2].__setitem__(3, "0.5"), "phenotypes.tsv")
    assert rerun.planned() == {"factor_phenotypes": 1, **COMPARISONS}


def test_a_family(rerun) -> None:
    rerun.edit_sheet(lambda cells: cells[1].__setitem__(4, "f2"))
    expected = {"check_cohort": 1, "list_people": 2, "split": 1, **MODELS}
    assert rerun.planned() == expected


def test_a_person_excluded(rerun) -> None:
    rerun.edit_sheet(lambda cells: cells.append(["03", "", "exclude", "motion"]), "qc.tsv")
    expected = {"check_cohort": 1, "list_people": 4, "split": 1, "factor_phenotypes": 1, **FROM_MAPS}
    assert rerun.planned() == expected


@pytest.mark.parametrize("template", ["no", "yes"])
def test_a_person_added(rerun, template: str) -> None:
    images = rerun.folder / "images"
    shutil.copy(images / "sub-01_T1w.nii.gz", images / "sub-07_T1w.nii.gz")
    rerun.edit_sheet(
        lambda cells: cells.append(["07", "images/sub-07_T1w.nii.gz", template, "a", "f7", "", ""])
    )
    everybody = {"check_cohort": 1, "list_people": 4, "split": 1, "factor_phenotypes": 1, **FROM_MAPS}
    one = {"prepare_t1w": 1, "register": 1, "jacobian": 1, "map_to_template": 1, "subject_page": 1}
    if template == "yes":
        rebuilt = {key: 7 if number == 6 else number for key, number in FROM_TEMPLATE.items()}
        building = {"template_start": 1, "template_register": 14, "template_update": 2}
        assert rerun.planned() == {**everybody, **one, **building, **rebuilt, "list_people": 5}
    else:
        assert rerun.planned() == {**everybody, **one}


def test_the_report_of_a_partial_study_runs_nothing_else(rerun) -> None:
    for part in ("experiments", "phenotypes", "report", "provenance.json"):
        path = rerun.folder / "results" / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    partial = ("report", "--configfile", str(REPOSITORY / "config" / "partial.yaml"))
    assert rerun.planned(*partial) == {"report": 1}
    run = rerun.snakemake(*partial)
    assert run.returncode == 0, run.stderr[-3000:]
    page = (rerun.folder / "results/report/index.html").read_text()
    assert "This experiment is configured and was not run." in page
    assert "provenance.json was not made" in page
    assert rerun.planned(*partial) == {}
    (rerun.folder / "results" / "template" / "convergence.tsv").touch()
    assert rerun.planned(*partial) == {"report": 1}
    assert rerun.planned("report")["train"] == 3  # the whole report again makes what is missing


def test_results_have_the_public_names(finished) -> None:
    results = finished.folder / "results"
    for name in (
        "cohort/subjects.tsv",
        "cohort/exclusions.tsv",
        "template/template.nii.gz",
        "template/mask.nii.gz",
        "template/convergence.tsv",
        "template/iter-2/template.nii.gz",
        "derivatives/sub-01/anat/sub-01_space-study_desc-nonlinear_jacobian.nii.gz",
        "derivatives/sub-01/anat/sub-01_space-study_desc-nonlinear_jacobian.json",
        "volumes/jac.npy",
        "volumes/jac.json",
        "phenotypes/scores.tsv",
        "phenotypes/descriptives.tsv",
        "experiments/jac/splits.tsv",
        "experiments/jac/reconstruction.tsv",
        "experiments/jac/embeddings.tsv",
        "experiments/jac/model",
        "experiments/jac/fold-0",
        "experiments/jac/strata/grid.tsv",
        "experiments/jac/strata/clusters.tsv",
        "experiments/jac/strata/comparisons.tsv",
        "experiments/jac/strata/profiles.tsv",
        "experiments/jac/strata/tsne.tsv",
        "report/index.html",
        "provenance.json",
    ):
        assert (results / name).exists(), name


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (
            "reconstruction.tsv",
            "subject fold method modality mse normdiff abs_normdiff cnr_normdiff ssim psnr",
        ),
        ("strata/grid.tsv", "damping preference converged n_iter n_clusters silhouette"),
        ("strata/clusters.tsv", "subject cluster exemplar"),
        (
            "strata/comparisons.tsv",
            "factor h p q eta2 eta2_low eta2_high epsilon2 p_repartition q_repartition",
        ),
    ],
)
def test_tables_have_the_public_columns(finished, name: str, columns: str) -> None:
    header = (finished.folder / "results/experiments/jac" / name).read_text().splitlines()[0].split("\t")
    assert header[: len(columns.split())] == columns.split()


def test_temporary_images_are_gone(finished) -> None:
    assert not list((finished.folder / "results/template").glob("iter-*/sub-*"))
    assert not [path for path in Path(finished.folder / "results").rglob(".*-*") if path.is_file()]
