"""What a run has to do for whom: written when it starts, read by what shows its progress. Standard library only."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurostrata.core.files import atomic_path

#: In a study's folder: the plan of the last run.
PLAN = Path(".snakemake") / "neurostrata" / "plan.json"


@dataclass
class Plan:
    """The people of a run.

    Attributes
    ----------
    process
        Id of the process that runs it.
    log
        Name of Snakemake's log of it.
    everybody : dict
        Stage -> number of people that it is done for, in this run or earlier ones.
    waiting : dict
        Stage -> person -> jobs that this run has to do.
    """

    process: int = 0
    log: str = ""
    everybody: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, Counter[str]] = field(default_factory=dict)

    def people(self) -> set[str]:
        """Return whom this run does something for."""
        return {person for people in self.waiting.values() for person in people}


def write_plan(folder: Path, workflow: Any) -> None:
    """Write down the people of a run that has been planned.

    Parameters
    ----------
    folder
        The study's.
    workflow : snakemake.workflow.Workflow
        Before its first job.
    """
    everybody: dict[str, set[str]] = {}
    waiting: dict[str, Counter[str]] = {}
    for job in workflow.dag.jobs:
        person = job.wildcards_dict.get("subject")
        if person is None:
            continue
        everybody.setdefault(job.rule.name, set()).add(str(person))
        if workflow.dag.needrun(job):
            waiting.setdefault(job.rule.name, Counter())[str(person)] += 1
    logs = workflow.logger_manager.get_logfile()
    plan = {
        "process": os.getpid(),
        "log": Path(logs[0]).name if logs else "",
        "everybody": {rule: len(people) for rule, people in everybody.items()},
        "waiting": waiting,
    }
    (folder / PLAN).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / PLAN) as temporary:
        temporary.write_text(json.dumps(plan))


def read_plan(folder: Path) -> Plan:
    """Return the plan of the last run, an empty one where there is none."""
    try:
        found = json.loads((folder / PLAN).read_text())
        waiting = {str(rule): Counter(people) for rule, people in found["waiting"].items()}
        return Plan(int(found["process"]), str(found["log"]), dict(found["everybody"]), waiting)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Plan()
