"""What a training preset stands for. Standard library only: plans are estimated by it."""

from __future__ import annotations

from typing import Any

#: Settings of each training preset (Dimitri 2022, 2.1.3); schema: training.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"epochs": 200, "batch_size": 1, "learning_rate": 1e-3, "precision": "fp32", "compile": False},
    "fast": {"epochs": 200, "batch_size": 4, "learning_rate": 1e-3, "precision": "bf16", "compile": True},
}
