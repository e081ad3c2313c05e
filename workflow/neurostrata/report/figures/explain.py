"""Figures of important modalities, decoded differences, codes, and images generated from codes (Geenjaar 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurostrata.report.figures.slices import PLANES, trim
from neurostrata.report.figures.style import (
    BLUE,
    DIVERGING,
    GREY,
    INK,
    SOFT,
    cluster_style,
    figure_style,
    hide_frame,
    new_figure,
    on_black,
    tighten,
)

#: Modalities in the figure of importance, and in the sum of the maps (Figs. 2 and 3).
TOP, SUMMED = 10, 5
#: Share of a map's voxels that are shown, by size.
SHOWN_SHARE = 0.01
#: Domain of modalities without one, where others have one.
NO_DOMAIN = "no domain"


def importance_figure(summary: pd.DataFrame, measure: str, label: str, even: float | None) -> Figure:
    """Draw the most important modalities, the first at the right, with their spread over folds (Fig. 2).

    Parameters
    ----------
    summary
        modality, rank, `measure` and its ``_sd``.
    measure
        Column that is drawn.
    label
        Of the axis, with its unit.
    even
        Where a dotted line is drawn: the value of a modality without importance.
    """
    part = summary.sort_values("rank").head(TOP).iloc[::-1]
    places = np.arange(len(part))
    with figure_style():
        figure = new_figure(min(1.8 + 0.7 * len(part), 9), 3.0)
        axis = figure.subplots()
        axis.bar(places, part[measure], width=0.6, color=BLUE, alpha=0.85)
        axis.errorbar(
            places, part[measure], yerr=part[f"{measure}_sd"].fillna(0), fmt="none", ecolor=INK, lw=1.4
        )
        if even is not None:
            axis.axhline(even, color=SOFT, lw=0.9, ls=":")
        turned = max(map(len, part["modality"])) > 5
        axis.set_xticks(places, [str(m).upper() for m in part["modality"]], rotation=45 if turned else 0)
        axis.set_ylabel(label)
    return figure


def largest_voxels(differences: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Keep of each map the 1% of the mask's voxels that differ most and sum them over modalities (IV.A).

    Parameters
    ----------
    differences
        (modalities, x, y, z).
    mask
        (x, y, z), bool.

    Returns
    -------
    ndarray, shape (x, y, z)
        Signed; 0 elsewhere.
    """
    total = np.zeros(mask.shape)
    for picture in differences:
        size = np.abs(picture)
        limit = np.quantile(size[mask], 1 - SHOWN_SHARE)
        if limit > 0:
            total += np.where(mask & (size >= limit), picture, 0)
    return total


def difference_figure(maps: Mapping[str, np.ndarray], brain: np.ndarray, label: str) -> Figure:
    """Draw difference maps over the brain, three planes each, through the planes where they are largest together (Fig. 3).

    Parameters
    ----------
    maps
        Row title -> (x, y, z), 0 where nothing is shown. Each row has its own colour scale.
    brain
        (x, y, z), a grey image under them.
    label
        Of the colour bars.
    """
    together = np.sum([np.abs(p) / (np.abs(p).max() or 1.0) for p in maps.values()], axis=0)
    # the plane that holds most, not the largest voxel: noise is large in single voxels
    i, j, k = (int(np.argmax(together.sum(axis=others))) for others in ((1, 2), (0, 2), (0, 1)))
    shown = trim(brain.max(axis=2) > 0), trim(brain.max(axis=1) > 0)
    x, (y, z) = shown[0][0], (shown[0][1], shown[1][1])
    cuts: tuple[tuple[int | slice, ...], ...] = ((i, y, z), (x, j, z), (x, y, k))
    under = np.where(brain > 0, brain, np.nan)  # black around it
    colours = matplotlib.colormaps[DIVERGING].with_extremes(bad=(0, 0, 0, 0))
    with figure_style():
        figure = new_figure(7.4, 2.2 * len(maps) + 0.3)
        axes = figure.subplots(len(maps), 3, squeeze=False)
        for row, (title, picture) in zip(axes, maps.items()):
            high = float(np.abs(picture).max()) or 1.0
            painted = np.where(picture == 0, np.nan, picture)
            drawn = None
            for axis, cut, plane in zip(row, cuts, PLANES):
                axis.imshow(
                    under[cut].T, cmap="gray", origin="lower", vmin=0, vmax=1.2 * (brain.max() or 1.0)
                )
                drawn = axis.imshow(painted[cut].T, cmap=colours, vmin=-high, vmax=high, origin="lower")
                hide_frame(axis)
                if row is axes[0]:
                    axis.set_title(plane, fontsize=9)
            row[0].set_ylabel(title, fontsize=9)
            if drawn is not None:
                figure.colorbar(drawn, ax=row, label=label, shrink=0.85, pad=0.01)
        tighten(figure)
    return on_black(figure)


def code_map_figure(frame: pd.DataFrame, domains: Mapping[str, str] | None = None) -> Figure:
    """Draw the t-SNE of all modalities' codes: by modality, with its name at the median of its points, and by each class (Fig. 1).

    Parameters
    ----------
    frame
        modality, x, y and a column ``class_TARGET`` for each target.
    domains
        Modality -> its domain. Where there are any, points have the colours of the domains, as in the paper; those of
        modalities without one are grey.
    """
    targets = [column for column in frame if column.startswith("class_")]
    panels = [("modality", "modalities"), *((column, column.removeprefix("class_")) for column in targets)]
    with figure_style():
        figure = new_figure(min(4.8 * len(panels), 11.4), 4.4)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        size = float(np.clip(3000 / len(frame), 3, 18))
        for axis, (column, title) in zip(axes, panels):
            values = frame[column]
            if column == "modality" and domains:
                values, title = values.map(lambda modality: domains.get(modality, NO_DOMAIN)), "domains"
            groups = list(dict.fromkeys(values.dropna()))
            if column != "modality":
                groups = sorted(groups)
            coloured = [group for group in groups if not (title == "domains" and group == NO_DOMAIN)]
            for group in groups:
                part = frame[values == group]
                style = cluster_style(coloured.index(group) + 1) if group in coloured else (GREY, "o")
                axis.scatter(
                    part["x"],
                    part["y"],
                    s=size,
                    color=style[0],
                    marker=style[1],
                    alpha=0.55,
                    linewidths=0,
                    label=str(group),
                    rasterized=len(frame) > 500,
                )
            if column == "modality":
                _name_modalities(axis, frame)
            if column != "modality" or title == "domains":
                below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.01), "ncols": 3}
                legend = axis.legend(markerscale=2, **(below if title == "domains" else {"loc": "best"}))
                for handle in legend.legend_handles:
                    if handle is not None:
                        handle.set_alpha(1)
            axis.set(xticks=[], yticks=[], title=title)
    return figure


def _name_modalities(axis: Axes, frame: pd.DataFrame) -> None:
    """Write each modality's name at the median of its points."""
    names = list(dict.fromkeys(frame["modality"].dropna()))
    for name in names:
        middle = frame.loc[frame["modality"] == name, ["x", "y"]].median()
        axis.annotate(
            str(name).upper(),
            (middle["x"], middle["y"]),
            ha="center",
            va="center",
            fontsize=9 if len(names) < 12 else 7 if len(names) < 40 else 6,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
        )


def generated_figure(
    draws: np.ndarray,
    real: np.ndarray | None,
    steps: np.ndarray | None,
    modalities: Sequence[str],
    subjects: Sequence[str],
) -> Figure:
    """Draw axial slices of draws from the prior and, a row per modality, of the way from one person to another.

    Parameters
    ----------
    draws
        (draws, x, y), over the volume's maximum.
    real
        (modalities, 2, x, y), the two people; None without.
    steps
        (modalities, steps, x, y), decoded on the way.
    modalities, subjects
        Names.
    """
    rows: list[tuple[str, list[tuple[str, np.ndarray]], float]] = []
    if real is not None and steps is not None:
        for name, ends, way in zip(modalities, real, steps):
            between = [(f"{share:.0%}" if 0 < share < 1 else "decoded", image)
                       for share, image in zip(np.linspace(0, 1, len(way)), way)]  # fmt: skip
            pictures = [(f"sub-{subjects[0]}", ends[0]), *between, (f"sub-{subjects[1]}", ends[1])]
            rows.append((str(name).upper(), pictures, float(ends.max()) or 1.0))
    first = ("drawn", [("", image) for image in draws], float(draws.max()) or 1.0)
    rows.insert(0, first)
    widest = max(len(pictures) for _, pictures, _ in rows)
    signed = real is not None and bool(real.min() < 0)
    crop = trim(
        np.concatenate([np.abs(image)[None] for image in (real[:, 0] if real is not None else draws)]).max(
            axis=0
        )
    )
    with figure_style():
        figure = new_figure(min(1.35 * widest + 0.4, 11.4), 1.75 * len(rows))
        axes = figure.subplots(len(rows), widest, squeeze=False)
        for row, (title, pictures, high) in zip(axes, rows):
            for axis in row:
                hide_frame(axis)
            for axis, (word, image) in zip(row, pictures):
                axis.imshow(
                    image[crop].T, cmap="gray", vmin=-high if signed else 0, vmax=high, origin="lower"
                )
                axis.set_title(word, fontsize=8)
            row[0].set_ylabel(title, fontsize=9)
        tighten(figure)
    return on_black(figure)
