"""Blocks that a script fills with the numbers of everybody: who a person is, and where each person lies in the cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurostrata.report.data.layout import relative_link

if TYPE_CHECKING:
    from neurostrata.report.html.page import Page


#: Groups of measures that say how good a person's images are.
QUALITY_GROUPS = ("scan", "placement", "brain", "diffusion", "maps", "model")
#: Further scripts of a person's page, and of the reviewing page; both want the styles.
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
        Link to the numbers of everybody, with which the block brings its script and style; "" where the page has them.
    """

    groups: Sequence[str] = ()
    person: str = ""
    data: str = ""
    block: str = "strips"


def quality_strips(page: Page) -> Strips:
    """Return the strips of everybody's quality measures, in which one person can be followed.

    Parameters
    ----------
    page
        The page that the block will stand on, one about everybody.
    """
    return Strips(groups=QUALITY_GROUPS, data=relative_link(page.study.tree.people_data, page.path))
