"""Figures of images: the template, and a person's scans, registration and maps."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from neurostrata.imaging.template.convergence import convergence_panels
from neurostrata.report.figures.slices import PLANES, Volume, bounding_box, cut, display_range, positions
from neurostrata.report.figures.style import (
    BLUE,
    NARROW,
    RED,
    figure_style,
    hide_frame,
    new_figure,
    on_black,
    tighten,
    whole_ticks,
)

#: Outline of a mask: bright on grey-scale images, and told apart by lightness alone too.
OUTLINE = "#FF5A1F"
#: Slices in each plane.
PER_PLANE = 3


def convergence_figure(table: pd.DataFrame, tolerance: float | None, narrow: bool = False) -> Figure:
    """Draw how the building of the template converged: a panel per measure over the iterations.

    Parameters
    ----------
    table
        ``convergence.tsv``, rows of iterations that were measured.
    tolerance
        Of the change of the template; None where the building never stops early.
    narrow
        For a narrow screen.
    """
    panels = convergence_panels(tolerance)
    with figure_style():
        figure = new_figure(NARROW if narrow else 11.0, 5.2 if narrow else 2.7)
        axes = figure.subplots(*((2, 2) if narrow else (1, len(panels))), squeeze=False)
        for axis, (column, label, line) in zip(axes.flat, panels):
            axis.plot(table["iteration"], table[column].astype(float), "o-", color=BLUE)
            if line is not None:
                axis.axhline(line, color=RED, linewidth=1, linestyle="--")
            axis.set(xlabel="iteration", ylabel=textwrap.fill(label, 22))
            whole_ticks(axis.xaxis)
    return figure


def slice_rows(volume: Volume, *, outline: Volume | None = None, narrow: bool = False) -> Figure:
    """Draw three slices of a volume in each of three planes, on black, in one row.

    Parameters
    ----------
    volume
        What to draw.
    outline
        Mask on the same grid, drawn as a line.
    narrow
        For a narrow screen: the planes below each other.
    """
    mask = outline.data if outline is not None and outline.data.shape == volume.data.shape else None
    box = bounding_box(mask if mask is not None else volume.data)
    cuts = [(axis, index) for axis in range(3) for index in positions(box, axis, PER_PLANE)]
    sizes = [part.stop - part.start for part in box]
    extent = [size * zoom for size, zoom in zip(sizes, volume.zooms)]
    widths = [extent[1] if axis == 0 else extent[0] for axis, _ in cuts]
    heights = [extent[1] if axis == 2 else extent[2] for axis, _ in cuts]
    across = PER_PLANE if narrow else len(cuts)
    bands = len(cuts) // across
    width = NARROW if narrow else 11.0
    low, high = display_range(volume, outline)
    with figure_style():
        widest = max(sum(widths[band * across : (band + 1) * across]) for band in range(bands))
        height = sum(max(heights[band * across : (band + 1) * across]) for band in range(bands))
        figure = new_figure(width, height * (width - 0.1) / widest + 0.36 * bands)
        axes = figure.subplots(bands, across, squeeze=False, width_ratios=[1] * across if narrow else widths)
        for c, (axis, index) in enumerate(cuts):
            panel = axes.flat[c]
            values, aspect = cut(volume, axis, index, box)
            panel.imshow(values, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
            if mask is not None:
                inside = cut(Volume(mask, volume.zooms), axis, index, box)[0] > 0
                if inside.any() and not inside.all():
                    panel.contour(inside, levels=[0.5], colors=OUTLINE, linewidths=1.1)
            hide_frame(panel)
            if c % PER_PLANE == PER_PLANE // 2:
                panel.set_title(PLANES[axis], fontsize=9, fontweight="normal")
        tighten(figure)
    return on_black(figure)
