"""Comparing a run's results with what was planted."""

import numpy as np
import pandas as pd
import pytest

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.core.files import write_json
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.images.io import Grid, read_image, write_image
from neurostrata.simulation.commands import simulate
from neurostrata.simulation.recovery import (
    compare_regions,
    deformation_recovery,
    diffusion_recovery,
    recovery,
    strata_recovery,
)


def test_regions_are_compared_without_head_size_and_template():
    rng = np.random.default_rng(1)
    planted = rng.normal(0, 0.1, (20, 12))
    weights = rng.uniform(1, 5, 12)
    centred = planted - np.average(planted, axis=1, weights=weights)[:, None]
    measured = 0.8 * centred + rng.normal(0, 0.3, (20, 1)) + rng.normal(0, 0.5, (1, 12))
    found = compare_regions(measured, planted, weights)
    assert found["correlation"] == pytest.approx(1.0, abs=1e-4)
    assert found["slope"] == pytest.approx(0.8, abs=1e-4)
    noise = compare_regions(rng.normal(0, 0.1, (20, 12)), planted, weights)
    assert abs(noise["correlation"]) < 0.3


def test_figures_within_regions_are_medians_of_ordinary_regressions():
    rng = np.random.default_rng(3)
    planted = rng.normal(0, 0.1, (15, 7))
    measured = planted * np.linspace(0.2, 1.4, 7) + rng.normal(0, 0.05, (15, 7))
    weights = rng.uniform(1, 5, 7)
    found = compare_regions(measured, planted, weights)
    # without each person's mean over the voxels of all regions
    m, p = (values - (values @ weights / weights.sum())[:, None] for values in (measured, planted))
    correlations = [np.corrcoef(m[:, region], p[:, region])[0, 1] for region in range(7)]
    slopes = [np.polyfit(p[:, region], m[:, region], 1)[0] for region in range(7)]
    assert found["region_correlation"] == pytest.approx(np.median(correlations), abs=1e-4)
    assert found["region_slope"] == pytest.approx(np.median(slopes), abs=1e-4)
    m, p = ((values - values.mean(axis=0)).ravel() for values in (m, p))
    assert found["correlation"] == pytest.approx(np.corrcoef(m, p)[0, 1], abs=1e-4)
    assert found["slope"] == pytest.approx(np.polyfit(p, m, 1)[0], abs=1e-4)
    assert compare_regions(np.zeros((3, 7)), planted[:3], weights)["region_slope"] == 0
    assert compare_regions(planted[:3], np.zeros((3, 7)), weights)["slope"] is None


def people_table(folder, **columns):
    write_table(folder / "truth" / "participants.tsv", pd.DataFrame(columns))


def test_clusters_are_compared_with_the_oracle(tmp_path):
    cohort, results = tmp_path / "cohort", tmp_path / "results"
    people_table(cohort, subject=["1a", "2a", "3a", "4a", "5a"], stratum=[1, 1, 2, 2, 3])
    write_json(cohort / "truth" / "oracle.json", {"adjusted_rand": 0.5})
    for name, clusters in {"right": [2, 2, 1, 1], "none": [1, 1, 1, 1]}.items():
        table = pd.DataFrame({"subject": ["1a", "2a", "3a", "4a"], "cluster": clusters})
        for folder in ("adjusted/mixture", "raw/mixture"):
            write_table(results / "experiments" / name / "strata" / folder / "clusters.tsv", table)
    # Another finder on other codes is told of and doesn't lead.
    alone = pd.DataFrame({"subject": ["1a", "2a"], "cluster": [1, 2]})
    write_table(results / "experiments/right/strata/raw/affinity_propagation/clusters.tsv", alone)
    found = strata_recovery(cohort, results)
    assert found["oracle"] == 0.5
    every = found["experiments"]["right"].pop("all")
    assert [(row["finder"], row["codes"], row["people"]) for row in every] == [
        ("mixture", "adjusted", 4),
        ("affinity_propagation", "raw", 2),
        ("mixture", "raw", 4),
    ]
    assert found["experiments"]["right"] == {
        "finder": "mixture",
        "codes": "adjusted",
        "adjusted_rand": 1.0,
        "share_of_oracle": 2.0,
        "clusters": 2,
        "people": 4,
    }
    assert found["experiments"]["none"]["adjusted_rand"] == 0.0
    # The configuration that ran says what leads.
    strata = {"finders": ["affinity_propagation", "mixture"], "adjust": {"columns": []}}
    write_json(results / "provenance.json", {"settings": {"strata": strata}})
    found = strata_recovery(cohort, results)["experiments"]
    assert (found["right"]["finder"], found["right"]["people"]) == ("affinity_propagation", 2)
    assert "none" not in found


def test_diffusion_maps_are_compared_where_there_is_tissue(tmp_path):
    cohort, results = tmp_path / "cohort", tmp_path / "results"
    people_table(
        cohort,
        subject=["01", "02", "03"],
        bad_scan=["no", "yes", "no"],
        has_dwi=["yes", "yes", "no"],
    )
    rng = np.random.default_rng(2)
    grid = Grid((8, 9, 10), np.diag([4.0, 4.0, 4.0, 1.0]))
    planted = rng.uniform(0.2, 0.8, grid.shape)
    water = np.full(grid.shape, 0.1)
    water[:2] = 0.9
    measured = planted + 0.03
    measured[:2] = 0.0  # where it does not count
    for subject, offset in (("01", 0.0), ("02", 5.0)):
        maps = cohort / "truth" / "maps"
        write_image(maps / f"sub-{subject}_space-dwi_param-ndi_map.nii.gz", planted, grid)
        write_image(maps / f"sub-{subject}_space-dwi_param-fwf_map.nii.gz", water, grid)
        folder = results / "derivatives" / f"sub-{subject}" / "dwi"
        write_image(folder / f"sub-{subject}_model-noddi_param-ndi_dwimap.nii.gz", measured + offset, grid)
    found = diffusion_recovery(cohort, results)
    assert list(found) == ["ndi"]
    assert found["ndi"]["bias"] == pytest.approx(0.03, abs=1e-4)
    assert found["ndi"]["mean_absolute_error"] == pytest.approx(0.03, abs=1e-4)
    assert found["ndi"]["r"] == pytest.approx(1.0, abs=1e-4)
    assert (found["ndi"]["people"], found["ndi"]["voxels"]) == (1, 6 * 9 * 10)


def test_a_folder_without_truth_is_named(tmp_path):
    with pytest.raises(UserError, match="simulated cohort"):
        recovery(cohort=tmp_path, results=tmp_path, output=tmp_path / "x.json", settings={})


@pytest.mark.slow
def test_planted_growth_is_found_in_a_template_that_is_not_mni(tmp_path):
    """The planted maps themselves as results, in a study space shifted and 5% larger than MNI152."""
    cohort, results = tmp_path / "cohort", tmp_path / "results"
    simulate(output=cohort, people=5, seed=2, resolution_mm=6.0, diffusion=False)
    truth = cohort / "truth"
    image = read_image(truth / "mni_T1w.nii.gz")
    affine = image.grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])  # every other voxel
    affine[:3] *= 1.05
    affine[:3, 3] += [4.0, -3.0, 2.0]
    data = image.data[::2, ::2, ::2]
    grid = Grid(data.shape, affine)
    write_image(results / "template" / "template.nii.gz", data, grid)
    for row in read_table(truth / "participants.tsv").itertuples():
        name = f"sub-{row.subject}_space-MNI_desc-nonlinear_logjacobian.nii.gz"
        growth = read_image(truth / "jacobians" / name).data
        folder = results / "derivatives" / f"sub-{row.subject}" / "anat"
        write_image(
            folder / f"sub-{row.subject}_space-study_desc-absolute_jacobian.nii.gz",
            np.exp(growth[::2, ::2, ::2] + row.log_det_affine) / 1.05**3,
            grid,
        )
    settings = section_defaults("registration") | {"engine": "greedy"}
    found = deformation_recovery(cohort, results, settings)
    assert found["people"] == 5
    assert found["correlation"] > 0.99
    assert found["slope"] == pytest.approx(1.0, abs=0.03)
