"""``siamese_attention`` against a plain implementation of Arco et al. 2023 (3.2, 3.3, Eq. 2)."""

from typing import Any

import numpy as np
import pytest
import torch
from plain_training import PlainAdam, Weights, assert_close, people_in_memory, random_volumes, weights_of
from torch.nn import functional

from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.siamese.attention import SiameseAttention
from neurostrata.fusion.models.siamese.classifier import AttentionNetwork, feature_scales, train_attention
from neurostrata.fusion.models.siamese.learning import held_out_people
from neurostrata.fusion.models.siamese.regions import RegionNetwork, Stopping, hinge, train_region

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


@pytest.mark.parametrize("means", [False, True])
def test_the_whole_model_predicts_and_explains_as_the_plain_one(means: bool) -> None:
    """Regions are cut out, standardised (Eq. 1), embedded; features are standardised, masked and classified."""
    random = np.random.default_rng(5)
    shape, numbers = (8, 7, 6), (3, 11)
    regions = np.zeros(shape, np.int32)
    regions[:7, :6, :2] = np.where(random.random(SHAPE) < 0.8, numbers[0], 0)
    regions[1:, 1:, 4:] = np.where(random.random(SHAPE) < 0.8, numbers[1], 0)
    for number, corner in zip(
        numbers, ((0, 0, 0), (1, 1, 4)), strict=True
    ):  # the boxes are as large as SHAPE
        regions[corner] = regions[corner[0] + 6, corner[1] + 5, corner[2] + 1] = number
    given = options(region_means=means)
    model = SiameseAttention(given, ["mri", "pet"], shape, 1)
    features = 5 + means
    torch.manual_seed(3)
    arrays: dict[str, np.ndarray] = {
        "regions": regions,
        "classes": np.frombuffer(b'["AD", "CN"]', np.uint8),
        "centres": random.normal(size=(2, 2)).astype(np.float32),
        "scales": random.uniform(0.5, 2, size=(2, 2)).astype(np.float32),
        "feature_mean": random.normal(size=4 * features).astype(np.float32),
        "feature_scale": random.uniform(0.01, 0.2, size=4 * features).astype(np.float32),
    }
    own = {f"region-{number}": RegionNetwork(SHAPE, given, 2) for number in numbers}
    own["attention"] = AttentionNetwork(4 * features, [6])  # type: ignore[assignment]
    for prefix, network in own.items():
        for name, value in network.state_dict().items():
            arrays[f"{prefix}.{name}"] = (value + 0.2 * torch.randn(value.shape)).numpy()
    model.load_weights(arrays)
    kept = model.weights()
    assert kept.keys() == arrays.keys()
    for name, value in arrays.items():
        assert np.array_equal(kept[name], value), name
    assert model.classes_ == ["AD", "CN"]
    assert model.code_size == 4 * features
    counted = sum(value.size for name, value in arrays.items() if "." in name)
    assert model.facts() == {
        "parameters": counted,
        "classes": ["AD", "CN"],
        "positive_class": "CN",
        "regions": [3, 11],
    }

    volumes = random.normal(size=(20, 2, *shape)).astype(np.float32)  # more people than are embedded at once
    pieces = []
    for position, (number, corner) in enumerate(zip(numbers, ((0, 0, 0), (1, 1, 4)), strict=True)):
        where = tuple(slice(c, c + s) for c, s in zip(corner, SHAPE, strict=True))
        inside = regions[where] == number
        boxes = volumes[(..., *where)] - arrays["centres"][position][:, None, None, None]
        boxes = np.where(inside, boxes / arrays["scales"][position][:, None, None, None], 0).astype(
            np.float32
        )
        prefix = f"region-{number}."
        weights = {
            n.removeprefix(prefix): torch.from_numpy(v) for n, v in arrays.items() if n.startswith(prefix)
        }
        embedded = torch.stack(outputs(weights, torch.from_numpy(boxes)), dim=1).numpy()
        if means:
            embedded = np.concatenate([embedded, boxes[:, :, inside].mean(axis=2)[..., None]], axis=2)
        pieces.append(embedded)
    flat = np.stack(pieces, axis=1).reshape(20, -1)
    standard = (flat - arrays["feature_mean"]) / arrays["feature_scale"]
    weights = {
        n.removeprefix("attention."): torch.from_numpy(v)
        for n, v in arrays.items()
        if n.startswith("attention.")
    }
    inputs = torch.from_numpy(standard.astype(np.float32))
    hidden = torch.relu(inputs @ weights["mlp.0.weight"].T + weights["mlp.0.bias"])
    mask = torch.sigmoid(hidden @ weights["mlp.2.weight"].T + weights["mlp.2.bias"]).numpy()
    np.testing.assert_allclose(model.encode(volumes), mask * standard, atol=1e-3)
    np.testing.assert_allclose(
        model.predict(volumes), torch.sigmoid(attention(weights, inputs)).numpy(), atol=1e-4
    )
    shaped = mask.reshape(20, 2, 2, features)
    np.testing.assert_allclose(model.masks(volumes), shaped, atol=1e-4)

    names = [f"s{i}" for i in range(20)]
    table = model.relevance(volumes, names)
    assert list(table.columns) == ["subject", "region", "modality", "features", "mean_mask"]
    assert list(table.index) == list(range(20 * 2 * 3))
    assert (shaped > 0.9).any()
    for row in table.itertuples():
        part = shaped[names.index(row.subject), numbers.index(row.region)]
        if row.modality != "fused":
            part = part[["mri", "pet"].index(row.modality)]
        assert row.features == (part > 0.9).sum()
        assert row.mean_mask == pytest.approx(part.mean(), abs=1e-4)
    table = model.region_weights()
    assert list(table.columns) == ["region", "modality", "weight"]
    first = np.abs(arrays["attention.mlp.0.weight"]).mean(axis=0).reshape(2, 2, features)
    for row in table.itertuples():
        part = first[numbers.index(row.region)]
        if row.modality != "fused":
            part = part[["mri", "pet"].index(row.modality)]
        assert row.weight == pytest.approx(part.mean(), rel=1e-4)
    assert list(table.index) == list(range(2 * 3))
    assert not any(network.training for network in [*model.networks_, model.attention_])
    volumes[2, 1] = np.nan
    with pytest.raises(UserError, match="a modality is missing"):
        model.predict(volumes)
    with pytest.raises(UserError, match="has no decoder"):
        model.reconstruct(volumes)
    with pytest.raises(UserError, match="needs at least two"):
        SiameseAttention(given, ["mri"], shape, 1)


def test_scales_of_features_have_a_floor() -> None:
    features = np.random.default_rng(1).normal(size=(50, 3, 1, 3)) * np.array([1.0, 2, 30])
    features[:, 0, 0, 0] = 0
    features[:, 1, 0, 2] = 0
    each = np.sqrt(features.var(axis=0))
    floor_outputs, floor_means = (0.1 * np.median(part) + 1e-6 for part in (each[..., :2], each[..., 2:]))
    expected = np.concatenate(
        [np.maximum(each[..., :2], floor_outputs), np.maximum(each[..., 2:], floor_means)], axis=-1
    )
    np.testing.assert_allclose(feature_scales(features, 2, whole=False), expected, rtol=1e-5)
    together = np.sqrt((each[..., :2] ** 2).sum(axis=-1, keepdims=True))
    found = feature_scales(features, 2, whole=True)
    np.testing.assert_allclose(found[..., :2], np.repeat(together, 2, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(found[..., 2:], expected[..., 2:], rtol=1e-5)


def test_people_are_held_out_where_there_are_enough_of_both_classes() -> None:
    people = people_in_memory(np.zeros((40, 1, 2, 2, 2)), np.ones((2, 2, 2), bool))
    targets = np.array([-1, 1] * 20, np.float32)
    everybody = np.arange(40)
    held_out = held_out_people(people, everybody, targets, 0.2, seed=1)
    assert held_out.sum() == 8
    assert set(targets[held_out]) == {-1, 1}
    assert not np.array_equal(held_out, held_out_people(people, everybody, targets, 0.2, seed=2))
    assert not held_out_people(people, everybody, targets, 0, seed=1).any()
    assert held_out_people(people, everybody, targets, 0.9, seed=1).sum() == 20
    assert held_out_people(people, np.arange(8), targets, 0.5, seed=1).sum() == 4
    assert held_out_people(people, np.arange(7), targets, 0.5, seed=1).shape == (7,)
    assert not held_out_people(people, np.arange(7), targets, 0.5, seed=1).any()  # 3 of a class
    assert not held_out_people(
        people, np.arange(8), targets, 0.1, seed=1
    ).any()  # one part in ten has not both
    families = people_in_memory(
        np.zeros((40, 1, 2, 2, 2)), np.ones((2, 2, 2), bool), groups=dict.fromkeys(people.subjects, "a")
    )
    assert not held_out_people(families, everybody, targets, 0.2, seed=1).any()
    few = np.where(np.arange(20) < 4, 1, -1).astype(
        np.float32
    )  # a class that is one family cannot be divided
    family = {s: "a" if i < 4 else None for i, s in enumerate(people.subjects)}
    one = people_in_memory(np.zeros((20, 1, 2, 2, 2)), np.ones((2, 2, 2), bool), groups=family)
    assert not any(held_out_people(one, np.arange(20), few, 0.5, seed=seed).any() for seed in range(4))


def test_the_distance_of_three_modalities_is_the_mean_over_pairs_and_has_a_slope_at_0() -> None:
    same = torch.ones(1, 2, 4, requires_grad=True)
    RegionNetwork.distance(same).sum().backward()
    assert same.grad is not None
    assert bool(torch.isfinite(same.grad).all())
    points = torch.tensor([[[0.0, 0], [3, 4], [0, 1]]])
    assert RegionNetwork.distance(points).item() == pytest.approx((5 + 1 + np.sqrt(18)) / 3)


def test_training_stops_below_a_loss_and_after_epochs_without_a_better_one() -> None:
    assert not Stopping(None, 2, 0.5).after(1, 0.5)
    assert Stopping(None, 2, 0.5).after(1, 0.49)
    assert not Stopping(None, 2).after(1, 0.0)
    stopping = Stopping(None, 2)
    assert [stopping.after(e, loss) for e, loss in enumerate([3.0, 2, 2, 2], 1)] == [
        False,
        False,
        False,
        True,
    ]
    assert (stopping.best, stopping.best_epoch) == (2, 2)
