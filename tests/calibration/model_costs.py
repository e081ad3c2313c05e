"""What one training step of each model costs at the size of its paper: counted, and timed on this CPU; by hand.

    python tests/calibration/model_costs.py [--threads 2] [--models NAME ...]

Counted: parameters, floating-point operations of forward and backward pass, bytes that the backward pass keeps.
None of these depends on the machine; the seconds do. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from neurostrata.core.config import fill_defaults, load_schema
from neurostrata.fusion.layers import blocks
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.siamese.regions import RegionNetwork, find_regions, hinge, own_parcels

#: Name in the table -> model, options, modalities, grid, people per step.
SIZES: dict[str, tuple[str, dict[str, Any], int, tuple[int, int, int], int]] = {
    "separable_autoencoder": ("separable_autoencoder", {}, 2, (128, 128, 96), 1),
    "residual_autoencoder": ("residual_autoencoder", {"code_size": 256}, 2, (128, 128, 96), 4),
    "shared_vae": ("shared_vae", {"latent_size": 128}, 54, (53, 63, 52), 1),
    "latent_synthesis": ("latent_synthesis", {}, 4, (240, 240, 4), 1),
}
REGIONS = 116
#: Grey matter and PET at 2 mm with AAL's 116 regions, batches of 16 people.
SIAMESE = ("siamese_attention", (80, 96, 80), 16)


def counted(network: nn.Module, loss: Callable[[], torch.Tensor]) -> dict[str, float]:
    """Run one training step; count operations and kept bytes, then time steps without counting."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()  # what several operations keep is there once
        return tensor

    limit, blocks.DIRECT_LIMIT = blocks.DIRECT_LIMIT, 0  # the counter knows torch's own operations only
    optimiser = torch.optim.Adam(network.parameters())
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        value = loss()
        value.backward()
    optimiser.step()
    blocks.DIRECT_LIMIT = limit
    operations = counter.get_total_flops()
    seconds = float("inf")
    for _ in range(2):  # the first may compile
        optimiser.zero_grad()
        started = time.perf_counter()
        loss().backward()
        optimiser.step()
        seconds = min(seconds, time.perf_counter() - started)
        if seconds > 20:
            break
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "gflop": operations / 1e9,
        "kept_mib": sum(size for address, size in kept.items() if address not in own) / 2**20,
        "seconds": seconds,
    }


def measure(label: str) -> dict[str, Any]:
    """Measure one model at its size."""
    generator = torch.Generator().manual_seed(1)
    if label == SIAMESE[0]:
        _, shape, people = SIAMESE
        grid = np.indices(shape).astype(float)
        centre = [(side - 1) / 2 for side in shape]
        inside = sum(((g - c) / (0.48 * side)) ** 2 for g, c, side in zip(grid, centre, shape)) <= 1
        options = fill_defaults({}, load_schema(f"models/{label}"))
        total: dict[str, float] = {}
        for region in find_regions(own_parcels(inside, REGIONS)):
            torch.manual_seed(1)
            network = RegionNetwork(region.shape, options, 2)
            volumes = torch.randn(people, 2, *region.shape, generator=generator)
            targets = torch.tensor([-1.0, 1.0]).repeat(people // 2)

            def loss(
                network: RegionNetwork = network,
                volumes: torch.Tensor = volumes,
                targets: torch.Tensor = targets,
            ) -> torch.Tensor:
                return hinge(network(volumes), targets, torch.ones(people))

            for key, value in counted(network, loss).items():
                most = key == "kept_mib"  # one region at a time
                total[key] = max(total.get(key, 0.0), value) if most else total.get(key, 0.0) + value
        return {
            "model": label,
            "step": f"{people} people, 2 modalities, {REGIONS} regions, {shape}",
            **total,
        }
    name, options, modalities, shape, people = SIZES[label]
    names = [f"m{i}" for i in range(modalities)]
    model: Any = build_model(name, fill_defaults(options, load_schema(f"models/{name}")), names, shape, 1)
    volumes = torch.rand(people, modalities, *shape, generator=generator)
    model.network.train()
    found = counted(model.network, lambda: model.network.losses(volumes).mean())
    return {"model": label, "step": f"{people} people, {modalities} modalities, {shape}", **found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = [*SIZES, SIAMESE[0]]
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=everything, choices=everything)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print("| Model | One step | Parameters | GFLOP | Kept for the backward pass, MiB | s on this CPU |")
    print("|---|---|---|---|---|---|")
    for label in chosen.models:
        row = measure(label)
        print(
            f"| {row['model']} | {row['step'].replace(', (', ', ').replace(')', '').replace(', ', ', ')} "
            f"| {row['parameters']:,.0f} | {row['gflop']:.1f} | {row['kept_mib']:.0f} | {row['seconds']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
