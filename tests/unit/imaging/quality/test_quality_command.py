"""The command that measures a person: whatever there is of the person, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from quality_phantoms import LEVELS, brain

from neurostrata.core.files import write_sidecar
from neurostrata.core.tables import read_table
from neurostrata.imaging.anatomy.jacobian import nonlinear_jacobian
from neurostrata.imaging.images.io import Grid, write_image
from neurostrata.imaging.quality.commands import measure_quality
from neurostrata.imaging.quality.registry import FAMILIES, MEASURES
from neurostrata.imaging.registration.transforms import Displacement, write_affine, write_displacement
from neurostrata.simulation.images.diffusion_signal import demo_scheme, noddi_signal

SETTINGS = {
    "diffusion": {"b0_max": 50, "tensor_b_max": 1050, "shell_gap": 100, "d_parallel": 0.0017, "d_iso": 0.003},
    "modalities": {"fa": {"from": "tensor", "measure": "fa"}},
}


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All files of a person whose brain is the template's."""
    folder = tmp_path_factory.mktemp("person")
    data, tissue, mask, grid = brain()

    def image(name: str, values: np.ndarray, where: Grid = grid) -> Path:
        write_image(folder / f"{name}.nii.gz", values, where)
        return folder / f"{name}.nii.gz"

    warp = Displacement(np.zeros((*grid.shape, 3), np.float32), grid)
    warp.vectors[..., 0] = np.sin(grid.points()[..., 0] / 10)
    files: dict[str, Any] = {
        "raw": image("raw", data * np.linspace(0.9, 1.1, data.shape[2])),
        "t1w": image("t1w", data),
        "mask": image("mask", mask),
        "warped": image("warped", data),
        "jacobian": image("jacobian", nonlinear_jacobian(warp)),
        "template": image("template", np.where(mask, LEVELS[tissue], 0)),
        "template_mask": image("template_mask", mask),
        **{key: image(key, tissue == k) for key, k in {"grey": 1, "white": 2, "fluid": 0}.items()},
    }
    for name in ("affine", "alignment"):
        write_affine(folder / f"{name}.mat", np.eye(4))
        files[name] = folder / f"{name}.mat"
    for name in ("warp", "inverse_warp"):
        write_displacement(folder / f"{name}.nii.gz", warp)
        files[name] = folder / f"{name}.nii.gz"
    coarse = Grid(tuple(side // 2 for side in grid.shape), grid.affine @ np.diag([2, 2, 2, 1]))  # type: ignore[arg-type]
    inside = mask[::2, ::2, ::2]
    bvals, bvecs = demo_scheme(8, seed=1)
    size = int(inside.sum())
    truth = {key: np.full(size, value) for key, value in {"ndi": 0.6, "odi": 0.15, "fwf": 0.05}.items()}
    along = np.tile([0.6, 0.8, 0.0], (size, 1))
    rng = np.random.default_rng(0)
    series = np.zeros((*coarse.shape, len(bvals)), np.float32)
    series[inside] = 1000 * noddi_signal(bvals, bvecs, *truth.values(), along)
    series[inside] += rng.normal(scale=10, size=(size, len(bvals)))
    nib.save(nib.Nifti1Image(series, coarse.affine), folder / "dwi.nii.gz")
    np.savetxt(folder / "dwi.bval", bvals[None], fmt="%g")
    np.savetxt(folder / "dwi.bvec", bvecs.T)
    fa = np.where(tissue == 2, 0.6, 0.2)[::2, ::2, ::2] * inside
    files |= {
        key: folder / f"dwi.{ending}"
        for key, ending in {"dwi": "nii.gz", "bval": "bval", "bvec": "bvec"}.items()
    }
    files |= {
        "b0": image("b0", series[..., bvals < 50].mean(axis=3), coarse),
        "fa": image("fa", fa, coarse),
        "dwi_mask": image("dwi_mask", inside, coarse),
        "grid_mask": image("grid_mask", inside, coarse),
        "maps": [image("sub-x_space-study_desc-fa_map", fa, coarse)],
    }
    for key, values in truth.items():
        volume = np.zeros(coarse.shape, np.float32)
        volume[inside] = values
        files[key] = image(key, volume, coarse)
    return files


def table(files: dict[str, Any], output: Path, without: tuple[str, ...] = ()) -> pd.DataFrame:
    chosen = {key: path for key, path in files.items() if key not in without}
    measure_quality(subject="x", output=output, settings=SETTINGS, **chosen)
    return read_table(output).set_index("measure")


OF_MAPS = {f"{family}_fa" for family in FAMILIES}
OF_DIFFUSION = {name for name, measure in MEASURES.items() if measure.group == "diffusion"}
OF_SCAN = set(MEASURES) - OF_DIFFUSION


def test_everything_is_measured_of_a_person_who_has_everything(
    person: dict[str, Any], tmp_path: Path
) -> None:
    found = table(person, tmp_path / "sub-x.tsv")
    assert set(found.index) == set(MEASURES) | OF_MAPS
    assert found["value"].notna().all(), found[found["value"].isna()]
    assert found.loc["mask_overlap", "value"] > 0.97
    assert found.loc["noddi_residual", "value"] == pytest.approx(0.01, rel=0.2)
    assert found.loc["dwi_movement", "value"] == 0
    assert found.loc["fibres_yy", "value"] == pytest.approx(0.64, abs=0.01)
    # a head that lay turned in the diffusion scan: its fibres run straight forwards in the template
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    write_affine(tmp_path / "turned.mat", turned)
    found = table({**person, "alignment": tmp_path / "turned.mat"}, tmp_path / "sub-x.tsv")
    assert found.loc["fibres_yy", "value"] == pytest.approx(1, abs=0.01)


def test_what_a_person_lacks_has_no_row(person: dict[str, Any], tmp_path: Path) -> None:
    output = tmp_path / "sub-x.tsv"
    assert set(table(person, output, ("dwi", "ndi", "maps")).index) == OF_SCAN
    assert set(table(person, output, ("odi",)).index) == set(MEASURES) - {"noddi_residual"} | OF_MAPS
    assert set(table(person, output, ("raw", "t1w")).index) == OF_MAPS
    # a person whose head was scanned: the mask is the template's
    write_sidecar(person["t1w"], SkullStripped=False)
    try:
        assert set(table(person, output, ("dwi", "maps")).index) == OF_SCAN - {"mask_overlap", "mask_cut"}
    finally:
        write_sidecar(person["t1w"], SkullStripped=True)
