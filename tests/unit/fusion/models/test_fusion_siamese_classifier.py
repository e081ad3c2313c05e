"""The attention module's layers and scales, and when its training ends, with losses that are given."""

import numpy as np
import pytest
import torch
from fusion_toy import toy_settings

from neurostrata.core.config import section_defaults
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.siamese import classifier
from neurostrata.fusion.models.siamese.classifier import (
    AttentionNetwork,
    _Trial,
    feature_scales,
    train_attention,
)
from neurostrata.fusion.models.siamese.regions import class_weights

TARGETS = np.array([-1, 1, 1, -1, 1, 1, 1], np.float32)
PARTS = np.array([0, 0, 0, 1, 1, 2, 2])


def options(**given):
    small = {"linear_sizes": [6, 2], "attention_sizes": [5, 3], "patience": 2, **given}
    return toy_settings("siamese_attention", options=small)["experiment"]["options"]


def training(epochs=9, **given):
    section = {**section_defaults("training"), "epochs": epochs, "batch_size": 3, **given}
    return TrainingSettings.resolve(section, {}, seed=4)


def features():
    return np.random.default_rng(2).normal(2, 3, size=(7, 2, 2, 3)) * [1, 10, 0.3]


def test_the_mask_comes_from_linear_layers_with_relu_between():
    network = AttentionNetwork(4, [5, 3])
    kinds = [type(layer).__name__ for layer in network.mlp]
    assert kinds == ["Linear", "ReLU", "Linear", "ReLU", "Linear", "Sigmoid"]
    widths = [
        (layer.in_features, layer.out_features) for layer in network.mlp if hasattr(layer, "in_features")
    ]
    assert widths == [(4, 5), (5, 3), (3, 4)]
    assert (network.classifier.in_features, network.classifier.out_features) == (4, 1)


def test_a_floor_of_scales_is_a_tenth_of_the_median():
    values = np.zeros((2, 1, 3, 2))
    values[0] = [[2, 4], [20, 4], [0.1, 0]]  # standard deviations are half of these
    np.testing.assert_allclose(
        feature_scales(values, 1, whole=False), [[[1, 2], [10, 2], [0.1, 0.2]]], rtol=1e-5
    )
    assert feature_scales(values, 2, whole=True).dtype == np.float32
    # a branch's outputs have one scale: the root of the sum of their variances
    together = feature_scales(values, 2, whole=True)
    np.testing.assert_allclose(together[0, 0], [np.sqrt(5)] * 2, rtol=1e-5)
    np.testing.assert_allclose(
        feature_scales(np.zeros((3, 1, 1, 2)), 2, whole=False), np.full((1, 1, 2), 1e-6)
    )


class Given(_Trial):
    """A trial whose losses are given; counts what it does."""

    made: list["Given"]
    seen: dict[int, list[float]]

    def __init__(self, data, learning, given, how):
        super().__init__(data, learning, given, how)
        self.options, self.steps = given, 0
        self.made.append(self)

    def loss(self, who):
        assert not torch.is_grad_enabled()
        (part,) = set(PARTS[who])
        assert len(who) == list(PARTS).count(part)
        assert part not in PARTS[self.learning]
        return torch.tensor(self.seen[part][self.steps - 1])

    def step(self):
        self.steps += 1
        return 10.0 - self.steps


def trained(monkeypatch, seen, how=None, **given):
    monkeypatch.setattr(Given, "made", [], raising=False)
    monkeypatch.setattr(Given, "seen", seen, raising=False)
    monkeypatch.setattr(classifier, "_Trial", Given)
    found = train_attention(features(), TARGETS, PARTS, options(**given), how or training(), "cpu")
    return found, Given.made


def test_training_ends_where_the_held_out_say(monkeypatch):
    falling = [9.0, 5, 4, 6, 7, 1, 1, 1, 1]
    losses = {0: falling, 1: [0.0] * 9, 2: [2 * value for value in falling]}
    (network, _, _, record), (*folds, last) = trained(monkeypatch, losses)
    # the third epoch is the best, and two more are waited for
    assert [trial.steps for trial in folds] == [5, 5, 5]
    assert last.steps == 3
    assert record["epochs"] == 3
    assert record["loss"] == 7.0
    assert record["validation_loss"] == pytest.approx((3 * 4 + 2 * 0 + 2 * 8) / 7)
    assert 0 <= record["seconds"] < 60
    assert sorted(record) == ["epochs", "loss", "seconds", "validation_loss"]
    assert network is last.network
    assert not network.training
    np.testing.assert_array_equal(last.learning, np.arange(7))
    assert [list(trial.learning) for trial in folds] == [[3, 4, 5, 6], [0, 1, 2, 5, 6], [0, 1, 2, 3, 4]]


def test_training_ends_with_the_epochs(monkeypatch):
    losses = {part: [9.0, 8, 7, 6] for part in range(3)}
    (*_, record), (*folds, last) = trained(monkeypatch, losses, training(4))
    assert [trial.steps for trial in folds] == [4, 4, 4]
    assert last.steps == record["epochs"] == 4


@pytest.mark.parametrize(("name", "whole"), [("branch", True), ("feature", False)])
@pytest.mark.parametrize("balanced", [True, False])
def test_what_is_learned_from(monkeypatch, name, whole, balanced):
    losses = dict.fromkeys(range(3), [1.0] * 9)
    (_, mean, scale, _), made = trained(monkeypatch, losses, feature_scale=name, balanced=balanced)
    flat = features().reshape(7, -1)
    np.testing.assert_allclose(mean, flat.mean(axis=0))
    np.testing.assert_array_equal(scale, feature_scales(features(), 2, whole).ravel())
    for trial in made:
        standard, second, share = trial.data
        assert standard.dtype == second.dtype == torch.float32
        np.testing.assert_allclose(standard, (flat - mean) / scale, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(second, TARGETS > 0)
        np.testing.assert_array_equal(share, class_weights(TARGETS, balanced))
        assert trial.options["attention_sizes"] == [5, 3]


def test_a_trial_learns_an_epoch_at_a_time():
    data = [torch.randn(7, 4), torch.from_numpy((TARGETS > 0).astype(np.float32)), torch.rand(7)]
    who, how = np.array([0, 2, 3, 5, 6]), training(learning_rate=0.02)
    torch.manual_seed(9)
    wanted = torch.rand(2)
    torch.manual_seed(9)
    trial = _Trial(data, who, options(attention_weight_decay=0.1), how)
    torch.testing.assert_close(torch.rand(2), wanted)  # nothing is drawn from the common generator
    torch.manual_seed(4)
    network = AttentionNetwork(4, [5, 3])
    torch.testing.assert_close(trial.network.state_dict(), network.state_dict())
    adam = torch.optim.Adam(network.parameters(), lr=0.02, weight_decay=0.1)
    for epoch in (1, 2):
        order = np.random.default_rng([4, epoch]).permutation(who)
        total = 0.0
        for batch in (order[:3], order[3:]):
            adam.zero_grad()
            odds = network.logits(data[0][batch])
            each = torch.log(1 + torch.exp(odds)) - data[1][batch] * odds
            loss = (each * data[2][batch]).mean()
            loss.backward()
            adam.step()
            total += loss.item() * len(batch) / 5
        assert trial.step() == pytest.approx(total, rel=1e-5)
        assert trial.epoch == epoch
    torch.testing.assert_close(trial.network.state_dict(), network.state_dict(), rtol=1e-4, atol=1e-5)
