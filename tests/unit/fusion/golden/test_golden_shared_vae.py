"""``shared_vae`` against a plain implementation of Geenjaar et al. 2021 (III.A, III.C, III.D)."""

import math

import torch
from plain_training import Weights, assert_close, check_training, random_network, random_volumes, weights_of
from torch.nn import functional

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
    with torch.no_grad():  # what is drawn matters for the loss
        with_noise, without = (plain_losses(weights_of(network), volumes, train) for train in (True, False))
        assert bool(((with_noise - without).abs() > 0.01 * without).all())
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
