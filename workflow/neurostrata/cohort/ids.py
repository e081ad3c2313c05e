"""Ids of people: how they are read and compared, in every table. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neurostrata.core.errors import UserError

#: Names of a table's column of ids when none is configured: neurostrata's, BIDS's, HCP's.
ID_COLUMNS = ("subject", "participant_id", "Subject")

_SUBJECT = re.compile(r"[A-Za-z0-9]+")
_WHOLE = re.compile(r"([0-9]+)\.0+")


def plain_id(text: str) -> str:
    """Return an id in the form in which ids are compared: without blanks around it and without one leading ``sub-``.

    Whole numbers lose a ``.0``, which spreadsheets add when they save ids as floating-point numbers.
    """
    text = text.strip().removeprefix("sub-")
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def subject_id(text: str) -> str:
    """Return the id of a person of the study: :func:`plain_id`, letters and digits only.

    Raises
    ------
    UserError
        When the id has any other character, since ids become names of files.
    """
    subject = plain_id(text)
    if not _SUBJECT.fullmatch(subject):
        raise UserError(
            f"subject '{text}': an id may only have letters and digits (after an optional 'sub-')"
        )
    return subject


def find_id_column(columns: Sequence[str], configured: str | None, place: str, key: str = "") -> str:
    """Return the name of a table's column of ids.

    Parameters
    ----------
    columns
        The table's column names.
    configured
        Its configured name; None takes the first of :data:`ID_COLUMNS` that the table has.
    place
        The table, for the message.
    key
        The key of the configuration that would name the column, for the message.

    Raises
    ------
    UserError
        When the table has no such column.
    """
    names = ID_COLUMNS if configured is None else (configured,)
    found = [name for name in names if name in columns]
    if not found:
        some = ", ".join(list(columns)[:5]) + (", ..." if len(columns) > 5 else "")
        remedy = f"; set {key}" if key else "; name it 'subject'"
        raise UserError(f"{place}: no id column {' or '.join(names)} (found: {some}){remedy}")
    return found[0]


def _likeness(identity: str) -> str:
    """Return an id without case, punctuation, ``sub`` and leading zeros of numbers."""
    text = re.sub(r"[^a-z0-9]", "", identity.lower()).removeprefix("sub")
    return re.sub(r"0*([0-9]+)", r"\1", text)


@dataclass(frozen=True)
class Matching:
    """Which of the study's people have a row in a table.

    Attributes
    ----------
    known
        People of the study who have a row.
    unknown
        People without one.
    near
        Pairs of a person without a row, and an id of the table that is nobody's and differs from theirs only in
        leading zeros, case or punctuation.
    """

    known: list[str]
    unknown: list[str]
    near: list[tuple[str, str]]


def match_ids(subjects: Iterable[str], ids: Iterable[str]) -> Matching:
    """Match the study's people with the (plain) ids of a table."""
    in_table = dict.fromkeys(ids)
    everybody = list(subjects)
    known = [subject for subject in everybody if subject in in_table]
    unknown = [subject for subject in everybody if subject not in in_table]
    in_study = set(everybody)
    nobodys: dict[str, list[str]] = {}
    if unknown:
        for identity in in_table:
            if identity not in in_study:
                nobodys.setdefault(_likeness(identity), []).append(identity)
    near = [
        (subject, nobodys[likeness][0]) for subject in unknown if (likeness := _likeness(subject)) in nobodys
    ]
    return Matching(known, unknown, near)
