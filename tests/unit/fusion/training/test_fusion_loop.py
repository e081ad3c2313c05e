"""Who is held out of a training, and with what a training begins."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from plain_training import people_in_memory

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.models.interface import TrainingSettings
from neurostrata.fusion.training import loop
from neurostrata.fusion.training.loop import hold_out, train_network
from neurostrata.fusion.training.machine import Machine

SHAPE = (2, 2, 2)


def people(number):
    return people_in_memory(np.full((number, 1, *SHAPE), 0.5), np.ones(SHAPE, bool))


@pytest.mark.parametrize(
    ("number", "share", "expected"),
    [(9, 0.5, 0), (10, 0, 0), (10, 0.1, 2), (10, 0.3, 3), (40, 0.25, 10), (15, 0.1, 2), (26, 0.1, 3)],
)
def test_a_share_of_ten_people_or_more_is_held_out_at_least_two(number, share, expected):
    everybody = people(number)
    learning, held_out = hold_out(everybody, share, seed=4)
    if not expected:
        assert learning is everybody
        assert held_out is None
        return
    assert len(held_out) == expected
    assert sorted([*learning.subjects, *held_out.subjects]) == everybody.subjects
    assert hold_out(everybody, share, seed=4)[1].subjects == held_out.subjects
    others = {tuple(hold_out(everybody, share, seed)[1].subjects) for seed in range(8)}
    assert len(others) > 4


class BegunError(Exception):
    pass


def begin(monkeypatch, number=4, smallest=1, batch_size=2, options=None, **machine):
    """What a training's module is made of; nothing is trained."""

    def module(network, training, weight_decay):
        raise BegunError(weight_decay)

    monkeypatch.setattr(loop, "TrainingModule", module)
    how = TrainingSettings.resolve({**section_defaults("training"), "batch_size": batch_size}, {}, 1)
    model = SimpleNamespace(options=options or {}, shape=SHAPE, modalities=["m0"])
    return train_network(model, SimpleNamespace(), smallest, people(number), how, Machine(gpus=0, **machine))


@pytest.mark.parametrize(("options", "decay"), [({}, 0.0), ({"weight_decay": 0.3}, 0.3)])
def test_weights_decay_only_where_a_model_says_so(monkeypatch, options, decay):
    with pytest.raises(BegunError) as found:
        begin(monkeypatch, options=options)
    assert found.value.args == (decay,)


def test_as_many_people_and_as_large_batches_as_needed_are_enough(monkeypatch):
    with pytest.raises(BegunError):
        begin(monkeypatch, number=2, smallest=2)
    for few in ({"number": 1}, {"batch_size": 1}):
        with pytest.raises(
            UserError, match=r"training.batch_size: 1 people per step .* grid of 2x2x2; set it to 2"
        ):
            begin(monkeypatch, smallest=2, **few)


def test_a_training_has_the_threads_of_its_job(monkeypatch):
    before = torch.get_num_threads()
    try:
        with pytest.raises(BegunError):
            begin(monkeypatch, threads=3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
