"""Timing two ways of doing the same, in turn, in one process; and what docs/benchmarks.md says of it."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seconds:
    """Wall-clock and CPU seconds (user and system, children included) of each run."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def typical(self, kind: str) -> float:
        """Return the median."""
        return statistics.median(getattr(self, kind))


def _cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextmanager
def clock(seconds: Seconds) -> Iterator[None]:
    """Add the time that the block takes."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    yield
    seconds.wall.append(time.perf_counter() - wall)
    seconds.cpu.append(_cpu_seconds() - cpu)


def in_turn(
    ours: Callable[[], Any], peer: Callable[[], Any], repeats: int = 3
) -> tuple[Seconds, Seconds, Any, Any]:
    """Run both, alternately and after each other; return their times and their last results.

    The machines that this runs on are noisy: only times of the same minutes can be compared.
    """
    times, results = (Seconds(), Seconds()), [None, None]
    for repeat in range(repeats):
        order = (0, 1) if repeat % 2 == 0 else (1, 0)
        for which in order:
            with clock(times[which]):
                results[which] = (ours, peer)[which]()
    return *times, *results


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    stage, peer
        What is done, and who else does it.
    ours_s, peer_s
        Seconds, of `kind`.
    kind
        ``cpu`` or ``wall``.
    goal
        As it was set.
    met
        None: not measured.
    agreement
        What was compared, and how well it agreed.
    note
        What stands in the way, or what else to know.
    machine, day
        Where and when it was measured; empty: here and now.
    """

    stage: str
    peer: str
    ours_s: float | None
    peer_s: float | None
    kind: str
    goal: str
    met: bool | None
    agreement: str
    note: str = ""
    machine: str = ""
    day: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is."""
        return None if not self.ours_s or not self.peer_s else self.peer_s / self.ours_s
