"""Paths of the parts of a checkout. Standard library only: the workflow reads it while parsing."""

from __future__ import annotations

import shutil
from pathlib import Path

#: The folder to be put on Python's path.
LIBRARY = Path(__file__).resolve().parents[2]
REPOSITORY = LIBRARY.parent
SCHEMAS = LIBRARY / "schemas"
RESOURCES = REPOSITORY / "resources"
#: The default configuration; a study's own configuration overrides parts of it.
DEFAULT_CONFIG = REPOSITORY / "config" / "config.yaml"
#: The values that its keys had before they changed.
FORMER_DEFAULTS = DEFAULT_CONFIG.with_name("former-defaults.yaml")
#: A study's own configuration, in its folder.
STUDY_CONFIG = Path("config") / "config.yaml"


def program() -> str:
    """Return how the command line is called here: by its name where it is installed, else by its path."""
    return "neurostrata" if shutil.which("neurostrata") else f"python {LIBRARY / 'neurostrata'}"
