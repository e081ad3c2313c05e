"""Parts of a person's pictures: matrices that are read leniently, outlines and viewers of a montage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.core.records import DamagedError
from neurostrata.imaging.images.io import Image
from neurostrata.report.figures.slices import PLANES, SIDES
from neurostrata.report.html.page import Page
from neurostrata.report.html.viewer import Layer, Mark, Outline, PlaneView, Viewer
from neurostrata.report.people.montage import (
    STEPS_PER_PIXEL,
    Montage,
    outlines,
    svg_path,
    values_on,
)


def try_matrix(path: Path) -> np.ndarray | None:
    """Return an affine, T1w points to diffusion points; None when it is absent or cannot be read."""
    from neurostrata.imaging.registration.transforms import read_affine

    if not path.is_file():
        return None
    try:
        return read_affine(path)
    except DamagedError:
        raise  # it was changed after its stage wrote it: it must be made again, not left out
    except UserError:
        return None


def outline_of(
    montage: Montage, key: str, name: str, image: Image, level: float, matrix: np.ndarray | None = None
) -> Outline:
    """Return the line along which an image crosses a level, for a viewer of this montage."""
    lines = outlines(values_on(montage, image, matrix), level)
    return Outline(key, name, [svg_path(montage, lines, plane) for plane in range(3)])


def new_viewer(
    page: Page,
    montage: Montage,
    key: str,
    title: str,
    caption: str,
    layers: Sequence[Layer],
    lines: Sequence[Outline],
    sources: Sequence[Path],
    *,
    alt: str,
    compare: bool = True,
    lines_shown: bool = True,
) -> Viewer:
    """Return the viewer of a montage's pictures.

    Parameters
    ----------
    compare
        Whether its layers show the same thing, so that sliding and flickering between them makes sense.
    lines_shown
        Whether the outlines are shown at first.
    """
    planes = []
    for plane, name in enumerate(PLANES):
        panels = montage.of_plane(plane)
        left, top = panels[0].left, panels[0].top
        width = panels[-1].left + panels[-1].width - left
        marks = []
        for panel in panels:
            size = 0.085 * panel.height
            base = panel.top + size
            marks.append(Mark(SIDES[plane][0], panel.left + 3, base))
            marks.append(Mark(SIDES[plane][1], panel.left + panel.width - 3, base, "end"))
        slices = [(p.left, p.top, p.width, p.height) for p in panels]
        planes.append(PlaneView(name, left, top, width, panels[0].height, slices, marks))
    return Viewer(
        key=key,
        title=title,
        caption=caption,
        alt=alt,
        layers=list(layers),
        planes=planes,
        width=montage.width,
        height=montage.height,
        path_scale=1 / STEPS_PER_PIXEL,
        outlines=list(lines),
        compare=compare,
        lines_shown=lines_shown,
        sources=page.sources(*sources),
    )
