"""``shared_vae`` against a plain implementation of Geenjaar et al. 2021 (III.A, III.C, III.D)."""

import math

import numpy as np
import torch
from plain_training import (
    Weights,
    assert_close,
    check_training,
    people_in_memory,
    random_network,
    random_volumes,
    weights_of,
)
from torch.nn import functional

from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.training.machine import Machine

#: Odd and even sides.
SHAPE = (13, 12, 10)
OPTIONS = {"channels": [8, 12, 16], "latent_size": 5}
GRIDS = [(13, 12, 10), (7, 6, 5), (4, 3, 3), (2, 2, 2)]


def encode(w: Weights, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Strided convolutions with ReLU, then mean and log-variance."""
    for layer in range(3):
        weight, bias = w[f"encoder.{layer}.0.weight"], w[f"encoder.{layer}.0.bias"]
        samples = torch.relu(functional.conv3d(samples, weight, bias, stride=2, padding=1))
    flat = samples.flatten(1)
    mean = flat @ w["to_mean.weight"].T + w["to_mean.bias"]
    return mean, flat @ w["to_log_variance.weight"].T + w["to_log_variance.bias"]


def decode(w: Weights, latent: torch.Tensor) -> torch.Tensor:
    """The mirror image, two more layers, the last without bias, and tanh."""
    image = (latent @ w["from_latent.weight"].T + w["from_latent.bias"]).reshape(-1, 16, *GRIDS[3])
    for layer in range(3):
        small, large = GRIDS[3 - layer], GRIDS[2 - layer]
        more = [n - (2 * m - 1) for m, n in zip(small, large, strict=True)]
        weight, bias = w[f"decoder.{2 * layer}.weight"], w[f"decoder.{2 * layer}.bias"]
        image = functional.conv_transpose3d(image, weight, bias, stride=2, padding=1, output_padding=more)
        assert image.shape[2:] == large
        image = torch.relu(image)
    image = torch.relu(functional.conv3d(image, w["decoder.6.weight"], w["decoder.6.bias"], padding=1))
    return torch.tanh(functional.conv3d(image, w["decoder.8.weight"], padding=1))


def as_samples(volumes: torch.Tensor) -> torch.Tensor:
    """III.C: each volume, divided by its maximum absolute value, is a sample."""
    return torch.stack([v / v.abs().max() for person in volumes for v in person])[:, None]


def plain_losses(w: Weights, volumes: torch.Tensor, train: bool) -> torch.Tensor:
    """Minus the evidence bound of a Gaussian likelihood of variance 1 but for its constant (III.A)."""
    samples = as_samples(volumes)
    mean, log_variance = encode(w, samples)
    normal = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    latent = mean + torch.randn(mean.shape) * normal.scale if train else mean
    decoded = decode(w, latent)
    likelihood = torch.distributions.Normal(decoded, 1.0).log_prob(samples).flatten(1).sum(dim=1)
    likelihood = likelihood + samples[0].numel() * math.log(2 * math.pi) / 2
    prior = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    divergence = torch.distributions.kl_divergence(normal, prior).sum(dim=1)
    return (divergence - likelihood).reshape(volumes.shape[:2]).mean(dim=0)


def test_it_encodes_and_decodes_as_the_plain_one() -> None:
    volumes = random_volumes(3, 2, SHAPE)
    network = random_network("shared_vae", 2, SHAPE, OPTIONS).eval()
    weights = weights_of(network)
    with torch.no_grad():
        mean, _ = encode(weights, as_samples(volumes))
        assert_close(network.encode(volumes), mean.reshape(3, 10), "code")
        decoded = decode(weights, mean).reshape(3, 2, *SHAPE)
        assert_close(network.decode_volumes(mean.reshape(3, 10)), decoded, "decoded code")
        largest = volumes.amax(dim=(2, 3, 4), keepdim=True)
        assert_close(network.reconstruct(volumes), (decoded * largest).clamp(0, 1), "decoded")
        assert_close(network.losses(volumes), plain_losses(weights, volumes, train=False), "losses")


def test_while_it_learns_it_samples_and_steps_as_the_plain_one() -> None:
    network, volumes = random_network("shared_vae", 2, SHAPE, OPTIONS), random_volumes(3, 2, SHAPE)
    torch.manual_seed(0)
    with torch.no_grad():  # what is drawn matters for the loss
        with_noise, without = (plain_losses(weights_of(network), volumes, train) for train in (True, False))
        assert bool(((with_noise - without).abs() > 1e-3 * without).all())
    check_training(network, volumes, lambda w, v: plain_losses(w, v, train=True), decay=1e-3)


def test_what_is_drawn_has_the_posterior_s_spread() -> None:
    volumes = random_volumes(1, 1, SHAPE)
    network = random_network("shared_vae", 1, SHAPE, OPTIONS).train()
    drawn = []
    decode_all = network.decode
    network.decode = lambda latent: drawn.append(latent) or decode_all(latent)  # type: ignore[method-assign,func-returns-value]
    torch.manual_seed(1)
    with torch.no_grad():
        mean, log_variance = network.posterior(as_samples(volumes))
        for _ in range(400):
            network(volumes)
    latent = torch.cat(drawn)
    deviation = torch.exp(log_variance / 2)
    assert float(((latent.mean(dim=0) - mean) / deviation).abs().max()) < 0.2
    assert float((latent.std(dim=0) / deviation - 1).abs().max()) < 0.15


def test_a_missing_modality_has_the_mean_code_and_does_not_count() -> None:
    volumes = random_volumes(4, 2, SHAPE)
    volumes[1, 0] = torch.nan
    network = random_network("shared_vae", 2, SHAPE, OPTIONS).eval()
    weights = weights_of(network)
    complete = volumes.nan_to_num(nan=0.5)
    with torch.no_grad():
        mean, _ = encode(weights, as_samples(complete))
        codes = mean.reshape(4, 2, 5)
        codes[1, 0] = weights["usual"][0]
        assert_close(network.encode(volumes), codes.flatten(1), "code")
        decoded = decode(weights, codes.reshape(8, 5)).reshape(4, 2, *SHAPE)
        largest = volumes.amax(dim=(2, 3, 4), keepdim=True).nan_to_num(nan=1.0)
        assert_close(network.reconstruct(volumes), (decoded * largest).clamp(0, 1), "decoded")
        found = network.losses(volumes)
        each = torch.stack([plain_losses(weights, complete[i : i + 1], train=False) for i in range(4)])
        assert_close(found, torch.stack([each[[0, 2, 3], 0].mean(), each[:, 1].mean()]), "losses")


def test_what_a_trained_model_says_of_itself() -> None:
    given = fill_defaults(
        {**OPTIONS, "validation_fraction": 0, "weight_decay": 0.1}, load_schema("models/shared_vae")
    )
    model = build_model("shared_vae", given, ["m0", "m1"], SHAPE, 1)
    network = model.network  # type: ignore[attr-defined]
    assert not network.usual.any()
    assert (model.code_size, model.code_modalities) == (10, ["m0"] * 5 + ["m1"] * 5)
    assert model.handles_missing
    assert model.decodes
    volumes = random_volumes(4, 2, SHAPE).numpy()
    volumes[1, 0] = np.nan
    volumes[2, 1] = 0
    scales = volumes.max(axis=(2, 3, 4))
    np.testing.assert_allclose(
        model.scales(-volumes), np.where(np.isnan(scales), 1, np.maximum(scales, 1e-6))
    )
    people = people_in_memory(volumes, np.ones(SHAPE, bool))
    training = TrainingSettings.resolve({**section_defaults("training"), "epochs": 1}, {}, 1)
    history = model.fit(people, np.ones(SHAPE, bool), training, Machine(threads=1, gpus=0))
    assert len(history) == 1
    codes = model.encode(volumes).reshape(4, 2, 5)
    usual = np.stack([codes[[0, 2, 3], 0].mean(axis=0), codes[:, 1].mean(axis=0)])
    np.testing.assert_allclose(network.usual.numpy(), usual, atol=1e-5)
