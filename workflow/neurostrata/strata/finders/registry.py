"""Which finders of groups there are: every schema in workflow/schemas/finders names the class of its finder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from neurostrata.core.config import finder_names, load_schema
from neurostrata.core.errors import UserError
from neurostrata.strata.finders.interface import Finder


def finder_name(name: str) -> str:
    """Return a finder's name as it stands in sentences; results of other releases may have finders unknown here."""
    return finder_class(name).title if name in finder_names() else name.replace("_", " ")


def finder_class(name: str) -> type[Finder]:
    """Return the class of a finder.

    Raises
    ------
    UserError
        When there is no such finder.
    """
    if name not in finder_names():
        raise UserError(f"strata.finders: '{name}' is none of {', '.join(finder_names())}")
    module, cls = load_schema(f"finders/{name}")["class"].split(":")
    found: type[Finder] = getattr(importlib.import_module(module), cls)
    return found


def build_finder(
    name: str,
    options: Mapping[str, Any],
    seed: int,
    threads: int = 1,
    parts: Sequence[str] | None = None,
) -> Finder:
    """Build a finder; see :class:`Finder` for the parameters."""
    return finder_class(name)(options, seed, threads, parts)
