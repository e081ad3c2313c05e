"""Measure the real study: label overlap, the template's shape, ventricles, hippocampi, grey matter, and the cost of each stage.

    python tests/real/evaluate_ixi.py DATA STUDY [--pairs 200]

STUDY is the folder in which the workflow ran (``results/`` and ``benchmarks/`` below it). Prints JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from neurostrata.imaging.images.io import read_image
from neurostrata.imaging.registration.transforms import read_affine, read_displacement, resample
from neurostrata.imaging.template.shape import MeanShape

REGIONS = 210
#: DLMUSE label numbers, both sides.
VENTRICLES, HIPPOCAMPI = (51, 52), (47, 48)


def mean_dice(a: np.ndarray, b: np.ndarray) -> float:
    """Mean Dice overlap over the regions that either person has; 0 is background."""
    count_a, count_b, both = (
        np.bincount(x.ravel(), minlength=REGIONS) for x in (a, b, np.where(a == b, a, 0))
    )
    present = (count_a + count_b > 0) & (np.arange(REGIONS) > 0)
    return float((2 * both[present] / (count_a + count_b)[present]).mean())


def agreement(measured: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Correlations and slope of measured against true volumes, on their logarithms."""
    x, y = np.log(truth), np.log(measured)
    return {
        "log_pearson": float(np.corrcoef(x, y)[0, 1]),
        "spearman": float(stats.spearmanr(truth, measured).statistic),
        "slope": float(np.polyfit(x, y, 1)[0]),
        "ratio": float(np.exp((y - x).mean())),
    }


def costs(benchmarks: Path) -> dict[str, dict[str, float]]:
    """Jobs, wall seconds, CPU seconds and largest memory of each rule."""
    table = {}
    for rule in sorted(
        {path.relative_to(benchmarks).parts[0].removesuffix(".tsv") for path in benchmarks.rglob("*.tsv")}
    ):
        files = [*benchmarks.glob(f"{rule}.tsv"), *benchmarks.glob(f"{rule}/**/*.tsv")]
        frame = pd.concat([pd.read_csv(path, sep="\t", na_values="-") for path in files])
        table[rule] = {
            "jobs": len(frame),
            "wall_s": round(float(frame["s"].sum()), 1),
            "cpu_s": round(float(frame["cpu_time"].sum()), 1),
            "max_rss_mb": round(float(frame["max_rss"].max()), 0),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    arguments = parser.parse_args()
    ixi, results = arguments.data / "ixi", arguments.study / "results"
    people = pd.read_csv(results / "cohort/groups/people.tsv", dtype=str)["subject"].tolist()
    volumes = pd.read_csv(ixi / "dlmuse_volumes_mm3.tsv", sep="\t", dtype={"subject": str})
    volumes = volumes.set_index("subject").loc[people]
    template = read_image(results / "template/template.nii.gz")
    mask_image = read_image(results / "template/mask.nii.gz")
    mask = mask_image.data > 0

    def anat(subject: str, name: str) -> Path:
        return results / f"derivatives/sub-{subject}/anat/sub-{subject}_{name}"

    builders = set(pd.read_csv(results / "cohort/groups/template.tsv", sep="\t", dtype=str)["subject"])
    warped, linear, folded = [], [], 0
    shape = MeanShape(mask_image.grid, mask)
    for subject in people:
        labels = read_image(ixi / f"labels/{subject}_dlmuse.nii.gz")
        affine = read_affine(anat(subject, "from-T1w_to-study_desc-affine_xfm.mat"))
        field = read_displacement(anat(subject, "from-T1w_to-study_desc-warp_xfm.nii.gz"))
        warped.append(resample(labels, template.grid, affine, field, order=0).astype(np.uint8))
        linear.append(resample(labels, template.grid, affine, order=0).astype(np.uint8))
        if subject in builders:
            shape.add(affine, field)
        determinant = read_image(anat(subject, "space-study_desc-nonlinear_jacobian.nii.gz")).data[mask]
        folded += int((determinant <= 0).sum())

    pairs = list(itertools.combinations(range(len(people)), 2))
    chosen = np.random.default_rng(1).permutation(len(pairs))[: arguments.pairs]
    dice = np.array(
        [[mean_dice(a[i], a[j]) for a in (warped, linear)] for i, j in (pairs[n] for n in chosen)]
    )
    found = {
        "people": len(people),
        "dice": {
            "pairs": len(chosen),
            "through_template": float(dice[:, 0].mean()),
            "sd": float(dice[:, 0].std(ddof=1)),
            "affine": float(dice[:, 1].mean()),
        },
        "template": {
            "people": shape.people,
            "distance_vox": shape.distance_vox,
            "log_size": shape.log_size,
            "mean_log_scale": float(np.mean(shape.log_scales)),
            "folded_voxels": folded,
        },
    }
    voxel = template.grid.voxel_volume
    stack = np.stack(warped)
    for name, numbers in (("ventricles", VENTRICLES), ("hippocampi", HIPPOCAMPI)):
        region = np.isin(stack, numbers).mean(axis=0) >= 0.5
        measured = np.array(
            [
                read_image(anat(s, "space-study_desc-absolute_jacobian.nii.gz")).data[region].sum() * voxel
                for s in people
            ]
        )
        truth = volumes[[str(number) for number in numbers]].sum(axis=1).to_numpy(float)
        found[name] = agreement(measured, truth)
    for tissue, reference in (("GM", "601"), ("WM", "604")):
        paths = [anat(subject, f"label-{tissue}_probseg.nii.gz") for subject in people]
        if all(path.is_file() for path in paths):
            images = [read_image(path) for path in paths]
            measured = np.array([image.data.sum() * image.grid.voxel_volume for image in images])
            found[tissue] = agreement(measured, volumes[reference].to_numpy(float))
    found["cost"] = costs(arguments.study / "benchmarks")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
