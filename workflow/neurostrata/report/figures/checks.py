"""Figures of the evidence for and against clusters: existence, stability, prediction without clusters, agreement."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neurostrata.report.figures.factors import factor_title, wrapped
from neurostrata.report.figures.style import (
    BLUE,
    CHANCE,
    FAINT,
    GREEN,
    GREY,
    NARROW,
    OBSERVED,
    ORANGE,
    RED,
    SOFT,
    figure_style,
    hide_frame,
    new_figure,
    whole_ticks,
)


def existence_figure(null: pd.DataFrame, observed: float, measure: str, narrow: bool = False) -> Figure:
    """Draw the finder's measure in data without groups with the observed value, and the number of clusters found in such data.

    Parameters
    ----------
    null
        ``existence_null.tsv``: statistic, n_clusters; not finite where nothing was found.
    observed
        The measure in the codes; NaN draws no line.
    measure
        What it is, for the axis.
    narrow
        For a narrow screen.
    """
    values = null["statistic"].to_numpy(float)
    values = values[np.isfinite(values)]
    with figure_style():
        figure = new_figure(NARROW if narrow else 9.6, 5.6 if narrow else 3.1)
        left, right = figure.subplots(2, 1) if narrow else figure.subplots(1, 2, width_ratios=[1.5, 1])
        if values.size:
            left.hist(values, bins=min(40, max(8, values.size // 5)), color=CHANCE, label="without groups")
        if np.isfinite(observed):
            left.axvline(observed, color=OBSERVED, linestyle=":", linewidth=2.2, label="in the codes")
        left.set(xlabel=f"{measure} (no unit)", ylabel="data sets without groups")
        if values.size or np.isfinite(observed):
            left.legend(loc="best")
        counts = null["n_clusters"].astype(int).value_counts().sort_index()
        right.bar(counts.index.to_numpy(), counts.to_numpy(), color=CHANCE, width=0.75)
        right.set(xlabel="clusters found in data without groups", ylabel="data sets")
        whole_ticks(right.xaxis)
        whole_ticks(right.yaxis)
    return figure


def stability_figure(stability: pd.DataFrame, narrow: bool = False) -> Figure:
    """Draw each cluster's mean Jaccard index over bootstraps, seeds and folds, with Hennig's limits.

    Parameters
    ----------
    stability
        ``stability.tsv``: cluster, n, repeated, jaccard, jaccard_low.
    narrow
        For a narrow screen.
    """
    ways = [
        ("bootstrap", "o", BLUE, "bootstrap samples of people"),
        ("seed", "s", ORANGE, "other seeds"),
        ("fold", "^", GREEN, "the folds' codes"),
    ]
    clusters = sorted(int(cluster) for cluster in stability["cluster"].unique())[:40]
    sizes = dict(zip(stability["cluster"].astype(int), stability["n"].astype(int)))
    with figure_style():
        figure = new_figure(NARROW if narrow else 7.6, 0.5 * len(clusters) + (2.2 if narrow else 1.5))
        axis = figure.subplots()
        for limit, words in ((0.5, "dissolved"), (0.6, "doubtful"), (0.75, "pattern"), (1.0, "stable")):
            if limit < 1:
                axis.axvline(limit, color=GREY, linewidth=0.8, linestyle=":")
            place = {0.5: 0.25, 0.6: 0.55, 0.75: 0.675, 1.0: 0.875}[limit]
            axis.text(
                place,
                1.01,
                words,
                transform=axis.get_xaxis_transform(),
                ha="center",
                fontsize=7 if narrow else 8,
                color=SOFT,
            )
        for shift, (way, marker, colour, label) in zip((-0.2, 0.0, 0.2), ways):
            part = stability[(stability["repeated"].astype(str) == way) & stability["jaccard"].notna()]
            part = part[part["cluster"].isin(clusters)]
            if not len(part):
                continue
            heights = np.array([clusters.index(int(c)) for c in part["cluster"]]) + shift
            if "jaccard_low" in part:
                axis.hlines(heights, part["jaccard_low"], part["jaccard"], color=colour, linewidth=1.6)
            axis.plot(part["jaccard"], heights, marker, color=colour, markersize=6, label=label)
        axis.set_yticks(range(len(clusters)), [f"{c} (n = {sizes.get(c, 0)})" for c in clusters])
        axis.set_ylim(len(clusters) - 0.5, -0.5)
        axis.set_xlim(0, 1.02)
        label = "Jaccard index of the cluster and the one found again (no unit)"
        axis.set(xlabel=wrapped(label, narrow, 40), ylabel="cluster")
        figure.legend(loc="outside lower right", ncols=1 if narrow else 3)
    return figure


#: Features of the continuous alternative: colour and marker by what their name starts with.
_FEATURES = (
    ("codes + clusters", "#882255", "P"),
    ("codes", BLUE, "o"),
    ("clusters", RED, "s"),
    ("pca", GREEN, "^"),
    ("regional_means", ORANGE, "D"),
)


#: R² where the axis begins: what is worse stands there as an arrowhead.
WORST_R2 = -1.0


def continuous_figure(
    continuous: pd.DataFrame, names: Mapping[str, str], labels: Mapping[str, str], narrow: bool = False
) -> Figure:
    """Draw how much of each factor is predicted for held-out people, from codes, baselines and clusters.

    Parameters
    ----------
    continuous
        Rows of ``continuous.tsv`` with a factor: features, factor, value, low, high.
    names, labels
        Factor -> its name; features -> their name.
    narrow
        For a narrow screen.
    """
    factors = list(dict.fromkeys(continuous["factor"].astype(str)))[:20]
    features = list(dict.fromkeys(continuous["features"].astype(str)))
    height = 0.13 * len(features) + 0.16
    with figure_style():
        room = 0.22 * len(features) + 1.4 if narrow else 1.1
        figure = new_figure(NARROW if narrow else 9.6, max(height * len(factors), 1.2) + room)
        axis = figure.subplots()
        for position, feature in enumerate(features):
            colour, marker = next(
                ((c, m) for start, c, m in _FEATURES if feature.startswith(start)), (GREY, "v")
            )
            kind = feature.split(" of ")[0]
            again = any(other.split(" of ")[0] == kind for other in features[:position])
            part = continuous[continuous["features"].astype(str) == feature].drop_duplicates("factor")
            part = part.set_index(part["factor"].astype(str)).reindex(factors)
            places = np.arange(len(factors)) + (position - (len(features) - 1) / 2) * 0.8 / len(features)
            axis.hlines(places, part["low"], part["high"], color=colour, linewidth=1.5)
            axis.plot(
                part["value"],
                places,
                marker,
                color=colour,
                markerfacecolor="white" if again else colour,
                markersize=5,
                label=labels.get(feature, feature),
            )
            beyond = (part["value"] < WORST_R2).to_numpy()
            axis.plot(np.full(beyond.sum(), WORST_R2), places[beyond], "<", color=colour, markersize=5)
        for edge in range(1, len(factors)):
            axis.axhline(edge - 0.5, color=FAINT, linewidth=0.8)
        axis.axvline(0, color=GREY, linewidth=1, linestyle=":")
        low = float(np.nanmin([continuous["low"].min(), 0.0]))
        axis.set_xlim(left=max(low, WORST_R2) - 0.02)
        axis.set_yticks(range(len(factors)), [wrapped(factor_title(f, names), narrow) for f in factors])
        axis.set_ylim(len(factors) - 0.5, -0.5)
        axis.set_xlabel(wrapped("R² in held-out people (share of variance, no unit)", narrow, 30))
        figure.legend(loc="outside lower left" if narrow else "outside right upper", title="predicted from")
    return figure


def crosstab_figure(table: pd.DataFrame, first: str, second: str) -> Figure:
    """Draw how many people are in each pair of clusters of two partitions.

    Parameters
    ----------
    table : DataFrame, clusters of the first x clusters of the second
        Numbers of people.
    first, second
        What the partitions are.
    """
    values = table.to_numpy(float)
    with figure_style():
        figure = new_figure(
            float(np.clip(0.62 * table.shape[1] + 3.0, 4.4, 10)),
            float(np.clip(0.45 * table.shape[0] + 1.3, 2.3, 9)),
        )
        axis = figure.subplots()
        shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        if values.size <= 400:
            for i, j in np.ndindex(values.shape):
                axis.text(
                    j,
                    i,
                    f"{int(values[i, j])}",
                    ha="center",
                    va="center",
                    fontsize=8.5,
                    color="white" if shares[i, j] > 0.6 else "#222222",
                )
        axis.set_xticks(range(table.shape[1]), [str(c) for c in table.columns])
        axis.set_yticks(range(table.shape[0]), [str(c) for c in table.index])
        axis.tick_params(length=0)
        axis.set_xlabel(textwrap.fill(f"cluster: {second}", 30))
        # a line holds as many letters as the panel is high
        axis.set_ylabel(textwrap.fill(f"cluster: {first}", max(16, int(8 * figure.get_figheight()))))
        hide_frame(axis, ticks=True)
        figure.colorbar(image, ax=axis, label="share of the row", ticks=[0, 0.5, 1])
    return figure
