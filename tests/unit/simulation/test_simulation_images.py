"""Simulated brains: known volume changes, known microstructure, known transforms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.simulation.images.anatomy import Head, make_anatomy
from neurostrata.simulation.images.diffusion import SNR, make_diffusion, make_microstructure
from neurostrata.simulation.images.diffusion_signal import demo_scheme, noddi_signal
from neurostrata.simulation.images.regions import VENTRICLES, make_regions
from neurostrata.simulation.images.scan import scan_grid
from neurostrata.simulation.images.t1w import make_t1w
from neurostrata.simulation.images.templates import SPACING_MM, load_templates
from neurostrata.simulation.images.velocity import sample
from neurostrata.simulation.people import effects
from neurostrata.simulation.people.people import Person, Settings, make_people
from neurostrata.simulation.truth import log_det_linear_part, regional_truth

SIZES = np.array([12, 7, 5])
SETTINGS = Settings(people=6, seed=7, resolution_mm=4.0, dwi_resolution_mm=8.0, directions=12)


def head_with(effect: float) -> Head:
    templates = load_templates()
    regions = make_regions(templates)
    return Head(templates, regions, effects.plant(regions, SIZES, effect))


@pytest.fixture(scope="module")
def head():
    return head_with(1.0)


@pytest.fixture(scope="module")
def person() -> Person:
    return make_people(SETTINGS)[0]


@pytest.fixture(scope="module")
def brains(head, person):
    """The same person once in the first and once in the last stratum."""
    return [make_anatomy(replace(person, label=label), SETTINGS.seed, head) for label in (0, 2)]


def test_regions_are_large_mirrored_and_named(head):
    regions, labels = head.regions, head.regions.labels
    assert len(regions.names) == 19
    assert regions.sizes().min() >= 200
    assert regions.sizes().sum() == int((head.templates.brain > 0.5).sum())
    x = head.templates.coordinates()[0]
    for position, name in enumerate(regions.names):
        side = x[labels == position + 1]
        if name == VENTRICLES:
            assert abs(side.mean()) < 3
        else:
            assert (side <= 0).all() if name.startswith("left") else (side > 0).all()
    assert head.templates.csf[labels == 1].mean() > 0.6


def test_planted_differences_are_centred_over_people(head):
    for values in (head.planted.growth, head.planted.density):
        np.testing.assert_allclose(SIZES @ values, 0, atol=1e-12)
        assert (np.ptp(values, axis=0) > 0.05).sum() >= 18


def test_a_smooth_map_has_the_regional_means_asked_for(head):
    values = np.linspace(-0.3, 0.4, len(head.regions.names))
    np.testing.assert_allclose(head.regions.means(head.smooth_map(values)), values, atol=1e-4)


def test_deformations_do_not_fold(brains):
    for brain in brains:
        assert np.isfinite(brain.log_jacobian).all()  # the log of a determinant that is positive everywhere
        assert np.abs(brain.displacement).max() > 2.0


def test_the_jacobian_is_the_change_of_volume(head, brains):
    """Count the voxels that come out of a region, and compare with the sum of its determinants."""
    index = np.indices(head.templates.shape, dtype=np.float32)
    for brain in brains:
        moved = index + brain.inverse / np.float32(SPACING_MM)
        truth = regional_truth(brain, head, None)
        for position in range(len(head.regions.names)):
            region = (head.regions.labels == position + 1).astype(np.float32)
            counted = sample(region, moved).sum() / region.sum()
            assert np.log(counted) == pytest.approx(truth.volume[position], abs=0.02)


def test_strata_differ_by_what_was_planted(head, brains):
    """Only the label differs between the two brains, so the rest of the deformation cancels."""
    first, last = (regional_truth(brain, head, None) for brain in brains)
    measured = last.log_jacobian - first.log_jacobian
    planted = head.planted.growth[2] - head.planted.growth[0]
    assert np.corrcoef(measured, planted)[0, 1] > 0.97
    slope = np.polyfit(planted, measured, 1)[0]
    assert 0.8 < slope < 1.15


def test_without_effect_the_stratum_changes_nothing(person):
    flat = head_with(0.0)
    assert not flat.planted.growth.any()
    assert not flat.planted.density.any()
    one, other = (make_anatomy(replace(person, label=label), SETTINGS.seed, flat) for label in (0, 2))
    np.testing.assert_array_equal(one.displacement, other.displacement)
    images = [
        make_t1w(replace(person, label=label), SETTINGS, flat, brain)[0]
        for label, brain in ((0, one), (2, other))
    ]
    np.testing.assert_array_equal(*images)


def test_too_large_an_effect_is_refused(person):
    with pytest.raises(UserError, match="smaller --effect"):
        make_anatomy(person, SETTINGS.seed, head_with(40.0))


def test_points_go_to_the_image_and_back(head, brains):
    """x -> A(x + u(x)), then back by what the images are sampled with."""
    brain, templates = brains[0], head.templates
    inside = np.argwhere(templates.brain > 0.5)[::997].T
    x = templates.coordinates()[:, inside[0], inside[1], inside[2]]
    moved = x + brain.displacement[:, inside[0], inside[1], inside[2]]
    points = brain.affine[:3, :3] @ moved + brain.affine[:3, 3:]
    back = brain.to_template(points, templates)
    error = np.linalg.norm((back - inside) * SPACING_MM, axis=0)
    assert error.mean() < 0.1
    assert error.max() < 0.5


def test_the_nearest_affine_map_of_an_affine_map_is_itself(head):
    matrix = np.array([[1.05, 0.02, 0.0], [0.0, 0.97, 0.01], [0.03, 0.0, 1.1]])
    points = head.templates.coordinates()
    displacement = np.einsum("ij,jxyz->ixyz", matrix - np.eye(3), points) + 3.0
    assert log_det_linear_part(displacement, head) == pytest.approx(np.log(np.linalg.det(matrix)), abs=1e-4)


def test_a_t1w_image_shows_a_brain(head, brains, person):
    image, mask, _ = make_t1w(person, SETTINGS, head, brains[0])
    assert image.shape == mask.shape == scan_grid(4.0)[0]
    assert not image[mask == 0].any()
    volume = mask.sum() * 4.0**3 / 1e6
    expected = (head.templates.brain * np.exp(brains[0].log_jacobian)).sum() * 8.0 / 1e6
    expected *= np.linalg.det(brains[0].affine[:3, :3])
    assert volume == pytest.approx(expected, rel=0.02)
    # nothing of the head is outside the scan
    for axis in range(3):
        assert not np.take(mask, [0, -1], axis=axis).any()
    # bright and dark tissue far apart, and noise on top of a noise-free image
    deep = ndimage.binary_erosion(mask, iterations=2)
    low, high = np.percentile(image[deep], [5, 95])
    assert high > 1.3 * low
    clean = make_t1w(person, replace(SETTINGS, noise=0.0), head, brains[0])[0]
    assert np.corrcoef(image[deep], clean[deep])[0, 1] > 0.7
    assert not np.array_equal(image, clean)


def test_a_bad_scan_is_worse(head, brains, person):
    clean = make_t1w(person, replace(SETTINGS, noise=0.0), head, brains[0])[0].astype(float)
    good, mask, _ = make_t1w(person, SETTINGS, head, brains[0])
    bad = make_t1w(replace(person, bad_scan=True), SETTINGS, head, brains[0])[0]
    inside = mask > 0
    correlation = [np.corrcoef(scan[inside], clean[inside])[0, 1] for scan in (good, bad)]
    assert correlation[1] < correlation[0] - 0.1


@pytest.fixture(scope="module")
def diffusion(head, brains, person):
    common = make_microstructure(head.templates)
    scheme = demo_scheme(SETTINGS.directions, seed=1)
    quiet = replace(SETTINGS, noise=0.0)
    return scheme, [
        make_diffusion(person, settings, head, common, brains[0], scheme) for settings in (quiet, SETTINGS)
    ]


def test_diffusion_maps_are_in_range_with_real_spread(diffusion):
    _, (clean, noisy) = diffusion
    inside = clean.mask > 0
    for values in clean.maps.values():
        assert values[inside].min() >= 0
        assert values[inside].max() <= 1
        assert not values[~inside].any()
    tissue = inside & (clean.maps["fwf"] < 0.5)
    assert tissue.sum() > 0.9 * inside.sum()
    assert clean.maps["ndi"][tissue].std() >= 0.1  # at 8 mm; at 4 mm it is 0.13 and more
    assert np.percentile(clean.maps["fa"][inside], 98) > 0.4
    assert np.array_equal(clean.mask, noisy.mask)
    np.testing.assert_array_equal(clean.maps["fa"], noisy.maps["fa"])


def test_noise_free_signals_follow_the_model_of_the_maps(diffusion):
    """Averaged over directions the signal does not depend on the fibres' direction."""
    (bvals, bvecs), (clean, _) = diffusion
    inside = clean.mask > 0
    ndi, odi, fwf = (clean.maps[name][inside].astype(float) for name in ("ndi", "odi", "fwf"))
    model = noddi_signal(bvals, bvecs, ndi, odi, fwf, np.tile([1.0, 0.0, 0.0], (len(ndi), 1)))
    measured = clean.dwi[inside] / clean.dwi[inside][:, :1]
    for shell in (1000.0, 2000.0):
        chosen = bvals == shell
        difference = measured[:, chosen].mean(axis=1) - model[:, chosen].mean(axis=1)
        assert np.abs(difference).mean() < 0.01


def test_the_noise_is_as_stated(diffusion):
    (bvals, _), (clean, noisy) = diffusion
    inside = clean.mask > 0
    difference = (noisy.dwi[inside].astype(float) - clean.dwi[inside])[:, bvals == 0]
    gain = clean.dwi[inside][:, 0].min() / 1000.0  # white matter has the lowest b = 0 signal
    assert difference.std() == pytest.approx(1000.0 * gain / SNR, rel=0.05)


def test_the_offset_is_rigid_and_known(diffusion, head, brains):
    _, (clean, _) = diffusion
    rotation = clean.from_t1w[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.abs(clean.from_t1w - np.eye(4)).max() > 0.01
    # the centre of the brain in both scans
    shape, affine = scan_grid(8.0)
    assert clean.mask.shape == shape
    middle = affine[:3, :3] @ np.argwhere(clean.mask > 0).mean(axis=0) + affine[:3, 3]
    _, mask, t1w_affine = make_t1w(
        make_people(SETTINGS)[0], replace(SETTINGS, resolution_mm=8.0), head, brains[0]
    )
    here = t1w_affine[:3, :3] @ np.argwhere(mask > 0).mean(axis=0) + t1w_affine[:3, 3]
    moved = clean.from_t1w[:3, :3] @ here + clean.from_t1w[:3, 3]
    assert np.linalg.norm(moved - middle) < 0.5
    assert np.linalg.norm(here - middle) > 0.5
