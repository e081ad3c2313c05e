"""Components with a smooth prior: PCA without it, closer to the truth with it, chosen on training people alone."""

import numpy as np
import pytest
from fusion_toy import toy_mask
from scipy import ndimage

from neurostrata.fusion.models.smooth_components import (
    Prior,
    choose_prior,
    mirrored,
    modality_correlation,
    smooth_components,
)

SIDE = 16
MASK = toy_mask(SIDE)


def smooth_people(people, seed, width=6.0, noise=0.0):
    """People whose modalities are two views of one smooth random field."""
    random = np.random.default_rng(seed)
    rows = np.empty((people, 2, int(MASK.sum())), np.float32)
    for person in range(people):
        field = ndimage.gaussian_filter(random.normal(size=(SIDE,) * 3), width / 2.355)[MASK]
        rows[person] = np.stack([field, 0.8 * field]) / 0.02
    return rows + noise * random.normal(size=rows.shape).astype(np.float32)


def decoded(components, rows):
    flat = rows.reshape(len(rows), -1)
    return 1 - ((flat - flat @ components.T @ components) ** 2).sum() / (flat**2).sum()


def test_without_a_prior_they_are_those_of_pca():
    rows = smooth_people(12, 1, noise=0.2)
    rows -= rows.mean(axis=0)
    components, variance = smooth_components(rows, MASK, 5, Prior(), 1)
    _, singular, wanted = np.linalg.svd(rows.reshape(12, -1), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(components * wanted[:5], axis=1)), 1, atol=1e-3)
    np.testing.assert_allclose(variance, singular[:5] ** 2 / 12, rtol=1e-3)
    assert len(smooth_components(rows, MASK, 30, Prior(), 1)[0]) == 11


def test_they_are_eigenvectors_of_the_helped_covariance():
    """Against the dense matrix on a small mask."""
    mask = np.zeros((6, 6, 6), bool)
    mask[1:5, 1:5, 1:5] = True
    rows = np.random.default_rng(2).normal(size=(5, 2, 64)).astype(np.float32)
    rows -= rows.mean(axis=0)
    prior = Prior(0.6, 3.0)
    components, variance = smooth_components(rows, mask, 4, prior, 1)
    kernel = np.empty((64, 64))
    for voxel in range(64):
        image = np.zeros(mask.shape, np.float32)
        image[tuple(np.argwhere(mask)[voxel])] = 1
        kernel[:, voxel] = ndimage.gaussian_filter(image, 3.0 / 2.3548, mode="constant", truncate=3)[mask]
    big = np.zeros((31, 31, 31))
    big[15, 15, 15] = 1
    peak = ndimage.gaussian_filter(big, 3.0 / 2.3548, mode="constant", truncate=3)[15, 15, 15]
    flat = rows.reshape(5, -1)
    total = (flat**2).sum() / 5
    matrix = 0.4 * flat.T @ flat / 5 + 0.6 * total / (128 * peak) * np.kron(
        modality_correlation(rows), kernel
    )
    values, vectors = np.linalg.eigh(matrix)
    np.testing.assert_allclose(variance, values[::-1][:4], rtol=0.02)
    assert abs(components[0] @ vectors[:, -1]) > 0.999


def test_the_prior_helps_where_people_are_few_and_is_found_by_cross_validation():
    rows = smooth_people(18, 3)
    rows -= rows.mean(axis=0)
    prior, tried = choose_prior(rows, MASK, 16, 1)
    assert prior.weight > 0
    assert max(entry["decoded"] for entry in tried) <= 1
    unseen = smooth_people(30, 4) - smooth_people(18, 3).mean(axis=0)
    plain = decoded(smooth_components(rows, MASK, 16, Prior(), 1)[0], unseen)
    helped = decoded(smooth_components(rows, MASK, 16, prior, 1)[0], unseen)
    assert helped > plain + 0.05


def test_rough_differences_get_no_smooth_prior():
    """Two rough patterns that people have more or less of: PCA has them, smoothness would hide them."""
    random = np.random.default_rng(5)
    patterns = random.normal(size=(2, 2, int(MASK.sum())))
    rows = np.einsum("pk,kmv->pmv", random.normal(size=(20, 2)), patterns).astype(np.float32)
    prior, _ = choose_prior(rows - rows.mean(axis=0), MASK, 2, 1)
    assert prior.weight <= 0.5
    assert not prior.mirror


def test_mirror_images_are_mirror_images():
    random = np.random.default_rng(6)
    image = random.normal(size=(SIDE,) * 3).astype(np.float32)
    assert np.array_equal(MASK, MASK[::-1])
    np.testing.assert_array_equal(mirrored(image[MASK][None, None], MASK)[0, 0], image[::-1][MASK])
    lopsided = MASK.copy()
    lopsided[:4] = False
    found = mirrored(image[lopsided][None, None], lopsided)[0, 0]
    whole = np.where(lopsided, image, 0)[::-1]
    np.testing.assert_array_equal(found, whole[lopsided])


def test_modalities_are_correlated_as_they_are():
    rows = smooth_people(10, 7)
    assert modality_correlation(rows) == pytest.approx(np.ones((2, 2)), abs=1e-3)
    rows[:, 1] *= -1
    assert modality_correlation(rows)[0, 1] == pytest.approx(-1, abs=1e-3)
