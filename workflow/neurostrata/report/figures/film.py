"""Slices on a dark ground, as films on a light box: they read the same on a light page, on a dark one and in print.

Two images of different voxel sizes are drawn over each other at their places in millimetres, without resampling. The axes of
both must be those of the study template (fusion grid, template).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from neurostrata.report.figures.slices import SIDES, try_upright
from neurostrata.report.figures.style import BLACK, ON_BLACK, figure_style

#: Dark in the middle, light at both ends, told apart by colour-blind readers (Crameri's "berlin").
SIGNED = "berlin"
#: Width of a film in inches. At 420 pixels its smallest words are 10 pixels high.
WIDTH = 5.2
#: Height of a coronal slice in inches at most.
_TALLEST = 1.35
_WORDS_PT, _SMALL_PT = 9.0, 8.0
_HORIZONTAL, _VERTICAL = (1, 0, 0), (2, 2, 1)  # by the axis that is cut across


@dataclass(frozen=True)
class Placed:
    """An image with axes to the right, front and top, and its place in space.

    Attributes
    ----------
    data : array, shape (x, y, z)
    affine : array, shape (4, 4)
        Voxel indices to mm.
    """

    data: np.ndarray
    affine: np.ndarray

    def index(self, axis: int, position: float) -> int:
        """Return the slice across an axis at a position in mm, kept inside the image."""
        index = round((position - self.affine[axis, 3]) / self.affine[axis, axis])
        return min(max(index, 0), self.data.shape[axis] - 1)

    def position(self, axis: int, index: float) -> float:
        """Return the position in mm of a slice across an axis."""
        return float(self.affine[axis, 3] + index * self.affine[axis, axis])

    def edges(self, axis: int) -> tuple[float, float]:
        """Return where the image begins and ends along an axis, in mm."""
        return self.position(axis, -0.5), self.position(axis, self.data.shape[axis] - 0.5)


def straight(affine: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """Return an affine along the axes of a base image: scale and origin alone.

    A template may be oblique; images on its axes are then drawn along them, in mm from its origin.
    """
    zooms = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    turned = np.diag([*zooms, 1.0])
    axes = affine[:3, :3] / zooms if base is None else base[:3, :3] / np.sqrt((base[:3, :3] ** 2).sum(axis=0))
    turned[:3, 3] = np.linalg.solve(axes, affine[:3, 3])
    return turned


def read_placed(path: Path) -> Placed | None:
    """Read an image; None when it is absent or cannot be read. A damaged result of the study raises."""
    image = try_upright(path)
    return None if image is None else Placed(image.data, straight(image.grid.affine))


@dataclass(frozen=True)
class Cut:
    """A slice across an axis (0 sagittal, 1 coronal, 2 axial) at a position in mm."""

    axis: int
    position: float

    @property
    def words(self) -> str:
        """Where it is."""
        return f"{'xyz'[self.axis]} = {round(self.position)} mm".replace("-", "−")


@dataclass(frozen=True)
class Layer:
    """What is drawn in a panel.

    Attributes
    ----------
    image
        The values.
    colours, low, high
        Colour map and its range.
    power
        Of the distance from the middle of the range: below 1, small values are told apart better.
    opacity
        (x, y, z) of the image, 0 to 1; None: as the film's outline says.
    lines
        Values at which lines are drawn.
    """

    image: Placed
    colours: str
    low: float
    high: float
    power: float = 1.0
    opacity: np.ndarray | None = None
    lines: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One slice: layers from the bottom up, and words under it."""

    cut: Cut
    layers: tuple[Layer, ...]
    words: str = ""
    title: str = ""


@dataclass(frozen=True)
class Bar:
    """A colour bar: its map and range, its label, and ticks."""

    colours: str
    low: float
    high: float
    label: str
    ticks: tuple[float, ...] = ()
    power: float = 1.0


def spread(values: np.ndarray, low: float, high: float, power: float) -> np.ndarray:
    """Return where values lie in a colour map, 0 to 1: linear, or by a power of the distance from its middle."""
    middle = np.clip((values - low) / (high - low), 0, 1) * 2 - 1
    return (1 + np.sign(middle) * np.abs(middle) ** power) / 2


def box_of(mask: Placed, margin_mm: float = 4.0) -> list[tuple[float, float]]:
    """Return the range in mm that a mask takes along each axis, with a margin."""
    inside = mask.data > 0
    found = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        along = np.flatnonzero(inside.any(axis=others)) if inside.any() else np.arange(mask.data.shape[axis])
        low, high = mask.position(axis, along[0] - 0.5), mask.position(axis, along[-1] + 0.5)
        found.append((low - margin_mm, high + margin_mm))
    return found


def draw_film(
    rows: Sequence[Sequence[Panel]],
    box: Sequence[tuple[float, float]],
    *,
    names: Sequence[str] = (),
    bars: Sequence[Bar] = (),
    width: float = WIDTH,
) -> Figure:
    """Draw rows of slices, all to one scale, with colour bars under them.

    Parameters
    ----------
    rows
        Panels from left to right.
    box
        Range in mm that is shown along each axis (:func:`box_of`).
    names
        Words over each row.
    bars
        Colour bars, side by side.
    width
        In inches.
    """
    extent = [high - low for low, high in box]
    gap, side, word = 0.05, 0.08, 0.19
    widths = [[extent[_HORIZONTAL[panel.cut.axis]] for panel in row] for row in rows]
    scale = min((width - 2 * side - gap * (len(row) - 1)) / sum(row) for row in widths)
    scale = min(scale, _TALLEST / extent[2])
    heights = [max(extent[_VERTICAL[panel.cut.axis]] for panel in row) * scale for row in rows]
    titled = [any(panel.title for panel in row) for row in rows]
    above = [(word if position < len(names) and names[position] else 0.04) + (word if has else 0)
             for position, has in enumerate(titled)]  # fmt: skip
    below = [word if any(panel.words for panel in row) else 0.02 for row in rows]
    bar_height = 0.62 if bars else 0.06
    height = sum(heights) + sum(above) + sum(below) + bar_height + 0.05
    with figure_style():
        figure = Figure(figsize=(width, height), facecolor=BLACK)
        # one panel of axes for all slices, in inches: axes of their own would take most of the time
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], autoscale_on=False)
        axis.spines[:].set_visible(False)
        # a rectangle, which stays where a page's figures are saved without their ground
        axis.add_patch(Rectangle((0, 0), width, height, facecolor=BLACK, zorder=-1))
        top = height - 0.05
        for position, row in enumerate(rows):
            name = names[position] if position < len(names) else ""
            if name:
                axis.text(
                    side, top - 0.02, name, color=ON_BLACK, fontsize=_WORDS_PT, fontweight="bold", va="top"
                )
            top -= above[position]
            left = (width - sum(widths[position]) * scale - gap * (len(row) - 1)) / 2
            for panel, size in zip(row, widths[position]):
                tall = extent[_VERTICAL[panel.cut.axis]] * scale
                bottom = top - heights[position] + (heights[position] - tall) / 2
                _draw_panel(axis, panel, box, left, bottom, scale)
                middle = left + size * scale / 2
                for words, height_of, va in (
                    (panel.title, top + 0.03, "bottom"),
                    (panel.words, top - heights[position] - 0.02, "top"),
                ):
                    if words:
                        axis.text(
                            middle, height_of, words, color=ON_BLACK, fontsize=_SMALL_PT, ha="center", va=va
                        )
                left += size * scale + gap
            top -= heights[position] + below[position]
        _draw_bars(figure, bars, width, height)
    return figure


def _draw_panel(
    axis: Axes, panel: Panel, box: Sequence[tuple[float, float]], left: float, bottom: float, scale: float
) -> None:
    """Draw a slice with its lower left corner at a place in inches, `scale` inches to a millimetre."""
    across, up = _HORIZONTAL[panel.cut.axis], _VERTICAL[panel.cut.axis]
    wide, tall = ((box[along][1] - box[along][0]) * scale for along in (across, up))
    frame = Rectangle((left, bottom), wide, tall, transform=axis.transData)
    for layer in panel.layers:
        index = layer.image.index(panel.cut.axis, panel.cut.position)
        values = np.take(layer.image.data, index, axis=panel.cut.axis).T
        edges = [left + (edge - box[across][0]) * scale for edge in layer.image.edges(across)]
        edges += [bottom + (edge - box[up][0]) * scale for edge in layer.image.edges(up)]
        colours: Colormap = matplotlib.colormaps[layer.colours]
        known = np.nan_to_num(values)
        painted = colours(spread(known, layer.low, layer.high, layer.power))
        painted[..., 3] = np.isfinite(values)
        if layer.opacity is not None:
            painted[..., 3] *= np.take(layer.opacity, index, axis=panel.cut.axis).T
        extent = (edges[0], edges[1], edges[2], edges[3])
        axis.imshow(
            painted, origin="lower", extent=extent, interpolation="nearest", aspect="auto"
        ).set_clip_path(frame)
        lines = sorted(line for line in layer.lines if known.min() < line < known.max())
        if lines:
            rows, columns = known.shape
            x = edges[0] + (np.arange(columns) + 0.5) * (edges[1] - edges[0]) / columns
            y = edges[2] + (np.arange(rows) + 0.5) * (edges[3] - edges[2]) / rows
            styles = ["solid" if line > 0 else "dashed" for line in lines]
            axis.contour(
                x, y, known, levels=lines, colors=[ON_BLACK], linewidths=0.7, linestyles=styles
            ).set_clip_path(frame)
    for letter, place, ha in zip(SIDES[panel.cut.axis], (left, left + wide), ("left", "right")):
        axis.text(place, bottom + 0.98 * tall, letter, color=ON_BLACK, fontsize=_SMALL_PT, ha=ha, va="top")


def _draw_bars(figure: Figure, bars: Sequence[Bar], width: float, height: float) -> None:
    if not bars:
        return
    size = min(2.6, (width - 0.5 * (len(bars) + 1)) / len(bars))
    space = (width - size * len(bars)) / (len(bars) + 1)
    for number, bar in enumerate(bars):
        left = space + number * (size + space)
        axis = figure.add_axes((left / width, 0.42 / height, size / width, 0.1 / height))
        axis.imshow(np.linspace(0, 1, 256)[None], cmap=bar.colours, aspect="auto", extent=(0, 1, 0, 1))
        axis.set(yticks=[], xlim=(0, 1))
        ticks = np.array(bar.ticks or (bar.low, bar.high))
        words = [f"{value:.2g}".replace("-", "−") for value in ticks]
        axis.set_xticks(spread(ticks, bar.low, bar.high, bar.power), words)
        axis.tick_params(axis="x", colors=ON_BLACK, labelsize=_SMALL_PT, length=2, pad=1)
        axis.set_xlabel(bar.label, color=ON_BLACK, fontsize=_SMALL_PT, labelpad=1)
        axis.spines[:].set_visible(False)
