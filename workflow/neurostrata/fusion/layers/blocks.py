"""The building blocks of the separable autoencoder (Dimitri 2022, 2.1.3 and Fig. 3), in torch.

Images are tensors (people, channels, x, y, z). Weights start as Keras starts them (Glorot uniform,
biases 0), since the paper's model was written in Keras.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache

import torch
from torch import nn
from torch.nn import functional

from neurostrata.fusion.layers.batch_normalisation import BatchNormalisation
from neurostrata.fusion.layers.direct_convolution import direct_convolution

#: Largest product of a group's channels in and out for which direct_convolution() is the faster way on a CPU (measured).
DIRECT_LIMIT = 128
#: The same for triton_convolution() on a GPU, and for kernels of one voxel (measured on an H100).
TRITON_LIMIT, TRITON_POINT_LIMIT = 128, 1024


class Convolution(nn.Conv3d):
    """3-D convolution at stride 1 that keeps an image's size; one of few channels is done directly.

    torch's "same" pads as Keras does: k - 1 voxels in all, the odd one at the end (6: 2 before, 3 after).
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: Sequence[int], groups: int = 1, bias: bool = True
    ) -> None:
        sides = (kernel[0], kernel[1], kernel[2])
        super().__init__(channels_in, channels_out, sides, padding="same", groups=groups, bias=bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the convolved image, as large as the image."""
        pairs = self.in_channels // self.groups * (self.out_channels // self.groups)
        here = input.device.type == "cpu" and input.dtype == torch.float32
        if here and pairs <= DIRECT_LIMIT and max(self.kernel_size) > 1:
            return direct_convolution(input, self.weight, self.bias, self.groups)
        limit = TRITON_LIMIT if max(self.kernel_size) > 1 else TRITON_POINT_LIMIT
        if input.device.type == "cuda" and pairs <= limit and has_triton():
            from neurostrata.fusion.layers.triton_convolution import triton_convolution

            kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else input.dtype
            bias = None if self.bias is None else self.bias.to(kind)
            return triton_convolution(input.to(kind), self.weight.to(kind), bias, self.groups)
        return super().forward(input)


@cache
def has_triton() -> bool:
    """Tell whether Triton is there; it comes with torch's builds for GPUs on Linux."""
    return importlib.util.find_spec("triton") is not None


class KerasConvolution(Convolution):
    """A convolution with Keras's initial weights."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: Sequence[int], groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, groups, bias)
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class ConvolutionBlock(nn.Sequential):
    """Convolution (plain, or depthwise then pointwise), batch normalisation, ELU, dropout.

    Parameters
    ----------
    channels_in, channels_out
        Numbers of channels.
    kernel
        Kernel sides along x, y, z.
    separable
        One filter per channel, then a 1x1x1 convolution across channels.
    dropout
        Rate; single numbers are dropped, not channels.
    momentum
        Momentum of the running averages, in torch's convention.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sequence[int],
        *,
        separable: bool = False,
        dropout: float = 0.1,
        momentum: float = 0.01,
    ) -> None:
        if separable:
            convolution = [
                KerasConvolution(channels_in, channels_in, kernel, groups=channels_in, bias=False),
                KerasConvolution(channels_in, channels_out, (1, 1, 1)),
            ]
        else:
            convolution = [KerasConvolution(channels_in, channels_out, kernel)]
        super().__init__(
            *convolution,
            BatchNormalisation(channels_out, eps=1e-3, momentum=momentum),  # Keras's epsilon
            nn.ELU(),
            nn.Dropout(dropout),
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the block's features; in training on a GPU what follows the convolution is one pass."""
        *convolutions, normalisation, _, dropout = self
        # torch.compile joins the layers by itself; several GPUs have another normalisation, which sees the whole batch.
        alone = type(normalisation) is BatchNormalisation and not torch.compiler.is_compiling()
        if not (self.training and input.device.type == "cuda" and alone and has_triton()):
            return super().forward(input)
        for convolution in convolutions:
            input = convolution(input)
        features: torch.Tensor = normalisation.activated(input, dropout.p)  # type: ignore[operator]
        return features


class MidFlow(nn.Module):
    """Three separable convolution blocks, added to an identity path."""

    def __init__(self, channels: int, kernel: Sequence[int], dropout: float, momentum: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                ConvolutionBlock(
                    channels, channels, kernel, separable=True, dropout=dropout, momentum=momentum
                )
                for _ in range(3)
            )
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return image + blocks(image)."""
        return image + self.blocks(image)


def halve(image: torch.Tensor, size: int) -> torch.Tensor:
    """Max pooling with stride 2 and a window of `size` (2 or 3); sides must be even.

    With 3 the window reaches one voxel beyond the pair, at its end, as Keras's "same" has it. The
    window of 2 is written as a maximum over axes: unlike max_pool3d it has a deterministic
    gradient on a GPU.
    """
    if size == 2:
        people, channels, x, y, z = image.shape
        return image.reshape(people, channels, x // 2, 2, y // 2, 2, z // 2, 2).amax((3, 5, 7))
    return functional.max_pool3d(functional.pad(image, [0, 1] * 3, value=float("-inf")), size, stride=2)


def double(image: torch.Tensor) -> torch.Tensor:
    """Nearest-neighbour upsampling by 2, written so that its gradient is a plain (deterministic) sum."""
    people, channels, x, y, z = image.shape
    grid = image.reshape(people, channels, x, 1, y, 1, z, 1).expand(people, channels, x, 2, y, 2, z, 2)
    return grid.reshape(people, channels, 2 * x, 2 * y, 2 * z)
