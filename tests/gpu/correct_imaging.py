"""Registration and NODDI on the GPU against the CPU."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checks import Machine, result, seconds
from scipy import ndimage
from toys import Head, grid

from neurostrata.core.config import section_defaults
from neurostrata.gate.gradients import Gradients
from neurostrata.imaging.diffusion.noddi.likelihood import Estimates, fit_likelihood
from neurostrata.imaging.registration.torch_registration import Pair, align, deform, invert, normalised

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))


class Example:
    """Two heads on a grid, one of them moved by a known map, with their regions."""

    def __init__(self, resolution_mm: float) -> None:
        head, (points, self.affine) = Head(), grid(resolution_mm)
        self.moving, self.moving_labels = head.image(points), head.labels(points)
        moved = head.moved(points)
        self.fixed, self.fixed_labels = head.image(moved), head.labels(moved)

    def register(self, device: str) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        """Return affine, displacement and its inverse, with the default options of the `torch` engine."""
        options = section_defaults("registration")["torch"]
        pair = Pair(
            normalised(self.fixed, device),
            normalised(self.moving, device),
            self.affine,
            self.affine,
            options["ncc_radius"],
            options["contrast_at_half_weight"],
        )
        affine = np.eye(4)
        for name, freedom in (("rigid", 6), ("affine", 12)):
            iterations = options[f"{name}_iterations"]
            affine = align(pair, affine, freedom, iterations, np.zeros(3), 70.0, options["linear_step_mm"])
        warp = deform(
            pair,
            affine,
            options["iterations"],
            options["step_vox"],
            options["smooth_update_vox"],
            options["smooth_total_vox"],
        )
        return affine, warp, invert(warp)

    def overlap(self, affine: np.ndarray, warp: np.ndarray) -> tuple[float, int]:
        """Return the regions' mean Dice and how many voxels of the brain the warp folds."""
        voxels = np.stack(np.meshgrid(*[np.arange(side) for side in warp.shape[1:]], indexing="ij"))
        matrix = np.linalg.inv(self.affine) @ affine @ self.affine
        there = voxels + warp
        there = np.einsum("ij,jxyz->ixyz", matrix[:3, :3], there) + matrix[:3, 3].reshape(3, 1, 1, 1)
        found = ndimage.map_coordinates(self.moving_labels, there, order=0)
        scores = [
            2
            * ((found == n) & (self.fixed_labels == n)).sum()
            / ((found == n).sum() + (self.fixed_labels == n).sum())
            for n in range(1, 9)
        ]
        slopes = np.stack([np.stack(np.gradient(warp[i])) for i in range(3)])
        slopes += np.eye(3).reshape(3, 3, 1, 1, 1)
        determinants = np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)))
        return float(np.mean(scores)), int((determinants[self.fixed_labels > 0] <= 0).sum())


def registration(where: Machine) -> list[dict[str, Any]]:
    """Register a pair on both devices; the GPU twice."""
    example = Example(8.0 if where.short else 2.0)
    inside = example.fixed_labels > 0
    torch.set_num_threads(1 if where.short else 8)
    cpu_affine, cpu_warp, cpu_inverse = example.register("cpu")
    affine, warp, inverse = example.register(where.device)
    again = example.register(where.device)[1]
    apart = (warp.cpu() - cpu_warp).square().sum(0).sqrt().numpy()[inside]
    inverse_apart = (inverse.cpu() - cpu_inverse).square().sum(0).sqrt().numpy()[inside]
    of_inverse = invert(cpu_warp.to(where.device)).cpu() - cpu_inverse
    mine, theirs = example.overlap(affine, warp.cpu().numpy()), example.overlap(cpu_affine, cpu_warp.numpy())
    before = example.overlap(np.eye(4), np.zeros(warp.shape))[0]
    limit = 0.2 if where.short else 0.05
    return [
        result(
            "registration: affine",
            float(np.abs(affine - cpu_affine).max()),
            0.02,
            note="largest difference, 1 and mm",
        ),
        result(
            "registration: warp",
            float(apart.mean()),
            limit,
            unit="voxels",
            note=f"mean inside the head; 99% below {np.quantile(apart, 0.99):.3g}",
        ),
        result(
            "registration: inverse",
            float(inverse_apart.mean()),
            limit,
            unit="voxels",
            note="mean inside the head",
        ),
        result(
            "registration: inverse of the same warp",
            float(of_inverse.abs().max()),
            2e-3,
            unit="voxels",
            note="largest difference; its tolerance is 1e-3",
        ),
        result(
            "registration: Dice",
            abs(mine[0] - theirs[0]),
            0.005,
            note=f"before {before:.4f}, GPU {mine[0]:.4f}, CPU {theirs[0]:.4f}",
        ),
        result("registration: folded voxels", mine[1], 0, note=f"CPU {theirs[1]}"),
        result(
            "registration: voxels that differ when it is repeated",
            int((again != warp).sum()),
            note="not promised",
        ),
    ]


def _diffusion(voxels: int) -> dict[str, np.ndarray]:
    from stages_diffusion import simulate

    return simulate(voxels, [1000.0, 2000.0, 3000.0], 30, 40.0, 1)


def _noddi(data: dict[str, np.ndarray], device: str, threads: int = 1) -> Estimates:
    settings = section_defaults("diffusion")["noddi"]
    gradients = Gradients(data["bvals"], data["bvecs"], 50.0)
    return fit_likelihood(data["signals"], gradients, settings, threads=threads, device=device)


def noddi(where: Machine) -> list[dict[str, Any]]:
    """Fit the same voxels on both devices."""
    data = _diffusion(300 if where.short else 10_000)
    mine, theirs = _noddi(data, where.device), _noddi(data, "cpu", 4)
    names = ("S0", "FWF", "NDI", "ODI")
    apart = np.abs(mine.parameters - theirs.parameters)
    errors = [np.abs(fit.parameters[:, 2] - data["ndi"]).mean() for fit in (mine, theirs)]
    return [
        result(
            "NODDI: voxels with a parameter that differs by more than 0.01",
            float((apart > 0.01).any(axis=1).mean()),
            0.01,
            note="share",
        ),
        *(
            result(
                f"NODDI: {name}",
                float(np.quantile(apart[:, i], 0.99)),
                0.005,
                note="99% of the voxels differ by less",
            )
            for i, name in enumerate(names)
        ),
        result(
            "NODDI: error of NDI",
            float(abs(errors[0] - errors[1])),
            5e-4,
            note=f"GPU {errors[0]:.4f}, CPU {errors[1]:.4f}",
        ),
    ]


def registration_speed(where: Machine) -> list[dict[str, Any]]:
    """Time one pair at 2 and 1 mm."""
    found = []
    for resolution in (8.0,) if where.short else (2.0, 1.0):
        example = Example(resolution)
        if where.gpu:
            torch.cuda.reset_peak_memory_stats()
        taken = seconds(partial(example.register, where.device), where.device, 1 if resolution == 1 else 3)
        memory = torch.cuda.max_memory_allocated() / 2**30 if where.gpu else None
        affine, warp, _ = example.register(where.device)
        dice, folded = example.overlap(affine, warp.cpu().numpy())
        found.append(
            result(
                f"registration of a pair at {resolution:g} mm",
                taken,
                unit="s",
                note=f"Dice {dice:.3f}, {folded} folded voxels",
                grid=list(example.fixed.shape),
                memory_gib=memory,
            )
        )
    if not where.short:
        example = Example(2.0)
        torch.set_num_threads(1)
        taken = seconds(lambda: example.register("cpu"), "cpu", 1, warm_up=0)
        found.append(result("registration of a pair at 2 mm, CPU, one thread", taken, unit="s"))
    return found


def noddi_speed(where: Machine) -> list[dict[str, Any]]:
    """Time NODDI of 100,000 and 1,000,000 voxels."""
    found = []
    data = _diffusion(500 if where.short else 100_000)
    for times in (1,) if where.short else (1, 10):
        many = {**data, "signals": np.tile(data["signals"], (times, 1))}
        count = len(many["signals"])
        taken = seconds(lambda many=many: _noddi(many, where.device), where.device, 1)  # type: ignore[misc]
        memory = torch.cuda.max_memory_allocated() / 2**30 if where.gpu else None
        found.append(
            result(
                f"NODDI of {count:,} voxels",
                taken,
                unit="s",
                note=f"{count / taken:,.0f} voxels/s",
                memory_gib=memory,
            )
        )
    if not where.short:
        taken = seconds(lambda: _noddi(data, "cpu", 2), "cpu", 1, warm_up=0)
        found.append(result("NODDI of 100,000 voxels, CPU, two threads", taken, unit="s"))
    return found


CORRECTNESS = {"registration": registration, "noddi": noddi}
SPEED = {"registration speed": registration_speed, "noddi speed": noddi_speed}
