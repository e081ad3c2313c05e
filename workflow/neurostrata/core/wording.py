"""Words and numbers as they stand in sentences: counts, lists, settings. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def count(number: int, singular: str, plural: str = "") -> str:
    """Return "1 cluster", "3 clusters"."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def join_words(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    words = [str(word) for word in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def format_setting(value: Any) -> str:
    """Return a number of the configuration as it was written: no digits added."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
