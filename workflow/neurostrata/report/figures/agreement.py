"""Figures of how far the clusters of several experiments and finders agree."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline

from neurostrata.report.figures.style import GREY, cluster_style, figure_style, hide_frame, new_figure

#: Width of a bar, and height of the gaps between clusters as a share of all people.
_BAR, _GAP = 0.16, 0.04


def _readable_on(colour: str | tuple[float, float, float, float]) -> str:
    """Return dark or light words, whichever is told apart better from a colour."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return "#111111" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "#fefefe"


def _kept(colour: str) -> str:
    """Return a colour next to one of the clusters' that stays as it is on a dark page, where those turn lighter: it has words on it."""
    return f"#{int(colour[1:], 16) ^ 1:06x}"


def rand_matrix_figure(values: pd.DataFrame) -> Figure:
    """Draw the adjusted Rand index of every pair of partitions.

    Parameters
    ----------
    values
        Partitions x partitions, symmetric; NaN where a pair was not compared.
    """
    names = [str(name) for name in values.index]
    n = len(names)
    colours = matplotlib.colormaps["cividis"]
    with figure_style():
        figure = new_figure(float(np.clip(0.62 * n + 2.6, 4.4, 9.5)), float(np.clip(0.5 * n + 1.3, 2.6, 8.5)))
        axis = figure.subplots()
        shown = values.to_numpy(float).copy()
        shown[np.triu_indices(n)] = np.nan
        image = axis.imshow(shown[1:, :-1], cmap=colours, vmin=0, vmax=1, aspect="auto")
        for i in range(1, n):
            for j in range(i):
                if np.isfinite(shown[i, j]):
                    axis.text(j, i - 1, f"{shown[i, j]:.2f}".replace("-", "−"), ha="center", va="center", fontsize=9,
                              color=_readable_on(colours(np.clip(shown[i, j], 0, 1))))  # fmt: skip
        axis.set_yticks(range(n - 1), names[1:])
        axis.set_xticks(range(n - 1), names[:-1], rotation=35, ha="right", rotation_mode="anchor")
        axis.tick_params(length=0)
        hide_frame(axis, ticks=True)
        figure.colorbar(image, ax=axis, label="adjusted Rand", ticks=[0, 0.5, 1])
    return figure


def _order(tables: Sequence[pd.DataFrame]) -> list[list[int]]:
    """Return the clusters of each partition from top to bottom so that few streams cross: by where their people come from."""
    orders = [sorted(int(c) for c in tables[0].index)]
    for table in tables:
        place = {cluster: position for position, cluster in enumerate(orders[-1])}
        rows = np.array([place[int(c)] for c in table.index], float)
        counts = table.to_numpy(float)
        middle = (rows @ counts) / np.maximum(counts.sum(axis=0), 1)
        orders.append([int(c) for _, c in sorted(zip(middle, table.columns.astype(int)))])
    return orders


def _colours(tables: Sequence[pd.DataFrame]) -> list[dict[int, str]]:
    """Return the colour of each cluster of each partition: after the first, that of the cluster that most of its people come from."""
    found = [{int(c): cluster_style(int(c))[0] for c in tables[0].index}]
    for table in tables:
        sources = table.index[table.to_numpy().argmax(axis=0)]
        found.append({int(c): found[-1][int(source)] for c, source in zip(table.columns, sources)})
    return found


def flow_figure(names: Sequence[str], tables: Sequence[pd.DataFrame]) -> Figure:
    """Draw where the people of each cluster of one partition are in the next: a bar for each partition, streams of people between.

    Parameters
    ----------
    names
        Of the partitions, from left to right.
    tables
        Numbers of people, clusters of one partition x clusters of the next; one fewer than names.
    """
    orders, colours = _order(tables), _colours(tables)
    total = max(float(table.to_numpy().sum()) for table in tables)
    with figure_style():
        figure = new_figure(float(np.clip(2.3 * len(names), 4.4, 9.6)), 3.6)
        axis = figure.subplots()
        tops: list[dict[int, float]] = []
        for position, order in enumerate(orders):
            sizes = tables[min(position, len(tables) - 1)].sum(axis=1 if position < len(tables) else 0)
            top, found = 0.0, {}
            for cluster in order:
                size = float(sizes.loc[cluster]) / total
                colour = colours[position][cluster]
                axis.add_patch(
                    Rectangle(
                        (position - _BAR / 2, -top - size),
                        _BAR,
                        size,
                        facecolor=_kept(colour),
                        edgecolor=GREY,
                        linewidth=0.6,
                    )
                )
                if size > 0.04:
                    axis.text(position, -top - size / 2, f"{cluster}", ha="center", va="center", fontsize=9,
                              color=_readable_on(colour))  # fmt: skip
                found[cluster] = top
                top += size + _GAP
            tops.append(found)
        for position, table in enumerate(tables):
            left, right = dict(tops[position]), dict(tops[position + 1])
            for a in orders[position]:
                for b in orders[position + 1]:
                    size = float(table.loc[a, b]) / total
                    if size:
                        _stream(axis, position, left[a], right[b], size, colours[position][a])
                        left[a] += size
                        right[b] += size
        lowest = 1 + _GAP * max(len(order) for order in orders)
        axis.set(xlim=(-0.35, len(names) - 0.65), ylim=(-lowest, 0.03))
        axis.set_xticks(range(len(names)), [textwrap.fill(str(name), 18) for name in names])
        axis.tick_params(length=0)
        axis.set_yticks([])
        hide_frame(axis, ticks=True)
    return figure


def _stream(
    axis: matplotlib.axes.Axes, position: int, left: float, right: float, size: float, colour: str
) -> None:
    """Draw people of one cluster who are in one cluster of the next partition."""
    start, end = position + _BAR / 2, position + 1 - _BAR / 2
    middle = (start + end) / 2
    corners = [(start, -left), (middle, -left), (middle, -right), (end, -right), (end, -right - size),
               (middle, -right - size), (middle, -left - size), (start, -left - size), (start, -left)]  # fmt: skip
    codes = [Outline.MOVETO, *[Outline.CURVE4] * 3, Outline.LINETO, *[Outline.CURVE4] * 3, Outline.CLOSEPOLY]
    axis.add_patch(PathPatch(Outline(corners, codes), facecolor=colour, alpha=0.45, linewidth=0))


def matrix_of(pairs: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """Return a symmetric matrix of the values of pairs, names in the order in which they first come; 1 on the diagonal."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    matrix = pd.DataFrame(np.nan, index=names, columns=names)
    for name in names:
        matrix.loc[name, name] = 1.0
    for (first, second), value in pairs.items():
        matrix.loc[first, second] = matrix.loc[second, first] = value
    return matrix
