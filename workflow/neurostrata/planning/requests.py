"""What jobs on images ask the scheduler for: memory and time, from what their stages were measured to take at the study's image sizes."""

from __future__ import annotations

import math
from collections.abc import Callable

from neurostrata.planning.cost import Sizes, Work, amount, measured
from neurostrata.planning.jobs import of_attempt

#: A job asks for so many times the memory that was predicted for it, and for so many megabytes more, but not for less than this.
MEMORY_MARGIN, MEMORY_MORE_MB, LEAST_MEMORY_MB = 1.5, 300, 2000
#: Likewise for time: other processors are slower than the measured one, and files lie on slow disks.
TIME_MARGIN, LEAST_MINUTES = 5, 20


class Requests:
    """What the jobs of the stages on images ask for; the same for everybody's job of a stage.

    Parameters
    ----------
    sizes
        Of the study's images and grids.
    """

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes

    def _predicted(self, stage: str, what: str) -> float:
        return amount(measured()["stages"][stage][what], self._sizes.of(Work(stage)))

    def memory(self, stage: str) -> Callable[..., int]:
        """Return the `mem_mb` function of a stage's jobs, doubled at each retry; computed when it is first asked for."""

        @of_attempt
        def megabytes(wildcards: object, attempt: int) -> int:
            needed = MEMORY_MARGIN * self._predicted(stage, "memory_mb") + MEMORY_MORE_MB
            return max(LEAST_MEMORY_MB, 100 * math.ceil(needed / 100)) * 2 ** (attempt - 1)

        return megabytes

    def runtime(self, stage: str) -> Callable[..., int]:
        """Return the `runtime` function of a stage's jobs in minutes, doubled at each retry."""

        @of_attempt
        def minutes(wildcards: object, attempt: int) -> int:
            needed = TIME_MARGIN * self._predicted(stage, "cpu_s") / 60
            return max(LEAST_MINUTES, 5 * math.ceil(needed / 5)) * 2 ** (attempt - 1)

        return minutes
