"""3-D convolution of few channels on a CPU, compiled: rows of voxels stay in the cache while the taps go over them.

General libraries turn a convolution into matrix products, which need many channels to be worth it; the separable
autoencoder works on one to four channels where its images are large. Here each tap of the kernel is one fused
multiply-add over a block of rows along z, which lie side by side in memory: with the zeros between them they are one long row.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from numba.cpython.unsafe.tuple import tuple_setitem
from torch.nn import functional

#: Planes along x that one task takes. Weight gradients are added up slab after slab: the same sum with any threads.
SLAB = 8
#: Numbers that stay in a core's first cache while all taps go over them.
BLOCK = 2048
#: Sums may be reordered and products fused, as in every convolution; no flag that presumes finite numbers.
_FAST = {"nsz", "contract", "reassoc", "arcp"}


@cache
def _kernels(depth: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled convolution and weight gradient for kernels of `depth` taps along z.

    The number is a constant in the compiled code: the loop over these taps is written out, and they share one pass
    over a row.
    """
    none = (np.float32(0),) * depth

    @numba.njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
    def convolve(padded, weight, bias, out, person, channel, start, stop, groups):  # type: ignore[no-untyped-def]
        per_group, taps_x, taps_y = weight.shape[1:4]
        rows, wide, deep = out.shape[3], padded.shape[4], out.shape[4]
        first = channel // (out.shape[1] // groups) * per_group
        block = max(1, BLOCK // wide)
        total = np.empty(block * wide, np.float32)
        for x in range(start, stop):
            for top in range(0, rows, block):
                here = min(block, rows - top)
                length = here * wide - depth + 1
                total[:] = bias[channel]
                for c in range(per_group):
                    for i in range(taps_x):
                        plane = padded[person, first + c, x + i].reshape(-1)
                        for j in range(taps_y):
                            row = plane[(top + j) * wide :]
                            taps = none
                            for k in range(depth):
                                taps = tuple_setitem(taps, k, weight[channel, c, i, j, k])  # type: ignore[call-arg]
                            for z in range(length):
                                value = total[z]
                                for k in range(depth):
                                    value += taps[k] * row[z + k]
                                total[z] = value
                for y in range(here):
                    out[person, channel, x, top + y] = total[y * wide : y * wide + deep]

    @numba.njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
    def weight_gradient(padded, gradient, out, person, channel, start, stop, groups, corner):  # type: ignore[no-untyped-def]
        per_group, taps_x, taps_y = out.shape[:3]
        wide = padded.shape[4]
        rows = padded.shape[3] - taps_y + 1
        first = channel // (gradient.shape[1] // groups) * per_group
        length = rows * wide - depth + 1
        out[:] = 0
        for x in range(start, stop):
            above = gradient[person, channel, x + corner[0]].reshape(-1)[corner[1] * wide + corner[2] :]
            for c in range(per_group):
                for i in range(taps_x):
                    plane = padded[person, first + c, x + i].reshape(-1)
                    for j in range(taps_y):
                        row = plane[j * wide :]
                        taps = none
                        for z in range(length):
                            for k in range(depth):
                                taps = tuple_setitem(taps, k, taps[k] + above[z] * row[z + k])  # type: ignore[call-arg]
                        for k in range(depth):
                            out[c, i, j, k] += taps[k]

    return convolve, weight_gradient


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads that help; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="convolution")


def _share(work: Callable[..., None], tasks: Sequence[tuple[Any, ...]]) -> None:
    """Do all tasks on as many threads as torch uses, of which the caller is one."""
    helpers = min(torch.get_num_threads(), len(tasks)) - 1
    waiting = iter(tasks)  # next() of a list's iterator is atomic

    def some() -> None:
        for task in waiting:
            work(*task)

    others = [_pool(helpers, os.getpid()).submit(some) for _ in range(helpers)] if helpers > 0 else []
    some()
    for other in others:
        other.result()


def _slabs(people: int, channels: int, planes: int) -> list[tuple[int, int, int, int]]:
    """Return (person, channel, first plane, last plane + 1) of all tasks."""
    return [
        (person, channel, start, min(start + SLAB, planes))
        for person in range(people)
        for channel in range(channels)
        for start in range(0, planes, SLAB)
    ]


def _padded(image: torch.Tensor, kernel: Sequence[int], *, mirrored: bool = False) -> np.ndarray:
    """Return the image with zeros around it; the odd one comes last, mirrored first."""
    sides: list[int] = []
    for size in reversed(kernel):
        before = (size - 1) // 2
        after = size - 1 - before
        sides += [after, before] if mirrored else [before, after]
    return functional.pad(image.detach(), sides).contiguous().numpy()


def _convolved(
    padded: np.ndarray, weight: np.ndarray, bias: np.ndarray, shape: Sequence[int], groups: int
) -> torch.Tensor:
    """Return the convolution of a padded image, of `shape` (people, channels, x, y, z)."""
    out = np.empty(shape, np.float32)
    convolve, _ = _kernels(weight.shape[-1])
    tasks = [(padded, weight, bias, out, *slab, groups) for slab in _slabs(*out.shape[:3])]
    _share(convolve, tasks)
    return torch.from_numpy(out)


def mirrored(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the kernel whose convolution is the image's gradient: mirrored, from a group's output channels to its input channels."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flip(3, 4, 5).flatten(0, 1)


class DirectConvolution(torch.autograd.Function):
    """The "same" convolution and its gradients."""

    @staticmethod
    def forward(
        ctx: Any, image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int
    ) -> torch.Tensor:
        """Return the convolved image."""
        ctx.save_for_backward(image, weight)
        ctx.groups = groups
        channels = len(weight)
        start = np.zeros(channels, np.float32) if bias is None else bias.detach().numpy()
        padded = _padded(image, weight.shape[2:])
        shape = (len(image), channels, *image.shape[2:])
        return _convolved(padded, weight.detach().contiguous().numpy(), start, shape, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Return the gradients of image, weight and bias."""
        image, weight = ctx.saved_tensors
        gradient, groups = gradients[0].contiguous(), ctx.groups
        kernel = weight.shape[2:]
        around = _padded(gradient, kernel, mirrored=True)
        of_image = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_image = _convolved(
                around,
                mirrored(weight.detach(), groups).contiguous().numpy(),
                np.zeros(image.shape[1], np.float32),
                image.shape,
                groups,
            )
        if ctx.needs_input_grad[1]:
            slabs = _slabs(len(image), *gradient.shape[1:3])
            sums = np.empty((len(slabs), *weight.shape[1:]), np.float32)
            padded = _padded(image, kernel)
            corner = tuple(size - 1 - (size - 1) // 2 for size in kernel)
            _, weight_gradient = _kernels(kernel[-1])
            tasks = [
                (padded, around, own, *slab, groups, corner) for own, slab in zip(sums, slabs, strict=True)
            ]
            _share(weight_gradient, tasks)
            per_slab = torch.from_numpy(sums).unflatten(0, (len(image), gradient.shape[1], -1))
            of_weight = per_slab.sum(dim=(0, 2))
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, 2, 3, 4))
        return of_image, of_weight, of_bias, None


def direct_convolution(
    image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int = 1
) -> torch.Tensor:
    """Return the "same" 3-D convolution at stride 1 of float32 images on the CPU.

    Parameters
    ----------
    image
        (people, channels, x, y, z).
    weight
        (channels out, channels per group, x, y, z); an even side has its extra tap at the end, as in Keras.
    bias
        (channels out,) or None.
    groups
        Into which channels are divided.

    Returns
    -------
    Tensor, shape (people, channels out, x, y, z)
        The same with any number of threads, to the last bit; so are the gradients.
    """
    result: torch.Tensor = DirectConvolution.apply(image, weight, bias, groups)
    return result
