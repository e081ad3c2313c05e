"""What a run is going to do, in people's words: stages, people, hours and disk.

Snakemake's own tables name rules and count jobs. What is used of Snakemake (9.27) is looked up at run time, and a run
continues without it where it has changed. Standard library only.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from neurostrata.cohort.study import Study
from neurostrata.controller.reasons import say_changes
from neurostrata.controller.shortcuts import leave_the_plan
from neurostrata.core.wording import count
from neurostrata.planning.cost import (
    Cost,
    Work,
    cost_of,
    images_of,
    in_words,
    total,
    work_in_words,
)
from neurostrata.stages import STAGES

#: How many stages are listed, those that take longest; the others are counted.
MOST_STAGES = 10

#: What is said where Snakemake says how a job's record is removed.
KEEP_RECORDS = (
    "neurostrata: leave --cleanup-metadata aside: it removes the record of the settings that a result was made with. The result is then "
    "kept whatever you change, while the report shows the new settings (docs/reruns.md, Keeping results)"
)

#: What is said of finished jobs without a record; Snakemake's sentence does not say what that means.
UNRECORDED = (
    "neurostrata: {jobs} ({stages}) have no record of the settings that they were made with: no changed setting makes them again. "
    "The records are in the study's folder, in .snakemake: bring it along if the study was copied without it. If `output` was changed "
    "instead, leave it as it was and put a link to the new place there (docs/reruns.md, Keeping results)"
)


def planned_work(dag: Any) -> tuple[Counter[Work], dict[str, set[str]]]:
    """Return what the jobs of a plan do, and stage -> the people it works on one by one.

    Parameters
    ----------
    dag : snakemake.dag.DAG
        Planned.
    """
    jobs: Counter[Work] = Counter()
    people: dict[str, set[str]] = {}
    for job in dag.needrun_jobs(exclude_finished=False):  # a dry run marks its jobs as done
        stage = job.rule.name
        if stage not in STAGES:
            continue
        names = job.wildcards_dict
        fold = names.get("fold", "")
        jobs[
            Work(
                stage,
                names.get("experiment", ""),
                names.get("finder", ""),
                names.get("modality", ""),
                fold if fold in ("", "all") else "fold",
                names.get("iteration", ""),
            )
        ] += 1
        if "subject" in names:
            people.setdefault(stage, set()).add(names["subject"])
    return jobs, people


def _longest(costs: dict[str, Cost]) -> list[str]:
    """Return the stages that are listed, in the order of the work."""
    by_hours = sorted(costs, key=lambda stage: -(costs[stage].cpu_hours + costs[stage].gpu_hours))
    listed = by_hours if len(by_hours) <= MOST_STAGES + 1 else by_hours[:MOST_STAGES]
    return [stage for stage in costs if stage in listed]


def plan_lines(dag: Any, study: Study) -> list[str]:
    """Return what a plan is going to do: a line for each of the longest stages, and one for everything.

    Parameters
    ----------
    dag : snakemake.dag.DAG
        Planned.
    study
        People and configuration.
    """
    jobs, people = planned_work(dag)
    costs = cost_of(study, jobs, images_of(study))
    if not costs:
        return []
    listed = _longest(costs)
    rows = [
        (
            STAGES[stage].words,
            f"{len(people[stage]):,} people" if len(people.get(stage, ())) > 1 else "",
            count(costs[stage].jobs, "job"),
            work_in_words(costs[stage], short=True),
        )
        for stage in listed
    ]
    if others := {stage: cost for stage, cost in costs.items() if stage not in listed}:
        rest = total(others)
        rows.append(
            (
                f"and {len(others)} shorter stages",
                "",
                count(rest.jobs, "job"),
                work_in_words(rest, short=True),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *([row[1].rjust(widths[1])] if widths[1] else []),
                row[2].rjust(widths[2]),
                row[3],
            ]
        )
        for row in rows
    ]


def plan_sentence(dag: Any, study: Study) -> str:
    """Return a plan in one line: jobs, people, hours and disk; "" where there is nothing to do."""
    jobs, people = planned_work(dag)
    costs = cost_of(study, jobs, images_of(study))
    if not costs:
        return ""
    everything = total(costs)
    everybody = set().union(*people.values())
    of = f" for {count(len(everybody), 'person', 'people')}" if everybody else ""
    return f"{count(everything.jobs, 'job')}{of}: {in_words(everything)}"


def _say(what: Callable[[], str]) -> None:
    """Print what is found out, if anything; an explanation must never end a run."""
    from snakemake.logging import logger

    try:
        text = what()
    except Exception as error:
        text = f"neurostrata: what is going to be done cannot be said ({type(error).__name__}: {error})"
    if text:
        logger.info(text)


def say_plan(dag: Any, study: Study) -> None:
    """Print before a run what it is going to do and why, in a few lines."""
    _say(lambda: (sentence := plan_sentence(dag, study)) and f"neurostrata: {sentence}")
    say_changes(dag)


def say_dry_plan(dag: Any, study: Study) -> None:
    """Print at the end of a dry run what would be done and why."""

    def text() -> str:
        listed = "".join(f"\n    {line}" for line in plan_lines(dag, study))
        if not listed:
            return ""
        return (
            f"This would be done:{listed}\nIn all {plan_sentence(dag, study)} (estimates: docs/scaling.md)."
        )

    _say(text)
    say_changes(dag)


def explain_plans(study: Study, ask: Callable[[Any], str] = lambda dag: "") -> None:
    """Have a dry run end with what would be done, answer Snakemake's hint to remove records, and name records that are missing.

    In the main process, before anything is planned.

    Parameters
    ----------
    study
        People and configuration.
    ask
        Returns why a plan (:class:`snakemake.dag.DAG`) cannot be run yet, or "": said last.
    """
    try:
        _end_dry_runs(study, ask)
        _keep_records()
        _name_missing_records()
    except (ImportError, AttributeError) as error:
        print(
            f"neurostrata: this release of Snakemake is unknown ({error}): dry runs do not say what would be done",
            file=sys.stderr,
        )


def _end_dry_runs(study: Study, ask: Callable[[Any], str]) -> None:
    from snakemake.workflow import Workflow

    plain = getattr(Workflow.execute, "__wrapped__", Workflow.execute)

    @functools.wraps(plain)
    def execute(self: Any, *arguments: Any, **named: Any) -> Any:
        result = plain(self, *arguments, **named)
        if self.dryrun:
            leave_the_plan()
            say_dry_plan(self.dag, study)
            _say(lambda: ask(self.dag))
        return result

    Workflow.execute = execute


def _keep_records() -> None:
    from snakemake.workflow import Workflow

    plain = getattr(Workflow.log_provenance_info, "__wrapped__", Workflow.log_provenance_info)

    @functools.wraps(plain)
    def log_provenance_info(self: Any) -> None:
        plain(self)

        def answer() -> str:
            jobs = self.dag.needrun_jobs(exclude_finished=False)
            hinted = any(self.dag.reason(job).is_provenance_triggered() for job in jobs)
            return KEEP_RECORDS if hinted else ""

        _say(answer)

    Workflow.log_provenance_info = log_provenance_info


def _name_missing_records() -> None:
    from snakemake.logging import logger
    from snakemake.workflow import Workflow

    def log_missing_metadata_info(self: Any) -> None:
        jobs = [
            job for job in self.dag.jobs if self.dag.reason(job).no_metadata and not self.dag.needrun(job)
        ]
        names = list(dict.fromkeys(job.rule.name for job in jobs))
        if jobs:
            stages = ", ".join(names[:MOST_STAGES]) + (", ..." if len(names) > MOST_STAGES else "")
            logger.warning(UNRECORDED.format(jobs=count(len(jobs), "finished job"), stages=stages))

    Workflow.log_missing_metadata_info = log_missing_metadata_info
