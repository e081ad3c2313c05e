"""What the rules call is what the command line understands: every command of a study with all kinds of stages."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from planned_study import make_planned_study, save_images

from neurostrata.cli.stages import FUNCTIONS, load_stage, stage_parser
from neurostrata.core.errors import UserError


def everything(folder: Path) -> dict[str, object]:
    """Configuration with an experiment of every model and all further analyses, and the files it names."""
    shape = (9, 9, 9)
    rng = np.random.default_rng(0)
    nib.save(nib.Nifti1Image(rng.normal(size=(*shape, 2)), np.eye(4)), folder / "components.nii")
    lines = [line.split("\t") for line in (folder / "cohort.tsv").read_text().splitlines()]
    lines[0] += ["bold", "diagnosis", "age", "site"]
    for number in (9, 10):  # five people of each class are the fewest that are predicted
        save_images(folder / f"images/sub-{number:02d}")
        lines.append([cell.replace("08", f"{number:02d}").replace("f8", f"f{number}") for cell in lines[8]])
    for number, line in enumerate(lines[1:]):
        nib.save(nib.Nifti1Image(rng.normal(size=(*shape, 20)), np.eye(4)), folder / f"bold{number}.nii")
        line += [f"bold{number}.nii", "ab"[number % 2], str(30 + number), "xy"[number // 5]]
    (folder / "cohort.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    raters = [["subject", "modality", "decision", "reason", "rater"]]
    raters += [["01", "", "keep", "", rater] for rater in "ab"]
    (folder / "qc.tsv").write_text("".join("\t".join(line) + "\n" for line in raters))
    kfold = {"method": "kfold", "folds": 2}
    two = ["jac", "fa"]
    analyses = {"prediction": ["diagnosis", "age", "factors"], "robustness": True}
    harmonised = {
        "prediction": ["diagnosis"],
        "harmonise": {"sites": "site", "keep": ["age"]},
        "covariates": ["age"],
    }
    return {
        "modalities": {
            "t1w": {"from": "t1w"},
            "jac": {"from": "jacobian"},
            "gm": {"from": "tissue", "tissue": "gm"},
            "fa": {"from": "tensor", "measure": "fa"},
            "ndi": {"from": "noddi", "measure": "ndi"},
            "rsn": {"from": "dual_regression", "column": "bold", "space": "mni", "components": 2,
                    "components_image": "components.nii"},
        },
        "experiments": [
            {"name": "paper", "model": "separable_autoencoder", "modalities": ["jac", "ndi"], "validation": kfold},
            {"name": "residual", "model": "residual_autoencoder", "modalities": ["t1w", "gm"], "missing": "include",
             "validation": kfold, "analyses": analyses},
            {"name": "vae", "model": "shared_vae", "modalities": ["rsn1", "rsn2"], "validation": kfold,
             "analyses": analyses},
            {"name": "regions", "model": "siamese_attention", "modalities": two, "validation": kfold,
             "label": {"column": "diagnosis", "classes": ["a", "b"]}},
            {"name": "synthesis", "model": "latent_synthesis", "modalities": two, "validation": kfold},
            {"name": "linear", "model": "pca", "modalities": two, "validation": kfold,
             "label": {"column": "diagnosis", "classes": ["a", "b"]}, "analyses": harmonised},
        ],
    }  # fmt: skip


def words_of(command: str) -> list[str]:
    """Return what bash makes of a command's arguments, behind the stage."""
    told = 'python() { printf "%s\\0" "$@"; }; ' + command
    shown = subprocess.run(["bash", "-c", told], capture_output=True, text=True, check=True)
    return shown.stdout.split("\0")[4:-1]


def test_every_command_of_every_rule_is_understood(tmp_path: Path) -> None:
    study = make_planned_study(tmp_path / "study")
    study.configure(**everything(study.folder))
    run = study.snakemake("-n", "-p")
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    commands = {}
    for line in re.findall(r"(python -m neurostrata stage [^\n]*)", run.stdout + run.stderr):
        stage = line.split()[4]
        if stage not in commands:
            commands[stage] = words_of(line.split(" > ")[0])
    for stage, words in commands.items():
        try:
            stage_parser(stage, load_stage(stage)).read(words)
        except UserError as error:
            pytest.fail(f"{error}: {shlex.join(words)}")
    assert set(FUNCTIONS) - {"check-cohort"} <= set(commands)  # which ran before the first job
