"""The checks of `make gpu` run to their end without a GPU, in small sizes, and say so."""

import json
import subprocess
import sys
from pathlib import Path

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
