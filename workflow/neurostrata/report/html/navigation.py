"""The navigation, which is the same on every page but for the mark on the current one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neurostrata.report.data.layout import relative_link
from neurostrata.report.html.blocks import Section

#: Pages of every report: (file, title). The pages of the experiments stand after the first :data:`BEFORE_EXPERIMENTS`.
FIXED_PAGES = (
    ("index.html", "Overview"),
    ("cohort.html", "Cohort"),
    ("quality.html", "Quality"),
    ("template.html", "Template"),
    ("phenotypes.html", "Phenotypes"),
    ("models.html", "Models side by side"),
    ("methods.html", "Methods and provenance"),
    ("people.html", "People"),
)
BEFORE_EXPERIMENTS = 5


@dataclass
class Entry:
    """A page in the navigation.

    Attributes
    ----------
    title, href
        Of the page, the link as seen from the page that is written.
    current
        Whether it is the page that is written.
    inner
        Whether it belongs to the page before it.
    parts
        Its sections.
    key
        Of the section that is the whole page; "" for a page of several.
    placeholder
        Stands for the experiments on pages that are made before those are known; a script fills it.
    """

    title: str
    href: str
    current: bool = False
    inner: bool = False
    parts: Sequence[Section] = field(default_factory=list)
    key: str = ""
    placeholder: bool = False


@dataclass(frozen=True)
class Around:
    """The pages before and after a page."""

    previous: Entry | None = None
    next: Entry | None = None


def fixed_navigation(report: Path, path: Path) -> list[Entry]:
    """Return the navigation of a page that is made before the experiments' pages, such as a person's.

    Parameters
    ----------
    report
        Folder of ``index.html``.
    path
        The page.
    """
    entries = [Entry(title, relative_link(report / file, path)) for file, title in FIXED_PAGES]
    entries.insert(BEFORE_EXPERIMENTS, Entry("", "", placeholder=True))
    return entries


def neighbours(entries: Sequence[Entry]) -> Around:
    """Return the pages before and after the current one."""
    at = next((i for i, entry in enumerate(entries) if entry.current), None)
    if at is None:
        return Around()
    return Around(
        entries[at - 1] if at else None,
        entries[at + 1] if at + 1 < len(entries) else None,
    )
