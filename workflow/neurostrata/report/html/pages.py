"""Rendering of pages with the jinja2 templates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from neurostrata import __version__
from neurostrata.core.files import atomic_path


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> None:
    """Render a template into an HTML file, atomically.

    Parameters
    ----------
    path
        HTML file.
    template
        Name under ``templates/``.
    content
        The variables of the template; the version is added.
    """
    html = _environment().get_template(template).render(**content, version=__version__)
    with atomic_path(path, record=False) as temporary:
        temporary.write_text(html, encoding="utf-8")
