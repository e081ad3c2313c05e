"""Ids of people: how they are read from every table, and which of them belong together. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neurostrata.core.errors import UserError

#: Names of a table's column of ids when none is configured: ours, BIDS's, HCP's.
ID_COLUMNS = ("subject", "participant_id", "Subject")

_SUBJECT = re.compile(r"[A-Za-z0-9]+")
_WHOLE = re.compile(r"([0-9]+)\.0+")


def plain_id(text: str) -> str:
    """Return an id as it is compared: without blanks around it and without ``sub-``, removed once.

    Whole numbers lose a ``.0``, which comes from spreadsheets that saved ids as floating-point numbers.
    """
    text = text.strip().removeprefix("sub-")
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def subject_id(text: str) -> str:
    """Return the id of a person of the study: :func:`plain_id`, letters and digits only.

    Raises
    ------
    UserError
        When there is anything else in it, as ids become names of files.
    """
    subject = plain_id(text)
    if not _SUBJECT.fullmatch(subject):
        raise UserError(f"subject '{text}': an id has letters and digits only (a leading 'sub-' is allowed)")
    return subject


def find_id_column(columns: Sequence[str], wanted: str | None, place: str, key: str = "") -> str:
    """Return the name of a table's column of ids.

    Parameters
    ----------
    columns
        The table's column names.
    wanted
        Its configured name; None takes the first of :data:`ID_COLUMNS` that is there.
    place
        The table, for the message.
    key
        The key of the configuration that would name the column, for the message.

    Raises
    ------
    UserError
        When there is none.
    """
    names = ID_COLUMNS if wanted is None else (wanted,)
    found = [name for name in names if name in columns]
    if not found:
        some = ", ".join(list(columns)[:5]) + (", ..." if len(columns) > 5 else "")
        remedy = f"; set {key}" if key else "; name it 'subject'"
        raise UserError(f"{place}: no id column {' or '.join(names)} (found: {some}){remedy}")
    return found[0]


def _likeness(identity: str) -> str:
    """Return what is left of an id when case, punctuation, ``sub`` and leading zeros of numbers are ignored."""
    text = re.sub(r"[^a-z0-9]", "", identity.lower()).removeprefix("sub")
    return re.sub(r"0*([0-9]+)", r"\1", text)


@dataclass(frozen=True)
class Matching:
    """Which of the study's people a table knows.

    Attributes
    ----------
    known
        People of the study who have a row.
    unknown
        The others.
    near
        Pairs of a person without a row, and an id of nobody that differs from theirs in leading zeros, case or
        punctuation only.
    """

    known: list[str]
    unknown: list[str]
    near: list[tuple[str, str]]


def match_ids(subjects: Iterable[str], ids: Iterable[str]) -> Matching:
    """Match the study's people with the (plain) ids of a table."""
    there = dict.fromkeys(ids)
    everybody = list(subjects)
    known = [subject for subject in everybody if subject in there]
    unknown = [subject for subject in everybody if subject not in there]
    taken = set(everybody)
    strangers: dict[str, list[str]] = {}
    if unknown:
        for identity in there:
            if identity not in taken:
                strangers.setdefault(_likeness(identity), []).append(identity)
    near = [
        (subject, strangers[likeness][0])
        for subject in unknown
        if (likeness := _likeness(subject)) in strangers
    ]
    return Matching(known, unknown, near)
