"""Memory and time that jobs on images ask for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from planned import planned

from neurostrata.core.config import fill_config
from neurostrata.planning import requests
from neurostrata.planning.cost import Images, Sizes, imagined
from neurostrata.planning.requests import Requests, requests_of

NUMBERS = {
    "stages": {
        "fit": {"memory_mb": {"each": 100, "dwi*volumes": 400}, "cpu_s": {"each": 2, "dwi*volumes": 90}},
        "small": {"memory_mb": {"each": 100}, "cpu_s": {"each": 2}},
        "register": {"memory_mb": {"each": 300, "template": 50}, "cpu_s": {"engine*work*template": 1}},
    }
}


def asked(images: Images, **config: Any) -> Requests:
    study = imagined(fill_config({"cohort": {"sheet": "cohort.tsv"}, **config}), 10)
    return Requests(Sizes(study, images))


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "measured", lambda: NUMBERS)


def test_requests_follow_the_images_with_a_margin() -> None:
    usual, large = (
        asked(Images(dwi_mm=2.0, dwi_volumes=96)),
        asked(Images(dwi_mm=1.25, dwi_volumes=288)),
    )
    # 1.5 x 500 MB + 300 MB, but 2,000 MB at least; 5 x 92 s, but 20 minutes at least
    assert usual.memory("fit")(None, attempt=1) == 2000
    assert usual.runtime("fit")(None, attempt=1) == 20
    # 12.288 times as much: 1.5 x 5015.2 + 300 MB; 5 x 1107.92 s in steps of 5 minutes
    assert large.memory("fit")(None, attempt=1) == 7900
    assert large.runtime("fit")(None, attempt=1) == 95


def test_no_job_asks_for_less_than_two_gigabytes_and_each_attempt_doubles() -> None:
    requests_of = asked(Images())
    assert [requests_of.memory("small")(None, attempt=n) for n in (1, 2, 3)] == [2000, 4000, 8000]
    assert [requests_of.runtime("small")(None, attempt=n) for n in (1, 2, 3)] == [20, 40, 80]


def test_registrations_follow_the_template_and_the_engine() -> None:
    coarse, fine, syn = (
        asked(Images(), template={"resolution_mm": size}, registration={"engine": engine}).runtime(
            "register"
        )(None, attempt=1)
        for size, engine in ((2, "torch"), (1, "torch"), (1, "ants"))
    )
    assert coarse == fine == 20
    assert syn == 750  # 5 x 8 x 1125 s


def looked_at(results: Path, **dwi: tuple[float, int]) -> Requests:
    """The requests of a study after its check; person -> voxel side and number of volumes of the diffusion data, usually 2 mm and 96."""
    study = planned(people=5, output=str(results))
    files = {}
    for subject, row in study.rows.items():
        side, volumes = dwi.get(f"p{subject}", (2.0, 96))
        affine = np.diag([side, side, side, 1]).tolist()
        files[f"{row['dwi']}|1|2"] = {"shape": [90, 90, 60, volumes], "affine": affine}
    (results / "cohort").mkdir(parents=True)
    (results / "cohort" / "headers.json").write_text(json.dumps({"files": files}))
    return requests_of(study, look=True)


def megabytes(asked_by: Requests, stage: str, subject: str) -> int:
    return asked_by.memory(stage)(SimpleNamespace(subject=subject), attempt=1)


def test_people_with_much_larger_images_ask_for_more(tmp_path: Path) -> None:
    """Of others in the same study nobody asks for more because of them."""
    of = looked_at(tmp_path, p02=(0.5, 96), p03=(2.0, 1000), p04=(4.0, 6))
    assert megabytes(of, "fit", "01") == megabytes(of, "fit", "04") == 2000
    assert megabytes(of, "fit", "02") == 38900  # 1.5 x (100 + 400 x 64) + 300 MB
    assert megabytes(of, "fit", "03") == 6700  # 1.5 x (100 + 400 x 1000 / 96) + 300 MB
    assert of.runtime("fit")(SimpleNamespace(subject="02"), attempt=2) == 2 * 485
    assert megabytes(of, "register", "02") == megabytes(of, "register", "01")


def test_all_jobs_are_asked_at_once_where_images_are_alike(tmp_path: Path) -> None:
    for name, alone, sizes in (("a", True, (1.95, 96)), ("b", False, (1.25, 96))):
        of = looked_at(tmp_path / name, p02=sizes)
        assert getattr(of.memory("fit"), "of_attempt_alone", False) is alone
        assert getattr(of.memory("small"), "of_attempt_alone", False)
