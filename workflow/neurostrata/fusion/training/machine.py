"""The resources of a job: threads, memory, GPUs. They are no settings of the study and do not change what is learned."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """The share of a machine that a job was given.

    Parameters
    ----------
    threads
        For computing and for reading volumes.
    gpus
        How many GPUs may be used; 0 stays on the CPU.
    memory_mb
        Main memory.
    """

    threads: int = 1
    gpus: int = 1
    memory_mb: int = 8000

    @property
    def accelerators(self) -> int:
        """How many of the GPUs that were asked for torch finds; says so when it finds none."""
        import torch

        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.gpus and not found:
            print("no GPU found: computing on the CPU", file=sys.stderr)
        return min(self.gpus, found)

    @property
    def device(self) -> str:
        """Where a network is put: "cuda" or "cpu".

        On a GPU, float32 then has the precision of float32 in convolutions too, for which torch takes TF32 (10 bits
        instead of 23): a code must not depend on whether it was computed on a GPU.
        """
        if not self.accelerators:
            return "cpu"
        import torch

        torch.backends.cudnn.allow_tf32 = False
        return "cuda"

    @property
    def volume_bytes(self) -> float:
        """How many bytes of volumes may be kept in memory; the rest is for the network."""
        return 0.4 * self.memory_mb * 1e6

    @property
    def readers(self) -> int:
        """How many processes read volumes while a network trains that are not kept in memory."""
        return max(1, min(4, self.threads // 2))
