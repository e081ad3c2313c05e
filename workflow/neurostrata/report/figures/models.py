"""Figures of results that only some models have: ROC curves, relevant regions, synthesised images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neurostrata.report.figures.slices import PLANES
from neurostrata.report.figures.style import (
    BLUE,
    GREY,
    SEQUENTIAL,
    SOFT,
    figure_style,
    hide_frame,
    hide_unused,
    new_figure,
    on_black,
    tighten,
)


def roc_figure(curves: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw ROC curves (Arco 2023, Fig. 5): a panel per kind of features, folds thin, their mean thick.

    Parameters
    ----------
    curves
        features, fold, false_positive_rate, true_positive_rate.
    names
        Features -> title.
    """
    kinds = list(dict.fromkeys(curves["features"]))
    with figure_style():
        figure = new_figure(2.6 * min(len(kinds), 4), 2.7 * -(-len(kinds) // 4))
        axes = figure.subplots(-(-len(kinds) // 4), min(len(kinds), 4), squeeze=False).ravel()
        for axis, kind in zip(axes, kinds):
            for fold, curve in curves[curves["features"] == kind].groupby("fold", sort=False):
                mean = fold == "mean"
                style = {"color": BLUE, "lw": 2.2} if mean else {"color": GREY, "lw": 0.7, "alpha": 0.7}
                axis.plot(curve["false_positive_rate"], curve["true_positive_rate"], **style)
            axis.plot([0, 1], [0, 1], color=SOFT, lw=0.8, ls=":")
            axis.set(aspect="equal", xlabel="1 - specificity", ylabel="sensitivity")
            axis.set_title(textwrap.fill(names.get(kind, kind), 20))
        hide_unused(axes, len(kinds))
    return figure


def region_figure(
    values: Mapping[str, Mapping[int, float]], regions: np.ndarray, brain: np.ndarray, label: str
) -> Figure:
    """Paint regions by a value, three planes through the region with the largest one (Arco 2023, Figs. 6, 7).

    Parameters
    ----------
    values
        Row title -> region number -> value.
    regions
        (x, y, z), region numbers.
    brain
        (x, y, z), a grey image under them.
    label
        Of the colour bar, with its unit.
    """
    from neurostrata.report.figures.slices import trim

    high = max(max(row.values(), default=0.0) for row in values.values()) or 1.0
    shown = trim(brain.max(axis=2) > 0), trim(brain.max(axis=1) > 0)
    x, (y, z) = shown[0][0], (shown[0][1], shown[1][1])
    with figure_style():
        figure = new_figure(7.2, 2.1 * len(values) + 0.3)
        axes = figure.subplots(len(values), 3, squeeze=False)
        picture = None
        for row, (title, found) in enumerate(values.items()):
            painted = np.full(regions.shape, np.nan)
            for number, value in found.items():
                painted[regions == number] = value
            best = max(found, key=lambda number: found[number])
            centre = np.round(np.argwhere(regions == best).mean(axis=0)).astype(int)
            cuts = ((centre[0], y, z), (x, centre[1], z), (x, y, centre[2]))
            for axis, cut, plane in zip(axes[row], cuts, PLANES):
                axis.imshow(brain[cut].T, cmap="gray", origin="lower")
                picture = axis.imshow(
                    painted[cut].T, cmap=SEQUENTIAL, vmin=0, vmax=high, origin="lower", alpha=0.75
                )
                hide_frame(axis)
                if row == 0:
                    axis.set_title(plane, fontsize=9)
            axes[row, 0].set_ylabel(title, fontsize=9)
        tighten(figure)
        if picture is not None:
            figure.colorbar(picture, ax=axes, label=label, shrink=0.8)
    return on_black(figure)


def synthesis_figure(
    real: np.ndarray,
    synthesised: np.ndarray,
    inputs: Sequence[str],
    outputs: Sequence[str],
    modalities: Sequence[str],
    subject: str,
) -> Figure:
    """Draw one person's real images and what was synthesised from each subset of inputs (Chartsias 2018, Fig. 6).

    Parameters
    ----------
    real
        (modalities, side, side), NaN where the person lacks one.
    synthesised
        (tasks, side, side).
    inputs, outputs
        Of each task.
    modalities
        Names of `real`.
    """
    targets = list(dict.fromkeys(outputs))
    widest = max(max(list(outputs).count(target) for target in targets) + 1, 2)
    with figure_style():
        figure = new_figure(min(1.9 * widest, 11.4), 2.1 * len(targets))
        axes = figure.subplots(len(targets), widest, squeeze=False)
        for row, target in zip(axes, targets):
            truth = np.nan_to_num(real[list(modalities).index(target)])
            high = float(truth.max()) or 1.0
            pictures = [(truth, f"{target.upper()}, real")]
            pictures += [
                (np.nan_to_num(image), f"from {given.upper().replace('+', ' + ')}")
                for image, given, output in zip(synthesised, inputs, outputs)
                if output == target
            ]
            for axis, (image, title) in zip(row, pictures):
                axis.imshow(image.T, cmap="gray", vmin=0, vmax=high, origin="lower")
                axis.set_title(title, fontsize=8)
            for axis in row:
                hide_frame(axis)
            for axis in row[len(pictures) :]:
                axis.set_visible(False)
            row[0].set_ylabel(f"sub-{subject}", fontsize=9)
        tighten(figure)
    return on_black(figure)
