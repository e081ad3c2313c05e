"""What the papers say, setting by setting: the tables in ``resources/papers``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from neurostrata.core.config import read_yaml
from neurostrata.core.locations import RESOURCES

#: One table a paper; the first comment of dimitri2022.yaml explains its lists and their keys.
PAPERS = RESOURCES / "papers"


@cache
def paper_tables(folder: Path = PAPERS) -> dict[str, dict[str, Any]]:
    """Return paper (as ``dimitri2022``) -> its table, in the order of their names."""
    return {path.stem: read_yaml(path) for path in sorted(folder.glob("*.yaml"))}
