"""3-D convolution of few channels on a GPU, in Triton: what is read once serves several output planes and channels.

General libraries make a convolution a product of matrices, for which one to a few channels are too few: cuDNN 9 takes 90 ms
on an H200 for the weight gradient of one channel of four 128x128x96 images. Here every number that is read is multiplied into
the outputs of all planes along x, and of several channels, that need it; sums are in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import library

#: Output channels that are computed together, at most.
OUTPUTS = 4
# Measured on an H100, layers of 2 x 128x128x96, four people:
#: Planes along x that are computed together by the convolution of one output channel, of several, and by the weight gradient.
PLANES, PLANES_OF_SEVERAL, GRADIENT_PLANES = 16, 4, 8
#: Voxels of a plane (y and z as one row) that one warp takes: of the convolution, of several channels, and of the weight gradient.
SPAN, SPAN_OF_SEVERAL, GRADIENT_SPAN = 64, 128, 128
#: With fewer blocks (of one warp) a convolution takes smaller ones; the weight gradient has about so many.
BLOCKS, GRADIENT_BLOCKS = 2048, 8192


@triton.jit(
    do_not_specialize=[
        "groups", "chunks", "per_group", "outputs", "X", "Y", "Z", "before_x", "before_y", "before_z",
        "output_stride", "channel_stride", "group_stride",
    ]
)  # fmt: skip
def _convolve(  # type: ignore[no-untyped-def]
    image,
    weights,
    bias,
    out,
    groups,
    chunks,
    per_group,
    outputs,
    X,
    Y,
    Z,
    before_x,
    before_y,
    before_z,
    output_stride,
    channel_stride,
    group_stride,
    HAS_BIAS: tl.constexpr,
    MIRRORED: tl.constexpr,
    TAPS_X: tl.constexpr,
    TAPS_Y: tl.constexpr,
    TAPS_Z: tl.constexpr,
    OUTPUTS: tl.constexpr,
    PLANES: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Compute `SPAN` voxels of `PLANES` planes, of `OUTPUTS` channels of one group of one person."""
    place = tl.program_id(0) * SPAN + tl.arange(0, SPAN)
    first_x = tl.program_id(1) * PLANES
    chunk = tl.program_id(2) % chunks
    group = tl.program_id(2) // chunks % groups
    person = tl.program_id(2) // chunks // groups
    area = Y * Z
    none = tl.zeros(
        (SPAN,), dtype=tl.int32
    )  # Triton's interpreter takes no comparison of single numbers as a mask
    y = place // Z
    z = place % Z
    inside = place < area
    first_output = group * (outputs // groups) + chunk * OUTPUTS
    total = (tl.zeros((SPAN,), dtype=tl.float32),) * (OUTPUTS * PLANES)
    AREA: tl.constexpr = TAPS_Y * TAPS_Z
    for channel in range(0, per_group):
        volume = image + ((person * groups + group) * per_group + channel).to(tl.int64) * X * area
        table = weights + group * group_stride + channel * channel_stride + chunk * OUTPUTS * output_stride
        for tap in range(0, AREA):
            move_y = tap // TAPS_Z - before_y
            move_z = tap % TAPS_Z - before_z
            there = (y + move_y >= 0) & (y + move_y < Y) & (z + move_z >= 0) & (z + move_z < Z) & inside
            moved = volume + move_y * Z + move_z
            factors = ()
            for output in tl.static_range(OUTPUTS):
                for tap_x in tl.static_range(TAPS_X):
                    if MIRRORED:
                        weight = (TAPS_X - tap_x) * AREA - 1 - tap
                    else:
                        weight = tap_x * AREA + tap
                    factors = factors + (tl.load(table + output * output_stride + weight).to(tl.float32),)  # type: ignore[assignment]
            for plane in tl.static_range(TAPS_X + PLANES - 1):
                x = first_x + plane - before_x
                values = tl.load(
                    moved + x * area + place, mask=there & (none + x >= 0) & (none + x < X), other=0.0
                ).to(tl.float32)
                sums = ()
                for output in tl.static_range(OUTPUTS):
                    for computed in tl.static_range(PLANES):
                        so_far = total[output * PLANES + computed]
                        if plane - computed >= 0 and plane - computed < TAPS_X:
                            so_far += values * factors[output * TAPS_X + plane - computed]
                        sums = sums + (so_far,)  # type: ignore[assignment]
                total = sums
    for output in tl.static_range(OUTPUTS):
        target = out + (person * outputs + first_output + output).to(tl.int64) * X * area
        added = 0.0
        if HAS_BIAS:
            added = tl.load(bias + first_output + output).to(tl.float32)
        for computed in tl.static_range(PLANES):
            x = first_x + computed
            tl.store(
                target + x * area + place,
                (total[output * PLANES + computed] + added).to(out.dtype.element_ty),
                mask=inside & (none + x < X),
            )


@triton.jit(
    do_not_specialize=[
        "people", "channels", "per_group", "outputs", "outputs_per_group", "X", "Y", "Z", "before_x", "before_y",
        "before_z", "spans", "x_blocks", "shares",
    ]
)  # fmt: skip
def _weight_gradient(  # type: ignore[no-untyped-def]
    image,
    gradient,
    out,
    people,
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
    shares,
    TAPS_X: tl.constexpr,
    TAPS_Z: tl.constexpr,
    PLANES: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Add up products of the image and of the gradient over a share of the planes, for one tap along y and z and one pair of channels."""
    tap = tl.program_id(0)
    pair = tl.program_id(1)
    span = tl.program_id(2) % spans
    share = tl.program_id(2) // spans
    output = pair // per_group
    channel = output // outputs_per_group * per_group + pair % per_group
    area = Y * Z
    none = tl.zeros(
        (SPAN,), dtype=tl.int32
    )  # Triton's interpreter takes no comparison of single numbers as a mask
    place = span * SPAN + tl.arange(0, SPAN)
    move_y = tap // TAPS_Z - before_y
    move_z = tap % TAPS_Z - before_z
    y = place // Z + move_y
    z = place % Z + move_z
    inside = place < area
    there = (y >= 0) & (y < Y) & (z >= 0) & (z < Z) & inside
    total = (tl.zeros((SPAN,), dtype=tl.float32),) * TAPS_X
    for block in range(share, people * x_blocks, shares):
        first_x = block % x_blocks * PLANES
        person = block // x_blocks
        volume = image + (person * channels + channel).to(tl.int64) * X * area + move_y * Z + move_z
        above = gradient + (person * outputs + output).to(tl.int64) * X * area
        slopes = ()
        for plane in tl.static_range(PLANES):
            x = first_x + plane
            slope = tl.load(above + x * area + place, mask=inside & (none + x < X), other=0.0)
            slopes = slopes + (slope.to(tl.float32),)  # type: ignore[assignment]
        for plane in tl.static_range(TAPS_X + PLANES - 1):
            x = first_x + plane - before_x
            values = tl.load(
                volume + x * area + place, mask=there & (none + x >= 0) & (none + x < X), other=0.0
            ).to(tl.float32)
            sums = ()
            for tap_x in tl.static_range(TAPS_X):
                so_far = total[tap_x]
                if plane - tap_x >= 0 and plane - tap_x < PLANES:
                    so_far += values * slopes[plane - tap_x]
                sums = sums + (so_far,)  # type: ignore[assignment]
            total = sums
    # the place of a weight among all weights: (output, channel, x, y, z)
    target = out + (tl.program_id(2) * tl.num_programs(1) + pair) * TAPS_X * tl.num_programs(0) + tap
    for tap_x in tl.static_range(TAPS_X):
        tl.store(target + tap_x * tl.num_programs(0), tl.sum(total[tap_x], axis=0))


def _span(area: int, most: int) -> int:
    """Return how many voxels of a plane one warp takes: a power of 2 from 32 on."""
    return int(min(most, max(32, triton.next_power_of_2(area))))


def _convolved(
    image: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    groups: int,
    before: Sequence[int],
    mirrored: bool = False,
) -> torch.Tensor:
    """Return the convolution of images with `before` zeros before their first voxels along x, y, z.

    With `mirrored` it goes from a layer's outputs to its inputs, with the kernel turned round: the gradient of the image.
    """
    people, _, x, y, z = image.shape
    weight = weight.contiguous()
    per_output = weight[0].numel()
    taps = weight[0, 0].numel()
    outputs, per_group = len(weight) // groups, weight.shape[1]
    strides = (per_output, taps)
    if mirrored:
        outputs, per_group, strides = per_group, outputs, (taps, per_output)
    out = torch.empty((people, outputs * groups, x, y, z), dtype=image.dtype, device=image.device)
    wide = next(number for number in (OUTPUTS, 2, 1) if outputs % number == 0)
    planes, span = (PLANES, SPAN) if wide == 1 else (PLANES_OF_SEVERAL, SPAN_OF_SEVERAL)
    span = _span(y * z, span)
    many = people * groups * (outputs // wide)
    while planes > 2 and many * triton.cdiv(y * z, span) * triton.cdiv(x, planes) < BLOCKS:
        planes //= 2
    blocks = (triton.cdiv(y * z, span), triton.cdiv(x, planes), many)
    _convolve[blocks](
        image, weight, weight if bias is None else bias, out, groups, outputs // wide, per_group, outputs * groups, x, y, z,
        *before, *strides, len(weight) // groups * per_output, bias is not None, mirrored, *weight.shape[2:], wide, planes,
        span, num_warps=1,
    )  # fmt: skip
    return out


def _weight_gradients(
    image: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor, groups: int, before: Sequence[int]
) -> torch.Tensor:
    """Return the gradient of the weights."""
    people, channels, x, y, z = image.shape
    outputs, per_group, taps_x, taps_y, taps_z = weight.shape
    pairs, taps = outputs * per_group, taps_y * taps_z
    span = _span(y * z, GRADIENT_SPAN)
    spans = triton.cdiv(y * z, span)
    planes = GRADIENT_PLANES
    while planes > 2 and taps * pairs * spans * people * triton.cdiv(x, planes) < BLOCKS:
        planes //= 2
    x_blocks = triton.cdiv(x, planes)
    shares = max(1, min(people * x_blocks, GRADIENT_BLOCKS // (pairs * taps * spans)))
    sums = torch.empty((spans * shares, *weight.shape), dtype=torch.float32, device=image.device)
    _weight_gradient[(taps, pairs, spans * shares)](
        image, gradient, sums, people, channels, per_group, outputs, outputs // groups, x, y, z, *before, spans, x_blocks,
        shares, taps_x, taps_z, planes, span, num_warps=1,
    )  # fmt: skip
    # No atomic additions: the sum is the same each time.
    return sums.sum(dim=0).to(weight.dtype)


def _before(weight: torch.Tensor) -> list[int]:
    """Return the zeros before the first voxel along x, y, z that keep an image's size."""
    return [(side - 1) // 2 for side in weight.shape[2:]]


# As an operator of torch's own, torch.compile takes it as a whole.
@library.custom_op("neurostrata::convolution", mutates_args=())
def _operator(
    image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int
) -> torch.Tensor:
    return _convolved(image.contiguous(), weight, bias, groups, _before(weight))


@_operator.register_fake
def _(image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int) -> torch.Tensor:
    return image.new_empty((len(image), len(weight), *image.shape[2:]))


@library.custom_op("neurostrata::convolution_image_gradient", mutates_args=())
def _image_gradient(gradient: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    after = [side - 1 - first for side, first in zip(weight.shape[2:], _before(weight), strict=True)]
    return _convolved(gradient.contiguous(), weight, None, groups, after, mirrored=True)


@_image_gradient.register_fake
def _(gradient: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    return gradient.new_empty((len(gradient), weight.shape[1] * groups, *gradient.shape[2:]))


@library.custom_op("neurostrata::convolution_weight_gradient", mutates_args=())
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
