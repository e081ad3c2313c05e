import numpy as np
import pytest
import torch

from neurostrata.fusion.evaluation import metrics


def test_mean_squared_error_by_hand():
    real, decoded = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    decoded[0, 0, 0] = 0.4
    mask = np.zeros((2, 2, 2), bool)
    mask[0] = True
    assert metrics.mean_squared_error(real, decoded) == pytest.approx(0.16 / 8)
    assert metrics.mean_squared_error(real, decoded, mask) == pytest.approx(0.16 / 4)
    assert metrics.peak_signal_to_noise(real, decoded) == pytest.approx(10 * np.log10(8 / 0.16))
    assert np.isnan(metrics.peak_signal_to_noise(real, real))


def test_normalized_difference_by_hand():
    real = np.array([0.2, 0.2, 0.2, 0.001, 0.9]).reshape(5, 1, 1)
    decoded = np.array([0.3, 0.1, 0.6, 0.002, 0.1]).reshape(5, 1, 1)
    mask = np.array([True, True, True, True, False]).reshape(5, 1, 1)
    signed, absolute, excluded = metrics.normalized_difference(real, decoded, mask)
    # 0.1/0.5 = 0.2, -0.1/0.3 = -0.333, 0.4/0.8 = 0.5; the fourth sums to 0.003; the fifth is outside.
    assert signed == pytest.approx(0.2)
    assert absolute == pytest.approx(1 / 3)
    assert excluded == pytest.approx(0.25)
    nothing = metrics.normalized_difference(np.zeros((5, 1, 1)), np.zeros((5, 1, 1)), mask)
    assert np.isnan(nothing[:2]).all()
    assert nothing[2] == 1


def test_errors_of_either_sign_cancel_in_the_signed_median_only():
    random = np.random.default_rng(0)
    real = np.full((10, 10, 10), 0.5)
    decoded = real + random.choice([-0.1, 0.1], size=real.shape)
    signed, absolute, _ = metrics.normalized_difference(real, decoded, real > 0)
    assert abs(signed) <= 0.12
    assert absolute == pytest.approx(0.1, abs=0.012)


def test_blocks_lie_in_the_mask_and_pairs_are_seeded():
    mask = np.zeros((17, 16, 13), bool)
    mask[4:16, 3:13, 3:12] = True
    pairs = metrics.block_pairs(mask, 200, seed=3)
    assert pairs.shape == (200, 2, 3)
    for first in pairs.reshape(-1, 3):
        assert mask[tuple(slice(f, f + b) for f, b in zip(first, metrics.BLOCK))].all()
        assert (first % np.array(metrics.BLOCK) == 0).all()
    assert (pairs[:, 0] != pairs[:, 1]).any(axis=1).all()
    np.testing.assert_array_equal(pairs, metrics.block_pairs(mask, 200, seed=3))
    assert (pairs != metrics.block_pairs(mask, 200, seed=4)).any()
    assert len(np.unique(pairs.reshape(-1, 3), axis=0)) == 3 * 2 * 3  # every whole block is drawn


def test_contrast_by_hand():
    random = np.random.default_rng(1)
    image = random.random((12, 8, 6))
    pairs = metrics.block_pairs(np.ones(image.shape, bool), 50, seed=1)
    values = metrics.contrast_to_noise(image, pairs)
    for value, (a, b) in zip(values, pairs):
        one, two = (image[tuple(slice(f, f + s) for f, s in zip(start, metrics.BLOCK))] for start in (a, b))
        both = np.concatenate([one.ravel(), two.ravel()])
        assert value == pytest.approx(abs(one.mean() - two.mean()) / both.std())
    constant = metrics.contrast_to_noise(np.ones((12, 8, 6)), pairs)
    assert np.isnan(constant).all()


def test_contrast_difference_is_that_of_the_medians():
    random = np.random.default_rng(2)
    real = random.random((16, 16, 12)) + np.linspace(0, 2, 16)[:, None, None]
    pairs = metrics.block_pairs(np.ones(real.shape, bool), 300, seed=1)
    smooth = real.copy()
    smooth += 0.5 * (np.linspace(0, 2, 16)[:, None, None] - real)
    difference, cnr_real, cnr_smooth = metrics.contrast_difference(real, smooth, pairs)
    assert cnr_real == pytest.approx(np.median(metrics.contrast_to_noise(real, pairs)))
    assert difference == pytest.approx((cnr_smooth - cnr_real) / (cnr_smooth + cnr_real))
    assert difference > 0  # half of the noise is gone
    assert metrics.contrast_difference(real, real, pairs)[0] == 0
    assert np.isnan(metrics.contrast_difference(real, np.zeros_like(real), pairs)[0])
    assert np.isnan(metrics.contrast_difference(real, real, np.zeros((0, 2, 3), int))[0])


def test_images_without_contrast_between_blocks_have_no_contrast_difference():
    """Blocks of the same mean: contrast 0 in both images, of which there is no relative difference."""
    checks = np.indices((8, 8, 6)).sum(axis=0) % 2.0
    pairs = metrics.block_pairs(np.ones(checks.shape, bool), 20, seed=1)
    difference, real, decoded = metrics.contrast_difference(checks, checks / 2, pairs)
    assert np.isnan(difference)
    assert (real, decoded) == (0, 0)


def test_voxels_at_the_least_sum_are_left_out():
    real = np.array([0.005, 0.1]).reshape(2, 1, 1)
    decoded = np.array([0.005, 0.3]).reshape(2, 1, 1)
    found = metrics.normalized_difference(real, decoded, real > 0)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5])


def test_similarity_has_the_constants_of_wang_et_al():
    """Far from the border: of two flat images only the means differ, of a flat and a chequered one only the variance."""
    flat = np.full((20, 20, 20), 0.02)
    level = (2 * 0.02 * 0.05 + 0.01**2) / (0.02**2 + 0.05**2 + 0.01**2)
    assert metrics.structural_similarity(flat, np.full_like(flat, 0.05)) == pytest.approx(level)
    chequered = flat + 0.01 * (-1.0) ** np.indices(flat.shape).sum(axis=0)
    assert metrics.structural_similarity(flat, chequered) == pytest.approx(
        0.03**2 / (0.01**2 + 0.03**2), rel=1e-3
    )


def test_similarity_equals_torchmetrics():
    from torchmetrics.functional.image import structural_similarity_index_measure

    random = np.random.default_rng(3)
    real = random.random((20, 18, 16)).astype(np.float32)
    for decoded in (
        real,
        np.clip(real + 0.2 * random.normal(size=real.shape), 0, 1),
        np.full_like(real, 0.5),
    ):
        expected = structural_similarity_index_measure(
            torch.from_numpy(decoded.astype(np.float32))[None, None],
            torch.from_numpy(real)[None, None],
            data_range=1.0,
        )
        assert metrics.structural_similarity(real, decoded) == pytest.approx(float(expected), abs=2e-5)
