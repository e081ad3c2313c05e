"""Dual regression in the workflow: one job per person however many components, no template needed."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import yaml
from small_study import StudyFolder

SHAPE, AFFINE = (12, 12, 12), np.diag([8.0, 8.0, 8.0, 1.0])


@pytest.fixture
def with_bold(study: StudyFolder) -> StudyFolder:
    """Series of everybody but the last person, made of two components."""
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((*SHAPE, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(maps, AFFINE), study.folder / "images" / "components.nii.gz")

    def add(cells: list[list[str]]) -> None:
        cells[0].append("bold")
        for row in cells[1:]:
            path = f"images/sub-{row[0].removeprefix('sub-')}_bold.nii.gz"
            series = 1000 + maps @ rng.standard_normal((2, 20)) + 0.1 * rng.standard_normal((*SHAPE, 20))
            nib.save(nib.Nifti1Image(series.astype(np.float32), AFFINE), study.folder / path)
            row.append(path if row is not cells[-1] else "")

    study.edit_sheet(add)
    study.configure(
        modalities={
            "jac": {"from": "jacobian"},
            "icn": {
                "from": "dual_regression",
                "column": "bold",
                "components_image": "images/components.nii.gz",
                "components": 2,
            },
        },
        experiments=[
            {"name": "icn", "model": "pca", "modalities": ["icn1", "icn2"], "validation": {"folds": 2}}
        ],
    )
    return study


def test_a_person_has_one_dual_regression_and_a_map_per_component(with_bold: StudyFolder) -> None:
    planned = with_bold.planned("volumes")
    assert planned["dual_regression"] == 5
    assert planned["map_to_template"] == 10
    assert planned["normalise"] == 2
    assert "jacobian" not in planned


def test_the_rule_makes_its_maps_and_is_planned_again_when_its_settings_change(
    with_bold: StudyFolder,
) -> None:
    folder = with_bold.folder / "results" / "derivatives" / "sub-01" / "func"
    target = "results/derivatives/sub-01/func/sub-01_space-template_desc-icn_components.nii.gz"
    people = "results/cohort/groups/modality-icn1.tsv"
    run = with_bold.snakemake(target, people)
    assert run.returncode == 0, run.stdout + run.stderr
    assert len((with_bold.folder / people).read_text().splitlines()) == 1 + 5
    assert nib.load(with_bold.folder / target).shape == (*SHAPE, 2)
    assert (folder / "sub-01_desc-icn_timeseries.tsv").exists()
    assert with_bold.planned(target) == {}
    with_bold.configure(
        modalities={
            "jac": {"from": "jacobian"},
            "icn": {
                "from": "dual_regression",
                "column": "bold",
                "components_image": "images/components.nii.gz",
                "components": 2,
                "statistic": "z",
            },
        }
    )
    assert with_bold.planned(target) == {"dual_regression": 1}


def test_maps_in_mni_space_wait_for_one_registration_of_the_template(with_bold: StudyFolder) -> None:
    assert "template_to_mni" not in with_bold.planned("volumes")

    path = with_bold.folder / "config" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["modalities"]["icn"]["space"] = "mni"
    config["modalities"]["pet"] = {"from": "column", "column": "bold", "space": "mni", "components": 20}
    config["experiments"][0]["modalities"] = ["icn1", "icn2", "pet01"]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    planned = with_bold.planned("volumes")
    assert planned["template_to_mni"] == 1
    assert planned["dual_regression"] == 5
    assert planned["map_to_template"] == 15
    assert "register" not in planned  # of nobody: these images need no T1w
    text = with_bold.snakemake("-n", "-p", "volumes").stdout
    commands = [line for line in text.splitlines() if "neurostrata stage map-to-template" in line]
    assert len(commands) == 15
    for command in commands:
        assert "--affine results/template/from-MNI152_to-study_desc-affine_xfm.mat" in command
        assert "--warp results/template/from-MNI152_to-study_desc-warp_xfm.nii.gz" in command


def test_a_missing_components_image_ends_before_anything_is_planned(with_bold: StudyFolder) -> None:
    (with_bold.folder / "images" / "components.nii.gz").unlink()
    run = with_bold.snakemake("-n", "volumes")
    assert run.returncode == 2
    assert "modalities.icn.components_image: images/components.nii.gz: no such file" in run.stderr
