"""Train a small network in two processes on the CPU, as two GPUs would: python two_processes.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from neurostrata.core.config import section_defaults
from neurostrata.fusion.data import VolumeSet, open_volumes
from neurostrata.fusion.interface import TrainingSettings
from neurostrata.fusion.machine import Machine
from neurostrata.fusion.network import NetworkModel


class Processes(Machine):
    """A machine that says it has as many accelerators as were asked for, and is a CPU."""

    accelerators = property(lambda self: self.gpus)
    device = "cpu"


class PlainNetwork(nn.Module):
    """Without dropout and batch normalisation: two processes then do what one does."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 4, 4, stride=4), nn.ConvTranspose3d(4, 1, 4, stride=4))

    def forward(self, volumes):
        return self.layers(volumes)

    def losses(self, volumes):
        error = functional.binary_cross_entropy_with_logits(self(volumes), volumes, reduction="none")
        return error.mean(dim=(0, 2, 3, 4))


class PlainModel(NetworkModel):
    name = "plain"
    code_size = 32

    def build_network(self):
        return PlainNetwork()


def train(folder: Path, processes: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    opened = open_volumes([folder / "jac.npy"], ["jac"])
    people = VolumeSet(opened, opened[0].info["subjects"], {"jac": {"low": 0.0, "high": 2.0}})
    section = {**section_defaults("training"), "epochs": 3, "batch_size": 4}
    model = PlainModel({}, ["jac"], (8, 8, 8), 5)
    settings = TrainingSettings.resolve(section, {}, seed=5)
    checkpoints = folder / f"checkpoints-{processes}"
    history = model.fit(people, None, settings, Processes(gpus=processes), checkpoints)
    return model.weights(), history["loss"].to_numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    two, losses_of_two = train(folder, 2)  # the second process ends in here
    one, losses_of_one = train(folder, 1)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(losses_of_two, losses_of_one, rtol=1e-5)
    print("equal", len(losses_of_one))
