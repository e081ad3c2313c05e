"""Measures of diffusion data: fit, lost signal, gradient table, alignment, NODDI."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from quality_phantoms import brain

from neurostrata.gate.gradients import Gradients
from neurostrata.imaging.diffusion.tensor import tensor_maps
from neurostrata.imaging.images.io import Grid, Image
from neurostrata.imaging.images.series import open_series
from neurostrata.imaging.quality import diffusion
from neurostrata.imaging.quality.diffusion import (
    alignment_measures,
    direction_coherence,
    fibre_directions,
    fit_tensors,
    noddi_residual,
    outlying,
    read_sample,
    residual,
    series_measures,
)
from neurostrata.simulation.images.diffusion_signal import demo_scheme, noddi_signal

SHAPE = (28, 28, 28)


def grid(flip: bool = False) -> Grid:
    affine = np.diag([-2.0 if flip else 2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [27 if flip else -27, -27, -27]
    return Grid(SHAPE, affine)


def table() -> Gradients:
    bvals, bvecs = demo_scheme(12, seed=1)
    return Gradients(bvals, bvecs, 50)


def ring() -> tuple[np.ndarray, np.ndarray]:
    """Return where a bundle runs, a tilted ring, and its directions in world coordinates, (voxels, 3)."""
    points = grid().points()
    normal = np.array([0.4, 0.3, 0.866])
    height = points @ normal
    radius = np.linalg.norm(points - height[..., None] * normal, axis=-1)
    mask = (radius > 13) & (radius < 24) & (np.abs(height) < 6)
    along = np.cross(normal, points[mask])
    return mask, along / np.linalg.norm(along, axis=1, keepdims=True)


def signals(directions: np.ndarray, gradients: Gradients, noise: float = 0.01) -> np.ndarray:
    size = len(directions)
    full = [np.full(size, value) for value in (0.6, 0.15, 0.05)]
    signal = noddi_signal(gradients.bvals, gradients.bvecs, *full, directions)
    return (1000 * (signal + np.random.default_rng(2).normal(scale=noise, size=signal.shape))).astype(
        np.float32
    )


def test_tensors_give_directions_and_what_they_leave() -> None:
    gradients, (_, along) = table(), ring()
    low = gradients.bvals <= 1050
    fitted = fit_tensors(signals(along, gradients)[:, low], gradients.select(low))
    assert np.median(np.abs((fitted.directions * along).sum(axis=1))) > 0.99
    maps = tensor_maps(signals(along, gradients)[:, low], gradients.select(low))
    assert np.abs(fitted.fa - maps.fa).max() < 0.03
    noisy = fit_tensors(signals(along, gradients, 0.05)[:, low], gradients.select(low))
    assert residual(noisy.residuals) > 2.5 * residual(fitted.residuals)
    shuffled = gradients.select(low)
    weighted = np.flatnonzero(~shuffled.b0)
    shuffled.bvecs[weighted] = shuffled.bvecs[np.roll(weighted, 3)]
    wrong = fit_tensors(signals(along, gradients)[:, low], shuffled)
    assert residual(wrong.residuals) > 5 * residual(fitted.residuals)


def in_table(directions: np.ndarray, where: Grid) -> np.ndarray:
    """World directions in FSL's coordinates of gradients."""
    index = directions @ (where.affine[:3, :3] / where.spacing)
    return index * [-1 if np.linalg.det(where.affine[:3, :3]) > 0 else 1, 1, 1]


@pytest.mark.parametrize("flip", [False, True])
def test_directions_go_on_only_with_the_right_table(flip: bool) -> None:
    mask, along = ring()
    where = grid(flip)
    if flip:  # the same bundle, stored from the other side
        order = np.full(SHAPE, -1)
        order[mask] = np.arange(len(along))
        mask = mask[::-1]
        along = along[order[::-1][mask]]
    right = in_table(along, where)
    assert direction_coherence(right, mask, where) > 0.03
    for axis in range(3):
        wrong = right * np.where(np.arange(3) == axis, -1, 1)
        assert direction_coherence(wrong, mask, where) < -0.03
    for axes in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        assert direction_coherence(right[:, axes], mask, where) < -0.03
    moments = fibre_directions(right, np.ones(len(right)), mask, where, np.eye(4))
    expected = along.copy()
    expected[:, 0] *= np.sign(where.points()[mask][:, 0])
    assert moments["fibres_xz"] == pytest.approx((expected[:, 0] * expected[:, 2]).mean(), abs=1e-6)
    assert moments["fibres_yy"] == pytest.approx((along[:, 1] ** 2).mean(), abs=1e-6)


def test_fibre_directions_are_those_of_the_template() -> None:
    """A head that is turned, with its scan, has the same directions in the template's axes; a flipped table has others."""
    mask, along = ring()
    angle = np.deg2rad(25)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    where = grid()
    turned = Grid(SHAPE, turn @ where.affine)
    right = in_table(along, where)
    one = fibre_directions(right, np.ones(len(right)), mask, where, np.eye(4))
    other = fibre_directions(right, np.ones(len(right)), mask, turned, turn)
    assert other == pytest.approx(one, abs=1e-6)
    flipped = fibre_directions(right * [1, 1, -1], np.ones(len(right)), mask, where, np.eye(4))
    assert flipped["fibres_yz"] == pytest.approx(-one["fibres_yz"], abs=1e-6)
    assert flipped["fibres_yy"] == pytest.approx(one["fibres_yy"])


def test_lost_volumes_and_slices_are_outliers() -> None:
    gradients = table()
    rng = np.random.default_rng(3)
    volumes = len(gradients.bvals)
    residuals = rng.normal(scale=0.02, size=(400, volumes)).astype(np.float32)
    means = 1000 * np.exp(-gradients.bvals / 1500) * rng.normal(1, 0.01, size=(20, volumes))
    assert not outlying(residuals, means, gradients, 100).any()
    weighted = np.flatnonzero(~gradients.b0)
    residuals[:, weighted[2]] *= 3
    means[8, weighted[5]] *= 0.7
    means[:, weighted[7]] *= 0.9  # a whole volume may be darker: that is its direction
    assert set(np.flatnonzero(outlying(residuals, means, gradients, 100))) == {weighted[2], weighted[5]}


def test_a_series_is_measured_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients, (mask, along) = table(), ring()
    where = grid()
    data = np.zeros((*SHAPE, len(gradients.bvals)), np.float32)
    data[mask] = signals(in_table(along, where), gradients)
    path = tmp_path / "dwi.nii.gz"
    nib.save(nib.Nifti1Image(data, where.affine), path)
    found, sample, fitted = series_measures(
        open_series(path, "01"), mask, where, gradients, (1050, 100), np.eye(4)
    )
    assert np.array_equal(sample.signals, data[mask])
    middle = SHAPE[2] // 2
    assert sample.slice_means[middle] == pytest.approx(
        data[:, :, middle][mask[:, :, middle]].mean(axis=0), rel=1e-5
    )
    assert found["dwi_volumes"] == len(gradients.bvals)
    assert (found["dwi_shells"], found["dwi_smallest_shell"]) == (2, 12)
    assert found["direction_coherence"] > 0.03
    assert found["dwi_snr"] == pytest.approx(100, rel=0.15)
    truth = [np.full(len(along), value) for value in (0.05, 0.6, 0.15)]
    right = noddi_residual(sample, fitted, (truth[0], truth[1], truth[2]), gradients, (0.0017, 0.003))
    wrong = noddi_residual(sample, fitted, (truth[0], truth[1] - 0.3, truth[2]), gradients, (0.0017, 0.003))
    assert right < 0.02 < 0.05 < wrong
    # what does not fit into memory: the middle slices
    monkeypatch.setattr(diffusion, "MOST_VALUES", int(mask[:, :, 12:16].sum()) * len(gradients.bvals))
    part = read_sample(open_series(path, "01"), mask)
    assert 3 <= part.slices.stop - part.slices.start <= 5
    assert np.array_equal(part.signals, data[:, :, part.slices][mask[:, :, part.slices]])
    assert np.array_equal(part.slice_means, sample.slice_means, equal_nan=True)


def test_misaligned_diffusion_data_lie_badly_on_the_t1w_image() -> None:
    data, tissue, mask, where = brain()
    b0 = np.where(mask, np.array([160.0, 110.0, 90.0])[tissue], 0)
    fa = np.where(tissue == 2, 0.6, 0.1) * mask
    moved = np.eye(4)
    moved[:3, 3] = [8, 0, 0]
    found = [
        alignment_measures(Image(data, where), mask, Image(b0, where), mask, Image(fa, where), matrix)
        for matrix in (np.eye(4), moved)
    ]
    assert found[0]["dwi_overlap"] > 0.98
    assert found[0]["fa_similarity"] > 0.7
    assert found[0]["dwi_movement"] == 0
    assert found[1]["dwi_movement"] == pytest.approx(8)
    assert found[1]["dwi_overlap"] < 0.95
    assert found[1]["fa_similarity"] < 0.6 * found[0]["fa_similarity"]
    assert found[1]["dwi_information"] < 0.5 * found[0]["dwi_information"]
    # the scanners' units do not count
    units = Image((1e-3 * data).astype(np.float32), where), Image((1e-3 * b0).astype(np.float32), where)
    scaled = alignment_measures(units[0], mask, units[1], mask, Image(fa, where), np.eye(4))
    assert scaled == pytest.approx(found[0], rel=0.02)
