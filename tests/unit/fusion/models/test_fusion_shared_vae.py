"""The shared VAE: the paper's layer shapes, its objective by hand, and that it learns."""

import numpy as np
import pytest
import torch
from fusion_toy import toy_mask, toy_settings, toy_volumes

from neurostrata.core.config import section_defaults
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.shared_vae import SharedVAENetwork, halved
from neurostrata.fusion.training.machine import Machine

SCALING = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}


def options(**given):
    return toy_settings("shared_vae", options=given)["experiment"]["options"]


def test_layers_are_the_papers_on_its_grid():
    """53x63x52: four halvings to 4x4x4; 64 to 512 channels; back by 7, 14, 27 and 53."""
    grids = halved((53, 63, 52), 4)
    assert [grid[0] for grid in grids] == [53, 27, 14, 7, 4]
    assert grids[-1] == (4, 4, 4)
    with torch.device("meta"):
        network = SharedVAENetwork(1, (53, 63, 52), options())
        latent = torch.empty(2, 128)
        assert network.decode(latent).shape == (2, 1, 53, 63, 52)
        shapes = []
        image = network.from_latent(latent).unflatten(1, network.start)
        for layer in network.decoder:
            image = layer(image)
            if isinstance(layer, torch.nn.ConvTranspose3d | torch.nn.Conv3d):
                shapes.append((image.shape[1], image.shape[2]))
    assert shapes == [(256, 7), (128, 14), (64, 27), (32, 53), (16, 53), (1, 53)]
    assert network.decoder[-2].bias is None


def test_the_number_of_parameters_does_not_depend_on_the_number_of_modalities():
    small = options(channels=[4, 8], latent_size=6)
    counts = {
        len(names): build_model("shared_vae", small, names, (13, 16, 12), 1).facts()["parameters"]
        for names in (["a"], ["a", "b", "c"])
    }
    flat = 8 * 4 * 4 * 3
    encoder = (27 + 1) * 4 + (4 * 27 + 1) * 8 + 2 * (flat + 1) * 6
    decoder = (6 + 1) * flat + (8 * 27 * 4 + 4) + (4 * 27 * 2 + 2) + (2 * 27 + 1) + 27
    assert counts == {1: encoder + decoder, 3: encoder + decoder}
    assert build_model("shared_vae", small, ["a", "b", "c"], (13, 16, 12), 1).code_size == 18


def test_the_objective_is_half_the_summed_error_plus_the_summed_divergence():
    network = SharedVAENetwork(3, (8, 8, 8), options(channels=[4], latent_size=3)).eval()
    volumes = torch.rand(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        losses = network.losses(volumes)
        scaled = volumes[1, 2] / volumes[1, 2].max()
        mean, log_variance = network.posterior(scaled[None, None])
        prior = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
        posterior = torch.distributions.Normal(mean[0], (0.5 * log_variance[0]).exp())
        divergence = torch.distributions.kl_divergence(posterior, prior).sum()
        one = 0.5 * ((network.decode(mean)[0, 0] - scaled) ** 2).sum() + divergence
        other = network.losses(volumes[:1])[2]
    assert float(losses[2]) == pytest.approx(float(one + other) / 2, rel=1e-5)


def test_it_learns_and_embeds_each_modality_for_itself(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path, people=16, side=16), ["jac", "ndi"])
    people = VolumeSet(opened, opened[0].info["subjects"], SCALING)
    model = build_model("shared_vae", options(channels=[32, 64], latent_size=4), ["jac", "ndi"], (16,) * 3, 1)
    volumes = np.stack([people[i] for i in range(16)])
    section = {**section_defaults("training"), "epochs": 50, "batch_size": 4, "learning_rate": 2e-3}
    history = model.fit(people, toy_mask(16), TrainingSettings.resolve(section, {}, seed=1), Machine())
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    # Far below the error of the mean image: the code says who it is.
    assert np.mean((model.reconstruct(volumes) - volumes) ** 2) < 0.6 * np.mean(
        (people.mean() - volumes) ** 2
    )
    codes = model.encode(volumes)
    assert codes.shape == (16, 8)
    np.testing.assert_array_equal(codes, model.encode(volumes))
    changed = volumes.copy()
    changed[:, 1] = changed[:, 1, ::-1]
    moved = model.encode(changed)
    np.testing.assert_allclose(moved[:, :4], codes[:, :4], atol=1e-5)  # the first modality's part stays
    assert np.abs(moved[:, 4:] - codes[:, 4:]).max() > 1e-3
