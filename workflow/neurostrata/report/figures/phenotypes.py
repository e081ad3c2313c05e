"""Figures of the phenotype factors (Figure 6 of Dimitri 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neurostrata.report.figures.style import (
    BLUE,
    DIVERGING,
    FAINT,
    GREY,
    NARROW,
    ORANGE,
    figure_style,
    hide_frame,
    new_figure,
    whole_ticks,
)


def factor_label(factor: str) -> str:
    """Return ``factor_01`` as "Factor 1" and any other name with its underscores gone."""
    text = str(factor)
    if text.startswith("factor_") and text.removeprefix("factor_").isdigit():
        return f"Factor {int(text.removeprefix('factor_'))}"
    return text.replace("_", " ")


#: Longest name of a factor in figures.
NAME_LENGTH = 32


def shorten(text: str, most: int = NAME_LENGTH) -> str:
    """Return a text cut to `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip(" ,") + "…"


def short_name(factor: str, meaning: str = "") -> str:
    """Return "Factor 1: Endurance, Strength", cut to :data:`NAME_LENGTH` at the end of a variable where that fits.

    A single name that is too long beside "Factor 1" stands beside "F1".
    """
    label = factor_label(factor)
    if not meaning:
        return shorten(label)
    words = meaning.replace("_", " ").split(", ")
    while len(words) > 1 and len(f"{label}: {', '.join(words)}") > NAME_LENGTH:
        words.pop()
    if len(f"{label}: {words[0]}") > NAME_LENGTH and label.startswith("Factor "):
        label = label.replace("Factor ", "F")
    return shorten(f"{label}: {', '.join(words)}")


def factor_names(factors: Iterable[str], meanings: Mapping[str, str]) -> dict[str, str]:
    """Return factor -> its name in figures and tables, by what loads on it."""
    return {str(factor): short_name(str(factor), meanings.get(str(factor), "")) for factor in factors}


def no_upper_end(eta2_high: float) -> bool:
    """Tell whether an interval of eta squared has no upper end: the approximation goes to 1, beyond which nothing can be."""
    return bool(eta2_high >= 1)


def loadings_figure(
    loadings: pd.DataFrame, threshold: float = 0.3, names: Mapping[str, str] | None = None
) -> Figure:
    """Draw the loadings as a heat map, those below `threshold` left blank.

    Parameters
    ----------
    loadings : DataFrame, variables x factors
        Index: variable names.
    threshold
        Absolute value below which a cell stays blank (0.3 in the paper).
    names
        Factor -> its name, by default its number.

    Returns
    -------
    Figure
        Variables sorted by the factor they load on most; numbers are printed where they fit.
    """
    values = loadings.to_numpy(float)
    strongest = np.nanargmax(np.nan_to_num(np.abs(values)), axis=1)
    size = np.nan_to_num(np.abs(values))[np.arange(len(values)), strongest]
    order = np.lexsort((-size, strongest))
    values, variables = values[order], [str(loadings.index[i]).replace("_", " ") for i in order]
    labels = [(names or {}).get(str(column), factor_label(column)) for column in loadings.columns]
    slanted = len(labels) > 5 or any(len(label) > 12 for label in labels)
    shown = np.where(np.abs(values) >= threshold, values, np.nan)
    n_variables, n_factors = values.shape
    with figure_style():
        longest = max((len(name) for name in variables), default=10)
        width = min(0.085 * min(longest, 40) + 0.62 * n_factors + 1.9, 11.4)
        row_height = float(np.clip(14 / max(n_variables, 1), 0.2, 0.3))
        figure = new_figure(max(width, 5.0), row_height * n_variables + (2.6 if slanted else 1.6))
        axis = figure.subplots()
        image = axis.imshow(shown, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
        axis.set_yticks(range(n_variables), [shorten(name, 40) for name in variables])
        axis.set_xticks(
            range(n_factors),
            labels,
            rotation=40 if slanted else 0,
            ha="left" if slanted else "center",
        )
        axis.xaxis.tick_top()
        axis.tick_params(length=0)
        axis.set_xticks(np.arange(n_factors + 1) - 0.5, minor=True)
        axis.set_yticks(np.arange(n_variables + 1) - 0.5, minor=True)
        axis.grid(which="minor", color=FAINT, linewidth=0.6)
        axis.tick_params(which="minor", length=0)
        hide_frame(axis, ticks=True)
        if n_factors <= 20:
            for i, j in zip(*np.nonzero(~np.isnan(shown))):
                colour = "white" if abs(shown[i, j]) > 0.65 else "#222222"
                axis.text(
                    j,
                    i,
                    f"{shown[i, j]:.2f}".replace("-", "−").replace("0.", "."),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color=colour,
                )
        figure.colorbar(
            image,
            ax=axis,
            label="loading",
            shrink=min(1.0, 3.5 / figure.get_figheight()),
            aspect=25,
            anchor=(0, 1),
        )
    return figure


def eigenvalue_figure(
    eigenvalues: np.ndarray, parallel: np.ndarray | None, retained: int, narrow: bool = False
) -> Figure:
    """Draw the scree plot with the eigenvalue-1 rule and the parallel analysis.

    Parameters
    ----------
    eigenvalues : array, shape (components,)
        Of the correlation matrix, in decreasing order.
    parallel : array, shape (components,), or None
        The values that uncorrelated data of the same size reach.
    retained
        Number of components kept.
    narrow
        For a narrow screen.
    """
    with figure_style():
        figure = new_figure(NARROW if narrow else 7.2, 3.3)
        axis = figure.subplots()
        x = np.arange(1, len(eigenvalues) + 1)
        axis.axhline(1, color=GREY, linestyle="--", linewidth=1, label="eigenvalue 1")
        axis.plot(x, eigenvalues, color=BLUE, linewidth=1.2, zorder=2)
        kept = x <= retained
        axis.scatter(x[kept], eigenvalues[kept], color=BLUE, s=28, zorder=3, label=f"kept ({retained})")
        axis.scatter(
            x[~kept], eigenvalues[~kept], facecolor="white", edgecolor=BLUE, s=24, zorder=3, label="not kept"
        )
        if parallel is not None and np.isfinite(parallel).any():
            axis.plot(x, parallel, color=ORANGE, linewidth=1.6, label="parallel analysis")
        axis.set(xlabel="component", ylabel="eigenvalue\n(units of one variable's variance)")
        axis.yaxis.label.set_fontsize(9)
        whole_ticks(axis.xaxis)
        axis.yaxis.grid(True)
        axis.legend(loc="upper right")
    return figure
