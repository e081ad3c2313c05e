"""A model's folder: all that is needed to embed new people, and what it was made from."""

import hashlib
import json
from importlib.metadata import version

import numpy as np
import pytest
from safetensors.numpy import load_file

from neurostrata import __version__
from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.core.errors import UserError
from neurostrata.fusion.models import bundle
from neurostrata.fusion.models.bundle import load_bundle, save_bundle
from neurostrata.fusion.models.registry import build_model

AFFINE = np.diag([2.0, 2, 3, 1])


@pytest.fixture
def saved(tmp_path):
    options = fill_defaults({"channels": [4], "latent_size": 3}, load_schema("models/shared_vae"))
    model = build_model("shared_vae", options, ["jac", "ndi"], (4, 5, 6), 7)
    folder = tmp_path / "model"
    save_bundle(
        folder,
        model,
        scaling={"jac": {"low": 0.5, "high": 1.5}, "ndi": {"low": 0.0, "high": 2.0}},
        affine=AFFINE,
        training_people=["b", "a"],
        settings={"training": {"epochs": 3}},
    )
    return model, folder


def test_the_description_is_whole(saved):
    model, folder = saved
    description = json.loads((folder / "model.json").read_text())
    assert description == {
        "Description": "A fusion model: volumes of one person in, one code out.",
        "format": 1,
        "model": "shared_vae",
        "options": model.options,
        "modalities": ["jac", "ndi"],
        "grid": {"shape": [4, 5, 6], "affine": AFFINE.tolist()},
        "limits": {"jac": {"low": 0.5, "high": 1.5}, "ndi": {"low": 0.0, "high": 2.0}},
        "scaling": "limits",
        "code_size": 6,
        "facts": {"parameters": sum(p.numel() for p in model.network.parameters())},
        "seed": 7,
        "training_people": 2,
        "training_people_sha256": hashlib.sha256(b"a\nb").hexdigest(),
        "settings": {"training": {"epochs": 3}},
        "versions": {
            "neurostrata": __version__,
            **{name: version(name) for name in ("numpy", "torch", "lightning", "safetensors")},
        },
    }
    weights = load_file(folder / "weights.safetensors")
    assert weights.keys() == model.weights().keys()
    for name, value in model.weights().items():
        assert np.array_equal(weights[name], value)


def test_it_is_read_as_it_was_written(saved):
    model, folder = saved
    again, description = load_bundle(str(folder))
    assert description == json.loads((folder / "model.json").read_text())
    assert (again.name, again.options, again.modalities) == (model.name, model.options, model.modalities)
    assert (again.shape, again.seed, again.code_size) == ((4, 5, 6), 7, 6)
    for name, value in again.weights().items():
        assert np.array_equal(value, model.weights()[name])


def test_an_option_that_came_later_has_its_default(saved):
    _, folder = saved
    description = json.loads((folder / "model.json").read_text())
    del description["options"]["patience"]
    (folder / "model.json").write_text(json.dumps(description))
    assert load_bundle(folder)[0].options["patience"] == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"not a model of this release \(format 1\)"),
        ({"model": "other"}, "this release has no model 'other', only .*shared_vae"),
    ],
)
def test_another_release_s_model_is_refused(saved, change, message):
    _, folder = saved
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**description, **change}))
    with pytest.raises(UserError, match=message):
        load_bundle(folder)
    (folder / "model.json").write_text("[]")
    with pytest.raises(UserError, match="not a model of this release"):
        load_bundle(folder)


def test_damaged_weights_are_named(saved):
    _, folder = saved
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"weights\.safetensors: .*run again"):
        load_bundle(folder)


def test_weights_are_compared_with_their_record(saved, monkeypatch):
    checked = []
    monkeypatch.setattr(bundle, "check", checked.append)
    load_bundle(saved[1])
    assert checked == [saved[1] / "weights.safetensors"]
