"""Figures of images: the template, and a person's scans, registration and maps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neurostrata.imaging.template.convergence import convergence_panels
from neurostrata.report.figures.slices import PLANES, Volume, bounding_box, cut, positions
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


def display_range(volume: Volume, mask: np.ndarray | None = None) -> tuple[float, float]:
    """Return the grey window: the 1st to the 99.5th percentile inside the mask (or of non-zero voxels)."""
    values = volume.data[mask > 0] if mask is not None and mask.shape == volume.data.shape else volume.data
    values = values[np.isfinite(values) & (values != 0)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, [1, 99.5]))
    return (low, high) if high > low else (low, low + 1.0)


def slice_rows(
    volume: Volume,
    *,
    outline: Volume | None = None,
    compared: Volume | None = None,
    names: Sequence[str] = (),
    per_plane: int = 3,
    colours: str = "gray",
    window: tuple[float, float] | None = None,
    label: str = "",
    logarithmic: bool = False,
    inside_only: bool = False,
    width: float = 10.0,
    narrow: bool = False,
) -> Figure:
    """Draw slices of a volume in three planes, on black, one row; a second row for a volume to compare with.

    Parameters
    ----------
    volume
        What to draw.
    outline
        Mask on the same grid, drawn as a line.
    compared
        Second row: another volume on the same grid, in its own grey window.
    names
        Row labels.
    per_plane
        Slices per plane.
    colours, window
        Colour map and its range; the window defaults to :func:`display_range`.
    label
        Of the colour bar; without one there is no bar.
    logarithmic
        Draw log2 of the values: for Jacobians, where 2 and 1/2 are equally far from 1.
    inside_only
        Leave what is outside the mask black.
    width
        In inches.
    narrow
        For a narrow screen: the planes below each other, whatever the width.
    """
    mask = outline.data if outline is not None and outline.data.shape == volume.data.shape else None
    box = bounding_box(mask if mask is not None else volume.data)
    rows = [volume] + (
        [compared] if compared is not None and compared.data.shape == volume.data.shape else []
    )
    cuts = [(axis, index) for axis in range(3) for index in positions(box, axis, per_plane)]
    sizes = [part.stop - part.start for part in box]
    extent = [size * zoom for size, zoom in zip(sizes, volume.zooms)]
    widths = [extent[1] if axis == 0 else extent[0] for axis, _ in cuts]
    heights = [extent[1] if axis == 2 else extent[2] for axis, _ in cuts]
    across = per_plane if narrow else len(cuts)
    bands = len(cuts) // across
    width = NARROW if narrow else width
    with figure_style():
        usable = width - (0.9 if label else 0.1) - (0.35 if names else 0)
        widest = max(sum(widths[band * across : (band + 1) * across]) for band in range(bands))
        height = sum(max(heights[band * across : (band + 1) * across]) for band in range(bands))
        figure = new_figure(width, len(rows) * (height * usable / widest + 0.06 * bands) + 0.3 * bands)
        axes = figure.subplots(
            len(rows) * bands, across, squeeze=False, width_ratios=[1] * across if narrow else widths
        )
        picture = None
        for r, source in enumerate(rows):
            low, high = window if window is not None else display_range(source, mask)
            for c, (axis, index) in enumerate(cuts):
                panel = axes[r + len(rows) * (c // across), c % across]
                values, aspect = cut(source, axis, index, box)
                inside = (
                    cut(Volume(mask, volume.zooms), axis, index, box)[0] > 0 if mask is not None else None
                )
                if logarithmic:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        values = np.log2(np.where(values > 0, values, np.nan))
                if inside is not None and (logarithmic or colours != "gray"):
                    values = np.where(inside, values, np.nan)
                elif inside is not None and inside_only:
                    values = np.where(inside, values, low)
                picture = panel.imshow(
                    values, cmap=colours, vmin=low, vmax=high, origin="lower", aspect=aspect
                )
                if inside is not None and inside.any() and not inside.all() and colours == "gray":
                    panel.contour(inside, levels=[0.5], colors=OUTLINE, linewidths=1.1)
                hide_frame(panel)
                if r == 0 and c % per_plane == per_plane // 2:
                    panel.set_title(PLANES[axis], fontsize=9, fontweight="normal")
            for band in range(bands if names else 0):
                axes[r + len(rows) * band, 0].set_ylabel(names[r], fontsize=9)
        if label and picture is not None:
            figure.colorbar(picture, ax=axes, label=label, shrink=0.95, pad=0.012, aspect=14)
        tighten(figure)
    return on_black(figure)
