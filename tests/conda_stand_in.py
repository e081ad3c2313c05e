"""A stand-in for the `conda` command where its channels cannot be reached.

It answers what Snakemake asks of conda, and makes real virtual environments from environment files: each
holds the packages that the file names and what they require, and nothing else, linked from the Python that
runs this script. A rule whose environment file lacks a package fails here as it would on a cluster.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement

#: conda-forge's names of PyPI's packages.
NAMES = {
    "pytorch": "torch",
    "factor-analyzer": "factor_analyzer",
    "matplotlib-base": "matplotlib",
    "snakemake-minimal": "snakemake",
    "pip": None,
    "python": None,
}
BASE = Path(__file__).resolve().parent


def named_packages(environment_file: Path) -> list[str]:
    """Return the PyPI names of what an environment file asks for."""
    names = []
    for entry in yaml.safe_load(environment_file.read_text())["dependencies"]:
        for line in entry["pip"] if isinstance(entry, dict) else [entry]:
            name = re.split(r"[\s=<>]", line, maxsplit=1)[0]
            names.append(NAMES.get(name, name))
    return [name for name in names if name]


def with_requirements(names: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return these distributions and all that they require."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = [(name, frozenset[str]()) for name in names]
    while wanted:
        name, extras = wanted.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        first = key not in found
        if first:
            found[key] = importlib.metadata.distribution(name)
        for text in found[key].requires or [] if first or extras else []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                wanted.append((requirement.name, frozenset(requirement.extras)))
    return found


def create(environment_file: Path, prefix: Path) -> None:
    """Make the virtual environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    site = next(prefix.glob("lib/python*/site-packages"))
    for distribution in with_requirements(named_packages(environment_file)).values():
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__", "bin"}:
            source, link = Path(str(distribution.locate_file(top))), site / top
            if source.exists() and not link.exists() and source.suffix != ".pth":
                link.symlink_to(source)


def main(arguments: list[str]) -> None:
    """Answer one call."""
    if arguments[:2] == ["info", "--json"]:
        print(json.dumps({"conda_prefix": sys.argv[0].rsplit("/bin/", 1)[0], "platform": "linux-64"}))
    elif arguments == ["--version"]:
        print("conda 26.1.0")
    elif arguments[:3] == ["config", "--get", "channel_priority"]:
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif arguments[:2] == ["env", "create"]:
        create(
            Path(arguments[arguments.index("--file") + 1]), Path(arguments[arguments.index("--prefix") + 1])
        )
    elif arguments[:1] != ["clean"]:
        sys.exit(f"conda stand-in: cannot {' '.join(arguments)}")


def install(folder: Path) -> Path:
    """Put a `conda` command into ``folder/bin`` and return that folder of programs."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    conda = programs / "conda"
    conda.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(BASE)!r})\n"
        "from conda_stand_in import main\nmain(sys.argv[1:])\n"
    )
    (programs / "activate").write_text('export CONDA_PREFIX="$1"\nexport PATH="$1/bin:$PATH"\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    return programs


if __name__ == "__main__":
    main(sys.argv[1:])
