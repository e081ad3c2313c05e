"""Limits against numpy, the cohort arrays, and the commands of the volume stages."""

import json

import nibabel as nib
import numpy as np
import pytest

from neurostrata.core.config import (
    expand_modalities,
    fill_defaults,
    load_schema,
    schema_problems,
    section_defaults,
)
from neurostrata.core.errors import UserError
from neurostrata.imaging.registration.transforms import write_affine
from neurostrata.imaging.volumes import arrays as volumes
from neurostrata.imaging.volumes import commands as volume_commands


@pytest.mark.parametrize("percentiles", [(0.1, 99.9), (0, 100), (25, 75.3)])
def test_limits_equal_numpy_percentiles(percentiles):
    rng = np.random.default_rng(0)
    array = rng.standard_normal((7, 9, 8, 7)).astype(np.float32) * 10.0 ** rng.integers(-6, 6, (7, 1, 1, 1))
    array = array.astype(np.float32)
    array[2, :4] = 0.0  # ties, zeros of both signs
    array[3, :2] = -0.0
    mask = rng.random((9, 8, 7)) < 0.6
    rows = [5, 0, 3, 2]
    expected = np.percentile(array[rows][:, mask].astype(np.float64), percentiles)
    np.testing.assert_allclose(
        volumes.limits(array, mask, rows, percentiles), expected, rtol=1e-12, atol=1e-15
    )
    everybody = np.percentile(array[:, mask].astype(np.float64), percentiles)
    np.testing.assert_allclose(
        volumes.limits(array, mask, None, percentiles), everybody, rtol=1e-12, atol=1e-15
    )


def test_limits_use_only_the_chosen_people_and_the_mask():
    array = np.zeros((3, 4, 4, 4), np.float32)
    array[0] = np.arange(64).reshape(4, 4, 4)
    array[1] = 1000 + array[0]
    mask = np.zeros((4, 4, 4), bool)
    mask[:2] = True
    assert volumes.limits(array, mask, [0], (0, 100)) == (0, 31)
    assert volumes.limits(array, mask, [1], (0, 100)) == (1000, 1031)


def test_limits_of_a_constant_empty_or_broken_modality_are_refused():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(UserError, match="constant"):
        volumes.limits(np.ones((3, 2, 2, 2), np.float32), mask)
    with pytest.raises(UserError, match="no person"):
        volumes.limits(np.ones((3, 2, 2, 2), np.float32), mask, [])
    with pytest.raises(UserError, match="not finite"):
        volumes.limits(np.full((1, 2, 2, 2), np.inf, np.float32), mask)


def test_limits_are_applied_and_clipped():
    scaled = volumes.apply_limits(np.array([-5.0, 1.0, 2.0, 3.0, 9.0]), 1.0, 3.0)
    np.testing.assert_allclose(scaled, [0, 0, 0.5, 1, 1])
    assert scaled.dtype == np.float32


SHAPE = (6, 5, 4)
AFFINE = np.array([[4.0, 0, 0, -8], [0, 4, 0, -6], [0, 0, 4, -3], [0, 0, 0, 1]])


@pytest.fixture
def cohort(tmp_path):
    """Three people's maps on a fusion grid, in an order that sorting would change."""
    rng = np.random.default_rng(1)
    people = ["b2", "a1", "010"]
    maps = {subject: rng.random(SHAPE).astype(np.float32) for subject in people}
    for subject, data in maps.items():
        nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / f"sub-{subject}_map.nii.gz")
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:5] = 1
    nib.save(nib.Nifti1Image(mask, AFFINE), tmp_path / "mask.nii.gz")
    (tmp_path / "subjects.tsv").write_text("subject\tsite\n" + "".join(f"{s}\tx\n" for s in people))
    return {"folder": tmp_path, "people": people, "maps": maps, "mask": mask}


def normalise_arguments(folder, **changes):
    arguments = {
        "subjects": folder / "subjects.tsv",
        "pattern": str(folder / "sub-{subject}_map.nii.gz"),
        "mask": folder / "mask.nii.gz",
        "modality": "jac",
        "output": folder / "volumes/jac.npy",
        "settings": section_defaults("volumes") | {"seed": 1, "version": 1},
    }
    return arguments | changes


def test_normalise_keeps_order_and_unscaled_values(cohort):
    folder = cohort["folder"]
    volume_commands.normalise(**normalise_arguments(folder))
    array, description = volumes.load_volumes(folder / "volumes/jac.json")
    assert isinstance(array, np.memmap)
    assert array.dtype == np.float32
    assert description["subjects"] == cohort["people"]
    for row, subject in enumerate(cohort["people"]):
        np.testing.assert_array_equal(array[row], cohort["maps"][subject])
    np.testing.assert_allclose(description["affine"], AFFINE)
    values = np.stack(list(cohort["maps"].values()))[:, cohort["mask"] > 0].astype(np.float64)
    limits = description["limits"]
    np.testing.assert_allclose([limits["low"], limits["high"]], np.percentile(values, [0.1, 99.9]))
    assert limits["scope"] == "cohort"
    assert description["mask"] == "../mask.nii.gz"
    assert sorted(path.name for path in (folder / "volumes").iterdir()) == ["jac.json", "jac.npy"]


def test_masks_of_few_voxels_or_none_have_limits_all_the_same(cohort):
    folder = cohort["folder"]
    for subject in cohort["people"]:
        lesions = np.zeros(SHAPE, np.float32)
        lesions[2, 2, 2] = 0.5 if subject == "a1" else 0.0
        nib.save(nib.Nifti1Image(lesions, AFFINE), folder / f"sub-{subject}_map.nii.gz")
    arguments = normalise_arguments(folder, output=folder / "volumes/lesions.npy")
    percentiles = {"percentiles": [5, 95]}
    with pytest.raises(UserError, match="constant"):
        volume_commands.normalise(**arguments | {"settings": arguments["settings"] | percentiles})
    as_mask = arguments["settings"] | percentiles | {"kind": "mask"}
    volume_commands.normalise(**arguments | {"settings": as_mask})
    _, description = volumes.load_volumes(folder / "volumes/lesions.json")
    assert description["kind"] == "mask"
    assert (description["limits"]["low"], description["limits"]["high"]) == (0, 1)


def test_failed_normalise_leaves_no_half_file_and_no_stale_description(cohort):
    folder = cohort["folder"]
    volume_commands.normalise(**normalise_arguments(folder))
    before = (folder / "volumes/jac.npy").read_bytes()
    broken = np.full(SHAPE, np.nan, np.float32)
    nib.save(nib.Nifti1Image(broken, AFFINE), folder / "sub-010_map.nii.gz")
    with pytest.raises(UserError, match=r"subject 010: modality jac .*sub-010_map\.nii\.gz: has 120 NaN"):
        volume_commands.normalise(**normalise_arguments(folder))
    assert (folder / "volumes/jac.npy").read_bytes() == before
    assert [path.name for path in (folder / "volumes").iterdir()] == ["jac.npy"]
    with pytest.raises(UserError, match=r"jac\.json"):
        volumes.load_volumes(folder / "volumes/jac.npy")


def test_maps_of_another_grid_or_missing_ones_are_named(cohort):
    folder = cohort["folder"]
    moved = AFFINE.copy()
    moved[0, 3] += 4
    nib.save(nib.Nifti1Image(cohort["maps"]["a1"], moved), folder / "sub-a1_map.nii.gz")
    with pytest.raises(UserError, match=r"subject a1: .*affines differ"):
        volume_commands.normalise(**normalise_arguments(folder))
    (folder / "sub-a1_map.nii.gz").unlink()
    with pytest.raises(UserError, match=r"subject a1: .*does not exist"):
        volume_commands.normalise(**normalise_arguments(folder))
    (folder / "subjects.tsv").write_text("subject\n")
    with pytest.raises(UserError, match="no person has it"):
        volume_commands.normalise(**normalise_arguments(folder))


def test_arrays_and_descriptions_that_do_not_belong_together(cohort):
    folder = cohort["folder"]
    volume_commands.normalise(**normalise_arguments(folder))
    description = json.loads((folder / "volumes/jac.json").read_text())
    description["subjects"].append("new")
    (folder / "volumes/jac.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="do not belong together"):
        volumes.load_volumes(folder / "volumes/jac.npy")


@pytest.fixture
def template(tmp_path):
    """A template brain on a 2 mm grid and a person's 4-D file 6 mm to the right of it."""
    x, y, z = np.meshgrid(np.arange(32), np.arange(36), np.arange(28), indexing="ij")
    brain = (((x - 16) / 12) ** 2 + ((y - 18) / 14) ** 2 + ((z - 14) / 10) ** 2 <= 1).astype(np.float32)
    affine = np.diag([2.0, 2, 2, 1])
    nib.save(nib.Nifti1Image(brain, affine), tmp_path / "template.nii.gz")
    moved = affine.copy()
    moved[0, 3] += 6
    series = np.stack([brain, 3 * brain], axis=-1)
    nib.save(nib.Nifti1Image(series, moved), tmp_path / "icn.nii.gz")
    shift = np.eye(4)
    shift[0, 3] = 6
    write_affine(tmp_path / "shift.mat", shift)
    return tmp_path


def map_settings(declaration):
    schema = load_schema("modalities")
    assert schema_problems({"m": declaration}, schema) == []
    modality = next(reversed(expand_modalities(fill_defaults({"m": declaration}, schema)).values()))
    volume = section_defaults("volumes") | {"resolution_mm": 2, "downsample": 2, "shape": [16, 16, 16]}
    return volume | {"modality": modality, "seed": 1, "version": 1}


def run_map(folder, declaration, **changes):
    arguments = {
        "image": folder / "icn.nii.gz",
        "template": folder / "template.nii.gz",
        "subject": "01",
        "modality": "icn2",
        "output": folder / "out/map.nii.gz",
        "settings": map_settings(declaration),
    }
    volume_commands.map_to_template(**(arguments | changes))
    return nib.load(folder / "out/map.nii.gz")


ICN = {"from": "column", "column": "icn", "components": 2}


def test_map_command_takes_the_component_through_the_affine(template):
    there = run_map(template, ICN, affine=template / "shift.mat")
    volume_commands.grid_mask(
        mask=template / "template.nii.gz",
        template=template / "template.nii.gz",
        output=template / "out/mask.nii.gz",
        settings=map_settings(ICN),
    )
    mask = nib.load(template / "out/mask.nii.gz")
    np.testing.assert_allclose(mask.affine, there.affine)
    data = there.get_fdata()
    assert data.max() == pytest.approx(3)
    np.testing.assert_array_equal(data >= 1.5, mask.get_fdata() > 0)
    sidecar = json.loads((template / "out/map.json").read_text())
    assert sidecar["Settings"]["modality"]["component"] == 1
    assert set(sidecar["Sources"]) == {"Image", "Template", "Affine"}


def test_affine_and_alignment_are_applied_in_that_order(template):
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]
    back = np.linalg.inv(turn)
    write_affine(template / "turn.mat", turn)
    shift = np.eye(4)
    shift[0, 3] = 6
    write_affine(template / "rest.mat", shift @ back)
    one = run_map(template, ICN, affine=template / "shift.mat").get_fdata()
    two = run_map(template, ICN, affine=template / "turn.mat", alignment=template / "rest.mat").get_fdata()
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_map_command_refuses_what_cannot_be(template):
    single = {"from": "column", "column": "icn"}
    with pytest.raises(UserError, match=r"subject 01: modality icn2 .*one 3-D volume is needed.*components"):
        run_map(template, single)
    with pytest.raises(UserError, match="there is no volume 3"):
        run_map(template, ICN | {"components": 3})
    far = np.eye(4)
    far[0, 3] = 500
    write_affine(template / "far.mat", far)
    with pytest.raises(UserError, match="zero everywhere"):
        run_map(template, ICN, affine=template / "far.mat")
    with pytest.raises(UserError, match="'modulate' needs"):
        run_map(template, {"from": "tissue", "tissue": "gm"}, image=template / "template.nii.gz")
    with pytest.raises(UserError, match="'tissue_weighted' needs"):
        run_map(template, {"from": "noddi", "measure": "ndi", "tissue_weighted": True})
    assert not (template / "out").exists()


def test_a_mask_may_be_empty_and_is_used_as_it_is(template):
    declared = {"from": "column", "column": "lesions", "kind": "mask"}
    whole = nib.load(template / "template.nii.gz")
    healthy = np.zeros(whole.shape, np.uint8)
    nib.save(nib.Nifti1Image(healthy, whole.affine), template / "healthy.nii.gz")
    assert not run_map(template, declared, image=template / "healthy.nii.gz").get_fdata().any()
    with pytest.raises(UserError, match="zero everywhere"):  # the same for any other image
        run_map(template, {"from": "column", "column": "t2w"}, image=template / "healthy.nii.gz")

    lesion = healthy.copy()
    middle = tuple(side // 2 for side in lesion.shape)
    lesion[tuple(slice(m, m + 3) for m in middle)] = 1
    nib.save(nib.Nifti1Image(lesion, whole.affine), template / "lesion.nii.gz")
    share = run_map(template, declared, image=template / "lesion.nii.gz").get_fdata()
    assert 0 < share.max() <= 1 + 1e-6
    assert share.min() >= 0
    assert np.unique(share.round(4)).size > 2  # voxels at the edge are partly inside
    spacing = nib.load(template / "out/map.nii.gz").header.get_zooms()[0]
    volume = 27 * abs(np.linalg.det(whole.affine[:3, :3]))
    assert share.sum() * spacing**3 == pytest.approx(volume, rel=0.02)
    far = np.eye(4)
    far[0, 3] = 500
    write_affine(template / "far.mat", far)
    with pytest.raises(UserError, match="zero everywhere"):  # there were lesions, and none arrived
        run_map(template, declared, image=template / "lesion.nii.gz", affine=template / "far.mat")
    nib.save(nib.Nifti1Image(lesion * 3, whole.affine), template / "labels.nii.gz")
    with pytest.raises(UserError, match=r"subject 01: modality icn2 .*from 0 to 1, this one from 0 to 3"):
        run_map(template, declared, image=template / "labels.nii.gz")


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"from": "column", "column": "m", "kind": "mask", "intensity": "pet"}, "x.intensity"),
        ({"from": "tissue", "tissue": "gm", "kind": "mask"}, "x: unknown key 'kind'"),
        ({"from": "tensr", "measure": "fa"}, "tensr"),
        ({"from": "tensor", "measure": "ndi"}, "x.measure: 'ndi' is not one of"),
        ({"from": "tensor"}, "x: the key 'measure' is missing (one of fa, md)"),
        ({"from": "jacobian", "modulate": True}, "x: unknown key 'modulate'"),
        ({"from": "noddi", "measure": "fwf", "tissue_weighted": True}, "x.tissue_weighted"),
        ({}, "'from' is missing"),
    ],
)
def test_wrong_modalities_are_explained(declaration, message):
    problems = schema_problems({"x": declaration}, load_schema("modalities"))
    assert any(message in problem for problem in problems)
    assert all(len(problem) < 200 for problem in problems)
