"""Regions, their networks' layers and how these learn, from definitions."""

import math

import numpy as np
import pytest
import torch
from fusion_toy import toy_mask, toy_settings
from scipy.linalg import orthogonal_procrustes
from sklearn.cluster import KMeans

from neurostrata.core.config import section_defaults
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.siamese.regions import (
    RegionNetwork,
    Stopping,
    align,
    class_weights,
    find_regions,
    hinge,
    own_parcels,
    region_scale,
    standardise,
    train_region,
)


def options(**given):
    small = {"channels": [2, 3], "linear_sizes": [6, 4], "patience": 3, "weight_decay": 0.02, **given}
    return toy_settings("siamese_attention", options=small)["experiment"]["options"]


def training(epochs, **given):
    section = {**section_defaults("training"), "epochs": epochs, "batch_size": 5, "learning_rate": 0.01}
    return TrainingSettings.resolve({**section, **given}, {}, seed=1)


def test_parcels_are_numbered_by_their_centres():
    mask = toy_mask(8)  # where a second start of k-means would be better
    parcels = own_parcels(mask, 6)
    centres = [np.argwhere(parcels == number).mean(axis=0).tolist() for number in range(1, 7)]
    assert centres == sorted(centres)
    assert parcels.dtype == np.int32
    voxels = np.argwhere(mask)
    found = KMeans(6, n_init=1, max_iter=100, random_state=0).fit_predict(voxels.astype(float))
    groups = parcels[tuple(voxels.T)]
    assert len(set(zip(groups, found))) == 6
    # as many parcels as voxels
    assert sorted(own_parcels(np.eye(3)[None] > 0, 3).ravel()) == [0] * 6 + [1, 2, 3]


def test_regions_are_in_the_order_of_their_numbers():
    numbers = np.full((5, 4, 3), -2)
    numbers[1:3, 1:4, 0], numbers[4, 0, 1:], numbers[0, 0, 0] = 9, 2, 0
    two, nine = find_regions(numbers)
    assert (two.number, two.box) == (2, (slice(4, 5), slice(0, 1), slice(1, 3)))
    assert (nine.number, nine.box) == (9, (slice(1, 3), slice(1, 4), slice(0, 1)))
    assert nine.shape == (2, 3, 1)
    assert nine.inside.all()


def test_scales_are_those_of_the_regions_voxels():
    crops = np.random.default_rng(0).normal(2, 3, size=(4, 3, 2, 3, 2)).astype(np.float32)
    crops[:, 1] = 5.0
    crops[:, 2] = 5.0 + 1.5e-6 * np.sign(crops[:, 2] - 2)  # rounded to steps of 5e-7
    inside = np.random.default_rng(1).random((2, 3, 2)) < 0.6
    mean, deviation = region_scale(crops, inside)
    assert mean.dtype == deviation.dtype == np.float32
    values = crops[:, :, inside].astype(float)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2)), rtol=1e-6)
    wanted = values.std(axis=(0, 2))
    assert 1e-6 < wanted[2] < 2e-6
    np.testing.assert_allclose(deviation, [wanted[0], 1.0, wanted[2]], rtol=1e-6)
    scaled = standardise(crops.astype(float), inside, mean, deviation)
    assert scaled.dtype == np.float32
    wanted = np.where(inside, (crops[:, 0] - mean[0]) / deviation[0], 0)
    np.testing.assert_allclose(scaled[:, 0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kernel", "pooling"), [(3, 2), (5, 3)])
def test_layers_suit_the_box(kernel, pooling):
    network = RegionNetwork((7, 2, 1), options(kernel_size=kernel, pooling=pooling, channels=[2, 3, 4]), 2)
    sides, shape = [], (7, 2, 1)
    for _ in range(3):
        sides.append(tuple(min(pooling, side) for side in shape))
        shape = tuple(math.ceil(side / w) for side, w in zip(shape, sides[-1]))
    for i, window in enumerate(sides):
        convolution, _, pool = network.branch[3 * i : 3 * i + 3]
        assert (convolution.in_channels, convolution.out_channels) == [(1, 2), (2, 3), (3, 4)][i]
        assert convolution.kernel_size == (kernel,) * 3
        assert convolution.padding == (kernel // 2,) * 3
        assert (pool.kernel_size, pool.ceil_mode) == (window, True)
    assert network.branch[10].in_features == 4 * math.prod(shape)
    assert network.head is None
    assert (float(network.log_slope.detach()), float(network.border.detach())) == (0, 0)
    assert network.embed(torch.randn(3, 2, 7, 2, 1)).shape == (3, 2, 4)


def test_the_score_of_a_distance_starts_at_mean_0_and_variance_1():
    torch.manual_seed(2)
    network = RegionNetwork((4, 3, 3), options(), 3)
    volumes = torch.randn(9, 3, 4, 3, 3)
    network.begin(volumes)
    with torch.no_grad():
        scores = network(volumes)
        assert float(scores.mean()) == pytest.approx(0, abs=1e-5)
        assert float(scores.std()) == pytest.approx(1, rel=1e-5)
        slope, border = network.log_slope.exp(), network.border
        torch.testing.assert_close(scores, slope * (network.distance(network.embed(volumes)) - border))
        network.begin(torch.ones(4, 3, 4, 3, 3))  # equal distances
        assert float(network.log_slope) == pytest.approx(-math.log(1e-6))
    with_head = RegionNetwork((4, 3, 3), options(score="outputs"), 3)
    assert not with_head.head.bias.any()
    assert not with_head.head.weight.any()
    assert not hasattr(with_head, "border")


def by_definition(volumes, signs, held_out, given, how, seed):
    """Train as the docstring says; return the weights of the best epoch, and epochs, losses."""
    torch.manual_seed(seed)
    network = RegionNetwork(volumes.shape[2:], given, volumes.shape[1])
    data, t = torch.from_numpy(volumes), torch.from_numpy(signs.astype(np.float32))
    share = torch.from_numpy(class_weights(signs, given["balanced"]))
    learners = np.flatnonzero(~held_out)
    network.begin(data[learners])
    adam = torch.optim.Adam(network.parameters(), lr=how.learning_rate, weight_decay=given["weight_decay"])
    best, kept, since, losses = math.inf, None, 0, []
    for epoch in range(1, how.epochs + 1):
        order = np.random.default_rng([seed, epoch]).permutation(learners)
        sums = 0.0
        for batch in (order[i : i + how.batch_size] for i in range(0, len(order), how.batch_size)):
            adam.zero_grad()
            loss = hinge(network(data[batch]), t[batch], share[batch])
            loss.backward()
            adam.step()
            sums += loss.item() * len(batch)
        losses.append(sums / len(order))
        with torch.no_grad():
            watched = hinge(network(data[held_out]), t[held_out], share[held_out]).item()
        seen = watched if held_out.any() else losses[-1]
        since += 1
        if seen < best:
            best, since = seen, 0
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        if seen < given["stop_at"] or since >= given["patience"]:
            break
    return kept, epoch, losses[-1], best


@pytest.mark.parametrize("score", ["distance", "outputs"])
@pytest.mark.parametrize("held", [0, 5])
@pytest.mark.parametrize("balanced", [True, False])
def test_a_region_network_learns_as_its_definition(score, held, balanced):
    random = np.random.default_rng(3)
    volumes = random.normal(size=(17, 2, 3, 3, 2)).astype(np.float32)
    signs = np.where(np.arange(17) % 3, 1, -1)
    volumes[signs > 0, 1] += 0.7
    held_out = np.arange(17) < held
    given = options(score=score, balanced=balanced, stop_at=0.05)
    for how in (training(2), training(14, learning_rate=0.05)):
        network, record = train_region(volumes, signs, held_out, given, how, "cpu", 7)
        kept, epochs, loss, best = by_definition(volumes, signs, held_out, given, how, 7)
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, kept[name], rtol=1e-4, atol=1e-6)
        assert not network.training
        assert record["epochs"] == epochs
        assert record["loss"] == pytest.approx(loss, rel=1e-4)
        assert record["validation_loss"] == (
            pytest.approx(best, rel=1e-4) if held else pytest.approx(np.nan, nan_ok=True)
        )
        assert 0 <= record["seconds"] < 60


def test_training_draws_nothing_from_the_common_generator():
    volumes = np.random.default_rng(3).normal(size=(8, 2, 2, 2, 2)).astype(np.float32)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train_region(volumes, np.array([-1, 1] * 4), np.zeros(8, bool), options(), training(1), "cpu", 7)
    torch.testing.assert_close(torch.rand(3), wanted)


def test_stopping_without_a_network_restores_nothing():
    stopping = Stopping(None, 2)
    assert (stopping.best, stopping.best_epoch) == (math.inf, 0)
    stopping.after(1, 2.0)
    stopping.restore()
    assert (stopping.best, stopping.best_epoch) == (2.0, 1)


def test_the_kept_weights_do_not_follow_the_network():
    layer = torch.nn.Linear(2, 1)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    stopping = Stopping(layer, 5)
    stopping.after(1, 1.0)
    with torch.no_grad():
        layer.weight.add_(1)
    stopping.after(2, 1.0)  # not lower
    stopping.restore()
    torch.testing.assert_close(layer.state_dict(), before)


def test_alignment_is_procrustes_with_a_pull_towards_no_rotation():
    random = np.random.default_rng(4)
    source = random.normal(size=(12, 3)) * [3, 1, 0.01] + 4
    goal = source @ np.linalg.qr(random.normal(size=(3, 3)))[0] * 1.7 + random.normal(size=(12, 3)) - 2
    matrix, shift = align(source.astype(np.float32), goal.astype(np.float32))
    a, b = source - source.mean(axis=0), goal - goal.mean(axis=0)
    pull = np.sqrt(1e-3 * np.sqrt((a**2).sum() * (b**2).sum()) / 3) * np.eye(3)
    rotation, _ = orthogonal_procrustes(np.vstack([a, pull]), np.vstack([b, pull]))
    np.testing.assert_allclose(matrix, np.sqrt((b**2).sum() / (a**2).sum()) * rotation, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(source.mean(axis=0) @ matrix + shift, goal.mean(axis=0), rtol=1e-4)
    assert matrix.dtype == shift.dtype == np.float64
    matrix, shift = align(np.full((4, 2), 1.5), np.array([[1.0, 2], [3, 2], [1, 2], [3, 2]]))
    np.testing.assert_array_equal(matrix, np.eye(2))
    np.testing.assert_allclose(shift, [0.5, 0.5])
