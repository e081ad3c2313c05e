import dataclasses

import numpy as np
import pytest
from fusion_toy import toy_mask, toy_volumes
from sklearn.decomposition import PCA

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes
from neurostrata.fusion.models.pca import PrincipalComponents

MASK = toy_mask(16)


@pytest.fixture
def sets(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path, people=12, side=16), ["jac", "ndi"])
    training = [f"{i:02d}" for i in range(1, 9)]
    scaling = fold_limits(opened, MASK, training, "train")
    return VolumeSet(opened, training, scaling), VolumeSet(opened, ["09", "10", "11", "12"], scaling)


def fitted(training, components):
    model = PrincipalComponents(
        {"max_components": components, "balance": False}, ["jac", "ndi"], (16, 16, 16), seed=1
    )
    history = model.fit(training, MASK, None, None)
    return model, history


def rows(people):
    volumes = np.stack([people[i] for i in range(len(people))])
    return volumes, volumes[:, :, MASK].reshape(len(volumes), -1).astype(np.float64)


@pytest.mark.parametrize("components", [3, 100])
def test_agrees_with_scikit_learn(sets, components):
    training, test = sets
    model, history = fitted(training, components)
    number = min(components, 7)
    reference = PCA(number, svd_solver="full").fit(rows(training)[1])
    assert model.code_size == number
    np.testing.assert_allclose(model.variance_, reference.explained_variance_, rtol=1e-4)
    assert history["explained_variance"][0] == pytest.approx(
        reference.explained_variance_ratio_.sum(), rel=1e-5
    )
    volumes, inside = rows(test)
    signs = np.sign((reference.components_ * model.components_).sum(axis=1))
    np.testing.assert_allclose(
        model.encode(volumes),
        reference.transform(inside) * signs,
        atol=1e-4 * np.abs(reference.transform(inside)).max(),
    )
    expected = reference.inverse_transform(reference.transform(inside)).clip(0, 1)
    decoded = model.reconstruct(volumes)
    np.testing.assert_allclose(decoded[:, :, MASK].reshape(4, -1), expected, atol=1e-4)
    assert not decoded[:, :, ~MASK].any()


def test_all_components_give_the_training_people_back(sets):
    training, _ = sets
    model, _ = fitted(training, 100)
    volumes, _ = rows(training)
    np.testing.assert_allclose(model.reconstruct(volumes), volumes, atol=1e-3)
    assert model.facts()["explained_variance"] == pytest.approx(1)


def test_two_planted_modes_hold_most_of_the_variance(sets):
    model, _ = fitted(sets[0], 2)
    assert model.facts()["explained_variance"] > 0.8


def test_test_people_change_nothing(tmp_path, sets):
    training, _ = sets
    before, _ = fitted(training, 5)
    array = np.load(tmp_path / "jac.npy")
    array[8:] = 0.123
    np.save(tmp_path / "jac.npy", array)
    after, _ = fitted(training, 5)
    for name, value in before.weights().items():
        np.testing.assert_array_equal(after.weights()[name], value)


def test_mistakes_have_one_line(sets):
    training, _ = sets
    one = VolumeSet(training.volumes, ["01"], training.scaling)
    with pytest.raises(UserError, match="at least 2"):
        fitted(one, 3)
    flat = VolumeSet(training.volumes, ["01", "02"], {m: {"low": 50.0, "high": 60.0} for m in ("jac", "ndi")})
    with pytest.raises(UserError, match="do not differ"):
        fitted(flat, 3)


def test_missing_modalities_get_the_expected_scores(tmp_path):
    """Two modes that both modalities show: one of them is nearly enough."""
    opened = open_volumes(toy_volumes(tmp_path, people=30), ["jac", "ndi"])
    scaling = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}
    people = VolumeSet(opened, opened[0].info["subjects"], scaling)
    model = PrincipalComponents({"max_components": 2, "balance": False}, ["jac", "ndi"], people.shape, 1)
    model.fit(people.subset(range(20)), toy_mask(32), None, None)
    volumes = np.stack([people[i] for i in range(20, 30)])
    lacking = volumes.copy()
    lacking[:, 1] = np.nan
    full, guessed = model.encode(volumes), model.encode(lacking)
    for component in range(2):
        assert np.corrcoef(full[:, component], guessed[:, component])[0, 1] > 0.95
        assert np.polyfit(full[:, component], guessed[:, component], 1)[0] == pytest.approx(1, abs=0.2)
    decoded = model.reconstruct(lacking)
    mean = np.mean((people.mean()[1] - volumes[:, 1]) ** 2)
    assert np.mean((decoded[:, 1] - volumes[:, 1]) ** 2) < 0.4 * mean


def test_balanced_modalities_have_equal_say(sets):
    training, test = sets
    model = PrincipalComponents(
        {"max_components": 100, "balance": True}, ["jac", "ndi"], (16, 16, 16), seed=1
    )
    model.fit(training, MASK, None, None)
    volumes, _ = rows(training)
    inside = volumes[:, :, MASK].astype(np.float64)
    centred = (inside - inside.mean(axis=0)) / model.scale_[:, None]
    # equal total variance, and the reference's components of the data scaled like that
    totals = (centred**2).sum(axis=(0, 2))
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    reference = PCA(7, svd_solver="full").fit(centred.reshape(len(centred), -1))
    np.testing.assert_allclose(model.variance_, reference.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(model.reconstruct(volumes), volumes, atol=1e-3)
    plain, _ = fitted(training, 100)
    assert not np.allclose(plain.variance_, model.variance_, rtol=1e-3)
    again = PrincipalComponents(model.options, ["jac", "ndi"], (16, 16, 16), seed=1)
    again.load_weights(model.weights())
    unseen, _ = rows(test)
    np.testing.assert_array_equal(again.encode(unseen), model.encode(unseen))
    old = {key: value for key, value in plain.weights().items() if key != "scale"}
    again.load_weights(old)
    np.testing.assert_array_equal(again.encode(unseen), plain.encode(unseen))


def test_decoded_volumes_keep_their_sign_where_inputs_have_one(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path, people=12, side=16), ["jac", "ndi"])
    opened = [dataclasses.replace(v, array=np.array(v.array) - v.array[:].mean()) for v in opened]
    people = VolumeSet(opened, opened[0].info["subjects"], {}, maximum=True)
    model, _ = fitted(people, 11)
    volumes, inside = rows(people)
    assert inside.min() == -1
    np.testing.assert_allclose(
        model.reconstruct(volumes), volumes, atol=1e-3
    )  # as many components as there can be
    assert model.decode(np.full((1, 11), 1e3)).min() == -1
