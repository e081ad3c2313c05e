"""What the model does around its regions' networks, which are replaced: order, checkpoints, history, what it keeps."""

import numpy as np
import pytest
import torch
from fusion_toy import toy_settings
from plain_training import people_in_memory

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.siamese import attention
from neurostrata.fusion.models.siamese.attention import SiameseAttention
from neurostrata.fusion.models.siamese.classifier import AttentionNetwork
from neurostrata.fusion.models.siamese.regions import RegionNetwork, find_regions
from neurostrata.fusion.training.machine import Machine

MASK = np.ones((3, 3, 3), bool)
REGIONS = np.zeros((3, 3, 3), np.int32)
REGIONS[0], REGIONS[2, :2] = 9, 4


def model(**given):
    small = {"channels": [2], "linear_sizes": [4], "inner_folds": 2, "attention_sizes": [5], **given}
    options = toy_settings("siamese_attention", options=small)["experiment"]["options"]
    return build_model("siamese_attention", options, ["m0", "m1"], MASK.shape, 5)


def training(**given):
    section = {**section_defaults("training"), "epochs": 2, "batch_size": 4, **given}
    return TrainingSettings.resolve(section, {}, seed=3)


@pytest.fixture
def cohort():
    array = np.random.default_rng(0).random((8, 2, 3, 3, 3))
    people = people_in_memory(array, MASK, regions=REGIONS)
    people.labels = {subject: "ab"[i % 2] for i, subject in enumerate(people.subjects)}
    return people


@pytest.fixture
def calls(monkeypatch):
    """Replace all that learns; return what is called with what."""
    seen = {"regions": [], "reports": [], "flags": [], "loaded": 0}
    torch.manual_seed(0)

    def fit_region(region, people, targets, parts, own, how, device):
        network = RegionNetwork(region.shape, own.options, 2)
        seen["regions"].append((region.number, targets, parts, own, how, device))
        cudnn = torch.backends.cudnn
        names = ("enabled", "deterministic", "benchmark", "allow_tf32")
        seen["flags"].append({name: getattr(cudnn, name) for name in names})
        number = float(region.number)
        return {
            "network": network.state_dict(),
            "centre": torch.tensor([number, 1.0]),
            "scale": torch.tensor([number, 2.0]),
            "features": torch.full((8, 2, 4), number),
            "history": [
                {"region": str(region.number), "part": part, "loss": 1.0} for part in ("all", "fold 0")
            ],
        }

    def train_attention(features, *rest):
        seen["attention"] = (features, *rest)
        return AttentionNetwork(16, [5]), np.arange(16.0), np.arange(16.0) + 1, {"loss": 0.5, "epochs": 6}

    def load(people):
        seen["loaded"] += 1

    monkeypatch.setattr(attention, "fit_region", fit_region)
    monkeypatch.setattr(attention, "train_attention", train_attention)
    monkeypatch.setattr(attention, "report_region", lambda *given: seen["reports"].append(given))
    monkeypatch.setattr(VolumeSet, "load", load)
    return seen


def test_regions_are_trained_one_after_the_other(cohort, calls):
    own, how = model(), training()
    history = own.fit(cohort, MASK, how, Machine(threads=1, gpus=0))
    assert [call[0] for call in calls["regions"]] == [4, 9]
    _, targets, parts, *rest = calls["regions"][0]
    np.testing.assert_array_equal(targets, [-1, 1] * 4)
    np.testing.assert_array_equal(parts, attention.inner_parts(cohort, targets, 2, 5))
    assert rest == [own, how, "cpu"]
    features, *rest = calls["attention"]
    np.testing.assert_array_equal(features[:, 0], np.full((8, 2, 4), 4.0))
    np.testing.assert_array_equal(features[:, 1], np.full((8, 2, 4), 9.0))
    np.testing.assert_array_equal(rest[0], targets)
    np.testing.assert_array_equal(rest[1], parts)
    assert rest[2:] == [own.options, how, "cpu"]
    assert history.fillna("").to_dict("records") == [
        {"region": region, "part": part, "loss": loss, "epochs": epochs}
        for region, part, loss, epochs in (
            ("4", "all", 1.0, ""),
            ("4", "fold 0", 1.0, ""),
            ("9", "all", 1.0, ""),
            ("9", "fold 0", 1.0, ""),
            ("", "attention", 0.5, 6.0),
        )
    ]
    assert [(place, number, rows[0]["region"]) for place, number, rows in calls["reports"]] == [
        (0, 2, "4"),
        (1, 2, "9"),
    ]
    np.testing.assert_array_equal(own.centres_, [[4, 1], [9, 1]])
    np.testing.assert_array_equal(own.scales_, [[4, 2], [9, 2]])
    np.testing.assert_array_equal(own.feature_mean_, np.arange(16))
    np.testing.assert_array_equal(own.feature_scale_, np.arange(16) + 1)
    assert not any(network.training for network in own.networks_)
    assert own.classes_ == ["a", "b"]
    assert own.maximum == cohort.maximum


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_gpus_libraries_do_as_the_settings_say(cohort, calls, deterministic):
    """cuDNN computes the convolutions, and float32 in float32."""
    model().fit(cohort, MASK, training(deterministic=deterministic), Machine(threads=1, gpus=0))
    expected = {"enabled": True, "deterministic": deterministic, "benchmark": False, "allow_tf32": False}
    assert calls["flags"] == [expected] * 2


def test_volumes_that_fit_are_read_once(cohort, calls, monkeypatch):
    for spare, loaded in ((0, 1), (-1, 0)):
        calls["loaded"] = 0
        monkeypatch.setattr(Machine, "volume_bytes", cohort.nbytes + spare)
        model().fit(cohort, MASK, training(), Machine(threads=1, gpus=0))
        assert calls["loaded"] == loaded


def test_finished_regions_are_taken_over(cohort, calls, tmp_path, monkeypatch):
    folder, how = tmp_path / "checkpoints", training()
    fit_region = attention.fit_region

    def killed(region, *rest):
        if region.number == 9:
            raise KeyboardInterrupt
        return fit_region(region, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(attention, "fit_region", killed)
        with pytest.raises(KeyboardInterrupt):
            model().fit(cohort, MASK, how, Machine(threads=1, gpus=0), folder)
    assert (folder / "region-4.pt").exists()
    for values in calls.values():
        if isinstance(values, list):
            values.clear()
    history = model().fit(cohort, MASK, how, Machine(threads=1, gpus=0), folder)
    assert [call[0] for call in calls["regions"]] == [9]
    assert [call[0] for call in calls["reports"]] == [1]
    assert list(history["region"]) == ["4", "4", "9", "9", ""]


def in_use(**given):
    """Return a model with two regions, as after learning."""
    own = model(**given)
    own._set_regions(REGIONS)
    torch.manual_seed(1)
    own.networks_ = [RegionNetwork(region.shape, own.options, 2).eval() for region in find_regions(REGIONS)]
    own.centres_, own.scales_ = np.full((2, 2), 0.5, np.float32), np.full((2, 2), 0.25, np.float32)
    own.feature_mean_ = np.zeros(own.code_size, np.float32)
    own.feature_scale_ = np.full(own.code_size, 0.1, np.float32)
    own.attention_ = AttentionNetwork(own.code_size, [5]).eval()
    own.classes_ = ["a", "ü"]
    return own


def test_what_it_keeps_is_what_it_takes_over():
    own, other = in_use(), model()
    kept = own.weights()
    assert (kept["regions"].dtype, kept["classes"].dtype) == (np.int32, np.uint8)
    other.device = "elsewhere"
    other.load_weights(kept)
    assert other.device == "cpu"
    assert other.classes_ == ["a", "ü"]
    again = other.weights()
    assert kept.keys() == again.keys()
    for name, value in kept.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
    volumes = np.random.default_rng(3).random((3, 2, 3, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(other.encode(volumes), own.encode(volumes))
    # copies: what is done with them does not change the model
    kept["attention.classifier.bias"][:] = 99
    np.testing.assert_array_equal(
        other.weights()["attention.classifier.bias"], own.weights()["attention.classifier.bias"]
    )
    kept["centres"] = np.zeros((2, 2))
    assert (own.centres_ == 0.5).all()
    assert not any(network.training for network in [*other.networks_, other.attention_])
    with pytest.raises(RuntimeError):
        model().load_weights({name: value for name, value in again.items() if name != "region-4.border"})


@pytest.mark.parametrize("means", [True, False])
def test_features_are_counted(means):
    own = in_use(region_means=means)
    assert own.features == 4 + means
    assert own.code_size == 2 * 2 * (4 + means)


def test_relevance_is_above_nine_tenths(monkeypatch):
    own = in_use()
    mask = np.full((1, 2, 2, 4), 0.9)
    mask[0, 1, 0, :3] = 0.91
    mask[0, 1, 1, 0] = 1.0
    monkeypatch.setattr(SiameseAttention, "masks", lambda self, volumes: mask)
    table = own.relevance(np.zeros((1, 2, 3, 3, 3)), ["s"])
    assert list(zip(table["subject"], table["region"], table["modality"], table["features"])) == [
        ("s", 4, "m0", 0),
        ("s", 4, "m1", 0),
        ("s", 4, "fused", 0),
        ("s", 9, "m0", 3),
        ("s", 9, "m1", 1),
        ("s", 9, "fused", 4),
    ]
    np.testing.assert_allclose(
        table["mean_mask"], [0.9, 0.9, 0.9, (3 * 0.91 + 0.9) / 4, 0.925, (0.9075 + 0.925) / 2]
    )


def test_preparing_moves_all_networks(monkeypatch):
    own = in_use()
    for network in [*own.networks_, own.attention_]:
        network.train()
    moved = []
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: moved.append((self, device)) or self)
    monkeypatch.setattr(torch, "set_num_threads", moved.append)
    machine = Machine(threads=3, gpus=0)
    own.prepare(machine)
    assert moved == [3, *((network, machine.device) for network in [*own.networks_, own.attention_])]
    assert own.device == machine.device
    assert not any(network.training for network in [*own.networks_, own.attention_])


def test_two_modalities_are_needed():
    with pytest.raises(UserError, match="at least two"):
        SiameseAttention(model().options, ["m0"], MASK.shape, 1)
    assert SiameseAttention(model().options, ["m0", "m1"], MASK.shape, 1).device == "cpu"
