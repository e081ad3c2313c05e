"""Regions on the fusion grid: parcels of the mask, and an atlas brought there."""

import nibabel
import numpy as np
import pytest
from fusion_toy import AFFINE, toy_mask

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table
from neurostrata.imaging.images.io import Grid, Image
from neurostrata.imaging.volumes.commands import grid_regions
from neurostrata.imaging.volumes.regions import atlas_on_grid, parcels

MASK = toy_mask(16)
GRID = Grid((16, 16, 16), AFFINE)


def test_parcels_are_compact_alike_and_repeat():
    found = parcels(MASK, GRID, 12, seed=1)
    assert (found > 0).tolist() == MASK.tolist()
    sizes = np.bincount(found[MASK])[1:]
    assert len(sizes) == 12
    assert sizes.max() < 3 * sizes.min()
    np.testing.assert_array_equal(found, parcels(MASK, GRID, 12, seed=1))
    # numbered from the back: the first lies behind the last
    assert np.argwhere(found == 1)[:, 1].mean() < np.argwhere(found == 12)[:, 1].mean()


def atlas(affine, shape, number=300):
    numbers = np.zeros(shape, np.float32)
    numbers[: shape[0] // 2] = number  # above 255 and 127: no 8-bit wrap-around
    numbers[shape[0] // 2 :] = 7
    return Image(numbers, Grid(shape, affine))


def options():
    return section_defaults("registration")


def test_an_atlas_in_template_space_is_resampled_once_by_nearest_neighbour():
    fine = atlas(np.diag([4.0, 4.0, 4.0, 1.0]), (32, 32, 32))
    found = atlas_on_grid(fine, "template", fine, GRID, options(), skull_stripped=True, seed=1, threads=1)
    assert set(np.unique(found)) <= {0, 7, 300}
    assert (found[:8] == 300).mean() > 0.99
    assert (found[8:] == 7).mean() > 0.9
    broken = Image(fine.data + 0.5, fine.grid)
    with pytest.raises(UserError, match="whole numbers"):
        atlas_on_grid(broken, "template", fine, GRID, options(), skull_stripped=True, seed=1, threads=1)
    away = Image(
        fine.data, Grid((32, 32, 32), np.array([[4, 0, 0, 900], [0, 4, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1.0]]))
    )
    with pytest.raises(UserError, match="none of the atlas's regions"):
        atlas_on_grid(away, "template", fine, GRID, options(), skull_stripped=True, seed=1, threads=1)


def test_the_stage_writes_image_and_table(tmp_path):
    nibabel.save(nibabel.Nifti1Image(MASK.astype(np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    grid_regions(
        mask=tmp_path / "mask.nii.gz",
        template=tmp_path / "template.nii.gz",
        output=tmp_path / "regions.nii.gz",
        table=tmp_path / "regions.tsv",
        settings={"parcels": 9, "seed": 1, "version": 1},
    )
    table = read_table(tmp_path / "regions.tsv")
    assert table["voxels"].sum() == MASK.sum()
    assert len(table) == 9
    image = nibabel.load(tmp_path / "regions.nii.gz")
    first = np.argwhere(np.asarray(image.dataobj) == 1).mean(axis=0)
    np.testing.assert_allclose(table.loc[0, ["x_mm", "y_mm", "z_mm"]].to_numpy(float), first * 8, rtol=1e-6)
