"""Dual regression: planted components and time courses found again, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import stats

from neurostrata.cli import main
from neurostrata.cohort.participation import exclusions_table
from neurostrata.cohort.study import Study
from neurostrata.core.config import check_config
from neurostrata.core.errors import UserError
from neurostrata.core.tables import read_table
from neurostrata.gate.cache import FileCache
from neurostrata.gate.check import find_problems
from neurostrata.imaging.functional.commands import dual_regression
from neurostrata.imaging.functional.dual_regression import (
    dual_regression_maps,
    on_grid,
    series_mask,
    spatial_regression,
    temporal_regression,
)
from neurostrata.imaging.images.io import Grid
from neurostrata.imaging.images.series import Series
from neurostrata.simulation.images import functional
from neurostrata.simulation.images.files import write_nifti
from neurostrata.simulation.images.templates import load_templates
from neurostrata.simulation.people.people import Settings, make_people

OPTIONS = {"components": 5, "statistic": "beta", "normalise": True}
SETTINGS = Settings(
    people=12, seed=4, components=5, bold=True, bold_resolution_mm=8.0, diagnosis_effect=1.0, diffusion=False
)


@pytest.fixture(scope="module")
def networks():
    return functional.make_networks(load_templates(), SETTINGS)


@pytest.fixture(scope="module")
def people(networks):
    """Person, true components, series and time courses of everybody."""
    members = make_people(SETTINGS)
    share = float(np.mean([person.patient for person in members]))
    found = []
    for person in members:
        components = functional.make_components(person, SETTINGS, networks, share)
        found.append((person, components, *functional.make_bold(person, SETTINGS, networks, components)))
    return found


@pytest.fixture
def files(networks, people, tmp_path) -> dict[str, Any]:
    write_nifti(tmp_path / "bold.nii.gz", people[0][2], networks.affine, functional.REPETITION_S)
    write_nifti(tmp_path / "components.nii.gz", networks.maps, networks.affine)
    return {
        "bold": tmp_path / "bold.nii.gz",
        "components": tmp_path / "components.nii.gz",
        "subject": "001",
        "output": tmp_path / "out" / "maps.nii.gz",
        "timeseries": tmp_path / "out" / "timeseries.tsv",
        "settings": OPTIONS,
    }


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_without_noise_the_weights_are_exact() -> None:
    rng = np.random.default_rng(0)
    maps, courses = rng.standard_normal((3, 400)), rng.standard_normal((60, 3))
    courses -= courses.mean(axis=0)
    data = courses @ maps + 50.0
    weights = spatial_regression(data, maps)
    np.testing.assert_allclose(weights - weights.mean(axis=0), courses, atol=1e-3)
    np.testing.assert_allclose(temporal_regression(data, courses, "beta"), maps, atol=1e-3)


def test_z_values_of_noise_are_normal_and_large_ones_stay_finite() -> None:
    rng = np.random.default_rng(1)
    courses = rng.standard_normal((40, 4))
    z = temporal_regression(rng.standard_normal((40, 20_000)), courses, "z")
    assert abs(z.mean()) < 0.02
    assert z.std() == pytest.approx(1.0, abs=0.02)
    # a t statistic with 35 degrees of freedom would pass this in 0.09% of the voxels more
    assert (np.abs(z) > 3).mean() == pytest.approx(0.0027, abs=0.0008)
    sure = temporal_regression(courses @ np.eye(4) + 1e-4 * rng.standard_normal((40, 4)), courses, "z")
    assert np.isfinite(sure).all()
    assert np.diag(sure).min() > 15


def test_z_values_are_those_of_an_ordinary_regression_with_an_intercept() -> None:
    """Of more voxels than are computed at a time; as few volumes as leave one degree of freedom; 0 where there is nothing."""
    rng = np.random.default_rng(1)
    for volumes, voxels in ((9, 20_300), (5, 50)):
        courses = rng.standard_normal((volumes, 3)) + 4
        data = rng.standard_normal((volumes, voxels)) + courses @ rng.standard_normal((3, voxels)) + 7
        data[:, 11] = 0
        z = temporal_regression(data, courses, "z")
        design = np.column_stack([courses, np.ones(volumes)])
        found, squares = np.linalg.lstsq(design, data, rcond=None)[:2]
        variances = np.diag(np.linalg.inv(design.T @ design))
        with np.errstate(invalid="ignore", divide="ignore"):
            t = (found / np.sqrt(np.outer(variances, squares / (volumes - 4))))[:3]
        expected = stats.norm.isf(stats.t.sf(np.abs(t), volumes - 4)) * np.sign(t)
        expected[:, 11] = 0
        np.testing.assert_allclose(z, expected, rtol=2e-3, atol=2e-3)
    with pytest.raises(UserError, match="at least 5"):
        temporal_regression(data[:4], courses[:4], "z")


def test_maps_of_very_different_units_can_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    maps, courses = rng.standard_normal((2, 300)), rng.standard_normal((20, 2))
    scale = np.array([1.0, 1e7])
    weights = spatial_regression(courses @ maps, maps * scale[:, None])
    np.testing.assert_allclose(weights * scale, courses, atol=1e-4)


def test_components_on_the_grid_of_the_series_but_for_rounding_keep_their_values() -> None:
    rng = np.random.default_rng(0)
    where, moved = np.diag([3.0, 3, 3, 1]), np.diag([3.0, 3, 3, 1])
    moved[:3, 3] = 0.02
    components = Series(rng.random((5, 6, 7, 2)).astype(np.float32), Grid((5, 6, 7), where))
    series = Series(np.zeros((5, 6, 7, 4), np.float32), Grid((5, 6, 7), moved))
    np.testing.assert_array_equal(on_grid(components, series), components.data)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_the_brain_of_a_series_has_a_tenth_of_its_brightness_in_any_unit(unit: float) -> None:
    rng = np.random.default_rng(0)
    brightness = np.full((6, 6, 6), 100.0)
    brightness[0], brightness[1], brightness[2, :, :3] = 12, 8, 0
    noise = rng.standard_normal((6, 6, 6, 10))
    series = Series(
        ((brightness[..., None] + noise) * unit).astype(np.float32), Grid((6, 6, 6), np.diag([3.0, 3, 3, 1]))
    )
    series.data[5, 5, 5] = 100 * unit  # never changes
    expected = brightness > 10
    expected[5, 5, 5] = False
    np.testing.assert_array_equal(series_mask(series), expected)
    centred = (noise - noise.mean(axis=3, keepdims=True)) * unit
    without = Series(centred.astype(np.float32), series.grid)
    assert series_mask(without).all()


def test_amplitudes_end_up_in_the_maps_and_only_when_time_courses_are_normalised() -> None:
    rng = np.random.default_rng(2)
    maps = rng.standard_normal((2, 500))
    courses = rng.standard_normal((80, 2))
    courses = (courses - courses.mean(axis=0)) / courses.std(axis=0)
    scale = np.array([1.0, 3.0])
    data = (courses * scale) @ maps
    found = dual_regression_maps(data, maps, "beta")
    np.testing.assert_allclose(found.maps, maps * scale[:, None], atol=1e-2)
    np.testing.assert_allclose(found.courses.std(axis=0), 1)
    np.testing.assert_allclose(dual_regression_maps(data, maps, "beta", False).maps, maps, atol=1e-2)


# z is not linear in t, so it follows the planted amplitudes less closely where they are large
@pytest.mark.parametrize(("statistic", "least", "usual"), [("beta", 0.9, 0.95), ("z", 0.85, 0.88)])
def test_planted_maps_and_time_courses_are_found_in_noisy_series(
    networks, people, statistic, least, usual
) -> None:
    inside = networks.brain
    group = networks.maps[inside].T
    good, weak, bad = [], [], []
    for person, components, series, courses in people:
        found = dual_regression_maps(series[inside].T, group, statistic)
        likeness = [correlation(a, b) for a, b in zip(found.maps, components.maps[inside].T)]
        strong = components.amplitudes > 0.7
        (bad if person.bad_scan else good).extend(np.array(likeness)[strong])
        if not person.bad_scan:
            weak.extend(np.array(likeness)[~strong])
            assert min(correlation(a, b) for a, b in zip(found.courses.T, courses.T)) > 0.95
    assert min(good) > least
    assert np.median(good) > usual
    # less to see at the same noise, and three times the noise: so the thresholds can be missed
    assert np.median(weak) < np.median(good) - 0.01
    assert np.median(bad) < 0.85


def test_planted_amplitudes_and_the_diagnosis_in_them_are_found(networks, people) -> None:
    inside = networks.brain
    group = networks.maps[inside]
    measured, planted, patients = [], [], []
    for person, components, series, _ in people:
        found = dual_regression_maps(series[inside].T, group.T, "beta")
        # amplitude: weight of the group's map in the person's
        measured.append([found.maps[k] @ group[:, k] / (group[:, k] @ group[:, k]) for k in range(5)])
        planted.append(components.amplitudes)
        patients.append(person.patient)
    measured_array = np.array(measured) / functional.FLUCTUATION
    planted_array, sick = np.array(planted), np.array(patients)
    assert correlation(measured_array.ravel(), planted_array.ravel()) > 0.9
    hit = networks.effects != 0
    assert hit.tolist() == [True, True, False, False, False]
    by_truth = planted_array[sick].mean(axis=0) - planted_array[~sick].mean(axis=0)
    by_image = measured_array[sick].mean(axis=0) - measured_array[~sick].mean(axis=0)
    np.testing.assert_allclose(by_image, by_truth, atol=0.1)


def test_the_command_writes_maps_on_the_grid_of_the_series(files, networks, people) -> None:
    options = [part for key, value in files.items() if key != "settings" for part in (f"--{key}", str(value))]
    assert main(["stage", "dual-regression", *options, "--settings", json.dumps(OPTIONS)]) == 0
    image = nib.load(files["output"])
    assert image.shape == (*networks.brain.shape, 5)
    np.testing.assert_allclose(image.affine, networks.affine)
    data = np.asarray(image.dataobj)
    assert not data[~networks.brain].any()
    truth = people[0][1].maps
    for k in range(5):
        assert correlation(data[networks.brain][:, k], truth[networks.brain][:, k]) > 0.9
    courses = read_table(files["timeseries"])
    assert courses.shape == (functional.VOLUMES, 5)
    sidecar = json.loads((files["output"].parent / "maps.json").read_text())
    assert sidecar["Components"] == 5
    assert sidecar["VoxelsInMask"] == int(networks.brain.sum())


def test_components_on_another_grid_are_brought_to_that_of_the_series(files, networks, people) -> None:
    finer = functional.make_networks(load_templates(), Settings(components=5, bold_resolution_mm=5.0))
    write_nifti(files["components"], finer.maps, finer.affine)
    dual_regression(**files)
    data = np.asarray(nib.load(files["output"]).dataobj)[networks.brain]
    truth = people[0][1].maps[networks.brain]
    assert min(correlation(data[:, k], truth[:, k]) for k in range(5)) > 0.9


@pytest.mark.parametrize("scaled", [False, True])
def test_a_series_without_its_mean_keeps_its_brain(scaled: bool) -> None:
    """Denoised series are often given without the mean of each voxel, so that brightness tells nothing of the brain."""
    rng = np.random.default_rng(0)
    brain = np.zeros((12, 12, 12), bool)
    brain[2:10, 2:10, 2:10] = True
    data = np.zeros((*brain.shape, 60), np.float32)
    data[brain] = rng.uniform(500, 1500, (brain.sum(), 1)) + 10 * rng.standard_normal((brain.sum(), 60))
    air = np.abs(rng.normal(0, 3, data.shape)).astype(np.float32)
    grid = Grid(brain.shape, np.eye(4))
    assert np.array_equal(series_mask(Series(np.where(brain[..., None], data, air), grid)), brain)
    without = data - data.mean(axis=3, keepdims=True)
    if scaled:
        without /= np.maximum(without.std(axis=3, keepdims=True), 1e-6)
    assert np.array_equal(series_mask(Series(without, grid)), brain)


def test_a_given_mask_is_kept_to(files, networks) -> None:
    mask = networks.brain.copy()
    mask[: mask.shape[0] // 2] = False
    write_nifti(files["bold"].parent / "mask.nii.gz", mask.astype(np.uint8), networks.affine)
    dual_regression(**files, mask=files["bold"].parent / "mask.nii.gz")
    data = np.asarray(nib.load(files["output"]).dataobj)
    assert not data[~mask].any()
    assert data[mask].any()


def test_what_cannot_be_regressed_is_refused_in_a_line(files, networks, people) -> None:
    folder = files["bold"].parent
    with pytest.raises(
        UserError, match=r"has 5 components, the modality declares 7; set its 'components' to 5"
    ):
        dual_regression(**files | {"settings": OPTIONS | {"components": 7}})
    far = networks.affine.copy()
    far[0, 3] += 400
    write_nifti(folder / "far.nii.gz", networks.maps, far)
    with pytest.raises(UserError, match=r"subject 001.*same \(template\) space"):
        dual_regression(**files | {"components": folder / "far.nii.gz"})
    twice = networks.maps.copy()
    twice[..., 1] = twice[..., 0]
    write_nifti(folder / "twice.nii.gz", twice, networks.affine)
    with pytest.raises(UserError, match=r"subject 001.*a combination of the others"):
        dual_regression(**files | {"components": folder / "twice.nii.gz"})
    write_nifti(folder / "short.nii.gz", people[0][2][..., :6], networks.affine)
    with pytest.raises(UserError, match="has 6 volumes; 5 components need at least 7"):
        dual_regression(**files | {"bold": folder / "short.nii.gz"})
    still = np.repeat(people[0][2][..., :1], 20, axis=3)
    write_nifti(folder / "still.nii.gz", still, networks.affine)
    with pytest.raises(UserError, match="changes over time"):
        dual_regression(**files | {"bold": folder / "still.nii.gz"})
    write_nifti(folder / "one.nii.gz", people[0][2][..., 0], networks.affine)
    with pytest.raises(UserError, match=r"subject 001: bold .*4-D series"):
        dual_regression(**files | {"bold": folder / "one.nii.gz"})
    broken = people[0][2].astype(np.float32)
    broken[
        networks.brain.nonzero()[0][0], networks.brain.nonzero()[1][0], networks.brain.nonzero()[2][0], 3
    ] = np.nan
    write_nifti(folder / "nan.nii.gz", broken, networks.affine)
    with pytest.raises(UserError, match="NaN"):
        dual_regression(**files | {"bold": folder / "nan.nii.gz"})
    assert not files["output"].exists()


def study(folder: Path, count: int = 2, **cells: str) -> Study:
    config = check_config(
        {
            "cohort": {"sheet": "cohort.tsv"},
            "modalities": {
                "jac": {"from": "jacobian"},
                "icn": {
                    "from": "dual_regression",
                    "column": "bold",
                    "components_image": str(folder / "components.nii.gz"),
                    "components": count,
                },
            },
            "experiments": [
                {"name": "a", "model": "pca", "modalities": ["jac", "icn2"], "validation": {"folds": 2}}
            ],
        }
    )
    rows = [{"subject": f"{n:02d}", "t1w": str(folder / "t1w.nii.gz"), **cells} for n in range(1, 6)]
    return Study(config, rows)


def test_a_dual_regression_is_declared_as_one_modality_per_component(tmp_path) -> None:
    found = study(tmp_path, bold="bold.nii.gz")
    assert found.with_modality("icn2") == ["01", "02", "03", "04", "05"]
    assert found.modalities["icn2"]["component"] == 1
    assert found.modalities["icn2"]["statistic"] == "beta"
    assert found.declared("icn2") == "icn"
    assert found.declared("jac") == "jac"
    assert "bold" in found.used_columns()
    without = study(tmp_path)
    assert without.with_modality("icn2") == []
    assert {
        "subject": "01",
        "modality": "icn2",
        "stage": "volumes",
        "reason": "no bold in the cohort sheet",
    } in exclusions_table(without)
    problem = f"modalities.icn.components_image: {tmp_path}/components.nii.gz: no such file"
    assert problem in [p.text for p in find_problems(without, FileCache(tmp_path / "headers.json"))]


def test_the_cohort_check_looks_at_series_and_components(tmp_path) -> None:
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.float32), np.eye(4)), tmp_path / "t1w.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9, 3), np.float32), np.eye(4)), tmp_path / "components.nii.gz")
    found = study(tmp_path, 2, bold=str(tmp_path / "t1w.nii.gz"))
    text = "\n".join(p.text for p in find_problems(found, FileCache(tmp_path / "headers.json")))
    assert "modalities.icn.components_image" in text
    assert "has shape (9, 9, 9, 3), 2 components are declared" in text
    assert "subject 01: bold" in text
    assert "expected a 4-D series of 4 volumes or more, got shape (9, 9, 9)" in text


def test_the_number_of_components_must_be_declared() -> None:
    with pytest.raises(UserError, match=r"modalities\.icn: the key 'components' is missing"):
        check_config(
            {
                "cohort": {"sheet": "cohort.tsv"},
                "modalities": {
                    "icn": {"from": "dual_regression", "column": "bold", "components_image": "c.nii"}
                },
            }
        )
