"""Batch normalisation, ELU and dropout in one pass over an image on a GPU, in Triton.

As layers of their own they read and write the image about ten times on the way there and fifteen times on the way back, in
some forty kernels. Here it is twice and three times, in two kernels each way; what dropout drew is drawn again instead of kept.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

#: Voxels that a block takes at once: four times as many, since random numbers come in fours.
QUARTER = 256
#: Blocks that sum up one channel together, at most.
SHARES = 256


@triton.jit(do_not_specialize=["people", "channels", "voxels", "blocks", "shares"])
def _sums(image, sums, people, channels, voxels, blocks, shares, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Add up a share of one channel, and its squares, after the channel's first value is subtracted."""
    channel = tl.program_id(0)
    share = tl.program_id(1)
    first = tl.load(image + channel.to(tl.int64) * voxels).to(tl.float32)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    squares = tl.zeros((BLOCK,), dtype=tl.float32)
    for block in range(share, people * blocks, shares):
        place = block % blocks * BLOCK + tl.arange(0, BLOCK)
        volume = image + (block // blocks * channels + channel).to(tl.int64) * voxels
        inside = place < voxels
        values = tl.where(inside, tl.load(volume + place, mask=inside, other=0.0).to(tl.float32) - first, 0.0)
        total += values
        squares += values * values
    target = sums + (channel * shares + share) * 2
    tl.store(target, tl.sum(total, axis=0))
    tl.store(target + 1, tl.sum(squares, axis=0))


@triton.jit
def _total(sums, channel, shares, SHARES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the two sums of a channel over its shares."""
    rows = tl.arange(0, SHARES)
    there = sums + (channel * shares + rows) * 2
    inside = rows < shares
    return (
        tl.sum(tl.load(there, mask=inside, other=0.0), axis=0),
        tl.sum(tl.load(there + 1, mask=inside, other=0.0), axis=0),
    )


@triton.jit(
    do_not_specialize=["channels", "voxels", "blocks", "shares", "count", "epsilon", "momentum", "dropout"]
)
def _activate(  # type: ignore[no-untyped-def]
    image,
    sums,
    weight,
    bias,
    seed,
    out,
    mean_out,
    inverse_out,
    running_mean,
    running_variance,
    channels,
    voxels,
    blocks,
    shares,
    count,
    epsilon,
    momentum,
    dropout,
    DROP: tl.constexpr,
    SHARES: tl.constexpr,
    QUARTER: tl.constexpr,
):
    """Normalise, take the ELU and drop, a block of one channel of one person; the first block moves the running averages."""
    block = tl.program_id(0)
    channel = tl.program_id(1)
    person = tl.program_id(2)
    first = tl.load(image + channel.to(tl.int64) * voxels).to(tl.float32)
    total, squares = _total(sums, channel, shares, SHARES)
    distance = total / count
    mean = first + distance
    variance = tl.maximum(squares / count - distance * distance, 0.0)
    inverse = 1.0 / tl.sqrt(variance + epsilon)
    if (block == 0) & (person == 0):
        tl.store(mean_out + channel, mean)
        tl.store(inverse_out + channel, inverse)
        old = tl.load(running_mean + channel)
        tl.store(running_mean + channel, old + momentum * (mean - old))
        old = tl.load(running_variance + channel)
        tl.store(running_variance + channel, old + momentum * (variance * (count / (count - 1.0)) - old))
    scale = tl.load(weight + channel) * inverse
    shift = tl.load(bias + channel)
    number = person * channels + channel
    volume = number.to(tl.int64) * voxels
    quarter = tl.arange(0, QUARTER)
    if DROP:
        drawn = tl.rand4x(tl.load(seed), (number * blocks + block) * QUARTER + quarter)
    for part in tl.static_range(4):
        place = (block * 4 + part) * QUARTER + quarter
        inside = place < voxels
        values = tl.load(image + volume + place, mask=inside, other=0.0).to(tl.float32)
        values = (values - mean) * scale + shift
        values = tl.where(values > 0, values, tl.exp(tl.minimum(values, 0.0)) - 1.0)
        if DROP:
            values = tl.where(drawn[part] >= dropout, values / (1.0 - dropout), 0.0)
        tl.store(out + volume + place, values.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _before_elu(values, slope, mean, inverse, scale, shift, kept, dropout):  # type: ignore[no-untyped-def]
    """Return the standardised values, and the slopes before the ELU from those after the dropout."""
    standard = (values - mean) * inverse
    values = standard * scale + shift
    slope = tl.where(kept, slope / (1.0 - dropout), 0.0)
    return standard, slope * tl.where(values > 0, 1.0, tl.exp(tl.minimum(values, 0.0)))


@triton.jit(do_not_specialize=["people", "channels", "voxels", "blocks", "shares", "dropout"])
def _slope_sums(  # type: ignore[no-untyped-def]
    image,
    gradient,
    weight,
    bias,
    seed,
    mean_in,
    inverse_in,
    sums,
    people,
    channels,
    voxels,
    blocks,
    shares,
    dropout,
    DROP: tl.constexpr,
    QUARTER: tl.constexpr,
):
    """Add up a share of one channel's slopes before the ELU, and of their products with the standardised values."""
    channel = tl.program_id(0)
    share = tl.program_id(1)
    mean = tl.load(mean_in + channel)
    inverse = tl.load(inverse_in + channel)
    scale = tl.load(weight + channel)
    shift = tl.load(bias + channel)
    quarter = tl.arange(0, QUARTER)
    total = tl.zeros((QUARTER,), dtype=tl.float32)
    along = tl.zeros((QUARTER,), dtype=tl.float32)
    for number in range(share, people * blocks, shares):
        block = number % blocks
        person = number // blocks * channels + channel
        volume = person.to(tl.int64) * voxels
        if DROP:
            drawn = tl.rand4x(tl.load(seed), (person * blocks + block) * QUARTER + quarter)
        for part in tl.static_range(4):
            place = (block * 4 + part) * QUARTER + quarter
            inside = place < voxels
            values = tl.load(image + volume + place, mask=inside, other=0.0).to(tl.float32)
            slope = tl.load(gradient + volume + place, mask=inside, other=0.0).to(tl.float32)
            kept = drawn[part] >= dropout if DROP else inside
            standard, slope = _before_elu(values, slope, mean, inverse, scale, shift, kept, dropout)
            total += slope
            along += slope * standard
    target = sums + (channel * shares + share) * 2
    tl.store(target, tl.sum(total, axis=0))
    tl.store(target + 1, tl.sum(along, axis=0))


@triton.jit(do_not_specialize=["channels", "voxels", "blocks", "shares", "count", "dropout"])
def _slopes(  # type: ignore[no-untyped-def]
    image,
    gradient,
    weight,
    bias,
    seed,
    mean_in,
    inverse_in,
    sums,
    out,
    of_weight,
    of_bias,
    channels,
    voxels,
    blocks,
    shares,
    count,
    dropout,
    DROP: tl.constexpr,
    SHARES: tl.constexpr,
    QUARTER: tl.constexpr,
):
    """Compute the gradient of the image; the first block writes those of weight and bias."""
    block = tl.program_id(0)
    channel = tl.program_id(1)
    person = tl.program_id(2)
    mean = tl.load(mean_in + channel)
    inverse = tl.load(inverse_in + channel)
    scale = tl.load(weight + channel)
    shift = tl.load(bias + channel)
    total, along = _total(sums, channel, shares, SHARES)
    if (block == 0) & (person == 0):
        tl.store(of_weight + channel, along)
        tl.store(of_bias + channel, total)
    number = person * channels + channel
    volume = number.to(tl.int64) * voxels
    quarter = tl.arange(0, QUARTER)
    if DROP:
        drawn = tl.rand4x(tl.load(seed), (number * blocks + block) * QUARTER + quarter)
    for part in tl.static_range(4):
        place = (block * 4 + part) * QUARTER + quarter
        inside = place < voxels
        values = tl.load(image + volume + place, mask=inside, other=0.0).to(tl.float32)
        slope = tl.load(gradient + volume + place, mask=inside, other=0.0).to(tl.float32)
        kept = drawn[part] >= dropout if DROP else inside
        standard, slope = _before_elu(values, slope, mean, inverse, scale, shift, kept, dropout)
        # Ioffe & Szegedy 2015, section 3: through the image itself, its mean and its variance.
        slope = (slope - total / count - standard * along / count) * scale * inverse
        tl.store(out + volume + place, slope.to(out.dtype.element_ty), mask=inside)


def _grid(image: torch.Tensor) -> tuple[int, int, int, int, int]:
    """Return people, channels, voxels, blocks of an image, and blocks that sum up a channel together."""
    people, channels, *sides = image.shape
    voxels = int(torch.Size(sides).numel())
    blocks = triton.cdiv(voxels, 4 * QUARTER)
    return people, channels, voxels, blocks, min(people * blocks, SHARES)


class _Activated(torch.autograd.Function):
    """Dropout(ELU(batch normalisation))."""

    @staticmethod
    def forward(
        ctx: Any,
        image: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        running_mean: torch.Tensor,
        running_variance: torch.Tensor,
        momentum: float,
        epsilon: float,
        dropout: float,
    ) -> torch.Tensor:
        """Return the activated image, and move the running averages."""
        image = image.contiguous()
        people, channels, voxels, blocks, shares = _grid(image)
        wide = triton.next_power_of_2(shares)
        sums = image.new_empty((channels, shares, 2), dtype=torch.float32)
        mean, inverse = image.new_empty((2, channels), dtype=torch.float32)
        # A seed on the device: a CUDA graph draws a new one each time.
        seed = torch.randint(2**31, (1,), device=image.device) if dropout > 0 else sums
        out = torch.empty_like(image)
        _sums[(channels, shares)](image, sums, people, channels, voxels, blocks, shares, 4 * QUARTER)
        _activate[(blocks, channels, people)](
            image, sums, weight, bias, seed, out, mean, inverse, running_mean, running_variance, channels, voxels, blocks,
            shares, float(people * voxels), epsilon, momentum, dropout, dropout > 0, wide, QUARTER,
        )  # fmt: skip
        ctx.save_for_backward(image, weight, bias, mean, inverse, seed)
        ctx.dropout = dropout
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Return the gradients of image, weight and bias."""
        image, weight, bias, mean, inverse, seed = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        people, channels, voxels, blocks, shares = _grid(image)
        wide = triton.next_power_of_2(shares)
        sums = image.new_empty((channels, shares, 2), dtype=torch.float32)
        of_weight, of_bias = torch.empty_like(weight), torch.empty_like(bias)
        out = torch.empty_like(image)
        known = (image, gradient, weight, bias, seed, mean, inverse, sums)
        _slope_sums[(channels, shares)](
            *known, people, channels, voxels, blocks, shares, ctx.dropout, ctx.dropout > 0, QUARTER
        )
        _slopes[(blocks, channels, people)](
            *known, out, of_weight, of_bias, channels, voxels, blocks, shares, float(people * voxels), ctx.dropout,
            ctx.dropout > 0, wide, QUARTER,
        )  # fmt: skip
        return out, of_weight, of_bias, None, None, None, None, None


def activated(
    image: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    running_mean: torch.Tensor,
    running_variance: torch.Tensor,
    *,
    momentum: float,
    epsilon: float,
    dropout: float,
) -> torch.Tensor:
    """Normalise each channel over a batch, take the ELU, and drop single numbers: one training step of these three layers.

    Parameters
    ----------
    image
        (people, channels, x, y, z) on a GPU, float32 or bfloat16, with more than one number per channel.
    weight, bias
        (channels,), float32, of the normalisation.
    running_mean, running_variance
        (channels,), float32; moved by `momentum` towards those of the batch (the variance with ddof 1), as torch does.
    momentum, epsilon
        Of the normalisation; `epsilon` is added to the variance (ddof 0).
    dropout
        Rate. The draws come from torch's generator of the device; what is left is divided by 1 - rate.

    Returns
    -------
    Tensor
        Of the image's shape and type; the same to the last bit for the same draws.
    """
    result: torch.Tensor = _Activated.apply(
        image, weight, bias, running_mean, running_variance, momentum, epsilon, dropout
    )
    return result
