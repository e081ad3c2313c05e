"""``residual_autoencoder`` (ours) against a plain implementation of what its module says."""

import numpy as np
import pytest
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

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.fusion.models import residual_autoencoder
from neurostrata.fusion.models.registry import build_model

SHAPE = (8, 8, 12)
CHANNELS, CODE = [8, 16], 5


def normalised(w: Weights, name: str, image: torch.Tensor) -> torch.Tensor:
    """Normalisation over groups of 8 channels, ELU."""
    people, channels = image.shape[:2]
    grouped = image.reshape(people, channels // 8, -1)
    grouped = grouped - grouped.mean(dim=2, keepdim=True)
    grouped = grouped / torch.sqrt(grouped.square().mean(dim=2, keepdim=True) + 1e-5)
    image = grouped.reshape(image.shape)
    image = image * w[f"{name}.weight"][:, None, None, None] + w[f"{name}.bias"][:, None, None, None]
    return torch.where(image > 0, image, torch.exp(image.clamp(max=0)) - 1)


def plain_forward(w: Weights, volumes: torch.Tensor, linear: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return code and decoded differences in units of each modality's spread."""
    differences = (volumes - w["mean"]) / w["scale"] * w["mask"]
    image = differences
    for layer in (0, 1):
        name = f"encoder.{layer}"
        image = functional.conv3d(image, w[f"{name}.0.weight"], w[f"{name}.0.bias"], stride=2, padding=1)
        image = normalised(w, f"{name}.1", image)
    code = image.flatten(1) @ w["encoder.3.weight"].T + w["encoder.3.bias"]
    if linear:
        code = code + differences.flatten(1) @ w["components"].flatten(1).T
    image = (code @ w["spread.weight"].T + w["spread.bias"]).reshape(
        -1, CHANNELS[1], *[n // 4 for n in SHAPE]
    )
    image = functional.interpolate(image, scale_factor=2)
    image = functional.conv3d(image, w["decoder.1.0.weight"], w["decoder.1.0.bias"], padding=1)
    image = functional.interpolate(normalised(w, "decoder.1.1", image), scale_factor=2)
    image = functional.conv3d(image, w["decoder.3.weight"], w["decoder.3.bias"], padding=1)
    if linear:
        image = image + (code @ w["components"].flatten(1)).reshape(image.shape)
    return code, image * w["mask"]


def plain_losses(w: Weights, volumes: torch.Tensor, linear: bool) -> torch.Tensor:
    """Squared error inside the mask, in units of each modality's variance."""
    error = plain_forward(w, volumes, linear)[1] - (volumes - w["mean"]) / w["scale"]
    return error.square()[..., w["mask"] > 0].mean(dim=(0, 2))


def network_and_volumes(linear: bool) -> tuple[torch.nn.Module, torch.Tensor]:
    network = random_network(
        "residual_autoencoder", 2, SHAPE, {"channels": CHANNELS, "code_size": CODE, "linear": linear}
    )
    random = np.random.default_rng(3)
    mask = random.random(SHAPE) < 0.7
    mean = random.uniform(0.3, 0.6, size=(2, *SHAPE)).astype(np.float32)
    network.set_reference(mean, np.array([0.2, 0.4]), mask)  # type: ignore[operator]
    if linear:
        rows = np.linalg.qr(random.normal(size=(2 * mask.sum(), CODE)))[0].T
        network.set_components(rows.astype(np.float32), np.array([40.0, 30, 20, 10, 5]))  # type: ignore[operator]
    return network, random_volumes(3, 2, SHAPE)


@pytest.mark.parametrize("linear", [True, False])
def test_it_encodes_and_decodes_as_the_plain_one(linear: bool) -> None:
    network, volumes = network_and_volumes(linear)
    network.eval()
    with torch.no_grad():
        weights = weights_of(network)
        code, differences = plain_forward(weights, volumes, linear)
        assert_close(network.encode(volumes), code, "code")
        decoded = (weights["mean"] + differences * weights["scale"]).clamp(0, 1)
        assert_close(network.reconstruct(volumes), decoded, "decoded")
        assert_close(network.decode_volumes(code), decoded, "decoded code")
        assert_close(network.losses(volumes), plain_losses(weights, volumes, linear), "losses")


@pytest.mark.parametrize("linear", [True, False])
def test_it_learns_as_the_plain_one(linear: bool) -> None:
    network, volumes = network_and_volumes(linear)
    check_training(network, volumes, lambda w, v: plain_losses(w, v, linear), decay=1e-2)


def test_codes_of_the_incomplete_are_expected_values_of_a_normal_distribution() -> None:
    network, volumes = network_and_volumes(linear=True)
    with torch.no_grad():
        for name, value in network.named_parameters():  # the components alone
            if name.startswith("encoder.3"):
                value.zero_()
        incomplete = volumes.clone()
        incomplete[1, 0] = torch.nan
        codes = network.eval().encode(incomplete)
        inside = network.mask > 0
        components = network.components[:, :, inside].double()
        variance = torch.diag(network.variance.double())
        noise = 1 - network.variance.double().sum() / (2 * inside.sum())
        for person, seen in ((0, [0, 1]), (1, [1])):
            differences = (
                ((volumes[person] - network.mean) / network.scale)[:, inside].double()[seen].flatten()
            )
            rows = components[:, seen].flatten(1)
            if person == 0:
                expected = rows @ differences
            else:  # E[code | seen] = cov(code, seen) cov(seen)^-1 seen
                covariance = rows.T @ variance @ rows + noise * torch.eye(rows.shape[1])
                expected = variance @ rows @ torch.linalg.solve(covariance, differences)
            assert_close(codes[person], expected, f"person {person}", 1e-3)


def test_it_starts_without_a_reference_and_the_grid_must_suit_the_channels() -> None:
    given = fill_defaults(
        {"channels": [8, 8, 16], "code_size": CODE}, load_schema("models/residual_autoencoder")
    )
    network = build_model("residual_autoencoder", given, ["a", "b"], (8, 16, 24), 1).network  # type: ignore[attr-defined]
    assert not network.mean.any()
    assert bool((network.scale == 1).all())
    assert bool((network.mask == 1).all())
    assert network.scale.shape == (2, 1, 1, 1)
    assert not network.components.any()
    assert bool((network.variance == 1e-12).all())
    assert not network.products.any()
    for layer in (network.encoder[-1], network.decoder[-1]):
        assert not layer.weight.any()
        assert not layer.bias.any()
    with pytest.raises(UserError, match="multiples of 8"):
        build_model("residual_autoencoder", given, ["a"], (12, 8, 8), 1)


def test_components_are_learned_from_as_many_complete_people_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = random_volumes(8, 2, SHAPE).numpy()
    volumes[2, 1] = np.nan
    mask = np.random.default_rng(1).random(SHAPE) < 0.6
    people = people_in_memory(volumes, mask)
    given = fill_defaults(
        {"channels": CHANNELS, "code_size": CODE}, load_schema("models/residual_autoencoder")
    )
    model = build_model("residual_autoencoder", given, ["m0", "m1"], SHAPE, 3)
    complete = np.array([0, 1, 3, 4, 5, 6, 7])
    each = 12 * 2 * mask.sum()

    def rows(room: float) -> np.ndarray:
        monkeypatch.setattr(residual_autoencoder, "ROWS_BYTES", room * each)
        return model._rows(people, mask)  # type: ignore[attr-defined]

    def expected(who: np.ndarray) -> np.ndarray:
        found = volumes[who][:, :, mask]
        found = found - found.mean(axis=0)
        return found / found.reshape(len(who), 2, -1).std(axis=(0, 2))[None, :, None]

    for room in (100, 7.01, 7):
        np.testing.assert_allclose(rows(room), expected(complete), atol=1e-4)
    order = np.random.default_rng([3, 6]).permutation(complete)
    np.testing.assert_allclose(rows(4.5), expected(np.sort(order[:4])), atol=1e-4)
    np.testing.assert_allclose(rows(0), expected(np.sort(order[:2])), atol=1e-4)
    with pytest.raises(UserError, match="1 training people with all modalities"):
        model._rows(people.subset([1, 2]), mask)  # type: ignore[attr-defined]
