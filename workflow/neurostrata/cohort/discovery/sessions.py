"""Sessions: their order, and the ids of rows that stand for one session of a person. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime


def natural_order(label: str) -> list[tuple[int, int, str]]:
    """Return a sorting key by which 2 comes before 10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", label) if part
    ]


def _in_time(labels: Iterable[str], times: Mapping[str, str]) -> list[str] | None:
    """Return labels ordered by different times as BIDS writes them (ISO 8601); None when a time is missing, equal or not such a one."""
    try:
        moments = sorted((datetime.fromisoformat(times.get(label, "")), label) for label in labels)
    except (ValueError, TypeError):  # TypeError: some have a time zone, some none
        return None
    return [label for _, label in moments] if len({time for time, _ in moments}) == len(moments) else None


def chosen_session(labels: Iterable[str], which: str, times: Mapping[str, str]) -> str | None:
    """Return the first or last of a person's sessions, None when their order is unknown.

    They are ordered by `times` (ISO 8601) where every session has one, else by the number in the labels, which must
    differ in that number only: ``pre`` and ``post`` have no order.
    """
    known = sorted(labels)
    if len(known) == 1:
        return known[0]
    if in_time := _in_time(known, times):
        ordered = in_time
    elif len({re.sub(r"\d+", "#", label) for label in known}) == 1 and all(
        len(re.findall(r"\d+", label)) == 1 for label in known
    ):
        ordered = sorted(known, key=natural_order)
    else:
        return None
    return ordered[0 if which == "first" else -1]


def row_id(person: str, session: str) -> str:
    """Return the id of a row that is one session of a person: letters and digits only, as ids must be."""
    return f"{person}x{session}"
