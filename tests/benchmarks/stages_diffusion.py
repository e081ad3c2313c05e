"""NODDI engines compared, on simulated signals of known microstructure."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time

import numpy as np
from measure import Row

ENGINES = ("amico", "maximum_likelihood")
THREADS = 2


def simulate(
    voxels: int, shells: list[float], directions: int, snr: float, seed: int
) -> dict[str, np.ndarray]:
    """Return signals, gradients and the planted truth; tissue of all kinds, free water below one half."""
    from neurostrata.simulation.images.diffusion_signal import demo_scheme, noddi_signal, rician_noise

    rng = np.random.default_rng(seed)
    bvals, bvecs = demo_scheme(directions, shells, 6)
    ndi = np.clip(rng.normal(0.55, 0.16, voxels), 0.1, 0.95)
    odi = np.clip(rng.normal(0.3, 0.15, voxels), 0.03, 0.95)
    fwf = rng.uniform(0, 0.5, voxels)
    clean = noddi_signal(bvals, bvecs, ndi, odi, fwf, rng.standard_normal((voxels, 3)))
    noisy = 800 * rician_noise(clean, 1 / snr, rng).astype(np.float32)
    return {"signals": noisy, "bvals": bvals, "bvecs": bvecs, "ndi": ndi, "odi": odi, "fwf": fwf}


def run(engine: str, data: dict[str, np.ndarray], threads: int, results: multiprocessing.Queue) -> None:
    """Fit with one engine; puts times in seconds, memory in MB and errors on the queue."""
    from neurostrata.core.config import section_defaults
    from neurostrata.gate.gradients import Gradients
    from neurostrata.imaging.diffusion.noddi.engines import noddi_maps

    settings = section_defaults("diffusion")["noddi"] | {"engine": engine}
    gradients = Gradients(data["bvals"], data["bvecs"], 50.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    maps = noddi_maps(data["signals"], gradients, settings, subject="01", threads=threads)
    row = {"engine": engine, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    row["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for name, values in maps._asdict().items():
        difference = values - data[name]
        row[f"{name}_error"], row[f"{name}_bias"] = np.abs(difference).mean(), difference.mean()
    results.put({key: value if isinstance(value, str) else float(value) for key, value in row.items()})


def noddi(quick: bool) -> list[Row]:
    """Fit 100,000 voxels of three shells with both engines in turn, each in a process of its own."""
    voxels, repeats = (3000, 1) if quick else (100_000, 3)
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    data = simulate(voxels, [1000.0, 2000.0, 3000.0], 30, 40.0, 1)
    context = multiprocessing.get_context("spawn")
    rows = []
    for _ in range(repeats):
        for engine in ENGINES:
            results = context.Queue()
            process = context.Process(target=run, args=(engine, data, THREADS, results))
            process.start()
            rows.append(results.get())
            process.join()
    peer, ours = (
        {
            key: float(np.median([row[key] for row in rows if row["engine"] == engine]))
            for key in rows[0]
            if key != "engine"
        }
        for engine in ENGINES
    )
    agreement = ", ".join(
        f"{name.upper()} error {ours[f'{name}_error']:.4f} against {peer[f'{name}_error']:.4f}"
        for name in ("ndi", "odi", "fwf")
    )
    better = ours["ndi_error"] < peer["ndi_error"]
    return [
        Row(
            f"NODDI, {voxels:,} voxels, 6 b0 + 3 x 30 directions, {THREADS} threads, CPU",
            "dmri-amico",
            ours["cpu_s"],
            peer["cpu_s"],
            "cpu",
            "within 3 times AMICO's time, NDI error below AMICO's",
            None if quick else better and ours["cpu_s"] <= 3 * peer["cpu_s"],
            agreement,
            f"wall {ours['wall_s']:.1f} against {peer['wall_s']:.1f} s",
        ),
    ]


STAGES = {"noddi": noddi}
