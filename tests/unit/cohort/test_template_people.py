"""Which people an iteration of the template uses."""

from __future__ import annotations

from typing import Any

import pytest
from planned import planned

from neurostrata.cohort.groups import named_group
from neurostrata.cohort.template_people import people_of_iteration

PEOPLE = list("abcdefgh")


def test_they_are_spread_evenly_and_are_other_ones_in_each_iteration() -> None:
    assert people_of_iteration(PEOPLE, 2, 1) == ["a", "e"]
    assert people_of_iteration(PEOPLE, 2, 2) == ["b", "f"]
    assert people_of_iteration(PEOPLE, 2, 4) == ["d", "h"]
    assert people_of_iteration(PEOPLE, 2, 5) == ["e", "a"]  # everybody has had a turn
    assert people_of_iteration(PEOPLE, 3, 1) == ["a", "c", "f"]
    assert people_of_iteration(PEOPLE, 3, 8) == ["h", "b", "e"]


@pytest.mark.parametrize("number", range(1, 30))
def test_nobody_is_there_twice_and_gaps_differ_by_one_at_most(number: int) -> None:
    people = [str(place) for place in range(30)]
    for iteration in (1, 2, 7, 31):
        places = sorted(int(person) for person in people_of_iteration(people, number, iteration))
        assert len(set(places)) == number
        gaps = [after - before for before, after in zip(places, [*places[1:], places[0] + 30])]
        assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("number", [None, 8, 9])
def test_everybody_in_the_order_of_the_list(number: int | None) -> None:
    assert people_of_iteration(PEOPLE, number, 3) == PEOPLE


def members(iterations: int, early_people: int | None, people: int = 8, **cells: Any) -> list[int]:
    """Return how many people each iteration of a study uses."""
    study = planned(people, template={"iterations": iterations, "early_people": early_people})
    for subject, value in cells.items():
        study.rows[subject.removeprefix("p")]["template"] = value
    return [len(study.iteration_members(number)) for number in range(1, iterations + 1)]


def test_the_last_iteration_has_everybody() -> None:
    assert members(4, 3) == [3, 3, 3, 8]
    assert members(4, None) == [8, 8, 8, 8]
    assert members(1, 3) == [8]
    assert members(3, 7) == [7, 7, 8]
    assert members(3, 8) == members(3, 100) == [8, 8, 8]
    assert members(2, 7, p01="no") == [7, 7]  # seven are left


def test_a_part_is_told_only_where_there_is_one() -> None:
    study = planned(8, template={"iterations": 3, "early_people": 3})
    assert [study.early_people(number) for number in (1, 2, 3)] == [3, 3, None]
    study.config["template"]["early_people"] = 8
    assert study.early_people(1) is None


def test_the_stage_finds_the_same_people_in_its_table() -> None:
    study = planned(8, template={"iterations": 3, "early_people": 3})
    _, listed = named_group(study, "template")
    for iteration in (1, 2, 3):
        found = people_of_iteration(listed, study.early_people(iteration), iteration)
        assert found == study.iteration_members(iteration)
