"""The optimiser, its schedule, the history and the lines of the log."""

import re
import time

import pytest
import torch
from fusion_toy import toy_mask, toy_volumes
from torch import nn

from neurostrata.core.config import fill_defaults, load_schema, section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.training.machine import Machine
from neurostrata.fusion.training.module import BestWeights, EpochBatches, TrainingModule

SCALING = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}


def settings(**given):
    return TrainingSettings.resolve({**section_defaults("training"), **given}, {}, seed=5)


class Trainer:
    estimated_stepping_batches = 30


def test_adam_is_set_as_the_settings_say():
    training = settings(learning_rate=0.02, adam_epsilon=1e-5)
    group = TrainingModule(nn.Linear(2, 1), training, 0.3).configure_optimizers().param_groups[0]
    assert (group["lr"], group["eps"], group["weight_decay"]) == (0.02, 1e-5, 0.3)


def test_the_cosine_ends_with_the_last_step():
    module = TrainingModule(nn.Linear(2, 1), settings(schedule="cosine", learning_rate=0.02), 0.0)
    module._trainer = Trainer()
    (adam,), (schedule,) = module.configure_optimizers()
    assert schedule["interval"] == "step"
    rates = []
    for _ in range(30):
        adam.step()
        schedule["scheduler"].step()
        rates.append(adam.param_groups[0]["lr"])
    assert rates[14] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_batches_are_told_apart_by_seed_and_epoch():
    drawn = []
    for seed in (1, 2):
        batches = EpochBatches(12, 5, 2, seed)
        assert batches.epoch == 0
        for epoch in (0, 1):
            batches.set_epoch(epoch)
            drawn.append(tuple(map(tuple, batches)))
        assert [len(batch) for batch in batches] == [5, 5, 2]
    assert len(set(drawn)) == 4
    # one person is fewer than the smallest batch, two that cannot be divided are left out
    assert [len(b) for b in EpochBatches(11, 5, 2, 1)] == [5, 5]
    assert [len(b) for b in EpochBatches(13, 4, 1, 1, 1, 2)] == [2, 2, 2]


def test_history_and_log(tmp_path, capfd):
    opened = open_volumes(toy_volumes(tmp_path, people=4, side=8), ["jac", "ndi"])
    people = VolumeSet(opened, opened[0].info["subjects"], SCALING)
    options = fill_defaults({"latent_size": 2, "channels": [4, 8]}, load_schema("models/shared_vae"))
    model = build_model("shared_vae", options, ["jac", "ndi"], (8, 8, 8), 1)
    history = model.fit(people, toy_mask(8), settings(epochs=40, batch_size=2, learning_rate=1e-3), Machine())
    assert history["epoch"].tolist() == list(range(1, 41))
    assert history["loss"].tolist() == pytest.approx(
        ((history["loss_jac"] + history["loss_ndi"]) / 2).tolist()
    )
    lines = re.findall(r"^epoch (\d+)/40  loss \d+\.\d{5}  .* min left$", capfd.readouterr().err, re.M)
    assert list(map(int, lines)) == list(range(2, 41, 2))


class EpochEnd:
    """What the end of an epoch asks of a trainer."""

    current_epoch = 2
    global_step = 0

    class strategy:
        @staticmethod
        def reduce(value, reduce_op):
            assert reduce_op == "sum"  # over the processes that train together
            return value


def ended(losses, validation=None, there=None):
    module = TrainingModule(nn.Linear(2, 1), settings(epochs=100), 0.0)
    module._trainer = EpochEnd()
    there = there or [[1.0] * len(step) for step in losses]
    module._epoch_losses = [torch.tensor(step) for step in zip(losses, there, strict=True)]
    module.validation_loss = validation
    module._started = time.monotonic() - 2
    module.on_train_epoch_end()
    return module


def test_a_row_of_the_history_is_the_mean_of_the_steps():
    row = ended([[1.0, 3.0], [3.0, 5.0]]).history[-1]
    assert 2 <= row.pop("seconds") < 60
    assert row == {"epoch": 3, "loss": 3.0, "loss_0": 2.0, "loss_1": 4.0}
    lacking = ended([[1.0, 3.0], [3.0, 0.0]], there=[[1.0, 1.0], [1.0, 0.0]]).history[-1]
    assert (lacking["loss"], lacking["loss_0"], lacking["loss_1"]) == (2.5, 2.0, 3.0)
    assert ended([[1.0, 3.0]], validation=0.5).history[-1]["validation_loss"] == 0.5
    with pytest.raises(UserError, match="not finite after epoch 3"):
        ended([[1.0, float("nan")]])


def test_a_checkpoint_has_the_history():
    saved = {}
    ended([[1.0]]).on_save_checkpoint(saved)
    fresh = TrainingModule(nn.Linear(2, 1), settings(), 0.0)
    fresh.on_load_checkpoint(saved)
    assert [row["epoch"] for row in fresh.history] == [3]
    assert set(saved) == {"history"}


def test_a_step_without_a_modality_does_not_count_for_it():
    """Its loss there is 0."""

    class Mean(nn.Module):
        def losses(self, volumes):
            return torch.nan_to_num(volumes.mean(dim=(0, 2, 3, 4)))

    module = TrainingModule(Mean(), settings(epochs=100), 0.0)
    module._trainer = EpochEnd()
    module.log = lambda *_, **__: None
    both, one = torch.full((2, 2, 2, 2, 2), 4.0), torch.full((2, 2, 2, 2, 2), 2.0)
    one[:, 1] = torch.nan
    for volumes in (both, one):
        module.training_step(volumes, 0)
    module.on_train_epoch_end()
    row = module.history[-1]
    assert (row["loss_0"], row["loss_1"], row["loss"]) == (3.0, 4.0, 3.5)


class Dropping(nn.Module):
    """Its loss is 0 unless something is dropped."""

    def __init__(self):
        super().__init__()
        self.weight, self.dropout = nn.Parameter(torch.ones(1)), nn.Dropout(0.5)

    def losses(self, volumes):
        return (self.dropout(volumes) - volumes).abs().mean(dim=(0, 2, 3, 4)) + 0 * self.weight


def test_held_out_people_are_decoded_without_dropout_and_the_best_weights_are_kept(tmp_path):
    opened = open_volumes(toy_volumes(tmp_path, people=5, side=8), ["jac", "ndi"])
    best = BestWeights(VolumeSet(opened, opened[0].info["subjects"], SCALING), 3, 2)
    assert (best.best, best.best_epoch) == (float("inf"), 0)
    network = Dropping().train()
    assert best.error(network, torch.device("cpu")) == 0
    assert network.training
    best.best, best.best_epoch, best.weights = 0.25, 4, network.state_dict()
    again = BestWeights(best.held_out, 3, 2)
    again.load_state_dict(best.state_dict())
    assert (again.best, again.best_epoch, set(again.weights)) == (0.25, 4, {"weight"})
    assert set(best.state_dict()) == {"best", "best_epoch", "weights"}
