"""The reconstruction models side by side on cohorts of which the truth is known; by hand, hours on two cores.

    python tests/calibration/compare_models.py OUTPUT.tsv --cohorts 10 --effects 0.5 1.0

Each cohort (simulated fusion volumes, JAC + NDI, 32x32x32) is divided into three quarters that everything is
learned from and a quarter that is only looked at. All codes have 32 numbers. Rows are added to OUTPUT.tsv; what is
there already is not done again. With --summary only the table of means over cohorts is printed.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, interval, show
from volume_models import encode
from volume_models import train as train_model

CODE = 32
#: Name in the table -> model, options, epochs (early stopping may end sooner), batch size.
MODELS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "residual_autoencoder": ("residual_autoencoder", {"code_size": CODE}, 150, 4),
    "residual_autoencoder, linear: false": (
        "residual_autoencoder",
        {"code_size": CODE, "linear": False},
        150,
        4,
    ),
    "separable_autoencoder": ("separable_autoencoder", {"skip_connections": False}, 80, 4),
    "shared_vae": ("shared_vae", {"latent_size": CODE // 2, "channels": [32, 64, 128, 256]}, 60, 4),
    "pca": ("pca", {"max_components": CODE}, 1, 4),
}
PEOPLE = 80
TESTED = 20
KEYS = ["effect", "cohort", "model"]


def one(task: tuple[float, int, str]) -> list[dict[str, Any]]:
    """Train one model on one cohort and measure it."""
    effect, cohort, label = task
    import torch
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    from neurostrata.core.config import section_defaults
    from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes
    from neurostrata.prediction.estimators import (
        area_under_curve,
        explained,
        predict_classes,
        predict_number,
    )
    from neurostrata.simulation.volume_cohorts import simulate_volumes
    from neurostrata.simulation.volume_files import write_volumes
    from neurostrata.strata.finders.affinity_propagation import AffinityPropagation

    torch.set_num_threads(1)
    name, options, epochs, batch = MODELS[label]
    simulated = simulate_volumes(people=PEOPLE, seed=100 + cohort, effect=effect)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_volumes(simulated, Path(folder))
        opened = open_volumes(paths, ["jac", "ndi"])
        subjects = opened[0].info["subjects"]
        order = np.random.default_rng(cohort).permutation(PEOPLE)
        test, train = np.sort(order[:TESTED]), np.sort(order[TESTED:])
        scaling = fold_limits(opened, simulated.mask, [subjects[i] for i in train], "train")
        everybody = VolumeSet(opened, subjects, scaling)
        volumes = np.stack([everybody[i] for i in range(PEOPLE)])
        learning = everybody.subset(train.tolist())
        model, history, seconds = train_model(name, options, epochs, batch, learning, simulated.mask, cohort)
    codes = encode(model, volumes)
    decoded = np.concatenate([model.reconstruct(volumes[test[i : i + 4]]) for i in range(0, TESTED, 4)])
    mean = volumes[train].mean(axis=0)
    inside = simulated.mask
    error = ((decoded - volumes[test])[:, :, inside] ** 2).mean(axis=(0, 2))
    usual = ((mean - volumes[test])[:, :, inside] ** 2).mean(axis=(0, 2))
    clustering = section_defaults("strata")["affinity_propagation"]
    clustering["preference"] = {**clustering["preference"], "steps": 60}
    found = AffinityPropagation(clustering, 1, 1).find(codes.astype(float))
    kmeans = KMeans(simulated.stratum.max() + 1, n_init=20, random_state=1).fit(codes)
    labels = np.where(simulated.diagnosis, "patient", "control")
    alone = np.arange(len(train))
    _, patients = predict_classes(codes[train], labels[train], codes[test], alone, 1)
    sexes = np.where(simulated.female, "b", "a")
    _, sex = predict_classes(codes[train], sexes[train], codes[test], alone, 1)
    age = predict_number(codes[train], simulated.age[train], codes[test])
    return [
        {
            "effect": effect,
            "cohort": cohort,
            "model": label,
            "decoded_jac": float(1 - error[0] / usual[0]),
            "decoded_ndi": float(1 - error[1] / usual[1]),
            "adjusted_rand": float(adjusted_rand_score(simulated.stratum, found.clusters)),
            "clusters": int(found.clusters.max()),
            "adjusted_rand_kmeans": float(adjusted_rand_score(simulated.stratum, kmeans.labels_)),
            "auc_diagnosis": float(area_under_curve(patients[:, 1], labels[test] == "patient")[0]),
            "auc_sex": float(area_under_curve(sex[:, 1], sexes[test] == "b")[0]),
            "r2_age": float(
                explained(age, simulated.age[test], np.full(TESTED, simulated.age[train].mean()))[0]
            ),
            "epochs": len(history),
            "seconds": seconds,
            "seconds_per_epoch": float(history["seconds"].median()) if "seconds" in history else seconds,
        }
    ]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return means over cohorts with 95% t intervals, and of the differences from the first model."""
    first = next(iter(MODELS))
    rows = []
    measures = [c for c in frame if c not in KEYS]
    for effect, of_effect in frame.groupby("effect"):
        reference = of_effect[of_effect["model"] == first].set_index("cohort")[measures]
        for model in MODELS:
            own = of_effect[of_effect["model"] == model].set_index("cohort")[measures]
            if own.empty:
                continue
            row: dict[str, Any] = {"effect": effect, "model": model, "cohorts": len(own)}
            for measure in measures:
                row[measure] = interval(own[measure])
                if model != first and measure in ("decoded_jac", "decoded_ndi", "adjusted_rand"):
                    row[f"{first} ahead by ({measure})"] = interval(
                        (reference[measure] - own[measure]).dropna()
                    )
            rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the table."""
    parser = command_line(__doc__, 10, MODELS, processes=2)
    parser.add_argument("--effects", type=float, nargs="+", default=[0.5, 1.0])
    chosen = parser.parse_args()
    tasks = itertools.product(chosen.effects, range(chosen.cohorts), chosen.models)
    in_order = sorted(tasks, key=lambda task: task[1])  # all of a cohort before the next
    show(summary(collected(chosen, KEYS, in_order, one)).T)


if __name__ == "__main__":
    main()
