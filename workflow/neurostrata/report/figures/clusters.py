"""Figures of the clusters: their sizes, the map of the codes, and their profiles (Figures 7 and 10 of Dimitri 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from neurostrata.report.figures.factors import factor_title
from neurostrata.report.figures.style import (
    DIVERGING,
    GREY,
    NARROW,
    SOFT,
    cluster_style,
    figure_style,
    hide_frame,
    name_points,
    new_figure,
    tighten,
)

#: Clusters up to which the panels of the profiles stand side by side; wider ones stand below each other.
BESIDE = 6


def clusters_figure(
    clusters: pd.DataFrame,
    tsne: pd.DataFrame | None,
    small: Sequence[int] = (),
    exemplars: Sequence[str] = (),
    outside: Sequence[str] = (),
    narrow: bool = False,
) -> Figure:
    """Draw cluster sizes and, where there is one, the t-SNE map in the same colours (Fig. 7).

    Parameters
    ----------
    clusters
        subject, cluster.
    tsne
        subject, x, y; or None.
    small
        Numbers of the clusters flagged as small; their bars are hatched.
    exemplars
        Subjects drawn with a ring: the clusters' exemplars.
    outside
        Subjects drawn with a cross: those who fit into no cluster.
    narrow
        For a narrow screen.
    """
    with figure_style():
        width = 11.0 if tsne is not None else 6.0
        figure = new_figure(NARROW if narrow else width, 7.2 if narrow and tsne is not None else 4.3)
        if tsne is None:
            _draw_sizes(figure.subplots(), clusters, small)
        else:
            shape: dict[str, Any] = {"height_ratios": [1, 1.35]} if narrow else {"width_ratios": [1, 1.35]}
            left, right = figure.subplots(*((2, 1) if narrow else (1, 2)), **shape)
            _draw_sizes(left, clusters, small)
            _draw_map(right, tsne.merge(clusters, on="subject", how="inner"), exemplars, outside)
    return figure


def _draw_sizes(axis: Axes, clusters: pd.DataFrame, small: Sequence[int]) -> None:
    sizes = clusters["cluster"].value_counts().sort_index()
    numbers = [int(number) for number in sizes.index]
    bars = axis.bar(
        range(len(sizes)), sizes.to_numpy(), color=[cluster_style(n)[0] for n in numbers], width=0.75
    )
    for bar, number in zip(bars, numbers):
        if number in small:
            bar.set(hatch="///", edgecolor="white")
    step = 1 if len(numbers) <= 25 else -(-len(numbers) // 15)
    if step == 1:
        axis.bar_label(bars, fontsize=9, padding=2)
    axis.set_xticks(range(0, len(numbers), step), [str(n) for n in numbers[::step]])
    axis.set(xlabel="cluster", ylabel="number of people", title="Cluster sizes")
    axis.margins(y=0.12)


def _draw_map(axis: Axes, people: pd.DataFrame, exemplars: Sequence[str], outside: Sequence[str]) -> None:
    """Draw subject, x, y and cluster of everybody who is on the map."""
    area = float(np.clip(12000 / max(len(people), 1), 9, 46))
    numbers = sorted(int(number) for number in people["cluster"].unique())
    for number in numbers:
        part = people[people["cluster"] == number]
        colour, marker = cluster_style(number)
        points = axis.scatter(
            part["x"],
            part["y"],
            s=area,
            color=colour,
            marker=marker,
            linewidths=0.5,
            edgecolors=SOFT,
            label=f"{number}",
        )
        name_points(points, part["subject"], [f"cluster {number}"] * len(part))
    for subjects, marker, size, label in (
        (exemplars, "o", area * 3.2, "exemplar"),
        (outside, "x", area * 2.0, "in no cluster"),
    ):
        chosen = people[people["subject"].isin(list(subjects))]
        if len(chosen):
            axis.scatter(
                chosen["x"],
                chosen["y"],
                s=size,
                marker=marker,
                facecolors="none" if marker == "o" else "black",
                edgecolors="black" if marker == "o" else None,
                linewidths=1.3,
                label=label,
            )
    axis.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", title="t-SNE of the embeddings")
    axis.set(xticks=[], yticks=[])
    axis.margins(0.06)
    if len(numbers) <= 27:
        legend = axis.legend(
            title="cluster",
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            ncols=1 if len(numbers) <= 13 else 2,
        )
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):  # big enough to tell shapes apart
                handle.set_sizes([34])


def profiles_figure(
    quantiles: Mapping[str, pd.DataFrame],
    people: Mapping[int, str],
    names: Mapping[str, str] | None = None,
    narrow: bool = False,
) -> Figure:
    """Draw the quantile of each cluster's median (Fig. 10), and of its mean, in the whole population, for each factor.

    Parameters
    ----------
    quantiles : title -> DataFrame, factors x clusters
        Quantile in [0, 1] of the cluster's median, or mean, in the population; columns are cluster numbers. One panel each.
    people
        Cluster number -> how many people its values are of.
    names
        Factor -> its name.
    narrow
        For a narrow screen: the panels below each other.

    Returns
    -------
    Figure
        Dendrograms (average linkage, Euclidean) of the first panel order factors and clusters for display only.
    """
    first = next(iter(quantiles.values()))
    complete = first.fillna(0.5).to_numpy(float)
    n_factors, n_clusters = complete.shape
    beside = n_clusters <= BESIDE and not narrow
    across, down = (len(quantiles), 1) if beside else (1, len(quantiles))
    tall = max(0.31 * n_factors, 1.2)
    with figure_style():
        width = float(np.clip(0.62 * n_clusters * across + 4.2, 5.6, 11.4))
        width = max(NARROW, 0.3 * n_clusters + 3.2) if narrow else width
        figure = new_figure(width, float(np.clip(down * (0.31 * n_factors + 0.8) + 1.3, 3.0, 16)))
        axes = figure.subplots(
            1 + down,
            1 + across,
            width_ratios=[0.3 if narrow else 0.9, *[(width - 3.2) / across] * across],
            height_ratios=[0.5, *[tall] * down],
            squeeze=False,
        )
        axes[0, 0].axis("off")
        for position, (title, shown) in enumerate(quantiles.items()):
            row, column = (1, 1 + position) if beside else (1 + position, 1)
            axis = axes[row, column]
            if beside or position == 0:
                columns = _draw_tree(axes[0, column], complete.T, "top")
            if not beside or position == 0:
                rows = _draw_tree(axes[row, 0], complete, "left")[::-1]
            image = _draw_quantiles(axis, shown.iloc[rows, columns], people, names)
            axis.set_title(title)
            if beside and column < across:
                axis.tick_params(labelright=False)
        figure.colorbar(
            image,
            ax=axes[:, 1:],
            label="quantile in the whole population",
            ticks=[0, 0.25, 0.5, 0.75, 1],
            shrink=min(1.0, 3.0 / figure.get_figheight()),
            pad=0.02,
        )
        tighten(figure, 0.04)
    return figure


def _draw_tree(axis: Axes, values: np.ndarray, side: Literal["left", "top"]) -> list[int]:
    """Draw the dendrogram of the rows; return their order from the bottom up, or from the left."""
    from scipy.cluster.hierarchy import dendrogram, linkage

    axis.axis("off")
    tree = linkage(values, "average") if len(values) > 2 else None
    if tree is None or not tree[:, 2].any():  # all alike: nothing to order
        order = list(range(len(values)))
        return order[::-1] if side == "left" else order
    drawn = dendrogram(
        tree,
        orientation=side,
        ax=axis,
        no_labels=True,
        color_threshold=0,
        above_threshold_color=GREY,
    )
    axis.axis("off")  # dendrogram() turns it on again
    return drawn["leaves"]


def _draw_quantiles(
    axis: Axes, quantiles: pd.DataFrame, people: Mapping[int, str], names: Mapping[str, str] | None
) -> AxesImage:
    """Draw the heat map, with numbers where they fit."""
    shown = quantiles.to_numpy(float)
    n_factors, n_clusters = shown.shape
    cmap = matplotlib.colormaps[DIVERGING].with_extremes(bad="#d8d8d8")
    image = axis.imshow(np.ma.masked_invalid(shown), cmap=cmap, vmin=0, vmax=1, aspect="auto")
    axis.set_yticks(range(n_factors), [factor_title(str(factor), names) for factor in quantiles.index])
    axis.yaxis.tick_right()
    few = n_clusters <= 15
    numbers = [int(number) for number in quantiles.columns]
    axis.set_xticks(range(n_clusters), [f"{n}\n(n={people.get(n, 0)})" if few else f"{n}" for n in numbers])
    if n_clusters > 9:
        axis.tick_params(axis="x", labelsize=7.5)
    axis.tick_params(length=0)
    axis.set_xlabel("cluster")
    hide_frame(axis, ticks=True)
    if n_clusters <= 12:
        for i, j in zip(*np.nonzero(np.isfinite(shown))):
            axis.text(
                j,
                i,
                f"{shown[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if abs(shown[i, j] - 0.5) > 0.33 else "#222222",
            )
    return image
