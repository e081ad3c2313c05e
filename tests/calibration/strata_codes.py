"""Which codes show planted strata best: PCA, PCA with modalities of equal say, covariates taken out of voxels, networks; by hand.

    python tests/calibration/strata_codes.py docs/tables/strata-codes.tsv [--cohorts N] [--models NAME ...]

Cohorts as in strata_cohorts.py (seeds from 1000 on, no diagnosis). All codes have 32 numbers; age and sex are taken out of the
codes, or out of the voxels before the code is learned. The finder is the mixture; whether groups exist is not asked. Beside
its adjusted Rand index stands that of a linear discriminant that was told the strata (10-fold), what the codes hold at best.
Rows are added to the table; those already there are not computed again. With --summary only the means are printed.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from resumable import collected, command_line, interval, show
from volume_models import encode
from volume_models import train as train_model

CODE = 32
FIRST = 1000
#: Name -> model, options, epochs, whether covariates are taken out of the voxels.
CODES: dict[str, tuple[str, dict[str, Any], int, bool]] = {
    "pca": ("pca", {"max_components": CODE}, 1, False),
    "pca, balanced": ("pca", {"max_components": CODE, "balance": True}, 1, False),
    "pca, balanced, covariates out of voxels": ("pca", {"max_components": CODE, "balance": True}, 1, True),
    "residual_autoencoder": ("residual_autoencoder", {"code_size": CODE}, 100, False),
    "residual_autoencoder, covariates out of voxels": (
        "residual_autoencoder",
        {"code_size": CODE},
        100,
        True,
    ),
}
COHORTS = ((80, 1.0), (300, 0.7))
KEYS = ["people", "effect", "cohort", "code"]


def without_covariates(simulated: Any, covariates: np.ndarray) -> Any:
    """Return the cohort with the covariates' linear effects taken out of every voxel of the mask."""
    from dataclasses import replace

    from neurostrata.adjustment.codes import LinearAdjustment

    volumes = simulated.volumes.copy()
    inside = volumes[:, :, simulated.mask]
    flat = inside.reshape(len(inside), -1).astype(float)
    cleaned = LinearAdjustment().fit(flat, covariates).transform(flat, covariates)
    volumes[:, :, simulated.mask] = cleaned.reshape(inside.shape)
    return replace(simulated, volumes=volumes)


def one(task: tuple[int, float, int, str]) -> list[dict[str, Any]]:
    """Learn one code of one cohort and look for groups in it."""
    people, effect, cohort, label = task
    import torch
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import adjusted_rand_score
    from sklearn.model_selection import cross_val_predict

    from neurostrata.adjustment.codes import LinearAdjustment
    from neurostrata.core.config import section_defaults
    from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes
    from neurostrata.simulation.volume_cohorts import simulate_volumes
    from neurostrata.simulation.volume_files import write_volumes
    from neurostrata.strata.finders.mixture import principal_scores
    from neurostrata.strata.finders.registry import build_finder

    torch.set_num_threads(1)
    name, options, epochs, voxelwise = CODES[label]
    simulated = simulate_volumes(people=people, seed=cohort, effect=effect, diagnosis_effect=0.0)
    covariates = np.column_stack([simulated.age, simulated.female]).astype(float)
    if voxelwise:
        simulated = without_covariates(simulated, covariates)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        opened = open_volumes(write_volumes(simulated, Path(folder)), ["jac", "ndi"])
        subjects = opened[0].info["subjects"]
        everybody = VolumeSet(opened, subjects, fold_limits(opened, simulated.mask, subjects, "train"))
        model, _, _ = train_model(name, options, epochs, 4, everybody, simulated.mask, cohort)
        codes = encode(model, np.stack([everybody[i] for i in range(people)])).astype(float)
    codes = LinearAdjustment().fit(codes, covariates).transform(codes, covariates)
    finding = build_finder("mixture", section_defaults("strata")["mixture"], 1).find(codes)
    best = principal_scores(codes, 16 if people >= 200 else 10)
    told = cross_val_predict(LinearDiscriminantAnalysis(), best, simulated.stratum, cv=10)
    return [
        {
            "people": people,
            "effect": effect,
            "cohort": cohort,
            "code": label,
            "adjusted_rand": float(adjusted_rand_score(simulated.stratum, finding.clusters)),
            "clusters": finding.number,
            "statistic": finding.statistic,
            "adjusted_rand_told": float(adjusted_rand_score(simulated.stratum, told)),
            "seconds": time.process_time() - started,
        }
    ]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return means over cohorts with 95% t intervals, and how far each code is ahead of plain PCA."""
    rows = []
    for (people, effect), cohorts in frame.groupby(["people", "effect"]):
        plain = cohorts[cohorts["code"] == "pca"].set_index("cohort")["adjusted_rand"]
        for label in CODES:
            own = cohorts[cohorts["code"] == label].set_index("cohort")
            if own.empty:
                continue
            rows.append(
                {
                    "people": people,
                    "effect": effect,
                    "code": label,
                    "cohorts": len(own),
                    "adjusted Rand": interval(own["adjusted_rand"]),
                    "ahead of pca": interval((own["adjusted_rand"] - plain).dropna()),
                    "right number": (own["clusters"] == 3).mean(),
                    "told the strata": interval(own["adjusted_rand_told"]),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Do what is not done yet, write it down, print the means."""
    parser = command_line(__doc__, 10, CODES, processes=1)
    chosen = parser.parse_args()
    tasks = [
        (people, effect, FIRST + cohort, label)
        for (people, effect), label, cohort in itertools.product(
            COHORTS, chosen.models, range(chosen.cohorts)
        )
    ]
    show(summary(collected(chosen, KEYS, tasks, one)))


if __name__ == "__main__":
    main()
