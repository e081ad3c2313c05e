"""What the report says of the template's shape: from the final registrations, and only of the people it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from neurostrata.core.tables import write_table
from neurostrata.imaging.images.io import Grid
from neurostrata.imaging.registration.transforms import Displacement, write_affine, write_displacement
from neurostrata.report.data.layout import ResultsTree
from neurostrata.report.data.results import StudyResults
from neurostrata.report.html.page import Page
from neurostrata.report.sections import template as template_module

GRID = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
#: Person -> size relative to the template; the last is no part of the template.
SIZES = {"01": 1.1, "02": 0.9, "03": 1.5}


def make(folder: Path, sizes: dict[str, float], shift: float = 0, **config: Any) -> Page:
    tree = ResultsTree(folder)
    tree.subjects.parent.mkdir(parents=True, exist_ok=True)
    people = pd.DataFrame({"subject": list(SIZES), "template": ["yes", "yes", "no"]})
    write_table(tree.subjects, people, columns=dict.fromkeys(people, ""))
    mask = np.zeros(GRID.shape, np.float32)
    mask[2:8, 2:8, 2:8] = 1
    tree.template("mask.nii.gz").parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, GRID.affine), tree.template("mask.nii.gz"))
    for subject, size in sizes.items():
        affine, warp = tree.registration(subject)
        affine.parent.mkdir(parents=True, exist_ok=True)
        write_affine(affine, np.diag([size, size, size, 1]))
        write_displacement(warp, Displacement(np.full((*GRID.shape, 3), shift, np.float32), GRID))
    study = StudyResults(tree, {"modalities": {}, "experiments": [], **config})
    return Page(study, folder / "report/index.html", folder / "report/figures")


def said(page: Page) -> tuple[str, list[str]]:
    """Return kind and texts of what is said of the shape."""
    blocks = [block for block in template_module.template_section(page).blocks if block.block == "text"]
    return (blocks[0].kind, [block.text for block in blocks]) if blocks else ("", [])


def test_the_shape_is_that_of_the_final_registrations(tmp_path: Path) -> None:
    kind, texts = said(make(tmp_path, SIZES))
    assert kind == "good"
    assert texts[0].startswith("Unbiased shape: yes. In the final registrations of 2 people: ")
    assert "volume over the template's is 0" in texts[0] or "×10" in texts[0]
    logs = 3 * np.log([1.1, 0.9])
    assert f"is −{-logs.mean():.4f} on average (standard deviation {logs.std(ddof=1):.3f})" in texts[1]
    assert "the mean log Jacobian of the whole transform too" in texts[1]


def test_a_biased_shape_is_said(tmp_path: Path) -> None:
    kind, texts = said(
        make(tmp_path, {"01": 1.1, "02": 1.06, "03": 0.5}, registration={"engine": "ants", "balance": False})
    )
    assert kind == "warning"
    assert texts[0].startswith("Unbiased shape: not within the limits. ")
    assert f"{3 * np.log(1.08):.3f} (limit 0.02 either way), which is exceeded" in texts[0]
    assert "mean log Jacobian" not in texts[1]
    kind, texts = said(make(tmp_path, SIZES, shift=2.0))
    assert kind == "warning"
    assert (
        "is 1.73 voxels from the point itself (root mean square in the brain; limit 0.5), which is exceeded"
        in texts[0]
    )
    assert texts[0].count("exceeded") == 1


def test_registrations_that_lack_are_noted(tmp_path: Path) -> None:
    page = make(tmp_path / "some", {"01": 1.0})
    assert "of 1 person of the 2 whose images it was made of" in said(page)[1][0]
    what = "Whether the template's shape is unbiased"
    assert [line.why for line in page.study.missing if line.what == what] == [
        "1 person has no registration to the template"
    ]
    page = make(tmp_path / "none", {})
    assert said(page) == ("", [])
    assert any(line.what == what for line in page.study.missing)
    page = make(tmp_path / "broken", SIZES)
    page.study.tree.registration("02")[1].write_bytes(b"")
    assert said(page) == ("", [])
    assert any(line.what == what for line in page.study.missing)


def test_of_many_people_some_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_module, "MOST_PEOPLE", 1)
    assert "of 1 person of the 2" in said(make(tmp_path, SIZES))[1][0]


@pytest.mark.parametrize(
    ("people", "words"),
    [
        ([24, 24, 24, 24], "rebuilt 3 times and met"),
        ([24, 6, 6, 24], "rebuilt 3 times, 2 times from 6 of its 24 people and met"),
        ([1024, 6, 12, 1024], "rebuilt 3 times, 2 times from 6 and 12 of its 1,024 people and met"),
        ([24, 24, 6, 24], "rebuilt 3 times, 1 time from 6 of its 24 people and met"),
    ],
)
def test_iterations_of_a_part_of_the_people_are_said(tmp_path: Path, people: list[int], words: str) -> None:
    page = make(tmp_path, SIZES, template={"tolerance": 0.01})
    table = {"iteration": range(4), "people": people, "similarity": 0.9, "similarity_worst": 0.8}
    table |= dict.fromkeys(("rms_change", "rms_mean_warp_vox", "mean_log_jacobian", "mean_log_scale"), 0.1)
    frame = pd.DataFrame(table | {"converged": [False, False, False, True], "skipped": False})
    write_table(page.study.tree.template("convergence.tsv"), frame, columns=dict.fromkeys(frame, ""))
    (text,) = [text for text in said(page)[1] if "rebuilt" in text]
    assert words in text
