"""A small study that runs in seconds, for tests that run the workflow itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from loaded_snakemake import dry_run

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class StudyFolder:
    """A study's folder, outside the checkout, and Snakemake run in it."""

    folder: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    )

    def configure(self, **changes: object) -> None:
        """Set top-level keys of the study's config.yaml."""
        path = self.folder / "config" / "config.yaml"
        config = yaml.safe_load(path.read_text()) | changes
        path.write_text(yaml.safe_dump(config, sort_keys=False))

    def edit_sheet(self, change: Callable[[list[list[str]]], None], name: str = "cohort.tsv") -> None:
        """Change the cells of a sheet in place."""
        path = self.folder / name
        cells = [line.split("\t") for line in path.read_text().splitlines()]
        change(cells)
        path.write_text("".join("\t".join(line) + "\n" for line in cells))

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on this study and return what it said; dry runs (-n) do not load it anew."""
        if "-n" in arguments:
            return dry_run([*self._options(), *arguments], self.folder, self.environment)
        return self.process(*arguments)

    def process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on this study in a process of its own, as users do, and return what it said."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *self._options(), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def _options(self) -> list[str]:
        return ["-s", str(REPOSITORY / "Snakefile"), "--cores", "2", "--directory", str(self.folder)]

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule a dry run plans; targets that only gather are left out."""
        run = self.snakemake("-n", *arguments)
        assert run.returncode == 0, run.stderr
        if "Nothing to be done" in run.stdout + run.stderr:
            return {}
        table = re.search(r"^job +count\n[- ]+\n(.*?)^total ", run.stdout + run.stderr, re.M | re.S)
        assert table, run.stdout + run.stderr
        jobs = {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", table.group(1), re.M)}
        jobs.pop("all", None)
        return jobs


def another_image(source: Path, target: Path, seed: int = 99) -> None:
    """Save an image like another one, but not the same: one scan is never two people's."""
    image = nib.load(source)
    data = np.asarray(image.dataobj)
    noise = np.random.default_rng(seed).uniform(0, 0.1, data.shape)
    nib.save(nib.Nifti1Image((data + noise * (data > 0)).astype(data.dtype), image.affine), target)


def approve(study: StudyFolder, *presets: Path) -> None:
    """Have the check before anything is planned pass, though the files are empty or spoiled on purpose.

    `presets` are configuration files that come after the study's own.
    """
    code = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1] + "/workflow")
from neurostrata.gate.notes import gate_key, keep_notes
from neurostrata.cohort.study import load_study
from neurostrata.core.config import check_config, read_configuration
files = [sys.argv[1] + "/config/config.yaml", "config/config.yaml", *sys.argv[2:]]
config = check_config(read_configuration(files))
keep_notes(Path(config["output"]) / "cohort" / "gate.json", gate_key(load_study(config)), [])
"""
    given = [str(REPOSITORY), *map(str, presets)]
    subprocess.run([sys.executable, "-c", code, *given], cwd=study.folder, check=True)


def blob(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """A smooth brain-like ellipsoid with some structure of its own."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = sum((axis / scale) ** 2 for axis, scale in zip(axes, 0.7 + 0.05 * rng.standard_normal(3)))
    image = np.where(radius < 1, 60 + 40 * np.cos(6 * radius), 0)
    return np.where(image > 0, image + rng.normal(0, 2, shape), 0).clip(0).astype(np.float32)


def make_study(folder: Path, people: int = 6, iterations: int = 2) -> StudyFolder:
    """Some people with T1w images, a questionnaire, a Jacobian PCA experiment; nothing is run yet."""
    (folder / "config").mkdir(parents=True)
    (folder / "images").mkdir()
    lines = ["subject\tt1w\ttemplate\tsite\tfamily\tdiagnosis\tnote"]
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    rng = np.random.default_rng(0)
    phenotypes = ["subject\t" + "\t".join(f"v{n}" for n in range(6))]
    for number in range(1, people + 1):
        path = folder / "images" / f"sub-{number:02d}_T1w.nii.gz"
        nib.save(nib.Nifti1Image(blob((24, 24, 24), number), affine), path)
        lines.append(f"{number:02d}\timages/{path.name}\tyes\ta\tf{number}\t\t")
        phenotypes.append(f"{number:02d}\t" + "\t".join(f"{value:.3f}" for value in rng.normal(size=6)))
    (folder / "cohort.tsv").write_text("\n".join(lines) + "\n")
    (folder / "phenotypes.tsv").write_text("\n".join(phenotypes) + "\n")
    (folder / "qc.tsv").write_text("subject\tmodality\tdecision\treason\n")
    config = {
        "cohort": {"sheet": "cohort.tsv"},
        "qc": "qc.tsv",
        "phenotypes": {"tables": ["phenotypes.tsv"], "method": "variables", "parallel_draws": 0},
        "template": {"resolution_mm": 8, "iterations": iterations},
        "registration": {"engine": "greedy"},
        "volumes": {"resolution_mm": 8, "downsample": 1, "shape": [32, 32, 32]},
        "experiments": [
            {
                "name": "jac",
                "model": "pca",
                "modalities": ["jac"],
                "validation": {"method": "kfold", "folds": 2},
            }
        ],
        "strata": {
            "finders": ["mixture"],
            "mixture": {"max_clusters": 2, "starts": 5, "reference_draws": 10},
            "existence": {"draws": 19},
            "stability": {"draws": 10},
            "split_half": {"splits": 2},
            "shuffles": 20,
            "continuous": {"folds": 2, "permutations": 19},
            "repartition": {"draws": 200},
        },
    }
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return StudyFolder(folder)
