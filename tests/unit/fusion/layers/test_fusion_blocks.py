"""The building blocks of networks against Keras's conventions and plain torch; which way a convolution goes where."""

import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurostrata.fusion.layers import blocks
from neurostrata.fusion.layers.batch_normalisation import BatchNormalisation
from neurostrata.fusion.layers.blocks import (
    Convolution,
    ConvolutionBlock,
    KerasConvolution,
    MidFlow,
    double,
    halve,
)
from neurostrata.fusion.layers.direct_convolution import direct_convolution


@pytest.mark.parametrize("fast", [True, False])
def test_padding_is_keras_same(monkeypatch, fast):
    calls = []
    monkeypatch.setattr(
        blocks, "direct_convolution", lambda *given: calls.append(given) or direct_convolution(*given)
    )
    if not fast:
        monkeypatch.setattr(blocks, "DIRECT_LIMIT", 0)
    torch.manual_seed(0)
    layer = KerasConvolution(1, 1, (5, 6, 5))
    image = torch.rand(1, 1, 7, 8, 9)
    # Keras: k - 1 in all, floor((k - 1) / 2) before, the rest after; torch's pad() takes the last axis first.
    padded = functional.pad(image, [2, 2, 2, 3, 2, 2])
    windows = padded.unfold(2, 5, 1).unfold(3, 6, 1).unfold(4, 5, 1)
    expected = (windows * layer.weight[0, 0]).sum(dim=(-1, -2, -3)) + layer.bias
    torch.testing.assert_close(layer(image), expected)
    assert len(calls) == int(fast)


def test_pooling_and_upsampling_agree_with_torch():
    image = torch.randn(2, 3, 8, 6, 4)
    torch.testing.assert_close(halve(image, 2), functional.max_pool3d(image, 2, 2))
    torch.testing.assert_close(double(image), functional.interpolate(image, scale_factor=2, mode="nearest"))
    wide = halve(image, 3)
    assert wide.shape == (2, 3, 4, 3, 2)
    torch.testing.assert_close(wide[0, 0, 0, 0, 0], image[0, 0, :3, :3, :3].max())
    torch.testing.assert_close(wide[0, 0, 3, 2, 1], image[0, 0, 6:, 4:, 2:].max())


class Image(types.SimpleNamespace):
    """What a convolution asks an image for, on a device that need not be there."""

    def to(self, kind):
        return ("image", kind)


def way(monkeypatch, layer, device="cpu", dtype=torch.float32, triton=True, autocast=None):
    """Return which of the three convolutions is called, and with what."""
    calls = []

    def way_of(name):
        return lambda *given: calls.append((name, *given)) or "convolved"

    stand_in = types.ModuleType("stand_in")
    stand_in.triton_convolution = way_of("triton")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "neurostrata.fusion.layers.triton_convolution", stand_in)
        patched.setattr(blocks, "direct_convolution", way_of("direct"))
        patched.setattr(nn.Conv3d, "forward", way_of("torch"))
        patched.setattr(blocks, "has_triton", lambda: triton)
        patched.setattr(torch, "is_autocast_enabled", lambda of: of == "cuda" and autocast is not None)
        patched.setattr(torch, "get_autocast_dtype", {"cuda": autocast}.__getitem__)
        image = Image(device=torch.device(device), dtype=dtype)
        assert layer.forward(image) == "convolved"
    ((name, *given),) = calls
    return name, given


@pytest.mark.parametrize(
    ("channels", "groups", "kernel", "of_cpu", "of_gpu"),
    [
        ((8, 16), 1, (3, 3, 3), "direct", "triton"),  # 128 pairs
        ((3, 43), 1, (3, 3, 3), "torch", "torch"),
        ((16, 34), 2, (1, 2, 1), "torch", "torch"),  # 8 x 17 in each group
        ((16, 32), 2, (1, 2, 1), "direct", "triton"),
        ((99, 99), 99, (5, 6, 5), "direct", "triton"),
        ((300, 2), 1, (3, 3, 3), "torch", "torch"),
        ((2, 2), 1, (1, 1, 1), "torch", "triton"),
        ((32, 32), 1, (1, 1, 1), "torch", "triton"),  # 1024 pairs
        ((25, 41), 1, (1, 1, 1), "torch", "torch"),
    ],
)
def test_a_convolution_of_few_channels_is_done_directly(
    monkeypatch, channels, groups, kernel, of_cpu, of_gpu
):
    layer = Convolution(*channels, kernel, groups=groups)
    name, given = way(monkeypatch, layer)
    assert name == of_cpu
    if name == "direct":
        assert given[1:] == [layer.weight, layer.bias, groups]
    name, given = way(monkeypatch, layer, "cuda")
    assert name == of_gpu
    if name == "triton":
        assert given[0] == ("image", torch.float32)
        torch.testing.assert_close(given[1:3], [layer.weight, layer.bias])
        assert given[3] == groups


def test_other_types_and_devices_have_torchs_convolution(monkeypatch):
    layer = Convolution(2, 2, (3, 3, 3))
    assert way(monkeypatch, layer, dtype=torch.float64)[0] == "torch"
    assert way(monkeypatch, layer, "mps")[0] == "torch"
    assert way(monkeypatch, layer, "cuda", triton=False)[0] == "torch"


def test_tritons_convolution_is_of_the_images_or_autocasts_type(monkeypatch):
    for bias in (True, False):
        layer = Convolution(2, 2, (3, 3, 3), bias=bias)
        for autocast, kind in ((None, torch.float16), (torch.bfloat16, torch.bfloat16)):
            name, given = way(monkeypatch, layer, "cuda", torch.float16, autocast=autocast)
            assert name == "triton"
            assert given[0] == ("image", kind)
            assert given[1].dtype == kind
            assert given[2].dtype == kind if bias else given[2] is None


def test_triton_is_there_or_not(monkeypatch):
    asked = []
    monkeypatch.setattr(blocks.importlib.util, "find_spec", lambda name: asked.append(name) or True)
    assert blocks.has_triton.__wrapped__() is True
    monkeypatch.setattr(blocks.importlib.util, "find_spec", lambda name: None)
    assert blocks.has_triton.__wrapped__() is False
    assert asked == ["triton"]


def test_weights_start_as_keras_starts_them():
    for bias in (True, False):
        layer = KerasConvolution(2, 3, (3, 4, 5), bias=bias)
        limit = (6 / (60 * (2 + 3))) ** 0.5  # Glorot uniform
        assert 0.9 * limit < layer.weight.abs().max() <= limit
        assert not layer.bias.any() if bias else layer.bias is None
    assert KerasConvolution(4, 6, (3, 3, 3), groups=2).weight.shape == (6, 2, 3, 3, 3)
    assert KerasConvolution(4, 6, (3, 3, 3)).bias is not None


@pytest.mark.parametrize("separable", [True, False])
def test_a_block_has_its_layers(separable):
    block = ConvolutionBlock(2, 3, (3, 4, 5), separable=separable, dropout=0.3, momentum=0.2)
    *convolutions, normalisation, activation, dropout = block
    if separable:
        first, second = convolutions
        assert (first.groups, first.out_channels, first.bias, first.kernel_size) == (2, 2, None, (3, 4, 5))
        assert (second.groups, second.out_channels, second.kernel_size) == (1, 3, (1, 1, 1))
        assert second.bias is not None
    else:
        (first,) = convolutions
        assert (first.groups, first.out_channels, first.kernel_size) == (1, 3, (3, 4, 5))
        assert first.bias is not None
    assert type(normalisation) is BatchNormalisation
    assert (normalisation.num_features, normalisation.eps, normalisation.momentum) == (3, 1e-3, 0.2)
    assert type(activation) is nn.ELU
    assert dropout.p == 0.3
    *_, normalisation, _, dropout = ConvolutionBlock(1, 1, (1, 1, 1))
    assert (normalisation.momentum, dropout.p) == (0.01, 0.1)


@pytest.mark.parametrize("separable", [True, False])
def test_a_block_is_its_layers_one_after_another(separable):
    block = ConvolutionBlock(2, 3, (3, 3, 3), separable=separable, dropout=0.0)
    image = torch.randn(2, 2, 4, 4, 4)
    wanted = image
    for layer in list(block)[:-3]:
        wanted = functional.conv3d(wanted, layer.weight, layer.bias, padding="same", groups=layer.groups)
    wanted = functional.elu(functional.batch_norm(wanted, None, None, training=True, eps=1e-3))
    torch.testing.assert_close(block(image), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "one_pass"),
    [
        ({}, True),
        ({"device": "cpu"}, False),
        ({"training": False}, False),
        ({"triton": False}, False),
        ({"compiling": True}, False),
        ({"other": True}, False),
    ],
)
def test_on_a_gpu_what_follows_the_convolutions_is_one_pass(monkeypatch, changes, one_pass):
    now = {"device": "cuda", "training": True, "triton": True, "compiling": False, "other": False, **changes}
    block = ConvolutionBlock(2, 3, (3, 3, 3), separable=True, dropout=0.3).train(now["training"])
    if now["other"]:  # that of several GPUs
        block[2] = nn.SyncBatchNorm(3)
    monkeypatch.setattr(blocks, "has_triton", lambda: now["triton"])
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: now["compiling"])
    monkeypatch.setattr(nn.Sequential, "forward", lambda self, image: "layer by layer")
    monkeypatch.setattr(KerasConvolution, "forward", lambda self, image: (self.out_channels, image))
    monkeypatch.setattr(BatchNormalisation, "activated", lambda self, image, dropout: (self, image, dropout))
    image = Image(device=torch.device(now["device"]))
    found = block.forward(image)
    assert found == ((block[2], (3, (2, image)), 0.3) if one_pass else "layer by layer")


def test_the_middle_adds_three_separable_blocks_to_the_image():
    middle = MidFlow(2, (3, 4, 3), 0.25, 0.05)
    assert len(middle.blocks) == 3
    for block in middle.blocks:
        first, second, normalisation, _, dropout = block
        assert (first.in_channels, first.groups, first.kernel_size) == (2, 2, (3, 4, 3))
        assert second.out_channels == 2
        assert (normalisation.momentum, dropout.p) == (0.05, 0.25)
    middle.eval()
    image = torch.randn(1, 2, 4, 4, 4)
    torch.testing.assert_close(middle(image), image + middle.blocks(image))


def test_pooling_reaches_beyond_the_pair_but_not_to_zero():
    image = torch.full((1, 1, 2, 2, 2), -3.0)
    assert halve(image, 3).item() == -3.0
    assert halve(image, 2).item() == -3.0
