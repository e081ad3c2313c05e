"""Images made from codes alone: draws from a model's prior, and interpolation between two people (Geenjaar 2021, II)."""

from __future__ import annotations

import numpy as np

from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel

#: Draws from the prior, and steps from one person to the other (both ends included).
DRAWS, STEPS = 6, 6
#: Most modalities that are shown.
SHOWN = 4


def generated_slices(
    model: FusionModel, people: VolumeSet, mask: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Return axial mid slices of draws from the standard normal prior and of steps between the first two people.

    A draw is a volume of no modality in particular: one part of the code, decoded.

    Parameters
    ----------
    model
        A model whose code has one part per modality with a standard normal prior.
    people
        The first two who have every modality are taken.
    mask
        Brain mask, shape (x, y, z).
    seed
        Seed of the draws.

    Returns
    -------
    dict of ndarray
        ``draws`` (draws, x, y), over the volume's maximum; with two complete people ``real`` (modalities, 2, x, y) and
        ``steps`` (modalities, steps, x, y), in the range of the volumes, ``modalities`` and ``subjects``.
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
    for share in np.linspace(0, 1, STEPS):
        image = model.decode(((1 - share) * ends[0] + share * ends[1])[None])[0, :SHOWN, ..., level]
        steps.append(image * ((1 - share) * scales[0] + share * scales[1])[:SHOWN, None, None])
    return found | {
        "real": real[:, :SHOWN, :, :, level].swapaxes(0, 1),
        "steps": np.stack(steps, axis=1).clip(*model.value_range).astype(np.float32),
        "modalities": np.array(model.modalities[:SHOWN]),
        "subjects": np.array([people.subjects[i] for i in complete]),
    }
