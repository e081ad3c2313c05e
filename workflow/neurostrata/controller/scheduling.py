"""Two changes to Snakemake's scheduler: how often it looks at the jobs that are ready, and which failed jobs it retries.

The methods that are wrapped are private to Snakemake (9.27). A scheduler without them is left alone, and
`tests/workflow/test_scheduling.py` fails once Snakemake does by itself what is changed here. Standard library only.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from neurostrata.core.failures import is_noted


def one_timer_at_a_time(scheduler: Any) -> None:
    """Let Snakemake's scheduler wait for one timer, not for one more with every job that ends.

    Snakemake sets a timer at each look at the ready jobs, since it limits submissions per second. Each timer leads to another
    look, which sets another timer, and so does each job that ends: after some hundred jobs of a large cohort the controller
    does nothing else. One timer is enough for the limit.

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        Of a workflow that starts.
    """
    set_timer = getattr(scheduler, "_schedule_reevalutation", None)  # spelt so in Snakemake
    if set_timer is None:
        return
    due = 0.0

    def set_one(delay: float) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + delay
            set_timer(delay)

    scheduler._schedule_reevalutation = set_one


def no_hopeless_attempts(scheduler: Any, notes: Path) -> None:
    """Let Snakemake's scheduler give up a job that met a mistake in its input; all others keep their attempts.

    Snakemake retries every failed job, which on a cluster may wait in the queue for hours to report the same mistake. Where
    the scheduler handles errors in another way, the next attempt ends at once (:mod:`neurostrata.core.failures`).

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        Of a workflow that starts.
    notes
        Folder of the notes that failed jobs leave.
    """
    handle = getattr(scheduler, "_handle_error", None)
    if handle is None:
        return

    def handle_once(job: Any, *arguments: Any, **options: Any) -> None:
        if any(is_noted(notes, log) for log in job.log):
            job.attempt = max(job.attempt, job.restart_times + 1)
        handle(job, *arguments, **options)

    scheduler._handle_error = handle_once
