"""People who lack modalities: hidden at random in training, embedded all the same."""

import json

import numpy as np
import pytest
import torch
from fusion_toy import toy_mask, toy_settings, toy_volumes

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.missing import filled, hide, mean_over_present, present
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.training.machine import Machine

SCALING = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}


def test_nobody_is_left_with_nothing():
    volumes = torch.rand(200, 3, 2, 2, 2)
    volumes[:50, 0] = torch.nan
    torch.manual_seed(1)
    seen = hide(volumes, 0.9)
    assert present(seen).any(dim=1).all()
    assert not present(seen)[:50, 0].any()
    assert present(seen)[50:].float().mean() < 0.5
    assert torch.equal(seen[present(seen)], volumes[present(seen)])
    assert torch.equal(present(hide(volumes, 0.0)), present(volumes))


def test_means_are_over_those_who_have_the_modality():
    errors = torch.tensor([[1.0, 5.0], [3.0, 7.0]])
    there = torch.tensor([[True, False], [True, False]])
    assert mean_over_present(errors, there).tolist() == [2.0, 0.0]
    volumes = torch.full((1, 2, 1, 1, 1), torch.nan)
    volumes[0, 0] = 4
    assert filled(volumes, torch.full((2, 1, 1, 1), 9.0)).flatten().tolist() == [4, 9]


@pytest.fixture
def people(tmp_path):
    """16 people, the last three without ndi."""
    paths = toy_volumes(tmp_path, people=16, side=32)
    array = np.load(paths[1])[:13]
    np.save(paths[1], array)
    description = json.loads(paths[1].with_suffix(".json").read_text())
    everybody = description["subjects"]
    description["subjects"] = everybody[:13]
    paths[1].with_suffix(".json").write_text(json.dumps(description))
    return VolumeSet(open_volumes(paths, ["jac", "ndi"]), everybody, SCALING, incomplete=True)


def test_incomplete_people_are_nan_where_they_lack_something(people):
    assert np.isnan(people[15][1]).all()
    assert np.isfinite(people[15][0]).all()
    assert people.present().sum(axis=0).tolist() == [16, 13]
    np.testing.assert_allclose(
        people.mean()[1], np.mean([people[i][1] for i in range(13)], axis=0), rtol=1e-5
    )
    slab = people.slab(1, 4, 8)
    assert np.isnan(slab[13:]).all()
    np.testing.assert_array_equal(slab[2], people[2][1, 4:8])
    with pytest.raises(UserError, match="subject 14: has no 'ndi' volume"):
        VolumeSet(people.volumes, people.subjects, SCALING)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("residual_autoencoder", {"channels": [8, 8, 16], "code_size": 4, "modality_dropout": 0.3}),
        ("shared_vae", {"channels": [32, 64], "latent_size": 4}),
        ("separable_autoencoder", {"modality_dropout": 0.3, "skip_connections": False}),
        ("pca", {}),
    ],
)
def test_every_model_learns_from_and_embeds_the_incomplete(people, name, options):
    filled_in = toy_settings(name, options=options)["experiment"]["options"]
    model = build_model(name, filled_in, ["jac", "ndi"], people.shape, 1)
    assert model.handles_missing
    section = {**section_defaults("training"), "epochs": 3, "batch_size": 4}
    history = model.fit(people, toy_mask(32), TrainingSettings.resolve(section, {}, seed=1), Machine())
    assert np.isfinite(history.to_numpy(float)).all()
    volumes = np.stack([people[i] for i in range(16)])
    codes = model.encode(volumes)
    assert codes.shape == (16, model.code_size)
    assert np.isfinite(codes).all()
    assert np.isfinite(model.reconstruct(volumes)).all()
    # the incomplete differ from each other by what they have
    assert not np.allclose(codes[13], codes[14], atol=1e-5)


def test_the_papers_network_has_no_missing_modalities(people):
    options = toy_settings("separable_autoencoder")["experiment"]["options"]
    assert not build_model("separable_autoencoder", options, ["jac", "ndi"], people.shape, 1).handles_missing
