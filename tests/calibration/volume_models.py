"""A model trained on simulated fusion volumes, for the comparisons of models."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.fusion.data.volumes import VolumeSet


def train(
    name: str,
    options: Mapping[str, Any],
    epochs: int,
    batch: int,
    people: VolumeSet,
    mask: np.ndarray,
    seed: int,
) -> tuple[Any, pd.DataFrame, float]:
    """Train a model on one thread; return it, its history and the seconds that took."""
    from neurostrata.core.config import fill_defaults, load_schema, section_defaults
    from neurostrata.fusion.models.interface import TrainingSettings
    from neurostrata.fusion.models.registry import build_model
    from neurostrata.fusion.training.machine import Machine

    filled = fill_defaults(dict(options), load_schema(f"models/{name}"))
    model = build_model(name, filled, people.modalities, people.shape, seed)
    section = {**section_defaults("training"), "epochs": epochs, "batch_size": batch}
    started = time.monotonic()
    history = model.fit(
        people, mask, TrainingSettings.resolve(section, {}, seed=seed), Machine(threads=1, gpus=0)
    )
    return model, history, time.monotonic() - started


def encode(model: Any, volumes: np.ndarray) -> np.ndarray:
    """Return the codes of volumes (people, modalities, x, y, z), four people at a time."""
    return np.concatenate([model.encode(volumes[i : i + 4]) for i in range(0, len(volumes), 4)])
