"""The share of a machine that a job has."""

import pytest
import torch

from neurostrata.fusion.training.machine import Machine


@pytest.mark.parametrize(("threads", "readers"), [(1, 1), (2, 1), (3, 1), (5, 2), (8, 4), (64, 4)])
def test_half_of_the_threads_read_four_at_most(threads, readers):
    assert Machine(threads=threads).readers == readers


def test_two_fifths_of_the_memory_are_for_volumes():
    assert Machine(memory_mb=1000).volume_bytes == pytest.approx(4e8)


@pytest.mark.parametrize(("asked", "there", "used"), [(0, 4, 0), (1, 4, 1), (4, 2, 2), (2, 0, 0)])
def test_no_more_gpus_than_asked_for_and_than_there_are(monkeypatch, capsys, asked, there, used):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    machine = Machine(gpus=asked)
    assert machine.accelerators == used
    assert ("no GPU found" in capsys.readouterr().err) == (asked > 0 and there == 0)
    assert machine.device == ("cuda" if used else "cpu")
    assert torch.backends.cudnn.allow_tf32 == (used == 0)
