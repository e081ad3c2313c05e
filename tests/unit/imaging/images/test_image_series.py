"""Series of images that are read one volume after the other."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, read_voxels
from neurostrata.imaging.images.series import open_series, read_image_mask, read_map

SHAPE = (7, 6, 5, 9)


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).integers(-500, 3000, SHAPE).astype(np.int16)


def write(path: Path, data: np.ndarray, slope: float = 1.0) -> Path:
    image = nib.Nifti1Image(data, np.diag([2.0, 2.0, 3.0, 1.0]))
    if slope != 1.0:
        image = nib.Nifti1Image(data.astype(np.float32) * slope, image.affine)
        image.header.set_data_dtype(np.int16)  # written with a slope
    nib.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("slope", [1.0, 0.37])
def test_volumes_are_those_of_the_whole_image(
    tmp_path: Path, data: np.ndarray, name: str, slope: float
) -> None:
    path = write(tmp_path / name, data, slope)
    series = open_series(path, "01")
    assert series.measurements == 9
    assert series.grid.shape == SHAPE[:3]
    assert list(series.grid.spacing) == [2, 2, 3]
    volumes = list(series.volumes())
    assert {volume.dtype for volume in volumes} == {np.dtype(np.float32)}
    assert np.stack(volumes, axis=-1) == pytest.approx(read_voxels(path)[0], rel=1e-6)


def test_signals_are_those_of_the_chosen_voxels_and_volumes(tmp_path: Path, data: np.ndarray) -> None:
    series = open_series(write(tmp_path / "a.nii.gz", data), "01")
    mask, chosen = np.zeros(SHAPE[:3], bool), np.zeros(9, bool)
    mask[1:3, 2, 1:4], chosen[[0, 4, 8]] = True, True
    assert np.array_equal(series.signals(mask, chosen), data[mask][:, chosen])


def test_a_dimension_of_length_1_at_the_end_does_not_count(tmp_path: Path, data: np.ndarray) -> None:
    series = open_series(write(tmp_path / "a.nii.gz", data[..., None]), "01")
    assert series.measurements == 9
    assert np.array_equal(np.stack(list(series.volumes()), axis=-1), data)


def test_other_images_are_refused(tmp_path: Path, data: np.ndarray) -> None:
    with pytest.raises(
        UserError, match=r"^subject 01: dwi .*has shape \(7, 6, 5\); a 4-D series of volumes is needed$"
    ):
        open_series(write(tmp_path / "a.nii.gz", data[..., 0]), "01")
    with pytest.raises(UserError, match=r"^subject 01: dwi .*does not exist"):
        open_series(tmp_path / "b.nii.gz", "01")


@pytest.mark.parametrize("damage", ["cut", "checksum"])
def test_damage_at_the_end_of_a_compressed_file_is_seen(
    tmp_path: Path, data: np.ndarray, damage: str
) -> None:
    content = bytearray(write(tmp_path / "a.nii.gz", data).read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[-8] ^= 1  # the image itself is whole
        with pytest.raises(gzip.BadGzipFile):
            gzip.decompress(content)
    path = tmp_path / "b.nii.gz"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"^subject 01: dwi .*cannot be read, perhaps truncated or damaged .*; copy it again$"
    ):
        list(open_series(path, "01").volumes())


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_one_component_takes_the_memory_of_its_volume(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).integers(0, 30000, (40, 40, 40, 30)).astype(np.int16)
    image = nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1]))
    image.header.set_slope_inter(0.0123, 4.7)
    nib.save(image, tmp_path / name)
    whole = np.asarray(nib.load(tmp_path / name).dataobj, dtype=np.float32)
    tracemalloc.start()
    read = read_map(tmp_path / name, "01", "icn", 17).data
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(read, whole[..., 17])
    assert peak < 8 * read.nbytes
    with pytest.raises(
        UserError, match=r"subject 01: icn .*: has shape \(40, 40, 40, 30\), there is no volume 31"
    ):
        read_map(tmp_path / name, "01", "icn", 30)


def test_a_component_of_a_file_that_is_damaged_behind_it_is_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 30000, (9, 9, 9, 4)).astype(np.int16)
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[-9] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match="subject 01: icn"):
        read_map(path, "01", "icn", 0)


def test_a_single_volume_is_the_first_component(tmp_path: Path) -> None:
    values = np.arange(729, dtype=np.float32).reshape(9, 9, 9)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_map(tmp_path / "a.nii", "01", "icn", 0).data, values)


def test_half_of_a_voxel_must_be_inside_a_mask_of_shares(tmp_path: Path) -> None:
    """As of a T1w image's mask: a mask that was resampled or smoothed has a rim of small values outside the brain."""
    hard = np.zeros((9, 9, 9), np.float32)
    hard[2:7, 2:7, 2:7] = 1
    soft = ndimage.gaussian_filter(hard, 0.7)
    assert (soft > 0).sum() > 1.5 * hard.sum()
    for values in (hard, soft, 255 * hard):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "mask.nii.gz")
        found = read_image_mask(tmp_path / "mask.nii.gz", "01", Grid((9, 9, 9), np.eye(4)))
        assert abs(found.sum() - hard.sum()) < 0.3 * hard.sum()
    nib.save(nib.Nifti1Image(0.4 * hard, np.eye(4)), tmp_path / "mask.nii.gz")
    with pytest.raises(UserError, match=r"is empty \(no value above 0.5\)"):
        read_image_mask(tmp_path / "mask.nii.gz", "01", Grid((9, 9, 9), np.eye(4)))
