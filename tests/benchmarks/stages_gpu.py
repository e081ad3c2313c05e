"""Rows of what `make gpu` (tests/gpu) measured on a GPU; docs/gpu.json has its results. Nothing runs here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from measure import Row

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "gpu.json"


def gpu(quick: bool) -> list[Row]:
    """Return the rows; one that was not measured says so."""
    report: dict[str, Any] = {"machine": {"gpu": None}, "checks": {}}
    if RESULTS.is_file():
        report = json.loads(RESULTS.read_text())
    found = {line["name"]: line for check in report["checks"].values() for line in check["results"]}
    about = report["machine"]
    card = about["gpu"] or "a GPU"
    where = f"{card}, {about['processors']} cores, torch {about['torch']}" if about["gpu"] else ""

    def seconds(name: str) -> float | None:
        return found[name]["value"] if name in found else None

    def row(
        stage: str, peer: str, ours: float | None, theirs: float | None, goal: str, factor: float, note: str
    ) -> Row:
        met = None if ours is None or theirs is None else theirs / ours >= factor
        agreement = "equal to the CPU within rounding: docs/gpu.json" if ours is not None else ""
        said = note if ours is not None else "not yet measured"
        return Row(stage, peer, ours, theirs, "wall", goal, met, agreement, said, where, about.get("day", ""))

    step = "training step of 2 x 128x128x96, fp32, one CUDA graph, 16 people"
    mixed = "training step of 2 x 128x128x96, bf16, one CUDA graph, 16 people"
    convolution = "convolution 1 to 1, 1 group(s), 5x6x5 on 128x128x96, float32, 4 people"
    steps = [
        row(
            f"training step of one person, separable autoencoder, {precision}, {card}",
            "the paper's Titan V, about 0.7 s",
            found[name]["seconds_per_person"] if name in found else None,
            0.7,
            "100 times the paper's throughput",
            100,
            "sixteen people at once, as one CUDA graph",
        )
        for precision, name in (("fp32", step), ("bf16", mixed))
    ]
    return [
        *steps,
        row(
            f"convolution of one channel, 5x6x5, 4 x 128x128x96, fp32, with its gradients, {card}",
            "cuDNN",
            found[convolution]["ours_s"] if convolution in found else None,
            found[convolution]["torch_s"] if convolution in found else None,
            "none",
            1,
            "forward and both gradients; error against float64 below 1e-6",
        ),
        row(
            f"pairwise registration at 2 mm, `torch`, {card}",
            "the same on one thread of that machine",
            seconds("registration of a pair at 2 mm"),
            seconds("registration of a pair at 2 mm, CPU, one thread"),
            "300 times ANTs, which one thread is 131 times faster than",
            300 / 131,
            "",
        ),
        row(
            f"NODDI, 100,000 voxels, {card}",
            "the same on two threads of that machine",
            seconds("NODDI of 100,000 voxels"),
            seconds("NODDI of 100,000 voxels, CPU, two threads"),
            "20 times AMICO, which two threads are 6.9 times faster than",
            20 / 6.88,
            "",
        ),
    ]


STAGES = {"gpu": gpu}
