"""How figures look: one type size, colours that colour-blind readers can tell apart, files of modest size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from neurostrata.core.files import atomic_path

#: Paul Tol's "muted" scheme, ordered so that the first few differ most (personal.sron.nl/~pault).
CLUSTER_COLOURS = (
    "#332288",
    "#CC6677",
    "#117733",
    "#DDCC77",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
)
#: After nine clusters the colours start again with the next marker.
CLUSTER_MARKERS = ("o", "^", "s", "D", "v", "P", "X")
#: The pair of colours for two things compared (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#767676"

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"

_SETTINGS: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.dpi": 100,
    "savefig.dpi": 140,
    "figure.facecolor": "white",
    # Text as paths and a fixed salt: the same picture on every machine, byte for byte.
    "svg.fonttype": "path",
    "svg.hashsalt": "neurostrata",
    "image.interpolation": "nearest",
}

#: Largest width of a PNG in pixels.
MAX_WIDTH = 1600


def cluster_style(cluster: int) -> tuple[str, str]:
    """Return (colour, marker) of cluster number 1, 2, ..."""
    index = max(int(cluster) - 1, 0)
    return (
        CLUSTER_COLOURS[index % len(CLUSTER_COLOURS)],
        CLUSTER_MARKERS[index // len(CLUSTER_COLOURS) % len(CLUSTER_MARKERS)],
    )


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply the report's look to the figures made inside the block."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches, laid out so that labels do not overlap.

    It belongs to no window manager, so nothing has to be closed and nothing leaks over many figures.
    """
    with figure_style():
        return Figure(figsize=(width, height), layout="constrained")


def tighten(figure: Figure, outer: float = 0.02, between: float = 0.01) -> None:
    """Set the gaps round the panels (inches) and between them (share of a panel) of a figure."""
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(w_pad=outer, h_pad=outer, wspace=between, hspace=between)


def hide_frame(axis: Any, ticks: bool = False) -> None:
    """Take the frame off a panel, and its ticks unless `ticks`: for images."""
    axis.spines[:].set_visible(False)
    if not ticks:
        axis.set(xticks=[], yticks=[])


def hide_unused(panels: Any, used: int) -> None:
    """Hide the panels of a grid after the first `used`."""
    for panel in panels.flat[used:]:
        panel.set_visible(False)


def whole_ticks(axis: Any) -> None:
    """Tick an axis (``axes.xaxis``) at whole numbers only."""
    axis.set_major_locator(MaxNLocator(integer=True))


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as SVG or PNG, atomically and without a date in it.

    PNG files are at most :data:`MAX_WIDTH` pixels wide.
    """
    with figure_style(), atomic_path(path, record=False) as temporary:
        engine = figure.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):
            # savefig() draws twice and would lay out twice, which is most of its time.
            engine.execute(figure)
            figure.set_layout_engine("none")
        options: dict[str, Any] = {"format": path.suffix.removeprefix(".")}
        if path.suffix == ".svg":
            options.update(metadata={"Date": None}, dpi=150)
        else:
            options["dpi"] = min(140.0, MAX_WIDTH / figure.get_figwidth())
        figure.savefig(temporary, **options)
    return path
