"""What surrounds an engine: where it begins, what it is given, and which results are refused. No engine runs here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, Image, apply_affine
from neurostrata.imaging.registration import chain
from neurostrata.imaging.registration.chain import (
    Registration,
    balance,
    centre_of_mass_shift,
    register_images,
    scaling,
    similarity,
)
from neurostrata.imaging.registration.engines import RegistrationJob
from neurostrata.imaging.registration.transforms import (
    Displacement,
    read_affine,
    write_affine,
    write_displacement,
)

FIXED = Grid((12, 14, 10), np.array([[2.0, 0, 0, -10], [0, 2, 0, -8], [0, 0, 2, -6], [0, 0, 0, 1]]))
MOVING = Grid((20, 12, 16), np.array([[0, -1.5, 0, 30], [1, 0, 0, 5], [0, 0, 2, -9], [0, 0, 0, 1.0]]))
SETTINGS: dict[str, Any] = {"engine": "none", "balance": False, "none": {"speed": 3}}


def spot(grid: Grid, *place: int) -> Image:
    """An image with one bright cube of three voxels a side around a voxel."""
    data = np.zeros(grid.shape, np.float32)
    data[tuple(slice(n - 1, n + 2) for n in place)] = 50
    return Image(data, grid)


def waves(grid: Grid) -> Displacement:
    return Displacement(np.sin(grid.points()[..., [1, 2, 0]] / 5).astype(np.float32), grid)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[RegistrationJob]]:
    """Let an engine return these transforms; the jobs that it was given are noted."""

    def install(affine: np.ndarray, warp: Displacement) -> list[RegistrationJob]:
        jobs: list[RegistrationJob] = []

        def run(job: RegistrationJob) -> None:
            jobs.append(job)
            given.append((read_affine(job.initial), nib.load(job.fixed), nib.load(job.moving).get_fdata()))
            given.append(None if job.fixed_mask is None else nib.load(job.fixed_mask).get_fdata())
            write_affine(job.affine, affine)
            write_displacement(job.warp, warp)
            if job.inverse_warp is not None:
                write_displacement(job.inverse_warp, warp)

        monkeypatch.setattr(chain, "load_engine", lambda name: run)
        return jobs

    given: list[Any] = []
    install.given = given  # type: ignore[attr-defined]
    return install


def test_an_engine_begins_with_the_centres_on_each_other(engine: Any) -> None:
    fixed, moving = spot(FIXED, 5, 6, 4), spot(MOVING, 9, 3, 8)
    shift = centre_of_mass_shift(fixed, moving)
    places = apply_affine(FIXED.affine, np.array([5, 6, 4])), apply_affine(MOVING.affine, np.array([9, 3, 8]))
    np.testing.assert_allclose(shift[:3, :3], np.eye(3))
    np.testing.assert_allclose(apply_affine(shift, places[0]), places[1], atol=1e-4)
    affine = np.diag([1.1, 0.9, 1, 1])
    affine[:3, 3] = 3, -2, 1
    jobs = engine(affine, waves(FIXED))
    mask = fixed.data > 0
    found = register_images(fixed, moving, SETTINGS, seed=7, threads=2, fixed_mask=mask, label="01")
    (job,) = jobs
    assert (job.seed, job.threads, job.options, job.steps, job.coarse) == (7, 2, {"speed": 3}, "all", False)
    (initial, there, data), inside = engine.given
    np.testing.assert_allclose(initial, shift, atol=1e-6)
    np.testing.assert_allclose(there.affine, FIXED.affine)
    np.testing.assert_array_equal(data, moving.data)
    np.testing.assert_array_equal(inside > 0, mask)
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)
    assert found.warp is not None
    assert found.inverse_warp is not None
    np.testing.assert_allclose(found.warp.vectors, waves(FIXED).vectors, atol=1e-5)
    assert not job.folder.exists()


def test_what_is_asked_for_is_what_is_made(engine: Any) -> None:
    fixed, moving = spot(FIXED, 5, 6, 4), spot(MOVING, 9, 3, 8)
    jobs = engine(np.eye(4), waves(FIXED))
    start = np.diag([1, 1, 1.2, 1])
    linear = register_images(fixed, moving, SETTINGS, initial=start, steps="linear", coarse=True)
    assert (linear.warp, linear.inverse_warp) == (None, None)
    assert (jobs[0].steps, jobs[0].coarse) == ("linear", True)
    assert (jobs[0].inverse_warp, jobs[0].fixed_mask) == (None, None)
    np.testing.assert_allclose(engine.given[0][0], start, atol=1e-6)
    forward = register_images(fixed, moving, SETTINGS, inverse=False)
    assert forward.warp is not None
    assert (forward.inverse_warp, jobs[1].inverse_warp) == (None, None)


@pytest.mark.parametrize(("factor", "usable"), [(0.36, False), (0.38, True), (2.7, True), (2.8, False)])
def test_affines_that_no_two_brains_have_are_refused(factor: float, usable: bool, engine: Any) -> None:
    """Volumes that differ by a factor of 20."""
    engine(np.diag([factor, factor, factor, 1]), waves(FIXED))
    images = spot(FIXED, 5, 6, 4), spot(MOVING, 9, 3, 8)
    if usable:
        register_images(*images, SETTINGS, label="07")
        return
    with pytest.raises(
        UserError, match=r"^subject 07: the registration failed: its affine is unusable; look at"
    ):
        register_images(*images, SETTINGS, label="07")


def test_a_warp_with_gaps_is_refused(engine: Any) -> None:
    broken = waves(FIXED)
    broken.vectors[3, 3, 3, 1] = np.nan
    engine(np.eye(4), broken)
    with pytest.raises(UserError, match=r"^the registration failed: its warp has NaN"):
        register_images(spot(FIXED, 5, 6, 4), spot(MOVING, 9, 3, 8), SETTINGS)


def test_a_folder_that_engines_cannot_name_is_refused(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(np.eye(4), waves(FIXED))
    (tmp_path / "my scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "my scratch"))
    with pytest.raises(UserError, match="has a space, comma or bracket; set TMPDIR"):
        register_images(spot(FIXED, 5, 6, 4), spot(MOVING, 9, 3, 8), SETTINGS)


def test_the_result_is_balanced_where_it_is_asked_for(engine: Any) -> None:
    """In the given mask; the fixed image's foreground without one."""
    points = FIXED.points()
    larger = Displacement((0.05 * points + np.sin(points[..., [1, 2, 0]] / 5)).astype(np.float32), FIXED)
    engine(np.eye(4), larger)
    fixed = Image(np.full(FIXED.shape, 9, np.float32), FIXED)
    whole, half = np.ones(FIXED.shape, bool), np.ones(FIXED.shape, bool)
    half[:6] = False
    for given, mask in ((None, whole), (half, half)):
        found = register_images(
            fixed, fixed, {**SETTINGS, "balance": True}, inverse=False, balance_mask=given
        )
        expected = balance(Registration(np.eye(4), larger, None), mask)
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-6)
    few = np.zeros(FIXED.shape, bool)
    few.flat[:99] = True
    unbalanced = Registration(np.eye(4), larger, None)
    assert balance(unbalanced, few) is unbalanced


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_scaling_leaves_the_centre_of_its_mask_in_place(factor: float) -> None:
    mask = spot(MOVING, 9, 3, 8).data > 0
    matrix = scaling(factor, MOVING, mask)
    centre = apply_affine(MOVING.affine, np.argwhere(mask)).mean(axis=0)
    np.testing.assert_allclose(apply_affine(matrix, centre), centre)
    np.testing.assert_allclose(
        apply_affine(matrix, centre + np.array([1, 2, 3])), centre + factor * np.array([1, 2, 3])
    )


def test_similarity_is_the_correlation_in_the_mask() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 6, 7, 8))
    mask = rng.random((6, 7, 8)) > 0.5
    expected = np.corrcoef(first[mask], second[mask])[0, 1]
    assert similarity(first, second, mask) == pytest.approx(expected)
    assert similarity(first, 3 - 2 * first, mask) == pytest.approx(-1)
    assert similarity(first, np.ones_like(first), mask) == 0
    assert similarity(np.ones_like(first), first, mask) == 0
    one = np.zeros_like(mask)
    one[0, 0, 0] = True
    assert similarity(first, second, one) == 0
    one[0, 0, 1] = True
    assert abs(similarity(first, second, one)) == pytest.approx(1)
