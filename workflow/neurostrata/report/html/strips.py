"""Blocks that a script fills with the numbers of everybody: who a person is, and where each person lies in the cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


#: Further scripts of a person's page, and of every page with :class:`Strips`; both want the styles.
PERSON_SCRIPTS = ("viewer.js", "strips.js", "people.js")
STRIP_SCRIPTS = ("strips.js",)
STRIP_STYLES = ("people.css",)


@dataclass(frozen=True)
class PersonFacts:
    """Age, decisions, clusters and the pages before and after; `data` is the link to the numbers of everybody."""

    subject: str
    data: str
    block: str = "person_facts"


@dataclass(frozen=True)
class Strips:
    """One strip of everybody's values per measure.

    Attributes
    ----------
    groups
        Groups of measures to draw; empty for those that no other block of the page draws.
    person
        Id of the person whom the page is about, or "" for a page about everybody.
    data
        Link to the numbers of everybody, where no other block of the page has loaded them; else "".
    """

    groups: Sequence[str] = ()
    person: str = ""
    data: str = ""
    block: str = "strips"
