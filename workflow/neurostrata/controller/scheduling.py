"""How often Snakemake looks at the jobs that are ready. Standard library only."""

from __future__ import annotations

import time
from typing import Any


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
