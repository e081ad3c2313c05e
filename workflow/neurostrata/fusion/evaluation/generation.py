"""Images made from codes alone: draws from a model's prior, and the way from one person to another (Geenjaar 2021, II)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.files import atomic_path, read_json
from neurostrata.fusion.data.splits import people_of
from neurostrata.fusion.data.stage import load_model, read_splits, study_people
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes, read_mask
from neurostrata.fusion.models.interface import FusionModel
from neurostrata.fusion.training.machine import Machine

#: Draws from the prior, and steps from one person to the other (both ends included).
DRAWS, STEPS = 6, 6
#: Modalities that are shown at most.
SHOWN = 4


def generated_slices(
    model: FusionModel, people: VolumeSet, mask: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Return axial mid slices of draws from the standard normal prior and of steps between the first two people.

    A draw is a volume of no modality in particular: one part of the code, decoded.

    Parameters
    ----------
    model
        Whose code has one part per modality with a standard normal prior.
    people
        The first two who have every modality are taken.
    mask
        Brain mask, shape (x, y, z).
    seed
        Of the draws.

    Returns
    -------
    dict of ndarray
        ``draws`` (draws, x, y), over the volume's maximum; with two complete people ``real`` (modalities, 2, x, y) and
        ``steps`` (modalities, steps, x, y), in [0, 1], ``modalities`` and ``subjects``.
    """
    level = int(np.round(np.argwhere(mask).mean(axis=0))[2])
    count = len(model.modalities)
    part = model.code_size // count
    # as many draws as a code has parts are decoded at once
    drawn = np.random.default_rng(seed).standard_normal((-(-DRAWS // count) * count, part))
    decoded = np.concatenate(
        [model.decode(code[None])[0, ..., level] for code in drawn.reshape(-1, count * part)]
    )
    found = {"draws": decoded[:DRAWS].astype(np.float32)}
    complete = np.flatnonzero(people.present().all(axis=1))[:2].tolist()
    if len(complete) < 2:
        return found
    real = np.stack([people[i] for i in complete])
    ends, scales = model.encode(real), model.scales(real)
    steps = []
    for way in np.linspace(0, 1, STEPS):
        image = model.decode(((1 - way) * ends[0] + way * ends[1])[None])[0, :SHOWN, ..., level]
        steps.append(image * ((1 - way) * scales[0] + way * scales[1])[:SHOWN, None, None])
    return found | {
        "real": real[:, :SHOWN, :, :, level].swapaxes(0, 1),
        "steps": np.stack(steps, axis=1).clip(0, 1).astype(np.float32),
        "modalities": np.array(model.modalities[:SHOWN]),
        "subjects": np.array([people.subjects[i] for i in complete]),
    }


def generate(
    *,
    model: Path,
    volumes: list[Path],
    splits: Path,
    limits: Path,
    mask: Path,
    output: Path,
    settings: dict[str, Any],
    threads: int = 1,
    memory_mb: int = 4000,
) -> None:
    """Write slices of draws from the final model's prior and of the way from one person to another (npz)."""
    opened = open_volumes(volumes, settings["experiment"]["modalities"])
    brain = read_mask(mask, opened[0].array.shape[1:], opened[0].info["affine"])
    network = load_model(model, opened)
    network.prepare(Machine(threads, 0, memory_mb))
    scaling = read_json(limits)["limits"]
    people = study_people(opened, people_of(read_splits(splits), "all"), scaling, settings)
    slices = generated_slices(network, people, brain, settings["seed"])
    with atomic_path(output) as temporary:
        np.savez_compressed(temporary, **slices)  # type: ignore[arg-type]
