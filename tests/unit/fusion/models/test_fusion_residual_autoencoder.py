"""The residual autoencoder: shapes, what it learns, when it stops, and the way back from its bundle."""

import numpy as np
import pytest
import torch
from fusion_toy import AFFINE, toy_mask, toy_settings, toy_volumes

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.models import residual_autoencoder
from neurostrata.fusion.models.bundle import load_bundle, save_bundle
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.smooth_components import Prior, smooth_components
from neurostrata.fusion.training.loop import hold_out
from neurostrata.fusion.training.machine import Machine

SIDE = 16
MASK = toy_mask(SIDE)
SCALING = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}


def options(**given):
    model = "residual_autoencoder"
    return toy_settings(model, options={"channels": [8, 16], "code_size": 3, **given})["experiment"][
        "options"
    ]


@pytest.fixture
def people(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path, people=24, side=SIDE), ["jac", "ndi"])
    return VolumeSet(opened, opened[0].info["subjects"], SCALING)


def build(seed=1, **given):
    return build_model("residual_autoencoder", options(**given), ["jac", "ndi"], (SIDE,) * 3, seed)


def fit(model, people, **given):
    section = {**section_defaults("training"), "epochs": 60, "batch_size": 4, "learning_rate": 3e-3, **given}
    return model.fit(people, MASK, TrainingSettings.resolve(section, {}, seed=1), Machine())


def test_layers_and_parameters_are_counted():
    """Side 16, channels 2-8-16, code 3: by hand."""
    model = build()
    encoder = (2 * 27 + 1) * 8 + 16 + (8 * 27 + 1) * 16 + 32 + (16 * 64) * 3 + 3
    decoder = 3 * 1024 + 1024 + (16 * 27 + 1) * 8 + 16 + (8 * 27 + 1) * 2
    assert model.facts()["parameters"] == encoder + decoder
    with torch.no_grad():
        assert model.network.decode(torch.zeros(5, 3)).shape == (5, 2, SIDE, SIDE, SIDE)
    with pytest.raises(UserError, match="multiples of 4"):
        build_model("residual_autoencoder", options(), ["jac"], (18, 16, 16), 1)


def test_what_is_learned_does_not_depend_on_the_jobs_memory(people, monkeypatch, capsys):
    how = TrainingSettings.resolve({**section_defaults("training"), "epochs": 1, "batch_size": 4}, {}, seed=1)

    def learned(memory_mb):
        model = build()
        model.fit(people, MASK, how, Machine(memory_mb=memory_mb))
        return model.weights()["components"]

    plenty = learned(8000)
    np.testing.assert_array_equal(learned(1), plenty)
    assert "components" not in capsys.readouterr().err
    monkeypatch.setattr(residual_autoencoder, "ROWS_BYTES", 12 * 2 * MASK.sum() * 10.5)
    assert np.abs(learned(8000) - plenty).max() > 1e-3
    assert "training: components of 10 of the 24 people, drawn at random" in capsys.readouterr().err


def test_it_decodes_unseen_people_better_than_their_mean_and_finds_the_planted_modes(people):
    seen, unseen = people.subset(range(18)), people.subset(range(18, 24))
    model = build()
    history = fit(model, seen)
    assert {"validation_loss", "loss_jac", "loss_ndi"} <= set(history)
    real = np.stack([unseen[i] for i in range(6)])
    mean = seen.mean()
    error = ((model.reconstruct(real) - real)[:, :, MASK] ** 2).mean()
    of_mean = ((mean - real)[:, :, MASK] ** 2).mean()
    assert error < 0.6 * of_mean
    codes = model.encode(real)
    assert codes.shape == (6, 3)
    np.testing.assert_array_equal(codes, model.encode(real))


def test_it_stops_early_with_the_best_weights(people):
    model = build(patience=3, linear=False)
    history = fit(model, people, epochs=200, learning_rate=2e-2)
    best = history["validation_loss"].idxmin()
    assert len(history) == best + 1 + 3 < 200
    learning, held_out = hold_out(people, 0.15, seed=1)
    assert not set(learning.subjects) & set(held_out.subjects)
    volumes = torch.from_numpy(np.stack([held_out[i] for i in range(len(held_out))]))
    with torch.no_grad():
        error = float(model.network.losses(volumes).mean())
    assert error == pytest.approx(history["validation_loss"][best], rel=1e-4)


def test_without_anything_to_learn_it_is_the_components_of_all_training_people(people):
    """A step size of nothing: the held-out people are best decoded by what training starts from."""
    model = build(patience=2)
    history = fit(model, people, epochs=50, learning_rate=1e-12)
    assert history["best_epoch"].iloc[-1] == 0
    assert len(history) <= 4
    rows = np.stack([people[i][:, MASK] for i in range(24)])
    rows -= rows.mean(axis=0)
    rows /= np.sqrt((rows**2).mean(axis=(0, 2)))[None, :, None]
    prior = Prior(*(history[f"prior_{key}"].iloc[0] for key in ("weight", "width", "mirror")))
    components, _ = smooth_components(rows, MASK, 3, prior, 1)
    volumes = np.stack([people[i] for i in range(24)])
    codes = model.encode(volumes)
    signs = np.sign((rows.reshape(24, -1) @ components.T * codes).sum(axis=0))
    components *= signs[:, None]  # one that mirrors itself has either sign
    scores = rows.reshape(24, -1) @ components.T
    np.testing.assert_allclose(codes, scores, atol=2e-2)
    decoded = model.reconstruct(volumes)[:, :, MASK]
    spread = np.sqrt(((volumes - people.mean())[:, :, MASK] ** 2).mean(axis=(0, 2)))
    wanted = people.mean()[:, MASK] + (scores @ components).reshape(24, 2, -1) * spread[:, None]
    np.testing.assert_allclose(decoded, wanted.clip(0, 1), atol=2e-3)


def test_codes_of_the_incomplete_are_the_expected_ones(people):
    """Both modalities show both modes: with one of them the code is nearly what it is with both."""
    model = build(code_size=2)
    fit(model, people.subset(range(9)), epochs=1, learning_rate=1e-12)  # so few: no prior
    volumes = np.stack([people[i] for i in range(9, 24)])
    lacking = volumes.copy()
    lacking[:, 1] = np.nan
    full, guessed = model.encode(volumes), model.encode(lacking)
    for number in range(2):
        assert np.corrcoef(full[:, number], guessed[:, number])[0, 1] > 0.95
        assert np.polyfit(full[:, number], guessed[:, number], 1)[0] == pytest.approx(1, abs=0.25)
    mixed = np.stack([volumes[0], lacking[1]])
    np.testing.assert_allclose(model.encode(mixed), [full[0], guessed[1]], rtol=1e-4, atol=1e-4)


def test_few_people_all_train(people):
    learning, held_out = hold_out(people.subset(range(9)), 0.15, seed=1)
    assert len(learning) == 9
    assert held_out is None


def test_people_without_differences_are_refused(people):
    same = people.subset(range(4))
    same._memory = np.stack([people[0]] * 4)
    with pytest.raises(UserError, match="do not differ in 'jac'"):
        fit(build(), same)


def test_a_bundle_encodes_as_the_model_did(people, tmp_path):
    model = build()
    fit(model, people.subset(range(8)), epochs=2)
    save_bundle(
        tmp_path / "model", model, scaling=SCALING, affine=AFFINE, training_people=["01"], settings={}
    )
    again, description = load_bundle(tmp_path / "model")
    volumes = np.stack([people[i] for i in range(3)])
    np.testing.assert_array_equal(again.encode(volumes), model.encode(volumes))
    assert description["code_size"] == 3


@pytest.mark.parametrize(("maximum", "lowest"), [(False, 0.0), (True, -0.5)])
def test_what_is_decoded_has_the_range_of_the_inputs(maximum, lowest):
    model = build(seed=1)
    model.maximum = maximum
    model.network.mean.fill_(-0.5)
    assert model.reconstruct(np.full((1, 2, SIDE, SIDE, SIDE), -0.5, np.float32)).min() == lowest
    assert model.decode(np.zeros((1, model.code_size))).min() == lowest
