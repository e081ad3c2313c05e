"""A study with everything in it, brought to its end without computing: for what is planned after a change.

What Snakemake plans depends on its own records of commands, settings and files, not on what is in the
files. So the jobs' `python` is a script here that makes the outputs it is asked for, empty.
"""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from small_study import StudyFolder

PEOPLE = 8
_PYTHON = """#!/bin/bash
# "python -m neurostrata stage NAME --option value ...": makes whatever is named and is not there.
stage=$4
shift 4
option=
for word in "$@"; do
    case "$word" in --*) option=$word; continue ;; esac
    case "$option" in --settings|--cache|--checkpoints|--pattern|--benchmarks) continue ;; esac
    case "$word" in */*) ;; *) continue ;; esac
    [ -e "$word" ] && continue
    mkdir -p "$(dirname "$word")"
    case "$stage $option" in
        "template-register --output"|"baselines --output"|"train --model"|"summarise-experiment --model"|"map-strata --maps"|"decode-strata --maps") mkdir -p "$word" ;;
        *) : > "$word" ;;
    esac
    case "$word" in *.npy) : > "${word%.npy}.json" ;; esac
done
"""


def save_images(start: Path) -> None:
    """A person's T1w and diffusion data, of noise, each person's their own."""
    rng = np.random.default_rng(int(start.name[-2:]))
    for kind, shape in (("T1w", (9, 9, 9)), ("dwi", (9, 9, 9, 13))):
        image = nib.Nifti1Image(rng.uniform(1, 2, shape).astype(np.float32), np.eye(4))
        nib.save(image, start.with_name(f"{start.name}_{kind}.nii"))


def make_planned_study(folder: Path) -> StudyFolder:
    """T1w and two-shell diffusion data of eight people, two of them a family; two experiments; finished."""
    (folder / "config").mkdir(parents=True)
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((12, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    np.savetxt(folder / "images" / "dwi.bval", [[0, *[1000] * 6, *[2000] * 6]], fmt="%d")
    np.savetxt(folder / "images" / "dwi.bvec", np.vstack([np.zeros(3), directions]).T, fmt="%.6f")
    lines = ["subject\tt1w\tdwi\tbval\tbvec\ttemplate\tfamily\tnote"]
    phenotypes = ["subject\tv1\tv2\tv3\tage"]
    for number in range(1, PEOPLE + 1):
        name = f"images/sub-{number:02d}"
        save_images(folder / name)
        family = "f1" if number < 3 else f"f{number}"
        lines.append(
            f"{number:02d}\t{name}_T1w.nii\t{name}_dwi.nii\timages/dwi.bval\timages/dwi.bvec\tyes\t{family}\t"
        )
        phenotypes.append(
            f"{number:02d}\t" + "\t".join(f"{value:.3f}" for value in rng.normal(size=3)) + f"\t{30 + number}"
        )
    (folder / "cohort.tsv").write_text("\n".join(lines) + "\n")
    (folder / "phenotypes.tsv").write_text("\n".join(phenotypes) + "\n")
    (folder / "qc.tsv").write_text("subject\tmodality\tdecision\treason\n")
    kfold = {"method": "kfold", "folds": 3}
    config = {
        "cohort": {"sheet": "cohort.tsv"},
        "qc": "qc.tsv",
        "phenotypes": {"tables": ["phenotypes.tsv"], "exclude": ["age"]},
        "template": {"iterations": 4},
        "experiments": [
            {
                "name": "fusion",
                "model": "separable_autoencoder",
                "modalities": ["jac", "ndi"],
                "validation": kfold,
            },
            {"name": "linear", "model": "pca", "modalities": ["jac"], "validation": kfold},
        ],
    }
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    programs = folder / "bin"
    programs.mkdir()
    (programs / "python").write_text(_PYTHON)
    (programs / "python").chmod(0o755)
    study = StudyFolder(folder)
    study.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    return study
