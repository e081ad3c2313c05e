"""Training steps recorded once as CUDA graphs and replayed.

A step of networks with few channels starts thousands of short kernels; starting them one by one takes the processor ten times
as long as the GPU takes to compute them (0.20 s against 0.02 s for one person of 2 x 128x128x96 on an H100: docs/performance.md).
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

#: Different sizes of batches that are recorded; further ones are computed without a recording.
SIZES = 2


class _Losses(nn.Module):
    """A network whose forward pass is its losses."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the losses of the modalities."""
        losses: torch.Tensor = self.network.losses(volumes)  # type: ignore[operator]
        return losses


class RecordedLosses:
    """The losses of a network on one GPU, whose forward and backward pass are recorded at the first batch of each size.

    Parameters
    ----------
    network
        Has ``losses(volumes)``, which neither waits for the GPU nor draws on the CPU (its ``recordable`` is true).
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.recorded: dict[torch.Size, Any] = {}
        self.possible = True

    def __call__(self, volumes: torch.Tensor) -> torch.Tensor:
        """Return the losses of the modalities; their values stay when the next step overwrites what was recorded."""
        if self.possible and volumes.shape not in self.recorded and len(self.recorded) < SIZES:
            self._record(volumes)
        step = self.recorded.get(volumes.shape)
        if step is None:
            losses: torch.Tensor = self.network.losses(volumes)  # type: ignore[operator]
            return losses
        return step(volumes).clone()

    def _record(self, volumes: torch.Tensor) -> None:
        """Record a step, and leave running averages and the draws of random numbers as they were."""
        buffers = {name: value.clone() for name, value in self.network.named_buffers()}
        draws = torch.cuda.get_rng_state(volumes.device)
        mixed = torch.is_autocast_enabled("cuda")
        try:
            # Weights that were converted once and kept would be those of the first step for ever.
            with torch.autocast("cuda", torch.get_autocast_dtype("cuda"), enabled=mixed, cache_enabled=False):
                step = torch.cuda.make_graphed_callables(_Losses(self.network), (volumes,))
        except RuntimeError as problem:
            self.possible = False
            print(
                f"training: steps are not recorded as CUDA graphs, which is slower ({str(problem).splitlines()[0]})",
                file=sys.stderr,
            )
        else:
            self.recorded[volumes.shape] = step
        finally:
            with torch.no_grad():
                for name, value in self.network.named_buffers():
                    value.copy_(buffers[name])
            torch.cuda.set_rng_state(draws, volumes.device)
