"""A template whose early iterations use a part of the people: what is planned, and that it is what is run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from planned import jobs_by_stage
from small_study import StudyFolder, make_study

from neurostrata.cohort.study import load_study
from neurostrata.core.config import check_config, read_configuration
from neurostrata.core.locations import DEFAULT_CONFIG

PEOPLE, ITERATIONS, EARLY = 7, 3, 3
TEMPLATE = "results/template/template.nii.gz"


def configured(study: StudyFolder, early_people: int | None, iterations: int = ITERATIONS) -> None:
    study.configure(
        template={
            # which every iteration meets
            **{"resolution_mm": 8, "tolerance": 1.0},
            **{"iterations": iterations, "early_people": early_people},
        }
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The template of seven people, really built. Not to be changed."""
    study = make_study(tmp_path_factory.mktemp("early") / "study", PEOPLE)
    configured(study, EARLY)
    run = study.snakemake(TEMPLATE)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    return study


@pytest.fixture
def plan(built: StudyFolder):
    """Return the jobs of a plan for the template, after another configuration."""

    def planned(early_people: int | None, iterations: int = ITERATIONS) -> dict[str, int]:
        configured(built, early_people, iterations)
        return built.planned(TEMPLATE)

    yield planned
    configured(built, EARLY)


def test_the_model_of_costs_counts_what_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "study", PEOPLE)
    configured(study, EARLY)
    jobs = study.planned()
    assert jobs["template_register"] == 2 * EARLY + PEOPLE
    assert jobs["template_update"] == ITERATIONS
    assert jobs["prepare_t1w"] == jobs["register"] == PEOPLE
    monkeypatch.chdir(study.folder)
    counted = jobs_by_stage(
        load_study(check_config(read_configuration([DEFAULT_CONFIG, "config/config.yaml"])))
    )
    assert counted == {rule: number for rule, number in jobs.items() if rule != "list_people"}


def test_each_iteration_registers_and_averages_its_people(built: StudyFolder) -> None:
    results = built.folder / "results/template"
    with (results / "convergence.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [int(row["people"]) for row in rows] == [PEOPLE, EARLY, EARLY, PEOPLE]
    # the first two met the tolerance as well
    assert all(float(row["rms_change"]) <= 1 for row in rows[1:])
    assert [row["converged"] for row in rows] == ["False", "False", "False", "True"]
    assert {row["skipped"] for row in rows} == {"False"}
    logs = built.folder / "logs/template_register"
    registered = {number: sorted(p.stem for p in (logs / number).iterdir()) for number in ("1", "2", "3")}
    assert registered == {
        "1": ["01", "03", "05"],
        "2": ["02", "04", "06"],
        "3": [f"{number:02d}" for number in range(1, PEOPLE + 1)],
    }
    assert json.loads((results / "template.json").read_text())["Converged"] is True


def test_exactly_what_a_changed_number_changes(plan) -> None:
    final = {"template_final": 1}
    assert plan(EARLY) == {}
    assert plan(4) == {"template_register": 4 + 4 + PEOPLE, "template_update": 3, **final}
    everybody = {"template_register": 3 * PEOPLE, "template_update": 3, **final}
    # null and a number that leaves nobody out are the same
    assert plan(None) == plan(PEOPLE) == plan(50) == everybody
    # the third iteration is no longer the last
    assert plan(EARLY, 4) == {"template_register": EARLY + PEOPLE, "template_update": 2, **final}
    # the second iteration is the last
    assert plan(EARLY, 2) == {"template_register": PEOPLE, "template_update": 1, **final}


def test_the_reason_names_the_key(built: StudyFolder, plan) -> None:
    configured(built, 4)
    said = built.snakemake(TEMPLATE, "-n", "--quiet", "rules")
    text = " ".join((said.stdout + said.stderr).split())
    assert f"template.early_people: {EARLY} -> 4 (template_update 1)" in text  # the others follow
    assert "registering to the template of the previous iteration 7 people 15 jobs" in text
