"""PET intensities, by hand, and that nothing else changes."""

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
from neurostrata.imaging.images.io import read_image
from neurostrata.imaging.volumes.commands import map_to_template
from neurostrata.imaging.volumes.grid import fusion_grid, mask_to_grid
from neurostrata.imaging.volumes.intensity import brain_intensity, pet_intensity

PET = {"from": "column", "column": "pet", "space": "template"}


def declared(**given):
    schema = load_schema("modalities")
    assert schema_problems({"pet": {**PET, **given}}, schema) == []
    return expand_modalities(fill_defaults({"pet": {**PET, **given}}, schema))["pet"]


def test_the_brightest_thousandth_is_one_and_background_is_nought():
    image = np.full((20, 10, 10), 60.0)  # 2000 voxels: the two brightest count
    image[0, 0, :4] = [90, 110, 10, 9.99]
    scaled = pet_intensity(image)
    np.testing.assert_allclose(scaled[0, 0, :4], [0.9, 1.1, 0.1, 0], rtol=1e-6)
    np.testing.assert_allclose(scaled[1:], 0.6, rtol=1e-6)
    np.testing.assert_allclose(pet_intensity(1000 * image), scaled, rtol=1e-6)
    assert pet_intensity(np.full((2, 2, 2), 5.0)).max() == 1  # fewer than a thousand voxels: one counts
    with pytest.raises(UserError, match="no positive voxels"):
        pet_intensity(np.zeros((4, 4, 4)))


def test_a_modality_without_it_is_declared_as_before_there_was_such_a_key():
    """The declaration is part of the settings that decide whether a map is made again."""
    before = {**PET, "components": None}
    assert declared() == before
    assert declared(intensity="none") == before
    assert declared(intensity="pet") == {**before, "intensity": "pet"}
    lines = schema_problems({"pet": {**PET, "intensity": "mri"}}, load_schema("modalities"))
    assert lines == ["pet.intensity: 'mri' is not one of none, pet"]


@pytest.fixture
def images(tmp_path):
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    brain = np.zeros((24, 24, 24), np.float32)
    brain[7:17, 7:17, 7:17] = 1
    nib.save(nib.Nifti1Image(brain, affine), tmp_path / "template.nii.gz")
    nib.save(nib.Nifti1Image(brain * 500 + 20, affine), tmp_path / "pet.nii.gz")
    nib.save(nib.Nifti1Image(brain * 0, affine), tmp_path / "empty.nii.gz")
    return tmp_path


def mapped(folder, image="pet.nii.gz", **given):
    volumes = section_defaults("volumes") | {"resolution_mm": 2, "downsample": 2, "shape": [8, 8, 8]}
    map_to_template(
        image=folder / image,
        template=folder / "template.nii.gz",
        subject="01",
        modality="pet",
        output=folder / "map.nii.gz",
        settings=volumes | {"modality": declared(**given), "seed": 1, "version": 1},
    )
    return nib.load(folder / "map.nii.gz").get_fdata()


def test_the_map_command_applies_it_when_asked(images):
    plain = mapped(images)
    assert (plain.max(), plain[0, 5, 5]) == (pytest.approx(520), pytest.approx(20))
    pet = mapped(images, intensity="pet")
    assert (pet.max(), pet[0, 5, 5]) == (pytest.approx(1), 0)
    assert json.loads((images / "map.json").read_text())["Settings"]["modality"]["intensity"] == "pet"
    with pytest.raises(UserError, match=r"subject 01: modality pet .*empty.nii.gz: has no positive voxels"):
        mapped(images, "empty.nii.gz", intensity="pet")


def test_a_t1w_image_in_units_of_its_brain_does_not_depend_on_the_scanners_gain(images):
    """Scanners have units of their own, and many choose a gain for each scan."""
    schema = load_schema("modalities")

    volumes = section_defaults("volumes") | {"resolution_mm": 2, "downsample": 2, "shape": [8, 8, 8]}

    def t1w(name, **given):
        declaration = expand_modalities(fill_defaults({"t1w": {"from": "t1w", **given}}, schema))["t1w"]
        map_to_template(
            image=images / name,
            template=images / "template.nii.gz",
            subject="01",
            modality="t1w",
            output=images / "map.nii.gz",
            settings=volumes | {"modality": declaration, "seed": 1, "version": 1},
        )
        return declaration, nib.load(images / "map.nii.gz").get_fdata()

    image = nib.load(images / "pet.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata() * 7, image.affine), images / "louder.nii.gz")
    before, raw = t1w("pet.nii.gz")
    assert before == {"from": "t1w"}  # the settings of maps that were made before there was such a key
    np.testing.assert_allclose(t1w("louder.nii.gz")[1], 7 * raw, rtol=1e-6)
    _, own = t1w("pet.nii.gz", intensity="brain")
    np.testing.assert_allclose(t1w("louder.nii.gz", intensity="brain")[1], own, rtol=1e-6)
    brain = read_image(images / "template.nii.gz")
    inside = mask_to_grid(brain, fusion_grid(brain, volumes))
    assert own[inside].mean() == pytest.approx(1)
    with pytest.raises(
        UserError, match=r"subject 01: modality t1w .*empty.nii.gz: has no signal inside the brain"
    ):
        t1w("empty.nii.gz", intensity="brain")


@pytest.mark.parametrize(("shape", "brightest"), [((20, 25, 30), 15), ((8, 9, 10), 1), ((3, 3, 3), 1)])
def test_pet_is_relative_to_the_mean_of_the_brightest_thousandth_in_any_unit(shape, brightest):
    data = np.random.default_rng(0).gamma(2.0, 1e-4, shape).astype(np.float32)
    reference = np.sort(data, axis=None)[::-1][:brightest].mean()
    expected = np.where(data < 0.1 * reference, 0, data / reference)
    np.testing.assert_allclose(pet_intensity(data), expected, rtol=1e-5)


def test_a_map_is_divided_by_its_mean_inside_the_brain_however_small_that_is():
    rng = np.random.default_rng(0)
    data, inside = rng.random((12, 13, 14)).astype(np.float32) * 1e-3, rng.random((12, 13, 14)) < 0.4
    relative = brain_intensity(data, inside)
    np.testing.assert_allclose(relative, data / data[inside].astype(float).mean(), rtol=1e-6)
    with pytest.raises(UserError, match="no signal inside the brain"):
        brain_intensity(np.where(inside, 0, data), inside)
