"""What every fusion model has, and how its training settings are put together."""

import numpy as np
import pytest
from plain_training import people_in_memory

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.core.training_presets import PRESETS
from neurostrata.fusion.models import interface
from neurostrata.fusion.models.interface import FusionModel, TrainingSettings
from neurostrata.fusion.models.network import NetworkModel
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.training.machine import Machine


class Least(FusionModel):
    """A model with nothing but what it must have."""

    name = "least"
    code_size = 3
    fit = encode = reconstruct = weights = load_weights = None


@pytest.fixture
def least():
    return Least({"a": 1}, ("jac", "ndi"), np.array([4, 5, 6]), 7)


def test_what_a_model_is_unless_it_says_otherwise(least):
    assert (least.options, least.modalities, least.shape, least.seed) == (
        {"a": 1},
        ["jac", "ndi"],
        (4, 5, 6),
        7,
    )
    flags = ("handles_missing", "supervised", "reconstructs", "decodes", "regions", "synthesises")
    assert [getattr(least, flag) for flag in flags] == [False, False, True, False, False, False]
    assert least.code_modalities == [None] * 3
    assert np.array_equal(least.scales(np.zeros((2, 3, 4, 5, 6))), np.ones((2, 3)))
    assert least.inputs == least.outputs == ["jac", "ndi"]
    assert least.always_given == []
    assert least.slice_plane is None
    assert least.facts() == {}
    assert least.prepare(Machine(threads=1, gpus=0)) is None
    for use in (least.decode, least.predict, least.synthesise):
        with pytest.raises(NotImplementedError, match="least does not"):
            use(np.zeros((1, 3)))
    with pytest.raises(NotImplementedError, match="least does not"):
        least.relevance(np.zeros((1, 3)), ["a"])
    with pytest.raises(NotImplementedError, match="least does not"):
        least.region_weights()


def test_presets_are_the_papers_and_a_fast_one():
    assert {name: PRESETS["paper"][name] for name in ("epochs", "batch_size", "learning_rate")} == {
        "epochs": 200,  # Dimitri 2022, 2.1.3
        "batch_size": 1,
        "learning_rate": 0.001,  # Adam "at its default settings"
    }
    assert (PRESETS["paper"]["precision"], PRESETS["paper"]["compile"]) == ("fp32", False)
    changed = {"batch_size": 4, "precision": "bf16", "compile": True}
    assert PRESETS["fast"] == {**PRESETS["paper"], **changed}
    assert interface.RELEVANT == 0.9  # Arco 2023, 5
    assert interface.PLANES == {"sagittal": 0, "coronal": 1, "axial": 2}
    assert 0 < interface.LEAST_MEAN <= 1e-6


def test_an_experiments_settings_come_first_then_the_sections_then_the_presets():
    section = {
        "preset": "fast",
        "epochs": None,
        "batch_size": None,
        "learning_rate": 0.5,
        "schedule": "cosine",
    }
    settings = TrainingSettings.resolve(section, {"epochs": 3}, seed=9)
    found = {
        name: getattr(settings, name)
        for name in ("epochs", "batch_size", "learning_rate", "schedule", "seed")
    }
    assert found == {"epochs": 3, "batch_size": 4, "learning_rate": 0.5, "schedule": "cosine", "seed": 9}
    assert TrainingSettings.resolve({"epochs": None}, {"preset": "paper"}, 1).epochs == 200
    assert section["preset"] == "fast"  # untouched
    with pytest.raises(AttributeError, match=r"training\.precision is read but"):
        _ = settings.precision
    with pytest.raises(UserError, match=r"unknown key 'epoch'; known keys: .*epochs.*preset"):
        TrainingSettings.resolve(section, {"epoch": 3}, 1)
    with pytest.raises(UserError, match="unknown key 'seed'"):
        TrainingSettings.resolve(section, {"seed": 3}, 1)
    assert TrainingSettings.resolve({"epochs": 2}, {}, 1).epochs == 2  # without a preset


def test_networks_start_from_their_seed_and_leave_the_random_state():
    import torch
    from torch import nn

    class Small(NetworkModel):
        name = "small"
        code_size = 2

        def build_network(self):
            return nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    models = [Small({}, ["jac"], (1, 1, 1), seed) for seed in (5, 5, 6)]
    assert torch.equal(torch.rand(3), expected)
    first, same, other = (model.weights() for model in models)
    assert list(first) == ["0.weight", "0.bias"]
    assert np.array_equal(first["0.weight"], same["0.weight"])
    assert not np.array_equal(first["0.weight"], other["0.weight"])
    model = models[0]
    assert not model.network.training
    assert model.smallest_batch == 1
    assert model.facts() == {"parameters": 9}
    kept = model.weights()
    with torch.no_grad():
        model.network[0].weight.add_(1)
    assert np.array_equal(kept["0.weight"], first["0.weight"])  # a copy
    model.load_weights(kept)
    assert np.array_equal(model.weights()["0.weight"], first["0.weight"])
    with pytest.raises(RuntimeError):
        model.load_weights({"0.weight": kept["0.weight"]})
    with pytest.raises(NotImplementedError, match="small does not decode"):
        model.decode(np.zeros((1, 2)))
    model.network.train()
    before = torch.get_num_threads()
    try:
        model.prepare(Machine(threads=3, gpus=0))
        assert torch.get_num_threads() == 3
        assert not model.network.training
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["residual_autoencoder", "shared_vae", "latent_synthesis"])
def test_a_batch_of_one_person_is_learned_from(name, monkeypatch):
    import importlib

    small = {"residual_autoencoder": {"channels": [8, 16], "code_size": 2}}.get(name, {})
    model = build_model(name, fill_defaults(small, load_schema(f"models/{name}")), ["m0", "m1"], (8, 8, 8), 1)
    module = importlib.import_module(type(model).__module__)
    given = []

    def train(model, network, smallest, people, *further):
        given.append((smallest, len(people)))
        raise InterruptedError

    monkeypatch.setattr(module, "train_network", train)
    volumes = np.random.default_rng(1).random((3, 2, 8, 8, 8))
    people = people_in_memory(volumes, np.ones((8, 8, 8), bool))
    with pytest.raises(InterruptedError):
        model.fit(people, np.ones((8, 8, 8), bool), None, Machine(threads=1, gpus=0))
    assert given == [(1, 3)]


def test_a_network_is_used_as_it_is_in_evaluation():
    options = fill_defaults({"channels": [4], "latent_size": 3}, load_schema("models/shared_vae"))
    model = build_model("shared_vae", options, ["m0"], (4, 4, 4), 1)
    volumes = np.random.default_rng(1).random((2, 1, 4, 4, 4)).astype(np.float32)
    expected = model.encode(volumes)
    model.network.train()
    assert np.array_equal(model.encode(volumes), expected)
    assert not model.network.training
    assert expected.dtype == np.float32
    assert np.array_equal(model.decode(expected.astype(np.float64)), model.decode(expected))
