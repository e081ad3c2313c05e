"""A fusion model that is a torch network: training, encoding and weights, the same for all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.layers.output_offset import mean_of
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.training.loop import train_network
from neurostrata.fusion.training.machine import Machine


class NetworkModel(FusionModel):
    """Base of models that are one torch network.

    A subclass gives ``build_network()``. Its network has ``losses(volumes)`` (one value per modality),
    ``encode(volumes)`` and ``reconstruct(volumes)``, all on volumes (people, modalities, x, y, z),
    ``decode_volumes(codes)`` where `decodes` is true, and ``offset`` where it has the option ``output_offset``
    (:func:`neurostrata.fusion.layers.output_offset.output_offset`). What it decodes is cut to its ``value_range``, which is the
    model's. Where ``recordable`` is true, a training step on one GPU is recorded as a CUDA graph
    (:mod:`neurostrata.fusion.training.recorded`): ``losses`` must neither wait for the GPU nor draw on the CPU.
    """

    def __init__(
        self, options: Mapping[str, Any], modalities: Sequence[str], shape: Sequence[int], seed: int
    ) -> None:
        super().__init__(options, modalities, shape, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self.build_network()
        self.network.eval()

    @abstractmethod
    def build_network(self) -> nn.Module:
        """Return the untrained network; the random state is set by the caller."""

    def set_offset(self, people: VolumeSet, modality: int | None = None) -> None:
        """Give the decoder these people's mean image, where the option ``output_offset`` asks for it.

        Parameters
        ----------
        people
            Those that the network learns from, and nobody else.
        modality
            The position of one modality, whose mean image alone is set; None: all of them.
        """
        offset: Any = getattr(self.network, "offset", None)
        if offset is not None:
            offset.set_mean(mean_of(people, self.scales), modality)

    @property
    def smallest_batch(self) -> int:
        """The fewest people that a training step can have."""
        return 1

    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Train the network; see :func:`neurostrata.fusion.training.loop.train_network`."""
        self.set_offset(people)
        return train_network(self, self.network, self.smallest_batch, people, training, machine, checkpoints)

    def prepare(self, machine: Machine) -> None:
        """Move the network to the machine's device, in evaluation mode."""
        torch.set_num_threads(machine.threads)
        self.network.to(machine.device).eval()

    def _apply(self, method: str, volumes: np.ndarray, **arguments: Any) -> np.ndarray:
        network: Any = self.network
        device = next(network.parameters()).device
        network.eval()
        network.value_range = self.value_range
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(volumes)).to(device)
            result = getattr(network, method)(tensor, **arguments)
        return np.asarray(result.float().cpu())

    def encode(self, volumes: np.ndarray) -> np.ndarray:
        """Return the codes; deterministic (no dropout, fixed batch normalisation)."""
        return self._apply("encode", volumes)

    def reconstruct(self, volumes: np.ndarray) -> np.ndarray:
        """Return the decoded volumes."""
        return self._apply("reconstruct", volumes)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes to volumes; a network that can has ``decode_volumes``."""
        if not self.decodes:
            return super().decode(codes)
        return self._apply("decode_volumes", np.asarray(codes, dtype=np.float32))

    def weights(self) -> dict[str, np.ndarray]:
        """Return parameters and running averages."""
        return {
            name: tensor.detach().cpu().numpy().copy() for name, tensor in self.network.state_dict().items()
        }

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take over weights; every name and shape must agree."""
        self.network.load_state_dict(
            {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        )

    def facts(self) -> dict[str, Any]:
        """Return the number of trained parameters."""
        return {"parameters": sum(p.numel() for p in self.network.parameters())}
