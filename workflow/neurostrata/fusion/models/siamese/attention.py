"""Siamese networks on regions, and attention over their features (Arco et al. 2023).

The networks of the regions are in ``siamese_regions``, the attention module in ``siamese_classifier``; here are the
order in which things are learned, and what the maps of Figs. 6 and 7 are made from.
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
from torch import nn

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, write_json
from neurostrata.core.records import check
from neurostrata.fusion.data.splits import make_parts
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.models.siamese.classifier import AttentionNetwork, train_attention
from neurostrata.fusion.models.siamese.regions import (
    Region,
    RegionNetwork,
    align,
    find_regions,
    own_parcels,
    region_scale,
    standardise,
    train_region,
)
from neurostrata.fusion.training.loop import run_digest
from neurostrata.fusion.training.machine import Machine

#: A feature counts as relevant when its mask is above this (5, Fig. 6).
RELEVANT = 0.9
#: People embedded at once.
CHUNK = 16


def paint(values: Mapping[int, float], regions: np.ndarray) -> np.ndarray:
    """Paint a number per region onto the grid, for maps of the brain.

    Parameters
    ----------
    values
        Region number -> value; a region that is left out is NaN.
    regions
        Region number of each voxel (0: none), shape (x, y, z).

    Returns
    -------
    ndarray, shape (x, y, z), float32
        NaN outside the regions.
    """
    numbers, inverse = np.unique(regions, return_inverse=True)
    column = np.array([np.nan if n == 0 else values.get(int(n), np.nan) for n in numbers], np.float32)
    return column[inverse].reshape(regions.shape)


class SiameseAttention(FusionModel):
    """``siamese_attention``; attributes with a trailing underscore exist after :meth:`fit`.

    The attention module learns from features of people whom the region networks have not seen (inner folds),
    since new people's features come from such networks too: on its own training people a region network
    separates the classes far too well. Networks of different folds have unrelated coordinates, so the features of
    each inner fold are taken to those of the network trained on everybody (:func:`align`).
    """

    name = "siamese_attention"
    supervised = True
    reconstructs = False

    regions_: np.ndarray  #: region number of each voxel, (x, y, z), int32
    classes_: list[str]  #: the two classes, sorted; :meth:`predict` gives the probability of the second
    centres_: np.ndarray  #: mean of each region and modality (Eq. 1), (regions, modalities)
    scales_: np.ndarray  #: their standard deviations
    feature_mean_: np.ndarray  #: of each feature over the training people, out of fold
    feature_scale_: np.ndarray  #: what each is divided by (:func:`feature_scales`)
    networks_: list[RegionNetwork]
    attention_: AttentionNetwork

    def __init__(
        self, options: Mapping[str, Any], modalities: Sequence[str], shape: Sequence[int], seed: int
    ) -> None:
        super().__init__(options, modalities, shape, seed)
        if len(self.modalities) < 2:
            raise UserError(
                "siamese_attention: learns from the distance between modalities and needs at least two; "
                "add one to the experiment's modalities"
            )
        self.device = "cpu"

    @property
    def features(self) -> int:
        """Features of one region and modality: a branch's outputs and, if asked for, the region's mean."""
        return int(self.options["linear_sizes"][-1]) + bool(self.options["region_means"])

    @property
    def code_size(self) -> int:
        """Regions x modalities x features; known after :meth:`fit`."""
        return len(self.region_list_) * len(self.modalities) * self.features

    def _set_regions(self, regions: np.ndarray) -> None:
        self.regions_ = regions
        self.region_list_ = find_regions(regions)

    # ------------------------------------------------------------------------------------- learning

    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Train the networks of all regions, one region after the other, then the attention module.

        A region's results are written to `checkpoints` when it is finished; a run that was killed goes on with
        the next region. `people.labels` are needed; `people.regions` replaces our own parcels, `people.groups`
        keeps families together in the inner folds.

        Returns
        -------
        DataFrame
            A row per network: region, part ("fold 0", ..., "all", "attention"), epochs, loss, validation_loss,
            seconds.

        Raises
        ------
        UserError
            When there are not two classes, too few people, or no region inside the mask.
        """
        torch.set_num_threads(machine.threads)
        self.device = machine.device
        targets = self._targets(people)
        with torch.backends.cudnn.flags(deterministic=training.deterministic, benchmark=False):
            return self._fit(people, mask, targets, training, machine, checkpoints)

    def _fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        targets: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None,
    ) -> pd.DataFrame:
        self._set_regions(self._choose_regions(people, mask))
        parts = self._inner_parts(people, targets)
        if people.nbytes <= machine.volume_bytes:
            people.load()
        folder = None if checkpoints is None else self._checkpoint_folder(checkpoints, people, training)
        found, rows = [], []
        for position, region in enumerate(self.region_list_):
            path = None if folder is None else folder / f"region-{region.number}.pt"
            result = None if path is None else self._finished(path)
            if result is None:
                result = self._fit_region(region, people, targets, parts, training)
                if path is not None:
                    with atomic_path(path) as temporary:
                        torch.save(result, temporary)
                self._report(position, result["history"])
            found.append(result)
            rows += result["history"]
        self.centres_ = np.stack([np.asarray(result["centre"]) for result in found])
        self.scales_ = np.stack([np.asarray(result["scale"]) for result in found])
        self.networks_ = []
        for region, result in zip(self.region_list_, found, strict=True):
            network = RegionNetwork(region.shape, self.options, len(self.modalities))
            network.load_state_dict(result["network"])
            self.networks_.append(network.to(self.device).eval())
        features = np.stack([np.asarray(result["features"]) for result in found], axis=1)
        self.attention_, self.feature_mean_, self.feature_scale_, record = train_attention(
            features, targets, parts, self.options, training, self.device
        )
        rows.append({"region": "", "part": "attention", **record})
        if checkpoints is not None:
            shutil.rmtree(checkpoints, ignore_errors=True)
        return pd.DataFrame(rows)

    def _targets(self, people: VolumeSet) -> np.ndarray:
        """Return -1 for people of the first class and 1 for the second."""
        if people.labels is None:
            raise UserError("siamese_attention: learns from classes, and the people have none")
        labels = [people.labels[subject] for subject in people.subjects]
        self.classes_ = sorted(set(labels))
        if len(self.classes_) != 2:
            raise UserError(
                f"siamese_attention: tells two classes apart, the training people have {len(self.classes_)} "
                f"({', '.join(self.classes_)}); choose two"
            )
        for name in self.classes_:
            if labels.count(name) < self.options["inner_folds"]:
                raise UserError(
                    f"siamese_attention: {labels.count(name)} of the training people are '{name}', "
                    f"{self.options['inner_folds']} inner folds need as many; lower options.inner_folds"
                )
        return np.array([1 if label == self.classes_[1] else -1 for label in labels], np.float32)

    def _choose_regions(self, people: VolumeSet, mask: np.ndarray) -> np.ndarray:
        """Return the regions that people come with, inside the brain mask, or parcels of the mask."""
        if people.regions is None:
            return own_parcels(mask, self.options["parcels"])
        if people.regions.shape != self.shape:
            raise UserError(
                f"siamese_attention: the atlas has {people.regions.shape} voxels and the volumes {self.shape}; "
                "bring it onto the fusion grid"
            )
        regions = np.where(mask, people.regions, 0).astype(np.int32)
        if not (regions > 0).any():
            raise UserError("siamese_attention: the atlas has no region inside the brain mask")
        return regions

    def _divide(self, people: VolumeSet, chosen: np.ndarray, targets: np.ndarray, number: int) -> np.ndarray:
        """Divide some of the people into parts with like shares of both classes, families kept together."""
        subjects = [people.subjects[index] for index in chosen]
        groups = people.groups or {}
        table = pd.DataFrame(
            {
                "subject": subjects,
                "family": [groups.get(subject) for subject in subjects],
                "class": [str(value) for value in targets[chosen]],
            }
        )
        return make_parts(table, number, ["class"], self.seed, key="options.inner_folds")

    def _inner_parts(self, people: VolumeSet, targets: np.ndarray) -> np.ndarray:
        parts = self._divide(people, np.arange(len(people)), targets, self.options["inner_folds"])
        for part in range(self.options["inner_folds"]):
            if len(set(targets[parts != part])) < 2:
                raise UserError(
                    "siamese_attention: families put all people of a class into one inner fold; "
                    "change options.inner_folds"
                )
        return parts

    def _held_out(self, people: VolumeSet, chosen: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return who of some people is held out to tell when to stop, shape (chosen,), bool."""
        share = self.options["validation_fraction"]
        number = max(2, round(1 / share)) if share else 0
        smaller = min((targets[chosen] < 0).sum(), (targets[chosen] > 0).sum())
        if number == 0 or smaller < max(4, number // 2):  # too few to tell anything by
            return np.zeros(len(chosen), bool)
        try:
            held_out = self._divide(people, chosen, targets, number) == 0
        except UserError:  # too few families
            return np.zeros(len(chosen), bool)
        whole = len(set(targets[chosen][held_out])) == 2 and len(set(targets[chosen][~held_out])) == 2
        return held_out if whole else np.zeros(len(chosen), bool)

    def _fit_region(
        self,
        region: Region,
        people: VolumeSet,
        targets: np.ndarray,
        parts: np.ndarray,
        training: TrainingSettings,
    ) -> dict[str, Any]:
        """Train a region's networks: one on everybody, and one per inner fold for the features of its people.

        Returns
        -------
        dict
            network (state), centre, scale, features (people, modalities, features; out of fold), history.
        """
        crops = people.box(region.box)
        # The seed does not depend on the inner fold: networks that start alike stay comparable.
        seed = training.seed * 1_000_003 + region.number
        history = []

        def train(chosen: np.ndarray, part: str) -> tuple[RegionNetwork, np.ndarray, np.ndarray]:
            centre, scale = region_scale(crops[chosen], region.inside)
            network, record = train_region(
                standardise(crops[chosen], region.inside, centre, scale),
                targets[chosen],
                self._held_out(people, chosen, targets),
                self.options,
                training,
                self.device,
                seed,
            )
            history.append({"region": str(region.number), "part": part, **record})
            return network, centre, scale

        everybody = np.arange(len(people))
        network, centre, scale = train(everybody, "all")
        final = self._embed(network, standardise(crops, region.inside, centre, scale))
        features = np.empty_like(final)
        outputs = final.shape[-1]
        for part in range(self.options["inner_folds"]):
            chosen, others = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            inner, inner_centre, inner_scale = train(chosen, f"fold {part}")
            embedded = self._embed(inner, standardise(crops, region.inside, inner_centre, inner_scale))
            matrix, shift = align(embedded[chosen].reshape(-1, outputs), final[chosen].reshape(-1, outputs))
            features[others] = embedded[others] @ matrix + shift
        features = self._with_means(features, standardise(crops, region.inside, centre, scale), region)
        return {
            "network": {name: value.cpu() for name, value in network.state_dict().items()},
            "centre": torch.from_numpy(centre),
            "scale": torch.from_numpy(scale),
            "features": torch.from_numpy(features),
            "history": history,
        }

    def _embed(self, network: RegionNetwork, volumes: np.ndarray) -> np.ndarray:
        """Return the branch outputs (people, modalities, features) of standardised boxes."""
        with torch.inference_mode():
            pieces = [
                network.embed(torch.from_numpy(volumes[start : start + CHUNK]).to(self.device)).cpu()
                for start in range(0, len(volumes), CHUNK)
            ]
        return torch.cat(pieces).numpy()

    def _with_means(self, outputs: np.ndarray, volumes: np.ndarray, region: Region) -> np.ndarray:
        """Append the mean over the region to each modality's outputs (people, modalities, features), if asked for."""
        if not self.options["region_means"]:
            return outputs
        return np.concatenate([outputs, volumes[:, :, region.inside].mean(axis=2)[..., None]], axis=2)

    def _checkpoint_folder(self, folder: Path, people: VolumeSet, training: TrainingSettings) -> Path:
        """Return the folder of finished regions; one that belongs to another run is emptied."""
        facts = [run_digest(self, people, training), training.epochs, self.modalities]
        regions = hashlib.sha256(np.ascontiguousarray(self.regions_).tobytes()).hexdigest()
        digest = hashlib.sha256(json.dumps([*facts, regions]).encode()).hexdigest()
        label = folder / "run.json"
        try:
            known = json.loads(label.read_text())["digest"] == digest
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(label, {"digest": digest})
        return folder

    @staticmethod
    def _finished(path: Path) -> dict[str, Any] | None:
        """Return a region's results when they are there and whole."""
        try:
            check(path)
            return torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever is wrong with it: the region is trained again
            print(f"{path}: cannot be used ({error}); the region is trained again", file=sys.stderr)
            return None

    def _report(self, position: int, history: Sequence[Mapping[str, Any]]) -> None:
        """Write a line after a region."""
        seconds = sum(row["seconds"] for row in history)
        left = (len(self.region_list_) - position - 1) * seconds / 60
        print(
            f"region {position + 1}/{len(self.region_list_)} (number {history[0]['region']})  "
            f"loss {np.mean([row['loss'] for row in history]):.4f}  {seconds:.1f} s, about {left:.0f} min left",
            file=sys.stderr,
            flush=True,
        )

    # --------------------------------------------------------------------------------------- in use

    def prepare(self, machine: Machine) -> None:
        """Move the networks to the machine's device."""
        torch.set_num_threads(machine.threads)
        self.device = machine.device
        for network in [*self.networks_, self.attention_]:
            network.to(self.device).eval()

    def _features(self, volumes: np.ndarray) -> torch.Tensor:
        """Return the standardised features (people, regions x modalities x features), in this order."""
        if not np.isfinite(volumes).all():
            raise UserError("siamese_attention: somebody lacks a modality; it needs all of them")
        pieces = []
        for region, network, centre, scale in zip(
            self.region_list_, self.networks_, self.centres_, self.scales_, strict=True
        ):
            boxes = standardise(volumes[(..., *region.box)], region.inside, centre, scale)
            pieces.append(self._with_means(self._embed(network, boxes), boxes, region))
        flat = np.stack(pieces, axis=1).reshape(len(volumes), -1)
        return torch.from_numpy(((flat - self.feature_mean_) / self.feature_scale_).astype(np.float32)).to(
            self.device
        )

    def encode(self, volumes: np.ndarray) -> np.ndarray:
        """Return the masked features, in the order region, modality, feature."""
        with torch.inference_mode():
            return np.asarray(self.attention_(self._features(volumes))[1].cpu())

    def predict(self, volumes: np.ndarray) -> np.ndarray:
        """Return the probability of the second class, shape (people,)."""
        with torch.inference_mode():
            return np.asarray(torch.sigmoid(self.attention_.logits(self._features(volumes))).cpu())

    def reconstruct(self, volumes: np.ndarray) -> np.ndarray:
        """Refuse: there is no decoder."""
        raise UserError(
            "siamese_attention: has no decoder, so nothing can be reconstructed; set "
            "analyses.reconstruction: false for this experiment"
        )

    # ------------------------------------------------------------------------------- what it looks at

    def masks(self, volumes: np.ndarray) -> np.ndarray:
        """Return the attention mask, shape (people, regions, modalities, features), in [0, 1]."""
        with torch.inference_mode():
            mask = np.asarray(self.attention_(self._features(volumes))[0].cpu())
        return mask.reshape(len(volumes), len(self.region_list_), len(self.modalities), self.features)

    def relevance(self, volumes: np.ndarray, subjects: Sequence[str]) -> pd.DataFrame:
        """Count the relevant features of each person, region and modality (5, Fig. 6).

        Parameters
        ----------
        volumes
            Shape (people, modalities, x, y, z).
        subjects
            Their names.

        Returns
        -------
        DataFrame
            subject, region, modality (and "fused": all of them together), features (how many have a mask above
            :data:`RELEVANT`), mean_mask.
        """
        mask = self.masks(volumes)
        counts = (mask > RELEVANT).sum(axis=3)
        means = mask.mean(axis=3)
        counts = np.concatenate([counts, counts.sum(axis=2, keepdims=True)], axis=2)
        means = np.concatenate([means, means.mean(axis=2, keepdims=True)], axis=2)
        names = [list(subjects), [region.number for region in self.region_list_], [*self.modalities, "fused"]]
        table = pd.MultiIndex.from_product(names, names=["subject", "region", "modality"]).to_frame(
            index=False
        )
        return table.assign(features=counts.ravel(), mean_mask=means.ravel())

    def first_layer_weights(self) -> pd.DataFrame:
        """Return how strongly the attention module's first layer listens to each region (5, Fig. 7).

        Returns
        -------
        DataFrame
            region, modality (and "fused": the mean over them), weight: the mean absolute weight.
        """
        first = self.attention_.mlp[0].weight.detach().abs().mean(dim=0).cpu().numpy()  # type: ignore[operator]
        values = first.reshape(len(self.region_list_), len(self.modalities), self.features).mean(axis=2)
        values = np.concatenate([values, values.mean(axis=1, keepdims=True)], axis=1)
        names = [[region.number for region in self.region_list_], [*self.modalities, "fused"]]
        table = pd.MultiIndex.from_product(names, names=["region", "modality"]).to_frame(index=False)
        return table.assign(weight=values.ravel())

    # -------------------------------------------------------------------------------------- keeping

    def weights(self) -> dict[str, np.ndarray]:
        """Return all networks, scales, regions, and the classes' names (JSON as UTF-8 bytes)."""
        arrays: dict[str, np.ndarray] = {
            "regions": self.regions_.astype(np.int32),
            "classes": np.frombuffer(json.dumps(self.classes_).encode(), np.uint8).copy(),
            "centres": self.centres_,
            "scales": self.scales_,
            "feature_mean": self.feature_mean_,
            "feature_scale": self.feature_scale_,
        }
        modules: dict[str, nn.Module] = {
            f"region-{r.number}": n for r, n in zip(self.region_list_, self.networks_, strict=True)
        }
        for prefix, module in {**modules, "attention": self.attention_}.items():
            for name, value in module.state_dict().items():
                arrays[f"{prefix}.{name}"] = value.detach().cpu().numpy().copy()
        return arrays

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`weights` returned; every name and shape must agree."""

        def fill(module: nn.Module, prefix: str) -> None:
            own = {
                name.removeprefix(f"{prefix}."): torch.from_numpy(np.array(value))
                for name, value in weights.items()
                if name.startswith(f"{prefix}.")
            }
            module.load_state_dict(own)
            module.eval()

        self._set_regions(np.array(weights["regions"]))
        self.classes_ = json.loads(weights["classes"].tobytes().decode())
        self.centres_, self.scales_ = np.array(weights["centres"]), np.array(weights["scales"])
        self.feature_mean_ = np.array(weights["feature_mean"])
        self.feature_scale_ = np.array(weights["feature_scale"])
        self.networks_ = [
            RegionNetwork(region.shape, self.options, len(self.modalities)) for region in self.region_list_
        ]
        for region, network in zip(self.region_list_, self.networks_, strict=True):
            fill(network, f"region-{region.number}")
        self.attention_ = AttentionNetwork(self.code_size, self.options["attention_sizes"])
        fill(self.attention_, "attention")
        self.device = "cpu"

    def facts(self) -> dict[str, Any]:
        """Return classes, regions and numbers of parameters."""
        modules = [*self.networks_, self.attention_]
        return {
            "parameters": sum(p.numel() for module in modules for p in module.parameters()),
            "classes": self.classes_,
            "positive_class": self.classes_[1],
            "regions": [region.number for region in self.region_list_],
        }
