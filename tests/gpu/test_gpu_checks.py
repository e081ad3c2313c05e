"""The checks of `make gpu` run to their end without a GPU, in small sizes, and say so."""

import json
import subprocess
import sys
from pathlib import Path

import correct_models
import numpy as np
import pytest
import torch
from checks import Machine

RUN = Path(__file__).parent / "run.py"


def test_all_checks_run_without_a_gpu(tmp_path):
    output = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, RUN, "--short", "--output", output, "--limit", "600"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "NO GPU FOUND" in done.stdout
    report = json.loads(output.read_text())
    assert report["machine"]["gpu"] is None
    assert {
        name for name, check in report["checks"].items() if check["error"] or check.get("skipped")
    } == set()
    lines = [line for check in report["checks"].values() for line in check["results"]]
    assert len(lines) > 50
    # the two sides of a comparison are the same device here, so they agree to the last bit
    assert all(line["value"] == 0 for line in lines if "of the same weights" in line["name"])


def test_losses_are_compared_with_what_rounding_does_until_that_step():
    reference = np.array([[2.0, np.nan], [1.0, 4.0], [1.0, 2.0]])
    others = [
        reference * (1 + np.array([[0], [1e-4], [1e-5]])),
        reference * (1 + np.array([[0], [2e-4], [0]])),
    ]
    for apart, expected in (([0, 4e-4, 0], 2), ([0, 0, 4e-4], 2), ([3e-6, 0, 0], 3)):
        losses = reference * (1 + np.array(apart)[:, None])
        assert correct_models.times_rounding(losses, reference, others) == pytest.approx(expected, rel=1e-6)
    losses = reference * (1 + np.array([[1e-3], [0], [0]]))
    assert correct_models.times_rounding(losses, reference, others, steps=False) == pytest.approx(5, rel=1e-6)
    losses[1, 1] = np.nan
    assert np.isnan(correct_models.times_rounding(losses, reference, others))


@pytest.mark.parametrize("mistake", [False, True])
def test_other_kernels_are_let_pass_and_a_slightly_wrong_rate_is_not(monkeypatch, mistake):
    """The training that would be the GPU's: the CPU's without oneDNN, or with a learning rate that is off by 0.1%."""
    fit, calls = correct_models.fit, []

    def changed(*given, **more):
        calls.append(given)
        if len(calls) != 2:
            return fit(*given, **more)
        if mistake:
            return fit(*given, learning_rate=1.001e-3, **more)
        with torch.backends.mkldnn.flags(enabled=False):
            return fit(*given, **more)

    monkeypatch.setattr(correct_models, "fit", changed)
    losses = correct_models.one_model("latent_synthesis", Machine("cpu", short=True))[0]
    assert "losses of 4 steps" in losses["name"]
    assert losses["value"] > 0
    assert losses["passed"] is not mistake
