"""The diagram of the stages as a picture in the page, from the text that a forge draws (mermaid's `A[words] --> B`)."""

from __future__ import annotations

import html
import re
from collections import defaultdict

WIDTH, HEIGHT, ACROSS, DOWN = 128, 26, 40, 12


def read(text: str) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Return the words of each box, and the arrows: from, to, words."""
    boxes: dict[str, str] = {}
    arrows = []
    for line in text.splitlines()[1:]:
        parts = re.split(r"\s*--(?: (.*?) --)?>\s*", line.strip())
        names = []
        for part in parts[::2]:
            name, words = re.fullmatch(r"(\w+)(?:\[(.*)\])?", part).groups()
            boxes[name] = words or boxes.get(name, name)
            names.append(name)
        arrows += [
            (a, b, words or "") for a, b, words in zip(names[:-1], names[1:], parts[1::2], strict=True)
        ]
    return boxes, arrows


def columns(boxes: dict[str, str], arrows: list[tuple[str, str, str]]) -> dict[str, int]:
    """Return the column of each box: right of all that lead to it. An arrow that closes a loop counts for nothing."""
    after = defaultdict(list)
    for a, b, words in arrows:
        if not words:
            after[b].append(a)
    found: dict[str, int] = {}

    def column(box: str) -> int:
        if box not in found:
            found[box] = 1 + max((column(other) for other in after[box]), default=-1)
        return found[box]

    for box in boxes:
        column(box)
    leads = defaultdict(list)
    for a, b, words in arrows:
        if not words:
            leads[a].append(b)
    for box in sorted(
        boxes, key=lambda b: -found[b]
    ):  # what begins with nothing stands just before its first use
        if not after[box] and leads[box]:
            found[box] = min(found[other] for other in leads[box]) - 1
    return found


def draw(text: str) -> str:
    """Return the diagram as SVG, from top to bottom."""
    boxes, arrows = read(text)
    column = columns(boxes, arrows)
    ranks = defaultdict(list)
    for box in boxes:
        ranks[column[box]].append(box)
    place = {box: float(i) for rank in ranks.values() for i, box in enumerate(rank)}
    near = defaultdict(list)
    for a, b, _ in arrows:
        near[a].append(b)
        near[b].append(a)
    for _ in range(12):  # boxes near those that they are joined with
        for rank in ranks.values():
            rank.sort(key=lambda b: sum(place[o] for o in near[b]) / max(len(near[b]), 1))
            for i, box in enumerate(rank):
                place[box] = i - (len(rank) - 1) / 2
    most = max(len(rank) for rank in ranks.values())
    width = most * (WIDTH + DOWN) + DOWN
    height = (max(ranks) + 1) * (HEIGHT + ACROSS)

    def middle(box: str) -> tuple[float, float]:
        return width / 2 + place[box] * (WIDTH + DOWN), column[box] * (HEIGHT + ACROSS) + HEIGHT / 2 + 4

    lines = [
        f'<svg class="stages" viewBox="0 0 {width} {height}" role="img" aria-label="The stages and what they need">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
    ]
    for a, b, words in arrows:
        (x1, y1), (x2, y2) = middle(a), middle(b)
        if words:  # back
            path = f"M{x1 + WIDTH / 2} {y1}C{x1 + WIDTH} {y1} {x2 + WIDTH} {y2} {x2 + WIDTH / 2} {y2}"
            lines.append(
                f'<text x="{x1 + WIDTH * 0.9}" y="{(y1 + y2) / 2}" font-size="10" fill="currentColor">{html.escape(words)}</text>'
            )
        else:
            y1, y2 = y1 + HEIGHT / 2, y2 - HEIGHT / 2
            path = f"M{x1} {y1}C{x1} {y1 + ACROSS / 2} {x2} {y2 - ACROSS / 2} {x2} {y2}"
        lines.append(
            f'<path d="{path}" fill="none" stroke="currentColor" opacity="0.45" marker-end="url(#tip)"/>'
        )
    for box, words in boxes.items():
        x, y = middle(box)
        lines.append(
            f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="4" '
            'fill="var(--md-code-bg-color)" stroke="currentColor"/>'
            f'<text x="{x}" y="{y + 4}" font-size="11" text-anchor="middle" fill="currentColor">{html.escape(words)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"
