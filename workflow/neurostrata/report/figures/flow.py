"""The flow chart of people: who is left at each step, and who left before it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from neurostrata.report.data.flow import Flow, Step
from neurostrata.report.figures.phenotypes import shorten
from neurostrata.report.figures.style import NARROW, SOFT, figure_style, new_figure

#: Experiments side by side at most; height of a step and width of a column, in inches.
BESIDE, STEP, COLUMN = 3, 0.62, 3.7
#: Characters in a box of people who left, and reasons in it at most.
ROOM, REASONS = 26, 5
#: Height of a line of text in inches.
LINE = 0.155


def flow_figure(flow: Flow, narrow: bool = False) -> Figure:
    """Draw the flow chart: the study's steps, and below them a column for each experiment.

    Parameters
    ----------
    flow
        The numbers.
    narrow
        For a narrow screen: the experiments below each other.
    """
    columns = list(flow.experiments.items())
    across = 1 if narrow else max(1, min(len(columns), BESIDE))
    rows = [columns[start : start + across] for start in range(0, len(columns), across)]
    heights = [
        _height(flow.study) - _gap(flow.study[0]),
        *(max(_height(steps) for _, steps in row) + 0.2 for row in rows),
    ]
    with figure_style():
        width = NARROW if narrow else COLUMN * across + 0.3
        figure = new_figure(width, sum(heights) + 0.1)
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, width), ylim=(-sum(heights) - 0.1, 0))
        axis.axis("off")
        first = (width - COLUMN) / 2 if not narrow else 0.1
        end = _draw_steps(axis, first, 0.05, flow.study)
        top = heights[0]
        for row, height in zip(rows, heights[1:]):
            for place, (name, steps) in enumerate(row):
                left = 0.1 + place * COLUMN
                if row is rows[0]:
                    _branch(axis, first + 0.85, end, left + 0.85, top)
                else:  # too far from where the line would begin
                    axis.text(
                        left + 0.85,
                        -top,
                        f"the {flow.study[-1].people} people who took part",
                        ha="center",
                        va="bottom",
                        fontsize=7.5,
                    )
                _draw_steps(axis, left, top, steps, name)
            top += height
    return figure


def _height(steps: Sequence[Step]) -> float:
    return 0.05 + sum(STEP + _gap(step) for step in steps)


def _lines(step: Step) -> list[str]:
    """Return the text of the box of those who left before a step."""
    if not step.lost:
        return []
    shown = list(step.lost.items())[:REASONS]
    lines = [f"{sum(step.lost.values())} left out"]
    for reason, number in shown:
        lines += textwrap.wrap(
            f"{number} {reason}", ROOM, subsequent_indent="  ", max_lines=3, placeholder=" …"
        )
    if len(step.lost) > REASONS:
        lines.append(f"{sum(list(step.lost.values())[REASONS:])} for other reasons")
    return lines


def _gap(step: Step) -> float:
    """Return the room above a step, in inches: that of those who left before it."""
    lines = len(_lines(step))
    return 0.24 + (lines * LINE + 0.1 if lines else 0.0)


def _draw_steps(axis: Axes, left: float, top: float, steps: Sequence[Step], name: str = "") -> float:
    """Draw boxes from `top` (inches from the upper edge) down; return where the last one ends."""
    middle = left + 0.85
    for number, step in enumerate(steps):
        gap = _gap(step) if number or name else 0.0
        if gap:
            axis.annotate(
                "",
                (middle, -top - gap),
                (middle, -top),
                arrowprops={"arrowstyle": "-|>", "color": SOFT, "shrinkA": 0, "shrinkB": 0},
            )
        if lines := _lines(step):
            height = len(lines) * LINE + 0.08
            axis.plot([middle, left + 1.8], [-top - 0.12 - height / 2] * 2, color=SOFT, linewidth=0.9)
            _box(axis, left + 1.8, top + 0.12, 1.75, height, "\n".join(lines), 7.5)
        top += gap
        words, size = textwrap.fill(f"{step.people} {step.title}", 20), 9.0
        if name and number == 0:
            if len(name) > 20:  # in smaller letters, in two lines
                lines = textwrap.wrap(name, 24)
                lines = lines if len(lines) <= 2 else [name[:24], shorten(name[24:], 24)]
                name, size = "\n".join(lines), 7.5
            words = f"{name}\n{words}"
        _box(axis, left, top, 1.7, STEP - 0.06, words, size, centred=True)
        top += STEP - 0.06
    return top


def _branch(axis: Axes, start: float, above: float, end: float, below: float) -> None:
    """Draw the line from the last step of the study to an experiment's column."""
    bend = (above + below) / 2
    axis.plot([start, start, end, end], [-above, -bend, -bend, -below], color=SOFT, linewidth=0.9)


def _box(
    axis: Axes,
    left: float,
    top: float,
    width: float,
    height: float,
    text: str,
    size: float,
    centred: bool = False,
) -> None:
    axis.add_patch(
        Rectangle((left, -top - height), width, height, facecolor="none", edgecolor=SOFT, linewidth=0.9)
    )
    axis.text(
        left + (width / 2 if centred else 0.06),
        -top - height / 2,
        text,
        ha="center" if centred else "left",
        va="center",
        fontsize=size,
    )
