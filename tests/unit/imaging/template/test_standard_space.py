"""Images in MNI152 space on the fusion grid: the inverse of a registration, and landmarks brought over by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anatomy_phantoms as phantoms
import nibabel as nib
import numpy as np
import pytest

from neurostrata.core.config import check_config, section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.files import read_json
from neurostrata.imaging.images.io import Grid, Image, apply_affine, write_image
from neurostrata.imaging.registration.chain import Registration, inverted
from neurostrata.imaging.registration.transforms import (
    displace,
    invert_displacement,
    read_affine,
    read_displacement,
    sample,
)
from neurostrata.imaging.template import mni152 as mni152_module
from neurostrata.imaging.template.commands import template_to_mni
from neurostrata.imaging.volumes.commands import map_to_template

SPACING = 4.0
#: Fusion grid of the tests: 4 mm, one fine voxel each.
GRID = {"resolution_mm": SPACING, "downsample": 1, "shape": [60, 60, 60]}
#: mm in MNI152: putamen, occipital pole, superior frontal, cerebellum.
LANDMARKS = [(26.0, 2.0, 0.0), (-14.0, -92.0, 2.0), (20.0, 30.0, 44.0), (-30.0, -60.0, -36.0)]


def oblique(degrees: float = 12.0) -> np.ndarray:
    """An affine that turns, stretches and shifts by centimetres: MNI152 points to study points."""
    turn = phantoms.grid(3, 1.0, degrees=degrees).affine[:3, :3]
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([1.06, 0.95, 1.02])
    matrix[:3, 3] = [18.0, -25.0, 11.0]
    return matrix


def test_the_inverse_of_a_known_transform() -> None:
    """Moving points go back where they came from, to a hundredth of a voxel."""
    fixed = phantoms.grid(50, SPACING)
    moving = Grid(fixed.shape, oblique() @ fixed.affine)
    warp = phantoms.bump(fixed, 7.0, 24.0, (10.0, -15.0, 5.0))
    back = inverted(Registration(oblique(), warp, invert_displacement(warp)), moving)
    assert back.warp is not None
    points = np.random.default_rng(0).uniform(-45, 45, (500, 3))
    there = apply_affine(oblique(), displace(warp, points))
    returned = apply_affine(back.affine, displace(back.warp, there))
    error = np.linalg.norm(returned - points, axis=-1)
    assert np.linalg.norm(there - points, axis=-1).min() > 5
    assert error.max() < 0.2 * SPACING
    assert np.median(error) < 0.02 * SPACING


def blobs(points: np.ndarray, number: int) -> np.ndarray:
    """A Gaussian around a landmark, sd 5 mm."""
    return np.exp(-((points - np.array(LANDMARKS[number])) ** 2).sum(-1) / 50).astype(np.float32)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template that is MNI152's brain turned, stretched, shifted and locally grown, and its transform."""
    folder = tmp_path_factory.mktemp("mni")
    mni152 = mni152_module.load_mni152(4)
    where = phantoms.grid(60, SPACING)
    local = phantoms.bump(where, 5.0, 30.0, (10.0, -20.0, 10.0))
    to_mni = np.linalg.inv(oblique())
    image = sample(mni152.brain, apply_affine(to_mni, displace(local, where.points())))
    write_image(folder / "template.nii.gz", image * 100, where)
    # where each landmark lies: the point that `local` and the affine bring to it
    back = invert_displacement(local)
    truth = displace(back, apply_affine(oblique(), np.array(LANDMARKS)))
    np.savetxt(folder / "truth.txt", truth)
    registration: dict[str, Any] = {**section_defaults("registration"), "engine": "greedy"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mni152_module, "load_mni152", lambda resolution_mm: mni152)
        template_to_mni(
            template=folder / "template.nii.gz",
            affine=folder / "affine.mat",
            warp=folder / "warp.nii.gz",
            settings={"registration": registration, "seed": 1, "version": 1},
        )
    return folder


def brought_over(folder: Path, image: Path, modality: dict[str, Any], component: int = 0) -> np.ndarray:
    """Return the study point (mm) that the image's weight is centred on."""
    output = folder / "map.nii.gz"
    map_to_template(
        image=image,
        template=folder / "template.nii.gz",
        subject="01",
        modality="pet",
        output=output,
        affine=folder / "affine.mat",
        warp=folder / "warp.nii.gz",
        settings={**GRID, "modality": {**modality, "component": component}, "seed": 1, "version": 1},
    )
    found: Any = nib.load(output)
    data = np.asarray(found.dataobj)
    data = np.where(data > 0.3 * data.max(), data, 0)
    index = np.argwhere(data > 0)
    return np.average(apply_affine(found.affine, index), axis=0, weights=data[data > 0])


def test_landmarks_end_within_a_voxel(study: Path) -> None:
    """On another grid than MNI152's own, its axes turned and flipped; one file of several components."""
    odd = phantoms.grid(90, 2.5, degrees=15, axes="LPS")
    values = np.stack([blobs(odd.points(), k) for k in range(len(LANDMARKS))], axis=-1)
    values[~(np.abs(odd.points()) < 95).all(axis=-1)] = np.nan  # as SPM marks what is outside
    nib.save(nib.Nifti1Image(values, odd.affine), study / "icn.nii.gz")
    declared = {"from": "column", "column": "icn", "space": "mni", "components": len(LANDMARKS)}
    truth = np.loadtxt(study / "truth.txt")
    errors = []
    for number, expected in enumerate(truth):
        found = brought_over(study, study / "icn.nii.gz", declared, number)
        errors.append(np.linalg.norm(found - expected))
    assert np.linalg.norm(truth - np.array(LANDMARKS), axis=-1).min() > 10  # where they would be without
    assert max(errors) < SPACING
    assert np.mean(errors) < 0.5 * SPACING
    with pytest.raises(UserError, match="NaN or infinite"):
        brought_over(study, study / "icn.nii.gz", {**declared, "space": "template"})


def test_the_files_are_those_of_a_registration(study: Path) -> None:
    field, affine = read_displacement(study / "warp.nii.gz"), read_affine(study / "affine.mat")
    template: Any = nib.load(study / "template.nii.gz")
    np.testing.assert_allclose(field.grid.affine, template.affine, atol=1e-4)
    reached = apply_affine(affine, displace(field, np.loadtxt(study / "truth.txt")))
    assert np.linalg.norm(reached - np.array(LANDMARKS), axis=-1).max() < SPACING
    said = read_json(study / "warp.json")
    assert said["Similarity"] > 0.8
    assert said["AffineDeterminant"] == pytest.approx(1 / np.linalg.det(oblique()[:3, :3]), rel=0.15)


def test_a_template_that_is_no_brain_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mni152 = mni152_module.load_mni152(5)
    monkeypatch.setattr(mni152_module, "load_mni152", lambda resolution_mm: mni152)
    where = phantoms.grid(40, 5.0)
    noise = np.random.default_rng(0).uniform(50, 100, where.shape).astype(np.float32)
    write_image(tmp_path / "template.nii.gz", Image(noise, where).data, where)
    with pytest.raises(UserError, match="registration"):
        template_to_mni(
            template=tmp_path / "template.nii.gz",
            affine=tmp_path / "affine.mat",
            warp=tmp_path / "warp.nii.gz",
            settings={
                "registration": {**section_defaults("registration"), "engine": "greedy"},
                "seed": 1,
                "version": 1,
            },
        )
    assert not (tmp_path / "affine.mat").exists()


def test_what_is_declared_without_a_space_keeps_its_settings() -> None:
    """A space that was not asked for must not appear: maps of finished studies would be made again."""
    icn = {"from": "dual_regression", "column": "bold", "components_image": "c.nii.gz", "components": 2}
    found = check_config({"cohort": {"sheet": "c.tsv"}, "modalities": {"icn": icn}, "experiments": []})
    assert "space" not in found["modalities"]["icn"]
