"""Predictions from codes without sites and covariates: what is refused, and what the stage predicts and records."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.config import check_config
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.core.tables import read_table, write_table
from neurostrata.prediction.commands import predict


def experiment(**analyses):
    return {
        "modalities": {"jac": {"from": "jacobian"}},
        "cohort": {"sheet": "cohort.tsv"},
        "experiments": [{"name": "e", "model": "pca", "modalities": ["jac"], "analyses": analyses}],
    }


@pytest.mark.parametrize(
    ("analyses", "message"),
    [
        (
            {"harmonise": {"keep": ["age", "diagnosis"]}},
            r"harmonise.keep: 'diagnosis' is never kept or removed",
        ),
        ({"harmonise": {"keep": ["iq"]}}, r"harmonise.keep: 'iq' is predicted by this experiment"),
        ({"covariates": ["iq"]}, r"covariates: 'iq' is predicted by this experiment"),
        ({"covariates": ["diagnosis"]}, r"covariates: 'diagnosis' is never kept or removed"),
        ({"harmonise": {"sites": "iq"}}, r"harmonise.sites: 'iq' is predicted by this experiment"),
        ({"harmonise": {"keep": ["site"]}}, r"harmonise.keep: 'site' is the variable that is harmonised"),
        ({"harmonise": {}, "covariates": ["site"]}, r"covariates: 'site' is the variable that is harmonised"),
        (
            {"covariates": ["age"], "prediction": []},
            r"covariates: applies to predictions, but nothing is predicted",
        ),
    ],
)
def test_leaks_are_refused(analyses, message):
    with pytest.raises(UserError, match=r"experiments\[0\].analyses." + message):
        check_config(experiment(**{"prediction": ["iq"], **analyses}))


def test_what_is_allowed_passes_with_its_defaults():
    config = experiment(prediction=["diagnosis"], harmonise={"keep": ["age", "sex"]}, covariates=["age"])
    analyses = check_config(config)["experiments"][0]["analyses"]
    assert analyses["harmonise"] == {"sites": "site", "keep": ["age", "sex"]}


def test_the_stage_adjusts_embedding_and_baselines_alike(tmp_path):
    """A site effect along the planted one hides it; harmonised, both kinds of codes show it."""
    random = np.random.default_rng(4)
    people = [f"{i:03d}" for i in range(160)]
    severity, age = random.normal(size=160), random.uniform(20, 60, 160)
    site = np.where(random.random(160) < 0.5, "a", "b")
    codes = random.normal(size=(160, 6)) * 0.3
    codes[:, 0] += severity + 12 * (site == "b")
    codes[:, 1:3] *= np.where(site == "b", 15, 1)[:, None]
    site[5] = "lonely"
    write_table(tmp_path / "people.tsv", pd.DataFrame({"subject": people, "family": ""}))
    write_table(tmp_path / "covariates.tsv", pd.DataFrame({"subject": people, "site": site}))
    write_table(
        tmp_path / "phenotypes.tsv", pd.DataFrame({"participant_id": people, "iq": severity, "age": age})
    )
    folds, bases = [], []
    for k in range(4):
        folder = tmp_path / f"fold-{k}"
        (folder / "baselines").mkdir(parents=True)
        frame = pd.DataFrame(codes, columns=[f"z{i}" for i in range(6)])
        frame.insert(0, "subject", people)
        frame.insert(1, "role", np.where(np.arange(160) % 4 == k, "test", "train"))
        write_table(folder / "embeddings.tsv", frame)
        write_table(folder / "baselines" / "pca_stacked.tsv", frame)
        folds.append(folder / "embeddings.tsv")
        bases.append(folder / "baselines")

    def run(sheet=None, **analyses):
        predict(
            embeddings=folds,
            baselines=bases,
            people=tmp_path / "people.tsv",
            covariates=sheet,
            tables=[tmp_path / "phenotypes.tsv"],
            output=tmp_path / "predictions.tsv",
            summary=tmp_path / "scores.tsv",
            classification=tmp_path / "classification.tsv",
            roc=tmp_path / "roc.tsv",
            settings={
                "prediction": ["iq"],
                "label": None,
                "id_column": None,
                "seed": 1,
                "version": 1,
                **analyses,
            },
        )
        return read_table(tmp_path / "scores.tsv").set_index("features")

    raw = run()
    assert "Adjustment" not in read_json(tmp_path / "predictions.json")
    harmonise = {"sites": "site", "keep": ["age"]}
    fine = run(tmp_path / "covariates.tsv", harmonise=harmonise, covariates=["age"])
    for features in ("embedding", "pca_stacked"):
        assert raw.loc[features, "value"] < 0.2
        assert fine.loc[features, "value"] > 0.7
        assert raw.loc[features, "people"] == 160
        assert fine.loc[features, "people"] == 159
    said = read_json(tmp_path / "predictions.json")["Adjustment"]
    assert said["Sites"] == "site"
    assert said["Kept"] == said["Removed"] == ["age"]
    assert [row["fold"] for row in said["LeftOut"]] == ["0", "1", "2", "3"]
    assert {row["subject"] for row in said["LeftOut"]} == {"005"}
