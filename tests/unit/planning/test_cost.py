"""The model of costs beside what studies took, and what it says to people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neurostrata.core.config import overlaid, read_yaml
from neurostrata.core.locations import REPOSITORY
from neurostrata.gate.cache import FileCache
from neurostrata.planning.cost import (
    Cost,
    Images,
    Sizes,
    Work,
    about,
    cost_of,
    disk_in_words,
    hours_in_words,
    images_of,
    imagined,
    in_words,
    jobs_of,
    measured,
    study_cost,
    total,
)
from neurostrata.stages import STAGES

#: What the recommended configuration had for the studies below when they were run.
_FINDERS = ["mixture", "affinity_propagation"]
_SCALING = overlaid(
    {"modalities": {"jac": {"from": "jacobian"}}, "strata": {"finders": _FINDERS}},
    read_yaml(REPOSITORY / "tests/benchmarks/scaling.yaml"),
)
_FOLDS = {"modalities": ["jac", "ndi"], "limits": "train", "validation": {"method": "kfold", "folds": 3}}
#: `make demo` when it was measured.
_DEMO: dict[str, Any] = {
    "cohort": {"sheet": "cohort/cohort.tsv"},
    "phenotypes": {"tables": ["cohort/phenotypes.tsv"]},
    "template": {"resolution_mm": 3, "iterations": 2},
    "registration": {"engine": "greedy"},
    "diffusion": {"noddi": {"engine": "amico"}},
    "modalities": {"jac": {"from": "jacobian"}, "ndi": {"from": "noddi", "measure": "ndi"}},
    "volumes": {"resolution_mm": 4, "downsample": 2, "shape": [32, 32, 32]},
    "training": {"preset": "fast", "epochs": 60, "batch_size": 7},
    "experiments": [
        {"name": "jac-ndi", "model": "separable_autoencoder", **_FOLDS},
        {"name": "jac-ndi-pca", "model": "pca", **_FOLDS},
    ],
    "strata": {"finders": _FINDERS, "affinity_propagation": {"preference": {"steps": 50}}},
}
#: Study and people -> configuration, images, people in the template.
STUDIES: dict[tuple[str, int], tuple[dict[str, Any], Images, int]] = {
    ("simulated", 96): (_SCALING, Images(t1w_mm=4), 16),
    ("simulated", 288): (_SCALING, Images(t1w_mm=4), 16),
    ("demo", 23): (_DEMO, Images(t1w_mm=3, dwi_mm=5, dwi_volumes=66), 16),
}


def seconds(cost: Cost) -> float:
    """Seconds of CPUs alone."""
    return 3600 * (cost.cpu_hours + cost.cpu_hours_instead)


def predicted(name: str, people: int) -> tuple[dict[str, Any], dict[str, Cost]]:
    """What a study took that was run, and what the model says of it."""
    runs = json.loads((REPOSITORY / "docs" / "scaling.json").read_text())
    run = next(run for run in runs if (run["name"], run["people"]) == (name, people))
    config, images, members = STUDIES[name, people]
    study = imagined(config, people)
    for row in list(study.rows.values())[members:]:
        row["template"] = "no"
    return run, cost_of(study, jobs_of(study), images, starting=False)


@pytest.mark.parametrize(("name", "people"), STUDIES)
def test_what_studies_took_is_predicted(name: str, people: int) -> None:
    run, costs = predicted(name, people)
    rules = {rule: spent for rule, spent in run["rules"].items() if rule in costs}
    # as many jobs of everything that is done person by person
    each = [
        rule for rule, spent in rules.items() if people - 1 <= spent["jobs"] and rule != "map_to_template"
    ]
    assert {rule: costs[rule].jobs for rule in each} == {
        # a person of the demo has no diffusion data
        rule: pytest.approx(rules[rule]["jobs"], abs=1)
        for rule in each
    }
    # Snakemake samples a job's CPU time and misses its end, so that the model may be above it by more than below
    spent = sum(rule["cpu_s"] for rule in rules.values())
    assert 0.8 < sum(seconds(costs[rule]) for rule in rules) / spent < 2
    far = {
        rule: round(seconds(costs[rule]) / rules[rule]["cpu_s"], 2)
        for rule in rules
        if rules[rule]["cpu_s"] > 20 and not 0.4 < seconds(costs[rule]) / rules[rule]["cpu_s"] < 4
    }
    assert not far
    assert total(costs).disk_gb * 1000 == pytest.approx(run["disk_mb"], rel=0.35)


def test_real_brains_are_predicted_job_by_job() -> None:
    runs = json.loads((REPOSITORY / "docs" / "scaling.json").read_text())
    rules = next(run for run in runs if run["name"] == "ixi")["rules"]
    config = {**MODALITIES, "template": {"resolution_mm": 2}, "registration": {"engine": "torch"}}
    study = imagined(config, 60)
    costs = cost_of(study, jobs_of(study), Images(t1w_mm=2), starting=False)
    for rule in (
        "prepare_t1w",
        "register",
        "template_register",
        "jacobian",
        "segment_tissue",
        "subject_page",
    ):
        own, theirs = costs[rule], rules[rule]
        assert seconds(own) / own.jobs == pytest.approx(theirs["cpu_s"] / theirs["jobs"], rel=0.45), rule
        assert own.memory_gb * 1000 == pytest.approx(theirs["max_rss_mb"], rel=0.3), rule


MODALITIES: dict[str, Any] = {
    "cohort": {"sheet": "cohort.tsv"},
    "modalities": {"jac": {"from": "jacobian"}, "gmv": {"from": "tissue", "tissue": "gm"}},
    "template": {"resolution_mm": 1},
    "volumes": {"shape": [128, 128, 96]},
    "experiments": [{"name": "codes", "model": "separable_autoencoder", "modalities": ["jac", "gmv"]}],
}


def test_every_stage_has_its_numbers() -> None:
    numbers = measured()
    assert set(numbers["stages"]) == set(STAGES)
    study = imagined(MODALITIES, 10)
    known = Sizes(study).of(Work("train", "codes", "mixture", fold="all"))
    for stage, entry in numbers["stages"].items():
        sources = entry["measured"] if isinstance(entry["measured"], list) else [entry["measured"]]
        assert set(sources) <= set(numbers["measurements"]), stage
        terms = {word for what in ("cpu_s", "gpu_s", "memory_mb", "disk_mb") for word in entry.get(what, {})}
        assert {size for term in terms for size in term.split("*")} <= set(known), stage


def test_costs_follow_what_decides_them() -> None:
    def of(people: int = 100, **sections: Any) -> dict[str, Cost]:
        return study_cost({**MODALITIES, **sections}, people, Images(t1w_mm=2))

    ants, fine = (
        of(registration={"engine": "ants"}),
        of(registration={"engine": "ants"}, template={"resolution_mm": 0.5}),
    )
    torch = of(registration={"engine": "torch"})
    assert fine["register"].cpu_hours == pytest.approx(8 * ants["register"].cpu_hours, rel=0.02)
    assert 50 < ants["register"].cpu_hours / torch["register"].cpu_hours < 131
    assert total(of(200)).jobs > 1.9 * total(of(100)).jobs
    # 200 epochs of 90 people in each of ten folds and of 100 in the last training, 0.04 s a step
    assert total(torch).gpu_hours == pytest.approx(200 * (10 * 90 + 100) * 0.04 / 3600)
    assert total(of(training={"epochs": 100})).gpu_hours == pytest.approx(total(torch).gpu_hours / 2)
    own = [{**MODALITIES["experiments"][0], "training": {"epochs": 50}}]
    assert total(of(experiments=own)).gpu_hours == pytest.approx(total(torch).gpu_hours / 4)
    linear = [{**MODALITIES["experiments"][0], "model": "pca"}]
    assert total(of(experiments=linear)).gpu_hours == 0
    fewer = {"affinity_propagation": {"preference": {"steps": 10}}, "finders": ["affinity_propagation"]}
    more = {"affinity_propagation": {"preference": {"steps": 1000}}, "finders": ["affinity_propagation"]}
    assert of(1000, strata=fewer)["cluster"].cpu_hours < of(1000, strata=more)["cluster"].cpu_hours / 10
    arrays = 2 * 100 * 128 * 128 * 96 * 4 / 1e9
    assert torch["normalise"].disk_gb == pytest.approx(arrays, rel=0.01)


def test_early_iterations_cost_what_their_people_do() -> None:
    def of(**template: Any) -> dict[str, Cost]:
        sections = {"resolution_mm": 1, "iterations": 5, **template}
        return study_cost({**MODALITIES, "template": sections}, 60, Images(t1w_mm=1))

    everybody, fewer = of(), of(early_people=15)
    assert everybody["template_register"].jobs == 300
    assert fewer["template_register"].jobs == 120
    each = everybody["template_register"].cpu_hours / 300
    assert fewer["template_register"].cpu_hours == pytest.approx(120 * each)
    assert fewer["template_update"].jobs == everybody["template_update"].jobs == 5
    numbers = measured()
    per_person = numbers["stages"]["template_update"]["cpu_s"]["people*template"] * 2**3 / 3600
    saved = everybody["template_update"].cpu_hours - fewer["template_update"].cpu_hours
    assert saved == pytest.approx(180 * per_person)
    assert fewer["template_start"] == everybody["template_start"]
    assert of(early_people=60) == everybody


def test_costs_in_words() -> None:
    assert [about(n) for n in (0, 0.04, 0.34, 3.6, 36, 972, 9_640)] == [
        *("0.0", "0.0", "0.3", "4", "40", "1,000", "10,000")
    ]
    hours = [hours_in_words(n) for n in (0.01, 0.05, 0.96, 1.2, 23)]
    assert hours == [
        *("less than a CPU minute", "about 3 CPU minutes", "about 1 CPU hour", "about 1 CPU hour"),
        "about 20 CPU hours",
    ]
    assert [disk_in_words(n) for n in (0, 0.34, 34)] == ["less than 1 MB", "about 300 MB", "about 30 GB"]
    assert in_words(Cost(3, 12.0, 0, 0, 0.5)) == "about 10 CPU hours, about 500 MB on the disk"
    assert in_words(Cost(3, 12.0, 380, 2100, 31)) == (
        "about 10 CPU hours and about 400 GPU hours (H100; without a GPU about 2,000 CPU hours more), about 30 GB on the disk"
    )


def test_images_are_known_from_the_last_check(tmp_path: Path) -> None:
    study = imagined({**MODALITIES, "output": str(tmp_path)}, 3)
    for number, row in enumerate(study.rows.values()):
        row |= {"t1w": f"t{number}.nii", "dwi": f"d{number}.nii"}
    assert images_of(study) == Images()
    turned = [[0, 0.8, 0, 0], [0.8, 0, 0, 0], [0, 0, 0.8, 0], [0, 0, 0, 1]]
    plain = [[2.5, 0, 0, 0], [0, -2.5, 0, 0], [0, 0, 2.5, 0], [0, 0, 0, 1]]
    headers = {"t0.nii|1|2": {"shape": [9, 9, 9], "affine": turned}} | {
        f"d{n}.nii|1|2": {"shape": [9, 9, 9, 96 + 10 * n], "affine": plain} for n in range(3)
    }
    (tmp_path / "cohort").mkdir()
    checked = FileCache(tmp_path / "cohort" / "headers.json")
    checked.used = {**headers, "a file that is no image": {"lines": []}}
    checked.save()
    images = images_of(study)
    assert (images.t1w_mm, images.dwi_mm) == (pytest.approx(0.8), pytest.approx(2.5))
    assert images.dwi_volumes == 106
    (tmp_path / "cohort" / "headers.json").write_text("[]")
    assert images_of(study) == Images()
