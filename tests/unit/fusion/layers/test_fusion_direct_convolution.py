"""The compiled convolution of few channels against torch's."""

import os
import types

import pytest
import torch
from torch.nn import functional

from neurostrata.fusion.layers import direct_convolution as module
from neurostrata.fusion.layers.direct_convolution import direct_convolution


@pytest.mark.parametrize(
    ("channels", "out", "groups", "kernel", "grid"),
    [
        (1, 1, 1, (5, 6, 5), (19, 7, 30)),
        (3, 2, 1, (5, 6, 5), (6, 7, 8)),
        (4, 4, 4, (3, 3, 3), (9, 70, 40)),  # more than one block of rows
        (4, 6, 2, (1, 2, 6), (8, 2, 3)),
        (2, 1, 1, (2, 1, 1), (4, 4, 1)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_direct_convolution_is_the_convolution(channels, out, groups, kernel, grid, threads):
    torch.manual_seed(0)
    image = torch.randn(2, channels, *grid).transpose(2, 3).contiguous().transpose(2, 3)
    weight = torch.randn(out, channels // groups, *kernel)
    upstream = torch.randn(2, out, *grid)
    results = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for function, dtype in (
            (lambda i, w, b: functional.conv3d(i, w, b, padding="same", groups=groups), torch.float64),
            (lambda i, w, b: direct_convolution(i, w, b, groups), torch.float32),
        ):
            inputs = [t.to(dtype).requires_grad_() for t in (image, weight, torch.arange(out) - 0.5)]
            output = function(*inputs)
            output.backward(upstream.to(dtype))
            results.append([output.detach(), *(tensor.grad for tensor in inputs)])
    finally:
        torch.set_num_threads(before)
    for plain, direct in zip(*results, strict=True):
        torch.testing.assert_close(direct.double(), plain, atol=2e-5 * float(plain.abs().max()), rtol=1e-5)


def test_direct_convolution_is_the_same_with_any_threads():
    torch.manual_seed(0)
    image, weight = torch.randn(2, 2, 20, 9, 12), torch.randn(2, 1, 5, 6, 5)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        inputs = [image.clone().requires_grad_(), weight.clone().requires_grad_()]
        output = direct_convolution(*inputs, None, 2)
        output.square().sum().backward()
        results.append([output.detach(), *(t.grad for t in inputs)])
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_direct_convolution_lets_a_number_that_is_none_through():
    image = torch.ones(1, 1, 4, 4, 4)
    image[0, 0, 0, 0, 0] = float("nan")
    result = direct_convolution(image, torch.ones(1, 1, 3, 3, 3), None)
    assert torch.isnan(result[0, 0, :2, :2, :2]).all()
    assert torch.isfinite(result[0, 0, 2:, 2:, 2:]).all()


@pytest.mark.parametrize(
    ("threads", "tasks", "helpers"), [(1, 5, 0), (2, 5, 1), (4, 5, 3), (4, 2, 1), (4, 1, 0), (2, 0, 0)]
)
def test_the_caller_is_one_of_the_threads(monkeypatch, threads, tasks, helpers):
    asked, done, waited = [], [], []

    class Pool:
        def __init__(self, number, process):
            assert process == os.getpid()
            asked.append(number)

        def submit(self, work):
            return types.SimpleNamespace(result=lambda: waited.append(work))  # others may come late

    monkeypatch.setattr(module, "_pool", Pool)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    module._share(lambda *task: done.append(task), [(task, -task) for task in range(tasks)])
    assert done == [(task, -task) for task in range(tasks)]
    assert asked == [helpers] * helpers
    assert len(waited) == helpers


def test_slabs_cover_all_planes_once():
    assert module._slabs(1, 2, 17) == [
        (0, channel, start, stop) for channel in (0, 1) for start, stop in ((0, 8), (8, 16), (16, 17))
    ]
    assert module._slabs(2, 1, 8) == [(0, 0, 0, 8), (1, 0, 0, 8)]
