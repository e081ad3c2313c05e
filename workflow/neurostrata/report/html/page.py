"""A page while it is made: its path, the folder of its figures, and its links to the tables."""

from __future__ import annotations

from collections.abc import Callable
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
        drawing: Drawing | Callable[..., Drawing],
        name: str,
        title: str,
        caption: str,
        *sources: Path,
        alt: str = "",
        wide: bool = True,
        picture: bool = False,
    ) -> Figure:
        """Save a drawing under the page's figures and return the block that shows it.

        A figure whose name ends in ``.svg`` stands in the page itself, where it follows the page's colours, with its SVG and
        a PNG as files beside the page. One that ends in ``.png`` is that file and nothing else.

        Parameters
        ----------
        drawing
            matplotlib figure; or a function with the argument `narrow`, which draws one for wide (False) and one for narrow
            screens (True).
        name
            File name with folders and suffix, such as ``jac-ndi/clusters.svg``.
        title, caption, alt
            Texts; `alt` says what is seen and defaults to the title.
        *sources
            Files that the figure was drawn from.
        wide
            Whether it may use the whole width of the page.
        picture
            Show the SVG file rather than its content: for images of brains, which are large and keep their colours.
        """
        from neurostrata.report.figures.style import save_figure
        from neurostrata.report.html.svg import adaptive, inline

        main = drawing(narrow=False) if callable(drawing) else drawing
        path = save_figure(main, self.figures / name)
        figure = Figure(
            href=self.href(path),
            title=title,
            caption=caption,
            alt=alt or title,
            sources=self.sources(*sources),
            wide=wide,
        )
        if path.suffix != ".svg":
            return figure
        figure.png = self.href(save_figure(main, path.with_suffix(".png")))
        if callable(drawing):
            other = save_figure(drawing(narrow=True), path.with_name(f"{path.stem}-narrow.svg"))
            figure.narrow = self.href(other)
            if not picture:  # that of a picture keeps its colours
                other.write_text(adaptive(other.read_text(encoding="utf-8")), encoding="utf-8")
        if not picture:
            figure.svg = inline(path.read_text(encoding="utf-8"), name, figure.alt, self._page_of())
        return figure

    def _page_of(self) -> str:
        """Return the relative link to a person's page, with ``*`` for the id; "" where there are no such pages."""
        one = self.study.tree.subject_page("*")
        link = relative_link(one, self.path).replace("%2A", "*")
        return link if any(one.parent.glob(one.name)) else ""
