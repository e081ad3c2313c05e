"""The version stands in the library; whatever else names it says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from neurostrata import __version__


def test_everything_that_names_the_version_names_this_one(repository: Path) -> None:
    assert yaml.safe_load((repository / "CITATION.cff").read_text())["version"] == __version__
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert "version" in project["dynamic"]
    newest = re.search(r"^## (\S+)", (repository / "CHANGELOG.md").read_text(), re.M)
    assert newest
    assert newest[1] == __version__
