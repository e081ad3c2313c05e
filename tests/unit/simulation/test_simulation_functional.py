"""Functional networks: where the components are, that amplitudes and time courses are those of the truth, and the noise."""

from dataclasses import replace

import numpy as np
import pytest

from neurostrata.simulation.images.functional import (
    AMPLITUDE_SD,
    AUTOREGRESSION,
    BASELINE,
    BOLD_NOISE,
    FLUCTUATION,
    VOLUMES,
    make_bold,
    make_components,
    make_networks,
)
from neurostrata.simulation.images.templates import load_templates
from neurostrata.simulation.people.people import Settings, make_people

SETTINGS = Settings(people=120, components=4, bold=True, bold_resolution_mm=12.0, diagnosis_effect=1.0)


@pytest.fixture(scope="module")
def networks():
    return make_networks(load_templates(), SETTINGS)


@pytest.fixture(scope="module")
def people():
    return make_people(SETTINGS)


@pytest.fixture(scope="module")
def components(networks, people):
    share = np.mean([person.patient for person in people])
    return [make_components(person, SETTINGS, networks, share) for person in people]


def test_components_are_mirrored_apart_and_in_the_brain(networks):
    """The peak of each is about where it is said to be, on both sides."""
    assert networks.maps.shape == (*networks.brain.shape, 4)
    assert not networks.maps[~networks.brain].any()
    for centre, values in zip(networks.centres, np.moveaxis(networks.maps, -1, 0)):
        assert 0.7 < values.max() <= 1
        for side in (centre, centre * [-1, 1, 1]):
            index = np.linalg.inv(networks.affine)[:3] @ [*side, 1]
            assert values[tuple(np.round(index).astype(int))] > 0.7 * values.max()
    apart = np.linalg.norm(networks.centres[:, None] - networks.centres[None], axis=2)
    assert apart[np.triu_indices(4, 1)].min() > 40
    x = networks.affine[0, 0] * np.arange(networks.brain.shape[0]) + networks.affine[0, 3]
    assert x.mean() == pytest.approx(load_templates().coordinates()[0].mean(), abs=1e-6)


def test_a_third_of_the_components_differs_between_patients_and_controls(networks, components, people):
    assert networks.effects == pytest.approx([-0.3, -0.3, 0, 0])
    amplitudes = np.stack([found.amplitudes for found in components])
    patient = np.array([person.patient for person in people])
    np.testing.assert_allclose(amplitudes.mean(axis=0), 1, atol=0.06)
    difference = amplitudes[patient].mean(axis=0) - amplitudes[~patient].mean(axis=0)
    np.testing.assert_allclose(difference, networks.effects, atol=0.11)
    within = [amplitudes[chosen].std(axis=0) for chosen in (patient, ~patient)]
    assert np.mean(within) == pytest.approx(AMPLITUDE_SD, rel=0.1)


def test_amplitudes_of_the_truth_are_those_of_the_maps(networks, components):
    design = networks.maps[networks.brain]
    found = np.stack([np.linalg.lstsq(design, one.maps[networks.brain], rcond=None)[0] for one in components])
    amplitudes = np.stack([one.amplitudes for one in components])
    for number in range(4):
        assert np.corrcoef(found[:, number, number], amplitudes[:, number])[0, 1] > 0.95
        assert found[:, number, number].mean() == pytest.approx(1, abs=0.1)
    assert not any(one.maps[~networks.brain].any() for one in components)


def test_a_series_is_made_of_the_maps_and_the_time_courses(networks, components, people):
    person = next(person for person in people if not person.bad_scan)
    series, courses = make_bold(person, SETTINGS, networks, components[person.number])
    assert series.shape == (*networks.brain.shape, VOLUMES)
    assert not series[~networks.brain].any()
    np.testing.assert_allclose(courses.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(courses.std(axis=0), 1)
    values = series[networks.brain].astype(float).T
    design = np.column_stack([courses, np.ones(VOLUMES)])
    weights, _, _, _ = np.linalg.lstsq(design, values, rcond=None)
    wanted = FLUCTUATION * components[person.number].maps[networks.brain]
    assert (weights[:4].T - wanted).std() < 0.05 * wanted.max()
    assert np.ptp(weights[4]) < 0.01 * BASELINE
    assert weights[4].mean() == pytest.approx(BASELINE, rel=0.35)
    assert (values - design @ weights).std() == pytest.approx(BOLD_NOISE, rel=0.05)


def test_noise_of_a_series_is_larger_with_motion_and_can_be_left_out(networks, components, people):
    def change(person, noise):
        made = make_bold(person, replace(SETTINGS, noise=noise), networks, components[person.number])[0]
        clean = make_bold(person, replace(SETTINGS, noise=0.0), networks, components[person.number])[0]
        return float((made.astype(float) - clean)[networks.brain].std())

    still = replace(people[0], bad_scan=False)
    moving = replace(people[0], bad_scan=True)
    assert change(still, 0.0) == 0
    assert change(still, 1.0) == pytest.approx(BOLD_NOISE, rel=0.03)
    assert change(still, 2.0) == pytest.approx(2 * BOLD_NOISE, rel=0.03)
    assert change(moving, 1.0) == pytest.approx(3 * BOLD_NOISE, rel=0.03)


def test_time_courses_are_autocorrelated_and_independent(networks, components, people):
    every = [make_bold(person, SETTINGS, networks, components[person.number])[1] for person in people[:20]]
    neighbours = [np.corrcoef(course[1:], course[:-1])[0, 1] for one in every for course in one.T]
    assert np.mean(neighbours) == pytest.approx(AUTOREGRESSION, abs=0.05)
    between = [np.corrcoef(one.T)[np.triu_indices(4, 1)] for one in every]
    assert abs(np.mean(between)) < 0.05
