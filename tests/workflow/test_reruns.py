"""What is planned again after each kind of change: exactly what depends on it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_study import REPOSITORY, another_image

from neurostrata.planning.results import holds_results

REPORT = {"report": 1}
CLOSING = {"provenance": 1, **REPORT}
REPARTITIONED = {
    "repartition_strata": 1,
    "compare_strata": 1,
    "compare_adjusted": 1,
    "shuffle_links": 1,
    **CLOSING,
}
#: What is made of clusters and scores together.
JOINED = {"profile_strata": 1, "continuous": 1, **REPARTITIONED}
FROM_SCORES = {"split_half": 1, "factor_congruence": 1, **JOINED}
#: Of the raw and of the adjusted codes.
CLUSTERED = {"cluster": 2, "existence": 2}
#: What the report shows of the leading finder's clusters in the images.
MAPPED = {"map_strata": 1, "decode_strata": 1}
FROM_FINDER = {
    **CLUSTERED,
    **dict.fromkeys(("stability", "split_half", "composition", "strata_quality", "agreement"), 1),
    **MAPPED,
    **JOINED,
}

#: The adjusted codes alone.
FROM_PEOPLE = {
    "describe_people": 1,
    "adjust_codes": 1,
    "project": 1,
    **FROM_FINDER,
    **dict.fromkeys(CLUSTERED, 1),
}
#: What depends on who there is, beside the images.
EVERYBODY = {"describe_people": 1, "gather_quality": 1, "factor_phenotypes": 1, "factor_congruence": 1}
FROM_CODES = {"adjust_codes": 1, "project": 1, **FROM_FINDER}
MODELS = {
    "train": 3,
    "baselines": 1,
    "embed": 3,
    "evaluate": 2,
    "summarise_experiment": 1,
    "measure_codes": 1,
    "compare_quality": 1,
    **FROM_CODES,
}
FROM_MAPS = {"normalise": 1, **MODELS}
GRID = {"grid_mask": 1, "grid_regions": 1}
FROM_TEMPLATE = {
    "template_final": 1,
    "template_mask": 1,
    **GRID,
    "register": 6,
    "jacobian": 6,
    "map_to_template": 6,
    "subject_page": 6,
    "measure_quality": 6,
    "gather_quality": 1,
    "describe_people": 1,
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
        ("strata.mixture.starts", 6, FROM_FINDER),
        ("strata.affinity_propagation.preference.steps", 12, CLOSING),  # it is not among the finders
        ("strata.outliers", 0.01, {k: n for k, n in FROM_FINDER.items() if k != "split_half"}),
        ("strata.existence.draws", 29, {"existence": 2, **MAPPED, **CLOSING}),
        ("strata.stability.draws", 11, {"stability": 1, **CLOSING}),
        ("strata.split_half.splits", 3, {"split_half": 1, **CLOSING}),
        ("strata.shuffles", 30, {"shuffle_links": 1, **CLOSING}),
        ("strata.continuous.permutations", 29, {"continuous": 1, **CLOSING}),
        ("strata.adjust.splines", 3, {k: n for k, n in FROM_PEOPLE.items() if k != "describe_people"}),
        ("strata.repartition.draws", 300, {"composition": 1, "strata_quality": 1, **REPARTITIONED}),
        ("strata.tsne.perplexity", 5, {"project": 1, **CLOSING}),
        ("phenotypes.missing", "median", {"factor_phenotypes": 1, **FROM_SCORES}),
        ("volumes.percentiles", [1, 99], FROM_MAPS),
        (
            "volumes.downsample",
            2,
            {
                **{"map_to_template": 6, "subject_page": 6, "measure_quality": 6, "gather_quality": 1},
                **GRID,
                **FROM_MAPS,
            },
        ),
        ("quality.limit", 4.0, {"compare_quality": 1, **CLOSING}),
        ("quality.limits", {"snr": 9.0}, {"compare_quality": 1, **CLOSING}),
        ("quality.leave_out", ["snr"], {"compare_quality": 1, **CLOSING}),
        ("template.iterations", 3, {"template_register": 6, "template_update": 1, **FROM_TEMPLATE}),
        (
            "template.early_people",
            4,
            {"template_register": 10, "template_update": 2, **FROM_TEMPLATE},
        ),
        ("template.early_people", 6, CLOSING),  # everybody
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
    assert rerun.planned() == {"factor_phenotypes": 1, **FROM_SCORES}


def test_a_family(rerun) -> None:
    rerun.edit_sheet(lambda cells: cells[1].__setitem__(4, "f2"))
    expected = {
        "check_cohort": 1,
        "list_people": 3,
        "split": 1,
        "describe_people": 1,
        "factor_congruence": 1,
        **MODELS,
    }
    assert rerun.planned() == expected


def test_a_person_excluded(rerun) -> None:
    rerun.edit_sheet(lambda cells: cells.append(["03", "", "exclude", "motion"]), "qc.tsv")
    expected = {"check_cohort": 1, "list_people": 6, "split": 1, **EVERYBODY, **FROM_MAPS}
    assert rerun.planned() == expected


def test_a_person_kept(rerun) -> None:
    rerun.edit_sheet(lambda cells: cells.append(["03", "", "keep", "looked at"]), "qc.tsv")
    assert rerun.planned() == {"compare_quality": 1, **REPORT}


def test_raters_who_disagree_exclude_nobody(rerun) -> None:
    (rerun.folder / "qc.tsv").write_text(
        "subject\tmodality\tdecision\treason\trater\n03\t\tkeep\t\tann\n03\t\texclude\tmoved\tbob\n"
    )
    assert rerun.planned() == {"compare_raters": 1, **REPORT}
    assert "qc.tsv: subject 03: bob: exclude, ann: keep; not excluded until" in rerun.snakemake("-n").stderr


@pytest.mark.parametrize("template", ["no", "yes"])
def test_a_person_added(rerun, template: str) -> None:
    images = rerun.folder / "images"
    another_image(images / "sub-01_T1w.nii.gz", images / "sub-07_T1w.nii.gz")
    rerun.edit_sheet(
        lambda cells: cells.append(["07", "images/sub-07_T1w.nii.gz", template, "a", "f7", "", ""])
    )
    everybody = {"check_cohort": 1, "list_people": 6, "split": 1, **EVERYBODY, **FROM_MAPS}
    one = dict.fromkeys(
        ("prepare_t1w", "register", "jacobian", "map_to_template", "subject_page", "measure_quality"), 1
    )
    if template == "yes":
        rebuilt = {key: 7 if number == 6 else number for key, number in FROM_TEMPLATE.items()}
        building = {"template_start": 1, "template_register": 14, "template_update": 2}
        assert rerun.planned() == {**everybody, **one, **building, **rebuilt, "list_people": 7}
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
    report = rerun.folder / "results/report"
    assert "This experiment is configured and was not run." in (report / "experiment-jac.html").read_text()
    assert "provenance.json was not made" in (report / "methods.html").read_text()
    assert rerun.planned(*partial) == {}
    (rerun.folder / "results" / "template" / "convergence.tsv").touch()
    assert rerun.planned(*partial) == {"report": 1}
    assert rerun.planned("report")["train"] == 3  # the whole report again makes what is missing


def test_results_have_the_public_names(finished) -> None:
    results = finished.folder / "results"
    assert holds_results(results)
    for name in (
        "cohort/subjects.tsv",
        "cohort/exclusions.tsv",
        "template/template.nii.gz",
        "template/mask.nii.gz",
        "template/convergence.tsv",
        "template/iter-2/template.nii.gz",
        "derivatives/dataset_description.json",
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
        "cohort/characteristics.tsv",
        "phenotypes/congruence.tsv",
        "experiments/jac/strata/codes-adjusted.tsv",
        "experiments/jac/strata/tsne.tsv",
        "experiments/jac/strata/continuous.tsv",
        "experiments/jac/strata/continuous_added.tsv",
        "experiments/jac/strata/raw/mixture/clusters.tsv",
        "experiments/jac/strata/raw/mixture/existence.tsv",
        *(
            f"experiments/jac/strata/adjusted/mixture/{table}.tsv"
            for table in (
                "search",
                "clusters",
                "existence",
                "existence_null",
                "stability",
                "comparisons",
                "repartition",
                "profiles",
                "comparisons_adjusted",
                "composition",
                "composition_tests",
                "maps",
                "places",
                "decoded",
                "quality_tests",
                "split_half",
                "split_half_factors",
                "shuffles",
            )
        ),
        "experiments/jac/quality.tsv",
        "qc/people/sub-01.tsv",
        "qc/measures.tsv",
        "qc/deviations.tsv",
        "qc/suggested_exclusions.tsv",
        "qc/covariates.tsv",
        "strata/agreement.tsv",
        "strata/agreement_crosstabs.tsv",
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
        ("strata/adjusted/mixture/clusters.tsv", "subject cluster probability distance typicality fits"),
        (
            "strata/adjusted/mixture/existence.tsv",
            "finder n n_clusters statistic null null_mean null_95 p p_margins p_directions draws claimed",
        ),
        (
            "strata/adjusted/mixture/stability.tsv",
            "cluster n repeated repeats jaccard jaccard_low dissolved adjusted_rand",
        ),
        (
            "strata/adjusted/mixture/comparisons.tsv",
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
