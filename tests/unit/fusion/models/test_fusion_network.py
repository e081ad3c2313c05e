"""The autoencoder's layers, held against the paper, Keras's conventions and plain torch."""

import itertools

import numpy as np
import pytest
import torch
from fusion_toy import toy_mask, toy_volumes
from torch.nn import functional

from neurostrata.core.config import (
    capability,
    fill_defaults,
    load_schema,
    model_names,
    section_defaults,
)
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.layers import blocks
from neurostrata.fusion.layers.blocks import ConvolutionBlock, KerasConvolution
from neurostrata.fusion.layers.direct_convolution import direct_convolution
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.separable_autoencoder import SeparableAutoencoderNetwork
from neurostrata.fusion.training.machine import Machine

DEFAULTS = section_defaults("models/separable_autoencoder")


def options(**given):
    return fill_defaults(given, load_schema("models/separable_autoencoder"))


def count(module):
    return sum(p.numel() for p in module.parameters())


def expected_parameters(modalities, skip):
    """Count by hand: kernel of 150 voxels, biases, two numbers per channel for batch normalisation."""

    def conv(i, o):
        return 150 * i * o + o + 2 * o

    def mid(c):
        return 3 * (150 * c + c * c + c + 2 * c)

    channels = [1, 2, 4, 8, 16, 32]
    total = conv(32 * modalities, 32)
    for low, high in itertools.pairwise(channels):
        encoder = conv(low, low) + mid(low) + conv(low, high)
        wide = 2 * low if skip and low > 1 else low
        decoder = conv(high, low) + mid(wide) + conv(wide, low)
        total += modalities * (encoder + decoder)
    return total - modalities * 2  # the last convolution has no batch normalisation


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("modalities", [1, 2, 4])
def test_shapes_and_parameters_at_the_papers_size(modalities, skip):
    with torch.device("meta"):
        network = SeparableAutoencoderNetwork(modalities, options(skip_connections=skip))
        volumes = torch.empty(1, modalities, 128, 128, 96)
        code, skips = network.features(volumes)
        decoded = network.decode(code, skips)
        flat = network.encode(volumes)
    assert code.shape == (1, 32, 4, 4, 3)
    assert flat.shape == (1, 1536)
    assert decoded.shape == volumes.shape
    sizes = [tuple(feature.shape[1:]) for feature in skips[0]]
    assert sizes == ([(2, 64, 64, 48), (4, 32, 32, 24), (8, 16, 16, 12), (16, 8, 8, 6)] if skip else [])
    assert count(network) == expected_parameters(modalities, skip)


def test_code_size_of_other_grids():
    for shape, size in {(32, 32, 32): 32, (64, 32, 96): 192, (128, 128, 96): 1536}.items():
        assert build_model("separable_autoencoder", DEFAULTS, ["ndi"], shape, seed=1).code_size == size
    with pytest.raises(UserError, match="multiples of 32"):
        build_model("separable_autoencoder", DEFAULTS, ["ndi"], (128, 120, 96), seed=1)


def test_separable_convolution_saves_what_the_design_says():
    plain = KerasConvolution(32, 32, (5, 6, 5), bias=False)
    separable = ConvolutionBlock(32, 32, (5, 6, 5), separable=True)
    assert count(plain) == 153_600
    assert count(separable[0]) + separable[1].weight.numel() == 5_824
    assert 26 < 153_600 / 5_824 < 27


@pytest.mark.parametrize("model", ["separable_autoencoder", "residual_autoencoder", "shared_vae"])
def test_networks_convolve_with_the_compiled_kernel(monkeypatch, tmp_path, model):
    calls = []
    monkeypatch.setattr(
        blocks, "direct_convolution", lambda *given: calls.append(given) or direct_convolution(*given)
    )
    opened = open_volumes(toy_volumes(tmp_path, people=6, side=32), ["jac", "ndi"])
    limits = {"low": 0.0, "high": 4.0}
    people = VolumeSet(opened, opened[0].info["subjects"], {"jac": limits, "ndi": limits})
    small = {"residual_autoencoder": {"channels": [8, 16]}, "shared_vae": {"channels": [4, 8]}}.get(model, {})
    filled = fill_defaults(small, load_schema(f"models/{model}"))
    built = build_model(model, filled, people.modalities, people.shape, 1)
    training = TrainingSettings.resolve(
        {**section_defaults("training"), "epochs": 1, "batch_size": 2}, {}, seed=1
    )
    built.fit(people, toy_mask(32), training, Machine(threads=1, gpus=0))
    assert calls


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    return torch.rand(2, 2, 32, 32, 32)


def network_for(skip):
    torch.manual_seed(0)
    network = SeparableAutoencoderNetwork(2, options(skip_connections=skip))
    for layer in network.modules():  # running averages as after some training, so that all layers pass signal
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 2, 32, 32, 32))
    return network.eval()


def test_without_skip_connections_the_code_is_all_the_decoder_sees(pair):
    network = network_for(skip=False)
    with torch.no_grad():
        code, skips = network.features(pair)
        assert skips == [[], []]
        decoded = network.decode(code)
        torch.testing.assert_close(decoded, network(pair))
        assert (decoded[0] - decoded[1]).abs().max() > 1e-6
        swapped = network.decode(code.flip(0))
        torch.testing.assert_close(swapped, decoded.flip(0))
        again = network.decode(network.encode(pair).reshape(code.shape))
        torch.testing.assert_close(again, decoded)


def test_with_skip_connections_the_decoder_sees_more_than_the_code(pair):
    network = network_for(skip=True)
    with torch.no_grad():
        code, skips = network.features(pair)
        with pytest.raises(ValueError, match="code alone"):
            network.decode(code)
        same_code = network.decode(code[:1].expand_as(code), skips)
        assert (same_code[0] - same_code[1]).abs().max() > 1e-6
        torch.testing.assert_close(network.encode(pair), code.flatten(1))


def test_every_modality_reaches_the_code_and_each_decoder(pair):
    network = network_for(skip=False)
    changed = pair.clone()
    changed[:, 1] = 1 - changed[:, 1]
    with torch.no_grad():
        assert (network.encode(changed) - network.encode(pair)).abs().max() > 1e-6
        assert (network(changed) - network(pair))[:, 0].abs().max() > 1e-6


def test_loss_is_the_cross_entropy_of_each_modality(pair):
    network = network_for(skip=True)
    with torch.no_grad():
        decoded = network.reconstruct(pair)
        losses = network.losses(pair)
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    expected = [functional.binary_cross_entropy(decoded[:, m], pair[:, m]) for m in range(2)]
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_weights_start_as_in_keras_and_follow_the_seed():
    first, again, other = (
        build_model("separable_autoencoder", DEFAULTS, ["jac"], (32, 32, 32), seed).weights()
        for seed in (1, 1, 2)
    )
    name = "encoders.0.4.down.0.weight"
    np.testing.assert_array_equal(first[name], again[name])
    assert np.abs(first[name] - other[name]).max() > 0
    limit = np.sqrt(6 / (150 * (16 + 32)))  # Glorot uniform
    assert 0.99 * limit < np.abs(first[name]).max() <= limit
    assert not first["encoders.0.4.down.0.bias"].any()


@pytest.mark.parametrize("name", model_names())
def test_what_a_schema_says_its_model_can_is_what_the_class_can(name):
    schema = load_schema(f"models/{name}")
    filled = fill_defaults({}, schema)
    model = build_model(name, filled, ["jac", "ndi"], (32, 32, 32), seed=1)
    assert model.name == name
    keys = ("supervised", "regions", "synthesises", "reconstructs", "decodes", "handles_missing")
    for key in keys:
        told = capability(schema, key, filled, default=key == "reconstructs")
        assert getattr(model, key) == told, key


def test_a_model_without_a_schema_is_refused():
    with pytest.raises(UserError, match="none of latent_synthesis, pca"):
        build_model("autoencoder", {}, ["jac"], (32, 32, 32), seed=1)
