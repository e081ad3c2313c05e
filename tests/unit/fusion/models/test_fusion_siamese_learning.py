"""Classes, inner folds and one region after the other: who learns, and what from."""

import numpy as np
import pytest
import torch
from fusion_toy import toy_settings
from plain_training import people_in_memory

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.siamese import learning
from neurostrata.fusion.models.siamese.regions import RegionNetwork, find_regions

MASK = np.ones((3, 3, 3), bool)


def people(number=12, **given):
    array = np.random.default_rng(0).normal(size=(number, 2, 3, 3, 3)).astype(np.float32)
    found = people_in_memory(array, MASK)
    labels = given.get("labels", ["b" if i % 2 else "a" for i in range(number)])
    found.labels = None if labels is None else dict(zip(found.subjects, labels))
    return found


def model(**given):
    small = {"parcels": 2, "channels": [2], "linear_sizes": [4], "inner_folds": 3, **given}
    options = toy_settings("siamese_attention", options=small)["experiment"]["options"]
    return build_model("siamese_attention", options, ["m0", "m1"], MASK.shape, 5)


def training(**given):
    section = {**section_defaults("training"), "epochs": 2, "batch_size": 4, **given}
    return TrainingSettings.resolve(section, {}, seed=3)


def test_classes_are_sorted_and_signed():
    classes, signs = learning.two_classes(people(4, labels=["z", "a", "z", "a"]), 2)
    assert classes == ["a", "z"]
    np.testing.assert_array_equal(signs, [1, -1, 1, -1])
    assert signs.dtype == np.float32
    with pytest.raises(UserError, match="2 of the training people are 'a', 3 inner folds"):
        learning.two_classes(people(5, labels=["z", "a", "z", "a", "z"]), 3)


def test_regions_of_people_are_cut_by_the_mask():
    cohort = people()
    mask = MASK.copy()
    mask[0] = False
    np.testing.assert_array_equal(learning.choose_regions(cohort, mask, 4) > 0, mask)
    cohort.regions = np.full(MASK.shape, 300.0)
    found = learning.choose_regions(cohort, mask, 4)
    np.testing.assert_array_equal(found, np.where(mask, 300, 0))
    assert found.dtype == np.int32
    cohort.regions[:] = 1
    np.testing.assert_array_equal(learning.choose_regions(cohort, mask, 4), mask)
    cohort.regions[:] = -1
    with pytest.raises(UserError, match="no region inside"):
        learning.choose_regions(cohort, mask, 4)


def test_parts_are_made_from_families_and_classes(monkeypatch):
    calls = []

    def made(table, number, columns, seed, key):
        calls.append((table, number, columns, seed, key))
        return np.arange(len(table)) % number

    monkeypatch.setattr(learning, "make_parts", made)
    cohort = people(6)
    cohort.groups = {cohort.subjects[1]: "f", cohort.subjects[4]: "g"}
    signs = np.array([-1, 1, 1, -1, 1, 1], np.float32)
    found = learning._divide(cohort, np.array([0, 1, 4]), signs, 3, 8)
    np.testing.assert_array_equal(found, [0, 1, 2])
    ((table, *rest),) = calls
    assert list(table["subject"]) == [cohort.subjects[i] for i in (0, 1, 4)]
    assert table["family"].isna().tolist() == [True, False, False]
    assert list(table["family"][1:]) == ["f", "g"]
    assert list(table["class"]) == ["-1.0", "1.0", "1.0"]
    assert rest == [3, ["class"], 8, "options.inner_folds"]
    np.testing.assert_array_equal(learning.inner_parts(cohort, signs, 2, 8), np.arange(6) % 2)
    assert len(calls[1][0]) == 6
    assert calls[1][1::2] == (2, 8)
    # a part of one class is all right, as long as the others have both
    learning.inner_parts(cohort, np.array([-1, 1, -1, -1, -1, 1], np.float32), 3, 8)
    # all people of a class in one part are not
    with pytest.raises(UserError, match="all people of a class"):
        learning.inner_parts(cohort, np.array([1, -1, 1, -1, 1, -1], np.float32), 2, 8)


@pytest.mark.parametrize(
    ("share", "smaller", "parts"),
    [
        (0.2, 4, 5),
        (0.2, 3, None),
        (0.1, 5, 10),
        (0.1, 4, None),
        (0.11, 4, 9),
        (0.9, 4, 2),
        (0.4, 4, 2),
        (0.3, 4, 3),
        (0, 9, None),
    ],
)
def test_a_part_is_held_out_where_there_are_enough(monkeypatch, share, smaller, parts):
    calls = []

    def divided(cohort, chosen, signs, number, seed):
        calls.append((number, seed))
        return np.arange(len(chosen)) // 2 % number

    monkeypatch.setattr(learning, "_divide", divided)
    for sign in (1, -1):
        signs = np.full(40, sign, np.float32)
        signs[1 : 2 * smaller : 2] = -sign
        calls.clear()
        found = learning.held_out_people(people(40), np.arange(30), signs, share, 6)
        assert found.shape == (30,)
        if parts is None:
            assert not found.any()
            assert not calls
        else:
            assert calls == [(parts, 6)]
            np.testing.assert_array_equal(found, np.arange(30) // 2 % parts == 0)


def test_nobody_is_held_out_where_a_class_would_be_missing(monkeypatch):
    signs = np.where(np.arange(20) % 2, 1, -1).astype(np.float32)
    for part in (np.arange(20) % 2, np.where(np.arange(20) % 2, np.arange(20) // 2 % 2, 0)):
        for parts in (part, 1 - part):
            monkeypatch.setattr(learning, "_divide", lambda *_, found=parts: found)
            assert not learning.held_out_people(people(20), np.arange(20), signs, 0.5, 6).any()


def test_boxes_are_embedded_in_pieces():
    network = RegionNetwork((2, 2, 2), model().options, 2)
    boxes = np.random.default_rng(1).normal(size=(37, 2, 2, 2, 2)).astype(np.float32)
    sizes = []
    network.branch.register_forward_hook(lambda _, given, __: sizes.append(len(given[0]) // 2))
    found = learning.embed_boxes(network, boxes, "cpu")
    assert sizes == [16, 16, 5]
    with torch.no_grad():
        np.testing.assert_allclose(found, network.embed(torch.from_numpy(boxes)).numpy(), atol=1e-6)


@pytest.mark.parametrize("means", [True, False])
def test_features_are_those_of_networks_that_have_not_seen_a_person(monkeypatch, means):
    cohort, own = people(), model(region_means=means, validation_fraction=0.3)
    signs = np.where(np.arange(12) % 2, 1, -1).astype(np.float32)
    parts = np.arange(12) // 2 % 3
    numbers = np.zeros(MASK.shape, int)
    numbers[:2, :2, 0], numbers[0, 0, 1] = 4, 4
    (region,) = find_regions(numbers)
    crops = cohort.box(region.box)
    inside = region.inside
    trained = []

    def train_region(volumes, targets, held_out, options, how, device, seed):
        network = RegionNetwork(region.shape, options, 2)
        trained.append((volumes, targets, held_out, options, how, device, seed, network))
        return network, {"epochs": 7, "loss": 0.5, "validation_loss": 0.25, "seconds": 1.5}

    aligned = []

    def align(source, target):
        aligned.append((source, target))
        return 2 * np.eye(4), np.arange(4.0)

    monkeypatch.setattr(learning, "train_region", train_region)
    monkeypatch.setattr(learning, "align", align)
    monkeypatch.setattr(
        learning, "held_out_people", lambda cohort, chosen, targets, share, seed: (chosen, share, seed)
    )
    how = training()
    found = learning.fit_region(region, cohort, signs, parts, own, how, "cpu")
    groups = [np.arange(12), *(np.flatnonzero(parts != part) for part in range(3))]
    embedded = []
    for chosen, (volumes, targets, held_out, options, given, device, seed, network) in zip(
        groups, trained, strict=True
    ):
        centre = crops[chosen][:, :, inside].mean(axis=(0, 2))
        scale = crops[chosen][:, :, inside].std(axis=(0, 2))
        standard = np.where(inside, (crops - centre[:, None, None, None]) / scale[:, None, None, None], 0)
        np.testing.assert_allclose(volumes, standard[chosen], atol=1e-5)
        np.testing.assert_array_equal(targets, signs[chosen])
        np.testing.assert_array_equal(held_out[0], chosen)
        assert held_out[1:] == (0.3, 5)
        assert (options, given, device, seed) == (own.options, how, "cpu", 3 * 1_000_003 + 4)
        with torch.no_grad():
            embedded.append(network.embed(torch.from_numpy(standard.astype(np.float32))).numpy())
    final = embedded[0]
    wanted = np.empty((12, 2, 4))
    for part in range(3):
        chosen = groups[part + 1]
        np.testing.assert_allclose(aligned[part][0], embedded[part + 1][chosen].reshape(-1, 4), atol=1e-5)
        np.testing.assert_allclose(aligned[part][1], final[chosen].reshape(-1, 4), atol=1e-5)
        wanted[parts == part] = 2 * embedded[part + 1][parts == part] + np.arange(4)
    np.testing.assert_allclose(found["centre"], crops[:, :, inside].mean(axis=(0, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["scale"], crops[:, :, inside].std(axis=(0, 2)), rtol=1e-4)
    if means:
        values = (crops[:, :, inside] - found["centre"].numpy()[:, None]) / found["scale"].numpy()[:, None]
        wanted = np.concatenate([wanted, values.mean(axis=2)[..., None]], axis=2)
    np.testing.assert_allclose(found["features"], wanted, atol=1e-4)
    torch.testing.assert_close(found["network"], trained[0][-1].state_dict())
    record = {"epochs": 7, "loss": 0.5, "validation_loss": 0.25, "seconds": 1.5}
    assert found["history"] == [
        {"region": "4", "part": part, **record} for part in ("all", "fold 0", "fold 1", "fold 2")
    ]


def test_checkpoints_are_of_one_run(tmp_path):
    cohort, own, how = people(), model(), training()
    regions = np.arange(27).reshape(3, 3, 3)

    def kept(*changes):
        folder = tmp_path / "regions"
        given = [own, cohort, how, regions]
        for place, value in changes:
            given[place] = value
        found = learning.checkpoint_folder(folder, *given)
        assert found == folder
        there = (folder / "mark").exists()
        (folder / "mark").touch()
        return there

    assert not kept()
    assert kept()
    assert not kept((3, regions + 1))
    assert not kept()
    assert not kept((2, training(epochs=3)))
    assert not kept((2, training(batch_size=3)))
    assert not kept()
    assert not kept((1, people(11)))
    other = model()
    other.modalities = ["m1", "m0"]
    assert not kept()
    assert not kept((0, other))
    for text in ("", "[]", '{"other": 1}', '{"digest": "x"}'):
        kept()
        (tmp_path / "regions" / "run.json").write_text(text)
        assert not kept(), text
    assert kept()


def test_a_finished_region_is_read_and_a_broken_one_is_told(tmp_path, capsys):
    path = tmp_path / "region.pt"
    assert learning.read_finished(path) is None
    assert capsys.readouterr().err == ""
    with atomic_path(path) as temporary:
        torch.save({"centre": torch.ones(2)}, temporary)
    torch.testing.assert_close(learning.read_finished(path), {"centre": torch.ones(2)})
    with atomic_path(path) as temporary:
        torch.save({"centre": path}, temporary)  # nothing but numbers is read
    assert learning.read_finished(path) is None
    assert "region.pt: cannot be used" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:50])
    assert learning.read_finished(path) is None
    assert "region.pt: cannot be used" in capsys.readouterr().err
