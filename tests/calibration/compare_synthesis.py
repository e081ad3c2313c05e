"""What Chartsias et al. (2018) claim for `latent_synthesis`, on cohorts of which the truth is known; by hand.

    python tests/calibration/compare_synthesis.py OUTPUT.tsv --cohorts 3

Each cohort (simulated T1w, T2w, diffusion trace and FLAIR, 32x40x32) has people who are learned from and people
who are only looked at; FLAIR is synthesised from every subset of the others. Compared are one model for all subsets
(the paper's experiment B), models made for each subset (A), and models without one of the three costs (Table V).
The networks are narrower than the paper's. Rows (one per test person, model and subset) are added to OUTPUT.tsv;
what is there already is not done again. With --summary only the tables are printed.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

INPUTS, OUTPUT = ["t1w", "t2w", "trace"], "flair"
LEARNED_FROM, TESTED = 28, 12
#: A quarter of the paper's channels.
NARROW = {"channels": [8, 16, 32], "decoder_channels": 8, "latent_channels": 8}
EPOCHS, PEOPLE_PER_STEP = 60, 2
SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations(INPUTS, size)]
KEYS = ["cohort", "model"]
#: Name in the table -> options.
MODELS: dict[str, dict[str, Any]] = {
    "all costs": {},
    "no c1": {"costs": ["c2", "c3"]},
    "no c2": {"costs": ["c1", "c3"]},
    "no c3": {"costs": ["c1", "c2"]},
    **{f"only {'+'.join(subset)}": {"inputs": list(subset)} for subset in SUBSETS[:-1]},
}


def one(task: tuple[int, str]) -> list[dict[str, Any]]:
    """Train one model on one cohort and measure it."""
    cohort, label = task
    import torch

    from neurostrata.core.config import fill_defaults, load_schema, section_defaults
    from neurostrata.fusion.data import ModalityVolumes, VolumeSet, fold_limits
    from neurostrata.fusion.interface import TrainingSettings
    from neurostrata.fusion.machine import Machine
    from neurostrata.fusion.registry import build_model
    from neurostrata.fusion.synthesis import evaluate_synthesis
    from neurostrata.simulation.contrast_cohorts import simulate_contrasts

    torch.set_num_threads(1)
    simulated = simulate_contrasts(LEARNED_FROM + TESTED, seed=cohort + 1, contrasts=[*INPUTS, OUTPUT])
    subjects, mask = simulated.subjects, simulated.mask
    rows = {subject: row for row, subject in enumerate(subjects)}
    info = {"limits": {"percentiles": section_defaults("volumes")["percentiles"]}}
    volumes = [
        ModalityVolumes(name, simulated.volumes[:, k], rows, info, mask)
        for k, name in enumerate(simulated.contrasts)
    ]
    learning, tested = subjects[:LEARNED_FROM], subjects[LEARNED_FROM:]
    scaling = fold_limits(volumes, mask, learning, "train")
    people, test_people = VolumeSet(volumes, learning, scaling), VolumeSet(volumes, tested, scaling)
    options: dict[str, Any] = {"inputs": INPUTS, "outputs": [OUTPUT], **NARROW, **MODELS[label]}
    filled = fill_defaults(options, load_schema("models/latent_synthesis"))
    model: Any = build_model("latent_synthesis", filled, [*INPUTS, OUTPUT], people.shape, cohort)
    section = {**section_defaults("training"), "epochs": EPOCHS, "batch_size": PEOPLE_PER_STEP}
    started = time.monotonic()
    history = model.fit(people, mask, TrainingSettings.resolve(section, {}, cohort), Machine(gpus=0))
    seconds = time.monotonic() - started
    settings = {**section_defaults("synthesis"), "baselines": []}
    table = evaluate_synthesis(model, people, test_people, mask, str(cohort), settings, cohort)
    return [
        {
            "cohort": cohort,
            "model": label,
            "subject": row.subject,
            "inputs": row.inputs,
            "mse": row.mse,
            "epochs": len(history),
            "best_epoch": int(history["best_epoch"].iloc[-1]),
            "seconds": round(seconds, 1),
        }
        for row in table.itertuples()
    ]
