"""docs/extending.md, followed step by step in a copy of the checkout: a modality, a source, a model, a finder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from small_study import StudyFolder, another_image, make_study

PAGE = "docs/extending.md"


class Checkout:
    """A copy of the checkout in which a section of the page is followed."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.folder, self.page = folder, (repository / PAGE).read_text()
        for name in ("workflow", "config", "profiles", "resources"):
            shutil.copytree(repository / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(repository / "Snakefile", folder)
        self.environment = {**os.environ, "PYTHONPATH": str(folder / "workflow")}

    def follow(self, heading: str) -> set[str]:
        """Do what a section says; return the files that were added or changed.

        Before each block stands the path that it is for: a new file, an end to append to, or (diff) a place to change.
        """
        section = self.page.split(f"## {heading}\n")[1].split("\n## ")[0]
        touched, path = set(), ""
        for named, kind, text in re.findall(
            r"`(workflow/[\w/.]+)`|^```(\w+)\n(.*?)^```", section, re.M | re.S
        ):
            if named:
                path = named
                continue
            file = self.folder / path
            if kind == "diff":
                lines = text.splitlines()
                before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
                after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
                assert file.read_text().count(before) == 1, f"{path}: {before}"
                file.write_text(file.read_text().replace(before, after))
            elif file.exists():
                file.write_text(f"{file.read_text()}\n\n{text}")
            else:
                file.write_text(text)
            touched.add(path)
        return touched

    def python(self, *arguments: str, folder: Path) -> str:
        """Run Python with the copy's library."""
        run = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=self.environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def planned(self, study: StudyFolder) -> dict[str, int]:
        """Return how many jobs of each rule a dry run plans."""
        command = [
            "-m",
            "snakemake",
            "-s",
            str(self.folder / "Snakefile"),
            "--directory",
            str(study.folder),
            "-n",
        ]
        said = self.python(*command, folder=study.folder)
        return {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", said, re.M)}


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Checkout:
    return Checkout(repository, tmp_path / "checkout")


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """Six people with a second image, in the column `t2w`."""
    study = make_study(tmp_path / "study")

    def add_column(cells: list[list[str]]) -> None:
        for number, row in enumerate(cells):
            row.append("t2w" if number == 0 else row[1].replace("_T1w", "_T2w"))
            if number:
                another_image(study.folder / row[1], study.folder / row[-1], seed=number)

    study.edit_sheet(add_column)
    return study


def use(study: StudyFolder, name: str, **declaration: str) -> None:
    """Declare a modality beside the Jacobian and use both."""
    experiments = yaml.safe_load((study.folder / "config/config.yaml").read_text())["experiments"]
    experiments[0]["modalities"] = ["jac", name]
    study.configure(modalities={"jac": {"from": "jacobian"}, name: declaration}, experiments=experiments)


def test_a_modality_needs_no_code(checkout: Checkout, study: StudyFolder) -> None:
    [text] = re.findall(r"^```yaml\n(modalities:.*?)^```", checkout.page, re.M | re.S)
    [(name, declaration)] = yaml.safe_load(text)["modalities"].items()
    use(study, name, **declaration | {"column": "t2w"})
    assert checkout.planned(study)["map_to_template"] == 12


def test_a_source_is_a_module_a_block_of_the_schema_and_a_stage(
    checkout: Checkout, study: StudyFolder
) -> None:
    assert checkout.follow("A further source of maps") == {
        "workflow/neurostrata/cohort/sources/ratio.py",
        "workflow/schemas/modalities.schema.yaml",
        "workflow/neurostrata/imaging/anatomy/ratio.py",
        "workflow/neurostrata/stages.py",
        "workflow/neurostrata/planning/parameters.py",
        "workflow/neurostrata/planning/results.py",
        "workflow/rules/anatomy.smk",
    }
    use(study, "myelin", **{"from": "ratio", "column": "t2w"})
    planned = checkout.planned(study)
    assert (planned["divide_t1w"], planned["map_to_template"]) == (6, 12)
    images = study.folder / "images"
    t1w, t2w = images / "sub-01_T1w.nii.gz", images / "sub-01_T2w.nii.gz"
    settings = json.dumps({"version": 1, "seed": 1})
    command = ["-m", "neurostrata", "stage", "divide-t1w", "--subject", "01", "--output", "ratio.nii.gz"]
    command += ["--t1w", str(t1w), "--t2w", str(t2w), "--mask", str(t1w), "--settings", settings]
    checkout.python(*command, folder=study.folder)
    ratio = np.asarray(nib.load(study.folder / "ratio.nii.gz").dataobj)
    first, second = (np.asarray(nib.load(path).dataobj, dtype=float) for path in (t1w, t2w))
    inside = (first > 0.5) & (second > 0)
    np.testing.assert_allclose(ratio[inside], first[inside] / second[inside], rtol=1e-5)


MODEL = """
import sys
from pathlib import Path
import numpy as np
sys.path.append(sys.argv[1])
from fusion_toy import toy_volumes
from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.core.tables import read_table
from neurostrata.fusion.commands import embed, split, train
from neurostrata.fusion.evaluation.commands import evaluate
folder = Path("volumes")
volumes = toy_volumes(folder, people=9, side=16)
experiment = {
    "name": "example",
    "model": "linear_autoencoder",
    "modalities": ["jac", "ndi"],
    "validation": {"folds": 3},
    "options": fill_defaults({}, load_schema("models/linear_autoencoder")),
}
settings = {
    "experiment": fill_defaults(experiment, load_schema("experiments")),
    "training": {**section_defaults("training"), "epochs": 5, "batch_size": 3},
    "seed": 1,
    "version": 1,
}
split(subjects=folder / "subjects.tsv", output=Path("splits.tsv"), settings=settings)
shared = {"volumes": volumes, "splits": Path("splits.tsv"), "fold": "0", "settings": settings}
made = {"model": Path("model"), "limits": Path("limits.json")}
mask = folder / "mask.nii.gz"
train(**shared, **made, mask=mask, history=Path("history.tsv"), checkpoints=Path("checkpoints"))
embed(**shared, **made, output=Path("embeddings.tsv"))
evaluate(**shared, **made, mask=mask, output=Path("r.tsv"), examples=Path("examples.npz"))
assert read_table(Path("embeddings.tsv")).shape == (9, 2 + 16)
table = read_table(Path("r.tsv"))
assert set(table["method"]) == {"linear_autoencoder", "mean_image", "pca"}
assert np.isfinite(table["mse"]).all()
"""


def test_a_model_is_a_module_and_a_schema(checkout: Checkout, study: StudyFolder, repository: Path) -> None:
    assert checkout.follow("A further fusion model") == {
        "workflow/neurostrata/fusion/models/linear_autoencoder.py",
        "workflow/schemas/models/linear_autoencoder.schema.yaml",
    }
    checkout.python("-c", MODEL, str(repository / "tests" / "fixtures"), folder=study.folder)
    experiments = yaml.safe_load((study.folder / "config/config.yaml").read_text())["experiments"]
    study.configure(
        experiments=[experiments[0] | {"model": "linear_autoencoder", "options": {"code_size": 3}}]
    )
    assert checkout.planned(study)["train"] == 3


FINDER = """
from pathlib import Path
import numpy as np
import pandas as pd
from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.tables import read_table, write_table
from neurostrata.strata.commands import cluster, existence
from neurostrata.strata.finders.registry import build_finder
options = fill_defaults({}, load_schema("finders/ward"))
settings = {
    "finder": "ward",
    "options": options,
    "small_clusters": {"people": 5, "share": 0.01},
    "outliers": 0.0001,
    "existence": {"draws": 19, "alpha": 0.05},
    "seed": 1,
}
frame = pd.DataFrame(np.random.default_rng(0).standard_normal((40, 4)), columns=["z1", "z2", "z3", "z4"])
frame.iloc[:15] += 6
frame.insert(0, "subject", [f"{number:02d}" for number in range(40)])
write_table(Path("codes.tsv"), frame)
write_table(Path("people.tsv"), frame[["subject"]].assign(family=""))
made = {"embeddings": Path("codes.tsv"), "clusters": Path("clusters.tsv"), "settings": settings}
cluster(**made, search=Path("search.tsv"))
existence(**made, people=Path("people.tsv"), output=Path("existence.tsv"), null=Path("null.tsv"))
assert read_table(Path("clusters.tsv"))["cluster"].tolist() == [2] * 15 + [1] * 25
assert read_table(Path("existence.tsv"))["claimed"].tolist() == ["yes"]
assert build_finder("ward", options, 1).find(np.ones((3, 4))).reason
"""


def test_a_finder_is_a_module_and_a_schema(checkout: Checkout, study: StudyFolder) -> None:
    assert checkout.follow("A further finder of groups") == {
        "workflow/neurostrata/strata/finders/ward.py",
        "workflow/schemas/finders/ward.schema.yaml",
    }
    checkout.python("-c", FINDER, folder=study.folder)
    config = yaml.safe_load((study.folder / "config/config.yaml").read_text())
    study.configure(strata=config["strata"] | {"finders": ["ward"], "ward": {"max_clusters": 3}})
    assert checkout.planned(study)["cluster"] == 2
