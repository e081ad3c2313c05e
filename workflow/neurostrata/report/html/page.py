"""A page while it is made: its path, the folder of its figures, and its links to the tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neurostrata.report.data.layout import relative_link
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.blocks import Figure, Link
from neurostrata.report.html.folder import copied

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclass
class Page:
    """One HTML file being made from a study.

    Attributes
    ----------
    study
        The study that the page is about.
    path
        The HTML file.
    figures
        Folder of its figures.
    """

    study: StudyResults
    path: Path
    figures: Path

    @property
    def report(self) -> Path:
        """The folder of the report, which holds all that its pages link."""
        own = Path(self.study.tree.root) / "report"
        return own if self.path.is_relative_to(own) else self.path.parent

    def sources(self, *paths: Path) -> list[Link]:
        """Return links to those of the given files that exist; files that are not part of the report are named only."""
        root = self.study.tree.root
        return [
            Link(
                path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name, self.href(path)
            )
            for path in paths
            if path.exists()
        ]

    def href(self, path: Path) -> str:
        """Return the relative link to a file, "" when it is not part of the report.

        A table of the results becomes part of it: it is copied (:func:`~neurostrata.report.html.folder.copied`).
        """
        target = copied(self.report, self.study.tree.root, path)
        return "" if target is None else relative_link(target, self.path)

    def figure(
        self,
        drawing: Drawing,
        name: str,
        title: str,
        caption: str,
        *sources: Path,
        alt: str = "",
        wide: bool = True,
    ) -> Figure:
        """Save a drawing under the page's figures and return the block that shows it.

        Parameters
        ----------
        drawing
            matplotlib figure.
        name
            File name with folders and suffix, such as ``jac-ndi/clusters.svg``.
        title, caption, alt
            Texts; `alt` defaults to the title.
        *sources
            Files that the figure was drawn from.
        wide
            Whether it may use the whole width of the page.
        """
        from neurostrata.report.figures.style import save_figure

        path = save_figure(drawing, self.figures / name)
        return Figure(
            href=self.href(path),
            title=title,
            caption=caption,
            alt=alt or title,
            sources=self.sources(*sources),
            wide=wide,
        )
