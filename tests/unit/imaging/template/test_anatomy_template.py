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
from neurostrata.imaging.images.io import Image, centre_of_mass
from neurostrata.imaging.registration.transforms import Displacement, resample, rigid_and_stretch
from neurostrata.imaging.template.building import (
    Average,
    brain_of,
    centred_box,
    centred_on,
    has_converged,
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
    new = updated_template(average, SETTINGS)
    # The new template must be the old one, moved by the mean displacement.
    mean = Displacement(np.mean([field.vectors for field in fields], axis=0), grid)
    expected = phantoms.brain(grid, deform=mean).data
    inside = template.data > 40
    assert np.abs(new - expected)[inside].mean() < 0.25 * np.abs(template.data - expected)[inside].mean()


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
