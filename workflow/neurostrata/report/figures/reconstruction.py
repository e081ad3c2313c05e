"""Figures of how well images are decoded (Figures 4 and 5 of Dimitri 2022) and of the training curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from neurostrata.report.figures.slices import PLANES, trim
from neurostrata.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MOST_POINTS,
    NARROW,
    OBSERVED,
    ORANGE,
    RED,
    figure_style,
    hide_frame,
    hide_unused,
    name_points,
    new_figure,
    on_black,
    tighten,
    whole_ticks,
)
from neurostrata.report.html.blocks import model_name

#: Metric -> (axis label, function of the raw column). Fig. 5 plots the absolute logarithm of the MSE.
FOLD_METRICS = {
    "cnr_normdiff": "contrast, decoded − real\n(relative, 0 is best)",
    "mse": "|log₁₀ of squared error|\n(larger is better)",
    "normdiff": "brightness, decoded − real\n(relative, 0 is best)",
}
#: Colour and marker of the model and of its baselines.
METHOD_STYLES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D"), (GREY, "v"))


def example_figure(
    rows: Mapping[str, np.ndarray],
    subjects: Sequence[str],
    modalities: Sequence[str],
    people: int = 2,
    narrow: bool = False,
) -> Figure:
    """Draw mid slices, real and decoded by the model and its baselines (Fig. 4).

    Parameters
    ----------
    rows : name -> array, shape (people, modalities, 3, rows, columns)
        The real slices first. Scaled, padded to one size with zeros or NaN; axis 3 as first array axis of the slice.
    subjects, modalities
        Names along the first two axes.
    people
        How many people to draw at most.
    narrow
        For a narrow screen: modalities below each other, one person.

    Returns
    -------
    Figure
        Per person a row for each of `rows`; per modality three planes. The slices of a person and modality have one grey
        scale, which the bar below them shows.
    """
    real = next(iter(rows.values()))
    shown = min(1 if narrow else people, real.shape[0])
    crops = [trim(np.nan_to_num(real[:shown, :, plane]).max((0, 1))) for plane in range(3)]
    extents = [(crop[0].stop - crop[0].start, crop[1].stop - crop[1].start) for crop in crops]
    blocks = [[m] for m in range(len(modalities))] if narrow else [list(range(len(modalities)))]
    across = len(blocks[0])
    with figure_style():
        width = NARROW if narrow else min(5.25 * across + 0.9, 11.4)
        scale = (width - 0.9) / (across * sum(size for size, _ in extents))
        height = shown * len(rows) * (scale * max(up for _, up in extents) + 0.04) + 0.75
        figure = new_figure(width, height * len(blocks))
        parts = figure.subfigures(len(blocks), 1, squeeze=False)
        for part, block in zip(parts.flat, blocks):
            axes = part.subplots(
                shown * len(rows),
                3 * across,
                squeeze=False,
                width_ratios=[size for size, _ in extents] * across,
            )
            for column, m in enumerate(block):
                _draw_examples(axes[:, 3 * column : 3 * column + 3], rows, m, modalities[m], crops)
                bar = part.colorbar(
                    axes[0, 3 * column].get_images()[0],
                    ax=axes[:, 3 * column : 3 * column + 3],
                    location="bottom",
                    shrink=0.5,
                    aspect=30,
                    pad=0.01,
                )
                bar.ax.tick_params(labelsize=8)
            for person in range(shown):
                for offset, word in enumerate(rows):
                    label = f"sub-{subjects[person]}\n{word}" if offset == 0 else textwrap.fill(word, 12)
                    axes[len(rows) * person + offset, 0].set_ylabel(label, fontsize=9)
        tighten(figure)
    return on_black(figure)


def _draw_examples(
    axes: np.ndarray,
    rows: Mapping[str, np.ndarray],
    m: int,
    modality: str,
    crops: Sequence[tuple[slice, slice]],
) -> None:
    """Draw one modality's planes of everybody."""
    real = next(iter(rows.values()))
    for person in range(len(axes) // len(rows)):
        high = float(np.nanmax(real[person, m], initial=0.0)) or 1.0
        low = float(np.nanmin(real[person, m], initial=0.0))
        for offset, source in enumerate(rows.values()):
            for plane, crop in enumerate(crops):
                axis = axes[len(rows) * person + offset, plane]
                axis.imshow(
                    source[person, m, plane][crop].T, cmap="gray", vmin=low, vmax=high, origin="lower"
                )
                hide_frame(axis)
                if person == 0 and offset == 0:
                    name = f"{modality.upper()}\n" if plane == 1 else "\n"
                    axis.set_title(f"{name}{PLANES[plane]}", fontsize=9)


def fold_figure(
    frame: pd.DataFrame, modalities: Sequence[str], methods: Sequence[str], narrow: bool = False
) -> Figure:
    """Draw every test person's measures per fold (Fig. 5): CNR difference, |log MSE| and normalised difference.

    Parameters
    ----------
    frame
        ``reconstruction.tsv``: fold, method, modality and the metrics.
    modalities
        One column of panels each, in this order.
    methods
        One group of points each per fold, the experiment's model first.
    narrow
        For a narrow screen: one panel beside another at most.

    Returns
    -------
    Figure
        Points: people; boxes: median and quartiles. Line and band: the model's median over all folds, and as much to either
        side of it as its median absolute deviation (MAD). The axes span the data.
    """
    own = frame[frame["method"] == methods[0]]
    metrics = [metric for metric in FOLD_METRICS if metric in frame and own[metric].notna().any()]
    folds = sorted(frame["fold"].unique(), key=lambda fold: (len(str(fold)), str(fold)))
    panels = [(metric, modality) for metric in metrics for modality in modalities]
    across = 1 if narrow else len(modalities)
    down = -(-len(panels) // across) if panels else 1
    with figure_style():
        room = 0.28 + 0.14 * len(methods)
        width = float(np.clip((1.3 + room * max(len(folds), 4)) * len(modalities) + 0.8, 6.5, 11.4))
        figure = new_figure(NARROW if narrow else width, 2.35 * down + 0.5)
        axes = figure.subplots(down, across, squeeze=False, sharex=True)
        for axis, (metric, modality) in zip(axes.flat, panels):
            rows = frame[frame["modality"] == modality]
            _draw_middle(axis, _fold_values(rows[rows["method"] == methods[0]], metric))
            for position, method in enumerate(methods):
                part = rows[rows["method"] == method]
                _fold_points(axis, part, metric, folds, position, len(methods))
            axis.set_xticks(range(1, len(folds) + 1), [_fold_label(fold) for fold in folds])
            axis.yaxis.grid(True)
            if narrow or modality == modalities[0]:
                axis.set_ylabel(FOLD_METRICS[metric], fontsize=9)
            if narrow or metric == metrics[0]:
                axis.set_title(modality.upper())
        for axis in axes[-1]:
            axis.set_xlabel("fold")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        for position, method in enumerate(methods if len(methods) > 1 else []):
            handles.append(Line2D([], [], ls="", ms=6, **_point_style(position)))
            labels.append(model_name(method))
        if handles:
            figure.legend(handles, labels, loc="outside upper right", ncols=2 if narrow else len(handles))
    return figure


def _draw_middle(axis: Axes, values: np.ndarray) -> None:
    """Draw the median of a measure, and a band of its median absolute deviation to either side."""
    good = values[~np.isnan(values)]
    if not good.size:
        return
    median = float(np.median(good))
    spread = float(np.median(np.abs(good - median)))
    axis.axhspan(median - spread, median + spread, color=BLUE, alpha=0.15, linewidth=0, label="± MAD")
    axis.axhline(median, color=OBSERVED, linestyle=":", linewidth=1.6, label="median of the model")


def _point_style(position: int) -> dict[str, Any]:
    """Return colour and marker of the model (0) and its baselines."""
    colour, marker = METHOD_STYLES[position % len(METHOD_STYLES)]
    return {"color": colour, "marker": marker}


def _fold_values(rows: pd.DataFrame, metric: str) -> np.ndarray:
    """Return a metric as it is drawn, NaN where it is not finite."""
    values = rows[metric].to_numpy(float)
    if metric == "mse":
        with np.errstate(divide="ignore"):
            values = np.abs(np.log10(values))
    return np.where(np.isfinite(values), values, np.nan)


def _fold_points(
    axis: Axes, rows: pd.DataFrame, metric: str, folds: Sequence[object], position: int, number: int
) -> None:
    """Draw one method's people and boxes, beside those of the other methods of each fold."""
    values, style = _fold_values(rows, metric), _point_style(position)
    width = 0.8 / number
    groups = []
    for place, fold in enumerate(folds, start=1):
        chosen = (rows["fold"] == fold).to_numpy() & ~np.isnan(values)
        group = values[chosen]
        groups.append(group)
        middle = place + (position - (number - 1) / 2) * width
        jitter = np.random.default_rng(place).uniform(-0.25, 0.25, group.size) * width
        points = axis.scatter(
            middle + jitter,
            group,
            s=float(np.clip(900 / max(len(rows), 1), 4, 14)),
            alpha=0.6,
            linewidths=0,
            rasterized=len(rows) > MOST_POINTS,
            **style,
        )
        if "subject" in rows and len(rows) <= MOST_POINTS:
            name_points(points, rows.loc[chosen, "subject"], group)
    axis.boxplot(
        groups,
        positions=[fold + 1 + (position - (number - 1) / 2) * width for fold in range(len(folds))],
        widths=0.75 * width,
        showfliers=False,
        manage_ticks=False,
        boxprops={"color": style["color"], "linewidth": 1.0},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops={"color": style["color"], "linewidth": 0.9},
        capprops={"color": style["color"], "linewidth": 0.9},
    )


def _fold_label(fold: object) -> str:
    """Folds count from 0 in the files and from 1 in the figure, as in the paper."""
    return str(int(str(fold)) + 1) if str(fold).isdigit() else str(fold)


def methods_figure(
    frame: pd.DataFrame, methods: Sequence[str], modalities: Sequence[str], narrow: bool = False
) -> Figure:
    """Draw the errors of the model and of the baselines, one dot per person.

    Parameters
    ----------
    frame
        ``reconstruction.tsv``: subject, method, modality, mse.
    methods
        The model first.
    modalities
        One panel each.
    narrow
        For a narrow screen.
    """
    across = min(len(modalities), 1 if narrow else 4)
    down = -(-len(modalities) // across)
    with figure_style():
        figure = new_figure(
            NARROW if narrow else min(2.6 * len(modalities) + 2.2, 11.4),
            (0.62 * len(methods) + (0.9 if narrow else 0)) * down + 1.2,
        )
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for axis, modality in zip(axes.flat, modalities):
            for row, method in enumerate(methods):
                part = frame[(frame["method"] == method) & (frame["modality"] == modality)]
                part = part[np.isfinite(part["mse"]) & (part["mse"] > 0)]
                values = part["mse"].to_numpy(float)
                if not values.size:
                    continue
                jitter = np.random.default_rng(row).uniform(-0.2, 0.2, values.size)
                points = axis.scatter(
                    values,
                    row + jitter,
                    s=13,
                    alpha=0.6,
                    linewidths=0,
                    rasterized=values.size > MOST_POINTS,
                    **_point_style(row),
                )
                if values.size <= MOST_POINTS:
                    name_points(points, part["subject"], values)
                axis.plot([np.median(values)] * 2, [row - 0.33, row + 0.33], color=INK, linewidth=2)
            axis.set_xscale("log")
            # Labels at 1, 2 and 5 of every decade, as plain numbers: powers of ten would overlap.
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(axis="x", labelsize=8, labelrotation=45)
            axis.set_title(modality.upper())
            axis.set_xlabel("mean squared error (smaller is better)")
            axis.set_yticks(range(len(methods)), [model_name(m) for m in methods])
            axis.set_ylim(len(methods) - 0.5, -0.5)
            axis.xaxis.grid(True)
        hide_unused(axes, len(modalities))
    return figure


def history_figure(histories: dict[str, pd.DataFrame]) -> Figure | None:
    """Draw the training curves: fold name -> table with ``epoch`` and columns whose names hold "loss".

    Returns
    -------
    Figure or None
        None when no table has an epoch and a loss.
    """
    usable = {
        fold: (frame, [c for c in frame.columns if "loss" in c and pd.api.types.is_numeric_dtype(frame[c])])
        for fold, frame in histories.items()
        if "epoch" in frame
    }
    columns = list(dict.fromkeys(column for _, found in usable.values() for column in found))
    if not columns:
        return None
    with figure_style():
        figure = new_figure(min(4.6 * len(columns), 11.4) if len(columns) > 1 else 6.5, 3.0)
        axes = figure.subplots(1, len(columns), squeeze=False)[0]
        for axis, column in zip(axes, columns):
            for fold, (frame, _) in usable.items():
                if column not in frame:
                    continue
                part = frame[["epoch", column]].dropna()
                final = fold == "all"
                axis.plot(
                    part["epoch"],
                    part[column],
                    color=INK if final else BLUE,
                    linewidth=1.8 if final else 1.0,
                    alpha=1 if final else 0.55,
                    marker="o" if len(part) < 3 else None,
                    markersize=3,
                    label="everybody" if final else "folds",
                )
            axis.set(xlabel="epoch", ylabel=column.replace("_", " ") + " (no unit)")
            whole_ticks(axis.xaxis)
            axis.yaxis.grid(True)
            handles, labels = axis.get_legend_handles_labels()
            once = dict(zip(labels, handles))
            axis.legend(once.values(), once.keys())
    return figure
