"""Template, registration, Jacobian and tissue on real brains (IXI at 2 mm, with DLMUSE labels).

The bounds are the project's own targets. 8 people, the greedy engine, two iterations: about ten minutes on
two cores.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluate_ixi import mean_dice
from template_steps import build_template

from neurostrata.core.config import section_defaults
from neurostrata.imaging.anatomy import commands
from neurostrata.imaging.images.io import Grid, Image, read_image
from neurostrata.imaging.registration import commands as registration_commands
from neurostrata.imaging.registration.chain import register_images, similarity, warp_image
from neurostrata.imaging.registration.transforms import read_affine, read_displacement, resample
from neurostrata.imaging.template.shape import LARGEST_DISTANCE_VOX, LARGEST_LOG_SIZE, MeanShape

pytestmark = pytest.mark.slow

PEOPLE = 8
THREADS = min(2, os.cpu_count() or 1)
VENTRICLES, HIPPOCAMPI = (51, 52), (47, 48)


def registration() -> dict[str, Any]:
    return {**section_defaults("registration"), "engine": "greedy"}


@pytest.fixture(scope="module")
def people(real_data: Path) -> list[str]:
    volumes = pd.read_csv(real_data / "ixi/dlmuse_volumes_mm3.tsv", sep="\t", dtype={"subject": str})
    # Spread over the size of the ventricles, so that a few people say something about correlations.
    ordered = volumes.sort_values("51")["subject"].tolist()
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, PEOPLE).astype(int)]


@pytest.fixture(scope="module")
def study(real_data: Path, people: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ixi")
    common = {"seed": 1, "version": 1}
    template = {**section_defaults("template"), **common, "registration": registration(), "tolerance": None}
    template.update(resolution_mm=2.0, iterations=2, coarse_iterations=1)
    for subject in people:
        commands.prepare_t1w(
            t1w=real_data / f"ixi/t1w/{subject}_T1w.nii.gz",
            subject=subject,
            output=folder / f"{subject}_t1w.nii.gz",
            mask=folder / f"{subject}_initial.nii.gz",
            settings={**section_defaults("anatomy"), **common},
        )
    build_template(folder, people, template, iterations=2, threads=THREADS)
    for subject in people:
        registration_commands.register(
            t1w=folder / f"{subject}_t1w.nii.gz",
            initial_mask=folder / f"{subject}_initial.nii.gz",
            template=folder / "template.nii.gz",
            template_mask=folder / "mask.nii.gz",
            subject=subject,
            affine=folder / f"{subject}.mat",
            warp=folder / f"{subject}_warp.nii.gz",
            inverse_warp=folder / f"{subject}_inverse.nii.gz",
            warped=folder / f"{subject}_warped.nii.gz",
            mask=folder / f"{subject}_mask.nii.gz",
            settings={**registration(), **common},
            threads=THREADS,
        )
        commands.jacobian(
            affine=folder / f"{subject}.mat",
            warp=folder / f"{subject}_warp.nii.gz",
            subject=subject,
            nonlinear=folder / f"{subject}_nonlinear.nii.gz",
            absolute=folder / f"{subject}_absolute.nii.gz",
            settings=common,
        )
    return folder


def labels(study: Path, real_data: Path, subject: str, linear: bool = False) -> np.ndarray:
    """A person's regions in template space, nearest neighbour."""
    return resample(
        read_image(real_data / f"ixi/labels/{subject}_dlmuse.nii.gz"),
        read_image(study / "template.nii.gz").grid,
        read_affine(study / f"{subject}.mat"),
        None if linear else read_displacement(study / f"{subject}_warp.nii.gz"),
        order=0,
    ).astype(int)


def test_regions_of_different_people_overlap(study: Path, real_data: Path, people: list[str]) -> None:
    warped = [labels(study, real_data, subject) for subject in people]
    linear = [labels(study, real_data, subject, linear=True) for subject in people]
    pairs = list(itertools.combinations(range(len(people)), 2))
    deformed = np.mean([mean_dice(warped[i], warped[j]) for i, j in pairs])
    affine = np.mean([mean_dice(linear[i], linear[j]) for i, j in pairs])
    print(f"Dice over {len(pairs)} pairs: {deformed:.4f}, affine {affine:.4f}")
    assert deformed >= 0.64
    assert deformed >= affine + 0.10


def test_template_is_in_the_middle(study: Path, people: list[str]) -> None:
    """The people's mean places, not their mean log scale: that is -0.036 here, and stays so in further iterations."""
    mask = read_image(study / "mask.nii.gz")
    shape = MeanShape(mask.grid, mask.data > 0)
    for subject in people:
        shape.add(read_affine(study / f"{subject}.mat"), read_displacement(study / f"{subject}_warp.nii.gz"))
        determinant = read_image(study / f"{subject}_nonlinear.nii.gz").data
        assert (determinant[mask.data > 0] > 0).mean() > 0.9999
    print(shape.distance_vox, shape.log_size, np.mean(shape.log_scales))
    assert shape.distance_vox <= LARGEST_DISTANCE_VOX
    assert abs(shape.log_size) <= LARGEST_LOG_SIZE


def test_jacobians_measure_regions(study: Path, real_data: Path, people: list[str]) -> None:
    """Summed over the template's region, the absolute Jacobian is the person's volume of it."""
    volumes = pd.read_csv(real_data / "ixi/dlmuse_volumes_mm3.tsv", sep="\t", dtype={"subject": str})
    volumes = volumes.set_index("subject").loc[people]
    warped = np.stack([labels(study, real_data, subject) for subject in people])
    voxel = read_image(study / "template.nii.gz").grid.voxel_volume
    for name, numbers, least in (("ventricles", VENTRICLES, 0.97), ("hippocampi", HIPPOCAMPI, 0.6)):
        region = np.isin(warped, numbers).mean(axis=0) >= 0.5
        measured = np.array(
            [read_image(study / f"{s}_absolute.nii.gz").data[region].sum() * voxel for s in people]
        )
        truth = volumes[[str(number) for number in numbers]].sum(axis=1).to_numpy()
        r = np.corrcoef(np.log(measured), np.log(truth))[0, 1]
        slope = np.polyfit(np.log(truth), np.log(measured), 1)[0]
        print(f"{name}: log-Pearson {r:.3f}, slope {slope:.2f}")
        assert r >= least


def test_tissue_volumes_follow_the_reference(
    study: Path, real_data: Path, people: list[str], tmp_path: Path
) -> None:
    volumes = pd.read_csv(real_data / "ixi/dlmuse_volumes_mm3.tsv", sep="\t", dtype={"subject": str})
    volumes = volumes.set_index("subject").loc[people]
    totals = []
    for subject in people:
        paths = {name: tmp_path / f"{subject}_{name}.nii.gz" for name in ("gm", "wm", "csf")}
        commands.segment_tissue(
            t1w=study / f"{subject}_t1w.nii.gz",
            mask=study / f"{subject}_mask.nii.gz",
            affine=study / f"{subject}.mat",
            inverse_warp=study / f"{subject}_inverse.nii.gz",
            gm_prior=study / "gm.nii.gz",
            wm_prior=study / "wm.nii.gz",
            csf_prior=study / "csf.nii.gz",
            subject=subject,
            settings={**section_defaults("tissue"), "seed": 1},
            **paths,
        )
        totals.append([read_image(paths[name]).data.sum() * 8 for name in ("gm", "wm")])
    found = np.array(totals)
    for column, (name, reference) in enumerate((("GM", "601"), ("WM", "604"))):
        truth = volumes[reference].to_numpy()
        r = np.corrcoef(found[:, column], truth)[0, 1]
        print(f"{name}: r {r:.3f}, ratio {np.mean(found[:, column] / truth):.3f}")
        assert r >= 0.8
        assert 0.75 < np.mean(found[:, column] / truth) < 1.2


def test_ants_runs_on_real_brains(study: Path, people: list[str]) -> None:
    """The paper's SyN, at 4 mm so that it is cheap: better than affine, no folding."""
    first, second = (read_image(study / f"{subject}_t1w.nii.gz") for subject in people[:2])

    def coarse(image: Image) -> Image:
        affine = image.grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:3, 3] += image.grid.affine[:3, :3] @ np.full(3, 0.5)
        sides = tuple(side // 2 for side in image.data.shape)
        blocks = image.data[: sides[0] * 2, : sides[1] * 2, : sides[2] * 2]
        blocks = blocks.reshape(sides[0], 2, sides[1], 2, sides[2], 2).mean(axis=(1, 3, 5))
        return Image(blocks, Grid((sides[0], sides[1], sides[2]), affine))

    fixed, moving = coarse(first), coarse(second)
    start = time.time()
    result = register_images(fixed, moving, section_defaults("registration"), threads=THREADS)
    print(f"SyN at 4 mm: {time.time() - start:.0f} s")
    inside = fixed.data > 0
    linear = resample(moving, fixed.grid, result.affine)
    deformed = warp_image(moving, fixed, result)
    assert similarity(deformed, fixed.data, inside) > similarity(linear, fixed.data, inside) + 0.05
