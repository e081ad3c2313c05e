"""Batch normalisation that is computed here, against torch's; which of the two is used where."""

import sys
import types

import pytest
import torch
from torch import nn

from neurostrata.fusion.layers.batch_normalisation import BatchNormalisation, normalised


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_batch_normalisation_is_that_of_torch(kind):
    torch.manual_seed(1)
    image = (3 + 2 * torch.randn(2, 3, 4, 5, 6)).to(kind)
    mine, theirs = BatchNormalisation(3, eps=1e-3, momentum=0.1), nn.BatchNorm3d(3, eps=1e-3, momentum=0.1)
    with torch.no_grad():
        for layer in (mine, theirs):
            layer.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
            layer.bias.copy_(torch.tensor([0.1, 0.0, -0.3]))
    results = []
    for step, layer in ((mine.train_on, mine), (theirs, theirs)):
        given = image.clone().requires_grad_()
        out = step(given)
        out.backward(torch.linspace(-1, 1, image.numel()).reshape(image.shape).to(kind) ** 3)
        results.append((out, given.grad, layer.weight.grad, layer.bias.grad))
    tolerance = 2e-5 if kind == torch.float32 else 3e-2
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(mine.running_mean, theirs.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mine.running_var, theirs.running_var, rtol=1e-5, atol=1e-6)
    assert mine.num_batches_tracked == theirs.num_batches_tracked == 1


def test_one_value_per_channel_is_refused():
    with pytest.raises(ValueError, match="more than one value"):
        BatchNormalisation(3).train_on(torch.randn(1, 3, 1, 1, 1))


def test_two_values_per_channel_are_enough():
    layer = BatchNormalisation(2, eps=0.25, momentum=0.5)
    image = torch.tensor([[[[[1.0]]], [[[4.0]]]], [[[[3.0]]], [[[4.0]]]]])
    out = layer.train_on(image)
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 0.0, 1.0, 0.0]) / 1.25**0.5)
    torch.testing.assert_close(layer.running_mean, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(layer.running_var, torch.tensor([1.5, 0.5]))  # 2 and 0 with ddof 1
    layer.train_on(image)
    assert layer.num_batches_tracked == 2


def test_an_image_without_people_is_refused():
    with pytest.raises(ValueError, match="expected 5D input"):
        BatchNormalisation(2).train_on(torch.randn(2, 4, 4, 4))


def test_the_batchs_mean_and_variance_are_not_learned_from():
    image = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    out, mean, variance = normalised(image, torch.ones(3), torch.zeros(3), 1e-3)
    assert out.requires_grad
    assert not mean.requires_grad
    assert not variance.requires_grad
    torch.testing.assert_close(mean, image.mean(dim=(0, 2, 3, 4)))
    torch.testing.assert_close(variance, image.var(dim=(0, 2, 3, 4), correction=0))


@pytest.mark.parametrize(
    ("device", "channels", "training", "own"),
    [
        ("cuda", 16, True, True),
        ("cuda", 1, True, True),
        ("cuda", 17, True, False),
        ("cuda", 16, False, False),
        ("cpu", 16, True, False),
    ],
)
def test_few_channels_on_a_gpu_are_normalised_here(monkeypatch, device, channels, training, own):
    layer = BatchNormalisation(channels).train(training)
    monkeypatch.setattr(BatchNormalisation, "train_on", lambda self, image: "here")
    monkeypatch.setattr(nn.BatchNorm3d, "forward", lambda self, image: "torch")
    image = types.SimpleNamespace(device=torch.device(device), shape=(99, channels, 4, 4, 4))
    assert layer.forward(image) == ("here" if own else "torch")


def test_the_pass_of_triton_gets_what_the_layer_has(monkeypatch):
    calls = []
    stand_in = types.ModuleType("stand_in")
    stand_in.activated = lambda *given, **named: calls.append((given, named)) or "activated"
    monkeypatch.setitem(sys.modules, "neurostrata.fusion.layers.triton_normalisation", stand_in)
    layer = BatchNormalisation(3, eps=0.02, momentum=0.3)
    image = torch.randn(2, 3, 1, 1, 2)
    assert layer.activated(image, 0.4) == "activated"
    ((given, named),) = calls
    wanted = (image, layer.weight, layer.bias, layer.running_mean, layer.running_var)
    assert all(a is b for a, b in zip(given, wanted, strict=True))
    assert named == {"momentum": 0.3, "epsilon": 0.02, "dropout": 0.4}
    assert layer.num_batches_tracked == 1
