"""Time and error of the NODDI engines on simulated signals of known microstructure, side by side.

    python tests/benchmarks/bench_noddi.py --voxels 100000 --threads 2

The engines take turns, each in a process of its own; wall and CPU seconds are of the fit alone, imports and
AMICO's kernels included, signals excluded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

ENGINES = ("amico", "maximum_likelihood")


def simulate(
    voxels: int, shells: list[float], directions: int, snr: float, seed: int
) -> dict[str, np.ndarray]:
    """Return signals, gradients and the planted truth; tissue of all kinds, free water below one half."""
    from neurostrata.simulation.diffusion_signal import demo_scheme, noddi_signal, rician_noise

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
    from neurostrata.cohort.gradients import Gradients
    from neurostrata.core.config import section_defaults
    from neurostrata.imaging.noddi import fit_noddi

    settings = section_defaults("diffusion")["noddi"] | {"engine": engine}
    gradients = Gradients(data["bvals"], data["bvecs"], 50.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    maps = fit_noddi(data["signals"], gradients, settings, subject="01", threads=threads)
    row = {"engine": engine, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    row["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for name, values in maps._asdict().items():
        difference = values - data[name]
        row[f"{name}_error"], row[f"{name}_bias"] = np.abs(difference).mean(), difference.mean()
    results.put({key: value if isinstance(value, str) else float(value) for key, value in row.items()})


def main() -> None:
    """Run the engines in turn and print a line for each, then medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxels", type=int, default=100_000)
    parser.add_argument("--shells", type=float, nargs="+", default=[1000, 2000, 3000])
    parser.add_argument("--directions", type=int, default=30, help="of each shell")
    parser.add_argument("--snr", type=float, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    data = simulate(options.voxels, options.shells, options.directions, options.snr, options.seed)
    context = multiprocessing.get_context("spawn")
    rows = []
    for _ in range(options.repeats):
        for engine in options.engines:
            results = context.Queue()
            process = context.Process(target=run, args=(engine, data, options.threads, results))
            process.start()
            rows.append(results.get())
            process.join()
            print(json.dumps({key: v if isinstance(v, str) else round(v, 4) for key, v in rows[-1].items()}))
    medians = {
        engine: {
            key: float(np.median([row[key] for row in rows if row["engine"] == engine]))
            for key in rows[0]
            if key != "engine"
        }
        for engine in options.engines
    }
    for key in medians[options.engines[0]]:
        values = [medians[engine][key] for engine in options.engines]
        ratio = f"{values[-1] / values[0]:8.3f}" if len(values) > 1 and values[0] else ""
        print(f"{key:12}" + "".join(f"{value:12.4f}" for value in values) + ratio)


if __name__ == "__main__":
    main()
