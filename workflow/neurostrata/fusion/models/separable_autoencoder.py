"""The multimodal separable-convolution autoencoder of Dimitri 2022 (2.1, Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.missing import filled, hide, mean_over_present, present
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.layers.blocks import ConvolutionBlock, KerasConvolution, MidFlow, double, halve
from neurostrata.fusion.layers.output_offset import logit, output_offset
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.network import NetworkModel
from neurostrata.fusion.training.machine import Machine

#: Channels after 0..5 halvings: sides 128, 64, 32, 16, 8, 4 in the paper.
CHANNELS = (1, 2, 4, 8, 16, 32)
STEPS = len(CHANNELS) - 1


class EncoderStep(nn.Module):
    """conv, mid-flow, "down"conv: sides halve, channels double."""

    def __init__(self, channels_in: int, channels_out: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        kernel, rates = options["kernel_size"], (options["dropout"], options["batch_norm_momentum"])
        self.conv = ConvolutionBlock(channels_in, channels_in, kernel, dropout=rates[0], momentum=rates[1])
        self.mid = MidFlow(channels_in, kernel, *rates)
        self.down = ConvolutionBlock(channels_in, channels_out, kernel, dropout=rates[0], momentum=rates[1])
        self.pooling_size = int(options["pooling_size"])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the features one level down."""
        return halve(self.down(self.mid(self.conv(image))), self.pooling_size)


class DecoderStep(nn.Module):
    """ "up"conv, concatenation with the encoder's features of that depth, mid-flow, conv.

    The step to the full grid has no skip connection (that would be the raw input) and ends with a bare
    convolution, whose sigmoid is taken by the caller.
    """

    def __init__(
        self, channels_in: int, channels_out: int, options: Mapping[str, Any], *, skip: bool, last: bool
    ) -> None:
        super().__init__()
        kernel, rates = options["kernel_size"], (options["dropout"], options["batch_norm_momentum"])
        wide = 2 * channels_out if skip else channels_out
        self.up = ConvolutionBlock(channels_in, channels_out, kernel, dropout=rates[0], momentum=rates[1])
        self.mid = MidFlow(wide, kernel, *rates)
        self.conv: nn.Module
        if last:
            self.conv = KerasConvolution(wide, channels_out, kernel)
        else:
            self.conv = ConvolutionBlock(wide, channels_out, kernel, dropout=rates[0], momentum=rates[1])

    def forward(self, image: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """Return the features one level up."""
        image = self.up(double(image))
        if skip is not None:
            image = torch.cat([image, skip], dim=1)
        return self.conv(self.mid(image))


class SeparableAutoencoderNetwork(nn.Module):
    """One encoder and one decoder per modality around one fused code.

    Parameters
    ----------
    modalities
        How many.
    options
        ``skip_connections``, ``kernel_size``, ``pooling_size``, ``dropout``, ``batch_norm_momentum``,
        ``modality_dropout``, ``output_offset``.
    shape
        Voxels along x, y, z; only needed with modality dropout, an output offset, and for decoding codes.
    """

    def __init__(
        self, modalities: int, options: Mapping[str, Any], shape: tuple[int, int, int] | None = None
    ) -> None:
        super().__init__()
        self.modality_dropout = float(options.get("modality_dropout", 0.0))
        self.recordable = not self.modality_dropout  # which modalities are hidden is drawn on the CPU
        if self.modality_dropout and shape is not None:
            self.register_buffer("mean", torch.zeros(modalities, *shape))
        self.skip_connections = bool(options["skip_connections"])
        self.small = tuple(side // 2**STEPS for side in shape or ())
        self.encoders = nn.ModuleList(
            nn.ModuleList(EncoderStep(CHANNELS[i], CHANNELS[i + 1], options) for i in range(STEPS))
            for _ in range(modalities)
        )
        self.fusion = ConvolutionBlock(
            modalities * CHANNELS[-1],
            CHANNELS[-1],
            options["kernel_size"],
            dropout=options["dropout"],
            momentum=options["batch_norm_momentum"],
        )
        self.decoders = nn.ModuleList(
            nn.ModuleList(
                DecoderStep(
                    CHANNELS[i + 1], CHANNELS[i], options, skip=self.skip_connections and i > 0, last=i == 0
                )
                for i in reversed(range(STEPS))
            )
            for _ in range(modalities)
        )
        self.offset = output_offset(options, modalities, shape, logit)

    def features(self, volumes: torch.Tensor) -> tuple[torch.Tensor, list[list[torch.Tensor]]]:
        """Encode volumes (people, modalities, x, y, z).

        Returns
        -------
        code : Tensor, shape (people, 32, x/32, y/32, z/32)
            The fused code.
        skips : list of list of Tensor
            Per modality the features at 1/2, 1/4, 1/8 and 1/16 of the sides (empty without skip connections).
        """
        if self.modality_dropout:
            volumes = filled(volumes, self.mean)  # type: ignore[arg-type]
        ends, skips = [], []
        for modality, steps in enumerate(self.encoders):
            image, kept = volumes[:, modality : modality + 1], []
            for step in steps:  # type: ignore[attr-defined]
                image = step(image)
                kept.append(image)
            ends.append(image)
            skips.append(kept[:-1] if self.skip_connections else [])
        return self.fusion(torch.cat(ends, dim=1)), skips

    def decode(
        self, code: torch.Tensor, skips: Sequence[Sequence[torch.Tensor]] | None = None
    ) -> torch.Tensor:
        """Decode a code, with the `skips` of :meth:`features`, to logits (people, modalities, x, y, z).

        Raises
        ------
        ValueError
            When the network has skip connections and none are given: it cannot decode from the code alone.
        """
        if self.skip_connections and not skips:
            raise ValueError("a network with skip connections does not decode from its code alone")
        images = []
        for modality, steps in enumerate(self.decoders):
            image, kept = code, list(skips[modality]) if skips else []
            for step in steps:  # type: ignore[attr-defined]
                image = step(image, kept.pop() if kept else None)
            images.append(image)
        logits = torch.cat(images, dim=1)
        return logits if self.offset is None else self.offset(logits)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the logits of the decoded volumes."""
        return self.decode(*self.features(volumes))

    def losses(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the binary cross-entropy of each modality (Fig. 2's caption); the loss is their mean.

        With modality dropout, hidden modalities are to be predicted; missing ones do not count.
        """
        seen, there = volumes, None
        if self.modality_dropout:
            there = present(volumes)
            seen = hide(volumes, self.modality_dropout) if self.training else volumes
            volumes = filled(volumes, self.mean)  # type: ignore[arg-type]
        entropy = functional.binary_cross_entropy_with_logits(self(seen), volumes, reduction="none")
        if there is None:
            return entropy.mean(dim=(0, 2, 3, 4))
        return mean_over_present(entropy.mean(dim=(2, 3, 4)), there)

    def encode(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the fused code as rows of numbers (channel, x, y, z in C order)."""
        return self.features(volumes)[0].flatten(1)

    def reconstruct(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the decoded volumes, in [0, 1]."""
        return torch.sigmoid(self(volumes))

    def decode_volumes(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the volumes that codes (people, code_size) decode to, in [0, 1]."""
        return torch.sigmoid(self.decode(codes.unflatten(1, (CHANNELS[-1], *self.small))))


class SeparableAutoencoder(NetworkModel):
    """``separable_autoencoder`` as the registry knows it."""

    name = "separable_autoencoder"

    def build_network(self) -> nn.Module:
        """Return the untrained network.

        Raises
        ------
        UserError
            When a side of the grid is no multiple of 32.
        """
        if any(side % 2**STEPS or side < 2**STEPS for side in self.shape):
            raise UserError(
                f"separable_autoencoder: the grid {'x'.join(map(str, self.shape))} must have sides that "
                f"are multiples of {2**STEPS}; set volumes.shape"
            )
        return SeparableAutoencoderNetwork(len(self.modalities), self.options, self.shape)

    @property
    def handles_missing(self) -> bool:  # type: ignore[override]
        """With modality dropout, which the paper does not have."""
        return bool(self.options.get("modality_dropout"))

    @property
    def decodes(self) -> bool:  # type: ignore[override]
        """Without skip connections: with them an image is not decoded from its code alone."""
        return not self.options["skip_connections"]

    def fit(
        self,
        people: VolumeSet,
        mask: np.ndarray,
        training: TrainingSettings,
        machine: Machine,
        checkpoints: Path | None = None,
    ) -> pd.DataFrame:
        """Train the network; with modality dropout missing modalities are replaced by the mean training image."""
        if self.handles_missing:
            self.network.mean.copy_(torch.from_numpy(people.mean()))  # type: ignore[operator]
        return super().fit(people, mask, training, machine, checkpoints)

    @property
    def code_size(self) -> int:
        """32 numbers for each 32x32x32 voxels (1536 at 128x128x96)."""
        x, y, z = (side // 2**STEPS for side in self.shape)
        return CHANNELS[-1] * x * y * z

    @property
    def smallest_batch(self) -> int:
        """Batch normalisation needs two values per channel; a person has one in a 1x1x1 code."""
        return 2 if self.code_size == CHANNELS[-1] else 1
