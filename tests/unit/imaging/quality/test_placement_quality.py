"""Measures of a registration: pose, deformation, likeness and overlap with the template."""

from __future__ import annotations

import numpy as np
import pytest
from quality_phantoms import LEVELS, brain

from neurostrata.imaging.anatomy.jacobian import nonlinear_jacobian
from neurostrata.imaging.images.io import Grid, Image
from neurostrata.imaging.quality.placement import (
    Template,
    contrast,
    local_likeness,
    placement_measures,
    tissue_overlap,
)
from neurostrata.imaging.registration.transforms import Displacement


def turned(degrees: float, stretch: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] = matrix[:3, :3] @ np.diag(stretch)
    matrix[:3, 3] = [5, -80, 12]
    return matrix


def waves(grid: Grid, height_mm: float) -> Displacement:
    x = grid.points()[..., 0]
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[..., 0] = height_mm * np.sin(x / 10)
    return Displacement(vectors, grid)


def person(affine: np.ndarray, height_mm: float, moved: int = 0) -> dict[str, float]:
    data, tissue, mask, grid = brain()
    priors = tuple((tissue == number).astype(np.float32) for number in (1, 2, 0))
    template = Template(Image(np.where(mask, LEVELS[tissue], 0), grid), mask, priors)
    warp = waves(grid, height_mm)
    return placement_measures(affine, warp, np.roll(data, moved, axis=0), nonlinear_jacobian(warp), template)


def test_pose_and_size_come_from_the_affine_alone() -> None:
    straight, tilted = person(turned(0), 1.0), person(turned(40, (1.1, 1.0, 1.0)), 1.0)
    assert straight["rotation"] == pytest.approx(0, abs=1e-3)
    assert tilted["rotation"] == pytest.approx(40, abs=1e-3)
    assert (tilted["shear"], tilted["size"]) == (pytest.approx(1.1), pytest.approx(1.1))
    same = {name for name in straight if straight[name] == tilted[name]}
    assert set(straight) - same == {"rotation", "shear", "size"}


def test_a_rough_deformation_is_seen_in_its_determinants() -> None:
    smooth, rough = person(turned(0), 0.5), person(turned(0), 12.0)
    assert smooth["folded"] == 0
    # 1 + 1.2 cos(x / 10) is below 0 in a fifth of a period
    assert rough["folded"] == pytest.approx(0.187, abs=0.04)
    assert rough["warp"] == pytest.approx(24 * smooth["warp"], rel=1e-3)
    assert smooth["jacobian_low"] == pytest.approx(0.95, abs=0.005)
    assert smooth["jacobian_high"] == pytest.approx(1.05, abs=0.005)
    assert rough["warp_spread"] > 10 * smooth["warp_spread"]


def test_a_misplaced_brain_is_unlike_the_template() -> None:
    right, wrong = person(turned(0), 0.5), person(turned(0), 0.5, moved=3)
    assert right["similarity"] > 0.95
    assert right["local_similarity"] > 0.8
    assert min(right["grey_overlap"], right["white_overlap"]) > 0.75
    for name in ("similarity", "local_similarity", "grey_overlap", "white_overlap", "cnr"):
        assert wrong[name] < 0.8 * right[name], name


def test_a_damaged_part_is_seen_locally() -> None:
    data, tissue, mask, grid = brain()
    priors = tuple((tissue == number).astype(np.float32) for number in (1, 2, 0))
    template = Template(Image(np.where(mask, LEVELS[tissue], 0), grid), mask, priors)
    hurt = data.copy()
    hurt[24:34, 14:26, 18:30] = 65
    warp = waves(grid, 0.5)
    found = [
        placement_measures(np.eye(4), warp, one, nonlinear_jacobian(warp), template) for one in (data, hurt)
    ]
    assert found[0]["similarity"] - found[1]["similarity"] < 0.05
    assert found[0]["local_similarity"] - found[1]["local_similarity"] > 0.1


def test_tissue_is_found_whatever_the_unit() -> None:
    data, tissue, mask, _ = brain()
    priors = [(tissue == number).astype(np.float32) for number in (1, 2, 0)]
    assert tissue_overlap(data, priors, mask) == pytest.approx(tissue_overlap(1000 * data, priors, mask))


def test_contrast_is_that_of_the_tissues() -> None:
    rng = np.random.default_rng(0)
    grey = np.zeros((20, 20, 20), np.float32)
    grey[:10] = 1
    image = np.where(grey > 0, rng.normal(60, 4, grey.shape), rng.normal(100, 3, grey.shape))
    found = contrast(image, grey, 1 - grey)
    assert found == {
        "snr": pytest.approx(100 / 3, rel=0.05),
        "cnr": pytest.approx(40 / 5, rel=0.05),
        "cjv": pytest.approx(7 / 40, rel=0.05),
    }
    assert all(np.isnan(value) for value in contrast(image, 0 * grey, grey).values())


def test_likeness_has_no_units() -> None:
    data, _, mask, grid = brain(noise=0.05)
    template = Image(brain()[0], grid)
    found = local_likeness(data, template, mask)
    assert 0.3 < found < 0.999
    for scale in (1e-3, 1e3):
        assert local_likeness(scale * data, template, mask) == pytest.approx(found, abs=1e-4)


def test_tissues_of_one_intensity_have_no_noise_to_compare_with() -> None:
    grey = np.zeros((10, 10, 10), np.float32)
    grey[:5] = 1
    image = np.where(grey > 0, 60.0, 80.0)
    assert all(np.isnan(value) for value in contrast(image, grey, 1 - grey).values())
