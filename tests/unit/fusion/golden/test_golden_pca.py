"""``pca`` against a singular value decomposition and the normal distribution of probabilistic PCA."""

import numpy as np
import pytest
from plain_training import people_in_memory

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.pca import PrincipalComponents

#: More planes than are read at once.
SHAPE, PEOPLE, NUMBER = (19, 3, 4), 7, 3


def cohort() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    mask = random.random(SHAPE) < 0.6
    mask[8:16] = False  # a slab without brain
    modes = random.normal(size=(4, 2, *SHAPE))
    scores = random.normal(size=(PEOPLE, 4)) * [0.1, 0.06, 0.03, 0.01]
    volumes = (
        0.5 + np.einsum("pk,kmxyz->pmxyz", scores, modes) + 0.06 * random.normal(size=(PEOPLE, 2, *SHAPE))
    )
    volumes[:, 1] = 0.5 + 0.3 * (volumes[:, 1] - 0.5)
    return volumes.clip(0.01, 0.99).astype(np.float32), mask


def fitted(people: VolumeSet, mask: np.ndarray, balance: bool, number: int = NUMBER) -> PrincipalComponents:
    model = PrincipalComponents({"max_components": number, "balance": balance}, ["m0", "m1"], SHAPE, 1)
    history = model.fit(people, mask, None, None)  # type: ignore[arg-type]
    assert history.to_dict("list") == {
        "components": [model.code_size],
        "explained_variance": [pytest.approx(model.variance_.sum() / model.total_variance_)],
    }
    return model


@pytest.mark.parametrize("balance", [False, True])
def test_it_is_the_decomposition_of_the_plain_one(balance: bool) -> None:
    volumes, mask = cohort()
    lacking = volumes.copy()
    lacking[-1, 1] = np.nan  # not learned from
    model = fitted(people_in_memory(lacking, mask), mask, balance)
    learned = volumes[:-1][:, :, mask].astype(np.float64)
    mean = learned.mean(axis=0)
    centred = learned - mean
    scale = np.ones(2)
    if balance:
        total = (centred**2).sum(axis=(0, 2))
        scale = np.sqrt(total / total.mean())
    rows = (centred / scale[:, None]).reshape(PEOPLE - 1, -1)
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    right = right[:NUMBER] * np.sign(right[np.arange(NUMBER), np.abs(right[:NUMBER]).argmax(axis=1)])[:, None]
    variance = values**2 / (PEOPLE - 2)
    np.testing.assert_allclose(model.scale_, scale, rtol=1e-5)
    np.testing.assert_allclose(model.components_, right, atol=1e-5)
    np.testing.assert_allclose(model.variance_, variance[:NUMBER], rtol=1e-5)
    assert model.total_variance_ == pytest.approx(variance.sum(), rel=1e-6)
    assert model.facts() == {
        "components": NUMBER,
        "explained_variance": pytest.approx(variance[:NUMBER].sum() / variance.sum(), rel=1e-5),
    }
    # the code of everybody; of who lacks a modality E[scores | what is seen], equal noise in all voxels
    everybody = (volumes[:, :, mask] - mean) / scale[:, None]
    expected = everybody.reshape(PEOPLE, -1) @ right.T
    noise = (variance.sum() - variance[:NUMBER].sum()) / right.shape[1]
    seen = right[:, : mask.sum()]
    covariance = seen.T @ np.diag(variance[:NUMBER]) @ seen + noise * np.eye(mask.sum())
    expected[-1] = np.diag(variance[:NUMBER]) @ seen @ np.linalg.solve(covariance, everybody[-1, 0])
    code = model.encode(np.where(mask, lacking, np.where(np.isnan(lacking), np.nan, 0)))
    np.testing.assert_allclose(code, expected, atol=1e-4 * np.abs(expected).max())
    decoded = np.zeros(volumes.shape)
    decoded[:, :, mask] = mean + (expected @ right).reshape(PEOPLE, 2, -1) * scale[:, None]
    np.testing.assert_allclose(model.decode(code), decoded.clip(0, 1), atol=1e-4)
    np.testing.assert_allclose(model.reconstruct(lacking * mask), decoded.clip(0, 1), atol=1e-4)
    again = PrincipalComponents(model.options, ["m0", "m1"], SHAPE, 1)
    again.load_weights(model.weights())
    assert again.weights().keys() == {"mean", "scale", "mask", "components", "variance", "total_variance"}
    for name, value in model.weights().items():
        assert np.array_equal(again.weights()[name], value), name


def test_there_are_no_more_components_than_people_differ_in() -> None:
    volumes, mask = cohort()
    assert fitted(people_in_memory(volumes, mask), mask, False, 100).code_size == PEOPLE - 1
    volumes[3] = volumes[4] = volumes[5]
    assert fitted(people_in_memory(volumes, mask), mask, False, 100).code_size == PEOPLE - 3


def test_two_people_are_enough_and_everything_explained_leaves_some_noise() -> None:
    volumes, mask = cohort()
    model = fitted(people_in_memory(volumes[:2], mask), mask, False)
    assert model.code_size == 1
    lacking = volumes[:1] * mask
    lacking[0, 0] = np.nan
    code = model.encode(lacking)
    assert 0.5 < float(np.abs(code / model.encode(volumes[:1] * mask)).item()) < 1


def test_what_cannot_be_learned_is_said() -> None:
    volumes, mask = cohort()
    with pytest.raises(UserError, match="pca: 1 training people"):
        fitted(people_in_memory(volumes[:1], mask), mask, False)
    with pytest.raises(UserError, match="mask is empty"):
        fitted(people_in_memory(volumes, mask), np.zeros_like(mask), False)
    same = np.repeat(volumes[:1], 4, axis=0)
    with pytest.raises(UserError, match="do not differ from each other"):
        fitted(people_in_memory(same, mask), mask, False)
    volumes[:, 1] = volumes[0, 1]
    with pytest.raises(UserError, match="of m1 do not differ"):
        fitted(people_in_memory(volumes, mask), mask, True)
