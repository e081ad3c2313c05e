"""Further contrasts, lesions, and what a planted diagnosis does to a brain."""

from dataclasses import replace

import numpy as np
import pytest

from neurostrata.simulation.images.anatomy import Head, make_anatomy
from neurostrata.simulation.images.contrasts import contrast_scan, lesion_mask, make_contrast, make_lesions
from neurostrata.simulation.images.diffusion import density_change, make_microstructure
from neurostrata.simulation.images.regions import make_regions
from neurostrata.simulation.images.t1w import make_t1w
from neurostrata.simulation.images.templates import load_templates
from neurostrata.simulation.people import effects
from neurostrata.simulation.people.people import Settings, make_people

SETTINGS = Settings(
    people=12,
    seed=7,
    resolution_mm=3.0,
    contrasts=("t2w", "flair"),
    lesions=True,
    diagnosis_effect=1.0,
    diffusion=False,
)


@pytest.fixture(scope="module")
def head():
    templates = load_templates()
    regions = make_regions(templates)
    planted = effects.plant(regions, np.array([6, 4, 2]), 1.0)
    return Head(templates, regions, effects.plant_diagnosis(planted, regions, [True] * 3 + [False] * 9, 1.0))


@pytest.fixture(scope="module")
def person():
    """Somebody with a good scan, whose lesions are drawn below."""
    return next(p for p in make_people(SETTINGS) if not p.bad_scan and p.site == 0)


@pytest.fixture(scope="module")
def brain(head, person):
    return make_anatomy(person, SETTINGS.seed, head)


@pytest.fixture(scope="module")
def lesions(head, person, brain):
    """The first person numbers' lesions that there are any of."""
    drawn = (make_lesions(replace(person, number=k), SETTINGS.seed, head, brain) for k in range(20))
    return next(found for found in drawn if len(found.radii) >= 4)


def test_some_people_have_lesions_and_older_ones_more(head, person, brain):
    def count(age, number):
        found = make_lesions(replace(person, age=age, number=number), SETTINGS.seed, head, brain)
        return len(found.radii)

    young, old = ([count(age, k) for k in range(24)] for age in (22.0, 68.0))
    assert 0.3 < np.mean(np.array(young) > 0) < 0.9
    assert np.mean(old) > np.mean(young) + 1


def test_lesions_lie_in_white_matter(head, brain, lesions):
    inside = lesions.fraction > 0.5
    assert inside.sum() > 30
    assert brain.tissues[0][inside].min() > 0.5
    assert lesions.fraction.min() >= 0
    assert lesions.fraction.max() <= 1
    for centre in lesions.centres:
        index = np.linalg.inv(head.templates.affine)[:3] @ [*centre, 1]
        assert brain.tissues[0][tuple(np.round(index).astype(int))] > 0.8


def test_lesions_are_bright_where_the_mask_says_and_nothing_else_is(head, person, brain, lesions):
    scan = contrast_scan(SETTINGS, head, brain)
    t1w, mask, _ = make_t1w(person, SETTINGS, head, brain, lesions.fraction)
    inside = lesion_mask(lesions, scan, mask) > 0
    assert inside.sum() > 15
    white = scan.image(scan.average(brain.tissues[0])) > 0.9
    healthy = white & (scan.image(scan.average(lesions.fraction)) == 0)
    fluid = scan.image(scan.average(brain.tissues[2])) > 0.9
    images = {
        name: make_contrast(name, person, SETTINGS, head, brain, lesions, scan, mask)
        for name in ("t2w", "flair")
    }
    for name, image in images.items():
        assert image.dtype == np.int16
        assert not image[mask == 0].any()
        without = make_contrast(name, person, SETTINGS, head, brain, None, scan, mask)
        # brighter than nearly all of the healthy white matter, and than itself without a lesion
        assert np.percentile(image[inside], 10) > np.percentile(image[healthy], 99)
        assert (image[inside].mean() - without[inside].mean()) > 200
        assert np.abs(image[healthy].astype(float) - without[healthy]).max() < 1
    assert images["t2w"][fluid].mean() > 2 * images["t2w"][healthy].mean()
    assert images["flair"][fluid].mean() < 0.6 * images["flair"][healthy].mean()
    # what tells a lesion from CSF: FLAIR
    assert np.percentile(images["flair"][inside], 10) > np.percentile(images["flair"][fluid], 99)
    assert t1w[inside].mean() < t1w[healthy].mean() - 100


def test_a_diagnosis_changes_the_regions_it_is_planted_in(head, person):
    """The same person, once as a control and once as a patient."""
    twins = [replace(person, patient=sick) for sick in (False, True)]
    growth, planted = [], head.planted
    for twin in twins:
        growth.append(head.regions.means(make_anatomy(twin, SETTINGS.seed, head).log_jacobian))
    found = growth[1] - growth[0]
    wanted = planted.diagnosis_growth[1] - planted.diagnosis_growth[0]
    wanted = wanted - np.average(wanted, weights=head.regions.sizes())  # head size stays
    hit = planted.diagnosis_growth[1] != 0
    assert hit.sum() == 4
    assert np.corrcoef(found, wanted)[0, 1] > 0.95
    np.testing.assert_allclose(found[hit], wanted[hit], rtol=0.35)

    common = make_microstructure(head.templates)
    density = [density_change(twin, SETTINGS, head, common) for twin in twins]
    found = head.regions.means(density[1] - density[0])
    np.testing.assert_allclose(found, planted.diagnosis_density[1] - planted.diagnosis_density[0], atol=1e-4)
    assert (planted.diagnosis_density[1] != 0).sum() == 4


def test_the_diagnosis_is_centred_over_people(head):
    share = 3 / 12
    for shifts in (head.planted.diagnosis_growth, head.planted.diagnosis_density):
        np.testing.assert_allclose((1 - share) * shifts[0] + share * shifts[1], 0, atol=1e-12)


def test_without_an_effect_nothing_is_planted(head):
    plain = effects.plant(head.regions, np.array([6, 4, 2]), 1.0)
    assert effects.plant_diagnosis(plain, head.regions, [True, False], 0.0) is plain
