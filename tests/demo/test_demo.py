"""What `make demo` must find again of what was planted. Run by `make check-demo`, after the demo."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from neurostrata.imaging.images.io import read_image
from neurostrata.imaging.registration.transforms import read_affine, read_displacement
from neurostrata.imaging.template.shape import LARGEST_DISTANCE_VOX, LARGEST_LOG_SIZE, MeanShape

DEMO = Path(os.environ.get("NEUROSTRATA_DEMO", Path(__file__).resolve().parents[2] / "demo"))


@pytest.fixture(scope="module")
def recovery() -> dict[str, Any]:
    return json.loads((DEMO / "recovery.json").read_text())


def test_enough_people_with_all_stages() -> None:
    subjects = pd.read_csv(DEMO / "cohort/cohort.tsv", sep="\t")
    assert len(subjects) >= 24
    assert (DEMO / "results/report/index.html").stat().st_size > 10_000
    folds = {path.name for path in (DEMO / "results/experiments/jac-ndi").glob("fold-*")}
    assert folds == {"fold-0", "fold-1", "fold-2", "fold-all"}


def test_deformation(recovery: dict[str, Any]) -> None:
    assert recovery["deformation"]["correlation"] >= 0.85
    assert 0.6 <= recovery["deformation"]["slope"] <= 1.1


def test_diffusion(recovery: dict[str, Any]) -> None:
    fa, ndi = recovery["diffusion"]["fa"], recovery["diffusion"]["ndi"]
    assert fa["mean_absolute_error"] <= 0.025
    assert abs(fa["bias"]) <= 0.015
    assert ndi["mean_absolute_error"] <= 0.05
    assert abs(ndi["bias"]) <= 0.02
    assert ndi["r"] >= 0.85


def test_strata(recovery: dict[str, Any]) -> None:
    best = max(found["share_of_oracle"] for found in recovery["strata"]["experiments"].values())
    assert best >= 0.8


def test_template_is_unbiased() -> None:
    mask = read_image(DEMO / "results/template/mask.nii.gz")
    shape = MeanShape(mask.grid, mask.data > 0)
    for warp in sorted((DEMO / "results/derivatives").glob("sub-*/anat/*_to-study_desc-warp_xfm.nii.gz")):
        affine = warp.with_name(warp.name.replace("desc-warp_xfm.nii.gz", "desc-affine_xfm.mat"))
        shape.add(read_affine(affine), read_displacement(warp))
    assert shape.people >= 20
    assert shape.distance_vox <= LARGEST_DISTANCE_VOX
    assert abs(shape.log_size) <= LARGEST_LOG_SIZE


def test_the_tutorial_is_of_this_demo(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "docs" / "tools"))
    from screenshots import outcome, read_rows

    text = (repository / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for row in read_rows(DEMO / "results/report/verdicts.tsv"):
        assert f"* {outcome(row)}:" in text, "run: make screenshots"
