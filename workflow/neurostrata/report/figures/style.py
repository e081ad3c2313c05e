"""How figures look: one type size, colours that colour-blind readers can tell apart, files of modest size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
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
#: Lines that mark what was observed, and bars of what chance gives.
OBSERVED, CHANCE = "#C00000", "#9fb8c9"
#: Ink of lines and text, of frames, and of what should hardly be seen.
INK, SOFT, FAINT = "#222222", "#555555", "#e4e4e4"

#: Colours of figures -> what they are on a dark page; the style sheet ``figures.css`` of the report has the same.
DARK = {
    "#000000": "#e4e8eb",
    "#222222": "#e4e8eb",
    "#333333": "#e4e8eb",
    "#555555": "#a3adb5",
    "#767676": "#9aa3aa",
    "#e4e4e4": "#343c42",
    "#ffffff": "#14181b",
    "#332288": "#a79df0",
    "#cc6677": "#e58a99",
    "#117733": "#4dbb74",
    "#882255": "#d8719f",
    "#44aa99": "#5cc9b7",
    "#999933": "#bdbd4f",
    "#aa4499": "#d47fc6",
    "#0072b2": "#4aa8e0",
    "#009e73": "#2bc49a",
    "#d55e00": "#f08038",
    "#c00000": "#ff6b5e",
    "#9fb8c9": "#5d7a8e",
}
#: Figures of brains stand on black, in the file and on either page: ground, and text on it.
BLACK, ON_BLACK = "#000001", "#e4e8eb"

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"

_SETTINGS: Any = {
    # The one that matplotlib brings along; finish() adds others that are about as wide.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.dpi": 100,
    "savefig.dpi": 140,
    "figure.facecolor": "white",
    # Text as text, so that it can be found, copied and edited; a fixed salt for the same file on every machine.
    "svg.fonttype": "none",
    "svg.hashsalt": "neurostrata",
    "image.interpolation": "nearest",
    # Names of variables may hold dollar signs.
    "text.parse_math": False,
}

#: Largest width of a PNG in pixels.
MAX_WIDTH = 1600
#: Width in inches of figures for narrow screens.
NARROW = 4.3
#: Points of one kind that are drawn one by one and named; more are one picture, without names.
MOST_POINTS = 300


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


def name_points(points: Collection, subjects: Iterable[str], words: Iterable[Any] = ()) -> None:
    """Make each point of a scatter stand for a person, whom the page then names.

    Parameters
    ----------
    points
        What ``scatter`` returned.
    subjects
        Ids, in the order of the points.
    words
        What else is said of each: a text, or a number.
    """
    from neurostrata.report.html.blocks import format_number
    from neurostrata.report.html.svg import person_address

    said = [word if isinstance(word, str) else format_number(word) for word in words]
    people = [str(subject) for subject in subjects]
    points.set_urls([person_address(*pair) for pair in zip(people, said or [""] * len(people), strict=True)])


def whole_ticks(axis: Any) -> None:
    """Tick an axis (``axes.xaxis``) at whole numbers only."""
    axis.set_major_locator(MaxNLocator(integer=True))


def on_black(figure: Figure) -> Figure:
    """Put a figure of brains on black, with its text in a light colour; return it."""
    figure.set_facecolor(BLACK)
    for text in figure.findobj(Text):
        text.set_color(ON_BLACK)
    for axis in figure.axes:
        axis.tick_params(color=ON_BLACK, labelcolor=ON_BLACK)
        axis.set_facecolor(BLACK)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as SVG or PNG, atomically and without a date in it.

    PNG files are at most :data:`MAX_WIDTH` pixels wide and have a background; SVG files have none, but for figures
    :func:`on_black`. An SVG file is as :func:`neurostrata.report.html.svg.finish` leaves it.
    """
    from neurostrata.report.html.svg import finish

    with figure_style(), atomic_path(path, record=False) as temporary:
        engine = figure.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):
            # savefig() draws twice and would lay out twice, which is most of its time.
            engine.execute(figure)
            figure.set_layout_engine("none")
        options: dict[str, Any] = {"format": path.suffix.removeprefix(".")}
        if path.suffix == ".svg":
            clear = figure.get_facecolor() != to_rgba(BLACK)
            options.update(metadata={"Date": None}, dpi=150, transparent=clear)
        else:
            options["dpi"] = min(140.0, MAX_WIDTH / figure.get_figwidth())
        figure.savefig(temporary, **options)
        if path.suffix == ".svg":
            temporary.write_text(finish(temporary.read_text(encoding="utf-8")), encoding="utf-8")
    return path
