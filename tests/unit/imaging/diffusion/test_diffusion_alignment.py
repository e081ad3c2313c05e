"""Rigid alignment of a mean b=0 image with a T1w image of another contrast."""

import json

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation
from sklearn.metrics import mutual_info_score

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.imaging.diffusion import commands as diffusion_commands
from neurostrata.imaging.diffusion.alignment import (
    align_rigid,
    check_alignment,
    mutual_information,
    rotation_degrees,
)
from neurostrata.imaging.images.io import Grid, Image, apply_affine, write_image
from neurostrata.imaging.registration.transforms import read_affine, resample


def rigid(degrees, millimetres, about):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.array(about) + millimetres - matrix[:3, :3] @ about
    return matrix


def step(x, y, z):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.fixture(scope="module")
def scans():
    """MNI152 tissues: a T1w contrast at 3 mm, and its b=0 contrast (fluid bright) as a function of a pose."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    def load(loader):
        image = loader(resolution=3)
        return np.asarray(image.dataobj, np.float32), np.asarray(image.affine, float)

    head, affine = load(load_mni152_template)
    grey, white = load(load_mni152_gm_template)[0], load(load_mni152_wm_template)[0]
    mask = head > 0.1 * head.max()
    fluid = np.clip(mask - grey - white, 0, 1)
    grid = Grid(head.shape, affine)
    rng = np.random.default_rng(0)
    t1w = Image(
        (100 * white + 65 * grey + 20 * fluid + 2 * rng.standard_normal(grid.shape)).clip(0) * mask, grid
    )
    diffusion = Image((30 * white + 45 * grey + 100 * fluid).astype(np.float32), grid)

    def b0(pose, spacing=4.0, origin=(-95, -130, -80), shape=(48, 58, 48)):
        target = np.diag([spacing, spacing, spacing, 1.0])
        target[:3, 3] = origin
        where = Grid(shape, pose @ target)  # the same anatomy, seen where the pose puts it
        scanned = Grid(shape, pose @ target)
        smooth = Image(ndimage.gaussian_filter(diffusion.data, 0.5), grid)
        data = resample(smooth, where, np.linalg.inv(pose)).clip(0)
        inside = resample(Image(mask.astype(np.float32), grid), where, np.linalg.inv(pose)) > 0.5
        noise = 2.5 * np.random.default_rng(1).standard_normal(shape)
        return Image(((data + noise) * inside).clip(0).astype(np.float32), scanned), inside

    return t1w, mask, b0


def worst_error(found, truth, b0_mask, grid):
    """Largest distance (mm, in T1w space) between where two transforms place the scanned brain."""
    points = apply_affine(grid.affine, np.argwhere(b0_mask)[::20].astype(float))
    placed = [apply_affine(np.linalg.inv(matrix), points) for matrix in (found, truth)]
    return np.linalg.norm(placed[0] - placed[1], axis=1).max()


@pytest.mark.parametrize(
    ("degrees", "shift", "cut", "start", "bound"),
    [((-8, 5, 10), (60, -90, 140), 0, "centre", 0.8), ((1, -1, 1), (1, -1, 1), 18, "header", 2.0)],
    ids=["another coordinate system", "lower half of the brain not scanned"],
)
def test_planted_pose_is_found(scans, degrees, shift, cut, start, bound):
    """Voxels are 4 mm: well below one, and below half of one when 72 mm of the brain are missing."""
    t1w, mask, make = scans
    pose = rigid(degrees, shift, about=(3, -20, 10))
    b0, b0_mask = make(pose)
    b0_mask = b0_mask[:, :, cut:]
    b0 = Image(b0.data[:, :, cut:], Grid(b0_mask.shape, b0.grid.affine @ step(0, 0, cut)))
    settings = section_defaults("diffusion")["alignment"] | {"resolution_mm": 4}
    found = align_rigid(t1w, mask, b0, b0_mask, settings, subject="01")
    error = worst_error(found.matrix, pose, b0_mask, b0.grid)
    print(f"{start}: largest error {error:.2f} mm")
    assert found.start == start
    assert error < bound
    assert found.information_after > found.information_before
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-6)


def test_same_seed_same_matrix(scans):
    t1w, mask, make = scans
    b0, b0_mask = make(rigid((2, 2, 2), (2, 2, 2), about=(3, -20, 10)))
    settings = section_defaults("diffusion")["alignment"] | {"resolution_mm": 6, "iterations": [100]}
    first, again, other = (
        align_rigid(t1w, mask, b0, b0_mask, settings, subject="01", seed=seed).matrix for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_command_writes_the_itk_transform_that_resamples_dwi_into_t1w_space(scans, tmp_path):
    import ants

    t1w, mask, make = scans
    pose = rigid((3, 4, -5), (4, 6, -5), about=(3, -20, 10))
    b0, b0_mask = make(pose)
    write_image(tmp_path / "t1w.nii.gz", t1w.data, t1w.grid)
    write_image(tmp_path / "b0.nii.gz", b0.data, b0.grid)
    write_image(tmp_path / "t1w_mask.nii.gz", mask, t1w.grid, np.uint8)
    write_image(tmp_path / "b0_mask.nii.gz", b0_mask, b0.grid, np.uint8)
    output = tmp_path / "from-dwi_to-T1w_xfm.mat"
    settings = section_defaults("diffusion") | {"seed": 1}
    settings["alignment"]["resolution_mm"] = 4
    diffusion_commands.align_diffusion(
        b0=tmp_path / "b0.nii.gz",
        t1w=tmp_path / "t1w.nii.gz",
        mask=tmp_path / "b0_mask.nii.gz",
        t1w_mask=tmp_path / "t1w_mask.nii.gz",
        subject="01",
        output=output,
        settings=settings,
    )
    assert worst_error(read_affine(output), pose, b0_mask, b0.grid) < 1.0
    moved = ants.apply_transforms(
        fixed=ants.image_read(str(tmp_path / "t1w.nii.gz")),
        moving=ants.image_read(str(tmp_path / "b0.nii.gz")),
        transformlist=[str(output)],
    ).numpy()
    aligned = mutual_information(t1w.data[mask], moved[mask])
    planted = mutual_information(t1w.data[mask], resample(b0, t1w.grid, pose)[mask])
    untouched = mutual_information(t1w.data[mask], resample(b0, t1w.grid)[mask])
    assert aligned > planted - 0.02
    assert aligned > untouched + 0.05
    sidecar = json.loads((tmp_path / "from-dwi_to-T1w_xfm.json").read_text())
    assert sidecar["RotationDegrees"] == pytest.approx(7.1, abs=1)


def test_results_that_cannot_be_are_refused(scans):
    t1w, mask, make = scans
    b0, b0_mask = make(np.eye(4))
    settings = section_defaults("diffusion")["alignment"] | {"resolution_mm": 6}
    empty = Image(np.zeros_like(b0.data), b0.grid)
    with pytest.raises(UserError, match=r"subject 01: .*zero inside its mask"):
        align_rigid(t1w, mask, empty, b0_mask, settings, subject="01")
    plausible = rigid((5, 5, 5), (9, 9, 9), about=(0, 0, 0))
    check_alignment(plausible, 0.3, 0.5, "01")
    with pytest.raises(UserError, match=r"subject 01: .*could not be aligned .*before and 0\.200 after"):
        check_alignment(plausible, 0.3, 0.2, "01")
    with pytest.raises(UserError, match="rotation 90 degrees"):
        check_alignment(rigid((90, 0, 0), (0, 0, 0), about=(0, 0, 0)), 0.3, 0.5, "01")
    with pytest.raises(UserError, match="could not be aligned"):
        check_alignment(np.full((4, 4), np.nan), 0.3, 0.5, "01")


def test_mutual_information_knows_dependence():
    rng = np.random.default_rng(0)
    first = rng.standard_normal(20_000)
    assert mutual_information(first, first**2) > 1
    assert mutual_information(first, rng.standard_normal(20_000)) < 0.05
    assert mutual_information(first, np.ones(20_000)) == pytest.approx(0, abs=1e-12)


def test_mutual_information_against_scikit_learn():
    """Of classes: 32 bins of equal width from the smallest to the largest value."""
    rng = np.random.default_rng(1)
    first = rng.standard_normal(5_000)
    second = first**3 + rng.standard_normal(5_000)

    def classes(values):
        return np.minimum((32 * (values - values.min()) / np.ptp(values)).astype(int), 31)

    expected = mutual_info_score(classes(first), classes(second))
    assert mutual_information(first, second) == pytest.approx(expected, rel=1e-3)
    assert mutual_information(first, second) == mutual_information(second, first)
    assert mutual_information(first[:0], second[:0]) == 0


@pytest.mark.parametrize(("degrees", "accepted"), [(59, True), (61, False), (180, False)])
def test_scans_of_one_session_are_not_turned_by_far(degrees, accepted):
    matrix = step(3, 2, 1) @ rigid((degrees, 0, 0), (0, 0, 0), about=(5, 5, 5))
    expected = np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude())
    assert rotation_degrees(matrix) == pytest.approx(expected) == pytest.approx(degrees)
    if accepted:
        check_alignment(matrix, 0.3, 0.29, "01")  # on coarse images a perfect start may lose a little
        return
    with pytest.raises(
        UserError, match=f"rotation {degrees} degrees, mutual information 0.300 before and 0.500"
    ):
        check_alignment(matrix, 0.3, 0.5, "01")
