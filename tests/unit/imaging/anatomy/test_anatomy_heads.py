"""A study of images that still have their skull: the template's mask gives each person's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anatomy_phantoms as phantoms
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from template_steps import build_template

from neurostrata.core.config import section_defaults
from neurostrata.imaging.anatomy import commands
from neurostrata.imaging.images.io import Grid, Image, is_skull_stripped, read_image
from neurostrata.imaging.registration import commands as registration_commands
from neurostrata.imaging.registration.transforms import displace, invert_displacement, resample, sample
from neurostrata.imaging.template.mni152 import MNI152, load_mni152

pytestmark = pytest.mark.slow

PEOPLE = {"01": (4.0, 1.0, 6.0), "02": (-5.0, 0.93, -5.0), "03": (7.0, 1.05, 4.0)}


def head(mni152: MNI152) -> tuple[Image, Image]:
    """MNI152's brain in a dark skull, a bright scalp and a neck; and its true mask, on one larger grid."""
    side = 5.0
    centre = np.array([0.0, -18.0, 0.0])
    affine = np.diag([side, side, side, 1.0])
    shape = (44, 52, 56)
    affine[:3, 3] = centre - np.array([21.5, 25.5, 36.0]) * side
    grid = Grid(shape, affine)
    mask = resample(Image(mni152.mask.astype(np.float32), mni152.brain.grid), grid) > 0.5
    brain = resample(mni152.brain, grid) * 100 * mask
    distance = ndimage.distance_transform_edt(~mask) * side
    points = grid.points()
    neck = (np.hypot(points[..., 0], points[..., 1] + 30) < 55) & (points[..., 2] < -50) & (distance > 10)
    texture = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal(shape), 1.5)
    data = np.where((distance > 12) & (distance < 22), 90 + 100 * texture, 0)
    data = np.where(neck, 55 + 120 * texture, data)
    data = np.where((distance > 0) & (distance <= 12), 12, data) + brain
    return Image(data.astype(np.float32), grid), Image(mask.astype(np.float32), grid)


def test_masks_of_heads(tmp_path: Path) -> None:
    whole, truth = head(load_mni152(4))
    registration: dict[str, Any] = {**section_defaults("registration"), "engine": "greedy"}
    template = {**section_defaults("template"), "registration": registration, "seed": 1, "tolerance": None}
    template.update(resolution_mm=5.0, iterations=1)
    masks = {}
    rng = np.random.default_rng(7)
    for subject, (degrees, scale, size) in PEOPLE.items():
        where = phantoms.grid(58, 5.0, degrees=degrees)
        warp = invert_displacement(phantoms.bump(phantoms.grid(60, 5.0), size, 25, (20, -20, 10)))
        points = displace(warp, where.points() / scale) + np.array([0.0, -18.0, -20.0])
        air = np.abs(rng.normal(0, 1.0, where.shape))
        nib.save(
            nib.Nifti1Image((sample(whole, points) + air).astype(np.float32), where.affine),
            tmp_path / f"{subject}_T1w.nii.gz",
        )
        masks[subject] = sample(truth, points) > 0.5
        commands.prepare_t1w(
            t1w=tmp_path / f"{subject}_T1w.nii.gz",
            subject=subject,
            output=tmp_path / f"{subject}_t1w.nii.gz",
            mask=tmp_path / f"{subject}_initial.nii.gz",
            settings={**section_defaults("anatomy"), "seed": 1},
        )
    build_template(tmp_path, PEOPLE, template, iterations=1)
    for subject in PEOPLE:
        assert is_skull_stripped(tmp_path / f"{subject}_t1w.nii.gz") is False
        registration_commands.register(
            t1w=tmp_path / f"{subject}_t1w.nii.gz",
            initial_mask=tmp_path / f"{subject}_initial.nii.gz",
            template=tmp_path / "template.nii.gz",
            template_mask=tmp_path / "mask.nii.gz",
            subject=subject,
            affine=tmp_path / f"{subject}.mat",
            warp=tmp_path / f"{subject}_warp.nii.gz",
            inverse_warp=tmp_path / f"{subject}_inverse.nii.gz",
            warped=tmp_path / f"{subject}_warped.nii.gz",
            mask=tmp_path / f"{subject}_mask.nii.gz",
            settings={**registration, "seed": 1},
        )
        found = read_image(tmp_path / f"{subject}_mask.nii.gz").data > 0
        dice = 2 * (found & masks[subject]).sum() / (found.sum() + masks[subject].sum())
        assert dice > 0.9
