"""Rendering of pages with the jinja2 templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from neurostrata import __version__
from neurostrata.core.files import atomic_path
from neurostrata.report.data.layout import relative_link
from neurostrata.report.html.folder import PAGES, SCRIPTS, STYLES, script_json, write_assets, write_data
from neurostrata.report.html.navigation import Around, fixed_navigation


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # {{ data | script_json }} inside <script type="application/json">
    environment.filters["script_json"] = lambda value: markupsafe.Markup(script_json(value))
    return environment


def write_page(
    path: Path,
    template: str,
    content: Mapping[str, Any],
    *,
    report: Path | None = None,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> None:
    """Render a template into an HTML file, atomically, with the scripts and styles that it links.

    Parameters
    ----------
    path
        HTML file.
    template
        Name under ``templates/``.
    content
        The variables of the template: ``title`` and ``sections`` of ``page.html.j2``, and what differs from an empty
        frame, such as ``study`` (title of the study), ``above`` (a :class:`Link` to the page that leads here),
        ``navigation`` and ``around``. A page that is made before the experiments' pages are known has the navigation of
        :func:`~neurostrata.report.html.navigation.fixed_navigation`.
    report
        Folder of ``index.html``; by default the page's own folder.
    scripts, styles
        Further files of ``html/assets/`` that this page loads after those of every page.
    """
    report = report or path.parent
    assets = write_assets(report)
    root = relative_link(report, path)
    variables = {
        "navigation": fixed_navigation(report, path),
        "around": Around(),
        "study": "",
        "above": None,
        "description": "",
        "facts": "",
        "moved": {},
        **content,
        "version": __version__,
        "root": "" if root == "." else f"{root}/",
        "assets": f"{relative_link(assets, path)}/",
        "scripts": [*SCRIPTS, *scripts],
        "styles": [*STYLES, *styles],
    }
    if any(entry.placeholder for entry in variables["navigation"]) and not (report / PAGES).is_file():
        write_data(
            report / PAGES, "neurostrataPages", []
        )  # until the report is made, so that the page's script finds it
    html = _environment().get_template(template).render(**variables)
    with atomic_path(path, record=False) as temporary:
        temporary.write_text(html, encoding="utf-8")
