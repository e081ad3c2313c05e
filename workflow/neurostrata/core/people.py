"""Comparing tables of people, so that nobody is left out because a line of a table was lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from neurostrata.core.errors import UserError

_NAMED = 3


def require_people(
    path: str | Path, have: Collection[str], wanted: Iterable[str], source: str | Path
) -> None:
    """Raise a :class:`UserError` when a table lacks people that another one says must be in it.

    Parameters
    ----------
    path
        The table.
    have
        The people in it.
    wanted
        The people who must be in it.
    source
        Which file lists them, for the message.
    """
    known = set(have)
    people = list(dict.fromkeys(wanted))
    lacking = [person for person in people if person not in known]
    if lacking:
        named = ", ".join(str(person) for person in lacking[:_NAMED]) + (
            ", ..." if len(lacking) > _NAMED else ""
        )
        raise UserError(
            f"{path}: lacks {len(lacking)} of the {len(people)} people of {source} (subject {named}), perhaps it was cut; "
            f"delete {path} and run again"
        )


def require_number(path: str | Path, have: int, wanted: int, source: str | Path) -> None:
    """Raise a :class:`UserError` when a table has another number of people than its stage wrote."""
    if have != wanted:
        raise UserError(
            f"{path}: has {have} people and {source} says {wanted}, perhaps it was cut; delete {path} and run again"
        )
