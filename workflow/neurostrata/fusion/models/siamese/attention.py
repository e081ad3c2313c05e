"""Siamese networks on regions, and attention over their features: the model ``siamese_attention`` (Arco et al. 2023).

The networks of the regions are in ``regions``, how they learn is in ``learning``, the attention module in ``classifier``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import RELEVANT, FusionModel, TrainingSettings
from neurostrata.fusion.models.siamese.classifier import AttentionNetwork, train_attention
from neurostrata.fusion.models.siamese.learning import (
    checkpoint_folder,
    choose_regions,
    embed_boxes,
    fit_region,
    inner_parts,
    read_finished,
    report_region,
    two_classes,
    with_region_means,
)
from neurostrata.fusion.models.siamese.regions import RegionNetwork, find_regions, standardise
from neurostrata.fusion.training.machine import Machine


class SiameseAttention(FusionModel):
    """``siamese_attention``; attributes with a trailing underscore exist after :meth:`fit`."""

    name = "siamese_attention"
    supervised = True
    reconstructs = False
    regions = True

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

        A region's results are written to `checkpoints` when it is finished; a killed run resumes with
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
        self.maximum = people.maximum
        self.classes_, targets = two_classes(people, self.options["inner_folds"])
        # flags() switches cuDNN off and TF32 on unless it is told otherwise
        with torch.backends.cudnn.flags(
            enabled=True, deterministic=training.deterministic, benchmark=False, allow_tf32=False
        ):
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
        self._set_regions(choose_regions(people, mask, self.options["parcels"]))
        parts = inner_parts(people, targets, self.options["inner_folds"], self.seed)
        if people.nbytes <= machine.volume_bytes:
            people.load()
        folder = None
        if checkpoints is not None:
            folder = checkpoint_folder(checkpoints, self, people, training, self.regions_)
        found, rows = [], []
        for position, region in enumerate(self.region_list_):
            path = None if folder is None else folder / f"region-{region.number}.pt"
            result = None if path is None else read_finished(path)
            if result is None:
                result = fit_region(region, people, targets, parts, self, training, self.device)
                if path is not None:
                    with atomic_path(path) as temporary:
                        torch.save(result, temporary)
                report_region(position, len(self.region_list_), result["history"])
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
        return pd.DataFrame(rows)

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
            raise UserError(
                "siamese_attention: a modality is missing for some people; the model needs all of them"
            )
        pieces = []
        for region, network, centre, scale in zip(
            self.region_list_, self.networks_, self.centres_, self.scales_, strict=True
        ):
            boxes = standardise(volumes[(..., *region.box)], region.inside, centre, scale)
            outputs = embed_boxes(network, boxes, self.device)
            pieces.append(
                with_region_means(outputs, boxes, region) if self.options["region_means"] else outputs
            )
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
        """Raise an error: the model has no decoder."""
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

    def region_weights(self) -> pd.DataFrame:
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
