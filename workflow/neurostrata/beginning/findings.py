"""What was found in a folder of images, and what a person asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neurostrata.beginning.tables import PeopleTable
from neurostrata.cohort.sheet import Row


@dataclass(frozen=True)
class Wishes:
    """What a person chose among the files, by the options of BIDS apps.

    Attributes
    ----------
    participants
        The only people to take; empty for everybody.
    session, run
        Label, or first, last (and of sessions: all); None where nothing was chosen.
    filters
        Column -> entity -> value.
    patterns
        Column -> where loose images are, with ``{subject}`` in the place of the id.
    tables
        Tables of people outside the folder.
    """

    participants: Sequence[str] = ()
    session: str | None = None
    run: str | None = None
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[str] = ()


@dataclass
class Findings:
    """What a folder holds.

    Attributes
    ----------
    layout
        The kind of folder, in words.
    cohort
        The section `cohort` of the configuration, only what is not default.
    comments
        Key of the section -> comment.
    choices
        Lines of comments under the section, with keys that only a person can set.
    rows
        A row per person, as the workflow will see them.
    sheet
        Columns of a cohort sheet to be written; empty where the workflow finds the images itself.
    tables
        Tables with rows of these people.
    certain
        Paths of the tables that hold phenotypes without doubt.
    beside
        Paths of the tables that were named (`--table`) and only describe people: age, sex, families.
    further
        Columns of further images, whose space is not known.
    suffixes
        Suffixes of further images of BIDS datasets.
    in_t1w_space
        Whether the diffusion data are in the space of the T1w image.
    notes, unused
        What was found, and what was not used and why, a line each.
    """

    layout: str
    cohort: dict[str, Any]
    rows: list[Row]
    comments: dict[str, str] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    sheet: list[str] = field(default_factory=list)
    tables: list[PeopleTable] = field(default_factory=list)
    certain: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    further: list[str] = field(default_factory=list)
    suffixes: list[str] = field(default_factory=list)
    in_t1w_space: bool = False
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def having(self, *columns: str) -> list[Row]:
        """Return the rows that have an image in each of some columns."""
        return [row for row in self.rows if all(row.get(column) for column in columns)]
