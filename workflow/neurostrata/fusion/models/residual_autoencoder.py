"""An autoencoder of differences from the mean training person, with a linear code (ours, no paper).

What all people share is given by their mean, so the code has room for what they do not share. It begins as
components with a smooth prior (:mod:`neurostrata.fusion.models.smooth_components`), which a cohort of any size can
support; convolutions add to code and decoded image what these leave, and start at nothing. The loss is the
squared error inside the brain mask, in units of each modality's spread, and training stops when held-out training
people are no longer decoded better: a cohort too small to teach the network anything gets the components.

Codes of people who lack a modality are the expected ones given the others; hiding modalities during
training (modality dropout) teaches the convolutions to do without, too.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.missing import filled, hide, mean_over_present, present
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.layers.blocks import Convolution
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.network import NetworkModel
from neurostrata.fusion.models.smooth_components import Prior, choose_prior, smooth_components
from neurostrata.fusion.training.loop import FEWEST_FOR_VALIDATION, hold_out, train_network
from neurostrata.fusion.training.machine import Machine

#: Channels that are normalised together.
GROUP = 8
#: Memory for the volumes that components are found from; of more people as many are drawn. It is what volumes may take of a
#: training job's 16 GB, but whatever a job was given: that must not change what is learned.
ROWS_BYTES = 6.4e9


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
        ``code_size``, ``channels``, ``linear``, ``modality_dropout``.
    """

    #: Least and greatest value that is decoded; the model sets it.
    value_range = (0.0, 1.0)

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
            decoder += [nn.Upsample(scale_factor=2), _block(Convolution(a, b, (3, 3, 3)), b)]
        decoder += [nn.Upsample(scale_factor=2), Convolution(widths[1], modalities, (3, 3, 3))]
        self.decoder = nn.Sequential(*decoder)
        self.linear = bool(options["linear"])
        self.components: torch.Tensor
        self.variance: torch.Tensor
        self.products: torch.Tensor
        if self.linear:
            size = options["code_size"]
            self.register_buffer("components", torch.zeros(size, modalities, *shape))
            self.register_buffer("variance", torch.full((size,), 1e-12))
            self.register_buffer("products", torch.zeros(modalities, size, size))
            for layer in (self.encoder[-1], self.decoder[-1]):  # the convolutions start at nothing
                nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
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

    def set_components(self, components: np.ndarray, variance: np.ndarray) -> None:
        """Take over components (number, modalities * voxels of the mask) and their variances; the rest of the code is 0."""
        inside = self.mask.bool()
        rows = torch.from_numpy(components).unflatten(1, (self.mean.shape[0], -1)).to(self.mean.device)
        self.components.zero_()
        self.variance.fill_(1e-12)
        self.components[: len(rows), :, inside] = rows
        self.variance[: len(rows)] = torch.from_numpy(variance.astype(np.float32))
        flat = self.components.flatten(2)
        self.products.copy_(torch.einsum("amv,bmv->mab", flat, flat))

    def linear_code(self, differences: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Return scores on the components; where modalities are missing the expected ones given the others.

        Standardised voxels have variance 1, of which the noise is what the components leave.
        """
        scores = torch.einsum("amxyz,pmxyz->pa", self.components, differences)
        if there.all():
            return scores
        voxels = self.mask.sum() * len(self.mean)
        noise = (1 - self.variance.sum() / voxels).clamp_min(1e-3)
        precision = torch.einsum("pm,mab->pab", there.to(scores.dtype), self.products)
        precision = precision + torch.diag(noise / self.variance)
        expected = torch.linalg.solve(precision.double(), scores.double()).to(scores.dtype)
        return torch.where(there.all(dim=1, keepdim=True), scores, expected)

    def encode(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the codes of volumes (people, modalities, x, y, z)."""
        differences = (filled(volumes, self.mean) - self.mean) / self.scale * self.mask
        code = self.encoder(differences)
        return code + self.linear_code(differences, present(volumes)) if self.linear else code

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the standardised differences (people, modalities, x, y, z) decoded from codes."""
        image = self.decoder(self.spread(codes).unflatten(1, (-1, *self.small)))
        if self.linear:
            image = image + torch.einsum("amxyz,pa->pmxyz", self.components, codes)
        return image * self.mask

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the decoded standardised differences."""
        return self.decode(self.encode(volumes))

    def losses(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return each modality's mean squared error inside the mask, in units of its variance.

        Hidden modalities are to be predicted; missing ones do not count.
        """
        seen = hide(volumes, self.modality_dropout) if self.training and self.modality_dropout else volumes
        error = self(seen) - (filled(volumes, self.mean) - self.mean) / self.scale * self.mask
        return mean_over_present(error.square().sum(dim=(2, 3, 4)) / self.mask.sum(), present(volumes))

    def decode_volumes(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the volumes (people, modalities, x, y, z) decoded from codes, in the range of the volumes."""
        return (self.mean + self.decode(codes) * self.scale).clip(*self.value_range)

    def reconstruct(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the decoded volumes."""
        return self.decode_volumes(self.encode(volumes))


class ResidualAutoencoder(NetworkModel):
    """``residual_autoencoder`` as the registry knows it."""

    name = "residual_autoencoder"
    handles_missing = True
    decodes = True

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

        When the convolutions teach the network nothing about the others, the components are found once more
        from all training people.

        Raises
        ------
        UserError
            When the training people do not differ from each other in a modality.
        """
        learning, held_out = hold_out(people, self.options["validation_fraction"], self.seed)
        prior = Prior()
        if self.options["linear"]:
            prior = self._prior(people, mask)
        self._set_reference(learning, mask, prior)
        history = train_network(
            self,
            self.network,
            1,
            learning,
            training,
            machine,
            checkpoints,
            held_out,
            self.options["patience"],
        )
        if self.options["linear"] and held_out is not None and history["best_epoch"].iloc[-1] == 0:
            self._set_reference(people, mask, prior)
        if self.options["linear"]:
            history["prior_weight"], history["prior_width"] = prior.weight, prior.width
            history["prior_mirror"] = int(prior.mirror)
        return history

    def _rows(self, people: VolumeSet, mask: np.ndarray) -> np.ndarray:
        """Return standardised differences (people, modalities, voxels) of who has all modalities, as many as fit."""
        complete = np.flatnonzero(people.present().all(axis=1))
        room = max(2, int(ROWS_BYTES / (12 * len(people.modalities) * mask.sum())))
        if len(complete) > room:
            print(
                f"training: components of {room} of the {len(complete)} people, drawn at random",
                file=sys.stderr,
                flush=True,
            )
            complete = np.sort(np.random.default_rng([self.seed, 6]).permutation(complete)[:room])
        if len(complete) < 2:
            raise UserError(
                f"residual_autoencoder: {len(complete)} training people with all modalities, at least 2 are needed"
            )
        rows = np.stack([people[int(i)][:, mask] for i in complete])
        rows -= rows.mean(axis=0)
        rows /= np.sqrt((rows**2).mean(axis=(0, 2))).clip(1e-12)[None, :, None]
        return rows

    def _prior(self, people: VolumeSet, mask: np.ndarray) -> Prior:
        """Choose the components' prior within the training people."""
        rows = self._rows(people, mask)
        if len(rows) < FEWEST_FOR_VALIDATION or not rows.any(axis=(0, 2)).all():
            return Prior()
        prior, tried = choose_prior(rows, mask, int(self.options["code_size"]), self.seed)
        self.tried = tried
        return prior

    def _set_reference(self, learning: VolumeSet, mask: np.ndarray, prior: Prior) -> None:
        """Learn mean, spread and components from these people."""
        mean = learning.mean()
        squares = np.zeros(len(learning.modalities))
        for index in range(len(learning)):
            squares += np.nan_to_num((learning[index] - mean)[:, mask] ** 2).mean(axis=1)
        spread = np.sqrt(squares / learning.present().sum(axis=0))
        if not (spread > 0).all():
            flat = learning.modalities[int(np.argmin(spread))]
            raise UserError(f"residual_autoencoder: the training people do not differ in '{flat}'")
        network: Any = self.network
        network.set_reference(mean, spread, mask)
        if self.options["linear"]:
            rows = self._rows(learning, mask)
            network.set_components(
                *smooth_components(rows, mask, int(self.options["code_size"]), prior, self.seed)
            )
