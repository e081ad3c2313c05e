"""The means and variances of batch normalisation, measured once over training people after training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.models.interface import TrainingSettings

#: Running averages of momentum 0.01 have forgotten 99% of their start after so many steps.
SETTLED_STEPS = 500
#: Memory that measuring batch normalisation's statistics may take.
SETTLING_BYTES = 4e9


def has_batch_norm(network: nn.Module) -> bool:
    """Tell whether a network normalises batches."""
    return bool(_layers(network))


def _layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers of batch normalisation, which are no BatchNorm3d any more after a training on several GPUs."""
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]


def to_be_measured(training: TrainingSettings, steps: int, smallest: int) -> bool:
    """Tell whether the statistics are to be measured, or the running averages used.

    Parameters
    ----------
    training
        With ``batch_norm_statistics``.
    steps
        Training steps.
    smallest
        The fewest people that a training step can have: above 1 the code has one position.
    """
    chosen = training.batch_norm_statistics
    return chosen == "training" or (chosen == "auto" and (steps < SETTLED_STEPS or smallest > 1))


def settle_batch_norm(network: nn.Module, volumes: torch.Tensor) -> None:
    """Set the means and variances of batch normalisation to those of these volumes, layer after layer.

    Running averages lag behind the weights. Where the code differs little between people compared with
    its mean (one value per person and channel on a 32x32x32 grid), that lag, or a variance that is 1% off
    in an earlier layer, moves it by more than people differ. So each layer is measured with the layers
    before it as they will be used: all in one batch, in evaluation mode, variances with ddof 0.

    Parameters
    ----------
    network
        Left in evaluation mode.
    volumes
        (people, modalities, x, y, z), on the network's device.
    """

    def measure(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3, 4), correction=0)
        layer.running_mean.copy_(mean)  # type: ignore[operator]
        layer.running_var.copy_(variance)  # type: ignore[operator]

    network.eval()
    hooks = [layer.register_forward_pre_hook(measure) for layer in _layers(network)]
    with torch.no_grad():
        network(volumes)
    for hook in hooks:
        hook.remove()


def settling_sample(people: VolumeSet, seed: int, room: float = SETTLING_BYTES) -> list[int]:
    """Return the people to measure batch normalisation on: everybody, or as many (drawn) as fit in `room` bytes."""
    number = max(2, int(room / (12 * people.nbytes / len(people))))  # about 12 copies while it runs
    if len(people) <= number:
        return list(range(len(people)))
    return sorted(np.random.default_rng(seed).permutation(len(people))[:number].tolist())
