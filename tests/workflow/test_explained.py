"""Which experiments are explained: those whose model decodes codes and that tell two classes apart."""

from __future__ import annotations

import pytest
from small_study import StudyFolder, make_study

RULES = ("explain", "summarise_explanation", "map_codes", "generate")
FOLDS = {"method": "kfold", "folds": 2}
PCA = {"name": "a", "model": "pca", "modalities": ["jac"], "validation": FOLDS}
LABEL = {"column": "diagnosis", "classes": ["control", "patient"]}
TARGET = {"prediction": ["diagnosis"]}


@pytest.fixture
def diagnosed(tmp_path) -> StudyFolder:
    """Ten people, five of each diagnosis."""
    study = make_study(tmp_path / "study", people=10)

    def change(cells: list[list[str]]) -> None:
        for number, row in enumerate(cells[1:]):
            row[5] = ("control", "patient")[number % 2]

    study.edit_sheet(change)
    return study


def explaining(study: StudyFolder, **experiment: object) -> dict[str, int]:
    study.configure(experiments=[PCA | experiment])
    planned = study.planned()
    return {rule: planned[rule] for rule in RULES if rule in planned}


def test_what_is_explained(diagnosed: StudyFolder) -> None:
    once = {"explain": 2, "summarise_explanation": 1}
    assert explaining(diagnosed) == {}
    assert explaining(diagnosed, label=LABEL) == once
    assert explaining(diagnosed, analyses=TARGET) == once
    assert explaining(diagnosed, analyses={"prediction": ["factors"]}) == {}
    separable = {"model": "separable_autoencoder", "analyses": TARGET}
    assert explaining(diagnosed, **separable) == {}
    assert explaining(diagnosed, **separable, options={"skip_connections": False}) == once
    vae = {"model": "shared_vae", "options": {"latent_size": 8}}
    assert explaining(diagnosed, **vae, analyses=TARGET) == once | {"map_codes": 1, "generate": 1}
    assert explaining(diagnosed, **vae) == {"map_codes": 1, "generate": 1}
    # a third class, and too few of a class: nothing could be predicted, which the check before anything says
    diagnosed.edit_sheet(lambda cells: cells[1].__setitem__(5, "other"))
    run = diagnosed.snakemake("-n")
    assert run.returncode == 0, run.stderr
    diagnosed.configure(experiments=[PCA | {"analyses": TARGET}])
    run = diagnosed.snakemake("-n")
    assert run.returncode == 2
    assert "analyses.prediction: 'diagnosis' has fewer than two values" in run.stderr
