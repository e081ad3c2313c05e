"""Encoders and decoders of ``latent_synthesis``, and the slices they work on (Chartsias et al. 2018, IV)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from neurostrata.fusion.models.interface import PLANES

#: Slope below 0; the paper names none, Keras's default is 0.3.
SLOPE = 0.3


def as_slices(volumes: torch.Tensor, plane: str) -> torch.Tensor:
    """Return the slices (people * slices, channels, height, width) of volumes (people, channels, x, y, z)."""
    return volumes.movedim(2 + PLANES[plane], 1).flatten(0, 1)


def as_volumes(slices: torch.Tensor, people: int, plane: str) -> torch.Tensor:
    """Return the volumes that :func:`as_slices` cut up."""
    return slices.unflatten(0, (people, -1)).movedim(1, 2 + PLANES[plane])


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    # IV-A: "pad the images by repeating the border pixels"
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.LeakyReLU(SLOPE),
        _convolution(outputs, outputs),
        nn.LeakyReLU(SLOPE),
    )


class Encoder(nn.Module):
    """A slice to its latent image: a U-Net with two poolings (Fig. 2).

    Parameters
    ----------
    inputs
        1, or 2 with a lesion mask.
    channels
        At full, half and quarter resolution.
    latent
        Channels of the latent image.
    """

    def __init__(self, inputs: int, channels: Sequence[int], latent: int) -> None:
        super().__init__()
        full, half, quarter = channels
        self.down1 = _pair(inputs, full)
        self.down2 = _pair(full, half)
        self.bottom = _pair(half, quarter)
        self.widen2 = _convolution(quarter, half)
        self.up2 = _pair(2 * half, half)
        self.widen1 = _convolution(half, full)
        self.up1 = _pair(2 * full, full)
        self.latent = nn.Sequential(_convolution(full, latent), nn.LeakyReLU(SLOPE))

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Return latent images (slices, latent, height, width) of slices (slices, inputs, height, width)."""
        full = self.down1(slices)
        half = self.down2(functional.max_pool2d(full, 2))
        quarter = self.bottom(functional.max_pool2d(half, 2))
        up = self.widen2(functional.interpolate(quarter, scale_factor=2))
        up = self.up2(torch.cat([half, up], dim=1))
        up = self.widen1(functional.interpolate(up, scale_factor=2))
        return self.latent(self.up1(torch.cat([full, up], dim=1)))


class Decoder(nn.Module):
    """A latent image to a slice: two residual blocks whose input is kept by concatenation, then 1x1 (Fig. 3).

    Parameters
    ----------
    latent
        Channels of the latent image.
    channels
        Channels of the convolutions.
    """

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__()
        self.block1 = _pair(latent, channels)
        self.block2 = _pair(latent + channels, channels)
        self.last = nn.Conv2d(latent + 2 * channels, 1, 1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return slices (slices, 1, height, width)."""
        first = torch.cat([latent, self.block1(latent)], dim=1)
        return self.last(torch.cat([first, self.block2(first)], dim=1))


def glorot(layer: nn.Module) -> None:
    """Set a convolution's weights as Keras does; torch's own start is so small that many layers would fade."""
    if isinstance(layer, nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
