"""Siamese networks with attention: shapes and losses by hand, what is learned from whom, planted differences."""

import json
import shutil

import numpy as np
import pytest
import torch
from fusion_toy import AFFINE, toy_mask, toy_settings
from scipy.ndimage import gaussian_filter

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import ModalityVolumes, VolumeSet
from neurostrata.fusion.evaluation.classification import binary_measures
from neurostrata.fusion.models.bundle import load_bundle, save_bundle
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.siamese import attention, learning
from neurostrata.fusion.models.siamese.classifier import AttentionNetwork, feature_scales, train_attention
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
from neurostrata.fusion.training.machine import Machine

NAMES = ("gm", "pet")
SIDE = 16
PLANTED = 5
SCALING = {name: {"low": 0.0, "high": 1.0} for name in (*NAMES, "fa")}
CPU = Machine(gpus=0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def options(**given):
    small = {"parcels": 8, "channels": [4, 8], "linear_sizes": [64, 20], "inner_folds": 3}
    small |= {"attention_sizes": [16], "patience": 8}
    return toy_settings("siamese_attention", options={**small, **given})["experiment"]["options"]


def training(epochs=30, **given):
    section = {**section_defaults("training"), "epochs": epochs, "batch_size": 8, **given}
    return TrainingSettings.resolve(section, {}, seed=1)


def cohort(people, effect=0.0, side=SIDE, names=NAMES, seed=0):
    """Patients (every second person) have more PET in one of eight parcels; smooth and voxelwise noise elsewhere."""
    random = np.random.default_rng(seed)
    mask = toy_mask(side)
    regions = own_parcels(mask, 8)
    patient = np.arange(people) % 2 == 1
    subjects = [f"{i:02d}" for i in range(people)]
    volumes = []
    for name in names:
        noise = random.normal(size=(2, people, side, side, side))
        smooth = np.stack([gaussian_filter(image, 2) for image in noise[1]])
        array = 0.5 + 0.1 * noise[0] + 0.4 * smooth
        if name == "pet":
            array[patient] += effect * (regions == PLANTED)
        info = {"subjects": subjects, "affine": AFFINE.tolist()}
        rows = {subject: row for row, subject in enumerate(subjects)}
        volumes.append(ModalityVolumes(name, array.astype(np.float32), rows, info, mask))
    labels = {s: "patient" if p else "control" for s, p in zip(subjects, patient)}
    return volumes, labels, mask


def stacked(people):
    return np.stack([people[i] for i in range(len(people))])


def fitted(volumes, labels, mask, subjects, given=None, settings=None, **more):
    model = build_model("siamese_attention", given or options(), [v.name for v in volumes], mask.shape, 1)
    people = VolumeSet(volumes, subjects, SCALING, labels=labels, **more)
    return model, model.fit(people, mask, settings or training(), CPU)


# ------------------------------------------------------------------------------------- by hand


def test_a_branch_has_the_papers_layers():
    """14x13x9 voxels: pooling to 7x7x5 and 4x4x3, then 1024 and 20 numbers."""
    network = RegionNetwork((14, 13, 9), toy_settings("siamese_attention")["experiment"]["options"], 3)
    assert network.embed(torch.zeros(2, 3, 14, 13, 9)).shape == (2, 3, 20)
    convolutions = (27 + 1) * 8 + (8 * 27 + 1) * 16
    linear = (16 * 4 * 4 * 3 + 1) * 1024 + (1024 + 1) * 20
    assert sum(p.numel() for p in network.parameters()) == convolutions + linear + 2
    kinds = [type(layer).__name__ for layer in network.branch]
    block = ["Conv3d", "ReLU", "AvgPool3d"]
    assert kinds == [*block, *block, "Flatten", "Linear", "ReLU", "Linear"]


def test_attention_multiplies_the_features_by_a_mask_of_their_own():
    network = AttentionNetwork(6, [4, 3])
    assert sum(p.numel() for p in network.parameters()) == 7 * 4 + 5 * 3 + 4 * 6 + 7
    features = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mask, masked = network(features)
        expected = (mask * features) @ network.classifier.weight[0] + network.classifier.bias
        torch.testing.assert_close(network.logits(features), expected)
    assert ((mask > 0) & (mask < 1)).all()
    torch.testing.assert_close(masked, mask * features)


def test_distances_by_hand():
    two = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])
    three = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]]])
    assert float(RegionNetwork.distance(two)) == pytest.approx(5)
    assert float(RegionNetwork.distance(three)) == pytest.approx((5 + 3 + 4) / 3)


def test_the_loss_by_hand_and_the_stop_can_be_reached_by_the_first_class():
    scores, signs = torch.tensor([0.5, -2.0, 0.5, 3.0]), torch.tensor([-1.0, -1.0, 1.0, 1.0])
    assert float(hinge(scores, signs, torch.ones(4))) == pytest.approx((1.5 + 0 + 0.5 + 0) / 4)
    assert float(hinge(scores, signs, torch.tensor([3.0, 1, 1, 1]))) == pytest.approx((4.5 + 0.5) / 6)
    network = RegionNetwork((4, 4, 4), options(), 2)
    same = torch.ones(1, 2, 4, 4, 4)  # equal modalities: the distance is 0
    with torch.no_grad():
        network.border.fill_(2.0)
        first = torch.tensor([-1.0])
        assert float(hinge(network(same), first, torch.ones(1))) < 0.01
        distance = network.distance(network.embed(same))
        assert float(hinge(distance, first, torch.ones(1))) >= 1  # the text's y = d


def test_a_score_of_the_outputs_starts_at_0_and_has_a_weight_for_each():
    network = RegionNetwork((4, 4, 4), options(score="outputs"), 3)
    volumes = torch.randn(5, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    network.begin(volumes)
    assert network.head.weight.shape == (1, 3 * 20)
    with torch.no_grad():
        assert (network(volumes) == 0).all()
        network.head.weight[0, 25] = 2.0
        network.head.bias.fill_(0.5)
        torch.testing.assert_close(network(volumes), 2 * network.embed(volumes)[:, 1, 5] + 0.5)


def test_scales_of_features_by_hand():
    features = np.zeros((2, 1, 2, 3))  # people, regions, modalities, two outputs and a mean
    features[0, 0] = [[6, 8, 3], [0, 0, 0]]
    each = feature_scales(features, 2, whole=False)
    np.testing.assert_allclose(each[0, 0], [3, 4, 1.5])
    branch = feature_scales(features, 2, whole=True)
    np.testing.assert_allclose(branch[0, 0], [5, 5, 1.5])
    np.testing.assert_allclose(branch[0, 1], [0.25, 0.25, 0.075], rtol=1e-4)  # a tenth of the medians


def test_classes_of_any_size_count_the_same():
    weights = class_weights(np.array([-1, -1, -1, 1]), balanced=True)
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2])
    np.testing.assert_array_equal(class_weights(np.array([-1, 1, 1]), balanced=False), np.ones(3))


def test_regions_are_boxes_and_parcels_cover_the_mask():
    mask = toy_mask(12)
    parcels = own_parcels(mask, 5)
    np.testing.assert_array_equal(parcels > 0, mask)
    np.testing.assert_array_equal(parcels, own_parcels(mask, 5))
    assert np.bincount(parcels[mask])[1:].min() > 0.5 * mask.sum() / 5
    numbers = np.zeros((6, 6, 6), int)
    numbers[1:3, 2, 0:4], numbers[2, 2, 5] = 300, 7  # int8 atlases wrap above 127
    numbers[2, 2, 1] = 7
    seven, other = find_regions(numbers)
    assert (seven.number, seven.shape, int(seven.inside.sum())) == (7, (1, 1, 5), 2)
    assert (other.number, other.shape, int(other.inside.sum())) == (300, (2, 1, 4), 7)
    with pytest.raises(UserError, match=r"options\.parcels: 5 parcels of a mask of 1 voxels"):
        own_parcels(np.eye(1, 8).reshape(2, 2, 2) > 0, 5)


def test_standardising_uses_one_mean_and_deviation_of_the_region():
    random = np.random.default_rng(2)
    crops = random.normal(3, 2, size=(4, 2, 3, 3, 2)).astype(np.float32)
    crops[:, 1] = 7  # a modality that is constant there
    inside = random.random((3, 3, 2)) < 0.6
    mean, deviation = region_scale(crops, inside)
    assert mean[0] == pytest.approx(crops[:, 0, inside].mean(), rel=1e-5)
    assert deviation[0] == pytest.approx(crops[:, 0, inside].std(), rel=1e-5)
    scaled = standardise(crops, inside, mean, deviation)
    assert (scaled[:, :, ~inside] == 0).all()
    assert scaled[:, 0, inside].std() == pytest.approx(1, rel=1e-5)
    assert (scaled[:, 1] == 0).all()


def test_alignment_finds_a_rotation_a_scale_and_a_shift():
    random = np.random.default_rng(3)
    source = random.normal(size=(50, 4)) @ np.diag([3, 2, 1, 0.0])
    rotation = np.linalg.qr(random.normal(size=(4, 4)))[0]
    matrix, shift = align(source, 2 * source @ rotation + 5)
    np.testing.assert_allclose(source @ matrix + shift, 2 * source @ rotation + 5, atol=0.05)
    matrix, shift = align(np.ones((5, 2)), np.full((5, 2), 3.0))
    np.testing.assert_allclose(np.ones((5, 2)) @ matrix + shift, 3)


def test_stopping_keeps_the_best_epoch_and_its_weights():
    layer = torch.nn.Linear(1, 1)
    stopping = Stopping(layer, patience=2, stop_at=0.01)
    ended = []
    for epoch, loss in enumerate([0.5, 0.2, 0.3, 0.4], 1):
        torch.nn.init.constant_(layer.weight, epoch)
        ended.append(stopping.after(epoch, loss))
    stopping.restore()
    assert ended == [False, False, False, True]
    assert float(layer.weight.detach()) == 2
    assert Stopping(layer, 9, 0.01).after(1, 0.009)
    with pytest.raises(UserError, match=r"not finite after epoch 1; lower training\.learning_rate"):
        stopping.after(1, float("nan"))


def test_a_region_network_tells_like_from_unlike_modalities_and_stops():
    random = np.random.default_rng(4)
    volumes = random.normal(size=(24, 2, 4, 4, 4)).astype(np.float32)
    volumes[1::2, 1] += 2
    signs = np.where(np.arange(24) % 2, 1, -1)
    held_out = np.arange(24) < 6
    network, record = train_region(volumes, signs, held_out, options(patience=60), training(60), "cpu", 1)
    assert record["epochs"] < 60
    assert record["validation_loss"] < 0.01
    with torch.no_grad():
        assert (np.sign(network(torch.from_numpy(volumes)).numpy()) == signs).all()


def test_outputs_tell_what_a_distance_does_not():
    """A fall of one modality's mean, both modalities with one spatial pattern: distances change in second order."""
    random = np.random.default_rng(6)
    volumes = random.normal(size=(120, 2, 1, 1, 1)) + 0.5 * random.normal(size=(120, 2, 4, 4, 4))
    volumes[1::2, 0] -= 1.5
    volumes = (volumes - volumes.mean(axis=(0, 2, 3, 4), keepdims=True)).astype(np.float32)
    signs = np.where(np.arange(120) % 2, 1, -1)
    areas = {}
    for score in ("distance", "outputs"):
        network, _ = train_region(
            volumes[:60], signs[:60], np.arange(60) < 12, options(score=score), training(), "cpu", 1
        )
        with torch.no_grad():
            scores = network(torch.from_numpy(volumes[60:])).numpy()
        areas[score] = binary_measures(signs[60:] > 0, 1 / (1 + np.exp(-scores)))["auc"]
    assert areas["outputs"] > 0.8
    assert areas["outputs"] > areas["distance"] + 0.1


# ------------------------------------------------------------------------------ what is learned


@pytest.fixture(scope="module")
def planted():
    torch.set_num_threads(1)
    volumes, labels, mask = cohort(80, effect=0.15)
    subjects = list(labels)
    model, history = fitted(volumes, labels, mask, subjects[:40], settings=training(20))
    test = VolumeSet(volumes, subjects[40:], SCALING)
    return model, history, stacked(test), labels, subjects[40:]


def test_a_planted_difference_is_found_in_people_not_seen(planted):
    model, history, volumes, labels, subjects = planted
    positive = np.array([labels[s] == "patient" for s in subjects])
    measures = binary_measures(positive, model.predict(volumes))
    assert model.facts()["positive_class"] == "patient"
    assert measures["auc"] > 0.85
    assert measures["balanced_accuracy"] > 0.7
    assert list(history["part"].unique()) == ["all", "fold 0", "fold 1", "fold 2", "attention"]
    assert len(history) == 8 * 4 + 1
    codes = model.encode(volumes[:3])
    assert codes.shape == (3, model.code_size) == (3, 8 * 2 * 20)
    np.testing.assert_allclose(model.encode(volumes[1:2])[0], codes[1], atol=1e-5)


def test_the_planted_region_is_the_most_relevant(planted):
    model, _, volumes, _, subjects = planted
    table = model.relevance(volumes, subjects)
    assert list(table.columns) == ["subject", "region", "modality", "features", "mean_mask"]
    assert len(table) == len(subjects) * 8 * 3
    mean = table.groupby(["modality", "region"])[["features", "mean_mask"]].mean()
    assert mean.loc["pet", "mean_mask"].idxmax() == PLANTED
    assert mean.loc["fused", "features"].idxmax() == PLANTED
    one = table[(table["subject"] == subjects[0]) & (table["region"] == 2)].set_index("modality")["features"]
    assert one["fused"] == one["gm"] + one["pet"]
    weights = model.region_weights()
    assert list(weights["modality"].unique()) == ["gm", "pet", "fused"]
    by_hand = model.attention_.mlp[0].weight.detach().abs().numpy()[:, 20:40].mean()
    assert weights["weight"][1] == pytest.approx(by_hand, rel=1e-5)


def test_outputs_and_means_of_regions_find_the_planted_difference_too(planted, tmp_path):
    volumes, labels, mask = cohort(80, effect=0.15)
    subjects = list(labels)
    given = options(score="outputs", region_means=True, feature_scale="branch")
    model, _ = fitted(volumes, labels, mask, subjects[:40], given, training(20))
    test = planted[2]
    positive = np.array([labels[s] == "patient" for s in subjects[40:]])
    assert binary_measures(positive, model.predict(test))["auc"] > 0.85
    assert model.encode(test[:3]).shape == (3, model.code_size) == (3, 8 * 2 * 21)
    mean = model.relevance(test, subjects[40:]).groupby(["modality", "region"])["mean_mask"].mean()
    assert mean["pet"].idxmax() == PLANTED
    inside = model.regions_ == 3
    standard = (test[:, 1][:, inside] - model.centres_[2, 1]) / model.scales_[2, 1]
    found = model._features(test).numpy().reshape(-1, 8, 2, 21)[:, 2, 1, 20]
    scale = model.feature_scale_.reshape(8, 2, 21)[2, 1, 20]
    centre = model.feature_mean_.reshape(8, 2, 21)[2, 1, 20]
    np.testing.assert_allclose(found, (standard.mean(axis=1) - centre) / scale, atol=1e-4)
    save_bundle(
        tmp_path / "model", model, scaling=SCALING, affine=AFFINE, training_people=subjects, settings={}
    )
    np.testing.assert_array_equal(load_bundle(tmp_path / "model")[0].predict(test), model.predict(test))


def test_the_attention_stops_where_people_held_out_say():
    given, rate = options(linear_sizes=[8, 2]), training(60, learning_rate=3e-3)
    random = np.random.default_rng(1)
    targets = np.where(np.arange(60) % 2, 1, -1).astype(np.float32)
    parts = np.arange(60) // 2 % 3
    noise = random.normal(size=(60, 5, 2, 2)).astype(np.float32)
    nothing = train_attention(noise, targets, parts, given, rate, "cpu")[-1]
    assert nothing["epochs"] < 20
    assert nothing["validation_loss"] > 0.65
    planted = noise.copy()
    planted[:, 2, 1] += 1.5 * targets[:, None]
    something = train_attention(planted, targets, parts, given, rate, "cpu")[-1]
    assert something["epochs"] > nothing["epochs"]
    assert something["validation_loss"] < 0.4


def test_a_bundle_gives_the_same_predictions(planted, tmp_path):
    model, _, volumes, _, subjects = planted
    save_bundle(
        tmp_path / "model", model, scaling=SCALING, affine=AFFINE, training_people=subjects, settings={}
    )
    loaded, description = load_bundle(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(volumes), model.predict(volumes))
    np.testing.assert_array_equal(loaded.encode(volumes[:2]), model.encode(volumes[:2]))
    assert loaded.classes_ == ["control", "patient"] == description["facts"]["classes"]
    assert loaded.relevance(volumes[:2], subjects[:2]).equals(model.relevance(volumes[:2], subjects[:2]))
    path = tmp_path / "model" / "model.json"  # of a release that did not have these options yet
    older = json.loads(path.read_text())
    for option in ("score", "region_means", "feature_scale"):
        del older["options"][option]
    path.write_text(json.dumps(older))
    np.testing.assert_array_equal(load_bundle(tmp_path / "model")[0].predict(volumes), model.predict(volumes))


def test_it_does_not_decode(planted):
    model, _, volumes, _, _ = planted
    assert (model.supervised, model.reconstructs, model.handles_missing) == (True, False, False)
    with pytest.raises(UserError, match="has no decoder"):
        model.reconstruct(volumes)
    volumes = volumes[:1].copy()
    volumes[0, 1] = np.nan
    with pytest.raises(UserError, match="a modality is missing for some people"):
        model.predict(volumes)


def test_permuted_labels_predict_nothing():
    volumes, labels, mask = cohort(64, effect=0.15, side=8)
    subjects = list(labels)
    test = stacked(VolumeSet(volumes, subjects[24:], SCALING))
    small = options(parcels=3, linear_sizes=[16, 4], inner_folds=2, channels=[2, 4])
    areas = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(64)
        shuffled = {s: labels[subjects[i]] for s, i in zip(subjects, order)}
        model, _ = fitted(volumes, shuffled, mask, subjects[:24], small, training(6))
        positive = np.array([shuffled[s] == "patient" for s in subjects[24:]])
        areas.append(binary_measures(positive, model.predict(test))["auc"])
    assert np.mean(areas) == pytest.approx(0.5, abs=0.12)  # four standard errors of 5 x 40 people


def small_fit(volumes, labels, mask, **more):
    given = options(parcels=3, linear_sizes=[8, 4], inner_folds=2, channels=[2, 2])
    return fitted(volumes, labels, mask, list(labels), given, training(2), **more)


def test_nothing_is_learned_from_anybody_else():
    volumes, labels, mask = cohort(16, effect=0.1, side=8)
    learners = dict(list(labels.items())[:12])
    model, _ = small_fit(volumes, learners, mask)
    for volume in volumes:
        volume.array[12:] = 0.9
    again, _ = small_fit(volumes, learners, mask)
    for name, value in model.weights().items():
        np.testing.assert_array_equal(value, again.weights()[name], err_msg=name)
    people = VolumeSet(volumes, list(learners), SCALING)
    inside = model.regions_ == 2
    assert model.centres_[1, 0] == pytest.approx(stacked(people)[:, 0, inside].mean(), rel=1e-4)
    assert model.scales_[1, 1] == pytest.approx(stacked(people)[:, 1, inside].std(), rel=1e-4)


def test_features_for_the_attention_are_out_of_fold(monkeypatch):
    """The features of an inner fold must not change with its people's labels."""
    volumes, labels, mask = cohort(16, effect=0.1, side=8)
    seen = {}

    def spy(features, *_):
        seen["features"] = features
        return None, None, None, {}

    def no_alignment(source, target):  # the final network, which all people shape, comes in here
        return np.eye(source.shape[1]), np.zeros(source.shape[1])

    parts = np.arange(16) // 8
    monkeypatch.setattr(attention, "train_attention", spy)
    monkeypatch.setattr(attention, "inner_parts", lambda *_: parts)
    monkeypatch.setattr(learning, "align", no_alignment)
    small_fit(volumes, labels, mask)
    before = seen["features"]
    flipped = {
        s: ("control" if c == "patient" else "patient") if i < 8 else c
        for i, (s, c) in enumerate(labels.items())
    }
    small_fit(volumes, flipped, mask)
    np.testing.assert_array_equal(seen["features"][:8], before[:8])
    assert np.abs(seen["features"][8:] - before[8:]).max() > 1e-5


def test_families_share_an_inner_fold_and_both_classes_are_in_each():
    volumes, labels, _ = cohort(24, side=8)
    subjects = list(labels)
    families = {s: f"f{i // 4}" if i < 12 else None for i, s in enumerate(subjects)}
    people = VolumeSet(volumes, subjects, SCALING, labels=labels, groups=families)
    assert people.subset([0, 5]).groups == {"00": "f0", "05": "f1"}
    classes, targets = learning.two_classes(people, 3)
    assert classes == ["control", "patient"]
    parts = learning.inner_parts(people, targets, 3, seed=1)
    assert sorted(set(parts)) == [0, 1, 2]
    for family in range(3):
        assert len(set(parts[4 * family : 4 * family + 4])) == 1
    for part in range(3):
        assert set(targets[parts == part]) == {-1.0, 1.0}


def test_regions_of_an_atlas_three_modalities_and_a_box_read_from_disk():
    volumes, labels, mask = cohort(12, effect=0.1, side=8, names=("gm", "pet", "fa"))
    atlas = np.zeros(mask.shape, np.int16)
    atlas[:4], atlas[4:6], atlas[7] = 300, 7, 9  # plane 7 is outside the mask
    people = VolumeSet(volumes, list(labels), SCALING, labels=labels, regions=atlas)
    where = (slice(1, 4), slice(2, 5), slice(0, 8))
    read = people.box(where)
    people.load()
    np.testing.assert_array_equal(read, people.box(where))
    model, _ = small_fit(volumes, labels, mask, regions=atlas)
    assert model.facts()["regions"] == [7, 300]
    assert model.encode(stacked(people)).shape == (12, 2 * 3 * 4)
    volumes[0].array[3, 2, 3, 3] = np.nan
    with pytest.raises(UserError, match="subject 03: the 'gm' volume has values that are not finite"):
        VolumeSet(volumes, list(labels), SCALING).box(where)


def test_a_killed_job_goes_on_with_the_next_region(tmp_path, monkeypatch):
    volumes, labels, mask = cohort(12, side=8)
    people = VolumeSet(volumes, list(labels), SCALING, labels=labels)
    given = options(parcels=3, linear_sizes=[8, 4], inner_folds=2, channels=[2, 2])

    def fit(epochs=2, killed_at=None):
        model = build_model("siamese_attention", given, NAMES, mask.shape, 1)
        calls = []
        original = learning.fit_region

        def watched(region, *rest):
            if region.number == killed_at:
                raise KeyboardInterrupt
            calls.append(region.number)
            return original(region, *rest)

        monkeypatch.setattr(attention, "fit_region", watched)
        try:
            model.fit(people, mask, training(epochs), CPU, tmp_path / "checkpoints")
        except KeyboardInterrupt:
            return None, calls
        finally:
            monkeypatch.setattr(attention, "fit_region", original)
        return model, calls

    unbroken, calls = fit()
    assert calls == [1, 2, 3]
    assert fit()[1] == []  # killed before its model was written
    shutil.rmtree(tmp_path / "checkpoints")
    assert fit(killed_at=3)[1] == [1, 2]
    broken = tmp_path / "checkpoints" / "region-2.pt"
    broken.write_bytes(broken.read_bytes()[:100])
    resumed, calls = fit()
    assert calls == [2, 3]
    for name, value in unbroken.weights().items():
        np.testing.assert_array_equal(value, resumed.weights()[name], err_msg=name)
    fit(killed_at=3)
    assert fit(epochs=3)[1] == [1, 2, 3]  # other settings: nothing is taken over


def test_what_a_user_can_get_wrong():
    volumes, labels, mask = cohort(12, side=8)

    def complaint(changed=labels, **more):
        with pytest.raises(UserError) as caught:
            small_fit(volumes, changed, mask, **more)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "have 3 (control, mci, patient); choose two" in complaint({**labels, "03": "mci"})
    assert "have 1 (control)" in complaint(dict.fromkeys(labels, "control"))
    few = {s: "patient" if s == "03" else "control" for s in labels}
    assert "1 of the training people are 'patient'" in complaint(few)
    assert "bring it onto the fusion grid" in complaint(regions=np.ones((4, 4, 4), int))
    assert "no region inside the brain mask" in complaint(regions=np.zeros(mask.shape, int))
    assert "options: 2 folds need at least 2 families" in complaint(groups=dict.fromkeys(labels, "one"))
    with pytest.raises(UserError, match="needs at least two"):
        build_model("siamese_attention", options(), ["gm"], mask.shape, 1)
    model = build_model("siamese_attention", options(), NAMES, mask.shape, 1)
    with pytest.raises(UserError, match="the people have none"):
        model.fit(VolumeSet(volumes, list(labels), SCALING), mask, training(), CPU)
