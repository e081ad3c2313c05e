"""How the networks of the regions learn: classes, inner folds, and one region after the other (Arco et al. 2023).

The attention module learns from features of people that the region networks have not seen (inner folds), since new people's
features come from such networks too: on its own training people a region network separates the classes far too well.
Networks of different folds have unrelated coordinates, so the features of each inner fold are taken to those of the network
trained on everybody (:func:`neurostrata.fusion.models.siamese.regions.align`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from neurostrata.core.errors import UserError
from neurostrata.core.files import write_json
from neurostrata.core.records import check
from neurostrata.fusion.data.splits import make_parts
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.models.siamese.regions import (
    Region,
    RegionNetwork,
    align,
    own_parcels,
    region_scale,
    standardise,
    train_region,
)
from neurostrata.fusion.training.checkpoints import run_digest

#: People embedded at once.
CHUNK = 16


def two_classes(people: VolumeSet, inner_folds: int) -> tuple[list[str], np.ndarray]:
    """Return the two classes, sorted, and -1 for people of the first class and 1 for the second.

    Raises
    ------
    UserError
        When there are not two classes, or one has fewer people than there are inner folds.
    """
    if people.labels is None:
        raise UserError("siamese_attention: learns from classes, and the people have none")
    labels = [people.labels[subject] for subject in people.subjects]
    classes = sorted(set(labels))
    if len(classes) != 2:
        raise UserError(
            f"siamese_attention: tells two classes apart, the training people have {len(classes)} "
            f"({', '.join(classes)}); choose two"
        )
    for name in classes:
        if labels.count(name) < inner_folds:
            raise UserError(
                f"siamese_attention: {labels.count(name)} of the training people are '{name}', "
                f"{inner_folds} inner folds need as many; lower options.inner_folds"
            )
    return classes, np.array([1 if label == classes[1] else -1 for label in labels], np.float32)


def choose_regions(people: VolumeSet, mask: np.ndarray, parcels: int) -> np.ndarray:
    """Return the regions that people come with, inside the brain mask, or else parcels of the mask."""
    if people.regions is None:
        return own_parcels(mask, parcels)
    if people.regions.shape != people.shape:
        raise UserError(
            f"siamese_attention: the atlas has {people.regions.shape} voxels and the volumes {people.shape}; "
            "bring it onto the fusion grid"
        )
    regions = np.where(mask, people.regions, 0).astype(np.int32)
    if not (regions > 0).any():
        raise UserError("siamese_attention: the atlas has no region inside the brain mask")
    return regions


def _divide(people: VolumeSet, chosen: np.ndarray, targets: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Divide some of the people into parts with similar shares of both classes, families kept together."""
    subjects = [people.subjects[index] for index in chosen]
    groups = people.groups or {}
    table = pd.DataFrame(
        {
            "subject": subjects,
            "family": [groups.get(subject) for subject in subjects],
            "class": [str(value) for value in targets[chosen]],
        }
    )
    return make_parts(table, number, ["class"], seed, key="options.inner_folds")


def inner_parts(people: VolumeSet, targets: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return the inner fold of each person, shape (people,).

    Raises
    ------
    UserError
        When an inner fold has all people of a class.
    """
    parts = _divide(people, np.arange(len(people)), targets, number, seed)
    for part in range(number):
        if len(set(targets[parts != part])) < 2:
            raise UserError(
                "siamese_attention: families put all people of a class into one inner fold; "
                "change options.inner_folds"
            )
    return parts


def held_out_people(
    people: VolumeSet, chosen: np.ndarray, targets: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Return which of some people are held out to tell when to stop, shape (chosen,), bool."""
    number = max(2, round(1 / share)) if share else 0
    smaller = min((targets[chosen] < 0).sum(), (targets[chosen] > 0).sum())
    if number == 0 or smaller < max(4, number // 2):  # too few to tell anything by
        return np.zeros(len(chosen), bool)
    try:
        held_out = _divide(people, chosen, targets, number, seed) == 0
    except UserError:  # too few families
        return np.zeros(len(chosen), bool)
    whole = len(set(targets[chosen][held_out])) == 2 and len(set(targets[chosen][~held_out])) == 2
    return held_out if whole else np.zeros(len(chosen), bool)


def embed_boxes(network: RegionNetwork, boxes: np.ndarray, device: str) -> np.ndarray:
    """Return the branch outputs (people, modalities, features) of standardised boxes."""
    with torch.inference_mode():
        pieces = [
            network.embed(torch.from_numpy(boxes[start : start + CHUNK]).to(device)).cpu()
            for start in range(0, len(boxes), CHUNK)
        ]
    return torch.cat(pieces).numpy()


def with_region_means(outputs: np.ndarray, boxes: np.ndarray, region: Region) -> np.ndarray:
    """Append the mean over the region to each modality's outputs (people, modalities, features)."""
    return np.concatenate([outputs, boxes[:, :, region.inside].mean(axis=2)[..., None]], axis=2)


def fit_region(
    region: Region,
    people: VolumeSet,
    targets: np.ndarray,
    parts: np.ndarray,
    model: FusionModel,
    training: TrainingSettings,
    device: str,
) -> dict[str, Any]:
    """Train a region's networks: one on everybody, and one per inner fold for the features of its people.

    Parameters
    ----------
    region
        The region.
    people, targets, parts
        Training people, their classes (-1, 1) and inner folds.
    model
        Its options, and its seed for the division of people, are used.
    training, device
        How and where.

    Returns
    -------
    dict
        network (state), centre, scale, features (people, modalities, features; out of fold), history.
    """
    options, crops = model.options, people.box(region.box)
    # The seed does not depend on the inner fold: networks that start alike stay comparable.
    seed = training.seed * 1_000_003 + region.number
    history = []

    def train(chosen: np.ndarray, part: str) -> tuple[RegionNetwork, np.ndarray, np.ndarray]:
        centre, scale = region_scale(crops[chosen], region.inside)
        network, record = train_region(
            standardise(crops[chosen], region.inside, centre, scale),
            targets[chosen],
            held_out_people(people, chosen, targets, options["validation_fraction"], model.seed),
            options,
            training,
            device,
            seed,
        )
        history.append({"region": str(region.number), "part": part, **record})
        return network, centre, scale

    everybody = np.arange(len(people))
    network, centre, scale = train(everybody, "all")
    final = embed_boxes(network, standardise(crops, region.inside, centre, scale), device)
    features = np.empty_like(final)
    outputs = final.shape[-1]
    for part in range(options["inner_folds"]):
        chosen, others = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        inner, inner_centre, inner_scale = train(chosen, f"fold {part}")
        embedded = embed_boxes(inner, standardise(crops, region.inside, inner_centre, inner_scale), device)
        matrix, shift = align(embedded[chosen].reshape(-1, outputs), final[chosen].reshape(-1, outputs))
        features[others] = embedded[others] @ matrix + shift
    if options["region_means"]:
        features = with_region_means(features, standardise(crops, region.inside, centre, scale), region)
    return {
        "network": {name: value.cpu() for name, value in network.state_dict().items()},
        "centre": torch.from_numpy(centre),
        "scale": torch.from_numpy(scale),
        "features": torch.from_numpy(features),
        "history": history,
    }


def checkpoint_folder(
    folder: Path, model: FusionModel, people: VolumeSet, training: TrainingSettings, regions: np.ndarray
) -> Path:
    """Return the folder of finished regions; one that belongs to another run is emptied."""
    facts = [run_digest(model, people, training), training.epochs, model.modalities]
    atlas = hashlib.sha256(np.ascontiguousarray(regions).tobytes()).hexdigest()
    digest = hashlib.sha256(json.dumps([*facts, atlas]).encode()).hexdigest()
    label = folder / "run.json"
    try:
        known = json.loads(label.read_text())["digest"] == digest
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(label, {"digest": digest})
    return folder


def read_finished(path: Path) -> dict[str, Any] | None:
    """Return a region's results when they are there and whole."""
    try:
        check(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # of any kind: the region is trained again
        print(f"{path}: cannot be used ({error}); the region is trained again", file=sys.stderr)
        return None


def report_region(position: int, regions: int, history: Sequence[Mapping[str, Any]]) -> None:
    """Write a line to the log after a region."""
    seconds = sum(row["seconds"] for row in history)
    left = (regions - position - 1) * seconds / 60
    print(
        f"region {position + 1}/{regions} (number {history[0]['region']})  "
        f"loss {np.mean([row['loss'] for row in history]):.4f}  {seconds:.1f} s, about {left:.0f} min left",
        file=sys.stderr,
        flush=True,
    )
