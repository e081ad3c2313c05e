"""Making results again that are gone. Standard library only.

Snakemake (9.27) looks for a job's result only where a job that has to run needs it. When everything that was made of it
exists, a result that is gone counts as done: somebody deleted it, or Snakemake did, because the job that was making it
again failed or was killed. The next run then finds nothing to do, and what was made of the earlier result looks as if it
were made of the present inputs.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from neurostrata.core.errors import UserError

#: Methods of Snakemake's graph of jobs that are used here; they are not part of its public interface.
_NEEDED = ("init", "update_needrun", "needrun", "finished", "reason", "bfs")
#: Flags of outputs that are deleted after use, or that are not files.
_PASSING = ("temp", "pipe", "service")
#: How many paths are named; the plan itself lists every job.
_NAMED = 3


def make_missing_results_again(workflow: Any, graph: Any = None) -> None:
    """Let every plan of a workflow contain the jobs of which a result is missing, and what depends on them.

    Jobs that Snakemake plans by itself keep its reasons; in a new study, where all results are missing, nothing
    changes. ``--touch`` makes nothing, so it plans as before.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        The one that is being read, in the main process.
    graph : type, optional
        Snakemake's class of graphs of jobs.

    Raises
    ------
    UserError
        When this release of Snakemake lacks what is needed: missing results must not go unnoticed.
    """
    if graph is None:
        from snakemake.dag import DAG

        graph = DAG
    lacking = [name for name in _NEEDED if not callable(getattr(graph, name, None))]
    if lacking:
        raise UserError(
            f"this release of Snakemake cannot be used: its plan has no {', '.join(lacking)}, without which deleted "
            "results would go unnoticed; install the release in requirements.txt"
        )
    init = graph.init

    @functools.wraps(init)
    async def init_and_look(dag: Any, *arguments: Any, **options: Any) -> None:
        await init(dag, *arguments, **options)
        if dag.workflow is workflow and not workflow.touch:
            await _plan_missing(dag)

    graph.init = init_and_look


async def _missing_of(job: Any) -> list[Any]:
    """Return the outputs of a job that should exist and do not."""
    return [
        path
        for path in job.output
        if not (path.flags and any(path.flags.get(flag) for flag in _PASSING)) and not await path.exists()
    ]


async def _plan_missing(dag: Any) -> None:
    """Add the jobs with missing outputs to a plan."""
    found = {}
    for job in dag.jobs:
        if not (dag.needrun(job) or dag.finished(job)):
            missing = await _missing_of(job)
            if missing:
                found[job] = missing
    if found:
        wanted = set(dag.bfs(dag.dependencies, *dag.targetjobs))  # fewer with --until
        found = {job: missing for job, missing in found.items() if job in wanted}
    if not found:
        return
    for job, missing in found.items():
        reason = dag.reason(job)
        reason.missing_output.update(missing)
        reason.derived = False
    await dag.update_needrun()
    paths = sorted(str(path) for missing in found.values() for path in missing)
    more = ", ..." if len(paths) > _NAMED else ""
    what = "1 result is missing and has" if len(paths) == 1 else f"{len(paths)} results are missing and have"
    print(
        f"neurostrata: {what} to be made again, with all that depends on {'it' if len(paths) == 1 else 'them'}: "
        f"{', '.join(paths[:_NAMED])}{more}",
        file=sys.stderr,
        flush=True,
    )
