"""What every check of `make gpu` is given and returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Machine:
    """Where the checks run.

    Attributes
    ----------
    device
        "cuda", or "cpu" where there is no GPU: then both sides of a comparison are the CPU.
    short
        Small sizes, to see that everything runs.
    """

    device: str
    short: bool

    @property
    def gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.device == "cuda"


def result(
    name: str,
    value: float | None = None,
    limit: float | None = None,
    *,
    at_least: bool = False,
    unit: str = "",
    note: str = "",
    **more: Any,
) -> dict[str, Any]:
    """Return one line of the results.

    Parameters
    ----------
    name
        What was measured.
    value
        The number.
    limit
        Largest value (with `at_least`: least value) that passes; None: a measurement that cannot fail.
    unit, note
        For readers.
    more
        Further numbers.
    """
    passed = None
    if limit is not None:
        # written so that NaN does not pass
        passed = bool(value is not None and (value >= limit if at_least else value <= limit))
    return {
        "name": name,
        "passed": passed,
        "value": value,
        "limit": limit,
        "at_least": at_least,
        "unit": unit,
        "note": note,
        **more,
    }


def synchronise(device: str) -> None:
    """Wait until the GPU has done everything."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], device: str, repeats: int, warm_up: int = 1) -> float:
    """Return the median wall-clock seconds of one call, the GPU waited for."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]
