"""3-D convolution of few channels on a GPU, in Triton: what is read once serves several output planes and channels.

General libraries make a convolution a product of matrices, for which one to a few channels are too few: cuDNN 9 takes 90 ms
on an H200 for the weight gradient of one channel of four 128x128x96 images. Here every number that is read is multiplied into
the outputs of all planes along x, and of all channels of the group, that need it; sums are in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch.library import custom_op
from torch.nn import functional

from neurostrata.fusion.layers.direct_convolution import mirrored

#: Planes along x that are computed together.
PLANES = 4
#: Voxels of a plane (y and z as one row) that one warp takes: of the convolution, and of the weight gradient.
SPAN, GRADIENT_SPAN = 128, 128
#: Blocks of the weight gradient that a GPU works on at the same time, about.
BLOCKS = 8192


@triton.jit
def _convolve(  # type: ignore[no-untyped-def]
    image,
    weights,
    bias,
    out,
    groups,
    per_group,
    outputs,
    X,
    Y,
    Z,
    before_x,
    before_y,
    before_z,
    HAS_BIAS: tl.constexpr,
    READ_PLANES: tl.constexpr,
    TAPS_Y: tl.constexpr,
    TAPS_Z: tl.constexpr,
    OUTPUTS: tl.constexpr,
    PLANES: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Compute `SPAN` voxels of `PLANES` planes, of all output channels of one group of one person."""
    place = tl.program_id(0) * SPAN + tl.arange(0, SPAN)
    first_x = tl.program_id(1) * PLANES
    person = tl.program_id(2) // groups
    group = tl.program_id(2) % groups
    area = Y * Z
    y = place // Z
    z = place % Z
    rows = tl.arange(0, OUTPUTS * PLANES)
    total = tl.zeros((OUTPUTS * PLANES, SPAN), dtype=tl.float32)
    for channel in range(0, per_group):
        volume = image + ((person * groups + group) * per_group + channel).to(tl.int64) * X * area
        for tap in range(0, TAPS_Y * TAPS_Z):
            there_y = y + tap // TAPS_Z - before_y
            there_z = z + tap % TAPS_Z - before_z
            there = (there_y >= 0) & (there_y < Y) & (there_z >= 0) & (there_z < Z)
            table = (
                weights
                + ((group * per_group + channel) * TAPS_Y * TAPS_Z + tap) * READ_PLANES * OUTPUTS * PLANES
            )
            for plane in tl.static_range(READ_PLANES):
                x = first_x + plane - before_x + tl.zeros((SPAN,), dtype=tl.int32)
                values = tl.load(
                    volume + x * area + there_y * Z + there_z, mask=there & (x >= 0) & (x < X), other=0.0
                ).to(tl.float32)
                factors = tl.load(table + plane * OUTPUTS * PLANES + rows)
                total += factors[:, None] * values[None, :]
    output = rows // PLANES
    x = first_x + rows % PLANES
    channel = group * (outputs // groups) + output
    kept = (output < outputs // groups) & (x < X)
    if HAS_BIAS:
        total += tl.load(bias + channel, mask=kept, other=0.0).to(tl.float32)[:, None]
    target = out + ((person * outputs + channel).to(tl.int64) * X + x) * area
    tl.store(
        target[:, None] + place[None, :],
        total.to(out.dtype.element_ty),
        mask=kept[:, None] & (place < area)[None, :],
    )


@triton.jit
def _weight_gradient(  # type: ignore[no-untyped-def]
    image,
    gradient,
    out,
    channels,
    per_group,
    outputs,
    outputs_per_group,
    X,
    Y,
    Z,
    before_x,
    before_y,
    before_z,
    spans,
    x_blocks,
    blocks,
    shares,
    TAPS_Z: tl.constexpr,
    READ_PLANES: tl.constexpr,
    PLANES: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Add up products of planes of the image and of the gradient, for one tap along y and z and one pair of channels."""
    tap = tl.program_id(0)
    pair = tl.program_id(1)
    share = tl.program_id(2)
    output = pair // per_group
    channel = output // outputs_per_group * per_group + pair % per_group
    area = Y * Z
    read = tl.arange(0, READ_PLANES)
    planes = tl.arange(0, PLANES)
    total = tl.zeros((READ_PLANES, PLANES, SPAN), dtype=tl.float32)
    for block in range(share, blocks, shares):
        place = block % spans * SPAN + tl.arange(0, SPAN)
        first_x = block // spans % x_blocks * PLANES
        person = block // spans // x_blocks
        there_y = place // Z + tap // TAPS_Z - before_y
        there_z = place % Z + tap % TAPS_Z - before_z
        there = (there_y >= 0) & (there_y < Y) & (there_z >= 0) & (there_z < Z) & (place < area)
        x = first_x + read - before_x
        volume = image + (person * channels + channel).to(tl.int64) * X * area
        values = tl.load(
            volume + x[:, None] * area + (there_y * Z + there_z)[None, :],
            mask=((x >= 0) & (x < X))[:, None] & there[None, :],
            other=0.0,
        ).to(tl.float32)
        x_out = first_x + planes
        above = tl.load(
            gradient
            + (person * outputs + output).to(tl.int64) * X * area
            + x_out[:, None] * area
            + place[None, :],
            mask=(x_out < X)[:, None] & (place < area)[None, :],
            other=0.0,
        ).to(tl.float32)
        total += values[:, None, :] * above[None, :, :]
    sums = tl.sum(total, axis=2)
    target = out + ((share * tl.num_programs(1) + pair) * tl.num_programs(0) + tap) * READ_PLANES * PLANES
    tl.store(target + read[:, None] * PLANES + planes[None, :], sums)


@cache
def _taps_of_planes(taps: int, planes: int, device: torch.device) -> torch.Tensor:
    """Return which tap along x joins a plane that is read with one that is computed, (read, computed); `taps`: none."""
    difference = torch.arange(taps + planes - 1)[:, None] - torch.arange(planes)
    return torch.where((difference >= 0) & (difference < taps), difference, taps).flatten().to(device)


def _tables(weight: torch.Tensor, groups: int, wide: int) -> torch.Tensor:
    """Return the weights as _convolve() reads them: (groups, channels, taps y, taps z, planes read, `wide`, planes)."""
    taps = weight.shape[2]
    parts = weight.float().unflatten(0, (groups, -1))  # groups, outputs, channels, x, y, z
    padded = functional.pad(parts, (0, 0, 0, 0, 0, 1, 0, 0, 0, wide - parts.shape[1]))
    chosen = padded.index_select(3, _taps_of_planes(taps, PLANES, weight.device))
    return chosen.unflatten(3, (-1, PLANES)).permute(0, 2, 5, 6, 3, 1, 4).contiguous()


def _convolved(
    image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int, before: Sequence[int]
) -> torch.Tensor:
    """Return the convolution of images with `before` zeros before their first voxels along x, y, z."""
    people, _, x, y, z = image.shape
    outputs, per_group, taps_x, taps_y, taps_z = weight.shape
    out = torch.empty((people, outputs, x, y, z), dtype=image.dtype, device=image.device)
    wide = triton.next_power_of_2(outputs // groups)
    tables = _tables(weight, groups, wide)
    span = max(32, SPAN // max(1, wide // 2))
    blocks = (triton.cdiv(y * z, span), triton.cdiv(x, PLANES), people * groups)
    _convolve[blocks](
        image, tables, tables if bias is None else bias, out, groups, per_group, outputs, x, y, z, *before,
        bias is not None, taps_x + PLANES - 1, taps_y, taps_z, wide, PLANES, span, num_warps=1,
    )  # fmt: skip
    return out


def _weight_gradients(
    image: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor, groups: int, before: Sequence[int]
) -> torch.Tensor:
    """Return the gradient of the weights."""
    people, channels, x, y, z = image.shape
    outputs, per_group, taps_x, taps_y, taps_z = weight.shape
    pairs, taps = outputs * per_group, taps_y * taps_z
    read = triton.next_power_of_2(taps_x + PLANES - 1)
    spans, x_blocks = triton.cdiv(y * z, GRADIENT_SPAN), triton.cdiv(x, PLANES)
    blocks = people * spans * x_blocks
    shares = max(1, min(blocks, BLOCKS // (pairs * taps)))
    sums = torch.empty((shares, pairs, taps, read, PLANES), dtype=torch.float32, device=image.device)
    _weight_gradient[(taps, pairs, shares)](
        image, gradient, sums, channels, per_group, outputs, outputs // groups, x, y, z, *before, spans, x_blocks,
        blocks, shares, taps_z, read, PLANES, GRADIENT_SPAN, num_warps=1,
    )  # fmt: skip
    # A tap along x joins plane p that is computed with plane p + tap that is read. No atomic additions: the same each time.
    computed = torch.arange(PLANES, device=image.device)
    joined = computed + torch.arange(taps_x, device=image.device)[:, None]
    found = sums.sum(dim=0)[:, :, joined, computed].sum(dim=-1)
    of_weight = found.unflatten(1, (taps_y, taps_z)).movedim(3, 1)
    return of_weight.reshape(weight.shape).to(weight.dtype)


def _before(weight: torch.Tensor) -> list[int]:
    """Return the zeros before the first voxel along x, y, z that keep an image's size."""
    return [(side - 1) // 2 for side in weight.shape[2:]]


# As an operator of torch's own, torch.compile takes it as a whole.
@custom_op("neurostrata::convolution", mutates_args=())
def _operator(
    image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int
) -> torch.Tensor:
    return _convolved(image.contiguous(), weight, bias, groups, _before(weight))


@_operator.register_fake
def _(image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int) -> torch.Tensor:
    return image.new_empty((len(image), len(weight), *image.shape[2:]))


@custom_op("neurostrata::convolution_image_gradient", mutates_args=())
def _image_gradient(gradient: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    after = [side - 1 - first for side, first in zip(weight.shape[2:], _before(weight), strict=True)]
    return _convolved(gradient.contiguous(), mirrored(weight, groups), None, groups, after)


@_image_gradient.register_fake
def _(gradient: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    return gradient.new_empty((len(gradient), weight.shape[1] * groups, *gradient.shape[2:]))


@custom_op("neurostrata::convolution_weight_gradient", mutates_args=())
def _weights_gradient(
    image: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor, groups: int
) -> torch.Tensor:
    return _weight_gradients(image.contiguous(), gradient.contiguous(), weight, groups, _before(weight))


@_weights_gradient.register_fake
def _(image: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    return torch.empty_like(weight, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    image, weight, _, groups = inputs
    ctx.save_for_backward(image, weight)
    ctx.groups = groups


def _gradients(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    image, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad
    return (
        _image_gradient(gradient, weight, ctx.groups) if needed[0] else None,
        _weights_gradient(image, gradient, weight, ctx.groups) if needed[1] else None,
        gradient.sum(dim=(0, 2, 3, 4)) if needed[2] else None,
        None,
    )


_operator.register_autograd(_gradients, setup_context=_keep)


def triton_convolution(
    image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int = 1
) -> torch.Tensor:
    """Return the "same" 3-D convolution at stride 1 of images on a GPU.

    Parameters
    ----------
    image
        (people, channels, x, y, z), float32 or bfloat16.
    weight
        (channels out, channels per group, x, y, z); an even side has its extra tap at the end, as in Keras.
    bias
        (channels out,) or None.
    groups
        Into which channels are divided.

    Returns
    -------
    Tensor, shape (people, channels out, x, y, z)
        Of the image's type; the same to the last bit each time, and so are the gradients.
    """
    result: torch.Tensor = _operator(image, weight, bias, groups)
    return result
