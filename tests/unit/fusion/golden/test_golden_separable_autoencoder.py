"""``separable_autoencoder`` against a plain implementation of Dimitri 2022 (2.1.2, 2.1.3, Figs. 2 and 3)."""

import pytest
import torch
from plain_training import Weights, assert_close, check_training, random_network, random_volumes, weights_of
from torch.nn import functional

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.fusion.models.registry import build_model

SHAPE = (32, 32, 32)
DROPOUT, MOMENTUM = 0.2, 0.05  # not the defaults
LEVELS = 5


def convolve(
    image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int = 1
) -> torch.Tensor:
    """Keras's "same": of k - 1 zeros the odd one is at the end."""
    sides = [n for k in reversed(weight.shape[2:]) for n in ((k - 1) // 2, k - 1 - (k - 1) // 2)]
    return functional.conv3d(functional.pad(image, sides), weight, bias, groups=groups)


def block(w: Weights, name: str, image: torch.Tensor, train: bool, separable: bool = False) -> torch.Tensor:
    """Fig. 3a: (separable) convolution, batch normalisation, ELU, dropout."""
    if separable:
        image = convolve(image, w[f"{name}.0.weight"], None, groups=image.shape[1])
        image = convolve(image, w[f"{name}.1.weight"], w[f"{name}.1.bias"])
        norm = f"{name}.2"
    else:
        image = convolve(image, w[f"{name}.0.weight"], w[f"{name}.0.bias"])
        norm = f"{name}.1"
    mean, variance = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
    if train:
        number = image.numel() / image.shape[1]
        old = mean, variance
        mean, variance = image.mean(dim=(0, 2, 3, 4)), image.var(dim=(0, 2, 3, 4), correction=0)
        new = mean.detach(), variance.detach() * number / (number - 1)
        for key, before, now in zip(("running_mean", "running_var"), old, new, strict=True):
            w[f"{norm}.{key}"] = (1 - MOMENTUM) * before + MOMENTUM * now
    image = (image - mean[:, None, None, None]) / torch.sqrt(variance + 1e-3)[:, None, None, None]
    image = image * w[f"{norm}.weight"][:, None, None, None] + w[f"{norm}.bias"][:, None, None, None]
    image = torch.where(image > 0, image, torch.exp(image.clamp(max=0)) - 1)
    return functional.dropout(image, DROPOUT, training=train)


def midflow(w: Weights, name: str, image: torch.Tensor, train: bool) -> torch.Tensor:
    """Fig. 3b: three separable blocks, and their input added."""
    result = image
    for number in range(3):
        result = block(w, f"{name}.blocks.{number}", result, train, separable=True)
    return image + result


def plain_forward(
    w: Weights, volumes: torch.Tensor, train: bool, skip: bool, pooling: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return code and logits (Fig. 2)."""
    ends, kept = [], []
    for modality in range(volumes.shape[1]):
        image, features = volumes[:, modality : modality + 1], []
        for level in range(LEVELS):
            name = f"encoders.{modality}.{level}"
            image = midflow(w, f"{name}.mid", block(w, f"{name}.conv", image, train), train)
            image = block(w, f"{name}.down", image, train)
            if pooling == 3:
                image = functional.pad(image, (0, 1, 0, 1, 0, 1), value=-1e9)
            image = functional.max_pool3d(image, pooling, stride=2)
            features.append(image)
        ends.append(image)
        kept.append(features)
    code = block(w, "fusion", torch.cat(ends, dim=1), train)
    decoded = []
    for modality in range(volumes.shape[1]):
        image = code
        for level in range(LEVELS):
            name = f"decoders.{modality}.{level}"
            image = block(w, f"{name}.up", functional.interpolate(image, scale_factor=2), train)
            last = level == LEVELS - 1
            if skip and not last:
                image = torch.cat([image, kept[modality][LEVELS - 2 - level]], dim=1)
            image = midflow(w, f"{name}.mid", image, train)
            if last:
                image = convolve(image, w[f"{name}.conv.weight"], w[f"{name}.conv.bias"])
            else:
                image = block(w, f"{name}.conv", image, train)
        decoded.append(image)
    return code, torch.cat(decoded, dim=1)


def plain_losses(logits: torch.Tensor, volumes: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy (Fig. 2) of each modality."""
    decoded = torch.sigmoid(logits)
    return -(volumes * decoded.log() + (1 - volumes) * (1 - decoded).log()).mean(dim=(0, 2, 3, 4))


def test_it_encodes_and_decodes_as_the_plain_one() -> None:
    volumes = random_volumes(2, 2, SHAPE)
    network = random_network("separable_autoencoder", 2, SHAPE, {}, gain=1).eval()
    with torch.no_grad():
        code, logits = plain_forward(weights_of(network), volumes, train=False, skip=True)
        assert_close(network.encode(volumes), code.flatten(1), "code")
        assert_close(network.reconstruct(volumes), torch.sigmoid(logits), "decoded")
        assert_close(network.losses(volumes), plain_losses(logits, volumes), "losses")


def test_without_skip_connections_and_with_wide_pooling() -> None:
    volumes = random_volumes(2, 1, SHAPE)
    options = {"skip_connections": False, "pooling_size": 3, "kernel_size": [3, 3, 3]}
    network = random_network("separable_autoencoder", 1, SHAPE, options, gain=1).eval()
    with torch.no_grad():
        code, logits = plain_forward(weights_of(network), volumes, train=False, skip=False, pooling=3)
        assert_close(network.encode(volumes), code.flatten(1), "code")
        assert_close(network.decode_volumes(code.flatten(1)), torch.sigmoid(logits), "decoded")


def test_it_learns_as_the_plain_one() -> None:
    volumes = random_volumes(3, 2, SHAPE)
    options = {"kernel_size": [3, 4, 1], "dropout": DROPOUT, "batch_norm_momentum": MOMENTUM}
    network = random_network("separable_autoencoder", 2, SHAPE, options, gain=1)

    def losses(weights: Weights, batch: torch.Tensor) -> torch.Tensor:
        return plain_losses(plain_forward(weights, batch, train=True, skip=True)[1], batch)

    weights = check_training(network, volumes, losses, decay=1e-4, share=0.02)
    for name, value in network.state_dict().items():
        if "running" in name:
            assert_close(value, weights[name], name, 1e-3)


def test_hidden_modalities_are_predicted_and_missing_ones_do_not_count() -> None:
    volumes = random_volumes(5, 2, SHAPE)
    volumes[4, 1] = torch.nan
    there = ~torch.isnan(volumes[:, :, 0, 0, 0])
    options = {
        "kernel_size": [1, 2, 1],
        "dropout": DROPOUT,
        "skip_connections": False,
        "modality_dropout": 0.6,
    }
    network = random_network("separable_autoencoder", 2, SHAPE, options, gain=1)
    weights = weights_of(network)
    mean = weights["mean"]
    assert mean.shape == (2, *SHAPE)
    assert bool(mean.any())
    filled = torch.where(there[:, :, None, None, None], volumes, mean)

    def losses(seen: torch.Tensor, train: bool) -> torch.Tensor:
        logits = plain_forward(weights, seen, train=train, skip=False)[1]
        each = torch.stack([plain_losses(logits[i : i + 1], filled[i : i + 1]) for i in range(5)])
        return torch.stack([each[there[:, m], m].mean() for m in range(2)])

    with torch.no_grad():
        assert_close(network.eval().losses(volumes), losses(filled, train=False), "losses")
        hidden = 0
        for seed in range(2):
            torch.manual_seed(seed)
            found = network.train().losses(volumes)
            torch.manual_seed(seed)
            chance = torch.rand(5, 2)
            keep = there & (chance >= 0.6)
            for person in range(5):
                if not keep[person].any():
                    keep[person, chance[person].argmax() if person < 4 else 0] = True
            hidden += int((there & ~keep).sum())
            seen = torch.where(keep[:, :, None, None, None], volumes, mean)
            assert_close(found, losses(seen, train=True), "losses while training")
        assert hidden


def test_the_start_is_keras_s_and_the_mean_is_0() -> None:
    options = fill_defaults({"modality_dropout": 0.5}, load_schema("models/separable_autoencoder"))
    model = build_model("separable_autoencoder", options, ["a", "b"], SHAPE, 1)
    for name, value in model.network.state_dict().items():  # type: ignore[attr-defined]
        if name == "mean" or name.endswith(("bias", "running_mean")):
            assert not value.any(), name
    assert model.code_size == 32
    assert model.smallest_batch == 2  # type: ignore[attr-defined]
    assert model.handles_missing
    assert not model.decodes
    wide = build_model(
        "separable_autoencoder", {**options, "skip_connections": False}, ["a"], (32, 64, 96), 1
    )
    assert wide.code_size == 6 * 32
    assert wide.smallest_batch == 1  # type: ignore[attr-defined]
    assert wide.decodes
    for shape in ((31, 32, 32), (32, 32, 48), (32, 0, 32)):
        with pytest.raises(UserError, match="multiples of 32"):
            build_model("separable_autoencoder", options, ["a"], shape, 1)


def test_a_code_is_not_decoded_without_the_features_it_needs() -> None:
    network = random_network("separable_autoencoder", 1, SHAPE, {"kernel_size": [1, 1, 1]}, gain=1).eval()
    with pytest.raises(ValueError, match="does not decode from its code alone"):
        network.decode(torch.zeros(1, 32, 1, 1, 1))
