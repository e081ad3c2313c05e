"""Words and numbers as they stand in sentences: counts, lists, settings. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
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


def setting_words(value: Any) -> str:
    """Return any value of the configuration in words: "yes", "64, 64, 64", "low 1, high 99"."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {setting_words(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(setting_words(part) for part in value) or "none"
    text = format_setting(value)
    # format_setting has six digits; a value that differs from another in the seventh must not look like it
    return text if isinstance(value, str) or float(text) == value else repr(value)


def nearest(name: str, known: Iterable[str], most: int = 3) -> str:
    """Return a hint at the names, `most` at most, that look like one that does not exist; "" without any."""
    lower = {other.lower(): other for other in dict.fromkeys(known)}
    close = difflib.get_close_matches(name.lower(), lower, n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(lower[other]) for other in close)}?" if close else ""
