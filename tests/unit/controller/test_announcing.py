"""What a run says of itself in people's words before it starts, and a dry run at its end."""

from __future__ import annotations

import logging
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest
from planned import planned

from neurostrata.controller import announcing
from neurostrata.planning.cost import imagined, jobs_of

CONFIG: dict[str, Any] = {
    "cohort": {"sheet": "cohort.tsv"},
    "template": {"resolution_mm": 1.25, "iterations": 2},
    "modalities": {"jac": {"from": "jacobian"}},
    "volumes": {"shape": [128, 128, 96]},
    "experiments": [{"name": "codes", "model": "separable_autoencoder", "modalities": ["jac"]}],
}


class Job:
    """What is used of a job of Snakemake."""

    def __init__(self, rule: str, names: dict[str, str]) -> None:
        self.rule = SimpleNamespace(name=rule)
        self.wildcards_dict = names


def dag_of(*jobs: tuple[str, dict[str, str]]) -> Any:
    """A plan of these jobs, without a reason for any."""
    listed = [Job(rule, names) for rule, names in jobs]
    reason = SimpleNamespace(
        params_changed=None, updated_input=(), input_changed=False, is_provenance_triggered=lambda: False
    )
    return SimpleNamespace(
        needrun_jobs=lambda exclude_finished: listed,
        reason=lambda job: reason,
        dependencies={job: {} for job in listed},
    )


def people(rule: str, number: int, **names: str) -> list[tuple[str, dict[str, str]]]:
    """A job for each of so many people."""
    return [(rule, {"subject": f"{n:02d}", **names}) for n in range(number)]


def test_a_plan_is_told_by_stages_people_and_hours() -> None:
    study = imagined({**CONFIG, "registration": {"engine": "ants"}}, 30)
    folds = [("train", {"experiment": "codes", "fold": fold}) for fold in (*map(str, range(10)), "all")]
    dag = dag_of(
        *people("template_register", 30, iteration="1"),
        *people("template_register", 30, iteration="2"),
        *people("register", 1),
        *folds,
        ("report", {}),
        ("all", {}),
    )
    lines = [" ".join(line.split()) for line in announcing.plan_lines(dag, study)]
    assert lines == [
        "registering to the template of the previous iteration 30 people 60 jobs about 80 CPU hours",
        "registering to the template 1 job about 1 CPU hour",
        "training models 11 jobs about 20 GPU minutes",
        "writing the report 1 job less than a CPU minute",
    ]
    # columns stand below each other
    assert len({line.index(" job") for line in announcing.plan_lines(dag, study)}) <= 2
    assert announcing.plan_sentence(dag, study) == (
        "73 jobs for 30 people: about 80 CPU hours and about 20 GPU minutes (H100; without a GPU about 30 CPU hours more), "
        "about 100 MB on the disk"
    )
    assert announcing.plan_lines(dag_of(("all", {})), study) == []
    assert announcing.plan_sentence(dag_of(("all", {})), study) == ""


def test_an_update_of_the_template_is_about_the_people_of_its_iteration() -> None:
    study = imagined({**CONFIG, "template": {"iterations": 3, "early_people": 2}}, 6)
    counted = {work: n for work, n in jobs_of(study).items() if work.iteration}
    jobs = [(work.stage, {"iteration": work.iteration}) for work, n in counted.items() for _ in range(n)]
    assert len(jobs) == 2 + 2 + 6 + 3
    assert announcing.planned_work(dag_of(*jobs))[0] == counted


def test_a_long_plan_stays_short() -> None:
    study = imagined(CONFIG, 12)
    jobs = [
        (
            work.stage,
            {
                "experiment": work.experiment,
                "finder": work.finder,
                "fold": work.fold,
                "iteration": work.iteration,
            },
        )
        for work, number in jobs_of(study).items()
        for _ in range(number)
    ]
    lines = announcing.plan_lines(
        dag_of(*[(rule, {k: v for k, v in names.items() if v}) for rule, names in jobs]), study
    )
    assert len(lines) == announcing.MOST_STAGES + 1
    assert lines[0].startswith("preparing T1w images")
    assert re.match(r"and \d+ shorter stages ", lines[-1])
    told = sum(int(line.split(" job")[0].split()[-1].replace(",", "")) for line in lines)
    assert told == len(jobs)


def test_what_is_planned_of_ten_thousand_people_is_told_at_once() -> None:
    study = planned(200)
    dag = dag_of(*(job for n in range(10) for job in people("register", 10_000, iteration=str(n))))
    begun = time.process_time()
    announcing.plan_lines(dag, study)
    assert time.process_time() - begun < 2


def test_what_cannot_be_told_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    study = planned()
    with caplog.at_level(logging.INFO):
        announcing.say_plan(SimpleNamespace(), study)
        announcing.say_dry_plan(SimpleNamespace(), study)
    announcing.say_dry_plan(dag_of(("register", {"subject": "01"}), ("unknown", {})), study)


def test_a_snakemake_that_is_not_known_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import snakemake.api  # which imports the rest in an order that works
    import snakemake.workflow

    monkeypatch.delattr(snakemake.workflow.Workflow, "execute")
    announcing.explain_plans(planned())
    assert "this release of Snakemake is unknown" in capsys.readouterr().err


class DryRun:
    """What is used of a workflow of Snakemake."""

    dryrun = True

    def __init__(self, dag: Any) -> None:
        self.dag = dag

    def execute(self, *arguments: Any) -> tuple[Any, ...]:
        return arguments

    def log_provenance_info(self) -> None:
        """Nothing."""


def test_a_dry_run_ends_with_the_plan_and_what_is_to_be_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    import snakemake.api
    import snakemake.workflow
    from snakemake.logging import logger

    said: list[str] = []
    left: list[bool] = []
    monkeypatch.setattr(announcing, "leave_the_plan", lambda: left.append(True))
    monkeypatch.setattr(snakemake.workflow, "Workflow", type("Workflow", (DryRun,), {}))
    monkeypatch.setattr(logger, "info", said.append)
    announcing.explain_plans(imagined(CONFIG, 3), lambda dag: f"decide about {len(dag.needrun_jobs(False))}")
    run = snakemake.workflow.Workflow(dag_of(("report", {})))
    assert run.execute(1, 2) == (1, 2)
    plan, question = said
    assert plan.splitlines()[0] == "This would be done:"
    assert plan.splitlines()[-1].startswith("In all 1 job: less than a CPU minute")
    assert question == "decide about 1"
    assert left == [True]
    # a run says it before it starts, not at its end, and takes its plan apart, since files may be open
    said.clear()
    run.dryrun = False
    run.execute()
    assert said == []
    assert left == [True]
    # Snakemake's hint is answered where it is given
    run.log_provenance_info()
    assert said == []
    run.dag.reason(None).is_provenance_triggered = lambda: True
    run.log_provenance_info()
    assert said == [announcing.KEEP_RECORDS]
