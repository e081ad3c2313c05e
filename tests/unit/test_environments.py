"""The conda environments hold what requirements.txt pins; deviations are explained in envs/README.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

#: conda-forge's names of PyPI's packages.
NAMES = {
    "pytorch": "torch",
    "factor-analyzer": "factor_analyzer",
    "matplotlib-base": "matplotlib",
    "snakemake-minimal": "snakemake",
    "pyyaml": "PyYAML",
}


def pins(path: Path) -> dict[str, str]:
    found = {}
    for line in path.read_text().splitlines():
        match = re.match(r"^([\w.-]+)==([\w.]+)", line)
        if match:
            found[match.group(1).lower()] = match.group(2)
    return found


def environments(repository: Path) -> list[tuple[str, str, str]]:
    rows = []
    for path in sorted((repository / "envs").glob("*.yaml")):
        for entry in yaml.safe_load(path.read_text())["dependencies"]:
            for line in entry["pip"] if isinstance(entry, dict) else [entry]:
                name, _, version = (
                    re.split(r"\s*(==|=)\s*", line, maxsplit=1) if "=" in line else (line, "", "")
                )
                rows.append((path.name, NAMES.get(name, name).lower(), version))
    return rows


def test_environments_agree_with_the_requirements(repository: Path) -> None:
    wanted = pins(repository / "requirements.txt") | pins(repository / "requirements-amico.txt")
    readme = (repository / "envs" / "README.md").read_text()
    explained = {
        (cells[1].strip().lower(), cells[3].strip().split()[-1])
        for line in readme.splitlines()
        if len(cells := line.split("|")) > 4
    }
    for file, name, version in environments(repository):
        if name in ("python", "pip"):
            continue
        assert name in wanted, f"{file}: {name} is not among the requirements"
        assert version == wanted[name] or (name, version) in explained, (
            f"{file}: {name} {version} for {wanted[name]}"
        )


def test_every_environment_can_read_the_configuration(repository: Path) -> None:
    """Global workflow code runs in the controller only, but commands load core.tables and core.config."""
    for path in (repository / "envs").glob("*.yaml"):
        names = {name for file, name, _ in environments(repository) if file == path.name}
        assert {"pyyaml", "jsonschema", "python"} <= names, path.name


@pytest.mark.parametrize("pin", ["antspyx", "scikit-learn"])
def test_caps_say_why(repository: Path, pin: str) -> None:
    lines = (repository / "requirements.txt").read_text().splitlines()
    position = next(n for n, line in enumerate(lines) if line.startswith(pin))
    assert lines[position - 1].startswith("#")
