"""What codes say about a planted diagnosis: decoded difference maps and importance of modalities; by hand.

    python tests/calibration/compare_differences.py OUTPUT.tsv --cohorts 5
    python tests/calibration/compare_differences.py OUTPUT.tsv --cohorts 5 --only ndi

Simulated fusion volumes of 120 people (JAC + NDI, 24 voxels a side), 90 learned from, 30 tested. The difference of
the two classes' mean codes of the people learned from is decoded and correlated with the planted map inside the mask, per modality;
beside it the voxelwise difference of the same people, as it is and smoothed (a Gaussian of 1 voxel, inside the mask: the best of
0.5 to 2 voxels on the first five cohorts, which favours it). With --only the diagnosis shows in one modality, which must come
out as the more important one. Rows are added to OUTPUT.tsv; those already there are not computed again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, interval, show
from volume_models import encode
from volume_models import train as train_model

#: Model -> options, epochs, batch size.
MODELS: dict[str, tuple[dict[str, Any], int, int]] = {
    "pca": ({"max_components": 32}, 1, 4),
    "residual_autoencoder": ({"code_size": 32, "channels": [8, 16, 32]}, 60, 4),
    "shared_vae": ({"latent_size": 16, "channels": [32, 64, 128, 256]}, 60, 4),
}
NAMES = ("jac", "ndi")
PEOPLE = 120
TESTED = 30
SIDE = 24
SMOOTHING = 1.0  # voxels, standard deviation
KEYS = ["cohort", "affected", "model"]


def one(task: tuple[int, str, str]) -> list[dict[str, Any]]:
    """Measure one model on one cohort: its number, the modalities affected, the model."""
    cohort, kind, name = task
    import torch
    from scipy.ndimage import gaussian_filter

    from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes
    from neurostrata.prediction.explanation import (
        class_means,
        codes_without,
        decoded_difference,
        map_correlation,
        modality_importance,
    )
    from neurostrata.simulation.volume_cohorts import AFFECTED, simulate_volumes
    from neurostrata.simulation.volume_files import write_volumes

    torch.set_num_threads(1)
    affected = None if kind == "both" else {kind: AFFECTED[NAMES.index(kind)]}
    simulated = simulate_volumes(
        people=PEOPLE, seed=200 + cohort, shape=(SIDE, SIDE, SIDE), affected=affected
    )
    labels = np.where(simulated.diagnosis, "patient", "control")
    order = np.random.default_rng(cohort).permutation(PEOPLE)
    test, train = np.sort(order[:TESTED]), np.sort(order[TESTED:])
    with tempfile.TemporaryDirectory() as folder:
        opened = open_volumes(write_volumes(simulated, Path(folder)), NAMES)
        subjects = opened[0].info["subjects"]
        scaling = fold_limits(opened, simulated.mask, [subjects[i] for i in train], "train")
        everybody = VolumeSet(opened, subjects, scaling)
        learning, tested = everybody.subset(train.tolist()), everybody.subset(test.tolist())
        model, _, seconds = train_model(name, *MODELS[name], learning, simulated.mask, cohort)
        volumes = np.stack([everybody[i] for i in range(PEOPLE)])
        codes = encode(model, volumes)
        second = simulated.diagnosis[train]
        means, scale = class_means(
            learning, {("diagnosis", "control"): ~second, ("diagnosis", "patient"): second}, model
        )
        decoded = decoded_difference(model, codes[train], np.ones((len(train), 2), bool), second, scale)
        voxelwise = means["diagnosis", "patient"] - means["diagnosis", "control"]
        importance = modality_importance(
            codes[train],
            labels[train],
            np.arange(len(train)),
            codes[test],
            labels[test],
            codes_without(model, tested, codes[test], codes[train].mean(axis=0), volumes[train].mean(axis=0)),
            model.code_modalities,
            cohort,
        ).set_index("modality")
    share = gaussian_filter(simulated.mask.astype(float), SMOOTHING)
    smoothed = np.stack(
        [gaussian_filter(image * simulated.mask, SMOOTHING) / share.clip(1e-3) for image in voxelwise]
    )
    of_codes, of_voxels, of_smoothed = (
        map_correlation(found, simulated.diagnosis_maps, simulated.mask)
        for found in (decoded, voxelwise, smoothed)
    )
    by = "weight_share" if importance["weight_share"].notna().all() else "separation_drop"
    return [
        {
            "cohort": cohort,
            "affected": kind,
            "model": name,
            **{f"decoded_{m}": float(r) for m, r in zip(NAMES, of_codes, strict=True)},
            **{f"voxelwise_{m}": float(r) for m, r in zip(NAMES, of_voxels, strict=True)},
            **{f"smoothed_{m}": float(r) for m, r in zip(NAMES, of_smoothed, strict=True)},
            "importance": by,
            **{f"importance_{m}": float(importance.loc[m, by]) for m in NAMES},
            "affected_first": float("nan") if kind == "both" else float(importance[by].idxmax() == kind),
            "seconds": seconds,
        }
    ]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return means over cohorts with 95% t intervals; how far decoded maps are ahead of voxelwise ones."""
    rows = []
    for (affected, model), part in frame.groupby(["affected", "model"]):
        row: dict[str, Any] = {"affected": affected, "model": model, "cohorts": len(part)}
        for name in NAMES:
            if part[f"voxelwise_{name}"].notna().any():  # no planted map, no correlation with it
                row[f"decoded_{name}"] = interval(part[f"decoded_{name}"])
                for other in ("voxelwise", "smoothed"):
                    row[f"over_{other}_{name}"] = interval(part[f"decoded_{name}"] - part[f"{other}_{name}"])
        row["affected first"] = part["affected_first"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the table."""
    parser = command_line(__doc__, 5, MODELS)
    parser.add_argument("--only", choices=NAMES, help="the diagnosis shows in this modality alone")
    chosen = parser.parse_args()
    tasks = [(c, chosen.only or "both", name) for c in range(chosen.cohorts) for name in chosen.models]
    show(summary(collected(chosen, KEYS, tasks, one)))


if __name__ == "__main__":
    main()
