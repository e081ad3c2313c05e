"""The checks that need a GPU: `make gpu`, or python tests/gpu/run.py [--short] [--output gpu.json] [--only NAME ...].

First correctness against the CPU in float32, then speed and memory. Every check is a process of its own (with --short they share
one), so that one that fails takes no other with it; those of correctness run at the same time, those of speed one after the other. Without a GPU it
says so and computes everything on the CPU; with --short in small sizes.

Nothing is installed. What is needed: Python 3.11 or newer, torch, lightning, numpy, scipy, pandas, scikit-learn, numba,
safetensors, PyYAML, jsonschema, nibabel. Where a machine lacks one of them and has no network, fetch wheels elsewhere
(pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_17_x86_64 -d wheels nibabel ...), and
there: python -m pip install --no-index --no-deps --target site wheels/*.whl; export PYTHONPATH=site.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "workflow")]

NEEDED = (
    "torch",
    "lightning",
    "numpy",
    "scipy",
    "pandas",
    "sklearn",
    "numba",
    "safetensors",
    "yaml",
    "jsonschema",
    "nibabel",
)
#: Checks that take long start first.
FIRST = ("checkpoints", "deterministic")


def missing() -> list[str]:
    """Return the packages that are not there."""
    found = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            found.append(f"{name} ({error})")
    return found


def checks() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the checks of correctness, and those of speed."""
    models, imaging, speed = (
        importlib.import_module(name) for name in ("correct_models", "correct_imaging", "speed")
    )
    return {**models.CHECKS, **imaging.CORRECTNESS}, {**speed.SPEED, **imaging.SPEED}


def machine() -> dict[str, Any]:
    """Describe the machine."""
    import torch

    there = torch.cuda.is_available()
    return {
        "gpu": torch.cuda.get_device_name(0) if there else None,
        "gpus": torch.cuda.device_count() if there else 0,
        "memory_gib": torch.cuda.get_device_properties(0).total_memory / 2**30 if there else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "lightning": importlib.metadata.version("lightning"),
        "day": time.strftime("%Y-%m-%d"),
    }


def one(name: str, device: str, short: bool, output: Path) -> None:
    """Run one check and write its results."""
    from checks import Machine

    correctness, speed = checks()
    start = time.perf_counter()
    try:
        lines = {**correctness, **speed}[name](Machine(device, short))
        done = {"results": lines, "error": None}
    except Exception:
        done = {"results": [], "error": traceback.format_exc()}
    done["seconds"] = time.perf_counter() - start
    done["day"] = time.strftime("%Y-%m-%d")
    output.write_text(json.dumps(done))


def shown(line: dict[str, Any]) -> str:
    """Return a result as a line of text."""
    mark = {None: "     ", True: "  ok ", False: "FAIL "}[line["passed"]]
    value = (
        "" if line["value"] is None else f" {line['value']:.4g}{' ' + line['unit'] if line['unit'] else ''}"
    )
    limit = (
        ""
        if line["limit"] is None
        else f" ({'at least' if line['at_least'] else 'at most'} {line['limit']:g})"
    )
    return f"{mark}{line['name']}:{value}{limit}{'  ' + line['note'] if line['note'] else ''}"


def main() -> int:
    """Run the checks; the exit status is 1 when one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="small sizes, to see that everything runs")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--only", nargs="+", help="names of checks")
    parser.add_argument(
        "--limit", type=float, default=470, help="seconds after which no further check starts"
    )
    parser.add_argument(
        "--at-once",
        type=int,
        default=max(1, (os.cpu_count() or 2) // 2),
        help="checks of correctness at the same time",
    )
    parser.add_argument("--check", help=argparse.SUPPRESS)
    parser.add_argument("--device", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.check:
        one(given.check, given.device, given.short, given.output)
        return 0
    absent = missing()
    if absent:
        print(f"These packages are missing: {', '.join(absent)}. Nothing was run.", file=sys.stderr)
        return 2
    about = machine()
    device = "cuda" if about["gpus"] else "cpu"
    if given.short:
        import torch

        torch.set_num_threads(1)  # threads that wait for each other on a busy machine take minutes
    print(
        f"{about['gpu'] or 'NO GPU FOUND: everything runs on the CPU, nothing is compared with a GPU'}; torch {about['torch']}",
        flush=True,
    )
    began = time.monotonic()

    def alone(name: str, output: Path) -> str:
        """Run a check in a process of its own; return what went wrong if it wrote nothing."""
        arguments = ["--check", name, "--device", device, "--output", str(output)]
        threads = str(max(1, (os.cpu_count() or 1) // given.at_once))
        try:
            process = subprocess.run(
                [sys.executable, __file__, *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=max(1, given.limit + 60 - (time.monotonic() - began)),
                env={**os.environ, "OMP_NUM_THREADS": threads},
            )
        except subprocess.TimeoutExpired:
            return "stopped: no time was left"
        return f"exit status {process.returncode}\n{process.stderr[-3000:]}"

    report: dict[str, Any] = {"machine": about, "short": given.short, "checks": {}}
    if given.only and given.output.is_file():  # the results of other checks are kept
        earlier = json.loads(given.output.read_text())
        if earlier["machine"]["gpu"] == about["gpu"] and earlier["short"] == given.short:
            report["checks"] = earlier["checks"]
    failed = []

    def run(name: str) -> None:
        if time.monotonic() - began > given.limit:
            report["checks"][name] = {
                "results": [],
                "error": None,
                "seconds": 0,
                "skipped": "no time was left",
            }
            print(f"== {name}: skipped, no time was left", flush=True)
            return
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "result.json"
            if given.short:  # importing torch in every check would take most of the time
                one(name, device, True, output)
                problem = ""
            else:
                problem = alone(name, output)
            done = {"results": [], "error": problem, "seconds": 0}
            if output.exists():
                done = json.loads(output.read_text())
        report["checks"][name] = done
        lines = [f"== {name}: {done['seconds']:.0f} s", *map(shown, done["results"])]
        if done["error"]:
            lines.append(f"FAIL  {done['error']}")
        if done["error"] or any(line["passed"] is False for line in done["results"]):
            failed.append(name)
        print("\n".join(lines), flush=True)
        given.output.write_text(json.dumps(report, indent=1) + "\n")

    correctness, speed = checks()
    unknown = sorted(set(given.only or ()) - {*correctness, *speed})
    if unknown:
        parser.error(
            f"no check is called {', '.join(unknown)}; there are {', '.join([*correctness, *speed])}"
        )
    wanted = [name for name in correctness if not given.only or name in given.only]
    # What is compiled takes minutes and would hold up everything else: it comes last.
    last = [name for name in wanted if name == "compiled"]
    with ThreadPoolExecutor(1 if given.short else given.at_once) as pool:
        list(pool.map(run, sorted(set(wanted) - set(last), key=lambda name: (name not in FIRST, name))))
    for name in [*speed, *last]:
        if name in last or not given.only or name in given.only:
            run(name)
    report["seconds"] = time.monotonic() - began
    given.output.write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"{'FAILED: ' + ', '.join(failed) if failed else 'all checks passed'}; {report['seconds']:.0f} s, {given.output}"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
