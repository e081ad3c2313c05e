"""Reading images with errors that a user can act on; what is brain before anything is registered."""

from __future__ import annotations

from pathlib import Path

import anatomy_phantoms as phantoms
import nibabel as nib
import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.imaging.anatomy.brain import initial_mask, looks_extracted
from neurostrata.imaging.images.io import (
    Grid,
    Image,
    axis_aligned_grid,
    centre_of_mass,
    is_skull_stripped,
    normalise_intensity,
    read_image,
    write_image,
)


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path


@pytest.fixture
def ramp() -> np.ndarray:
    return np.arange(12**3, dtype=np.float32).reshape(12, 12, 12)


def test_round_trip_keeps_values_grid_and_both_forms(tmp_path: Path) -> None:
    where = phantoms.grid(16, 2.5, degrees=20, axes="PSR")
    data = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    write_image(tmp_path / "a.nii.gz", data, where)
    again = read_image(tmp_path / "a.nii.gz")
    assert np.array_equal(again.data, data)
    assert again.grid.same_as(where)
    stored = nib.load(tmp_path / "a.nii.gz")
    assert np.allclose(stored.get_qform(), stored.get_sform(), atol=1e-4)
    assert (int(stored.header["qform_code"]), int(stored.header["sform_code"])) == (1, 1)


def test_grids_that_part_at_their_far_corner_differ() -> None:
    """Voxels 0.02% larger or turned by a hundredth of a degree: at the first voxels nothing is to be seen."""
    where = phantoms.grid(40, 2.5, degrees=20)
    larger = where.affine @ np.diag([1, 1, 1.0002, 1])
    assert not where.same_as(Grid(where.shape, larger))
    assert where.same_as(Grid(where.shape, larger), tolerance=0.05)
    turn = np.deg2rad(0.01)
    turned = where.affine @ np.array([[1, -turn, 0, 0], [turn, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert not where.same_as(Grid(where.shape, turned))
    assert not where.same_as(Grid((40, 40, 39), where.affine))


@pytest.mark.parametrize(("shift", "same"), [(0.0009, True), (0.0011, False)])
def test_grids_a_thousandth_of_a_millimetre_apart_are_one(shift: float, same: bool) -> None:
    where = phantoms.grid(12, 2.5, degrees=20)
    moved = where.affine.copy()
    moved[1, 3] += shift
    assert where.same_as(Grid(where.shape, moved)) is same


def test_written_twice_is_byte_identical(tmp_path: Path, ramp: np.ndarray) -> None:
    where = Grid((12, 12, 12), np.eye(4))
    write_image(tmp_path / "a.nii.gz", ramp, where)
    write_image(tmp_path / "b.nii.gz", ramp, where)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_scaled_integers_and_a_single_volume_in_4d_are_read(tmp_path: Path, ramp: np.ndarray) -> None:
    image = nib.Nifti1Image((ramp / 16).astype(np.uint8)[..., None], np.eye(4))
    image.header.set_slope_inter(2.0, 1.0)
    nib.save(image, tmp_path / "a.nii.gz")
    stored = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj)[..., 0]
    assert np.allclose(read_image(tmp_path / "a.nii.gz").data, stored)


def expect(message: str, path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_image(path, subject="07", what="t1w")
    assert "subject 07: t1w" in str(caught.value)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unusable_files_are_named(tmp_path: Path, ramp: np.ndarray) -> None:
    expect("does not exist", tmp_path / "missing.nii.gz")

    whole = save(tmp_path / "whole.nii.gz", np.random.default_rng(0).random((30, 30, 30)))
    for name, share in (("half.nii.gz", 0.5), ("stub.nii.gz", 0.01)):
        cut = tmp_path / name
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        expect("cannot be read, perhaps truncated", cut)
    plain = save(tmp_path / "plain.nii", np.random.default_rng(0).random((30, 30, 30)))
    plain.write_bytes(plain.read_bytes()[:5000])
    expect("cannot be read, perhaps truncated", plain)

    (tmp_path / "text.nii.gz").write_text("this is no image")
    expect("cannot be read", tmp_path / "text.nii.gz")

    hole = ramp.copy()
    hole[3, 3, 3] = np.nan
    expect("1 NaN or infinite", save(tmp_path / "nan.nii.gz", hole))
    expect("4-dimensional", save(tmp_path / "4d.nii.gz", np.stack([ramp, ramp], axis=-1)))
    expect("at least 8 voxels", save(tmp_path / "thin.nii.gz", ramp[:, :, :2]))
    expect("every voxel is 0", save(tmp_path / "zero.nii.gz", np.zeros((12, 12, 12), np.float32)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a * np.array([1, 1, 0, 1]), "singular"),
        (lambda a: a @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "shears"),
        (lambda a: a * np.array([100, 100, 100, 1]), "voxels of 100x100x100 mm"),
    ],
)
def test_impossible_affines_are_refused(tmp_path: Path, ramp: np.ndarray, change, message: str) -> None:
    image = nib.Nifti1Image(ramp, None)
    image.header.set_sform(change(np.eye(4)), code=1)
    image.header.set_qform(None, code=0)
    nib.save(image, tmp_path / "a.nii.gz")
    expect(message, tmp_path / "a.nii.gz")


def test_centre_of_mass_does_not_depend_on_how_the_image_is_stored() -> None:
    plain = centre_of_mass(phantoms.brain(phantoms.grid()))
    turned = centre_of_mass(phantoms.brain(phantoms.grid(axes="PSR")))
    assert np.allclose(plain, turned, atol=0.05)


def test_grid_covers_the_box_with_cubic_voxels_and_even_sides() -> None:
    where = axis_aligned_grid([-10, -20, -5.5], [11, 20, 7], 2.0)
    assert all(side % 2 == 0 for side in where.shape)
    points = where.points().reshape(-1, 3)
    assert (points.min(0) <= [-10, -20, -5.5]).all()
    assert (points.max(0) >= [11, 20, 7]).all()
    assert np.allclose(where.spacing, 2)


def test_sides_of_a_grid_are_its_own() -> None:
    """21, 40 and 12.5 mm at 2 mm: 12, 21 and 8 voxels reach from end to end, an even number of each is taken."""
    assert axis_aligned_grid([-10, -20, -5.5], [11, 20, 7], 2.0).shape == (12, 22, 8)


def test_distances_in_voxels_are_at_least_one() -> None:
    where = Grid((9, 9, 9), np.diag([2.0, 3.0, 4.0, 1.0]))
    assert [where.voxels_within(distance) for distance in (0.1, 2.5, 3.5, 6)] == [1, 1, 2, 3]


def test_an_image_of_which_nothing_is_said_shows_the_brain_alone(tmp_path: Path) -> None:
    for name, text in (("a", "{}"), ("b", '{"SkullStripped": true}'), ("c", '{"SkullStripped": false}')):
        (tmp_path / f"{name}.json").write_text(text)
    found = [is_skull_stripped(tmp_path / f"{name}.nii.gz") for name in "abcd"]
    assert found == [True, True, False, True]


def test_intensity_is_normalised_whatever_the_scale() -> None:
    data = phantoms.brain(phantoms.grid()).data
    small, large = normalise_intensity(data * 0.01), normalise_intensity(data * 300)
    assert np.allclose(small, large, rtol=1e-3, atol=1e-2)
    assert 80 < small[small > 20].mean() < 120


def head() -> Image:
    """A brain with a gap, a bright scalp and noise in the air."""
    where = phantoms.grid(48, 5.0)
    inner = phantoms.brain(where).data
    radius = np.sqrt(((where.points() / np.array([78.0, 92.0, 72.0])) ** 2).sum(-1))
    air = np.random.default_rng(1).uniform(0.5, 3, inner.shape)
    return Image((np.where((radius > 0.85) & (radius < 1.1), 120, inner) + air).astype(np.float32), where)


def test_a_brain_is_told_from_a_head() -> None:
    extracted = phantoms.brain(phantoms.grid())
    assert looks_extracted(extracted)
    assert not looks_extracted(head())
    ringing = np.random.default_rng(2).normal(0, 0.2, extracted.data.shape).astype(np.float32)
    assert looks_extracted(Image(extracted.data + ringing, extracted.grid))
    mask, known = initial_mask(extracted, None, "auto", "x")
    assert known
    assert mask[20, 20, 20]
    mask, known = initial_mask(head(), None, "auto", "x")
    assert not known
    assert 0.1 < mask.mean() < 0.9
    assert initial_mask(extracted, None, False, "x")[1] is False


def test_a_given_mask_wins_and_an_empty_one_is_refused() -> None:
    image = head()
    given = np.zeros(image.data.shape, np.float32)
    given[20:30, 20:30, 20:30] = 255
    mask, known = initial_mask(image, Image(given, image.grid), "auto", "x")
    assert known
    assert mask.sum() == 1000
    with pytest.raises(UserError, match="no voxel with signal"):
        initial_mask(image, Image(given * 0, image.grid), "auto", "subject 01: t1w a.nii.gz")
