"""Each fault of a scan moves its own measure, and hardly the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from quality_phantoms import LEVELS, brain
from scipy import ndimage

from neurostrata.imaging.images.io import Grid, Image
from neurostrata.imaging.quality.ghosts import _mean_around, ghosting
from neurostrata.imaging.quality.placement import dice, mask_cut
from neurostrata.imaging.quality.registry import MEASURES
from neurostrata.imaging.quality.scan import cut_off, scan_measures, sharpness, tissue_level

Scan = tuple[np.ndarray, np.ndarray, np.ndarray]


def measured(scan: Scan, tissue: np.ndarray, brain_of_template: np.ndarray, grid: Grid) -> dict[str, float]:
    raw, prepared, mask = scan
    template = np.where(tissue >= 0, np.array([10.0, 60.0, 80.0])[tissue], 0)
    return {
        **scan_measures(raw, Image(prepared, grid), mask),
        # up to 5 is chance
        "ghosting": max(5.0, ghosting(prepared, template, mask, grid.spacing)),
        "mask_overlap": dice(mask, brain_of_template),
        "mask_cut": mask_cut(mask, template, grid.spacing),
    }


def sound(data: np.ndarray, mask: np.ndarray) -> Scan:
    return data, data, mask


def noisy(data: np.ndarray, mask: np.ndarray) -> Scan:
    worse = np.where(mask, data + np.random.default_rng(1).normal(scale=8, size=data.shape), 0)
    return worse, worse, mask


def blurred(data: np.ndarray, mask: np.ndarray) -> Scan:
    worse = np.where(mask, ndimage.gaussian_filter(data, 1.3), 0)
    return worse, worse, mask


def ghosted(data: np.ndarray, mask: np.ndarray) -> Scan:
    worse = np.where(mask, data + 0.12 * (np.roll(data, 15, axis=1) + np.roll(data, -15, axis=1)), 0)
    return worse, worse, mask


def cropped(data: np.ndarray, mask: np.ndarray) -> Scan:
    kept = mask.copy()
    kept[:, :, 36:] = False
    return data * kept, data * kept, kept


def wrong_mask(data: np.ndarray, mask: np.ndarray) -> Scan:
    kept = mask & ndimage.shift(mask.astype(float), (9, 0, 4), order=0).astype(bool)
    return data * kept, data * kept, kept


def uneven(data: np.ndarray, mask: np.ndarray) -> Scan:
    field = np.exp(np.linspace(-0.5, 0.5, data.shape[0]))[:, None, None]
    return data * field, data, mask


@pytest.mark.parametrize(
    ("fault", "moved", "may"),
    [
        (noisy, {"noise": 2.0}, ""),
        (blurred, {"sharpness": 0.85, "noise": 0.5, "mask_edge": 0.9}, "ghosting"),
        (ghosted, {"ghosting": 1.6}, ""),
        (cropped, {"cut_off": 2.0, "mask_overlap": 0.95, "brain_volume": 0.9}, "mask_cut"),
        (
            wrong_mask,
            {"mask_overlap": 0.95, "mask_edge": 1.03, "mask_cut": 1.05, "brain_volume": 0.9},
            "cut_off",
        ),
        (uneven, {"bias_spread": np.inf}, ""),
    ],
)
def test_a_fault_moves_its_own_measure(
    fault: Callable[[np.ndarray, np.ndarray], Scan], moved: dict[str, float], may: str
) -> None:
    """Every change is a factor: measures that are named change by at least so much; others get worse by less than 40%."""
    data, tissue, mask, grid = brain()
    before = measured(sound(data, mask), tissue, mask, grid)
    after = measured(fault(data, mask), tissue, mask, grid)
    for name, value in before.items():
        change = after[name] / value if value > 1e-6 else np.inf if after[name] > 0.1 else 1.0
        if name in moved:
            assert change >= moved[name] if moved[name] > 1 else change <= moved[name], (name, change)
        elif name != may:
            bad = MEASURES[name].bad
            assert change < 1.4 or bad == "low", (name, change)
            assert change > 0.7 or bad == "high", (name, change)


def test_an_oblique_cut_is_found() -> None:
    place = np.stack(np.meshgrid(*[np.arange(-36.0, 36.0)] * 3, indexing="ij"))
    whole = (place**2).sum(axis=0) < 32**2
    cut = whole & (place[2] + 0.3 * place[1] + 0.1 * place[0] < 22)
    spacing = np.full(3, 2.0)
    assert cut_off(whole, spacing) < 0.15
    assert cut_off(cut, spacing) > 0.3
    assert cut_off(np.kron(cut, np.ones((2, 2, 2), bool)), spacing / 2) == cut_off(cut, spacing)
    assert np.isnan(cut_off(np.zeros_like(whole), spacing))


@pytest.mark.parametrize(
    "spacing", [(0.8, 0.8, 0.8), (0.94, 0.94, 1.2), (1.4, 1.4, 1.4), (1, 1, 3), (3, 3, 3)]
)
def test_a_cut_end_has_its_share_of_the_largest_slice_in_voxels_of_any_size(
    spacing: tuple[float, ...],
) -> None:
    """A ball cut through its middle ends in its largest slice; half way up, in three quarters of it."""
    steps = np.array(spacing)
    sides = (100 / steps).astype(int)
    axes = [(np.arange(side) - (side - 1) / 2) * step for side, step in zip(sides, steps)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"))
    whole = (place**2).sum(axis=0) < 45**2
    assert cut_off(whole & (place[2] < 22.5), steps) == pytest.approx(0.75, abs=0.08)
    # and where the image itself ends
    half = whole[:, :, : int((axes[2] < 0).sum())]
    assert cut_off(half, steps) == pytest.approx(1, abs=0.03)


def test_noise_is_measured_in_shares_of_white_matter() -> None:
    data, _, mask, grid = brain(noise=0.05)
    assert scan_measures(data, Image(data, grid), mask)["noise"] == pytest.approx(0.05, rel=0.15)
    assert tissue_level(data, mask) == pytest.approx(LEVELS[2], rel=0.05)
    assert scan_measures(data, Image(7 * data, grid), mask)["noise"] == pytest.approx(0.05, rel=0.15)


def test_a_ghost_is_found_at_half_the_voxel_size() -> None:
    """Voxels are averaged to 2 mm: the same brain in voxels of 1 mm gives about the same number."""
    data, tissue, mask, grid = brain()
    template = np.where(tissue >= 0, LEVELS[tissue], 0)
    large = ghosted(data, mask)[0]
    small = [np.kron(part, np.ones((2, 2, 2))) for part in (large, template, mask)]
    expected = ghosting(large, template, mask, grid.spacing)
    assert expected > 8
    assert ghosting(small[0], small[1], small[2] > 0, grid.spacing / 2) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ghost_counts_alike_on_either_side(axis: int) -> None:
    data, tissue, mask, grid = brain()
    template = np.where(tissue >= 0, LEVELS[tissue], 0)
    ghosts = [
        ghosting(
            np.where(mask, data + 0.2 * np.roll(data, shift, axis=axis), 0), template, mask, grid.spacing
        )
        for shift in (15, -15)
    ]
    assert min(ghosts) > 8
    assert ghosts[0] == pytest.approx(ghosts[1], rel=0.1)


def test_what_the_template_has_as_well_is_no_ghost() -> None:
    data, tissue, mask, grid = brain()
    template = np.where(tissue >= 0, LEVELS[tissue], 0)
    worse = ghosted(data, mask)[0]
    explained = ghosting(worse, ghosted(template, mask)[0], mask, grid.spacing)
    assert explained < 0.6 * ghosting(worse, template, mask, grid.spacing)


def test_what_cannot_be_measured_is_nan() -> None:
    data, _, mask, grid = brain()
    few = np.zeros_like(mask)
    few[20:24, 20:24, 20:24] = True
    found = scan_measures(data, Image(data, grid), few)
    assert np.isnan([found["noise"], found["sharpness"], found["bias_spread"]]).all()
    assert np.isnan(ghosting(data, data, few, grid.spacing))
    assert set(found) <= set(MEASURES)


def test_means_around_a_voxel_are_of_the_brain_alone() -> None:
    """At its edge as well, whatever is outside."""
    places = np.indices((24, 24, 24)) - 11.5
    inside = (places**2).sum(axis=0) < 9**2
    found = _mean_around(np.where(inside, 7.0, 1000.0), inside, 3.0)
    np.testing.assert_allclose(found[inside], 7, rtol=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.0, 1.6)])
def test_noise_is_no_sharpness(spacing: tuple[float, ...]) -> None:
    """What noise of a known strength adds to the gradients is taken out."""
    rng = np.random.default_rng(4)
    data = 100 * ndimage.gaussian_filter(rng.normal(size=(50, 50, 50)), 2.5)
    mask = np.ones(data.shape, bool)
    sides = np.array(spacing)
    clean = sharpness(data, mask, sides)
    noise = data + rng.normal(scale=2, size=data.shape)
    assert sharpness(noise, mask, sides) > 1.1 * clean
    assert sharpness(noise, mask, sides, noise_sd=2) == pytest.approx(clean, rel=0.03)
