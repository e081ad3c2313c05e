"""Figures of the phenotypic factors compared between clusters (Figures 8 and 9 of Dimitri 2022)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurostrata.report.figures.phenotypes import factor_label, no_upper_end, shorten
from neurostrata.report.figures.style import (
    CHANCE,
    FAINT,
    GREY,
    MOST_POINTS,
    NARROW,
    OBSERVED,
    RED,
    cluster_style,
    figure_style,
    hide_unused,
    name_points,
    new_figure,
)

#: Panels per figure: more factors go on in the next figure.
PANELS = 16
#: Factors in the figure of effects, those with the largest.
MOST_EFFECTS = 40


def factor_title(factor: str, names: Mapping[str, str] | None = None) -> str:
    """Return a factor's name, or its number where it has none."""
    return (names or {}).get(str(factor)) or shorten(factor_label(str(factor)))


def wrapped(text: str, narrow: bool, room: int = 18) -> str:
    """Return a label, broken into lines of `room` characters for a narrow screen."""
    return textwrap.fill(text, room) if narrow else text


def factors_figure(
    scores: pd.DataFrame,
    clusters: pd.DataFrame,
    factors: Sequence[str],
    titles: Mapping[str, str],
    significant: Sequence[str],
    unit: str = "score (standard deviations)",
    names: Mapping[str, str] | None = None,
    narrow: bool = False,
) -> Figure:
    """Draw each factor's distribution in every cluster as boxes over the single people (Fig. 8).

    Parameters
    ----------
    scores
        subject and one column per factor.
    clusters
        subject, cluster.
    factors
        One panel each.
    titles
        Factor -> second title line, such as its q value.
    significant
        Factors whose panels are framed and starred.
    unit
        Label of the score axis.
    names
        Factor -> its name.
    narrow
        For a narrow screen: two panels beside each other, one with many clusters.
    """
    merged = scores.merge(clusters[["subject", "cluster"]], on="subject", how="inner")
    numbers = sorted(int(number) for number in merged["cluster"].unique())
    few = len(numbers) <= 10
    per_row = min((4 if few else 2) // (2 if narrow else 1), len(factors))
    n_rows = -(-len(factors) // per_row)
    generator = np.random.default_rng(0)
    with figure_style():
        figure = new_figure(NARROW if narrow else (2.8 if few else 5.6) * per_row, 2.75 * n_rows + 0.1)
        axes = figure.subplots(n_rows, per_row, squeeze=False)
        for axis, factor in zip(axes.flat, factors):
            known = merged[merged[factor].notna()]
            people = [known[known["cluster"] == number] for number in numbers]
            groups = [part[factor].to_numpy(float) for part in people]
            axis.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
            for position, (number, part, group) in enumerate(zip(numbers, people, groups), start=1):
                colour, marker = cluster_style(number)
                points = axis.scatter(
                    position + generator.uniform(-0.22, 0.22, group.size),
                    group,
                    s=float(np.clip(1500 / max(len(merged), 1), 3, 13)),
                    marker=marker,
                    color=colour,
                    alpha=0.7,
                    linewidths=0,
                    rasterized=len(merged) > MOST_POINTS,
                )
                if len(merged) <= MOST_POINTS:
                    name_points(points, part["subject"], group)
            boxes = axis.boxplot(
                groups,
                positions=range(1, len(numbers) + 1),
                widths=0.62,
                showfliers=False,
                patch_artist=True,
                medianprops={"color": "black", "linewidth": 1.6},
                boxprops={"facecolor": "none", "linewidth": 1.0},
            )
            for box, number in zip(boxes["boxes"], numbers):
                box.set(edgecolor=cluster_style(number)[0])
            step = 1 if len(numbers) <= 25 else -(-len(numbers) // 15)
            axis.set_xticks(range(1, len(numbers) + 1, step), [str(n) for n in numbers[::step]])
            starred = factor in significant
            name = factor_title(factor, names)
            _entitle(axis, name, titles.get(factor, ""), starred, narrow)
        hide_unused(axes, len(factors))
        figure.supxlabel("cluster", fontsize=10)
        figure.supylabel(unit, fontsize=10)
    return figure


def _entitle(axis: Axes, name: str, second: str, starred: bool, narrow: bool) -> None:
    """Write a panel's title: the factor's name, and below it what was found."""
    room = 20 if narrow else 30
    lines = [*textwrap.wrap(f"{'★ ' if starred else ''}{name}", room), *textwrap.wrap(second, room + 4)]
    axis.set_title(
        "\n".join(lines),
        fontsize=9,
        fontweight="bold" if starred else "normal",
        loc="left" if narrow else "center",
    )


def repartition_figure(
    null: Mapping[str, np.ndarray],
    observed: Mapping[str, float],
    titles: Mapping[str, str],
    significant: Sequence[str],
    names: Mapping[str, str] | None = None,
    narrow: bool = False,
) -> Figure:
    """Draw the Kruskal-Wallis statistic in random groups with the observed one as a red line (Fig. 9).

    Parameters
    ----------
    null
        Factor -> values of H under repartition.
    observed
        Factor -> H of the clusters found.
    titles
        Factor -> second title line.
    significant
        Factors to star.
    names
        Factor -> its name.
    narrow
        For a narrow screen.
    """
    factors = list(null)
    per_row = min(2 if narrow else 4, len(factors))
    n_rows = -(-len(factors) // per_row)
    with figure_style():
        figure = new_figure(NARROW if narrow else max(2.8 * per_row, 4.0), 2.3 * n_rows + 0.2)
        axes = figure.subplots(n_rows, per_row, squeeze=False)
        for axis, factor in zip(axes.flat, factors):
            values = np.asarray(null[factor], float)
            values = values[np.isfinite(values)]
            if values.size:
                axis.hist(values, bins=40, color=CHANCE, density=True)
            if np.isfinite(observed.get(factor, np.nan)):
                axis.axvline(observed[factor], color=OBSERVED, linestyle=":", linewidth=2)
            axis.set(yticks=[])
            axis.spines["left"].set_visible(False)
            starred = factor in significant
            _entitle(axis, factor_title(factor, names), titles.get(factor, ""), starred, narrow)
        hide_unused(axes, len(factors))
        figure.supxlabel("Kruskal-Wallis H (no unit)", fontsize=10)
        figure.supylabel("density", fontsize=10)
    return figure


def effects_figure(
    comparisons: pd.DataFrame,
    significant: Sequence[str],
    adjusted: pd.DataFrame | None = None,
    names: Mapping[str, str] | None = None,
    narrow: bool = False,
) -> Figure:
    """Draw eta squared of every factor with its confidence interval, largest first.

    Parameters
    ----------
    comparisons
        factor, eta2, eta2_low, eta2_high.
    significant
        Factors drawn in colour.
    adjusted
        The same after adjustment, drawn below as open squares.
    names
        Factor -> its name.
    narrow
        For a narrow screen.

    Returns
    -------
    Figure
        An interval without an upper end (:func:`no_upper_end`) ends in an arrowhead.
    """
    after = None if adjusted is None else adjusted.set_index(adjusted["factor"].astype(str))
    frame = comparisons.dropna(subset=["eta2"]).sort_values("eta2", ascending=False).head(MOST_EFFECTS)
    with figure_style():
        row_height = (0.29 if after is None else 0.38) * (1.5 if narrow else 1)
        figure = new_figure(NARROW if narrow else 7.6, row_height * max(len(frame), 3) + 1.0)
        axis = figure.subplots()
        for row, (_, line) in enumerate(frame.iterrows()):
            colour = RED if line["factor"] in significant else GREY
            drawn = [(line, row if after is None else row - 0.14, "o", colour)]
            if after is not None and str(line["factor"]) in after.index:
                drawn.append((after.loc[str(line["factor"])], row + 0.16, "s", "white"))
            for values, height, marker, face in drawn:
                if pd.isna(values["eta2"]):
                    continue
                if np.isfinite(values["eta2_low"]) and np.isfinite(values["eta2_high"]):
                    ends = [values["eta2_low"], values["eta2_high"]]
                    axis.plot(ends, [height, height], color=colour, linewidth=1.8)
                    if no_upper_end(values["eta2_high"]):
                        axis.plot(1, height, ">", color=colour, markersize=6, clip_on=False)
                axis.plot(
                    values["eta2"],
                    height,
                    marker,
                    markerfacecolor=face,
                    markeredgecolor=colour,
                    markeredgewidth=1.5,
                    markersize=6,
                )
        if after is not None:
            axis.plot([], [], "o", color=GREY, label="unadjusted")
            axis.plot([], [], "s", markerfacecolor="white", markeredgecolor=GREY, label="adjusted")
            figure.legend(loc="outside lower right", ncols=2)
        labels = [wrapped(factor_title(f, names), narrow) for f in frame["factor"]]
        axis.set_yticks(range(len(frame)), labels)
        axis.set_ylim(len(frame) - 0.5, -0.5)
        axis.set_xlim(left=-0.005)
        axis.set_xlabel(wrapped("η² (share of variance between clusters, no unit)", narrow, 30))
        axis.xaxis.grid(True)
    return figure
