"""The training loop, on a network so small that many runs take a second; the autoencoder once."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from fusion_toy import toy_mask, toy_settings, toy_volumes
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.nn import functional

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.training_presets import PRESETS
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.network import NetworkModel
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.training import loop
from neurostrata.fusion.training import module as training_module
from neurostrata.fusion.training.batch_norm import settling_sample
from neurostrata.fusion.training.checkpoints import RegularCheckpoint, resumable, run_digest
from neurostrata.fusion.training.loop import hold_out
from neurostrata.fusion.training.machine import Machine
from neurostrata.fusion.training.module import EpochBatches
from neurostrata.stages import STAGES

SCALING = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}


class TinyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv3d(2, 4, 4, stride=4), nn.BatchNorm3d(4, momentum=0.01), nn.Dropout(0.2)
        )
        self.up = nn.ConvTranspose3d(4, 2, 4, stride=4)

    def forward(self, volumes):
        return self.up(self.down(volumes))

    def losses(self, volumes):
        error = functional.binary_cross_entropy_with_logits(self(volumes), volumes, reduction="none")
        return error.mean(dim=(0, 2, 3, 4))

    def encode(self, volumes):
        return self.down(volumes).flatten(1)

    def reconstruct(self, volumes):
        return torch.sigmoid(self(volumes))


class TinyModel(NetworkModel):
    name = "tiny"
    smallest_batch = 2
    code_size = 32

    def build_network(self):
        return TinyNetwork()


@pytest.fixture
def people(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path / "volumes", people=7, side=8), ["jac", "ndi"])
    return VolumeSet(opened, opened[0].info["subjects"], SCALING)


def settings(**given):
    section = {**section_defaults("training"), "epochs": 4, "batch_size": 3, **given}
    return TrainingSettings.resolve(section, {}, seed=5)


def train(people, checkpoints=None, seed=5, machine=None, **given):
    model = TinyModel({"weight_decay": 1e-4}, ["jac", "ndi"], (8, 8, 8), seed)
    history = model.fit(
        people, None, dataclasses.replace(settings(**given), seed=seed), machine or Machine(), checkpoints
    )
    return model, history


def same(first, second):
    return all(np.array_equal(first.weights()[name], value) for name, value in second.weights().items())


def test_presets_are_filled_in_and_overridden():
    section = section_defaults("training")
    paper = TrainingSettings.resolve(section, {}, seed=1)
    assert dataclasses.asdict(paper).items() >= PRESETS["paper"].items()
    assert (paper.epochs, paper.batch_size, paper.learning_rate, paper.precision) == (200, 1, 1e-3, "fp32")
    mixed = TrainingSettings.resolve(
        {**section, "epochs": 7}, {"preset": "fast", "precision": "fp32"}, seed=1
    )
    assert (mixed.epochs, mixed.batch_size, mixed.precision, mixed.compile) == (7, 4, "fp32", True)
    with pytest.raises(UserError, match="unknown key 'epoch'"):
        TrainingSettings.resolve(section, {"epoch": 3}, seed=1)


def test_same_seed_same_weights(people):
    first, history = train(people)
    again, _ = train(people)
    other, _ = train(people, seed=6)
    assert same(first, again)
    assert not same(first, other)
    assert list(history.columns) == ["epoch", "loss", "loss_jac", "loss_ndi", "seconds"]
    assert list(history["epoch"]) == [1, 2, 3, 4]


def test_volumes_read_by_other_processes_give_the_same_weights(people):
    first, _ = train(people)
    streamed = VolumeSet(people.volumes, people.subjects, SCALING)
    second, _ = train(streamed, machine=Machine(memory_mb=0))
    assert streamed._memory is None
    assert same(first, second)


def test_embedding_is_deterministic_and_does_not_depend_on_the_company(people):
    model, _ = train(people)
    volumes = np.stack([people[i] for i in range(5)])
    codes = model.encode(volumes)
    assert codes.shape == (5, 32)
    np.testing.assert_array_equal(codes, model.encode(volumes))
    np.testing.assert_allclose(model.encode(volumes[3:4])[0], codes[3], rtol=1e-5, atol=1e-6)
    assert not model.network.training


class KilledError(Exception):
    pass


def kill_before(monkeypatch, epoch):
    start = training_module.TrainingModule.on_train_epoch_start

    def maybe_die(self):
        if self.current_epoch == epoch:
            raise KilledError
        start(self)

    monkeypatch.setattr(training_module.TrainingModule, "on_train_epoch_start", maybe_die)
    return lambda: monkeypatch.setattr(training_module.TrainingModule, "on_train_epoch_start", start)


@pytest.mark.parametrize("given", [{}, {"schedule": "cosine"}])
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(people, tmp_path, monkeypatch, capsys, given):
    unbroken, full = train(people, **given)
    heal = kill_before(monkeypatch, 2)
    with pytest.raises(KilledError):
        train(people, tmp_path / "checkpoints", **given)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    heal()
    resumed, history = train(people, tmp_path / "checkpoints", **given)
    assert "resumed from" in capsys.readouterr().err
    assert same(unbroken, resumed)
    np.testing.assert_array_equal(history["loss"], full["loss"])
    assert history["seconds"].max() < 600
    # Killed before its model was written: what it had learned is there.
    kill_before(monkeypatch, 0)
    again, history = train(people, tmp_path / "checkpoints", **given)
    assert same(unbroken, again)
    np.testing.assert_array_equal(history["loss"], full["loss"])


def test_a_run_killed_after_it_had_stopped_early_learns_no_further(people, tmp_path, monkeypatch):
    """Another epoch could be a better one, which the unbroken run does not have."""

    def stop_early(folder):
        model = TinyModel({}, ["jac", "ndi"], (8, 8, 8), 5)
        history = loop.train_network(
            model, model.network, 2, people.subset(range(5)), how, Machine(), folder, people.subset([5, 6]), 1
        )  # fmt: skip
        return model, history

    def die(network):
        raise KilledError

    how = settings(epochs=60, learning_rate=0.05)
    monkeypatch.setattr(RegularCheckpoint.__init__, "__defaults__", (0.0,))  # after every epoch
    unbroken, full = stop_early(tmp_path / "unbroken")
    assert 1 < len(full) < 60
    with monkeypatch.context() as patch:
        patch.setattr(loop, "has_batch_norm", die)
        with pytest.raises(KilledError):
            stop_early(tmp_path / "killed")
    resumed, history = stop_early(tmp_path / "killed")
    np.testing.assert_array_equal(history["validation_loss"], full["validation_loss"])
    assert same(unbroken, resumed)


def test_a_training_that_leads_nowhere_says_so(people, capsys):
    def said(rate):
        model = TinyModel({}, ["jac", "ndi"], (8, 8, 8), 5)
        how = settings(epochs=6, learning_rate=rate)
        history = loop.train_network(
            model, model.network, 2, people.subset(range(5)), how, Machine(), None, people.subset([5, 6]), 2
        )  # fmt: skip
        return history["best_epoch"].iloc[
            -1
        ], "the weights that it started from are kept" in capsys.readouterr().err

    assert said(1e3) == (0, True)
    best, warned = said(0.01)
    assert best > 0
    assert not warned


@pytest.mark.parametrize("change", ["settings", "people", "truncated", "damaged"])
def test_a_checkpoint_of_another_run_is_not_resumed(people, tmp_path, monkeypatch, capsys, change):
    heal = kill_before(monkeypatch, 2)
    with pytest.raises(KilledError):
        train(people, tmp_path / "checkpoints")
    heal()
    given = {}
    if change == "settings":
        given["learning_rate"] = 0.01
    elif change == "people":
        people = VolumeSet(people.volumes, people.subjects[:6], SCALING)
    else:
        checkpoint = tmp_path / "checkpoints" / "last.ckpt"
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 1
        checkpoint.write_bytes(content[:-100] if change == "truncated" else content)
    model, history = train(people, tmp_path / "checkpoints", **given)
    assert "resumed from" not in capsys.readouterr().err
    assert same(model, train(people, **given)[0])
    assert len(history) == 4


def test_batches_cover_everybody_and_never_hold_one_person_alone():
    batches = EpochBatches(people=7, size=3, smallest=2, seed=1)
    epochs = []
    for epoch in range(5):
        batches.set_epoch(epoch)
        drawn = list(batches)
        assert [len(batch) for batch in drawn] == [3, 3]  # the seventh alone would stop batch normalisation
        assert len(batches) == 2
        epochs.append(list(chain(*drawn)))
    assert set(chain(*epochs)) == set(range(7))
    whole = EpochBatches(people=7, size=3, smallest=1, seed=1)
    assert sorted(chain(*whole)) == list(range(7))


def test_two_processes_learn_what_one_does(tmp_path, repository):
    toy_volumes(tmp_path, people=8, side=8, modalities=("jac",))
    here = repository / "tests" / "fixtures"
    paths = os.pathsep.join([str(repository / "workflow"), str(here)])
    done = subprocess.run(
        [sys.executable, str(here / "two_processes.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines()[-1:] == ["equal 3"], done.stderr[-3000:]


def test_a_batch_is_divided_evenly_or_refused(people, monkeypatch):
    monkeypatch.setattr(Machine, "accelerators", 2)
    with pytest.raises(UserError, match="a batch of 3 cannot be divided evenly between 2 GPUs"):
        train(people, batch_size=3)
    parts = [list(EpochBatches(7, 4, 4, seed=1, share=share, shares=2)) for share in (0, 1)]
    assert [len(batch) for batch in parts[0]] == [2]
    assert not set(chain(*parts[0])) & set(chain(*parts[1]))


def test_one_person_per_step_is_refused_where_batch_norm_would_see_one_value(people):
    with pytest.raises(UserError, match=r"training\.batch_size: 1 people per step"):
        train(people, batch_size=1)
    with pytest.raises(UserError, match="one value per channel"):
        train(VolumeSet(people.volumes, people.subjects[:1], SCALING))


def test_a_diverging_run_says_so(people):
    with pytest.raises(UserError, match=r"lower training\.learning_rate"):
        train(people, learning_rate=1e30)


def test_batch_norm_statistics_are_those_of_the_training_people(people):
    settled, _ = train(people, batch_norm_statistics="training", batch_size=7)
    running, _ = train(people, batch_norm_statistics="running", batch_size=7)
    np.testing.assert_array_equal(settled.weights()["down.0.weight"], running.weights()["down.0.weight"])
    volumes = torch.from_numpy(np.stack([people[i] for i in range(7)]))
    assert settling_sample(people, seed=1) == list(range(7))
    some = settling_sample(people, seed=1, room=4.01 * 12 * people.nbytes / 7)
    assert len(set(some)) == 4
    with torch.no_grad():
        features = settled.network.down[0](volumes)
    mean = features.mean(dim=(0, 2, 3, 4)).numpy()
    np.testing.assert_allclose(settled.weights()["down.1.running_mean"], mean, rtol=1e-4, atol=1e-6)
    assert np.abs(running.weights()["down.1.running_mean"] - mean).max() > 1e-3
    automatic, _ = train(people, batch_size=7)  # 4 steps: far from settled
    assert same(automatic, settled)


def test_batch_norm_statistics_are_measured_after_a_training_on_several_gpus(people, monkeypatch):
    """Lightning turns the layers into others that see all GPUs' people, and afterwards into a third kind."""
    alone, _ = train(people, batch_size=7)
    run, several = loop._run, TorchSyncBatchNorm()

    def run_on_several(module, *given):
        run(module, *given)
        several.revert(several.apply(module))

    monkeypatch.setattr(loop, "_run", run_on_several)
    together, _ = train(people, batch_size=7)
    assert not isinstance(together.network.down[1], nn.BatchNorm3d)
    assert same(alone, together)


def test_a_trained_network_is_on_the_machines_device(people):
    """Lightning takes it to the CPU, where what follows (the shared VAE's mean codes of all people) is slow."""

    class Elsewhere(Machine):
        device = "meta"

    model, _ = train(people, machine=Elsewhere(), batch_norm_statistics="running")
    assert {value.device.type for value in model.network.state_dict().values()} == {"meta"}


def test_the_learning_rate_stays_or_falls_along_a_cosine(people, monkeypatch):
    def rates(**given):
        used = []
        step = training_module.TrainingModule.training_step

        def noted(self, batch, index):
            used.append(self.trainer.optimizers[0].param_groups[0]["lr"])
            return step(self, batch, index)

        with monkeypatch.context() as patch:
            patch.setattr(training_module.TrainingModule, "training_step", noted)
            train(people, **given)
        return np.array(used)

    constant, cosine = rates(), rates(schedule="cosine")
    assert set(constant) == {1e-3}
    steps = np.arange(len(constant))
    np.testing.assert_allclose(cosine, 1e-3 * (1 + np.cos(np.pi * steps / len(steps))) / 2)


def test_weight_decay_is_in_the_gradient():
    """Keras adds l2 * w^2 to the loss: a gradient of 2 * l2 * w, here weight_decay * w with 1e-4 = 2 * 5e-5."""
    weight = torch.tensor([2.0, -3.0])
    trained = []
    for decay, penalty in ((0.1, 0.0), (0.0, 0.05)):
        network = nn.Linear(2, 1, bias=False)
        network.weight.data = weight.clone()[None]
        module = training_module.TrainingModule(network, settings(), decay)
        optimiser = module.configure_optimizers()
        for _ in range(5):
            optimiser.zero_grad()
            (network(torch.ones(1, 2)).sum() + penalty * (network.weight**2).sum()).backward()
            optimiser.step()
        trained.append(network.weight.detach().clone())
    torch.testing.assert_close(trained[0], trained[1])


def cross_entropy(decoded, real):
    return float(functional.binary_cross_entropy(torch.from_numpy(decoded), torch.from_numpy(real)))


def test_the_autoencoder_learns(tmp_path):
    paths = toy_volumes(tmp_path, people=4, modalities=("jac",))
    opened = open_volumes(paths, ["jac"])
    people = VolumeSet(opened, opened[0].info["subjects"], SCALING)
    options = toy_settings(options={"skip_connections": False, "dropout": 0.0})["experiment"]["options"]
    model = build_model("separable_autoencoder", options, ["jac"], people.shape, seed=1)
    volumes = np.stack([people[i] for i in range(4)])
    before = cross_entropy(model.reconstruct(volumes), volumes)
    section = {**section_defaults("training"), "epochs": 20, "batch_size": 4, "learning_rate": 0.004}
    history = model.fit(people, toy_mask(32), TrainingSettings.resolve(section, {}, seed=1), Machine())
    losses = history["loss"].to_numpy()
    assert losses[-1] < losses[0] - 0.05
    after = cross_entropy(model.reconstruct(volumes), volumes)
    assert after < before - 0.05
    assert after == pytest.approx(losses[-1], abs=0.05)  # evaluation sees what the last steps of training saw


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again_in_silence(tmp_path, capsys):
    folder = tmp_path / "checkpoints"
    assert resumable(folder, "d", 3) is None
    (folder / "left over").write_text("")
    assert resumable(folder, "d", 3) is None
    assert not capsys.readouterr().err
    assert json.loads((folder / "run.json").read_text()) == {"digest": "d"}
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_a_checkpoint_is_resumed_by_its_own_run_with_epochs_left(tmp_path):
    folder = tmp_path / "checkpoints"
    for digest, epochs, resumed in (("d", 3, True), ("d", 2, False), ("e", 3, False)):
        assert resumable(folder, "d", 3) is None
        torch.save({"epoch": 2}, folder / "last.ckpt")
        assert resumable(folder, digest, epochs) == (folder / "last.ckpt" if resumed else None)
        assert (folder / "last.ckpt").exists() == resumed
        (folder / "last.ckpt").unlink(missing_ok=True)


def test_a_checkpoint_that_was_written_over_is_not_resumed(tmp_path, capsys):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"digest": "d"}))
    with zipfile.ZipFile(folder / "last.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", "no pickle")
    assert resumable(folder, "d", 3) is None
    assert "last.ckpt cannot be read" in capsys.readouterr().err
    assert not (folder / "last.ckpt").exists()


def test_what_a_later_release_added_has_its_default_where_it_is_not_given():
    section = section_defaults("training")
    former = {k: v for k, v in section.items() if k not in ("adam_epsilon", "modality_losses")}
    assert TrainingSettings.resolve(former, {}, 1) == TrainingSettings.resolve(section, {}, 1)
    assert TrainingSettings.resolve(former, {"adam_epsilon": 1e-3}, 1).adam_epsilon == 1e-3
    one = TrainingSettings.resolve(former, {}, 1, ["adam_epsilon"])
    assert (one.adam_epsilon, one.losses_are_added) == (1e-7, False)
    with pytest.raises(AttributeError, match="modality_losses is read but not among"):
        _ = one.modality_losses


@pytest.mark.parametrize("epsilon", [1e-7, 1e-3])
def test_adams_first_step_by_hand(epsilon):
    """g / (|g| + epsilon) times the rate: of a gradient of 1e-3 a half with an epsilon of 1e-3 (Kingma and Ba 2015)."""
    network = nn.Linear(1, 1, bias=False)
    before = network.weight.item()
    module = training_module.TrainingModule(network, settings(adam_epsilon=epsilon), 0.0)
    optimiser = module.configure_optimizers()
    (network(torch.ones(1, 1)).sum() * 1e-3).backward()
    optimiser.step()
    step = before - network.weight.item()
    assert step == pytest.approx(1e-3 * 1e-3 / (1e-3 + epsilon), rel=1e-4)
    assert settings().adam_epsilon == 1e-7


def test_the_sum_of_the_losses_is_made_least_and_their_mean_reported(people):
    """With twice the epsilon Adam takes nearly the steps that it takes with the mean: only the weight decay differs."""
    module = training_module.TrainingModule(
        TinyModel({}, ["jac", "ndi"], (8, 8, 8), 5).network, settings(), 0.0
    )
    module.log = lambda name, value, **_: noted.append((name, float(value.detach())))
    batch = torch.from_numpy(np.stack([people[i] for i in range(3)]))
    values, noted = [], []
    for how in ("mean", "sum"):
        module.training_settings = settings(modality_losses=how)
        values.append(float(module.training_step(batch, 0).detach()))
    assert values[1] == pytest.approx(2 * values[0], rel=1e-6)
    assert noted == [("loss", pytest.approx(values[0]))] * 2
    mean, history = train(people)
    summed, same_history = train(people, modality_losses="sum", adam_epsilon=2e-7)
    assert not same(mean, summed)  # the weight decay counts half
    np.testing.assert_allclose(history["loss"], same_history["loss"], rtol=0.01)
    np.testing.assert_allclose(
        same_history["loss"], same_history[["loss_jac", "loss_ndi"]].mean(axis=1), rtol=1e-6
    )


#: Options that the release before the papers' settings did not have.
LATER = ("validation_stratify_by", "output_offset")


def former_digest(model, people, training):
    """The digest as it was before the settings that came later."""
    files = []
    for volume in people.volumes:
        state = Path(volume.array.filename).stat()
        files.append([volume.name, str(volume.array.shape), state.st_size, state.st_mtime_ns])
    facts = {
        "model": model.name,
        "version": STAGES["train"].version,
        "options": {k: v for k, v in model.options.items() if k not in LATER},
        "shape": model.shape,
        "seed": [model.seed, training.seed],
        "training": [training.batch_size, training.learning_rate, training.precision],
        "schedule": None,
        "people": people.subjects,
        "labels": None,
        "groups": None,
        "regions": None,
        "scaling": people.scaling,
        "files": files,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def test_checkpoints_of_the_former_release_stay_valid_and_changed_settings_do_not(people):
    def digest(people, options=None, **given):
        chosen = toy_settings("shared_vae", options=options)["experiment"]["options"]
        model = build_model("shared_vae", chosen, ["jac", "ndi"], (8, 8, 8), 1)
        found = run_digest(model, people, settings(**given))
        return found, former_digest(model, people, settings(**given))

    now, former = digest(people)
    assert now == former
    stratified = VolumeSet(
        people.volumes, people.subjects, SCALING, strata=dict.fromkeys(people.subjects, "a")
    )
    over = VolumeSet(people.volumes, people.subjects, SCALING, maximum=True)
    changed = [
        digest(people, adam_epsilon=1e-8),
        digest(people, modality_losses="sum"),
        digest(people, {"validation_stratify_by": ["diagnosis"]}),
        digest(people, {"output_offset": "mean"}),
        digest(stratified),
        digest(over),
    ]
    assert len({now, *(found for found, _ in changed)}) == 7


def test_who_is_held_out_without_and_with_strata(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path, people=40, side=8), ["jac", "ndi"])
    subjects = opened[0].info["subjects"]
    plain = VolumeSet(opened, subjects, SCALING)
    learning, held_out = hold_out(plain, 0.1, seed=3)
    # as ever: the first of one permutation
    drawn = np.random.default_rng([3, 77]).permutation(40)[:4]
    assert held_out.subjects == [subjects[i] for i in sorted(drawn)]
    assert sorted(learning.subjects + held_out.subjects) == subjects
    families = {s: f"f{i // 2}" for i, s in enumerate(subjects)}
    strata = {s: "patient" if i < 20 else "control" for i, s in enumerate(subjects)}
    for seed in range(5):
        people = VolumeSet(opened, subjects, SCALING, groups=families, strata=strata)
        learning, held_out = hold_out(people, 0.1, seed)
        assert sorted(strata[s] for s in held_out.subjects) == ["control", "control", "patient", "patient"]
        assert len({families[s] for s in held_out.subjects}) == 2
        assert not {families[s] for s in held_out.subjects} & {families[s] for s in learning.subjects}
        assert learning.strata.keys() == set(learning.subjects)
