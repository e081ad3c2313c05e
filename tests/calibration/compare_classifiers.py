"""Every classifier on cohorts with a planted diagnosis, beside linear baselines and with permuted labels; by hand.

    python tests/calibration/compare_classifiers.py OUTPUT.tsv --cohorts 5
    python tests/calibration/compare_classifiers.py OUTPUT.tsv --cohorts 20 --permuted --side 20

Simulated fusion volumes of 120 people (JAC + NDI, 24 voxels a side), sized so that the true regional values tell the
diagnosis with an AUC of at least 0.95 and linear baselines with 0.80-0.92. AUCs are means over five stratified
folds; classes are told from codes by the linear support vector machine of the prediction stage. With --permuted
each cohort's labels are shuffled, and half of the people are learned from, half tested: everything must come out
at 0.5. Rows are added to OUTPUT.tsv; those already there are not computed again (so a choice of models
needs a file of its own).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, interval, show
from volume_models import encode
from volume_models import train as train_model

#: Name -> model, options, epochs, batch size; 16 numbers per modality where a size can be chosen.
MODELS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "siamese_attention": ("siamese_attention", {"inner_folds": 3}, 60, 16),
    "siamese_outputs": (
        "siamese_attention",
        {"inner_folds": 3, "score": "outputs", "region_means": True, "feature_scale": "branch"},
        60,
        16,
    ),
    "residual_autoencoder": ("residual_autoencoder", {"code_size": 32, "channels": [8, 16, 32]}, 60, 4),
    "shared_vae": ("shared_vae", {"latent_size": 16, "channels": [32, 64, 128, 256]}, 60, 4),
}
PEOPLE = 120
SIDE = 24
FOLDS = 5
KEYS = ["cohort", "permuted", "affected"]


def one(task: tuple[int, bool, str, int, list[str]]) -> list[dict[str, Any]]:
    """Measure models on one cohort: its number, labels permuted or not, modalities affected, voxels a side, models."""
    cohort, permuted, kind, side, models = task
    only = None if kind == "both" else kind
    import torch
    from sklearn.model_selection import StratifiedKFold

    from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes
    from neurostrata.fusion.evaluation.baselines import baseline_codes
    from neurostrata.prediction.estimators import area_under_curve, predict_classes
    from neurostrata.simulation.volume_cohorts import AFFECTED, simulate_volumes
    from neurostrata.simulation.volume_files import write_volumes

    torch.set_num_threads(1)
    names = ("jac", "ndi")
    affected = None if only is None else {only: AFFECTED[names.index(only)]}
    simulated = simulate_volumes(
        people=PEOPLE, seed=200 + cohort, shape=(side, side, side), affected=affected
    )
    patient = simulated.diagnosis
    if permuted:
        patient = np.random.default_rng(cohort).permutation(patient)
    labels = np.where(patient, "patient", "control")
    folds = list(
        StratifiedKFold(2 if permuted else FOLDS, shuffle=True, random_state=cohort).split(labels, labels)
    )[: 1 if permuted else FOLDS]
    areas: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    first: dict[str, list[bool]] = {}  # whether the planted modality leads the siamese relevance
    with tempfile.TemporaryDirectory() as folder:
        opened = open_volumes(write_volumes(simulated, Path(folder)), names)
        subjects = opened[0].info["subjects"]
        known = dict(zip(subjects, labels.tolist(), strict=True))
        for number, (train, test) in enumerate(folds):
            scaling = fold_limits(opened, simulated.mask, [subjects[i] for i in train], "train")
            everybody = VolumeSet(opened, subjects, scaling, labels=known, regions=simulated.regions)
            learning = everybody.subset(train.tolist())
            volumes = np.stack([everybody[i] for i in range(PEOPLE)])

            def tell(
                codes: np.ndarray, train: np.ndarray = train, test: np.ndarray = test, seed: int = number
            ) -> float:
                alone = np.arange(len(train))
                _, scores = predict_classes(codes[train], labels[train], codes[test], alone, seed)
                return float(area_under_curve(scores[:, 1], patient[test])[0])

            found = baseline_codes(learning, everybody, simulated.mask, simulated.regions, number)
            for name, codes in found.items():
                areas.setdefault(name, []).append(tell(codes))
            for name in models:
                if permuted and not name.startswith("siamese"):
                    continue  # its codes know no labels: the baselines stand for them
                started = time.monotonic()
                kind_of, *settings = MODELS[name]
                model, *_ = train_model(kind_of, *settings, learning, simulated.mask, cohort)
                if model.supervised:
                    scores = model.predict(volumes[test])
                    areas.setdefault(name, []).append(float(area_under_curve(scores, patient[test])[0]))
                    relevance = model.relevance(volumes[test], [subjects[i] for i in test])
                    means = relevance.groupby("modality")["mean_mask"].mean()
                    first.setdefault(name, []).append(
                        only is not None and means[list(names)].idxmax() == only
                    )
                else:
                    codes = encode(model, volumes)
                    areas.setdefault(name, []).append(tell(codes))
                seconds[name] = seconds.get(name, 0.0) + time.monotonic() - started
    return [
        {
            "cohort": cohort,
            "permuted": permuted,
            "model": name,
            "affected": kind,
            "auc": float(np.mean(values)),
            "fold_sd": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
            "affected_first": np.mean(first[name]) if only and name in first else np.nan,
            "seconds": seconds.get(name, np.nan),
        }
        for name, values in areas.items()
    ]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return means over cohorts with 95% t intervals, and each model's lead over the cohort's best baseline."""
    from neurostrata.fusion.evaluation.baselines import DESCRIPTIONS

    rows = []
    for (permuted, affected), part in frame.groupby(["permuted", "affected"]):
        wide = part.pivot(index="cohort", columns="model", values="auc")
        best = wide[[name for name in wide if name in DESCRIPTIONS]].max(axis=1)
        for model in wide:
            own = wide[model].dropna()
            rows.append(
                {
                    "permuted": permuted,
                    "affected": affected,
                    "model": model,
                    "cohorts": len(own),
                    "auc": interval(own),
                    "ahead of best baseline": interval((wide[model] - best).dropna()),
                    "affected modality first": part.loc[part["model"] == model, "affected_first"].mean(),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the table."""
    parser = command_line(__doc__, 5, MODELS)
    parser.add_argument("--permuted", action="store_true")
    parser.add_argument("--only", choices=("jac", "ndi"), help="the diagnosis shows in this modality alone")
    parser.add_argument("--side", type=int, default=SIDE, help="voxels along each axis")
    chosen = parser.parse_args()
    kind = chosen.only or "both"
    tasks = [(c, chosen.permuted, kind, chosen.side, chosen.models) for c in range(chosen.cohorts)]
    show(summary(collected(chosen, KEYS, tasks, one)))


if __name__ == "__main__":
    main()
