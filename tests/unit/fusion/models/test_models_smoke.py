"""Every model that there is, through every stage that it can take: one short run each."""

import json

import numpy as np
import pandas as pd
import pytest
from fusion_toy import toy_settings

from neurostrata.core.config import fill_defaults, load_schema, model_names
from neurostrata.core.embeddings import read_embeddings
from neurostrata.core.tables import read_table
from neurostrata.fusion.commands import embed, split, train
from neurostrata.fusion.evaluation.commands import (
    baselines,
    evaluate,
    relevance,
    robustness,
    summarise_synthesis,
    synthesise,
)
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.imaging.images.io import Grid, write_image
from neurostrata.planning.options import training_keys, used_options
from neurostrata.prediction.commands import predict
from neurostrata.simulation.volume_cohorts import simulate_volumes
from neurostrata.simulation.volume_files import write_volumes

PEOPLE = 20
#: Small networks; everything else is the default.
SMALL = {
    "separable_autoencoder": {"skip_connections": False},
    "residual_autoencoder": {"code_size": 8, "channels": [8, 16]},
    "shared_vae": {"latent_size": 8, "channels": [16, 32]},
    "siamese_attention": {"inner_folds": 2, "linear_sizes": [32, 8], "attention_sizes": [8]},
    "latent_synthesis": {
        "channels": [4, 8, 8],
        "latent_channels": 4,
        "decoder_channels": 4,
        "slices_per_step": 4,
    },
    "pca": {},
}


#: Its grid must be a multiple of 32.
LARGE = "separable_autoencoder"


@pytest.fixture
def cohort(name, tmp_path):
    folder = tmp_path / "cohort"
    folder.mkdir()
    side = 32 if name == LARGE else 16
    simulated = simulate_volumes(people=PEOPLE, seed=3, shape=(side, side, side))
    paths = write_volumes(simulated, folder)
    grid = Grid(simulated.mask.shape, simulated.affine)
    write_image(folder / "regions.nii.gz", simulated.regions, grid, np.int16)
    people = pd.DataFrame(
        {
            "subject": simulated.subjects,
            "family": "",
            "diagnosis": np.where(simulated.diagnosis, "patient", "control"),
            "site": "",
            "age": simulated.age,
        }
    )
    people.to_csv(folder / "people.tsv", sep="\t", index=False)
    people[["subject", "family", "diagnosis"]].to_csv(folder / "labels.tsv", sep="\t", index=False)
    people[["subject", "family", "diagnosis", "age"]].to_csv(folder / "targets.tsv", sep="\t", index=False)
    return folder, paths, people


def test_no_model_is_left_out():
    assert set(SMALL) == set(model_names())


@pytest.fixture
def read(monkeypatch):
    """The keys of the section `training` that are read while a model is trained."""
    names = set()
    plain = TrainingSettings.__getattribute__

    def noted(self, name):
        value = plain(self, name)
        if name in TrainingSettings.__dataclass_fields__:
            names.add(name)
        return value

    monkeypatch.setattr(TrainingSettings, "__getattribute__", noted)
    return names


@pytest.mark.parametrize("name", list(SMALL))
def test_a_model_goes_through_its_stages(name, cohort, read, tmp_path):
    """Each stage with nothing but the settings that the workflow tracks for it; all that a model declares is read."""
    folder, paths, people = cohort
    can = load_schema(f"models/{name}")
    settings = toy_settings(name, options=SMALL[name], epochs=2, batch_size=4)
    if can.get("supervised"):
        settings["experiment"]["label"] = {"column": "diagnosis", "classes": ["control", "patient"]}
    mask = folder / "mask.nii.gz"
    split(
        subjects=folder / "people.tsv",
        output=tmp_path / "splits.tsv",
        settings=used_options("split", settings),
    )
    tables = {}
    for fold in ("0", "1"):
        here = tmp_path / f"fold-{fold}"
        here.mkdir()
        shared = {"volumes": paths, "splits": tmp_path / "splits.tsv", "fold": fold}

        def of(stage, more={}, shared=shared):  # noqa: B006
            return {**shared, "settings": used_options(stage, {**settings, **more})}

        made = {"model": here / "model", "limits": here / "limits.json"}
        train(
            **of("train"),
            **made,
            mask=mask,
            history=here / "history.tsv",
            checkpoints=here / "checkpoints",
            labels=folder / "labels.tsv" if can.get("supervised") else None,
            regions=folder / "regions.nii.gz" if can.get("regions") else None,
        )
        assert read - {"seed"} == set(training_keys(name))
        embed(**of("embed"), **made, output=here / "embeddings.tsv")
        baselines(
            **of("baselines"),
            limits=made["limits"],
            mask=mask,
            regions=folder / "regions.nii.gz",
            output=here / "baselines",
        )
        if can.get("reconstructs", True):
            evaluate(**of("evaluate"), **made, mask=mask, output=here / "r.tsv", examples=here / "e.npz")
            tables["reconstruction"] = read_table(here / "r.tsv")
        if can.get("handles_missing"):
            robustness(**of("robustness"), **made, mask=mask, output=here / "robustness.tsv")
            tables["robustness"] = read_table(here / "robustness.tsv")
        if can.get("regions"):
            relevance(**of("relevance"), **made, output=here / "relevance.tsv", weights=here / "weights.tsv")
            tables["relevance"] = read_table(here / "relevance.tsv")
        if can.get("synthesises"):
            quick = fill_defaults(
                {"voxels": 500, "trees": 2, "hidden": [8], "baselines": ["mean_image", "linear_regression"]},
                load_schema("synthesis"),
            )
            synthesise(
                **of("synthesise", {"synthesis": quick}),
                **made,
                mask=mask,
                output=here / "synthesis.tsv",
                examples=here / "s.npz",
            )
    codes = read_embeddings(tmp_path / "fold-0" / "embeddings.tsv")
    assert codes.subjects == list(people["subject"])
    assert np.isfinite(codes.values).all()
    for table in tables.values():
        assert table["subject"].isin(people["subject"]).all()
        assert len(table) > 0
    if can.get("synthesises"):
        summarise_synthesis(
            tables=[tmp_path / f"fold-{fold}" / "synthesis.tsv" for fold in "01"],
            people=folder / "people.tsv",
            output=tmp_path / "synthesis.tsv",
            comparisons=tmp_path / "comparisons.tsv",
            settings=settings,
        )
        assert {name, "mean_image"} <= set(read_table(tmp_path / "synthesis.tsv")["method"])
    folds = [tmp_path / f"fold-{fold}" for fold in "01"]
    predict(
        embeddings=[here / "embeddings.tsv" for here in folds],
        baselines=[here / "baselines" for here in folds],
        people=folder / "targets.tsv",
        tables=[],
        output=tmp_path / "predictions.tsv",
        summary=tmp_path / "scores.tsv",
        classification=tmp_path / "classification.tsv",
        roc=tmp_path / "roc.tsv",
        settings={
            "prediction": ["diagnosis", "age"],
            "label": settings["experiment"].get("label"),
            "id_column": None,
            "seed": 1,
        },
    )
    scores = read_table(tmp_path / "scores.tsv").set_index(["features", "target"])["value"]
    assert scores[("embedding", "diagnosis")] >= 0
    assert ("classifier" in scores.index.get_level_values(0)) == bool(can.get("supervised"))
    described = json.loads((tmp_path / "fold-0" / "model" / "model.json").read_text())
    assert described["model"] == name
