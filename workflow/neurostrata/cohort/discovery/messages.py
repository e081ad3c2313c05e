"""Words that messages about what was found share. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neurostrata.cohort.discovery.sessions import natural_order
from neurostrata.core.wording import count

_SHOWN = 3


def ordered(labels: Iterable[str]) -> list[str]:
    """Return labels in natural order, 2 before 10."""
    return sorted(labels, key=natural_order)


def people(number: int) -> str:
    """Return a number of people as text."""
    return count(number, "person", "people")


def listed(cases: Sequence[str]) -> str:
    """Return the first cases, one per line, and how many more there are."""
    more = [f"... and {len(cases) - _SHOWN} more"] if len(cases) > _SHOWN else []
    return "".join(f"\n  {line}" for line in [*cases[:_SHOWN], *more])
