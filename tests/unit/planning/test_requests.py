"""Memory and time that jobs on images ask for."""

from __future__ import annotations

from typing import Any

import pytest

from neurostrata.core.config import fill_config
from neurostrata.planning import requests
from neurostrata.planning.cost import Images, Sizes, imagined
from neurostrata.planning.requests import Requests

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
