"""The stages of synthesis: synthesise, summarise-synthesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, read_json, settings_record
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.data.splits import people_of
from neurostrata.fusion.data.stage import load_model, read_splits
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes, read_mask
from neurostrata.fusion.training.machine import Machine


def synthesise(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    fold: str,
    output: Path,
    examples: Path,
    settings: dict[str, Any],
    threads: int = 1,
    gpus: int = 1,
    memory_mb: int = 8000,
) -> None:
    """Measure how well the test people's modalities are synthesised from every subset of inputs.

    Writes a row per person, method, subset and output, and slices of a few people for the figure.
    """
    from neurostrata.fusion.evaluation.synthesis import COLUMNS, evaluate_synthesis, example_syntheses
    from neurostrata.fusion.models.synthesis.latent_synthesis import LatentSynthesis

    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    brain = read_mask(mask, opened[0].array.shape[1:], opened[0].info["affine"])
    network = load_model(model, opened)
    if not isinstance(network, LatentSynthesis):
        raise UserError(f"{model}: '{network.name}' does not synthesise; only latent_synthesis does")
    network.prepare(Machine(threads, gpus, memory_mb))
    table, scaling = read_splits(splits), read_json(limits)["limits"]
    tested = people_of(table, fold, "test")
    if not tested:
        raise UserError(f"{splits}: fold '{fold}' has no test people, there is nothing to synthesise")
    training_people = VolumeSet(opened, people_of(table, fold, "train"), scaling, incomplete=True)
    test_people = VolumeSet(opened, tested, scaling, incomplete=True)
    options = settings["synthesis"]
    frame = evaluate_synthesis(
        network, training_people, test_people, brain, fold, options, settings["seed"], threads
    )
    slices = example_syntheses(network, test_people, brain, options["all_subsets_up_to"])
    with atomic_path(examples) as temporary:
        np.savez_compressed(temporary, **slices)  # type: ignore[arg-type]
    write_table(
        output,
        frame,
        columns=COLUMNS,
        Description="How well modalities of unseen people are synthesised from others (Chartsias 2018, VI).",
        Fold=fold,
        Inputs=network.inputs,
        Outputs=network.outputs,
        Settings=settings_record(settings),
    )


def summarise_synthesis(
    *, tables: list[Path], output: Path, comparisons: Path, settings: dict[str, Any]
) -> None:
    """Gather the folds' tables and compare the model with each baseline, person by person."""
    from neurostrata.fusion.evaluation.synthesis import COLUMNS, COMPARISON_COLUMNS, compare_methods

    frames = [read_table(p, text=("subject", "fold", "method", "inputs", "output")) for p in tables]
    frame = pd.concat(frames, ignore_index=True)
    write_table(
        output,
        frame,
        columns=COLUMNS,
        Description="How well modalities of unseen people are synthesised from others, all folds.",
        Settings=settings_record(settings),
    )
    write_table(
        comparisons,
        compare_methods(frame, settings["experiment"]["model"]),
        columns=COMPARISON_COLUMNS,
        Description="Paired t-tests between the model and each baseline, Holm-corrected within a measure.",
        Settings=settings_record(settings),
    )
