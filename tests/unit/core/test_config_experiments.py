"""What an experiment may ask of its model: each refusal names the key and what to do, and nothing else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from neurostrata.core.config import check_config
from neurostrata.core.errors import UserError

LABEL = {"column": "diagnosis", "classes": ["a", "b"]}
PREDICTION = {"prediction": ["sex"]}


def problems(model: str, sections: dict[str, Any] | None = None, **experiment: Any) -> list[str]:
    """The problems of a configuration with one experiment of two modalities, each without "experiments[0]"."""
    config = {
        "cohort": {"sheet": "cohort.tsv"},
        "modalities": {"jac": {"from": "jacobian"}, "fa": {"from": "tensor", "measure": "fa"}},
        "experiments": [{"name": "a", "model": model, "modalities": ["jac", "fa"], **experiment}],
        **(sections or {}),
    }
    try:
        check_config(config)
    except UserError as error:
        return [line.strip().removeprefix("experiments[0].") for line in str(error).splitlines()[1:]]
    return []


DROPOUT = "set options.modality_dropout above 0, or choose another model"


@pytest.mark.parametrize(
    ("model", "asked", "said"),
    [
        # People who lack a modality, which a model can do or not, and one does with an option.
        ("pca", {"missing": "include"}, []),
        ("shared_vae", {"missing": "include"}, []),
        ("separable_autoencoder", {}, []),
        ("separable_autoencoder", {"missing": "include"}, [
            f"missing: separable_autoencoder needs every modality of every person; {DROPOUT}"
        ]),
        ("separable_autoencoder", {"missing": "include", "options": {"modality_dropout": 0.1}}, []),
        ("siamese_attention", {"label": LABEL, "missing": "include"}, [
            "missing: siamese_attention needs every modality of every person; choose another model"
        ]),
        ("separable_autoencoder", {"analyses": {"robustness": True}}, [
            f"analyses.robustness: separable_autoencoder needs every modality; {DROPOUT}"
        ]),
        ("separable_autoencoder", {"analyses": {"robustness": True}, "options": {"modality_dropout": 0.1}}, []),
        ("pca", {"analyses": {"robustness": True}}, []),
        ("pca", {"analyses": {"robustness": True}, "modalities": ["jac"]}, [
            "analyses.robustness: needs at least two modalities"
        ]),
        # Classes
        ("siamese_attention", {"label": LABEL}, []),
        ("siamese_attention", {}, [
            "label: siamese_attention learns to tell two classes apart; set it to {column: COLUMN, classes: [REFERENCE, OTHER]}"
        ]),
        ("pca", {"label": LABEL}, []),
        # Volumes in [-1, 1]
        ("shared_vae", {"scaling": "maximum"}, []),
        ("separable_autoencoder", {"scaling": "maximum"}, [
            "scaling: separable_autoencoder learns and decodes values in [0, 1], which volumes over their maxima are not; "
            "set limits, or choose another model"
        ]),
        # What predictions are adjusted by
        ("pca", {"analyses": {"covariates": ["age"]}}, [
            "analyses.covariates: applies to predictions, but nothing is predicted; set analyses.prediction, or remove it"
        ]),
        ("pca", {"analyses": {"harmonise": {}}}, [
            "analyses.harmonise: applies to predictions, but nothing is predicted; set analyses.prediction, or remove it"
        ]),
        ("pca", {"analyses": {**PREDICTION, "covariates": ["age"], "harmonise": {"keep": ["age"]}}}, []),
        ("pca", {"label": LABEL, "analyses": {"covariates": ["age"]}}, []),
        ("pca", {"analyses": {**PREDICTION, "covariates": ["age", "sex"]}}, [
            "analyses.covariates: 'sex' is predicted by this experiment, and would leak into the test people's codes; remove it"
        ]),
        ("pca", {"label": LABEL, "analyses": {"harmonise": {"sites": "diagnosis"}}}, [
            "analyses.harmonise.sites: 'diagnosis' is predicted by this experiment, and would leak into the test people's codes; "
            "remove it"
        ]),
        ("pca", {"analyses": {**PREDICTION, "harmonise": {"keep": ["diagnosis"]}}}, [
            "analyses.harmonise.keep: 'diagnosis' is never kept or removed: codes would carry the test people's diagnoses; remove it"
        ]),
        ("pca", {"analyses": {**PREDICTION, "harmonise": {"sites": "diagnosis"}}}, []),
        ("pca", {"analyses": {**PREDICTION, "harmonise": {"sites": "scanner"}, "covariates": ["scanner"]}}, [
            "analyses.covariates: 'scanner' is the variable that is harmonised; remove it here"
        ]),
        # Names
        ("pca", {"modalities": ["jac", "md"]}, [
            "modalities: 'md' is not declared under modalities (jac, fa)"
        ]),
        ("pca2", {}, [
            "model: 'pca2' is not one of latent_synthesis, pca, residual_autoencoder, separable_autoencoder, shared_vae, siamese_attention"
        ]),
    ],
)  # fmt: skip
def test_what_a_model_cannot_do_is_refused(model: str, asked: dict[str, Any], said: list[str]) -> None:
    assert problems(model, **asked) == said


@pytest.mark.parametrize(
    ("model", "options", "shape", "multiple", "near"),
    [
        ("separable_autoencoder", {}, [64, 95, 96], 32, [64, 96, 96]),
        ("separable_autoencoder", {}, [8, 64, 112], 32, [32, 64, 128]),
        ("residual_autoencoder", {"channels": [8, 16, 32]}, [66, 96, 96], 8, [64, 96, 96]),
        ("residual_autoencoder", {"channels": [8, 16, 32, 64]}, [64, 96, 104], 16, [64, 96, 96]),
    ],
)
def test_a_grid_that_cannot_be_halved_is_refused_with_one_near_it(
    model: str, options: dict[str, Any], shape: list[int], multiple: int, near: list[int]
) -> None:
    said = problems(model, {"volumes": {"shape": shape}}, options=options)
    assert said == [
        f"volumes.shape: {shape}: experiments[0] ({model}) needs sides that are multiples of {multiple}, such as {near}"
    ]
    assert not problems(model, {"volumes": {"shape": near}}, options=options)
    assert not problems("pca", {"volumes": {"shape": shape}})


def test_two_experiments_of_one_name_are_refused() -> None:
    one = {"name": "a", "model": "pca", "modalities": ["jac"]}
    assert problems("pca", {"experiments": [one, {**one, "name": "b"}]}) == []
    found = problems("pca", {"experiments": [one, {**one, "name": "b"}, one]})
    assert found == ["experiments[2]: the name 'a' is taken by an earlier experiment"]
