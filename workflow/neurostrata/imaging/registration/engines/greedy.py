"""The `greedy` engine (Yushkevich et al.): fast diffeomorphic registration on CPUs."""

from __future__ import annotations

import ctypes
import shlex
from pathlib import Path

import numpy as np
from picsl_greedy import Greedy3D

from neurostrata.imaging.registration.engines import RegistrationJob, iterations_per_level
from neurostrata.imaging.registration.transforms import read_affine, write_affine


def read_greedy_affine(path: Path) -> np.ndarray:
    """Read greedy's text matrix: RAS, fixed points to moving points."""
    return np.loadtxt(path).reshape(4, 4)


def write_greedy_affine(path: Path, affine: np.ndarray) -> None:
    """Write a (4, 4) RAS matrix as greedy's text matrix."""
    np.savetxt(path, affine, fmt="%.12g")


def _levels(iterations: list[int], coarse: bool) -> str:
    return "x".join(str(n) for n in iterations_per_level(iterations, coarse))


def run(job: RegistrationJob) -> None:
    """Rigid, similarity and affine steps, then the deformation; see :class:`RegistrationJob`."""
    engine = Greedy3D()
    options = job.options
    common = [
        *("-d", "3", "-threads", str(job.threads), "-seed", str(job.seed)),
        *("-m", "NCC", "x".join([str(options["ncc_radius"])] * 3)),
        *("-i", str(job.fixed), str(job.moving)),
    ]
    if job.fixed_mask is not None:
        common += ["-gm", str(job.fixed_mask)]

    def execute(arguments: list[str]) -> None:
        print("greedy", shlex.join(arguments), flush=True)
        engine.execute(" ".join(arguments))
        ctypes.CDLL(None).fflush(
            None
        )  # what greedy has printed stands in C's buffer, and would come last of all

    previous = job.folder / "initial.mat"
    write_greedy_affine(previous, read_affine(job.initial))
    linear = (("rigid", 6), ("similarity", 7), ("affine", 12)) if job.steps != "deformation" else ()
    for name, freedom in linear:
        current = job.folder / f"{name}.mat"
        iterations = _levels(options[f"{name}_iterations"], job.coarse)
        execute(
            [*common, "-a", "-dof", str(freedom), "-ia", str(previous), "-n", iterations, "-o", str(current)]
        )
        previous = current
    write_affine(job.affine, read_greedy_affine(previous))
    if job.steps == "linear":
        return
    # -wp 0: without it greedy rounds the field to a tenth of a voxel, which shows in the Jacobian.
    execute(
        [
            *common,
            *("-it", str(previous)),
            *("-n", _levels(options["iterations"], job.coarse)),
            *("-e", str(options["step_vox"])),
            *("-s", f"{options['smooth_update_vox']}vox", f"{options['smooth_total_vox']}vox"),
            *("-wp", "0", "-o", str(job.warp)),
            *(("-oinv", str(job.inverse_warp)) if job.inverse_warp is not None else ()),
        ]
    )
