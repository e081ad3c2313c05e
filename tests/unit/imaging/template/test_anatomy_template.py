"""The shape update: it lands in the middle of the people and drifts neither in pose nor in size."""

from __future__ import annotations

import json
from pathlib import Path

import anatomy_phantoms as phantoms
import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from neurostrata.core.config import section_defaults
from neurostrata.imaging.images.io import Image, apply_affine, centre_of_mass
from neurostrata.imaging.registration.transforms import Displacement, resample, rigid_and_stretch
from neurostrata.imaging.template.building import (
    Average,
    brain_of,
    centred_box,
    centred_on,
    has_converged,
    pose_between,
    relative_change,
    start_grid,
    updated_template,
)

SETTINGS = section_defaults("template")


def none(grid) -> Displacement:
    return Displacement(np.zeros((*grid.shape, 3), np.float32), grid)


def turn(degrees: float, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] *= scale
    matrix[:3, 3] = shift
    return matrix


def test_mean_of_centred_images_is_centred_and_covers_everybody() -> None:
    images = [
        phantoms.brain(phantoms.grid(44, 4.0, degrees=d), seed=s, matrix=turn(0, 1, 8.0 * s))
        for d, s in ((0, 0), (10, 1), (0, 2))
    ]
    grid = start_grid([centred_box(image) for image in images], 4.0, 8.0)
    mean = np.mean([centred_on(image, grid) for image in images], axis=0)
    assert np.abs(centre_of_mass(Image(mean, grid))).max() < 1.0
    border = np.ones(grid.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert mean[border].max() == 0
    assert mean[brain_of(mean)].mean() == pytest.approx(100, rel=0.15)


def test_poses_of_the_people_do_not_move_the_template() -> None:
    """Rigid differences only: the updated template is the average itself."""
    template = phantoms.brain(phantoms.grid())
    average = Average(template)
    for degrees, shift in ((12, 5.0), (20, 9.0), (5, -2.0)):
        average.add(template.data, none(template.grid), turn(degrees, 1.0, shift))
    new = updated_template(average, SETTINGS)
    assert np.allclose(average.stretch, np.eye(3), atol=1e-6)
    assert np.abs(new - template.data).max() < 0.5


def test_template_takes_the_peoples_mean_size() -> None:
    """Everybody is 10% longer on every side than the template: so is the new template, centred as before."""
    template = phantoms.brain(phantoms.grid(48, 4.0))
    average = Average(template)
    for scale in (1.1 * 1.05, 1.1 / 1.05):
        average.add(template.data, none(template.grid), turn(30, scale, 4.0))
    assert np.allclose(average.stretch, 1.1 * np.eye(3), atol=1e-6)
    new = updated_template(average, SETTINGS)
    old_volume, new_volume = brain_of(template.data).sum(), brain_of(new).sum()
    assert new_volume / old_volume == pytest.approx(1.1**3, rel=0.03)
    before, after = centre_of_mass(template), centre_of_mass(Image(new, template.grid))
    assert np.abs(before - after).max() < 1.5


def test_mean_stretch_ignores_rotations_and_does_not_swell() -> None:
    average = Average(phantoms.brain(phantoms.grid(24, 7.0)))
    thin, thick = np.diag([1.2, 1, 1, 1.0]), np.diag([1 / 1.2, 1, 1, 1.0])
    for matrix in (turn(40) @ thin, turn(-15) @ thick):
        average.add(average.template.data, none(average.template.grid), matrix)
    assert np.allclose(average.stretch, np.eye(3), atol=1e-9)
    assert rigid_and_stretch(turn(40) @ thin)[1] == pytest.approx(thin[:3, :3])


def test_average_is_moved_by_the_mean_warp() -> None:
    """Three people who all bulge the same way: the new template is the old one with their mean bulge."""
    template = phantoms.brain(phantoms.grid(44, 4.0))
    grid = template.grid
    fields = [
        phantoms.bump(grid, size, 20, centre)
        for size, centre in ((9, (20, 0, 0)), (7, (15, 10, 0)), (5, (0, 5, 10)))
    ]
    average = Average(template)
    for field in fields:
        average.add(template.data, field, np.eye(4))
    assert average.measures()["rms_mean_warp_vox"] > 0.3
    new = updated_template(average, {**SETTINGS, "hold_pose": False})
    # The new template must be the old one, moved by the mean displacement.
    mean = Displacement(np.mean([field.vectors for field in fields], axis=0), grid)
    expected = phantoms.brain(grid, deform=mean).data
    inside = template.data > 40
    assert np.abs(new - expected)[inside].mean() < 0.25 * np.abs(template.data - expected)[inside].mean()

    # A bulge to one side also moves the centre: held in its pose, the template has the same new shape elsewhere.
    held = Image(updated_template(average, {**SETTINGS, "hold_pose": True}), grid)
    pose = pose_between(held, Image(expected, grid), brain_of(expected))
    assert np.linalg.norm(pose[:3, 3]) > 0.5
    back = phantoms.brain(grid, deform=mean, matrix=np.linalg.inv(pose)).data
    assert np.abs(held.data - back)[inside].mean() < 0.25 * np.abs(template.data - back)[inside].mean()


def rotation(grid, degrees: float, shift: float) -> Displacement:
    """Return the displacement of a rigid motion about the world's origin."""
    points = grid.points(0, grid.shape[0])
    return Displacement((apply_affine(turn(degrees, 1.0, shift), points) - points).astype(np.float32), grid)


def test_warps_that_turn_everybody_do_not_turn_the_template() -> None:
    template = phantoms.brain(phantoms.grid(44, 4.0))
    average = Average(template)
    for degrees, shift in ((3.0, 2.0), (1.0, 0.0), (5.0, 4.0)):
        average.add(template.data, rotation(template.grid, degrees, shift), np.eye(4))
    inside = average.mask
    change = {
        hold: float(
            np.abs(updated_template(average, {**SETTINGS, "hold_pose": hold}) - template.data)[inside].mean()
        )
        for hold in (True, False)
    }
    assert change[False] > 5
    assert change[True] < 0.7  # what three interpolations blur


def test_the_pose_between_two_templates_is_found() -> None:
    grid = phantoms.grid(44, 4.0)
    fixed = phantoms.brain(grid)
    expected = turn(4.0, 1.0, 3.0)
    moving = phantoms.brain(grid, deform=rotation(grid, 4.0, 3.0))  # at M x: what is at x in the fixed one
    brighter = Image(moving.data * 1.3 + 4, grid)
    for image in (moving, brighter):
        found = pose_between(fixed, image, brain_of(fixed.data))
        points = grid.points(0, grid.shape[0])[brain_of(fixed.data)]
        apart = np.linalg.norm(apply_affine(found, points) - apply_affine(expected, points), axis=1)
        assert apart.max() < 0.4  # mm; voxels are 4 mm
        assert np.allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3))


def test_a_ball_has_no_pose_but_its_place() -> None:
    grid = phantoms.grid(44, 4.0)
    points = grid.points(0, grid.shape[0])
    rng = np.random.default_rng(0)

    def ball(x: float) -> Image:
        distance = np.linalg.norm(points - [x, 0, 0], axis=-1)
        noise = rng.normal(0, 0.5, grid.shape)
        return Image((100 / (1 + np.exp((distance - 55) / 3)) + noise).astype(np.float32), grid)

    found = pose_between(ball(0), ball(2), np.linalg.norm(points, axis=-1) < 65)
    assert np.allclose(found[:3, 3], [2, 0, 0], atol=0.1)
    assert np.allclose(found[:3, :3], np.eye(3), atol=2e-3)
    nowhere = np.zeros(grid.shape, bool)
    assert np.array_equal(pose_between(ball(0), ball(2), nowhere), np.eye(4))


def test_half_a_step_goes_half_the_way() -> None:
    template = phantoms.brain(phantoms.grid(44, 4.0))
    average = Average(template)
    average.add(template.data, none(template.grid), turn(0, 1.2))
    volumes = [brain_of(updated_template(average, {**SETTINGS, "shape_step": s})).sum() for s in (0.5, 1.0)]
    start = brain_of(template.data).sum()
    assert volumes[0] / start == pytest.approx(1.2**1.5, rel=0.04)
    assert volumes[1] / start == pytest.approx(1.2**3, rel=0.04)


def test_sharpening_brings_contrast() -> None:
    template = phantoms.brain(phantoms.grid())
    average = Average(template)
    average.add(template.data, none(template.grid), np.eye(4))
    plain, sharp = (updated_template(average, {**SETTINGS, "sharpening": s}) for s in (0, 0.5))
    inside = brain_of(template.data)
    assert sharp[inside].std() > 1.02 * plain[inside].std()
    assert sharp.min() >= 0


def test_measures_are_means_over_people() -> None:
    template = phantoms.brain(phantoms.grid())
    average = Average(template)
    bump = phantoms.bump(template.grid, 6)
    average.add(template.data, bump, turn(0, 1.1))
    average.add(
        resample(template, template.grid, None, bump),
        Displacement(-bump.vectors, bump.grid),
        turn(9, 1 / 1.1),
    )
    measures = average.measures()
    assert measures["people"] == 2
    assert measures["rms_mean_warp_vox"] == pytest.approx(0, abs=1e-6)
    assert measures["mean_log_scale"] == pytest.approx(0, abs=1e-9)
    assert measures["similarity_worst"] < measures["similarity"] < 1
    assert np.allclose(
        average.image, (template.data + resample(template, template.grid, None, bump)) / 2, atol=1e-3
    )
    assert np.allclose(linalg.logm(average.stretch), 0, atol=1e-9)


def test_convergence() -> None:
    data = phantoms.brain(phantoms.grid()).data
    assert relative_change(data, data) == 0
    assert relative_change(data, data * 1.05) > 0.04
    measures = {"rms_change": 0.004, "rms_mean_warp_vox": 0.2}
    assert has_converged(measures, 0.01)
    assert not has_converged(measures, None)
    assert not has_converged(measures, 0.001)
    assert not has_converged({**measures, "rms_mean_warp_vox": 0.7}, 0.01)


def test_convergence_figure_and_its_table(tmp_path: Path) -> None:
    from neurostrata.imaging.template.convergence import CONVERGENCE_COLUMNS, draw_convergence

    rows = [
        {
            "iteration": i,
            "similarity": 0.9,
            "rms_change": 0.1 / i,
            "rms_mean_warp_vox": 0.5,
            "mean_log_jacobian": 0.01,
            "converged": False,
            "skipped": i == 3,
        }
        for i in (1, 2, 3)
    ]
    draw_convergence(pd.DataFrame(rows).reindex(columns=list(CONVERGENCE_COLUMNS)), 0.01, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 5000
    assert json.dumps(CONVERGENCE_COLUMNS)
