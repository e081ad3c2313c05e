"""Blocks of the overview: the verdict of an experiment, links with the reason to follow them, the pages, lists of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from neurostrata.report.html.blocks import Link


@dataclass
class VerdictCard:
    """What was found in one experiment, with what supports and what limits it.

    A card that leads to the experiment's page (`href`) folds the sentences that stand there in full.
    """

    name: str
    href: str
    what: str
    colour: str
    label: str
    headline: str
    sentences: Sequence[str]
    cautions: Sequence[str]
    sources: list[Link] = field(default_factory=list)
    block: str = "verdict"


@dataclass(frozen=True)
class Lead:
    """A link and why to follow it."""

    text: str
    href: str
    why: str = ""


@dataclass
class Leads:
    """Links in the order in which to follow them."""

    items: list[Lead]
    block: str = "leads"


@dataclass
class PageList:
    """The pages of the report with their sections; ``pages`` is filled when all are made."""

    pages: Sequence[object] = ()
    block: str = "contents"


@dataclass
class Names:
    """Groups of people by name: (name of the group, links to the people)."""

    groups: list[tuple[str, list[Link]]]
    sources: list[Link] = field(default_factory=list)
    block: str = "names"
