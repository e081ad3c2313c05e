"""What searches for clusters take of memory, by simulated codes: writes docs/tables/search-memory.tsv, from which resources/costs.yaml has its numbers.

    python tests/benchmarks/search_memory.py existence:affinity_propagation:2000:64:8 ...   # stage:finder:people:dimensions:threads

Only as many settings and draws are searched as the threads need to be at work at the same time, which memory does not depend on.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.config import overlaid, section_defaults
from neurostrata.core.embeddings import PARTS, embedding_frame

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "tables" / "search-memory.tsv"
COLUMNS = ["stage", "finder", "people", "dimensions", "threads", "memory_mb"]


def _simulate(folder: Path, people: int, dimensions: int) -> None:
    """Write codes of three groups and two modalities, phenotypes without any effect, and the list of people."""
    rng = np.random.default_rng(people)
    latent = rng.normal(size=(people, 40)) * np.linspace(3, 0.5, 40)
    latent[:, :3] += 4 * np.eye(3)[rng.integers(3, size=people)]
    codes = latent @ rng.normal(size=(40, dimensions)) + 0.3 * rng.normal(size=(people, dimensions))
    subjects = pd.Series([f"{number:06d}" for number in range(people)], name="subject")
    for name, frame in {
        "codes": embedding_frame(np.round(codes, 5)),
        "scores": pd.DataFrame(rng.normal(size=(people, 6))).add_prefix("factor"),
        "people": pd.DataFrame(index=subjects.index),
    }.items():
        pd.concat([subjects, frame], axis=1).to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    parts = ["jac" if number < dimensions // 2 else "ndi" for number in range(dimensions)]
    (folder / "codes.json").write_text(json.dumps({PARTS: parts}))


def _settings(finder: str, threads: int) -> str:
    fewer: dict[str, dict[str, Any]] = {
        "affinity_propagation": {"damping": {"steps": 4}, "preference": {"steps": 8}},
        "similarity_network_fusion": {"reference_draws": 2},
    }
    few = fewer.get(finder, {"reference_draws": 2 * threads})
    strata = section_defaults("strata")
    return json.dumps(
        {
            **{key: strata[key] for key in ("small_clusters", "outliers", "comparisons")},
            "finder": finder,
            "options": overlaid(strata[finder], few),
            "existence": {**strata["existence"], "draws": max(1, threads // 2)},
            "stability": {"draws": 2 * threads},
            "split_half": {"splits": 2 * threads + 1},
            "seed": 1,
        }
    )


def measure(stage: str, finder: str, people: int, dimensions: int, threads: int) -> int:
    """Return the largest resident memory of a stage's command, MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _simulate(folder, people, dimensions)

        def run(command: str, *words: str) -> int:
            files = [str(folder / word) if not word.startswith("--") else word for word in words]
            given = ["--embeddings", str(folder / "codes.tsv"), "--settings", _settings(finder, threads)]
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "neurostrata",
                    "stage",
                    command,
                    *given,
                    "--threads",
                    str(threads),
                    *files,
                ]
            )
            _, status, used = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{command} failed")
            return round(used.ru_maxrss * 1024 / 1e6)

        took = run("cluster", "--search", "search.tsv", "--clusters", "clusters.tsv")
        known = ["--clusters", "clusters.tsv", "--people", "people.tsv", "--output", "output.tsv"]
        if stage == "existence":
            took = run(stage, *known, "--null", "null.tsv")
        elif stage == "stability":
            took = run(stage, *known, "--folds")
        elif stage == "split_half":
            took = run("split-half", *known[2:], "--scores", "scores.tsv", "--factors", "factors.tsv")
        return took


def main() -> None:
    """Measure what is named, and write it into the table."""
    with open(TABLE, newline="") as stream:
        rows = {tuple(row.values())[:-1]: row for row in csv.DictReader(stream, delimiter="\t")}
    for word in sys.argv[1:]:
        stage, finder, *numbers = word.split(":")
        people, dimensions, threads = map(int, numbers)
        took = measure(stage, finder, people, dimensions, threads)
        rows[stage, finder, *numbers] = dict(zip(COLUMNS, (stage, finder, *numbers, str(took))))
        print(word, took, "MB", flush=True)
    with open(TABLE, "w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())


if __name__ == "__main__":
    main()
