"""Recorded steps, with a stand-in for what records: tests/gpu compares real recordings on a GPU."""

import pytest
import torch
from torch import nn

from neurostrata.fusion.training.recorded import SIZES, RecordedLosses


class Network(nn.Module):
    """One loss per channel; its running averages move at every pass."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm3d(2)

    def losses(self, volumes):
        return self.norm(volumes).square().mean(dim=(0, 2, 3, 4)) + volumes.mean(dim=(0, 2, 3, 4))


@pytest.fixture
def recorder(monkeypatch):
    """Records as CUDA graphs do: a few passes to warm up, and one place in memory for the results of all replays."""
    made = []

    def make(module, given):
        assert not torch.is_autocast_cache_enabled()
        for _ in range(3):
            module(*given)
        place = torch.empty(2)
        made.append(given[0].shape)
        return lambda volumes: place.copy_(module(volumes).detach())

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: torch.set_rng_state(state))
    return made


def batches(*sizes):
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(size, 2, 3, 3, 3, generator=generator) for size in sizes]


def test_a_recording_leaves_the_network_as_plain_steps_do(recorder):
    torch.manual_seed(3)
    mine, theirs = Network(), Network()
    steps = RecordedLosses(mine)
    given = batches(4, 4, 2, 4, 2)
    found = [steps(some) for some in given]
    expected = [theirs.losses(some) for some in given]
    # values of former steps are not overwritten by later ones
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b)
    for name, value in theirs.named_buffers():
        torch.testing.assert_close(dict(mine.named_buffers())[name], value)
    assert recorder == [given[0].shape, given[2].shape]


def test_further_sizes_are_computed_without_a_recording(recorder):
    steps = RecordedLosses(Network())
    for some in batches(2, 3, 4, 5, 2):
        steps(some)
    assert len(recorder) == SIZES


def test_a_step_that_cannot_be_recorded_is_computed_and_said_once(recorder, monkeypatch, capsys):
    def fails(module, given):
        module(*given)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fails)
    mine, theirs = Network(), Network()
    steps = RecordedLosses(mine)
    for some in batches(4, 2):
        torch.testing.assert_close(steps(some), theirs.losses(some))
    torch.testing.assert_close(mine.norm.running_mean, theirs.norm.running_mean)
    said = capsys.readouterr().err.strip().splitlines()
    assert said == [
        "training: steps are not recorded as CUDA graphs, which is slower (operation not permitted when stream is capturing)"
    ]
