"""The record of a study: versions, code, seeds, settings and digests of the inputs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurostrata import __version__
from neurostrata.cohort.sources.registry import SOURCES
from neurostrata.stages import STAGES

#: Distributions whose versions are recorded where they are installed.
PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "nibabel",
    "nilearn",
    "antspyx",
    "picsl-greedy",
    "dipy",
    "dmri-amico",
    "torch",
    "lightning",
    "scikit-learn",
    "factor-analyzer",
    "statsmodels",
    "safetensors",
    "matplotlib",
    "jinja2",
    "snakemake",
)
#: Tables up to this size are digested whole.
WHOLE_BYTES = 64 * 1024 * 1024
HEAD_BYTES = 4096


def package_versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return name -> version of those packages that are installed; nothing is imported."""
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit and whether tracked files differ from it; None outside a git checkout or without git."""
    try:
        command = ["git", "-C", str(folder)]
        commit = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20, check=False
        )
        if commit.returncode != 0:
            return None
        status = subprocess.run(
            [*command, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {
        "commit": commit.stdout.strip(),
        "changed": bool(status.stdout.strip()) if status.returncode == 0 else None,
    }


def file_digest(path: Path) -> str | None:
    """Return the SHA-256 of a small file's bytes, of a large file's size and first 4 KiB; None if unreadable."""
    try:
        size = path.stat().st_size
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            if size <= WHOLE_BYTES and path.suffix.lower() in (".tsv", ".csv", ".txt", ".json", ".yaml"):
                digest.update(stream.read())
            else:
                digest.update(str(size).encode())
                digest.update(stream.read(HEAD_BYTES))
    except OSError:
        return None
    return digest.hexdigest()


def group_digest(paths: Iterable[Path]) -> dict[str, Any]:
    """Summarise many files: how many, bytes, those that cannot be read, one digest over all of them in order.

    Each file enters with its size and first 4 KiB (for an image: its header), not with its path or date, so a copy of
    the data elsewhere has the same digest.
    """
    digest = hashlib.sha256()
    files = total = 0
    unreadable = []
    for path in paths:
        one = file_digest(path)
        if one is None:
            unreadable.append(path.name)
            continue
        files += 1
        total += path.stat().st_size
        digest.update(one.encode())
    return {"files": files, "bytes": total, "unreadable": unreadable[:20], "sha256": digest.hexdigest()}


def input_digests(config: Mapping[str, Any]) -> dict[str, Any]:
    """Digest what the configuration names: sheets and tables whole, images by header, one digest per column."""
    digests: dict[str, Any] = {}
    sheets = [config["cohort"]["sheet"], config["qc"], *config["phenotypes"]["tables"]]
    for name in sheets:
        if name:
            digests[str(name)] = {"sha256": file_digest(Path(name))}
    digests["images"] = _image_digests(config)
    return digests


def _image_digests(config: Mapping[str, Any]) -> dict[str, Any]:
    from neurostrata.cohort.study import load_study
    from neurostrata.core.errors import UserError

    try:
        study = load_study(config, rescan=False)
        columns = study.used_columns()
        return {
            column: group_digest(Path(source) for s in study.people() if (source := study.source(s, column)))
            for column in columns
        }
    except (UserError, KeyError, OSError) as error:
        # Provenance is a record, not a check: the cohort stage refuses broken sheets before anything runs.
        return {"unreadable": str(error)}


def engines(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the registration engine, the NODDI engine and the models that were used."""
    sources = {declaration["from"] for declaration in config["modalities"].values()}
    return {
        "registration": config["registration"]["engine"],
        **{
            name: engine if name in sources else None
            for name, source in SOURCES.items()
            if (engine := source.engine(config))
        },
        "models": sorted({experiment["model"] for experiment in config["experiments"]}),
    }


def collect(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole record.

    Parameters
    ----------
    config
        The configuration, defaults filled in.

    Returns
    -------
    dict
        neurostrata, code (git commit), python, platform, packages, stage_versions, engines, seeds, inputs, settings.
        Packages are those of the environment that wrote the record; under conda other stages have their own.
    """
    return {
        "neurostrata": __version__,
        "code": git_state(Path(__file__).resolve().parent),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "executable": Path(sys.executable).name,
        "packages": package_versions(),
        "stage_versions": {name: stage.version for name, stage in STAGES.items()},
        "engines": engines(config),
        "seeds": {key: config[key] for key in ("seed", "imaging_seed")},
        "inputs": input_digests(config),
        "settings": dict(config),
    }
