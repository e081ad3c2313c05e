"""How often Snakemake looks at the jobs that are ready, and which failed ones it tries again. Standard library only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from neurostrata.core.failures import is_noted


def one_timer_at_a_time(scheduler: Any) -> None:
    """Let Snakemake's scheduler wait for one timer, not for one more with every job that ends.

    Snakemake (9.27) sets a timer at each look at the ready jobs, since it limits submissions per second. Each timer
    brings another look and with it another timer, and so does each job that ends: after some hundred of a
    large cohort's jobs the controller does nothing but look. One timer is enough for the limit.

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        Of a workflow that starts. A scheduler without such timers is left alone.
    """
    set_timer = getattr(scheduler, "_schedule_reevalutation", None)
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

    Snakemake (9.27) tries every failed job again, which on a cluster may wait in the queue for hours to say the same.

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        Of a workflow that starts. A scheduler that handles errors elsewhere is left alone; the next attempt then ends at
        once (:mod:`neurostrata.core.failures`).
    notes
        Where the notes of failed jobs are.
    """
    handle = getattr(scheduler, "_handle_error", None)
    if handle is None:
        return

    def handle_once(job: Any, *arguments: Any, **options: Any) -> None:
        if any(is_noted(notes, log) for log in job.log):
            job.attempt = max(job.attempt, job.restart_times + 1)
        handle(job, *arguments, **options)

    scheduler._handle_error = handle_once
