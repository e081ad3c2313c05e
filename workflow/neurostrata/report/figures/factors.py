"""Figures of the phenotypic factors compared between clusters (Figures 8 and 9 of Dimitri 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neurostrata.report.figures.phenotypes import factor_label, shorten
from neurostrata.report.figures.style import GREY, RED, cluster_style, figure_style, hide_unused, new_figure

#: Panels per figure: more factors go on in the next figure.
PANELS = 16


def factor_title(factor: str, names: Mapping[str, str] | None = None) -> str:
    """Return a factor's name, or its number where it has none."""
    return (names or {}).get(str(factor)) or shorten(factor_label(str(factor)))


def factors_figure(
    scores: pd.DataFrame,
    clusters: pd.DataFrame,
    factors: Sequence[str],
    titles: Mapping[str, str],
    significant: Sequence[str],
    unit: str = "score (standard deviations)",
    names: Mapping[str, str] | None = None,
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
    """
    merged = scores.merge(clusters[["subject", "cluster"]], on="subject", how="inner")
    numbers = sorted(int(number) for number in merged["cluster"].unique())
    per_row = min(4, len(factors)) if len(numbers) <= 10 else min(2, len(factors))
    n_rows = -(-len(factors) // per_row)
    generator = np.random.default_rng(0)
    with figure_style():
        figure = new_figure(2.8 * per_row if len(numbers) <= 10 else 5.6 * per_row, 2.55 * n_rows + 0.1)
        axes = figure.subplots(n_rows, per_row, squeeze=False)
        for axis, factor in zip(axes.flat, factors):
            groups = [
                merged.loc[(merged["cluster"] == number) & merged[factor].notna(), factor].to_numpy(float)
                for number in numbers
            ]
            axis.axhline(0, color="#cccccc", linewidth=0.8, zorder=0)
            for position, (number, group) in enumerate(zip(numbers, groups), start=1):
                colour, marker = cluster_style(number)
                axis.scatter(
                    position + generator.uniform(-0.22, 0.22, group.size),
                    group,
                    s=float(np.clip(1500 / max(len(merged), 1), 3, 11)),
                    marker=marker,
                    color=colour,
                    alpha=0.65,
                    linewidths=0,
                    rasterized=len(merged) > 200,
                )
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
            axis.set_title(
                f"{'★ ' if starred else ''}{name}\n{titles.get(factor, '')}",
                fontsize=9,
                fontweight="bold" if starred else "normal",
                color="#8a1c00" if starred else "#333333",
            )
            if starred:
                axis.set_facecolor("#fff7ee")
        hide_unused(axes, len(factors))
        figure.supxlabel("cluster", fontsize=10)
        figure.supylabel(unit, fontsize=10)
    return figure


def repartition_figure(
    null: Mapping[str, np.ndarray],
    observed: Mapping[str, float],
    titles: Mapping[str, str],
    significant: Sequence[str],
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the Kruskal-Wallis statistic under random repartition with the observed one as a red line (Fig. 9).

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
    """
    factors = list(null)
    per_row = min(4, len(factors))
    n_rows = -(-len(factors) // per_row)
    with figure_style():
        figure = new_figure(max(2.8 * per_row, 4.0), 2.15 * n_rows + 0.2)
        axes = figure.subplots(n_rows, per_row, squeeze=False)
        for axis, factor in zip(axes.flat, factors):
            values = np.asarray(null[factor], float)
            values = values[np.isfinite(values)]
            if values.size:
                axis.hist(values, bins=40, color="#9fb8c9", density=True)
            if np.isfinite(observed.get(factor, np.nan)):
                axis.axvline(observed[factor], color="#C00000", linestyle=":", linewidth=2)
            axis.set(yticks=[])
            axis.spines["left"].set_visible(False)
            starred = factor in significant
            axis.set_title(
                f"{'★ ' if starred else ''}{factor_title(factor, names)}\n{titles.get(factor, '')}",
                fontsize=9,
                fontweight="bold" if starred else "normal",
                color="#8a1c00" if starred else "#333333",
            )
        hide_unused(axes, len(factors))
        figure.supxlabel("Kruskal-Wallis H (no unit)", fontsize=10)
        figure.supylabel("density", fontsize=10)
    return figure


def effects_figure(
    comparisons: pd.DataFrame,
    significant: Sequence[str],
    adjusted: pd.DataFrame | None = None,
    names: Mapping[str, str] | None = None,
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
    """
    after = None if adjusted is None else adjusted.set_index(adjusted["factor"].astype(str))
    frame = comparisons.dropna(subset=["eta2"]).sort_values("eta2", ascending=False).head(40)
    with figure_style():
        figure = new_figure(7.6, (0.29 if after is None else 0.38) * max(len(frame), 3) + 1.0)
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
        axis.set_yticks(range(len(frame)), [factor_title(f, names) for f in frame["factor"]])
        axis.set_ylim(len(frame) - 0.5, -0.5)
        axis.set_xlim(left=-0.005)
        axis.set_xlabel("η² (share of variance between clusters, no unit)")
        axis.xaxis.grid(True)
    return figure
