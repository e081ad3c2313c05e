"""``latent_synthesis`` against a plain implementation of Chartsias et al. 2018 (IV, V, Figs. 2 and 3)."""

import numpy as np
import pytest
import torch
from plain_training import Weights, assert_close, check_training, random_network, random_volumes, weights_of
from torch.nn import functional

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.fusion.models.registry import build_model

#: Slices of 8 x 12: no padding is needed.
SHAPE = (8, 12, 3)
CHANNELS, LATENT = [3, 4, 5], 4
SLICES = 4


def options(fusion: str) -> dict[str, object]:
    grid = [2, 2, 1]
    return {
        "channels": CHANNELS,
        "latent_channels": LATENT,
        "decoder_channels": 6,
        "fusion": fusion,
        "slices_per_step": SLICES,
        "code_grid": grid,
    }


def convolution(w: Weights, name: str, image: torch.Tensor, active: bool = True) -> torch.Tensor:
    """3x3, the border pixels repeated (IV-A), LeakyReLU."""
    image = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    image = functional.conv2d(image, w[f"{name}.weight"], w[f"{name}.bias"])
    return torch.where(image > 0, image, 0.3 * image) if active else image


def pair(w: Weights, name: str, image: torch.Tensor) -> torch.Tensor:
    return convolution(w, f"{name}.2", convolution(w, f"{name}.0", image))


def encode(w: Weights, name: str, image: torch.Tensor) -> torch.Tensor:
    """Fig. 2."""
    full = pair(w, f"{name}.down1", image)
    half = pair(w, f"{name}.down2", functional.max_pool2d(full, 2))
    low = pair(w, f"{name}.bottom", functional.max_pool2d(half, 2))
    up = convolution(w, f"{name}.widen2", functional.interpolate(low, scale_factor=2), active=False)
    up = pair(w, f"{name}.up2", torch.cat([half, up], dim=1))
    up = convolution(w, f"{name}.widen1", functional.interpolate(up, scale_factor=2), active=False)
    return convolution(w, f"{name}.latent.0", pair(w, f"{name}.up1", torch.cat([full, up], dim=1)))


def decode(w: Weights, name: str, latent: torch.Tensor) -> torch.Tensor:
    """Fig. 3."""
    first = torch.cat([latent, pair(w, f"{name}.block1", latent)], dim=1)
    second = torch.cat([first, pair(w, f"{name}.block2", first)], dim=1)
    return torch.einsum("soxy,o->sxy", second, w[f"{name}.last.weight"][0, :, 0, 0]) + w[f"{name}.last.bias"]


def fused(w: Weights, latents: list[torch.Tensor], fusion: str, position: int) -> torch.Tensor:
    """The synthesis of an output by eq. 1 (max), 5 (mean), 6 (hemis) or the mean of outputs (IV-E)."""
    name, stacked = f"decoders.{position}", torch.stack(latents)
    if fusion == "output_mean":
        return torch.stack([decode(w, name, latent) for latent in latents]).mean(dim=0)
    if fusion == "weighted":
        importance = torch.exp(stacked[:, :, LATENT:])
        return decode(w, name, (stacked[:, :, :LATENT] * importance).sum(dim=0) / importance.sum(dim=0))
    return decode(w, name, fuse(latents, fusion))


def fuse(latents: list[torch.Tensor], fusion: str) -> torch.Tensor:
    stacked = torch.stack(latents)
    if fusion == "hemis":
        return torch.cat([stacked.mean(dim=0), stacked.var(dim=0, correction=0)], dim=1)
    return stacked.max(dim=0).values if fusion == "max" else stacked.mean(dim=0)


def as_slices(volumes: torch.Tensor) -> torch.Tensor:
    """Axial slices (slices, modalities, x, y) of volumes over their mean intensities (V)."""
    return torch.stack(
        [v[:, :, :, z] / v.mean(dim=(1, 2, 3))[:, None, None] for v in volumes for z in range(SHAPE[2])]
    )


def plain_cost(w: Weights, slices: torch.Tensor, fusion: str) -> torch.Tensor:
    """Eq. 2 + 3 + 4, mean over slices; all modalities are inputs and outputs."""
    number = slices.shape[1]
    latents = [encode(w, f"encoders.{i}", slices[:, i : i + 1]) for i in range(number)]
    c1 = c3 = torch.zeros(())
    for j in range(number):
        for latent in latents:
            alone = (
                torch.cat([latent, torch.zeros_like(latent)], dim=1)
                if fusion == "hemis"
                else latent[:, :LATENT]
            )
            c1 = c1 + (decode(w, f"decoders.{j}", alone) - slices[:, j]).abs().mean() / number
        c3 = c3 + (fused(w, latents, fusion, j) - slices[:, j]).abs().mean() / number
    c2 = torch.stack(latents)[:, :, :LATENT].var(dim=0, correction=0).mean()
    return c1 + c2 + c3


@pytest.mark.parametrize("fusion", ["max", "mean", "hemis", "output_mean", "weighted"])
def test_it_synthesises_and_costs_as_the_plain_one(fusion: str) -> None:
    volumes = random_volumes(2, 3, SHAPE)
    network = random_network("latent_synthesis", 3, SHAPE, options(fusion)).eval()
    weights = weights_of(network)
    with torch.no_grad():
        slices = as_slices(volumes)
        assert_close(network.losses(volumes).mean(), plain_cost(weights, slices, fusion), "cost")
        latents = [encode(weights, f"encoders.{i}", slices[:, i : i + 1]) for i in range(3)]
        images = torch.stack([fused(weights, latents, fusion, j) for j in range(3)], dim=1)
        expected = images.reshape(2, SHAPE[2], 3, *SHAPE[:2]).permute(0, 2, 3, 4, 1)
        assert_close(network.synthesise(volumes), expected.clamp(min=0), "synthesised")
        if fusion in {"max", "mean", "hemis"}:
            image = fuse(latents, fusion).reshape(2, SHAPE[2], LATENT, *SHAPE[:2]).permute(0, 2, 3, 4, 1)
            blocks = image.reshape(2, LATENT, 2, 4, 2, 6, SHAPE[2]).mean(dim=(3, 5, 6))
            assert_close(network.encode(volumes), blocks.flatten(1), "code")


@pytest.mark.parametrize("fusion", ["max", "hemis"])
def test_it_learns_as_the_plain_one(fusion: str) -> None:
    network = random_network("latent_synthesis", 2, SHAPE, options(fusion))

    def losses(weights: Weights, volumes: torch.Tensor) -> torch.Tensor:
        slices = as_slices(volumes)
        drawn = torch.randperm(len(slices))[:SLICES]
        return plain_cost(weights, slices[drawn], fusion)

    check_training(network, random_volumes(3, 2, SHAPE), losses, decay=1e-3)


def test_the_model_checks_its_inputs_and_takes_any_plane() -> None:
    given = fill_defaults(
        {**options("max"), "inputs": ["a", "b"], "outputs": ["c"]}, load_schema("models/latent_synthesis")
    )
    model = build_model("latent_synthesis", given, ["a", "b", "c"], (8, 8, 8), 1)
    assert (model.inputs, model.outputs, model.always_given, model.slice_plane) == (
        ["a", "b"],
        ["c"],
        [],
        "axial",
    )
    assert model.code_size == LATENT * 4
    volumes = random_volumes(2, 3, (8, 8, 8)).numpy()
    turned = np.ascontiguousarray(volumes.transpose(0, 1, 4, 3, 2))
    for use in (model.synthesise, model.reconstruct):
        axial, sagittal = use(volumes), use(volumes, plane="sagittal")  # type: ignore[call-arg]
        assert np.isnan(axial[:, :2]).all()
        assert np.isfinite(axial[:, 2]).all()
        assert not np.allclose(axial[:, 2], sagittal[:, 2])
        # the sagittal slices of an image are the axial ones of its mirror image, but for their own axes
        again = use(np.ascontiguousarray(turned.transpose(0, 1, 3, 2, 4)))[:, 2].transpose(0, 2, 1, 3)
        np.testing.assert_allclose(sagittal[:, 2], again.transpose(0, 3, 2, 1), atol=1e-5)
    lacking = volumes.copy()
    lacking[1, :2] = np.nan
    for check in (model.encode, model.synthesise, model.reconstruct):
        with pytest.raises(UserError, match="a person has none of the inputs"):
            check(lacking)
    lacking[1, 0] = volumes[1, 0]
    assert np.isfinite(model.encode(lacking)).all()
