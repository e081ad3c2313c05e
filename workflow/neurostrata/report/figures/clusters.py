"""Figures of the clusters: their sizes, the map of the codes, and their profiles (Figures 7 and 10 of Dimitri 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from neurostrata.report.figures.factors import factor_title
from neurostrata.report.figures.style import (
    DIVERGING,
    cluster_style,
    figure_style,
    hide_frame,
    new_figure,
    tighten,
)


def clusters_figure(
    clusters: pd.DataFrame,
    tsne: pd.DataFrame | None,
    small: Sequence[int] = (),
    exemplars: Sequence[str] = (),
    outside: Sequence[str] = (),
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
        Subjects drawn with a cross: they fit into no cluster.
    """
    sizes = clusters["cluster"].value_counts().sort_index()
    numbers = [int(number) for number in sizes.index]
    with figure_style():
        figure = new_figure(11.0 if tsne is not None else 6.0, 4.3)
        axes = figure.subplots(1, 2, width_ratios=[1, 1.35]) if tsne is not None else [figure.subplots()]
        bars = axes[0].bar(
            range(len(sizes)), sizes.to_numpy(), color=[cluster_style(n)[0] for n in numbers], width=0.75
        )
        for bar, number in zip(bars, numbers):
            if number in small:
                bar.set(hatch="///", edgecolor="white")
        if len(numbers) <= 25:
            axes[0].bar_label(bars, fontsize=9, padding=2)
            axes[0].set_xticks(range(len(numbers)), [str(n) for n in numbers])
        else:
            step = -(-len(numbers) // 15)
            axes[0].set_xticks(range(0, len(numbers), step), [str(n) for n in numbers[::step]])
        axes[0].set(xlabel="cluster", ylabel="number of people", title="Cluster sizes")
        axes[0].margins(y=0.12)
        if tsne is not None:
            merged = tsne.merge(clusters, on="subject", how="inner")
            axis = axes[1]
            area = float(np.clip(12000 / max(len(merged), 1), 9, 46))
            for number in numbers:
                part = merged[merged["cluster"] == number]
                colour, marker = cluster_style(number)
                axis.scatter(
                    part["x"],
                    part["y"],
                    s=area,
                    color=colour,
                    marker=marker,
                    linewidths=0.3,
                    edgecolors="white",
                    rasterized=len(merged) > 300,
                    label=f"{number}",
                )
            for people, marker, size, label in (
                (exemplars, "o", area * 3.2, "exemplar"),
                (outside, "x", area * 2.0, "fits none"),
            ):
                chosen = merged[merged["subject"].isin(list(people))]
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
    return figure


def profiles_figure(
    quantiles: pd.DataFrame, sizes: Mapping[int, int], names: Mapping[str, str] | None = None
) -> Figure:
    """Draw where each cluster's median stands in the whole population, factor by factor (Fig. 10).

    Parameters
    ----------
    quantiles : DataFrame, factors x clusters
        Quantile in [0, 1] of the cluster's median in the population; columns are cluster numbers.
    sizes
        Cluster number -> number of people.
    names
        Factor -> its name.

    Returns
    -------
    Figure
        Dendrograms (average linkage, Euclidean) order factors and clusters for the eye only.
    """
    from scipy.cluster.hierarchy import dendrogram, linkage

    complete = quantiles.fillna(0.5).to_numpy(float)
    n_factors, n_clusters = complete.shape
    rows = linkage(complete, "average") if n_factors > 2 else None
    columns = linkage(complete.T, "average") if n_clusters > 2 else None
    with figure_style():
        width = float(np.clip(0.62 * n_clusters + 4.2, 5.6, 11.4))
        figure = new_figure(width, float(np.clip(0.31 * n_factors + 2.1, 3.0, 16)))
        axes = figure.subplots(
            2,
            2,
            width_ratios=[0.9, width - 3.2],
            height_ratios=[0.5, max(0.31 * n_factors, 1.2)],
            squeeze=False,
        )
        axes[0, 0].axis("off")
        row_order = list(range(n_factors))
        column_order = list(range(n_clusters))
        for tree, axis, side in ((rows, axes[1, 0], "left"), (columns, axes[0, 1], "top")):
            axis.axis("off")
            if tree is None or not tree[:, 2].any():  # alike in everything: nothing to order
                continue
            drawn = dendrogram(
                tree,
                orientation=side,
                ax=axis,
                no_labels=True,
                color_threshold=0,
                above_threshold_color="#666666",
            )
            axis.axis("off")
            if side == "left":
                row_order = drawn["leaves"][::-1]
            else:
                column_order = drawn["leaves"]
        axis = axes[1, 1]
        shown = quantiles.to_numpy(float)[np.ix_(row_order, column_order)]
        cmap = matplotlib.colormaps[DIVERGING].with_extremes(bad="#d8d8d8")
        image = axis.imshow(np.ma.masked_invalid(shown), cmap=cmap, vmin=0, vmax=1, aspect="auto")
        axis.set_yticks(range(n_factors), [factor_title(str(quantiles.index[i]), names) for i in row_order])
        axis.yaxis.tick_right()
        numbers = [int(quantiles.columns[i]) for i in column_order]
        few = n_clusters <= 15
        axis.set_xticks(
            range(n_clusters), [f"{n}\n(n={sizes.get(n, 0)})" if few else f"{n}" for n in numbers]
        )
        if n_clusters > 9:
            axis.tick_params(axis="x", labelsize=7.5)
        axis.tick_params(length=0)
        axis.set_xlabel("cluster")
        hide_frame(axis, ticks=True)
        if n_clusters <= 12:
            for i in range(n_factors):
                for j in range(n_clusters):
                    if np.isfinite(shown[i, j]):
                        strong = abs(shown[i, j] - 0.5) > 0.33
                        axis.text(
                            j,
                            i,
                            f"{shown[i, j]:.2f}",
                            ha="center",
                            va="center",
                            fontsize=7.5,
                            color="white" if strong else "#222222",
                        )
        figure.colorbar(
            image,
            ax=axes[:, 1],
            label="quantile of the cluster's median",
            ticks=[0, 0.25, 0.5, 0.75, 1],
            shrink=min(1.0, 3.0 / figure.get_figheight()),
            pad=0.02,
        )
        tighten(figure, 0.04)
    return figure
