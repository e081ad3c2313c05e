"""Blocks of images that lie on top of each other: layers, outlines and a slider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import matplotlib
from matplotlib.colors import to_hex

from neurostrata.report.html.blocks import Link


@dataclass(frozen=True)
class ColourBar:
    """The colours of a map: stops of a gradient, and the numbers at its ends and middle."""

    label: str
    stops: Sequence[str]
    ticks: Sequence[str]


@dataclass(frozen=True)
class Layer:
    """One picture of a viewer; all pictures of a viewer show the same points of space.

    Attributes
    ----------
    name
        On its button.
    href
        The picture.
    bar
        Its colours, or None for a grey image without units.
    """

    name: str
    href: str
    bar: ColourBar | None = None


@dataclass(frozen=True)
class Outline:
    """Lines over all layers.

    Attributes
    ----------
    key
        Class of its colour: ``mask``, ``white`` or ``diffusion``.
    name
        What the line is.
    paths
        Data of an SVG path per plane.
    """

    key: str
    name: str
    paths: Sequence[str]


@dataclass(frozen=True)
class Mark:
    """A short text over a slice, at a pixel of the picture."""

    text: str
    x: float
    y: float
    anchor: str = "start"


@dataclass(frozen=True)
class PlaneView:
    """The part of the pictures that one plane takes up."""

    name: str
    left: int
    top: int
    width: int
    height: int
    slices: Sequence[tuple[int, int, int, int]]
    marks: Sequence[Mark]


@dataclass
class Viewer:
    """Layers of slices with outlines on top, and how to switch, flicker and slide between them.

    Attributes
    ----------
    key
        Id in the page.
    title, caption, alt
        Texts.
    layers
        The first is shown first; sliding and flickering is between the chosen one and the first.
    planes, outlines
        What stands on the layers.
    width, height
        Of every picture in pixels.
    path_scale
        Pixels per unit of the paths.
    compare
        Whether sliding and flickering between its layers makes sense.
    lines_shown
        Whether the outlines are shown at first.
    """

    key: str
    title: str
    caption: str
    alt: str
    layers: Sequence[Layer]
    planes: Sequence[PlaneView]
    width: int
    height: int
    path_scale: float = 1.0
    outlines: Sequence[Outline] = ()
    compare: bool = True
    lines_shown: bool = True
    sources: list[Link] = field(default_factory=list)
    block: str = "viewer"


def colour_bar(label: str, colours: str, ticks: Sequence[str], stops: int = 9) -> ColourBar:
    """Return the bar of one of matplotlib's colour maps, with evenly spaced `ticks`."""
    table = matplotlib.colormaps[colours]
    return ColourBar(label, [to_hex(table(i / (stops - 1))) for i in range(stops)], list(ticks))
