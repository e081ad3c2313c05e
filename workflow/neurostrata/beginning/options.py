"""Options in the words of BIDS apps and snakebids, as keys of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neurostrata.core.errors import UserError


def read_filters(column: str, given: Iterable[str]) -> dict[str, Any]:
    """Return entity -> value from ``acquisition=mprage``; ``null`` means that the entity is absent, commas separate alternatives.

    Raises
    ------
    UserError
        When a filter is no pair.
    """
    found: dict[str, Any] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not (key and sign and value):
            raise UserError(f"--filter-{column} {text}: expected ENTITY=VALUE, such as acquisition=mprage")
        values = [None if part == "null" else part for part in value.split(",")]
        found[key] = values[0] if len(values) == 1 else values
    return found


def read_label(option: str, text: str | None, prefix: str) -> str | None:
    """Return a label without its prefix (``ses-``, ``run-``), None for none."""
    if text is None:
        return None
    label = text.strip().removeprefix(prefix)
    if not label:
        raise UserError(f"{option}: is empty; give a label")
    return label
