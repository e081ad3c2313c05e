"""The variational autoencoder that all modalities share (Geenjaar et al. 2021, III)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from neurostrata.fusion.data.missing import mean_over_present, present
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.layers.blocks import Convolution
from neurostrata.fusion.layers.output_offset import artanh, output_offset
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.network import NetworkModel
from neurostrata.fusion.training.loop import hold_out, train_network
from neurostrata.fusion.training.machine import Machine


def halved(shape: tuple[int, int, int], times: int) -> list[tuple[int, int, int]]:
    """Return the grids after 0..times strided convolutions: sides n become ceil(n / 2) (III.D: 53, 27, 14, 7, 4)."""
    grids = [shape]
    for _ in range(times):
        x, y, z = grids[-1]
        grids.append(((x + 1) // 2, (y + 1) // 2, (z + 1) // 2))
    return grids


class SharedVAENetwork(nn.Module):
    """One encoder and one decoder; a volume of any modality goes in as an image of one channel.

    3-voxel kernels, stride 2, padding 1, ReLU. The decoder's first layers double the sides, an output padding
    of 0 or 1 meeting the encoder's grids; two more layers of stride 1 follow (five doublings, as the text
    says, would make the code's sides 32 times as large, and four are needed), the last without bias, then tanh.

    Parameters
    ----------
    modalities
        How many there are. Nothing is learned for each but `usual`, its mean code over the training people,
        which replaces it where it is missing, and with an output offset its mean image.
    shape
        Voxels along x, y, z.
    options
        ``latent_size``, ``channels``, ``output_offset``.
    """

    #: Least and greatest value that is decoded; the model sets it.
    value_range = (0.0, 1.0)

    def __init__(self, modalities: int, shape: tuple[int, int, int], options: Mapping[str, Any]) -> None:
        super().__init__()
        channels, latent = list(options["channels"]), int(options["latent_size"])
        grids = halved(shape, len(channels))
        self.recordable = True
        self.start = (channels[-1], *grids[-1])
        flat = int(np.prod(self.start))
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(nn.Conv3d(a, b, 3, stride=2, padding=1), nn.ReLU())
                for a, b in itertools.pairwise([1, *channels])
            ),
            nn.Flatten(),
        )
        self.to_mean = nn.Linear(flat, latent)
        self.to_log_variance = nn.Linear(flat, latent)
        self.from_latent = nn.Linear(latent, flat)
        narrow = channels[0] // 2
        layers: list[nn.Module] = []
        widths = [*reversed(channels), narrow]
        for (a, b), small, large in zip(itertools.pairwise(widths), grids[:0:-1], grids[-2::-1], strict=True):
            padding = tuple(n - (2 * m - 1) for m, n in zip(small, large, strict=True))
            layers += [
                nn.ConvTranspose3d(a, b, 3, stride=2, padding=1, output_padding=padding),  # type: ignore[arg-type]
                nn.ReLU(),
            ]
        layers += [Convolution(narrow, narrow // 2, (3, 3, 3)), nn.ReLU()]
        layers += [Convolution(narrow // 2, 1, (3, 3, 3), bias=False), nn.Tanh()]
        self.decoder = nn.Sequential(*layers)
        self.offset = output_offset(options, modalities, shape, artanh)
        self.usual: torch.Tensor
        self.register_buffer("usual", torch.zeros(modalities, latent))

    @staticmethod
    def as_samples(volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the volumes as (people * modalities, 1, x, y, z), divided by their maxima, and the maxima (III.C)."""
        samples = volumes.flatten(0, 1)[:, None].nan_to_num(nan=0.0)
        largest = samples.abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-6)
        return samples / largest, largest

    def posterior(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-variance of each sample's latent variable."""
        features = self.encoder(samples)
        return self.to_mean(features), self.to_log_variance(features)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Return images (samples, 1, x, y, z) in [-1, 1] of latent positions (samples, latent_size).

        Samples are those of :meth:`as_samples`: every modality of a person, then of the next.
        """
        features = self.from_latent(latent).unflatten(1, self.start)
        if self.offset is None:
            return self.decoder(features)
        images = self.decoder[:-1](features).squeeze(1).unflatten(0, (-1, len(self.usual)))
        return self.decoder[-1](self.offset(images)).flatten(0, 1)[:, None]

    def decode_volumes(self, codes: torch.Tensor) -> torch.Tensor:
        """Return volumes (people, modalities, x, y, z), over their maxima, of codes (people, modalities * latent_size)."""
        count, latent = self.usual.shape
        images = self.decode(codes.unflatten(1, (count, latent)).flatten(0, 1))
        return images.squeeze(1).unflatten(0, (len(codes), count))

    def forward(self, volumes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return samples, decoded samples, means and log-variances; drawn from the posterior while training."""
        samples, _ = self.as_samples(volumes)
        mean, log_variance = self.posterior(samples)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return samples, self.decode(mean + noise * (0.5 * log_variance).exp()), mean, log_variance

    def losses(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the negative evidence bound of each modality, mean over people.

        Half the summed squared error (a Gaussian likelihood of variance 1) plus the summed divergence from the
        standard normal prior. With a mean instead of the sum over voxels the posterior collapses.
        """
        samples, decoded, mean, log_variance = self(volumes)
        error = 0.5 * functional.mse_loss(decoded, samples, reduction="none").sum(dim=(1, 2, 3, 4))
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        return mean_over_present((error + divergence).unflatten(0, volumes.shape[:2]), present(volumes))

    def codes(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the posterior means (people, modalities, latent_size); a missing modality has its usual code."""
        mean, _ = self.posterior(self.as_samples(volumes)[0])
        return torch.where(present(volumes)[:, :, None], mean.unflatten(0, volumes.shape[:2]), self.usual)

    def encode(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the posterior means of a person's modalities, one after the other (III.B)."""
        return self.codes(volumes).flatten(1)

    def reconstruct(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the decoded posterior means, in the units and the range of the volumes."""
        _, largest = self.as_samples(volumes)
        largest = torch.where(present(volumes).flatten()[:, None, None, None, None], largest, 1.0)
        decoded = self.decode(self.codes(volumes).flatten(0, 1)) * largest
        return decoded.squeeze(1).unflatten(0, volumes.shape[:2]).clip(*self.value_range)


class SharedVAE(NetworkModel):
    """``shared_vae`` as the registry knows it."""

    name = "shared_vae"
    handles_missing = True
    decodes = True

    def build_network(self) -> nn.Module:
        """Return the untrained network; its size does not depend on the number of modalities."""
        return SharedVAENetwork(len(self.modalities), self.shape, self.options)

    @property
    def code_size(self) -> int:
        """``latent_size`` for each modality."""
        return int(self.options["latent_size"]) * len(self.modalities)

    @property
    def code_modalities(self) -> list[str | None]:
        """``latent_size`` numbers of each modality, one modality after the other."""
        return [name for name in self.modalities for _ in range(int(self.options["latent_size"]))]

    def scales(self, volumes: np.ndarray) -> np.ndarray:
        """Return the volumes' maxima, shape (people, modalities); 1 where a modality is missing."""
        largest = np.maximum(np.abs(volumes).max(axis=(2, 3, 4)), 1e-6)
        return np.where(np.isnan(largest), 1.0, largest)

    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Train on most of the training people; a tenth of them tells when to stop (III.B)."""
        learning, held_out = hold_out(people, self.options["validation_fraction"], self.seed)
        patience = self.options["patience"]
        self.set_offset(learning)
        history = train_network(
            self, self.network, 1, learning, training, machine, checkpoints, held_out, patience
        )
        network: Any = self.network
        device = network.usual.device
        total = torch.zeros_like(network.usual)
        with torch.inference_mode():
            for index in range(len(learning)):
                volumes = torch.from_numpy(learning[index])[None].to(device)
                total += network.codes(volumes)[0] * present(volumes)[0][:, None]
        counts = torch.from_numpy(learning.present().sum(axis=0)).to(device)
        network.usual.copy_(total / counts[:, None].clamp_min(1))
        return history
