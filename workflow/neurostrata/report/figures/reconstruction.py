"""Figures of how well images are decoded (Figures 4 and 5 of Dimitri 2022) and of the training curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from neurostrata.report.figures.slices import PLANES, trim
from neurostrata.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    figure_style,
    hide_frame,
    hide_unused,
    new_figure,
    tighten,
    whole_ticks,
)
from neurostrata.report.html.blocks import model_name

#: Metric -> (axis label, function of the raw column). Fig. 5 plots the absolute logarithm of the MSE.
FOLD_METRICS = {
    "cnr_normdiff": "NormDiff of median CNR\n(decoded − real, relative)",
    "mse": "|log₁₀ MSE|\n(larger is better)",
    "normdiff": "Median voxelwise NormDiff\n(decoded − real, relative)",
}
#: Face and edge of the boxes of the model and of its baselines.
BOX_COLOURS = (("#d6e6f2", "#3a5568"), ("#e6e6e6", "#777777"), ("#f6dcc0", "#9c6a32"))


def example_figure(
    real: np.ndarray, decoded: np.ndarray, subjects: Sequence[str], modalities: Sequence[str], people: int = 2
) -> Figure:
    """Draw real and decoded mid slices (Fig. 4).

    Parameters
    ----------
    real, decoded : array, shape (people, modalities, 3, rows, columns)
        Mid slices, scaled, padded to one size with zeros or NaN; axis 3 as first array axis of the slice.
    subjects, modalities
        Names along the first two axes.
    people
        How many people to draw at most.

    Returns
    -------
    Figure
        Per person two rows (real, decoded); per modality three planes. Each real-decoded pair has one colour scale.
    """
    shown = min(people, real.shape[0])
    crops = [trim(np.nan_to_num(real[:shown, :, plane]).max((0, 1))) for plane in range(3)]
    extents = [(crop[0].stop - crop[0].start, crop[1].stop - crop[1].start) for crop in crops]
    columns = 3 * len(modalities)
    with figure_style():
        width = min(1.75 * columns + 0.9, 11.4)
        scale = (width - 0.9) / (len(modalities) * sum(across for across, _ in extents))
        height = 2 * shown * (scale * max(up for _, up in extents) + 0.04) + 0.6
        figure = new_figure(width, height)
        axes = figure.subplots(
            2 * shown,
            columns,
            squeeze=False,
            width_ratios=[across for across, _ in extents] * len(modalities),
        )
        for person in range(shown):
            for m, modality in enumerate(modalities):
                high = float(np.nanmax(real[person, m], initial=0.0)) or 1.0
                low = float(np.nanmin(real[person, m], initial=0.0))
                for plane, crop in enumerate(crops):
                    for offset, source in enumerate((real, decoded)):
                        axis = axes[2 * person + offset, 3 * m + plane]
                        picture = source[person, m, plane][crop].T
                        axis.imshow(picture, cmap="gray", vmin=low, vmax=high, origin="lower")
                        hide_frame(axis)
                        if person == 0 and offset == 0:
                            name = f"{modality.upper()}\n" if plane == 1 else "\n"
                            axis.set_title(f"{name}{PLANES[plane]}", fontsize=9)
            for offset, word in enumerate(("real", "decoded")):
                label = f"sub-{subjects[person]}\n{word}" if offset == 0 else word
                axes[2 * person + offset, 0].set_ylabel(label, fontsize=9)
        tighten(figure)
    return figure


def fold_figure(frame: pd.DataFrame, modalities: Sequence[str], methods: Sequence[str]) -> Figure:
    """Draw the box plots per fold (Fig. 5): CNR difference, |log MSE| and normalised difference.

    Parameters
    ----------
    frame
        ``reconstruction.tsv``: fold, method, modality and the metrics.
    modalities
        One column of panels each, in this order.
    methods
        One box each per fold, the experiment's model first.

    Returns
    -------
    Figure
        Red dotted line: the model's median over all folds; blue dotted line: its median absolute deviation.
    """
    own = frame[frame["method"] == methods[0]]
    metrics = [metric for metric in FOLD_METRICS if metric in frame and own[metric].notna().any()]
    folds = sorted(frame["fold"].unique(), key=lambda fold: (len(str(fold)), str(fold)))
    with figure_style():
        room = 0.28 + 0.14 * len(methods)
        width = float(np.clip((1.3 + room * max(len(folds), 4)) * len(modalities) + 0.8, 6.5, 11.4))
        figure = new_figure(width, 2.35 * len(metrics) + 0.5)
        axes = figure.subplots(len(metrics), len(modalities), squeeze=False, sharex=True)
        for i, metric in enumerate(metrics):
            for j, modality in enumerate(modalities):
                axis = axes[i, j]
                rows = frame[frame["modality"] == modality]
                for position, method in enumerate(methods):
                    part = rows[rows["method"] == method]
                    _fold_boxes(axis, part, metric, folds, position, len(methods))
                axis.set_xticks(range(1, len(folds) + 1), [_fold_label(fold) for fold in folds])
                axis.yaxis.grid(True)
                values = _fold_values(rows[rows["method"] == methods[0]], metric)
                good = values[~np.isnan(values)]
                if good.size:
                    median = float(np.median(good))
                    spread = float(np.median(np.abs(good - median)))
                    axis.axhline(median, color="#C00000", linestyle=":", linewidth=1.6, label="median")
                    axis.axhline(spread, color="#0050B5", linestyle=":", linewidth=1.6, label="MAD")
                if j == 0:
                    axis.set_ylabel(FOLD_METRICS[metric], fontsize=9)
                if i == 0:
                    axis.set_title(modality.upper())
                if i == len(metrics) - 1:
                    axis.set_xlabel("fold")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if len(methods) > 1:
            boxes = [Patch(facecolor=face, edgecolor=edge) for face, edge in BOX_COLOURS[: len(methods)]]
            handles, labels = [*boxes, *handles], [*(model_name(m) for m in methods), *labels]
        if handles:
            figure.legend(handles, labels, loc="outside upper right", ncols=len(handles))
    return figure


def _fold_values(rows: pd.DataFrame, metric: str) -> np.ndarray:
    """Return a metric as it is drawn, NaN where it is not finite."""
    values = rows[metric].to_numpy(float)
    if metric == "mse":
        with np.errstate(divide="ignore"):
            values = np.abs(np.log10(values))
    return np.where(np.isfinite(values), values, np.nan)


def _fold_boxes(
    axis: Axes, rows: pd.DataFrame, metric: str, folds: Sequence[object], position: int, number: int
) -> None:
    """Draw one method's boxes, beside those of the other methods of each fold."""
    values, (face, edge) = _fold_values(rows, metric), BOX_COLOURS[position]
    groups = [values[(rows["fold"] == fold).to_numpy() & ~np.isnan(values)] for fold in folds]
    width = 0.8 / number
    axis.boxplot(
        groups,
        positions=[fold + 1 + (position - (number - 1) / 2) * width for fold in range(len(folds))],
        widths=0.75 * width,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": face, "edgecolor": edge, "linewidth": 0.9},
        medianprops={"color": "#1b2f3d", "linewidth": 1.4},
        whiskerprops={"color": edge, "linewidth": 0.9},
        capprops={"color": edge, "linewidth": 0.9},
        flierprops={"marker": ".", "markersize": 4, "markeredgecolor": GREY},
    )


def _fold_label(fold: object) -> str:
    """Folds count from 0 in the files and from 1 in the figure, as in the paper."""
    return str(int(str(fold)) + 1) if str(fold).isdigit() else str(fold)


def methods_figure(frame: pd.DataFrame, methods: Sequence[str], modalities: Sequence[str]) -> Figure:
    """Draw the errors of the model and of the baselines, one dot per person.

    Parameters
    ----------
    frame
        ``reconstruction.tsv``: subject, method, modality, mse.
    methods
        The model first.
    modalities
        One panel each.
    """
    colours = dict(zip(methods, (BLUE, ORANGE, GREEN, RED, GREY) * 3))
    with figure_style():
        figure = new_figure(
            min(2.6 * len(modalities) + 2.2, 11.4), 0.62 * len(methods) * -(-len(modalities) // 4) + 1.2
        )
        axes = figure.subplots(-(-len(modalities) // 4), min(len(modalities), 4), squeeze=False, sharey=True)
        for axis, modality in zip(axes.flat, modalities):
            for row, method in enumerate(methods):
                part = frame[(frame["method"] == method) & (frame["modality"] == modality)]
                values = part["mse"].to_numpy(float)
                values = values[np.isfinite(values) & (values > 0)]
                if not values.size:
                    continue
                jitter = np.random.default_rng(row).uniform(-0.2, 0.2, values.size)
                axis.scatter(
                    values,
                    row + jitter,
                    s=9,
                    color=colours[method],
                    alpha=0.5,
                    linewidths=0,
                    rasterized=values.size > 300,
                )
                axis.plot([np.median(values)] * 2, [row - 0.33, row + 0.33], color="#222222", linewidth=2)
            axis.set_xscale("log")
            # Labels at 1, 2 and 5 of every decade, as plain numbers: powers of ten would overlap.
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(axis="x", labelsize=8, labelrotation=45)
            axis.set_title(modality.upper())
            axis.set_xlabel("MSE (smaller is better)")
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
                    color="black" if final else BLUE,
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
