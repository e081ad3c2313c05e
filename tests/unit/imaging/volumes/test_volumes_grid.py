"""The fusion grid, one interpolation, block means, modulation and tissue-weighted averages."""

import numpy as np
import pytest

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, Image, apply_affine, write_image
from neurostrata.imaging.registration.transforms import Displacement, write_affine, write_displacement
from neurostrata.imaging.volumes import grid as volumes


def settings(resolution=2.0, downsample=2, shape=(12, 14, 10)):
    return section_defaults("volumes") | {
        "resolution_mm": resolution,
        "downsample": downsample,
        "shape": list(shape),
    }


def ellipsoid(shape, affine, centre, radii):
    grid = Grid(shape, np.asarray(affine, float))
    inside = (((grid.points() - centre) / radii) ** 2).sum(axis=-1) <= 1
    return Image(inside.astype(np.float32), grid)


def shifted(spacing, origin):
    affine = np.diag([*np.broadcast_to(spacing, 3), 1.0])
    affine[:3, 3] = origin
    return affine


@pytest.fixture
def template():
    """2 mm, 40x48x36 voxels, the brain off the middle."""
    return ellipsoid((40, 48, 36), shifted(2.0, (-31, -45, -27)), (9, 5, 11), (18, 24, 15))


def linear_ramp(grid, slope=(0.3, -0.2, 0.5), offset=50.0):
    """An image that linear interpolation reproduces exactly."""
    return Image((grid.points() @ np.array(slope) + offset).astype(np.float32), grid)


def test_block_mean_is_exact():
    data = np.random.default_rng(0).standard_normal((6, 8, 10)).astype(np.float32)
    result = volumes.block_mean(data, 2)
    assert result.shape == (3, 4, 5)
    assert result[1, 2, 3] == pytest.approx(data[2:4, 4:6, 6:8].astype(float).mean(), rel=1e-6)
    np.testing.assert_array_equal(volumes.block_mean(data, 1), data)


def test_grid_is_centred_on_the_brain_with_the_template_voxels(template):
    fusion = volumes.fusion_grid(template, settings())
    np.testing.assert_allclose(np.diag(fusion.grid.affine)[:3], 4.0)
    middle = apply_affine(fusion.grid.affine, (np.array(fusion.grid.shape) - 1) / 2)
    assert np.abs(middle - [9, 5, 11]).max() <= 2.0  # a fine voxel: it is snapped to the template's lattice
    lattice = apply_affine(np.linalg.inv(template.grid.affine), fusion.fine.points()[:2, :2, :2])
    np.testing.assert_allclose(lattice, np.rint(lattice), atol=1e-9)


def test_fusion_voxel_is_the_mean_of_its_fine_voxels(template):
    fusion = volumes.fusion_grid(template, settings())
    image = Image(np.random.default_rng(1).random(template.grid.shape).astype(np.float32), template.grid)
    result = volumes.map_to_grid(image, fusion)
    # where fine voxels are template voxels, nothing but the mean of eight of them is left
    position = (6, 7, 5)
    centre = apply_affine(fusion.grid.affine, np.array(position, float))
    low = np.rint(apply_affine(np.linalg.inv(template.grid.affine), centre) - 0.5).astype(int)
    block = image.data[low[0] : low[0] + 2, low[1] : low[1] + 2, low[2] : low[2] + 2]
    assert result[position] == pytest.approx(block.mean(), rel=1e-5)


@pytest.mark.parametrize("downsample", [1, 2, 3])
def test_ramp_is_exact_everywhere_inside_the_image(template, downsample):
    fusion = volumes.fusion_grid(template, settings(1.5, downsample, (16, 16, 16)))
    result = volumes.map_to_grid(linear_ramp(template.grid), fusion)
    points = fusion.grid.points()
    low = apply_affine(template.grid.affine, np.zeros(3)) + 3 * downsample
    high = apply_affine(template.grid.affine, np.array(template.grid.shape) - 1.0) - 3 * downsample
    inner = ((points > low) & (points < high)).all(axis=-1)
    assert inner.sum() > 1000
    expected = points @ np.array([0.3, -0.2, 0.5]) + 50
    np.testing.assert_allclose(result[inner], expected[inner], rtol=1e-4)


def test_larger_shapes_pad_and_smaller_ones_crop_the_same_values(template):
    image = Image(np.random.default_rng(2).random(template.grid.shape).astype(np.float32), template.grid)
    small, large = ((12, 14, 10), (32, 32, 32))
    cut = volumes.map_to_grid(image, volumes.fusion_grid(template, settings(shape=small)))
    whole = volumes.map_to_grid(image, volumes.fusion_grid(template, settings(shape=large)))
    start = [(big - little) // 2 for big, little in zip(large, small)]
    part = whole[tuple(slice(first, first + side) for first, side in zip(start, small))]
    np.testing.assert_allclose(part, cut, rtol=1e-6)
    assert not whole[0].any()
    assert not whole[-1].any()
    assert whole.shape == large


def test_the_part_that_the_template_reaches_is_all_voxels_that_overlap_its_field_of_view(template):
    fusion = volumes.fusion_grid(template, settings(shape=(30, 10, 28)))
    first = template.grid.affine[:3, 3] - 1  # the outer edges of 2 mm voxels
    last = first + 2 * np.array(template.grid.shape)
    for axis, side in enumerate(fusion.grid.shape):
        centres = fusion.grid.affine[axis, 3] + 4 * np.arange(side)
        overlap = np.flatnonzero((centres + 2 > first[axis]) & (centres - 2 < last[axis]))
        assert (fusion.start[axis], fusion.stop[axis]) == (overlap[0], overlap[-1] + 1)


@pytest.mark.parametrize(("downsample", "shape"), [(1, (13, 14, 11)), (3, (9, 8, 7))])
def test_odd_numbers_of_fine_voxels_lie_on_the_templates_voxels_too(template, downsample, shape):
    fusion = volumes.fusion_grid(template, settings(2.0, downsample, shape))
    lattice = apply_affine(np.linalg.inv(template.grid.affine), fusion.fine.points())
    np.testing.assert_allclose(lattice, np.rint(lattice), atol=1e-9)


def test_faint_voxels_of_a_template_count_as_brain_from_a_tenth_of_its_brightness(template):
    """A lobe of 15% of the brightness moves the centre of the grid, one of 5% does not."""
    lobe = ellipsoid(template.grid.shape, template.grid.affine, (9, 41, 11), (4, 4, 4)).data
    centres = [
        volumes.fusion_grid(Image(np.maximum(template.data, share * lobe), template.grid), settings())
        for share in (0, 0.05, 0.15)
    ]
    without, dark, faint = (each.grid.affine[1, 3] for each in centres)
    assert dark == without
    assert faint - without == pytest.approx((45 - 29) / 2, abs=2)


def test_axes_of_another_order_give_the_same_map(template):
    """A template stored as PSR (as the IXI brains are) lies on the same fusion grid."""
    data = np.random.default_rng(3).random(template.grid.shape).astype(np.float32)
    to_psr = np.zeros((4, 4))  # voxel (p, s, r) of the new array is voxel (r, last - p, s) of the old one
    to_psr[0, 2] = 1
    to_psr[1, 0], to_psr[1, 3] = -1, template.grid.shape[1] - 1
    to_psr[2, 1] = 1
    to_psr[3, 3] = 1

    def stored_otherwise(image):
        turned = np.ascontiguousarray(image.transpose(1, 2, 0)[::-1])
        return Image(turned, Grid(turned.shape, template.grid.affine @ to_psr))

    fusion = volumes.fusion_grid(template, settings())
    turned = volumes.fusion_grid(stored_otherwise(template.data), settings())
    np.testing.assert_allclose(turned.grid.affine, fusion.grid.affine, atol=1e-9)
    np.testing.assert_allclose(
        volumes.map_to_grid(stored_otherwise(data), turned),
        volumes.map_to_grid(Image(data, template.grid), fusion),
        atol=1e-5,
    )


def test_chain_equals_ants_apply_transforms(template, tmp_path):
    """Warp, then affine, then alignment, with one linear interpolation, as ANTs reads the same files."""
    import ants

    rng = np.random.default_rng(5)
    native = Grid((30, 34, 28), shifted(2.6, (-28, -40, -22)))
    points = native.points()
    image = Image(
        (100 + 20 * np.sin(points[..., 0] / 9) * np.cos(points[..., 1] / 11)).astype(np.float32), native
    )
    where = template.grid.points()
    vectors = 2.5 * np.stack([np.sin(where[..., (axis + 1) % 3] / 15) for axis in range(3)], axis=-1)
    warp = Displacement(vectors.astype(np.float32), template.grid)
    affine, alignment = np.eye(4), np.eye(4)
    affine[:3, :3] += 0.04 * rng.standard_normal((3, 3))
    affine[:3, 3] = [2, -1, 3]
    turn = np.deg2rad(4)
    alignment[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    alignment[:3, 3] = [-1, 2, 0.5]

    fusion = volumes.fusion_grid(template, settings())
    ours = volumes.map_to_grid(image, fusion, alignment @ affine, warp)

    write_affine(tmp_path / "affine.mat", affine)
    write_affine(tmp_path / "alignment.mat", alignment)
    write_displacement(tmp_path / "warp.nii.gz", warp)
    write_image(tmp_path / "image.nii.gz", image.data, native)
    write_image(tmp_path / "fine.nii.gz", np.zeros(fusion.fine.shape), fusion.fine)
    moved = ants.apply_transforms(
        fixed=ants.image_read(str(tmp_path / "fine.nii.gz")),
        moving=ants.image_read(str(tmp_path / "image.nii.gz")),
        transformlist=[str(tmp_path / name) for name in ("warp.nii.gz", "affine.mat", "alignment.mat")],
        interpolator="linear",
    )
    theirs = fusion.pad(volumes.block_mean(moved.numpy(), 2))
    inside = (ours > 60) & (theirs > 60)
    assert inside.sum() > 500
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=0.02)


def test_smoothing_has_the_width_it_says():
    data = np.zeros((61, 61, 61), np.float32)
    data[30, 30, 30] = 1
    profile = volumes.smooth_by_fwhm(data, 12.0, 1.5)[:, 30, 30]
    half = np.interp([0.5], (profile[:31] / profile.max()), np.arange(31))[0]
    assert 2 * (30 - half) * 1.5 == pytest.approx(12.0, rel=0.02)
    assert volumes.smooth_by_fwhm(data, 12.0, 1.5).sum() == pytest.approx(1, rel=1e-4)
    assert volumes.smooth_by_fwhm(data, 0, 1.5) is data


def test_modulated_sum_is_the_native_volume(template):
    """A person 20% larger per axis: the modulated map times the voxel volume is that person's volume."""
    native = ellipsoid((60, 66, 54), shifted(1.5, (-40, -48, -32)), (9, 5, 11), (21.6, 28.8, 18))
    scale = np.diag([1.2, 1.2, 1.2, 1.0])
    scale[:3, 3] = np.array([9, 5, 11]) * (1 - 1.2)
    jacobian = Image(np.full(template.grid.shape, 1.2**3, np.float32), template.grid)
    fusion = volumes.fusion_grid(template, settings(shape=(24, 24, 24)))
    result = volumes.map_to_grid(native, fusion, scale, None, jacobian, smooth_fwhm_mm=6)
    volume = result.sum() * fusion.grid.voxel_volume
    assert volume == pytest.approx(native.data.sum() * native.grid.voxel_volume, rel=0.02)


def test_tissue_weighted_density_ignores_free_water(template):
    """Half of each block's voxels nearly all water: the tissue's density comes out, not the average."""
    rng = np.random.default_rng(6)
    water = (rng.random(template.grid.shape) < 0.5).astype(np.float32) * 0.95
    density = np.where(water > 0, 0.05, 0.6).astype(np.float32)
    outside = template.data == 0
    ndi = Image(np.where(outside, 0, density).astype(np.float32), template.grid)
    fwf = Image(np.where(outside, 0, water).astype(np.float32), template.grid)
    fusion = volumes.fusion_grid(template, settings())
    weighted = volumes.tissue_weighted_ndi(ndi, fwf, fusion)
    plain = volumes.map_to_grid(ndi, fusion)
    core = volumes.map_to_grid(template, fusion) > 0.999
    # every block: sum of ndi (1 - fwf) over sum of (1 - fwf)
    tissue = 1 - fwf.data
    expected = volumes.map_to_grid(Image(ndi.data * tissue, ndi.grid), fusion)
    expected /= np.maximum(volumes.map_to_grid(Image(tissue, ndi.grid), fusion), 1e-6)
    np.testing.assert_allclose(weighted[core], expected[core], rtol=1e-4)
    assert np.median(weighted[core]) > 0.54
    assert np.median(plain[core]) < 0.4
    assert not weighted[volumes.map_to_grid(template, fusion) == 0].any()


def test_mask_on_the_grid_and_a_grid_too_small(template):
    fusion = volumes.fusion_grid(template, settings())
    mask = volumes.mask_to_grid(template, fusion)
    volume = mask.sum() * fusion.grid.voxel_volume
    assert volume == pytest.approx(template.data.sum() * template.grid.voxel_volume, rel=0.05)
    tight = settings(shape=(8, 14, 10))
    with pytest.raises(UserError, match=r"volumes\.shape \[8, 14, 10\] .* at least \[1[0-9], ") as caught:
        volumes.mask_to_grid(template, volumes.fusion_grid(template, tight))
    needed = [int(side) for side in str(caught.value).split("[")[-1].rstrip("]").split(",")]
    volumes.mask_to_grid(template, volumes.fusion_grid(template, settings(shape=needed)))
    assert all(side <= 2 * radius / 4 + 3 for side, radius in zip(needed, (18, 24, 15)))  # and not far more
