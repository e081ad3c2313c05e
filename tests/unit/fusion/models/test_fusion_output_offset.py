"""The output offset: a decoder that has learned nothing gives the mean image of those it learns from."""

import dataclasses
import importlib

import numpy as np
import pandas as pd
import pytest
import torch
from fusion_toy import AFFINE, toy_mask, toy_settings, toy_volumes
from plain_training import people_in_memory

from neurostrata.core.config import section_defaults
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.layers.output_offset import MARGIN, OutputOffset, artanh, logit, mean_of
from neurostrata.fusion.models.bundle import load_bundle, save_bundle
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.training.machine import Machine
from neurostrata.fusion.training.module import TrainingModule

NAMES = ["jac", "ndi"]
SCALING = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}
#: Model -> side of the grid, options of a small network, module that trains it, last layer of its decoders.
MODELS = {
    "separable_autoencoder": (32, {"skip_connections": False}, "network", "decoders.{}.4.conv"),
    "shared_vae": (
        16,
        {"channels": [4, 8], "latent_size": 3, "validation_fraction": 0},
        "shared_vae",
        "decoder.6",
    ),
    "latent_synthesis": (
        16,
        {
            "channels": [2, 3, 4],
            "latent_channels": 2,
            "decoder_channels": 2,
            "code_grid": [2] * 3,
            "validation_fraction": 0,
        },
        "synthesis.latent_synthesis",
        "decoders.{}.last",
    ),
}


def cohort(folder, side):
    opened = open_volumes(toy_volumes(folder, people=6, side=side), NAMES)
    return VolumeSet(opened, opened[0].info["subjects"], SCALING)


def build(name, **given):
    side, small, _, _ = MODELS[name]
    options = toy_settings(name, options=small | {"output_offset": "mean"} | given)["experiment"]["options"]
    return build_model(name, options, NAMES, (side,) * 3, 1)


def how(**given):
    return TrainingSettings.resolve(
        {**section_defaults("training"), "epochs": 3, "batch_size": 2, **given}, {}, 1
    )


def untrained(name, people, monkeypatch, **given):
    """A model that was fitted without a step, its decoders' last layers at 0."""
    side, _, module, last = MODELS[name]
    module = importlib.import_module(f"neurostrata.fusion.models.{module}")
    monkeypatch.setattr(module, "train_network", lambda *_, **__: pd.DataFrame({"epoch": [0]}))
    model = build(name, **given)
    model.fit(people, toy_mask(side), how(), Machine())
    for layer in {last.format(number) for number in range(len(NAMES))}:
        for parameter in model.network.get_submodule(layer).parameters():
            torch.nn.init.zeros_(parameter)
    return model


def expected(name, people, volumes):
    """The mean image in the units of `volumes`, from definitions: over the maxima, or means, of the images if the model is so."""
    every = np.stack([people[i] for i in range(len(people))]).astype(np.float64)
    if name == "separable_autoencoder":
        return np.broadcast_to(every.mean(axis=0), volumes.shape)
    scale = np.max if name == "shared_vae" else np.mean
    mean = np.mean([[image / scale(image) for image in person] for person in every], axis=0)
    return np.stack([[m * scale(image) for m, image in zip(mean, person)] for person in volumes]).clip(0, 1)


@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_that_learned_nothing_gives_the_training_peoples_mean(name, tmp_path, monkeypatch):
    everybody = cohort(tmp_path / "volumes", MODELS[name][0])
    people = everybody.subset([0, 1, 2, 3])
    other = np.stack([everybody[4], everybody[5]])
    model = untrained(name, people, monkeypatch)
    wanted = expected(name, people, other)
    assert np.ptp(wanted) > 0.3
    np.testing.assert_allclose(model.reconstruct(other), wanted, atol=2 * MARGIN)
    # It is kept with the weights, and is none of the trained parameters.
    save_bundle(
        tmp_path / "model",
        model,
        scaling=SCALING,
        affine=AFFINE,
        training_people=people.subjects,
        settings={},
    )
    loaded, description = load_bundle(tmp_path / "model")
    np.testing.assert_array_equal(loaded.reconstruct(other), model.reconstruct(other))
    plain = build(name, output_offset="none")
    assert description["facts"]["parameters"] == plain.facts()["parameters"]
    # Without it a model has the weights of earlier releases, and decodes something else.
    assert set(model.weights()) - set(plain.weights()) == {"offset.image"}
    assert np.abs(plain.reconstruct(other) - wanted).max() > 0.1


def test_codes_decode_to_the_mean_with_what_they_say_added(tmp_path, monkeypatch):
    people = cohort(tmp_path, 32)
    model = untrained("separable_autoencoder", people, monkeypatch)
    volumes = np.stack([people[0]])
    bias = 0.7
    for decoder in model.network.decoders:
        torch.nn.init.constant_(decoder[-1].conv.bias, bias)
    decoded = model.decode(model.encode(volumes))
    np.testing.assert_allclose(decoded, model.reconstruct(volumes), atol=1e-6)
    mean = people.mean().clip(MARGIN, 1 - MARGIN)
    np.testing.assert_allclose(decoded[0], 1 / (1 + np.exp(-bias) * (1 - mean) / mean), atol=1e-5)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_synthesis_has_the_mean_in_every_plane_and_in_its_cost(plane, tmp_path, monkeypatch):
    people = cohort(tmp_path, 16)
    model = untrained("latent_synthesis", people, monkeypatch, plane=plane, costs=["c3"])
    volumes = np.stack([people[0], people[1]])
    for shown in ("axial", "coronal", "sagittal"):
        np.testing.assert_allclose(
            model.reconstruct(volumes, plane=shown), expected("latent_synthesis", people, volumes), atol=1e-5
        )
    every = np.stack([people[i] for i in range(len(people))])
    over_mean = every / every.mean(axis=(2, 3, 4), keepdims=True)
    with torch.no_grad():
        losses = model.network.losses(torch.from_numpy(volumes)).numpy()
    wanted = np.abs(over_mean[:2] - over_mean.mean(axis=0)).mean(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)


@pytest.mark.parametrize("name", ["separable_autoencoder", "shared_vae"])
def test_the_mean_is_of_those_who_have_a_modality(name, tmp_path, monkeypatch):
    people = cohort(tmp_path, MODELS[name][0])
    lacking = [
        dataclasses.replace(volume, row={s: r for s, r in volume.row.items() if s != "02"})
        if volume.name == "ndi"
        else volume
        for volume in people.volumes
    ]
    some = VolumeSet(lacking, people.subjects, SCALING, incomplete=True)
    given = {"modality_dropout": 0.2} if name == "separable_autoencoder" else {}
    model = untrained(name, some, monkeypatch, **given)
    volumes = np.stack([people[0]])
    complete = people.subset([i for i, s in enumerate(people.subjects) if s != "02"])
    decoded = model.reconstruct(volumes)
    np.testing.assert_allclose(decoded[:, 0], expected(name, people, volumes)[:, 0], atol=2 * MARGIN)
    np.testing.assert_allclose(decoded[:, 1], expected(name, complete, volumes)[:, 1], atol=2 * MARGIN)
    # Somebody without a modality is decoded, too.
    assert np.isfinite(model.reconstruct(np.stack([some[1]]))).all()


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_with_the_same_offset(tmp_path, monkeypatch, capsys):
    people = cohort(tmp_path / "volumes", 16)
    model = build("shared_vae")
    model.fit(people, toy_mask(16), how(), Machine())
    start = TrainingModule.on_train_epoch_start

    def killed(module):
        if module.current_epoch == 1:
            raise KilledError
        start(module)

    killed_one, folder = build("shared_vae"), tmp_path / "checkpoints"
    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "on_train_epoch_start", killed)
        with pytest.raises(KilledError):
            killed_one.fit(people, toy_mask(16), how(), Machine(), folder)
    again = build("shared_vae")
    again.fit(people, toy_mask(16), how(), Machine(), folder)
    assert "resumed from" in capsys.readouterr().err
    for key, value in model.weights().items():
        np.testing.assert_array_equal(again.weights()[key], value)
    assert np.abs(again.weights()["offset.image"]).max() > 0.1


def test_means_at_the_ends_of_the_range_are_kept_off_them():
    image = torch.tensor([0.0, 0.3, 1.0])
    np.testing.assert_allclose(torch.sigmoid(logit(image)), [1e-4, 0.3, 1 - 1e-4], rtol=1e-4)
    image = torch.tensor([-1.0, -0.3, 0.0, 1.0])
    np.testing.assert_allclose(torch.tanh(artanh(image)), [1e-4 - 1, -0.3, 0, 1 - 1e-4], atol=1e-6)


def test_an_offset_is_nothing_until_it_has_a_mean():
    offset = OutputOffset(2, (1, 2, 3), logit)
    images = torch.randn(4, 2, 1, 2, 3)
    torch.testing.assert_close(offset(images), images)
    offset.set_mean(np.eye(2, 6, dtype=np.float32).reshape(2, 1, 2, 3))
    ends = torch.full((2, 6), -1.0)
    ends[0, 0] = ends[1, 1] = 1
    torch.testing.assert_close(offset.image.reshape(2, 6), ends * np.log(1e4 - 1), rtol=1e-3, atol=0)
    assert not list(offset.parameters())


def test_the_mean_of_one_person_and_of_nobody():
    volumes = np.full((1, 2, 2, 2, 2), np.nan)
    volumes[0, 0] = np.linspace(0.1, 0.8, 8).reshape(2, 2, 2)
    one = people_in_memory(volumes, np.ones((2, 2, 2), bool))
    found = mean_of(one, lambda images: np.full(images.shape[:2], 0.5))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], volumes[0, 0] / 0.5, rtol=1e-6)
    np.testing.assert_array_equal(found[1], 0)
