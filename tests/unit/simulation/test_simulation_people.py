"""Who takes part in a simulated cohort."""

from dataclasses import replace

import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.simulation.people.people import Settings, make_people, stratum_sizes, stream


@pytest.mark.parametrize("people", [3, 8, 24, 200])
def test_strata_are_of_unequal_size_and_add_up(people):
    sizes = stratum_sizes(people, 3)
    assert sizes.sum() == people
    assert sizes.min() >= 1
    assert list(sizes) == sorted(sizes, reverse=True)
    if people >= 8:
        assert len(set(sizes)) == 3


def test_the_demo_has_one_missing_modality_one_bad_scan_and_template_members():
    people = make_people(Settings())
    assert len(people) == 24
    assert sum(not p.has_dwi for p in people) == 1
    assert sum(p.bad_scan for p in people) == 1
    assert sum(p.template for p in people) == 16
    assert not any(p.template and p.bad_scan for p in people)
    assert {p.stratum for p in people if p.template} == {0, 1, 2}
    assert all(p.questionnaires_of == p.number for p in people)
    assert len({p.subject for p in people}) == 24


def test_everybody_of_a_small_cohort_helps_with_the_template():
    assert all(p.template for p in make_people(Settings(people=6)))


def test_bad_and_missing_scans_spare_the_smallest_stratum():
    people = make_people(Settings(people=240))
    for spoilt in ([p for p in people if p.bad_scan], [p for p in people if not p.has_dwi]):
        assert len(spoilt) == 10
        assert {p.stratum for p in spoilt} == {0, 1}
    assert not any(p.bad_scan and not p.has_dwi for p in people)


def test_site_sex_and_age_tell_nothing_about_the_stratum():
    people = make_people(Settings(people=600))
    stratum = np.array([p.stratum for p in people])
    for attribute, levels in (("site", 3), ("female", 2)):
        values = np.array([int(getattr(p, attribute)) for p in people])
        table = np.zeros((3, levels))
        np.add.at(table, (stratum, values), 1)
        assert np.ptp(table, axis=1).max() <= 1
    ages = np.array([p.age for p in people])
    scales = np.array([p.head_scale for p in people])
    for values in (ages, scales):
        means = [values[stratum == k].mean() for k in range(3)]
        assert np.ptp(means) < 0.35 * values.std()


def test_families_have_one_to_three_members_and_cross_the_strata():
    people = make_people(Settings(people=200))
    families: dict[int, list[int]] = {}
    for person in people:
        families.setdefault(person.family, []).append(person.stratum)
    sizes = {len(members) for members in families.values()}
    assert sizes == {1, 2, 3}
    assert any(len(set(members)) > 1 for members in families.values())


def test_null_link_gives_everybody_somebody_elses_questionnaires():
    people = make_people(Settings(people=40, null_link=True))
    source = [p.questionnaires_of for p in people]
    assert sorted(source) == list(range(40))
    assert all(a != b for a, b in enumerate(source))
    linked = make_people(Settings(people=40))
    assert [p.stratum for p in people] == [p.stratum for p in linked]


def test_site_only_plants_by_site():
    people = make_people(Settings(people=40, site_only=True))
    assert all(p.label == p.site for p in people)
    assert any(p.label != p.stratum for p in people)


def test_a_planted_diagnosis_tells_nothing_about_the_stratum_and_changes_nobody_else():
    people = make_people(Settings(people=60, diagnosis_effect=1.0))
    for stratum in range(3):
        sick = [p.patient for p in people if p.stratum == stratum]
        assert abs(sum(sick) - len(sick) / 2) <= 1
    plain = make_people(Settings(people=60))
    assert [replace(p, patient=False) for p in people] == [replace(p, patient=False) for p in plain]
    assert [p.patient for p in people] != [p.patient for p in plain]


def test_streams_are_independent_and_repeatable():
    first = stream(1, "velocity", 3).standard_normal(2000)
    assert np.array_equal(first, stream(1, "velocity", 3).standard_normal(2000))
    for other in (stream(1, "velocity", 4), stream(1, "family", 3), stream(2, "velocity", 3)):
        assert abs(np.corrcoef(first, other.standard_normal(2000))[0, 1]) < 0.1


@pytest.mark.parametrize(
    "change",
    [
        {"people": 2, "strata": 2},
        {"effect": 0.0, "noise": 0.0, "diagnosis_effect": 0.0, "seed": 0},
        {"directions": 6},
        {"components": 64, "bold": True, "bold_resolution_mm": 12.0},
        {"resolution_mm": 0.7, "dwi_resolution_mm": 12.0},
        {"contrasts": ("flair",), "lesions": True},
        {"contrasts": ("flair", "t2w")},
    ],
)
def test_options_at_their_limits_can_be_met(change):
    replace(Settings(), **change).check()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"people": 2}, "--people"),
        ({"strata": 1}, "--strata"),
        ({"effect": -1.0}, "--effect"),
        ({"effect": float("nan")}, "--effect"),
        ({"noise": -0.1}, "--noise"),
        ({"directions": 3}, "--directions"),
        ({"resolution_mm": 0.0}, "--resolution-mm"),
        ({"dwi_resolution_mm": 50.0}, "--dwi-resolution-mm"),
        ({"seed": -1}, "--seed"),
        ({"diagnosis_effect": -1.0}, "--diagnosis-effect"),
        ({"contrasts": ("pd",)}, "--contrasts pd"),
        ({"contrasts": ("t2w", "t2w")}, "--contrasts t2w t2w"),
        ({"lesions": True}, "--lesions"),
        ({"components": 100}, "--components"),
        ({"bold": True}, "--bold"),
        ({"bold_resolution_mm": 0.1}, "--bold-resolution-mm"),
    ],
)
def test_options_that_cannot_be_met_are_named(change, named):
    with pytest.raises(UserError, match=named):
        replace(Settings(), **change).check()
