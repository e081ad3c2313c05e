"""Affines and warps: ITK's own reading of our files, inversion, composition, Jacobians."""

from __future__ import annotations

from pathlib import Path

import anatomy_phantoms as phantoms
import nibabel as nib
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from neurostrata.core.errors import UserError
from neurostrata.imaging.anatomy.jacobian import absolute_jacobian, log_jacobian, nonlinear_jacobian
from neurostrata.imaging.images.io import Grid, Image, apply_affine, write_image
from neurostrata.imaging.registration.transforms import (
    Displacement,
    displace,
    invert_displacement,
    read_affine,
    read_displacement,
    resample,
    resample_to_person,
    rigid_and_stretch,
    several_to_person,
    write_affine,
    write_displacement,
)

MATRIX = np.array(
    [[1.08, 0.1, -0.02, 5.0], [-0.09, 0.95, 0.04, -7.0], [0.03, -0.05, 1.02, 3.0], [0, 0, 0, 1]]
)
GRIDS = {
    "plain": {},
    "oblique": {"degrees": 17},
    "PSR": {"axes": "PSR"},
    "oblique LPI": {"degrees": 11, "axes": "LPI"},
}


def test_affine_round_trip_and_agreement_with_itk(tmp_path: Path) -> None:
    import ants

    write_affine(tmp_path / "a.mat", MATRIX)
    assert np.allclose(read_affine(tmp_path / "a.mat"), MATRIX)
    transform = ants.read_transform(str(tmp_path / "a.mat"))
    flip = np.array([-1.0, -1, 1])
    for point in ([0.0, 0, 0], [10.0, -20, 30]):
        there = np.array(transform.apply_to_point(list(flip * point))) * flip
        assert np.allclose(there, apply_affine(MATRIX, np.array(point)), atol=1e-6)


def test_affine_with_another_centre_is_read_right(tmp_path: Path) -> None:
    import ants

    transform = ants.create_ants_transform(
        transform_type="AffineTransform",
        dimension=3,
        matrix=MATRIX[:3, :3],
        center=[10, 20, -5],
        translation=[1, 2, 3],
    )
    ants.write_transform(transform, str(tmp_path / "a.mat"))
    flip = np.array([-1.0, -1, 1])
    there = np.array(transform.apply_to_point([4.0, 5.0, 6.0])) * flip
    assert np.allclose(apply_affine(read_affine(tmp_path / "a.mat"), flip * [4, 5, 6]), there, atol=1e-6)


def test_a_file_that_is_no_transform_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_text("1 0 0 0")
    with pytest.raises(UserError, match=r"a\.mat"):
        read_affine(tmp_path / "a.mat")


@pytest.mark.parametrize("fixed_kind", GRIDS)
@pytest.mark.parametrize("moving_kind", ["plain", "PSR"])
def test_resampling_agrees_with_ants(tmp_path: Path, fixed_kind: str, moving_kind: str) -> None:
    """The written warp and affine, applied by ITK, give what our own resampling gives."""
    import ants

    fixed = phantoms.grid(30, 5.0, **GRIDS[fixed_kind])
    moving = phantoms.brain(phantoms.grid(44, 4.5, **GRIDS[moving_kind]))
    warp = phantoms.bump(fixed)
    write_image(tmp_path / "fixed.nii.gz", np.ones(fixed.shape), fixed)
    write_image(tmp_path / "moving.nii.gz", moving.data, moving.grid)
    write_affine(tmp_path / "affine.mat", MATRIX)
    write_displacement(tmp_path / "warp.nii.gz", warp)
    theirs = ants.apply_transforms(
        fixed=ants.image_read(str(tmp_path / "fixed.nii.gz")),
        moving=ants.image_read(str(tmp_path / "moving.nii.gz")),
        transformlist=[str(tmp_path / "warp.nii.gz"), str(tmp_path / "affine.mat")],
    ).numpy()
    ours = resample(moving, fixed, MATRIX, read_displacement(tmp_path / "warp.nii.gz"))
    assert theirs.std() > 10
    assert np.abs(ours - theirs).max() < 0.1
    assert np.abs(resample(moving, fixed, MATRIX) - theirs).max() > 10  # the warp matters


def test_inverse_brings_points_back() -> None:
    warp = phantoms.bump(phantoms.grid(degrees=15), size_mm=8)
    inverse = invert_displacement(warp)
    points = np.random.default_rng(0).uniform(-50, 50, (500, 3))
    back = displace(inverse, displace(warp, points))
    assert np.abs(displace(warp, points) - points).max() > 3
    assert np.sqrt(((back - points) ** 2).sum(-1)).mean() < 0.1
    assert np.abs(back - points).max() < 0.7


def test_inversion_ends_when_its_last_step_is_within_the_tolerance() -> None:
    """Of u = x / 2 the inverse is v = -y / 3. Each iteration halves its error, which is then a third of that step."""
    affine = phantoms.grid(degrees=17).affine[:3, :3] @ np.diag([0.7, 1.0, 1.5])
    shape = (16, 14, 12)
    where = Grid(shape, np.eye(4))
    where.affine[:3, :3] = affine
    where.affine[:3, 3] = -affine @ (np.array(shape) - 1) / 2
    points = where.points()
    inverse = invert_displacement(Displacement((points / 2).astype(np.float32), where))
    assert np.abs(inverse.vectors + points / 3).max() < 1e-3 * where.spacing.min() / 3


@pytest.mark.parametrize(("order", "method"), [({}, "linear"), ({"order": 0}, "nearest")])
def test_values_are_those_of_scipys_interpolator(order: dict[str, int], method: str) -> None:
    """On an oblique grid of unequal voxels, through a warp and an affine, there and back."""
    rng = np.random.default_rng(0)
    affine = phantoms.grid(degrees=17, axes="PSR").affine @ np.diag([0.7, 1.0, 1.5, 1.0])
    image = Image(rng.random((9, 11, 8)).astype(np.float32), Grid((9, 11, 8), affine))
    study = Grid((6, 5, 4), phantoms.grid(6, 4.0).affine)
    index = rng.uniform(0.5, np.array(image.data.shape) - 1.5, (*study.shape, 3))
    axes = [np.arange(side) for side in image.data.shape]
    expected = RegularGridInterpolator(axes, image.data, method=method)(index)
    # a warp that takes every voxel of the study's grid to one of these places
    there = apply_affine(np.linalg.inv(MATRIX) @ affine, index) - study.points()
    found = resample(image, study, MATRIX, Displacement(there, study), **order)
    assert np.allclose(found, expected, atol=1e-5)
    back = apply_affine(affine, index) - apply_affine(np.linalg.inv(MATRIX), study.points())
    moved = Grid(study.shape, np.linalg.inv(MATRIX) @ study.affine)
    assert np.allclose(
        resample_to_person(image, study, MATRIX, Displacement(back, moved), **order)[1:-1, 1:-1, 1:-1],
        expected[1:-1, 1:-1, 1:-1],
        atol=1e-5,
    )
    first, second = several_to_person(
        [image, Image(2 * image.data, image.grid)], study, MATRIX, Displacement(back, moved), **order
    )
    assert np.array_equal(first, resample_to_person(image, study, MATRIX, Displacement(back, moved), **order))
    assert np.allclose(second, 2 * first)


@pytest.mark.parametrize("shape", [(8, 8, 8, 3), (8, 8, 8, 1, 2), (8, 8, 8, 2, 3)])
def test_an_image_that_is_no_displacement_field_is_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), tmp_path / "warp.nii.gz")
    with pytest.raises(UserError, match=r"warp\.nii\.gz: is not a displacement field"):
        read_displacement(tmp_path / "warp.nii.gz")


def test_there_and_back_again_gives_the_image() -> None:
    """Template to person with the inverse chain undoes person to template."""
    study = phantoms.grid(44, 4.0)
    person = phantoms.brain(phantoms.grid(44, 4.0, degrees=8))
    warp = phantoms.bump(study)
    seen = resample(person, study, MATRIX, warp)
    again = resample_to_person(Image(seen, study), person.grid, MATRIX, invert_displacement(warp))
    inside = person.data > 20
    assert np.corrcoef(again[inside], person.data[inside])[0, 1] > 0.9
    assert np.abs(again - person.data)[inside].mean() < 6


def test_polar_decomposition() -> None:
    rotation, stretch = rigid_and_stretch(MATRIX)
    assert np.allclose(rotation @ stretch, MATRIX[:3, :3])
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert np.allclose(stretch, stretch.T)
    assert np.linalg.eigvalsh(stretch).min() > 0
    with pytest.raises(UserError, match="flips left and right"):
        rigid_and_stretch(np.diag([-1.0, 1, 1, 1]))


@pytest.mark.parametrize("kind", GRIDS)
def test_planted_expansion_has_the_right_sign_and_size(kind: str) -> None:
    """A person's region is 20% larger: J = 1.2 there, whatever the header's axes."""
    where = phantoms.grid(48, 3.0, **GRIDS[kind])
    jacobian = nonlinear_jacobian(phantoms.expansion(where, 1.2))
    radius = np.sqrt((where.points() ** 2).sum(-1))
    assert np.allclose(jacobian[radius < 18], 1.2, atol=0.002)
    assert np.allclose(jacobian[radius > 56], 1.0, atol=1e-5)
    shrunk = nonlinear_jacobian(phantoms.expansion(where, 1 / 1.2))
    assert np.allclose(shrunk[radius < 18], 1 / 1.2, atol=0.002)


@pytest.mark.parametrize("kind", GRIDS)
def test_jacobian_of_a_linear_map_is_its_determinant(kind: str) -> None:
    """Every derivative counts: all nine differ, on voxels of unequal sides whose axes are not the world's."""
    linear = np.array([[1.1, 0.3, -0.25], [0.45, 0.8, 0.35], [-0.4, 0.55, 1.3]])
    affine = phantoms.grid(**GRIDS[kind]).affine @ np.diag([0.7, 1.0, 1.5, 1.0])
    where = Grid((7, 8, 9), affine)
    vectors = where.points() @ (linear - np.eye(3)).T
    jacobian = nonlinear_jacobian(Displacement(vectors.astype(np.float32), where))
    assert np.allclose(jacobian, np.linalg.det(linear), atol=1e-4)


def test_logarithm_of_a_folded_place_is_that_of_a_thousandth() -> None:
    assert np.allclose(log_jacobian(np.array([-0.5, 0.0, 0.0015, 1.0])), np.log([0.001, 0.001, 0.0015, 1.0]))


def test_absolute_jacobian_has_the_affine_in_it() -> None:
    where = phantoms.grid(20, 5.0, degrees=10)
    warp = phantoms.expansion(where, 1.2)
    whole = absolute_jacobian(nonlinear_jacobian(warp), MATRIX)
    radius = np.sqrt((where.points() ** 2).sum(-1))
    assert np.allclose(whole[radius < 14], 1.2 * np.linalg.det(MATRIX[:3, :3]), rtol=0.01)
    assert np.allclose(absolute_jacobian(np.ones(3), np.diag([-2.0, 1, 1, 1])), 2)


@pytest.mark.parametrize("kind", ["plain", "oblique", "PSR"])
def test_jacobian_agrees_with_ants(tmp_path: Path, kind: str) -> None:
    import ants

    where = phantoms.grid(32, 5.0, **GRIDS[kind])
    warp = phantoms.bump(where, size_mm=8)
    write_displacement(tmp_path / "warp.nii.gz", warp)
    write_image(tmp_path / "domain.nii.gz", np.ones(where.shape), where)
    theirs = ants.create_jacobian_determinant_image(
        ants.image_read(str(tmp_path / "domain.nii.gz")), str(tmp_path / "warp.nii.gz")
    ).numpy()
    inner = (slice(3, -3),) * 3
    ours = nonlinear_jacobian(warp)
    assert theirs.max() > 1.3
    assert np.abs(ours - theirs)[inner].max() < 0.05
    assert np.corrcoef(ours[inner].ravel(), theirs[inner].ravel())[0, 1] > 0.995


def test_mean_volume_of_the_jacobian_is_the_volume_of_the_mapped_region() -> None:
    """Summing J over a region of the template gives the person's volume of it."""
    where = phantoms.grid(60, 2.5)
    warp = phantoms.bump(where, size_mm=7, centre=(0, 0, 0))
    region = np.sqrt((where.points() ** 2).sum(-1)) < 30
    predicted = nonlinear_jacobian(warp)[region].sum() * where.voxel_volume
    native = resample_to_person(
        Image(region.astype(np.float32), where), where, np.eye(4), invert_displacement(warp)
    )
    assert predicted == pytest.approx(native.sum() * where.voxel_volume, rel=0.01)
    assert predicted > 1.15 * region.sum() * where.voxel_volume


def test_displacement_outside_its_grid_is_none() -> None:
    small = phantoms.grid(10, 4.0)
    field = Displacement(np.ones((10, 10, 10, 3), np.float32), small)
    assert np.allclose(displace(field, np.array([[200.0, 0, 0]])), [[200, 0, 0]])
