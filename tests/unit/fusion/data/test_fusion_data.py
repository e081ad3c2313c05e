import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from fusion_toy import AFFINE, toy_mask, toy_volumes

from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet, fold_limits, open_volumes


@pytest.fixture
def opened(tmp_path):
    return open_volumes(toy_volumes(tmp_path, people=6, side=8), ["jac", "ndi"])


def test_volumes_are_scaled_clipped_and_masked(opened):
    scaling = {"jac": {"low": 0.8, "high": 1.2}, "ndi": {"low": 1.0, "high": 3.0}}
    people = VolumeSet(opened, ["03", "01"], scaling)
    expected = np.clip((opened[1].array[2] - 1) / 2, 0, 1) * toy_mask(8)
    np.testing.assert_allclose(people[0][1], expected, atol=1e-6)
    assert people[0].dtype == np.float32
    np.testing.assert_allclose(people.slab(0, 2, 5)[1], people[1][0, 2:5])
    before = people[1].copy()
    mean = people.mean()
    people.load()
    np.testing.assert_array_equal(people[1], before)
    np.testing.assert_allclose(people.slab(1, 0, 8)[0], people[0][1])
    np.testing.assert_allclose(mean, (people[0] + people[1]) / 2, atol=1e-6)


def test_training_limits_see_training_people_only(tmp_path):
    paths = toy_volumes(tmp_path, people=6, side=8)
    training = ["01", "02", "03", "04"]

    def limits_and_volumes(scope):
        opened = open_volumes(paths, ["jac", "ndi"])
        scaling = fold_limits(opened, toy_mask(8), training, scope)
        people = VolumeSet(opened, training, scaling)
        return scaling, np.stack([people[i] for i in range(len(people))])

    before, volumes_before = limits_and_volumes("train")
    array = np.load(paths[0])
    inside = array[:4][:, toy_mask(8)]
    np.testing.assert_allclose(
        [before["jac"]["low"], before["jac"]["high"]], np.percentile(inside, [0.1, 99.9]), rtol=1e-5
    )
    array[4:] *= 50  # the test people's scanner goes mad
    np.save(paths[0], array)
    after, volumes_after = limits_and_volumes("train")
    assert after == before
    np.testing.assert_array_equal(volumes_after, volumes_before)


def test_the_mean_is_of_those_who_have_a_modality_and_of_nobody_there_is_none(opened):
    scaling = {"jac": {"low": 0.0, "high": 2.0}, "ndi": {"low": 0.0, "high": 4.0}}
    two = [replace(opened[1], row={s: r for s, r in opened[1].row.items() if s in ("02", "05")})]
    people = VolumeSet([opened[0], *two], opened[0].info["subjects"], scaling, incomplete=True)
    whole = VolumeSet(opened, opened[0].info["subjects"], scaling)
    images = np.stack([whole[i] for i in range(6)])
    np.testing.assert_allclose(people.mean()[0], images[:, 0].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(people.mean()[1], images[[1, 4], 1].mean(axis=0), rtol=1e-5)
    with pytest.raises(UserError, match="'ndi': none of the training people has it"):
        people.subset([0, 2]).mean()
    assert whole.nbytes == images.nbytes == 6 * 2 * 8**3 * 4


def test_cohort_limits_are_those_of_the_json(opened):
    scaling = fold_limits(opened, toy_mask(8), ["01"], "cohort")
    assert scaling["ndi"] == {key: opened[1].info["limits"][key] for key in ("low", "high")}


def test_masks_are_not_scaled_however_few_voxels_they_have(opened):
    opened[1].info["kind"] = "mask"
    values = np.zeros_like(opened[1].array)
    values[0, 4, 4, 4] = 1.0  # the 99.9 percentile is 0
    opened[1] = replace(opened[1], array=values)
    scaling = fold_limits(opened, toy_mask(8), ["02", "03"], "train")
    assert scaling["ndi"] == {"low": 0.0, "high": 1.0}
    people = VolumeSet(opened, ["01", "02"], scaling)
    assert people[0][1].sum() == 1
    assert not people[1][1].any()


def test_modalities_may_list_people_differently(tmp_path):
    paths = toy_volumes(tmp_path, people=4, side=8)
    order = [3, 1, 0, 2]
    np.save(paths[1], np.load(paths[1])[order])
    description = json.loads(paths[1].with_suffix(".json").read_text())
    description["subjects"] = [description["subjects"][i] for i in order]
    paths[1].with_suffix(".json").write_text(json.dumps(description))
    scaling = {name: {"low": 0.0, "high": 5.0} for name in ("jac", "ndi")}
    shuffled = VolumeSet(open_volumes(paths, ["jac", "ndi"]), ["02"], scaling)[0]
    straight = VolumeSet(
        open_volumes(toy_volumes(tmp_path / "b", people=4, side=8), ["jac", "ndi"]), ["02"], scaling
    )[0]
    np.testing.assert_array_equal(shuffled, straight)


def test_mistakes_have_one_line(tmp_path):
    paths = toy_volumes(tmp_path, people=4, side=8)
    with pytest.raises(UserError, match="expected modality 'ndi', got 'jac'"):
        open_volumes(paths, ["ndi", "jac"])
    with pytest.raises(UserError, match="1 files for 2"):
        open_volumes(paths[:1], ["jac", "ndi"])
    scaling = {name: {"low": 0.0, "high": 5.0} for name in ("jac", "ndi")}
    with pytest.raises(UserError, match="subject 99: has no 'jac' volume"):
        VolumeSet(open_volumes(paths, ["jac", "ndi"]), ["01", "99"], scaling)
    array = np.load(paths[1])
    array[2, 4, 4, 4] = np.nan
    np.save(paths[1], array)
    with pytest.raises(UserError, match="subject 03: the 'ndi' volume"):
        VolumeSet(open_volumes(paths, ["jac", "ndi"]), ["03"], scaling)[0]
    nibabel.save(nibabel.Nifti1Image(toy_mask(8).astype(np.uint8), 2 * AFFINE), tmp_path / "mask.nii.gz")
    with pytest.raises(UserError, match="not on the grid"):
        open_volumes(paths, ["jac", "ndi"])


def over_maxima(opened, subjects, **more):
    return VolumeSet(opened, subjects, {}, maximum=True, **more)


def test_volumes_over_their_maxima_keep_sign_and_size(opened):
    mask = toy_mask(8)
    values = np.array(opened[0].array) - 1  # of both signs
    values[:, ~mask] = 1000  # what is outside the mask counts for nothing
    values[2][mask] = -np.abs(values[2][mask])
    opened[0] = replace(opened[0], array=values)
    people = over_maxima(opened, ["03", "01"])
    for position, row in enumerate((2, 0)):
        largest = np.abs(values[row][mask]).max()
        np.testing.assert_allclose(people[position][0], np.where(mask, values[row] / largest, 0), atol=1e-6)
    assert people[0][0].min() == -1
    assert people[0][0].max() == 0
    assert people[1][0].min() < 0 < people[1][0].max()
    assert people[1][1].max() == 1
    assert people.value_range == (-1, 1)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_part_of_a_volume_is_scaled_as_the_whole(opened, loaded):
    opened[0] = replace(opened[0], array=np.array(opened[0].array) - 1)
    whole = over_maxima(opened, ["03", "01", "05"])
    expected = np.stack([whole[i] for i in range(3)])
    people = over_maxima(opened, ["03", "01", "05"])
    if loaded:
        people.load()
    where = (slice(4, 7), slice(1, 4), slice(2, 5))  # the largest values are elsewhere
    assert np.abs(expected[(..., *where)]).max() < 1
    np.testing.assert_array_equal(people.box(where), expected[(..., *where)])
    np.testing.assert_array_equal(people.slab(0, 5, 7), expected[:, 0, 5:7])
    np.testing.assert_array_equal(people.subset([2, 0])[0], expected[2])
    np.testing.assert_array_equal(people.subset([2, 0]).box(where)[1], expected[0][(..., *where)])


def test_masks_and_empty_volumes_over_their_maxima(opened):
    opened[1].info["kind"] = "mask"
    shares = np.zeros_like(opened[1].array)
    shares[0, 4, 4, 4] = 0.25
    opened[1] = replace(opened[1], array=shares)
    opened[0] = replace(opened[0], array=np.zeros_like(opened[0].array))
    people = VolumeSet(
        opened, ["01", "02"], fold_limits(opened[1:], toy_mask(8), ["01"], "train"), maximum=True
    )
    assert people[0][1].max() == 0.25
    assert not people[0][0].any()
    assert not people[1].any()


def test_a_value_that_is_not_finite_is_found_wherever_it_is(opened):
    values = np.array(opened[0].array)
    values[1, 1, 4, 4] = np.inf
    opened[0] = replace(opened[0], array=values)
    with pytest.raises(UserError, match="subject 02: the 'jac' volume"):
        over_maxima(opened, ["01", "02"]).box((slice(4, 6), slice(4, 6), slice(4, 6)))
    with pytest.raises(UserError, match="subject 02: the 'jac' volume"):
        over_maxima(opened, ["02"]).slab(0, 4, 6)
