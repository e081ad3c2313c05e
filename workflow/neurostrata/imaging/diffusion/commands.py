"""The diffusion stages: tensor maps, NODDI maps and the alignment with the T1-weighted image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.core.files import settings_record, write_sidecar
from neurostrata.gate.gradients import (
    Gradients,
    find_shells,
    noddi_shells,
    read_gradients,
    tensor_measurements,
)
from neurostrata.imaging.images.io import Image, write_image
from neurostrata.imaging.images.series import (
    SeriesFile,
    check_finite,
    open_series,
    read_deviations,
    read_image_mask,
    read_map,
)


def _open(dwi: Path, bval: Path, bvec: Path, subject: str, b0_max: float) -> tuple[SeriesFile, Gradients]:
    series = open_series(dwi, subject)
    return series, read_gradients(bval, bvec, subject, series.measurements, b0_max)


def _scheme(gradients: Gradients, gap: float) -> dict[str, Any]:
    shells = find_shells(gradients, gap)
    return {
        "b0_volumes": int(gradients.b0.sum()),
        "shells": [
            {"b": round(shell.bval, 1), "volumes": len(shell.members), "directions": shell.directions}
            for shell in shells
        ],
    }


def _fill(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    image = np.zeros(mask.shape, dtype=np.float32)
    image[mask] = values
    return image


def fit_tensor(
    *,
    dwi: Path,
    bval: Path,
    bvec: Path,
    subject: str,
    fa: Path,
    md: Path,
    b0: Path,
    mask: Path,
    settings: dict[str, Any],
    dwi_mask: Path | None = None,
) -> None:
    """Fit tensors in native space: FA, MD (mm^2/s), the mean b=0 image and the brain mask.

    The mask is the given one, or one found in the mean b=0 image, where the mean b=0 signal is above zero.
    Everything is 0 outside it.
    """
    from neurostrata.imaging.diffusion.mask import diffusion_mask, mean_signal
    from neurostrata.imaging.diffusion.tensor import tensor_maps

    b0_max = float(settings["b0_max"])
    series, gradients = _open(dwi, bval, bvec, subject, b0_max)
    chosen = tensor_measurements(gradients, float(settings["tensor_b_max"]), subject)
    given = None if dwi_mask is None else read_image_mask(dwi_mask, subject, series.grid, "dwi_mask")
    voxels = np.ones(series.grid.shape, dtype=bool) if given is None else given
    signals, fitted = series.signals(voxels, chosen), gradients.select(chosen)
    mean_b0 = _fill(mean_signal(signals[:, fitted.b0]), voxels)
    brain, source = diffusion_mask(mean_b0, given, series.label, series.grid.voxel_volume)
    signals = signals[brain[voxels]]
    check_finite(signals, series.label)
    maps = tensor_maps(signals, fitted)
    facts = {
        "Space": "native diffusion",
        "Sources": [str(dwi), str(bval), str(bvec)],
        "Mask": source,
        "Settings": settings_record(settings),
        "Scheme": _scheme(gradients, float(settings["shell_gap"])),
    }
    described = {
        fa: ("Fractional anisotropy", "1", _fill(maps.fa, brain)),
        md: ("Mean diffusivity", "mm^2/s", _fill(maps.md, brain)),
        b0: ("Mean of the volumes without diffusion weighting", "arbitrary", np.where(brain, mean_b0, 0)),
    }
    for path, (description, units, data) in described.items():
        write_image(path, data, series.grid)
        how = {"Fit": f"weighted least squares, {int(chosen.sum())} volumes"} if path != b0 else {}
        write_sidecar(path, Description=description, Units=units, **how, **facts)
    write_image(mask, brain, series.grid, np.uint8)
    write_sidecar(mask, Description="Brain mask of the diffusion data", Voxels=int(brain.sum()), **facts)


def fit_noddi(
    *,
    dwi: Path,
    bval: Path,
    bvec: Path,
    mask: Path,
    subject: str,
    ndi: Path,
    odi: Path,
    fwf: Path,
    settings: dict[str, Any],
    grad_dev: Path | None = None,
    threads: int = 1,
) -> None:
    """Fit NODDI in native space: neurite density, orientation dispersion and free water fraction.

    Single-shell data raise an error before the fit. `grad_dev` is an image of nine volumes, the
    gradient coil's deviation in every voxel (HCP's ``grad_dev.nii.gz``).
    """
    from neurostrata.imaging.diffusion.mask import mean_signal
    from neurostrata.imaging.diffusion.noddi.engines import AMICO_LICENCE, noddi_maps

    gap = float(settings["shell_gap"])
    gradients = read_gradients(bval, bvec, subject, b0_max=float(settings["b0_max"]))
    noddi_shells(gradients, gap, subject)
    if settings["noddi"]["engine"] == "amico":
        print(f"Note: {AMICO_LICENCE}", file=sys.stderr)
    series, gradients = _open(dwi, bval, bvec, subject, float(settings["b0_max"]))
    brain, grid = read_image_mask(mask, subject, series.grid), series.grid
    signals = series.signals(brain, np.ones(series.measurements, dtype=bool))
    positive = mean_signal(signals[:, gradients.b0]) > 0
    signals, brain[brain] = signals[positive], positive
    check_finite(signals, series.label)
    deviations = None if grad_dev is None else read_deviations(grad_dev, subject, grid, brain)
    maps = noddi_maps(
        signals,
        gradients,
        settings["noddi"],
        subject=subject,
        shell_gap=gap,
        threads=threads,
        deviations=deviations,
    )
    sources = [path for path in (dwi, bval, bvec, mask, grad_dev) if path is not None]
    described = {
        ndi: ("Neurite density index (NODDI)", maps.ndi),
        odi: ("Orientation dispersion index (NODDI)", maps.odi),
        fwf: ("Free water fraction (NODDI)", maps.fwf),
    }
    for path, (description, values) in described.items():
        write_image(path, _fill(values, brain), grid)
        write_sidecar(
            path,
            Description=description,
            Units="1",
            Space="native diffusion",
            Sources=[str(source) for source in sources],
            Settings=settings_record(settings),
            Scheme=_scheme(gradients, gap),
        )


def align_diffusion(
    *,
    b0: Path,
    t1w: Path,
    mask: Path,
    t1w_mask: Path,
    subject: str,
    output: Path,
    settings: dict[str, Any],
) -> None:
    """Align the mean b=0 image with the T1w image: an ITK rigid transform, T1w points to diffusion points."""
    from neurostrata.imaging.diffusion.alignment import align_rigid, rotation_degrees
    from neurostrata.imaging.registration.transforms import write_affine

    moving = read_map(b0, subject, "mean b0")
    fixed = read_map(t1w, subject, "T1w")
    alignment = align_rigid(
        fixed,
        _read_mask_with_signal(t1w_mask, subject, fixed),
        moving,
        _read_mask_with_signal(mask, subject, moving),
        settings["alignment"],
        subject=subject,
        seed=settings["seed"],
    )
    write_affine(output, alignment.matrix)
    write_sidecar(
        output,
        Description="Rigid transform, T1w world points to diffusion world points (ITK, LPS mm)",
        Sources=[str(b0), str(t1w)],
        Start=alignment.start,
        MutualInformationBefore=alignment.information_before,
        MutualInformationAfter=alignment.information_after,
        RotationDegrees=rotation_degrees(alignment.matrix),
        Settings=settings_record(settings["alignment"]),
    )


def _read_mask_with_signal(path: Path, subject: str, image: Image) -> np.ndarray:
    inside = read_image_mask(path, subject, image.grid)
    if not np.any(image.data[inside] > 0):
        raise UserError(f"subject {subject}: mask {path} covers only zero voxels of its image")
    return inside
