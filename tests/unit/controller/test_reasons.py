"""What a plan is said to be for, on plans made here: each cause once, with the stages and numbers of their jobs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.logging import logger

from neurostrata.controller.reasons import MOST_LINES, changes_of, say_changes


def job(stage: str, *lines: str, newer: tuple[str, ...] = (), others: bool = False) -> SimpleNamespace:
    """A job that is planned for changed settings (the lines about them), newer files, or other inputs."""
    why = SimpleNamespace(
        params_changed=SimpleNamespace(lines=lines) if lines else False,
        updated_input=newer,
        input_changed=others,
    )
    return SimpleNamespace(rule=SimpleNamespace(name=stage), why=why)


class Plan:
    """Stands for Snakemake's graph, in which `made` are the files that other jobs make."""

    def __init__(self, *jobs: SimpleNamespace, made: tuple[str, ...] = ()) -> None:
        self.jobs = jobs
        self.dependencies = _ById({id(one): {"another job": made} for one in jobs})

    def needrun_jobs(self, exclude_finished: bool) -> Any:
        # a dry run has marked its jobs as finished by now
        return () if exclude_finished else self.jobs

    def reason(self, job: SimpleNamespace) -> Any:
        return job.why


class _ById(dict[Any, Any]):
    def __getitem__(self, job: Any) -> Any:
        return super().__getitem__(id(job))


def test_each_cause_is_said_once_with_its_stages_and_jobs() -> None:
    draws, seed = "strata.existence.draws: 199 -> 99", "seed: 1 -> 2"
    plan = Plan(
        job("existence", draws),
        job("existence", draws, seed),
        job("cluster", seed),
        job("factor_phenotypes", newer=("phenotypes.tsv", "results/cohort/people.tsv")),
        job("normalise", others=True),
        job("normalise", others=True),
        job("report"),  # it only follows
        made=("results/cohort/people.tsv",),
    )
    assert changes_of(plan) == [
        f"{draws}  (existence 2)",
        f"{seed}  (existence 1, cluster 1)",
        "phenotypes.tsv: is newer than what was made of it  (factor_phenotypes 1)",
        "other input files (people, modalities or finders have come or gone)  (normalise 2)",
    ]


@pytest.mark.parametrize(("number", "more"), [(0, ""), (MOST_LINES, ""), (MOST_LINES + 2, "... and 2 more")])
def test_only_so_many_causes_are_listed(number: int, more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(logger, "info", said.append)
    say_changes(Plan(*(job("prepare_t1w", f"change {place}") for place in range(number))))
    if not number:
        assert not said
        return
    title, *lines = said[0].splitlines()
    assert title == "Changed since the results were made (what follows from it is planned too):"
    expected = [f"    change {place}  (prepare_t1w 1)" for place in range(min(number, MOST_LINES))]
    assert lines == expected + ([f"    {more}"] if more else [])
