"""Figures of the search for clusters, one for each finder that has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neurostrata.report.data.results import is_yes
from neurostrata.report.figures.style import GREY, SEQUENTIAL, figure_style, new_figure, whole_ticks


def likelihood_figure(search: pd.DataFrame, facts: Mapping[str, Any]) -> Figure:
    """Draw the mixture's search: standardised likelihood ratio over clusters, a line per number of components.

    Parameters
    ----------
    search
        ``search.tsv``: components, n_clusters, standardised, used.
    facts
        Sidecar of ``clusters.tsv``; not used here.

    Returns
    -------
    Figure
        The mixtures whose memberships are averaged are ringed.
    """
    numbers = sorted(search["components"].unique())
    colours = matplotlib.colormaps[SEQUENTIAL](np.linspace(0, 0.85, max(len(numbers), 1)))
    with figure_style():
        figure = new_figure(7.6, 3.6)
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
                markeredgecolor="#C00000",
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


def grid_figure(grid: pd.DataFrame, facts: Mapping[str, Any]) -> Figure:
    """Draw the affinity-propagation search: silhouette and number of clusters over damping and preference.

    Parameters
    ----------
    grid
        ``search.tsv`` of affinity propagation: damping, preference, converged, n_clusters, silhouette.
    facts
        Sidecar of ``clusters.tsv``: damping and preference of the chosen setting, if one was chosen.

    Returns
    -------
    Figure
        Settings that did not converge are grey; the chosen one is ringed.
    """
    usable = is_yes(grid["converged"]) & grid["silhouette"].notna()
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
        if "preference" in facts:
            for axis in axes:
                for colour, width in (("white", 4.0), ("#C00000", 1.8)):
                    axis.plot(
                        facts["preference"],
                        facts["damping"],
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


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return cell borders half-way between sorted centres."""
    if len(centres) == 1:
        step = abs(centres[0]) * 0.05 or 0.5
        return np.array([centres[0] - step, centres[0] + step])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


#: Kind of :class:`neurostrata.strata.finders.interface.SearchFigure` -> function that draws a search, given the sidecar of the
#: clusters.
SEARCH_FIGURES: Mapping[str, Callable[[pd.DataFrame, Mapping[str, Any]], Figure]] = {
    "lines": likelihood_figure,
    "grid": grid_figure,
}
