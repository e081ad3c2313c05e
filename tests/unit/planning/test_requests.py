"""Memory and time that jobs on images ask for."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from planned import experiment, planned

from neurostrata.core.config import fill_config, finder_names
from neurostrata.core.locations import REPOSITORY
from neurostrata.planning import cost, requests
from neurostrata.planning.cost import Images, Sizes, Work, imagined
from neurostrata.planning.requests import Requests, requests_of

NUMBERS = {
    "stages": {
        "fit": {"memory_mb": {"each": 100, "dwi*volumes": 400}, "cpu_s": {"each": 2, "dwi*volumes": 90}},
        "small": {"memory_mb": {"each": 100}, "cpu_s": {"each": 2}},
        "segment": {"memory_mb": {"each": 100, "t1w": 300}, "cpu_s": {"each": 2}},
        "register": {"memory_mb": {"each": 300, "template": 50}, "cpu_s": {"engine*work*template": 1}},
    }
}


def asked(images: Images, **config: Any) -> Requests:
    study = imagined(fill_config({"cohort": {"sheet": "cohort.tsv"}, **config}), 10)
    return Requests(Sizes(study, images))


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "measured", lambda: NUMBERS)


@pytest.mark.usefixtures("numbers")
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


@pytest.mark.usefixtures("numbers")
def test_no_job_asks_for_less_than_two_gigabytes_and_each_attempt_doubles() -> None:
    requests_of = asked(Images())
    assert [requests_of.memory("small")(None, attempt=n) for n in (1, 2, 3)] == [2000, 4000, 8000]
    assert [requests_of.runtime("small")(None, attempt=n) for n in (1, 2, 3)] == [20, 40, 80]


@pytest.mark.usefixtures("numbers")
def test_registrations_follow_the_template_and_the_engine() -> None:
    coarse, fine, syn = (
        asked(Images(), template={"resolution_mm": size}, registration={"engine": engine}).runtime(
            "register"
        )(None, attempt=1)
        for size, engine in ((2, "torch"), (1, "torch"), (1, "ants"))
    )
    assert coarse == fine == 20
    assert syn == 750  # 5 x 8 x 1125 s


def looked_at(results: Path, t1w: dict[str, float] | None = None, **dwi: tuple[float, int]) -> Requests:
    """The requests of a study after its check; person -> voxel side and number of volumes of the diffusion data, usually 2 mm and 96.

    `t1w` has the voxel sides of T1w images that are not of 1 mm.
    """
    study = planned(people=5, output=str(results))
    files = {}
    for subject, row in study.rows.items():
        side, volumes = dwi.get(f"p{subject}", (2.0, 96))
        affine = np.diag([side, side, side, 1]).tolist()
        files[f"{row['dwi']}|1|2"] = {"shape": [90, 90, 60, volumes], "affine": affine}
        side = (t1w or {}).get(f"p{subject}", 1.0)
        files[f"{row['t1w']}|1|2"] = {"shape": [180] * 3, "affine": np.diag([side, side, side, 1]).tolist()}
    (results / "cohort").mkdir(parents=True)
    (results / "cohort" / "headers.json").write_text(json.dumps({"files": files}))
    return requests_of(study, look=True)


def megabytes(asked_by: Requests, stage: str, subject: str) -> int:
    return asked_by.memory(stage)(SimpleNamespace(subject=subject), attempt=1)


@pytest.mark.usefixtures("numbers")
def test_people_with_much_larger_images_ask_for_more(tmp_path: Path) -> None:
    """Of others in the same study nobody asks for more because of them."""
    of = looked_at(tmp_path, p02=(0.5, 96), p03=(2.0, 1000), p04=(4.0, 6))
    assert megabytes(of, "fit", "01") == megabytes(of, "fit", "04") == 2000
    assert megabytes(of, "fit", "02") == 38900  # 1.5 x (100 + 400 x 64) + 300 MB
    assert megabytes(of, "fit", "03") == 6700  # 1.5 x (100 + 400 x 1000 / 96) + 300 MB
    assert of.runtime("fit")(SimpleNamespace(subject="02"), attempt=2) == 2 * 485
    assert megabytes(of, "register", "02") == megabytes(of, "register", "01")


@pytest.mark.usefixtures("numbers")
def test_what_is_smaller_than_most_peoples_is_taken_as_theirs(tmp_path: Path) -> None:
    of = looked_at(tmp_path, t1w={"p02": 2.0, "p03": 0.5}, p02=(0.5, 96), p03=(4.0, 6))
    usual = megabytes(of, "segment", "01"), megabytes(of, "fit", "01")
    assert usual == (4100, 2000)  # 1.5 x (100 + 300 x 8) + 300 MB
    assert (megabytes(of, "segment", "02"), megabytes(of, "fit", "02")) == (usual[0], 38900)
    assert (megabytes(of, "segment", "03"), megabytes(of, "fit", "03")) == (29300, usual[1])


@pytest.mark.usefixtures("numbers")
def test_all_jobs_are_asked_at_once_where_images_are_alike(tmp_path: Path) -> None:
    for name, alone, sizes in (
        ("a", True, (1.95, 96)),
        ("b", False, (1.25, 96)),
        ("c", True, (1.9, 96)),  # 1.17 times as many voxels
        ("d", False, (1.85, 96)),  # 1.26 times
        ("e", True, (2.0, 115)),
        ("f", False, (2.0, 116)),
    ):
        of = looked_at(tmp_path / name, p02=sizes)
        assert getattr(of.memory("fit"), "of_attempt_alone", False) is alone
        assert getattr(of.memory("small"), "of_attempt_alone", False)


#: What searches for clusters were measured to take at most.
MEASURED = REPOSITORY / "docs" / "tables" / "search-memory.tsv"
SEARCHES = ("cluster", "existence", "stability", "split_half")


def sizes_of(people: int, **strata: Any) -> Sizes:
    """Of a study of the codes of two modalities."""
    config = {
        "cohort": {"sheet": "cohort.tsv"},
        "modalities": {"jac": {"from": "jacobian"}, "t1w": {"from": "t1w"}},
        "experiments": [experiment("codes", "jac", "t1w")],
        "strata": strata,
    }
    return Sizes(imagined(fill_config(config), people))


def searching(stage: str, finder: str, people: int, threads: int, attempt: int = 1, **strata: Any) -> int:
    """MB that a search asks for."""
    asked_by = Requests(sizes_of(people, **strata))
    job = SimpleNamespace(experiment="codes", codes="raw", finder=finder)
    return asked_by.search_memory(stage, least=4000)(job, attempt=attempt, threads=threads)


def test_what_searches_take_is_predicted_and_more_is_asked_for() -> None:
    with open(MEASURED, newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert {row["stage"] for row in rows} == set(SEARCHES)
    assert {row["finder"] for row in rows} == set(finder_names())
    for row in rows:
        stage, finder, took = row["stage"], row["finder"], float(row["memory_mb"])
        people, threads = int(row["people"]), int(row["threads"])
        sizes = sizes_of(people).of_search(Work(stage, "codes", finder), threads)
        predicted = cost.amount(cost.measured()["stages"][stage]["memory_mb"], sizes)
        assert 0.8 * took < predicted < 1.5 * took, row
        # without the least that is asked for
        job = SimpleNamespace(experiment="codes", finder=finder)
        asked_for = Requests(sizes_of(people)).search_memory(stage, least=0)(job, attempt=1, threads=threads)
        assert asked_for >= max(2000, 1.5 * predicted + 300)


@pytest.mark.parametrize("stage", SEARCHES)
def test_searches_of_many_people_ask_for_the_square_of_their_number_and_for_each_thread(stage: str) -> None:
    finder = "affinity_propagation"
    small = [searching(stage, finder, people, 8) for people in (20, 300, 1000)]
    assert small == [4000] * 3
    some, twice = (searching(stage, finder, people, 8) for people in (8000, 16000))
    assert twice == pytest.approx(4 * some, rel=0.05)
    one, eight = (searching(stage, finder, 16000, threads) for threads in (1, 8))
    assert one < eight / 2
    assert [searching(stage, finder, 16000, 8, attempt) / twice for attempt in (2, 3)] == [2, 4]
    # a sample is searched, whose size then counts
    sampled = searching(stage, finder, 16000, 8, affinity_propagation={"sample": 8000})
    assert some <= sampled < 1.03 * some
    # the mixture has no matrices of people x people
    assert searching(stage, "mixture", 16000, 8) == 4000


def test_tests_that_repeat_a_search_in_each_thread_need_what_each_takes() -> None:
    by_threads = [searching("existence", "affinity_propagation", 16000, threads) for threads in (1, 2, 4, 8)]
    for fewer, more in pairwise(by_threads):
        assert more == pytest.approx(2 * fewer, rel=0.05)


def test_a_finder_of_ones_own_asks_for_what_it_did_before() -> None:
    """It was not measured."""
    sizes = sizes_of(40_000, ward={"max_clusters": 3})
    job = SimpleNamespace(experiment="codes", finder="ward")
    assert Requests(sizes).search_memory("existence", least=4000)(job, attempt=1, threads=8) == 4000
