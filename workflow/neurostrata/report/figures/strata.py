"""Figures of clusters and what they differ in (Figures 7-10 of Dimitri 2022) and of the search that found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from neurostrata.report.figures.phenotypes import factor_label, shorten
from neurostrata.report.figures.style import (
    DIVERGING,
    GREY,
    RED,
    SEQUENTIAL,
    cluster_style,
    figure_style,
    new_figure,
    tighten,
)


def grid_figure(grid: pd.DataFrame) -> Figure:
    """Draw the affinity-propagation search: silhouette and number of clusters over damping and preference.

    Parameters
    ----------
    grid
        ``search.tsv`` of affinity propagation: damping, preference, converged, n_clusters, silhouette.

    Returns
    -------
    Figure
        Settings that did not converge are grey; the chosen one (best silhouette) is ringed.
    """
    usable = grid["converged"].astype(str).str.lower().isin(["true", "1", "yes"]) & grid["silhouette"].notna()
    dampings = np.sort(grid["damping"].unique())
    preferences = np.sort(grid["preference"].unique())
    panels = (
        ("silhouette", "Silhouette (Euclidean)", SEQUENTIAL),
        ("n_clusters", "Number of clusters", "cividis"),
    )
    with figure_style():
        figure = new_figure(11.0, 3.5)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (column, title, colours) in zip(axes, panels):
            part = grid.assign(shown=grid[column].where(usable))
            values = part.pivot_table(
                index="damping", columns="preference", values="shown", aggfunc="mean", dropna=False
            ).reindex(index=dampings, columns=preferences)
            cmap = matplotlib.colormaps[colours].with_extremes(bad="#d8d8d8")
            mesh = axis.pcolormesh(
                _edges(preferences),
                _edges(dampings),
                np.ma.masked_invalid(values.to_numpy(float)),
                cmap=cmap,
                rasterized=True,
            )
            figure.colorbar(mesh, ax=axis, shrink=0.9, aspect=18)
            axis.set(title=title, xlabel="preference (negative squared distance)")
            axis.tick_params(axis="x", labelsize=8)
            axis.locator_params(axis="x", nbins=5)
        axes[0].set_ylabel("damping")
        if usable.any():
            best = grid.loc[grid["silhouette"].where(usable).idxmax()]
            for axis in axes:
                for colour, width in (("white", 4.0), ("#C00000", 1.8)):
                    axis.plot(
                        best["preference"],
                        best["damping"],
                        "o",
                        markersize=12,
                        markerfacecolor="none",
                        markeredgecolor=colour,
                        markeredgewidth=width,
                        clip_on=False,
                    )
        if not usable.all():
            axes[0].plot(
                [], [], "s", color="#d8d8d8", markersize=9, label="not converged, or without a silhouette"
            )
            figure.legend(loc="outside lower left")
    return figure


def factor_title(factor: str, names: Mapping[str, str] | None = None) -> str:
    """Return a factor's name, or its number where it has none."""
    return (names or {}).get(str(factor)) or shorten(factor_label(str(factor)))


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return cell borders half-way between sorted centres."""
    if len(centres) == 1:
        step = abs(centres[0]) * 0.05 or 0.5
        return np.array([centres[0] - step, centres[0] + step])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


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
        for axis in axes.flat[len(factors) :]:
            axis.set_visible(False)
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
        for axis in axes.flat[len(factors) :]:
            axis.set_visible(False)
        figure.supxlabel("Kruskal-Wallis H (no unit)", fontsize=10)
        figure.supylabel("density", fontsize=10)
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
        for spine in axis.spines.values():
            spine.set_visible(False)
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
        The same after adjustment, drawn below in open squares.
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
            axis.plot([], [], "o", color=GREY, label="as it is")
            axis.plot([], [], "s", markerfacecolor="white", markeredgecolor=GREY, label="adjusted")
            figure.legend(loc="outside lower right", ncols=2)
        axis.set_yticks(range(len(frame)), [factor_title(f, names) for f in frame["factor"]])
        axis.set_ylim(len(frame) - 0.5, -0.5)
        axis.set_xlim(left=-0.005)
        axis.set_xlabel("η² (share of variance between clusters, no unit)")
        axis.xaxis.grid(True)
    return figure
