"""The numerics of the torch engine, piece by piece, against scipy, ANTs' definition and known maps."""

from __future__ import annotations

import anatomy_phantoms as phantoms
import numpy as np
import pytest
import torch
from scipy import ndimage

from neurostrata.imaging.registration.torch_registration import (
    FLAT,
    Box,
    Correlation,
    Pair,
    align,
    box,
    compose,
    deform,
    generators,
    invert,
    refine,
    sample,
    smooth,
    transform,
    voxels,
)


def image(shape: tuple[int, ...] = (9, 11, 13), seed: int = 1) -> torch.Tensor:
    data = np.random.default_rng(seed).random(shape)
    return torch.from_numpy(ndimage.gaussian_filter(data, 1).astype(np.float32))[None, None]


def wave(shape: tuple[int, int, int], size: float) -> torch.Tensor:
    """A smooth displacement of at most `size` voxels."""
    x, y, z = voxels(shape, "cpu")
    edge = torch.sin(torch.pi * x / (shape[0] - 1)) * torch.sin(torch.pi * y / (shape[1] - 1))
    inside = edge * torch.sin(torch.pi * z / (shape[2] - 1))
    return size * torch.stack([inside, -inside, 0.5 * inside])


def test_smoothing_is_scipys() -> None:
    data = image()
    found = smooth(data, [1.3, 0, 0.7])[0, 0].numpy()
    expected = ndimage.gaussian_filter(data[0, 0].numpy(), [1.3, 0, 0.7], mode="nearest", truncate=3)
    assert np.abs(found - expected).max() < 2e-3


def test_sampling_is_trilinear() -> None:
    data = image()
    points = voxels((4, 4, 4), "cpu") * 1.7 + 0.3
    found = sample(data, points)[0, 0].numpy()
    expected = ndimage.map_coordinates(data[0, 0].numpy(), points.numpy(), order=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_box_is_the_mean_and_its_own_gradient(radius: int) -> None:
    data = image((4, 7, 9)).double()
    expected = ndimage.uniform_filter(data[0, 0].numpy(), 2 * radius + 1, mode="constant")
    np.testing.assert_allclose(box(data, radius)[0, 0].numpy(), expected, atol=1e-12)
    assert torch.autograd.gradcheck(Box.apply, (data.requires_grad_(), radius))


@pytest.mark.parametrize("contrast", [0, 0.1])
def test_correlation_is_that_of_the_neighbourhoods(contrast: float) -> None:
    fixed, moving = image(seed=1), image(seed=2)
    inside = torch.ones_like(fixed)
    inside[:, :, :2] = 0
    found = float(Correlation(fixed, 2, contrast, inside)(moving))
    a, b = fixed[0, 0].numpy().astype(float), moving[0, 0].numpy().astype(float)
    total, weights = [], []
    for i, j, k in np.ndindex(*a.shape):
        window = tuple(slice(max(n - 2, 0), n + 3) for n in (i, j, k))
        one, two = (np.zeros(125) for _ in range(2))
        one[: a[window].size], two[: b[window].size] = a[window].ravel(), b[window].ravel()
        covariance = np.cov(one, two, ddof=0)
        total.append(covariance[0, 1] ** 2 / ((covariance[0, 0] + FLAT) * (covariance[1, 1] + FLAT)))
        # at a standard deviation of `contrast` a voxel counts half
        weights.append((i >= 2) / (1 + contrast**2 / covariance[0, 0]))
    assert found == pytest.approx(np.average(total, weights=weights), rel=1e-3)


def test_an_image_without_contrast_is_like_no_other() -> None:
    flat = torch.ones((1, 1, 9, 9, 9))
    assert float(Correlation(flat, 2, 0.03, torch.zeros_like(flat))(image((9, 9, 9)))) == 0


def test_inverse_composition_and_refinement() -> None:
    shape = (20, 22, 24)
    there = wave(shape, 2.0)
    points = voxels(shape, "cpu")
    back = invert(there)
    assert float(compose(back, there, points).abs().max()) < 1e-3
    steep = wave(shape, 5.0)  # changes by up to 1.3 voxels per voxel: the fixed point alone never gets there
    assert float(compose(invert(steep), steep, points)[:, 5:-5, 5:-5, 5:-5].abs().max()) < 0.01
    assert float(compose(there, back, points).abs().max()) < 0.1
    coarse = wave((10, 11, 12), 1.0)
    fine = refine(coarse, shape, 2)
    middle = points[:, 4:-4, 4:-4, 4:-4]
    x, y, z = (middle - 0.5) / 2
    again = 2 * sample(coarse[None], torch.stack([x, y, z]))[0]
    torch.testing.assert_close(fine[:, 4:-4, 4:-4, 4:-4], again)


def test_generators_span_what_they_should() -> None:
    for turn in generators(6):
        np.testing.assert_array_equal(turn, -turn.T)
    assert np.linalg.matrix_rank(generators(12).reshape(9, 9)) == 9


@pytest.fixture(scope="module")
def heads() -> tuple[torch.Tensor, np.ndarray]:
    grid = phantoms.grid(40, 4.5)
    data = phantoms.brain(grid).data.astype(np.float32)
    return torch.from_numpy(data / data.max())[None, None], grid.affine


def test_a_planted_rigid_movement_is_found(heads: tuple[torch.Tensor, np.ndarray]) -> None:
    fixed, affine = heads
    angle = np.deg2rad(10)
    planted = np.eye(4)
    planted[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    planted[:3, 3] = [5, -3, 4]
    moving_to_fixed = np.linalg.inv(affine) @ np.linalg.inv(planted) @ affine
    matrix = torch.tensor(moving_to_fixed, dtype=torch.float32)
    moving = sample(fixed, transform(matrix, voxels(fixed.shape[2:], "cpu")))
    pair = Pair(fixed, moving, affine, affine, 2, 0.03)
    centre = affine[:3, 3] + affine[:3, :3] @ (np.array(fixed.shape[2:]) - 1) / 2
    found = align(pair, np.eye(4), 6, [60, 20], centre, 60.0, 1.0)
    points = centre + np.array([[0, 0, 0], [50, 0, 0], [0, 0, -50]])
    error = (points @ found[:3, :3].T + found[:3, 3]) - (points @ planted[:3, :3].T + planted[:3, 3])
    assert np.abs(error).max() < 1.0  # mm; a voxel has 4.5
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-4)


def test_a_blurred_rim_draws_edges_outwards_only_where_all_voxels_count_the_same(
    heads: tuple[torch.Tensor, np.ndarray],
) -> None:
    """A template is a mean of many, which fades out around the brain. It is no larger than each of them for that."""
    head, affine = heads
    centre = affine[:3, 3] + affine[:3, :3] @ (np.array(head.shape[2:]) - 1) / 2
    blurred = smooth(head, [1.5] * 3)
    smaller = {}
    for contrast in (0, 0.03):
        pair = Pair(blurred, head, affine, affine, 2, contrast)
        found = align(pair, np.eye(4), 12, [60, 20], centre, 60.0, 2.0)
        smaller[contrast] = -np.log(np.linalg.det(found[:3, :3]))
    assert smaller[0] > 0.25
    assert 0 < smaller[0.03] < 0.5 * smaller[0]


def test_the_mask_is_where_the_similarity_counts(heads: tuple[torch.Tensor, np.ndarray]) -> None:
    """The two halves of the moving image are shifted apart; a mask on one half follows that half."""
    fixed, affine = heads
    points = voxels(fixed.shape[2:], "cpu")
    middle = fixed.shape[2] / 2
    apart = torch.zeros_like(points)
    apart[1] = torch.where(points[0] < middle, 1.5, -1.5)
    moving = sample(fixed, points + apart)
    for side in (-1, 1):
        half = (side * (points[0] - middle) > 0).float()[None, None]
        pair = Pair(fixed, moving, affine, affine, 2, 0.03, half)
        found = align(pair, np.eye(4), 6, [60, 20], np.zeros(3), 60.0, 1.0)
        assert found[1, 3] * side / affine[1, 1] > 0.5


def test_a_coarse_result_comes_on_the_fine_grid(heads: tuple[torch.Tensor, np.ndarray]) -> None:
    fixed, affine = heads
    pair = Pair(fixed, fixed, affine, affine, 2, 0.03)
    found = deform(pair, np.eye(4), [3, 2, 0], 1.0, 1.7, 0.4)
    assert found.shape == (3, *fixed.shape[2:])
    assert float(deform(pair, np.eye(4), [0, 0], 1.0, 1.7, 0.4).abs().max()) == 0


def test_everything_stays_on_the_device_of_the_images() -> None:
    """Torch's `meta` device has shapes and no numbers; mixing it with the CPU fails as mixing a GPU with it does."""
    affine = np.diag([2.0, 2, 2, 1])
    fixed, moving, mask = (torch.empty((1, 1, 20, 22, 24), device="meta") for _ in range(3))
    pair = Pair(fixed, moving, affine, affine, 2, 0.03, mask)
    found = deform(pair, np.eye(4), [2, 2], 1.0, 1.7, 0.4)
    assert found.device.type == "meta"
    assert found.shape == (3, 20, 22, 24)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # the result, at the end
        align(pair, np.eye(4), 12, [2, 1], np.zeros(3), 60.0, 1.0)
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called"):  # "is that near enough?"
        invert(found, 2)
