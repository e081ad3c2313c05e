"""Figures of the search for clusters, one for each finder that has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurostrata.report.data.results import is_yes
from neurostrata.report.figures.style import (
    GREY,
    NARROW,
    OBSERVED,
    SEQUENTIAL,
    cluster_style,
    figure_style,
    new_figure,
    whole_ticks,
)


def likelihood_figure(search: pd.DataFrame, facts: Mapping[str, Any], narrow: bool = False) -> Figure:
    """Draw the mixture's search: standardised likelihood ratio over clusters, a line per number of components.

    Parameters
    ----------
    search
        ``search.tsv``: components, n_clusters, standardised, used.
    facts
        Sidecar of ``clusters.tsv``; not used here.
    narrow
        For a narrow screen.

    Returns
    -------
    Figure
        The mixtures whose memberships are averaged are ringed.
    """
    numbers = sorted(search["components"].unique())
    colours = [cluster_style(place)[0] for place in range(1, len(numbers) + 1)]
    with figure_style():
        figure = new_figure(NARROW if narrow else 7.6, 3.6)
        axis = figure.subplots()
        for number, colour, marker in zip(numbers, colours, "os^Dv*XP<>" * len(numbers)):
            part = search[search["components"] == number].sort_values("n_clusters")
            axis.plot(
                part["n_clusters"],
                part["standardised"],
                marker=marker,
                color=colour,
                markersize=5,
                label=f"{int(number)}",
            )
        used = search[(search["used"] == "yes") & search["standardised"].notna()]
        if len(used):
            axis.plot(
                used["n_clusters"],
                used["standardised"],
                "o",
                markersize=14,
                markerfacecolor="none",
                markeredgecolor=OBSERVED,
                markeredgewidth=1.8,
                clip_on=False,
            )
        axis.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
        axis.set(
            xlabel="number of clusters",
            ylabel="standardised likelihood ratio\n(standard deviations above Gaussian data)",
        )
        whole_ticks(axis.xaxis)
        axis.yaxis.grid(True)
        axis.legend(title="components", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def grid_figure(grid: pd.DataFrame, facts: Mapping[str, Any], narrow: bool = False) -> Figure:
    """Draw the affinity-propagation search: silhouette and number of clusters over damping and preference.

    Parameters
    ----------
    grid
        ``search.tsv`` of affinity propagation: damping, preference, converged, n_clusters, silhouette.
    facts
        Sidecar of ``clusters.tsv``: damping and preference of the chosen setting, if one was chosen.

    narrow
        For a narrow screen.

    Returns
    -------
    Figure
        Settings that did not converge are grey; converged ones without a silhouette are hatched in its panel. Dots: the
        settings whose result has the best silhouette; ring: the one of them that was used.
    """
    converged = is_yes(grid["converged"]).to_numpy()
    measured = converged & grid["silhouette"].notna().to_numpy()
    dampings = np.sort(grid["damping"].unique())
    preferences = np.sort(grid["preference"].unique())
    panels = (
        ("silhouette", "Silhouette (Euclidean)", SEQUENTIAL, measured),
        ("n_clusters", "Number of clusters", "cividis", converged),
    )
    with figure_style():
        figure = new_figure(NARROW if narrow else 11.0, 6.4 if narrow else 3.6)
        axes = figure.subplots(*((2, 1) if narrow else (1, 2)), sharey=True, squeeze=False).ravel()
        for axis, (column, title, colours, known) in zip(axes, panels):
            values = _on_grid(grid, grid[column].where(known), dampings, preferences)
            mesh = axis.pcolormesh(
                _edges(preferences),
                _edges(dampings),
                np.ma.masked_invalid(values),
                cmap=colours,
                rasterized=True,
            )
            figure.colorbar(mesh, ax=axis, shrink=0.9, aspect=18)
            _mark_cells(axis, grid[~converged], "x", "did not converge")
            if column == "silhouette":
                _mark_cells(axis, grid[converged & ~measured], "s", "converged, but no silhouette")
            axis.set(title=title, xlabel="preference (negative squared distance)", ylabel="damping")
            axis.tick_params(axis="x", labelsize=8)
            axis.locator_params(axis="x", nbins=4 if narrow else 5)
        if "preference" in facts:
            best = grid[measured & (grid["silhouette"] >= grid.loc[measured, "silhouette"].max() - 1e-9)]
            axes[0].scatter(
                best["preference"],
                best["damping"],
                s=7,
                color=OBSERVED,
                linewidths=0,
                label="best silhouette",
            )
            for axis in axes:
                for colour, width in (("white", 4.0), (OBSERVED, 1.8)):
                    axis.plot(
                        facts["preference"],
                        facts["damping"],
                        "o",
                        markersize=12,
                        markerfacecolor="none",
                        markeredgecolor=colour,
                        markeredgewidth=width,
                        clip_on=False,
                        label="used" if axis is axes[0] and colour == OBSERVED else None,
                    )
        if axes[0].get_legend_handles_labels()[1]:
            figure.legend(loc="outside lower left", ncols=2 if narrow else 4)
    return figure


def _on_grid(
    grid: pd.DataFrame, shown: pd.Series, dampings: np.ndarray, preferences: np.ndarray
) -> np.ndarray:
    """Return a column as damping x preference."""
    table = grid.assign(shown=shown).pivot_table(
        index="damping", columns="preference", values="shown", aggfunc="mean", dropna=False
    )
    return table.reindex(index=dampings, columns=preferences).to_numpy(float)


def _mark_cells(axis: Axes, cells: pd.DataFrame, marker: str, label: str) -> None:
    if len(cells):
        axis.scatter(
            cells["preference"],
            cells["damping"],
            s=16,
            marker=marker,
            color=GREY,
            linewidths=0.9,
            label=label,
        )


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return cell borders half-way between sorted centres."""
    if len(centres) == 1:
        step = abs(centres[0]) * 0.05 or 0.5
        return np.array([centres[0] - step, centres[0] + step])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


#: Kind of :class:`neurostrata.strata.finders.interface.SearchFigure` -> function that draws a search, given the sidecar of the
#: clusters.
SEARCH_FIGURES: Mapping[str, Callable[[pd.DataFrame, Mapping[str, Any], bool], Figure]] = {
    "lines": likelihood_figure,
    "grid": grid_figure,
}
