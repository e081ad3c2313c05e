"""``siamese_attention`` against a plain implementation of Arco et al. 2023 (3.2, 3.3, Eq. 2)."""

from typing import Any

import numpy as np
import pytest
import torch
from plain_training import PlainAdam, Weights, assert_close, random_volumes, weights_of
from torch.nn import functional

from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.siamese.classifier import AttentionNetwork, train_attention
from neurostrata.fusion.models.siamese.regions import RegionNetwork, hinge, train_region

#: Odd sides: the last window of the pooling is incomplete.
SHAPE = (7, 6, 2)
PEOPLE, RATE = 6, 1e-2
#: torch's defaults; the paper names no others.
EPSILON = 1e-8
TARGETS = np.array([-1, 1, 1, -1, 1, 1], np.float32)
#: Each class counts the same.
SHARES = np.where(TARGETS > 0, 0.5 / (4 / 6), 0.5 / (2 / 6)).astype(np.float32)


def options(**given: Any) -> dict[str, Any]:
    own = {"channels": [3, 4], "linear_sizes": [9, 5], "attention_sizes": [6], "weight_decay": 0.01, **given}
    return fill_defaults(own, load_schema("models/siamese_attention"))


def training(epochs: int, batch_size: int) -> TrainingSettings:
    section = {
        **section_defaults("training"),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": RATE,
    }
    return TrainingSettings.resolve(section, {}, 4)


def pool(image: torch.Tensor) -> torch.Tensor:
    """Means over windows of 2; one that reaches beyond the border is the mean of what it has."""
    sides = [-n % 2 for n in image.shape[2:]]
    around = (0, sides[2], 0, sides[1], 0, sides[0])
    total = functional.avg_pool3d(functional.pad(image, around), 2)
    return total / functional.avg_pool3d(functional.pad(torch.ones_like(image), around), 2)


def branch(w: Weights, image: torch.Tensor) -> torch.Tensor:
    """Two convolutions with ReLU and pooling, two linear layers with ReLU between them (Fig. 2)."""
    image = pool(torch.relu(functional.conv3d(image, w["branch.0.weight"], w["branch.0.bias"], padding=1)))
    image = torch.relu(functional.conv3d(image, w["branch.3.weight"], w["branch.3.bias"], padding=1))
    # a side of 1 is not pooled further
    image = pool(image) if image.shape[4] > 1 else pool(torch.cat([image, image], dim=4))
    hidden = torch.relu(image.flatten(1) @ w["branch.7.weight"].T + w["branch.7.bias"])
    return hidden @ w["branch.9.weight"].T + w["branch.9.bias"]


def outputs(w: Weights, volumes: torch.Tensor) -> list[torch.Tensor]:
    """The same branch for each modality."""
    return [branch(w, volumes[:, i : i + 1]) for i in range(volumes.shape[1])]


def distance(w: Weights, volumes: torch.Tensor) -> torch.Tensor:
    first, second = outputs(w, volumes)
    return (first - second).norm(dim=1)


def score(w: Weights, volumes: torch.Tensor) -> torch.Tensor:
    """The y of Eq. 2."""
    if "head.weight" in w:
        return torch.cat(outputs(w, volumes), dim=1) @ w["head.weight"][0] + w["head.bias"]
    return torch.exp(w["log_slope"]) * (distance(w, volumes) - w["border"])


def plain_hinge(y: torch.Tensor, t: np.ndarray, shares: np.ndarray) -> torch.Tensor:
    """Eq. 2, max(0, 1 - t y), people weighted."""
    lacking = torch.relu(1 - torch.from_numpy(t) * y)
    return (torch.from_numpy(shares) * lacking).sum() / float(shares.sum())


@pytest.mark.parametrize("kind", ["distance", "outputs"])
def test_a_region_network_scores_as_the_plain_one(kind: str) -> None:
    torch.manual_seed(1)
    network = RegionNetwork(SHAPE, options(score=kind), 2)
    volumes = random_volumes(PEOPLE, 2, SHAPE) - 0.5
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.3 * torch.randn(value.shape))
        weights = weights_of(network)
        assert_close(network.embed(volumes), torch.stack(outputs(weights, volumes), dim=1), "outputs")
        y = score(weights, volumes)
        assert_close(network(volumes), y, "score")
        loss = hinge(network(volumes), torch.from_numpy(TARGETS), torch.from_numpy(SHARES))
        assert_close(loss, plain_hinge(y, TARGETS, SHARES), "loss")


@pytest.mark.parametrize("kind", ["distance", "outputs"])
def test_a_region_network_learns_as_the_plain_one(kind: str) -> None:
    volumes = random_volumes(PEOPLE, 2, SHAPE) - 0.5
    held_out = np.zeros(PEOPLE, bool)
    network, record = train_region(
        volumes.numpy(), TARGETS, held_out, options(score=kind), training(3, 4), "cpu", seed=8
    )
    torch.manual_seed(8)
    weights = weights_of(RegionNetwork(SHAPE, options(score=kind), 2))
    if kind == "distance":  # y starts with mean 0 and variance 1
        before = distance(weights, volumes).detach()
        weights["border"].data.fill_(before.mean())
        weights["log_slope"].data.fill_(-torch.log(before.std()))
    adam = PlainAdam({n: v.detach().numpy() for n, v in weights.items()}, RATE, EPSILON, decay=0.01)
    losses, kept = [], []
    for epoch in (1, 2, 3):
        order = np.random.default_rng([8, epoch]).permutation(PEOPLE)
        total = 0.0
        for batch in (order[:4], order[4:]):
            own = {
                n: torch.tensor(v, dtype=torch.float32, requires_grad=True) for n, v in adam.weights.items()
            }
            loss = plain_hinge(score(own, volumes[batch]), TARGETS[batch], SHARES[batch])
            loss.backward()
            total += loss.item() * len(batch) / PEOPLE
            adam.step({n: v.grad.numpy() for n, v in own.items() if v.grad is not None})
        losses.append(total)
        kept.append({n: v.copy() for n, v in adam.weights.items()})
    best = int(np.argmin(losses))
    assert record["loss"] == pytest.approx(losses[-1], rel=1e-3)
    assert record["epochs"] == 3
    assert np.isnan(record["validation_loss"])
    for name, value in network.state_dict().items():
        assert np.abs(value.numpy() - kept[best][name]).max() < 0.05 * RATE, name


def attention(w: Weights, features: torch.Tensor) -> torch.Tensor:
    """3.3: two linear layers and a sigmoid give a mask, the features times it go to a linear classifier."""
    hidden = torch.relu(features @ w["mlp.0.weight"].T + w["mlp.0.bias"])
    mask = 1 / (1 + torch.exp(-(hidden @ w["mlp.2.weight"].T + w["mlp.2.bias"])))
    return (mask * features) @ w["classifier.weight"][0] + w["classifier.bias"]


def entropy(w: Weights, features: torch.Tensor, who: np.ndarray) -> torch.Tensor:
    chance = torch.sigmoid(attention(w, features[who]))
    second, shares = torch.from_numpy(TARGETS[who] > 0), torch.from_numpy(SHARES[who])
    return -(shares * torch.where(second, chance, 1 - chance).log()).mean()


def test_the_attention_module_learns_as_the_plain_one() -> None:
    features = np.random.default_rng(2).normal(2, 3, size=(PEOPLE, 2, 2, 5)).astype(np.float32)
    parts = np.array([0, 1, 0, 1, 0, 1])
    given = options(attention_weight_decay=0.02)
    network, mean, scale, record = train_attention(features, TARGETS, parts, given, training(3, 4), "cpu")
    flat = features.reshape(PEOPLE, -1)
    np.testing.assert_allclose(mean, flat.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, flat.std(axis=0), rtol=1e-5)
    standard = torch.from_numpy((flat - flat.mean(axis=0)) / flat.std(axis=0))

    def start() -> PlainAdam:
        torch.manual_seed(4)
        weights = weights_of(AttentionNetwork(20, [6]))
        return PlainAdam({n: v.detach().numpy() for n, v in weights.items()}, RATE, EPSILON, decay=0.02)

    def learn(adam: PlainAdam, epoch: int, who: np.ndarray) -> float:
        order = np.random.default_rng([4, epoch]).permutation(who)
        total = 0.0
        for batch in (order[:4], order[4:]):
            if len(batch):
                own = {
                    n: torch.tensor(v, dtype=torch.float32, requires_grad=True)
                    for n, v in adam.weights.items()
                }
                loss = entropy(own, standard, batch)
                loss.backward()
                total += loss.item() * len(batch) / len(order)
                adam.step({n: v.grad.numpy() for n, v in own.items() if v.grad is not None})
        return total

    folds = {part: start() for part in (0, 1)}
    seen = []
    for epoch in (1, 2, 3):
        error = 0.0
        for part, adam in folds.items():
            learn(adam, epoch, np.flatnonzero(parts != part))
            own = {n: torch.tensor(v, dtype=torch.float32) for n, v in adam.weights.items()}
            error += float(entropy(own, standard, np.flatnonzero(parts == part))) / 2
        seen.append(error)
    epochs = int(np.argmin(seen)) + 1
    last = start()
    loss = [learn(last, epoch, np.arange(PEOPLE)) for epoch in range(1, epochs + 1)][-1]
    assert record["epochs"] == epochs
    assert record["loss"] == pytest.approx(loss, rel=1e-3)
    assert record["validation_loss"] == pytest.approx(min(seen), rel=1e-3)
    for name, value in network.state_dict().items():
        assert np.abs(value.numpy() - last.weights[name]).max() < 0.05 * RATE, name
