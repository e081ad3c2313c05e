"""The training people's mean image, added before a decoder's output function.

A decoder of few channels that knows no positions (Dimitri 2022's ends in one channel and 5x6x5 kernels) needs its whole
capacity to draw the image that all people share, and draws it badly. Given that image, it is left with what
people differ by, and a decoder that learned nothing gives the mean image: the baseline that it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from neurostrata.fusion.data.volumes import VolumeSet

#: Mean images are kept this far from the ends of a bounded output function's range, where its inverse is infinite.
MARGIN = 1e-4


def logit(image: torch.Tensor) -> torch.Tensor:
    """Return what a sigmoid turns into an image in [0, 1], cut by :data:`MARGIN`."""
    return torch.logit(image, eps=MARGIN)


def artanh(image: torch.Tensor) -> torch.Tensor:
    """Return what a hyperbolic tangent turns into an image in [-1, 1], cut by :data:`MARGIN`."""
    return torch.atanh(image.clamp(-1 + MARGIN, 1 - MARGIN))


class OutputOffset(nn.Module):
    """A fixed image (modalities, x, y, z) that is added to decoded images (people, modalities, x, y, z).

    It is a buffer: kept with the weights, not trained, not among the parameters.

    Parameters
    ----------
    modalities
        How many.
    shape
        Voxels along x, y, z.
    inverse
        The inverse of the output function; the identity by default.
    """

    def __init__(
        self,
        modalities: int,
        shape: tuple[int, int, int],
        inverse: Callable[[torch.Tensor], torch.Tensor] = lambda image: image,
    ) -> None:
        super().__init__()
        self.inverse = inverse
        self.image: torch.Tensor
        self.register_buffer("image", torch.zeros(modalities, *shape))

    def set_mean(self, mean: np.ndarray, modality: int | None = None) -> None:
        """Take over a mean image (modalities, x, y, z), in the output's units, or that of one modality alone."""
        chosen = slice(None) if modality is None else slice(modality, modality + 1)
        self.image[chosen].copy_(self.inverse(torch.from_numpy(mean))[chosen])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images with the offset added."""
        return images + self.image


def output_offset(
    options: Mapping[str, Any],
    modalities: int,
    shape: tuple[int, int, int] | None,
    inverse: Callable[[torch.Tensor], torch.Tensor] = lambda image: image,
) -> OutputOffset | None:
    """Return what the option ``output_offset`` asks for: "none" (also where it is not given), or "mean".

    Raises
    ------
    ValueError
        When an offset is asked for and the grid is not known.
    """
    if options.get("output_offset") != "mean":
        return None
    if shape is None:
        raise ValueError("output_offset: the grid must be known")
    return OutputOffset(modalities, shape, inverse)


def mean_of(people: VolumeSet, scales: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the mean over people of their volumes over a scale, one person at a time.

    Parameters
    ----------
    people
        The training people.
    scales
        Gives what each volume is divided by, shape (people, modalities), of volumes
        (people, modalities, x, y, z) in which missing modalities are NaN throughout.

    Returns
    -------
    ndarray, shape (modalities, x, y, z), float32
        Over those who have a modality; 0 where nobody does.
    """
    total = np.zeros((len(people.modalities), *people.shape))
    for index in range(len(people)):
        volumes = people[index]
        scale = np.asarray(scales(volumes[None]))[0][:, None, None, None]
        total += np.nan_to_num(volumes / scale, nan=0.0)
    counts = people.present().sum(axis=0)
    return (total / np.maximum(counts, 1)[:, None, None, None]).astype(np.float32)
