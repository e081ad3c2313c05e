"""The conda environments hold what requirements.txt pins; deviations are explained in envs/README.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from neurostrata.cli.stages import FUNCTIONS

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
    assert not wanted.keys() & pins(repository / "requirements-dev.txt").keys()
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


def test_the_demo_needs_no_amico(repository: Path, tmp_path: Path) -> None:
    for target, wanted in {"env": False, "demo": False, "env-amico": True, "env-dev": True}.items():
        command = ["make", "-n", target, f"VENV={tmp_path / 'none'}", f"DEMO={tmp_path / 'demo'}"]
        said = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
        assert ("requirements-amico.txt" in said) == wanted, target


def test_caps_say_why(repository: Path) -> None:
    lines = (repository / "requirements.txt").read_text().splitlines()
    position = next(n for n, line in enumerate(lines) if line.startswith("antspyx"))
    assert lines[position - 1].startswith("#")


#: Package -> what else it brings, and the names under which packages are imported.
BRINGS = {
    "scikit-learn": {"sklearn", "joblib", "threadpoolctl"},
    "antspyx": {"ants"},
    "dmri-amico": {"amico"},
}
BRINGS |= {"pyyaml": {"yaml"}, "picsl-greedy": {"picsl_greedy"}}


def imported(tree: ast.AST, everywhere: bool) -> Iterator[str]:
    """The modules that a file imports: at its head, or also in its functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        elif everywhere or not isinstance(node, ast.FunctionDef):
            yield from imported(node, everywhere)


@cache
def imports_of(path: Path, everywhere: bool) -> tuple[str, ...]:
    return tuple(imported(ast.parse(path.read_text()), everywhere))


def foreign_packages(module: str, library: Path, everywhere: bool) -> set[str]:
    """What a module of ours needs of others, through all of ours that it imports."""
    waiting, seen, found = [module], set(), set()
    while waiting:
        name = waiting.pop()
        path = library / (name.replace(".", "/") + ".py")
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for other in imports_of(path, everywhere):
            if other.startswith("neurostrata"):
                waiting.append(other)
            elif other.split(".")[0] not in sys.stdlib_module_names:
                found.add(other.split(".")[0])
    return found


def test_each_rule_finds_what_its_code_imports(repository: Path) -> None:
    """At the head of modules; for the strata, where finders are interchangeable, in every function too."""
    seen = 0
    for file in sorted((repository / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            command = re.search(r"neurostrata stage ([a-z0-9-]+)", block)
            environment = re.search(r"envs/(\w+\.yaml)", block)
            if command is None or environment is None or command[1] not in FUNCTIONS:
                continue
            names = {name for path, name, _ in environments(repository) if path == environment[1]}
            there = {name.lower() for name in names}.union(*(BRINGS.get(name, set()) for name in names))
            module = FUNCTIONS[command[1]].split(":")[0]
            wanted = foreign_packages(
                module, repository / "workflow", file.stem in ("strata", "strata_checks")
            )
            assert wanted <= there, f"{command[1]}: {wanted - there} not in envs/{environment[1]}"
            seen += 1
    assert seen > 40


def test_environments_hold_nothing_that_their_rules_do_not_import(repository: Path) -> None:
    """Whatever the packages of the library import whose stages run there, finders and models included."""
    library = repository / "workflow"
    rooms: dict[str, set[str]] = {}
    for file in sorted((library / "rules").glob("*.smk")):
        for block in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            command = re.search(r"neurostrata stage ([a-z0-9-]+)", block)
            environment = re.search(r"envs/(\w+\.yaml)", block)
            if command is not None and environment is not None:
                rooms.setdefault(environment[1], set()).add(FUNCTIONS[command[1]].split(".")[1])
    assert len(rooms) >= 7
    for environment, names in rooms.items():
        imported_there = {"python", "pip", "pyyaml", "jsonschema"}
        for path in (path for name in names for path in (library / "neurostrata" / name).rglob("*.py")):
            module = ".".join(path.relative_to(library).with_suffix("").parts)
            imported_there |= {name.lower() for name in foreign_packages(module, library, everywhere=True)}
        for file_name, name, _ in environments(repository):
            if file_name == environment:
                assert (BRINGS.get(name, set()) | {name}) & imported_there, (
                    f"{environment}: nothing imports {name}"
                )
