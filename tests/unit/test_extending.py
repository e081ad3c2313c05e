"""The worked example of docs/extending.md: it is taken off the page, registered, and runs through all stages."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import yaml
from fusion_toy import toy_volumes

from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.core.tables import read_table
from neurostrata.fusion import bundle, registry
from neurostrata.fusion.commands import embed, evaluate, split, train

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


def test_the_example_is_a_model_like_any_other(tmp_path, monkeypatch):
    text = PAGE.read_text()
    code, schema = (re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml"))
    module = types.ModuleType("example_of_the_page")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "example_of_the_page", module)
    monkeypatch.setitem(registry.MODELS, "linear_autoencoder", "example_of_the_page:LinearAutoencoder")
    monkeypatch.setattr(bundle, "load_schema", lambda name: yaml.safe_load(schema))
    options = fill_defaults({}, yaml.safe_load(schema))
    volumes = toy_volumes(tmp_path / "volumes", people=9, side=16)
    experiment = {
        "name": "example",
        "model": "linear_autoencoder",
        "modalities": ["jac", "ndi"],
        "validation": {"folds": 3},
        "options": options,
    }
    settings = {
        "experiment": fill_defaults(experiment, load_schema("experiments")),
        "training": {**section_defaults("training"), "epochs": 5, "batch_size": 3},
        "seed": 1,
        "version": 1,
    }
    mask = volumes[0].parent / "mask.nii.gz"
    split(subjects=volumes[0].parent / "subjects.tsv", output=tmp_path / "splits.tsv", settings=settings)
    shared = {"volumes": volumes, "splits": tmp_path / "splits.tsv", "fold": "0", "settings": settings}
    made = {"model": tmp_path / "model", "limits": tmp_path / "limits.json"}
    train(**shared, **made, mask=mask, history=tmp_path / "history.tsv", checkpoints=tmp_path / "checkpoints")
    embed(**shared, **made, output=tmp_path / "embeddings.tsv")
    evaluate(**shared, **made, mask=mask, output=tmp_path / "r.tsv", examples=tmp_path / "examples.npz")
    assert read_table(tmp_path / "embeddings.tsv").shape == (9, 2 + 16)
    table = read_table(tmp_path / "r.tsv")
    assert set(table["method"]) == {"linear_autoencoder", "mean_image", "pca"}
    assert np.isfinite(table["mse"]).all()
