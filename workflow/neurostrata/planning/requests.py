"""What jobs ask the scheduler for, from what their stages were measured to take at the study's sizes.

Jobs on images ask for memory and time by the sizes of the images, searches for clusters for memory by the number of people and threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from neurostrata.cohort.study import Study
from neurostrata.planning.cost import Images, Sizes, Work, amount, images_like, known_headers, measured
from neurostrata.planning.jobs import of_attempt, per_job

#: A job asks for so many times the memory that was predicted for it, and for so many megabytes more, but not for less than this.
MEMORY_MARGIN, MEMORY_MORE_MB, LEAST_MEMORY_MB = 1.5, 300, 2000
#: Likewise for time: other processors are slower than the measured one, and files lie on slow disks.
TIME_MARGIN, LEAST_MINUTES = 5, 20
#: Images that are so many times larger than those of most people are asked for by themselves; the margins allow for less.
MUCH_LARGER = 1.2


def _memory_mb(predicted: float) -> int:
    return max(LEAST_MEMORY_MB, 100 * math.ceil((MEMORY_MARGIN * predicted + MEMORY_MORE_MB) / 100))


def _minutes(predicted: float) -> int:
    return max(LEAST_MINUTES, 5 * math.ceil(TIME_MARGIN * predicted / 60 / 5))


class Requests:
    """What the jobs of the stages on images and of searches for clusters ask for.

    On images it is the same for everybody whose images are not much larger than most people's.

    Parameters
    ----------
    sizes
        Of the study's images and grids.
    larger
        Person -> what the images are like, for those whose images are much larger.
    """

    def __init__(self, sizes: Sizes, larger: Mapping[str, Images] | None = None) -> None:
        self._sizes = sizes
        self._larger = larger or {}

    def memory(self, stage: str) -> Callable[..., int]:
        """Return the `mem_mb` function of a stage's jobs, doubled at each retry; computed when it is first asked for."""
        return self._request(stage, "memory_mb", _memory_mb)

    def runtime(self, stage: str) -> Callable[..., int]:
        """Return the `runtime` function of a stage's jobs in minutes, doubled at each retry."""
        return self._request(stage, "cpu_s", _minutes)

    def search_memory(self, stage: str, least: int) -> Callable[..., int]:
        """Return the `mem_mb` function of the jobs of a stage that runs a finder, `least` at least, doubled at each retry."""
        terms = measured()["stages"][stage]["memory_mb"]

        @per_job
        def megabytes(wildcards: Any, attempt: int, threads: int) -> int:
            work = Work(stage, wildcards.experiment, wildcards.finder)
            predicted = amount(terms, self._sizes.of_search(work, threads))
            return max(least, _memory_mb(predicted)) * 2 ** (attempt - 1)

        return megabytes

    def _request(self, stage: str, what: str, asked: Callable[[float], int]) -> Callable[..., int]:
        terms: Mapping[str, float] = measured()["stages"][stage][what]
        grow = {name for product in terms for name in product.split("*")} & Images().sizes().keys()

        def usual() -> dict[str, float]:
            return self._sizes.of(Work(stage))

        @of_attempt
        def everybodys(wildcards: object, attempt: int) -> int:
            return asked(amount(terms, usual())) * 2 ** (attempt - 1)

        @per_job
        def own(wildcards: Any, attempt: int) -> int:
            images = self._larger.get(getattr(wildcards, "subject", ""))
            if images is None:
                return everybodys(wildcards, attempt)
            return asked(amount(terms, usual() | images.sizes())) * 2 ** (attempt - 1)

        # All jobs of a rule are asked at once where they can be: a plan of many people takes less time.
        return own if self._larger and grow else everybodys


def requests_of(study: Study, look: bool) -> Requests:
    """Return what the jobs of a study ask for.

    Parameters
    ----------
    study
        People and configuration.
    look
        Whether to look at what is known of the images; only the process that plans needs to.
    """
    headers = known_headers(study) if look else {}
    usual = images_like(study.rows.values(), headers)
    larger = {}
    for subject, row in study.rows.items() if headers else ():
        images = images_like([row], headers, usual)
        own, most = images.sizes(), usual.sizes()
        t1w, dwi = (
            math.prod(own[name] / most[name] for name in names) for names in (("t1w",), ("dwi", "volumes"))
        )
        if max(t1w, dwi) > MUCH_LARGER:
            # what is smaller than most people's is taken as theirs
            larger[subject] = Images(
                min(images.t1w_mm, usual.t1w_mm),
                min(images.dwi_mm, usual.dwi_mm),
                max(images.dwi_volumes, usual.dwi_volumes),
            )
    return Requests(Sizes(study, usual), larger)
