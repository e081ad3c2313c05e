"""Triton's kernels, which GPUs use, in its interpreter.

tests/gpu compares them on a GPU.
"""

import importlib.util
import os
import subprocess
import sys

import pytest

INTERPRETED = """
import torch
from torch.nn import functional
from neurostrata.fusion.layers.triton_convolution import triton_convolution

torch.manual_seed(0)
cases = [(1, 1, 1, (3, 4, 9), (5, 6, 5)), (2, 2, 2, (5, 3, 8), (5, 6, 5)), (1, 2, 1, (4, 3, 5), (3, 2, 3)),
         (2, 3, 1, (4, 5, 6), (1, 1, 1)), (4, 4, 2, (2, 3, 4), (3, 3, 3))]
for inputs, outputs, groups, shape, kernel in cases:
    image = torch.randn(2, inputs, *shape, requires_grad=True)
    weight = torch.randn(outputs, inputs // groups, *kernel, requires_grad=True)
    bias = torch.randn(outputs, requires_grad=True)
    results = []
    for function in (lambda *given: triton_convolution(*given, groups),
                     lambda *given: functional.conv3d(*given, padding="same", groups=groups)):
        out = function(image, weight, bias)
        factor = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
        results.append([out, *torch.autograd.grad(out, [image, weight, bias], factor)])
    for mine, theirs in zip(*results):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
print("equal")
"""

ACTIVATED = """
import torch
from torch import nn
from neurostrata.fusion.layers.triton_normalisation import activated

torch.manual_seed(1)
for shape in ((2, 3, 4, 5, 6), (3, 1, 9, 11, 13)):
    image = 3 + 2 * torch.randn(shape)
    layer = nn.BatchNorm3d(shape[1], eps=1e-3, momentum=0.1)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2)
        layer.bias.uniform_(-1, 1)
    weight, bias = (given.detach().clone().requires_grad_() for given in (layer.weight, layer.bias))
    averages = [layer.running_mean.clone(), layer.running_var.clone()]
    slopes = torch.linspace(-1, 1, image.numel()).reshape(shape) ** 3
    one, two = (image.clone().requires_grad_() for _ in range(2))
    mine = activated(one, weight, bias, *averages, momentum=0.1, epsilon=1e-3, dropout=0.0)
    mine.backward(slopes)
    theirs = nn.functional.elu(layer(two))
    theirs.backward(slopes)
    for a, b in ((mine, theirs), (one.grad, two.grad), (weight.grad, layer.weight.grad), (bias.grad, layer.bias.grad),
                 (averages[0], layer.running_mean), (averages[1], layer.running_var)):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)
    # with dropout: what is kept is scaled, on the way there and back
    one, two = (image.clone().requires_grad_() for _ in range(2))
    dropped = activated(one, weight, bias, *averages, momentum=0.1, epsilon=1e-3, dropout=0.3)
    kept = dropped != 0
    assert abs(float(kept.float().mean()) - 0.7) < 0.05
    torch.testing.assert_close(dropped[kept], mine[kept] / 0.7, rtol=1e-5, atol=1e-6)
    dropped.backward(slopes)
    plain = nn.functional.batch_norm(two, None, None, weight.detach(), bias.detach(), training=True, eps=1e-3)
    (nn.functional.elu(plain) * kept / 0.7).backward(slopes)
    torch.testing.assert_close(one.grad, two.grad, rtol=2e-5, atol=2e-5)
print("equal")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton comes with torch's GPU builds only"
)
@pytest.mark.parametrize("code", [INTERPRETED, ACTIVATED], ids=["convolution", "normalisation"])
def test_triton_kernels_are_those_of_torch(code):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "equal", done.stderr
