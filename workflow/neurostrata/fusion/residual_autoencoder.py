"""An autoencoder of differences from the mean training person, with a linear code (ours, no paper).

What all people share is given by their mean, so the code has room for what they do not share. The loss is
the squared error inside the brain mask, in units of each modality's spread, and training stops when held-out
training people are no longer decoded better. A modality that somebody lacks enters as the mean image;
hiding modalities during training (modality dropout) teaches the network to guess them from the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from neurostrata.core.errors import UserError
from neurostrata.fusion.data import VolumeSet
from neurostrata.fusion.interface import TrainingSettings
from neurostrata.fusion.machine import Machine
from neurostrata.fusion.missing import filled, hide, mean_over_present, present
from neurostrata.fusion.network import NetworkModel
from neurostrata.fusion.training import hold_out, train_network

#: Channels that are normalised together.
GROUP = 8


def _block(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.GroupNorm(channels // GROUP, channels), nn.ELU())


class ResidualAutoencoderNetwork(nn.Module):
    """Strided convolutions to a linear code and back, on standardised differences from a mean image.

    Parameters
    ----------
    modalities
        Number of modalities, the channels of the image.
    shape
        Voxels along x, y, z.
    options
        ``code_size``, ``channels``, ``modality_dropout``.
    """

    def __init__(self, modalities: int, shape: tuple[int, int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.modality_dropout = float(options["modality_dropout"])
        widths = [modalities, *options["channels"]]
        self.small = tuple(side // 2 ** len(options["channels"]) for side in shape)
        flat = widths[-1] * int(np.prod(self.small))
        self.encoder = nn.Sequential(
            *(_block(nn.Conv3d(a, b, 3, stride=2, padding=1), b) for a, b in itertools.pairwise(widths)),
            nn.Flatten(),
            nn.Linear(flat, options["code_size"]),
        )
        self.spread = nn.Linear(options["code_size"], flat)
        decoder: list[nn.Module] = []
        for a, b in zip(reversed(widths[2:]), reversed(widths[1:-1]), strict=True):
            decoder += [nn.Upsample(scale_factor=2), _block(nn.Conv3d(a, b, 3, padding=1), b)]
        decoder += [nn.Upsample(scale_factor=2), nn.Conv3d(widths[1], modalities, 3, padding=1)]
        self.decoder = nn.Sequential(*decoder)
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.mask: torch.Tensor
        self.register_buffer("mean", torch.zeros(modalities, *shape))
        self.register_buffer("scale", torch.ones(modalities, 1, 1, 1))
        self.register_buffer("mask", torch.ones(shape))

    def set_reference(self, mean: np.ndarray, scale: np.ndarray, mask: np.ndarray) -> None:
        """Take over the training people's mean image, each modality's spread about it, and the brain mask."""
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale.astype(np.float32))[:, None, None, None])
        self.mask.copy_(torch.from_numpy(mask.astype(np.float32)))

    def encode(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the codes of volumes (people, modalities, x, y, z)."""
        return self.encoder((filled(volumes, self.mean) - self.mean) / self.scale * self.mask)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the standardised differences (people, modalities, x, y, z) that codes stand for."""
        start = self.spread(codes).unflatten(1, (-1, *self.small))
        return self.decoder(start) * self.mask

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the decoded standardised differences."""
        return self.decode(self.encode(volumes))

    def losses(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return each modality's mean squared error inside the mask, in units of its variance.

        Modalities that are hidden are to be guessed; those that a person lacks do not count.
        """
        seen = hide(volumes, self.modality_dropout) if self.training and self.modality_dropout else volumes
        error = self(seen) - (filled(volumes, self.mean) - self.mean) / self.scale * self.mask
        return mean_over_present(error.square().sum(dim=(2, 3, 4)) / self.mask.sum(), present(volumes))

    def reconstruct(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the decoded volumes, in [0, 1]."""
        return (self.mean + self(volumes) * self.scale).clip(0, 1)


class ResidualAutoencoder(NetworkModel):
    """``residual_autoencoder`` as the registry knows it."""

    name = "residual_autoencoder"
    handles_missing = True

    def build_network(self) -> nn.Module:
        """Return the untrained network.

        Raises
        ------
        UserError
            When the grid cannot be halved so often.
        """
        factor = 2 ** len(self.options["channels"])
        if any(side % factor for side in self.shape):
            raise UserError(
                f"residual_autoencoder: the grid {'x'.join(map(str, self.shape))} must have sides that are multiples "
                f"of {factor}; set volumes.shape or options.channels"
            )
        return ResidualAutoencoderNetwork(len(self.modalities), self.shape, self.options)

    @property
    def code_size(self) -> int:
        """Option ``code_size``."""
        return int(self.options["code_size"])

    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Train on most of the training people; the others tell when to stop.

        Raises
        ------
        UserError
            When the training people do not differ from each other in a modality.
        """
        learning, held_out = hold_out(people, self.options["validation_fraction"], self.seed)
        mean = learning.mean()
        squares = np.zeros(len(people.modalities))
        for index in range(len(learning)):
            squares += np.nan_to_num((learning[index] - mean)[:, mask] ** 2).mean(axis=1)
        spread = np.sqrt(squares / learning.present().sum(axis=0))
        if not (spread > 0).all():
            flat = people.modalities[int(np.argmin(spread))]
            raise UserError(f"residual_autoencoder: the training people do not differ in '{flat}'")
        network: Any = self.network
        network.set_reference(mean, spread, mask)
        return train_network(
            self, network, 1, learning, training, machine, checkpoints, held_out, self.options["patience"]
        )
