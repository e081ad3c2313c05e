"""The worked examples of docs/extending.md: they are taken off the page, registered, and run."""

import re
import shutil
import sys
import types

import numpy as np
import pandas as pd
import yaml
from fusion_toy import toy_volumes

from neurostrata.core import config
from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.core.locations import REPOSITORY
from neurostrata.core.tables import read_table, write_table
from neurostrata.fusion.commands import embed, split, train
from neurostrata.fusion.evaluation.commands import evaluate
from neurostrata.strata.commands import cluster, existence
from neurostrata.strata.finders import registry as finder_registry

PAGE = REPOSITORY / "docs" / "extending.md"


def test_the_example_is_a_model_like_any_other(tmp_path, monkeypatch):
    text = PAGE.read_text()
    code, schema = (re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml"))
    module = types.ModuleType("neurostrata.fusion.models.linear_autoencoder")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    shutil.copytree(config.SCHEMAS, tmp_path / "schemas")
    (tmp_path / "schemas/models/linear_autoencoder.schema.yaml").write_text(schema)
    monkeypatch.setattr(config, "SCHEMAS", tmp_path / "schemas")
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


def test_the_example_of_a_finder_finds_groups(tmp_path, monkeypatch):
    text = PAGE.read_text().split("## A further finder of groups")[1]
    code, schema = (re.search(rf"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("python", "yaml"))
    module = types.ModuleType("finder_of_the_page")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "finder_of_the_page", module)
    monkeypatch.setitem(finder_registry.FINDERS, "ward", "finder_of_the_page:Ward")
    settings = {
        "finder": "ward",
        "options": fill_defaults({}, yaml.safe_load(schema)),
        "small_clusters": {"people": 5, "share": 0.01},
        "outliers": 0.0001,
        "existence": {"draws": 19, "alpha": 0.05},
        "seed": 1,
    }
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((40, 4)), columns=["z1", "z2", "z3", "z4"])
    frame.iloc[:15] += 6
    frame.insert(0, "subject", [f"{number:02d}" for number in range(40)])
    write_table(tmp_path / "codes.tsv", frame)
    made = {"embeddings": tmp_path / "codes.tsv", "clusters": tmp_path / "clusters.tsv", "settings": settings}
    cluster(**made, search=tmp_path / "search.tsv")
    write_table(tmp_path / "people.tsv", frame[["subject"]].assign(family=""))
    existence(
        **made, people=tmp_path / "people.tsv", output=tmp_path / "existence.tsv", null=tmp_path / "null.tsv"
    )
    assert read_table(tmp_path / "clusters.tsv")["cluster"].tolist() == [2] * 15 + [1] * 25
    assert read_table(tmp_path / "existence.tsv")["claimed"].tolist() == ["yes"]
    few = finder_registry.build_finder("ward", settings["options"], 1).find(np.ones((3, 4)))
    assert few.reason
