"""The command that measures the quality of one person's images and registration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.tables import write_table
from neurostrata.gate.gradients import read_gradients
from neurostrata.imaging.images.io import Grid, is_skull_stripped, read_image
from neurostrata.imaging.images.series import read_image_mask, read_map
from neurostrata.imaging.quality.diffusion import alignment_measures, noddi_residual, series_measures
from neurostrata.imaging.quality.maps import map_measures, usual_range
from neurostrata.imaging.quality.placement import Template, dice, placement_measures
from neurostrata.imaging.quality.scan import scan_measures
from neurostrata.imaging.registration.transforms import read_affine, read_displacement, resample_to_person

#: What the columns of the table hold.
COLUMNS = {
    "measure": "name of the measure",
    "value": "its value for this person; n/a where it could not be measured",
}


def measure_quality(
    *,
    subject: str,
    output: Path,
    template: Path,
    template_mask: Path,
    grey: Path,
    white: Path,
    fluid: Path,
    settings: dict[str, Any],
    raw: Path | None = None,
    t1w: Path | None = None,
    mask: Path | None = None,
    affine: Path | None = None,
    warp: Path | None = None,
    inverse_warp: Path | None = None,
    warped: Path | None = None,
    jacobian: Path | None = None,
    dwi: Path | None = None,
    bval: Path | None = None,
    bvec: Path | None = None,
    b0: Path | None = None,
    fa: Path | None = None,
    dwi_mask: Path | None = None,
    alignment: Path | None = None,
    ndi: Path | None = None,
    odi: Path | None = None,
    fwf: Path | None = None,
    grid_mask: Path | None = None,
    maps: list[Path] = [],  # noqa: B006  the parser takes its type from here
) -> None:
    """Measure the quality of a person's images, registration, diffusion data and maps: a table of one number per measure.

    What the person does not have is not measured and has no row.

    Parameters
    ----------
    subject
        Id without ``sub-``.
    output
        The table: `measure` and `value`.
    template, template_mask, grey, white, fluid
        The study template, its brain mask and its tissue priors.
    raw, t1w, mask
        The T1-weighted image as scanned and as prepared, and the brain mask in its space.
    affine, warp, inverse_warp, warped, jacobian
        The registration's transforms, the registered image and the determinant of the non-linear part.
    dwi, bval, bvec, b0, fa, dwi_mask
        The diffusion series with its gradient table, and what was fitted to it.
    alignment
        Rigid transform from the T1w image to the diffusion data; without it they are in one space.
    ndi, odi, fwf
        NODDI's maps.
    grid_mask, maps
        The brain mask of the fusion grid, and the maps on it, ``..._desc-MODALITY_map.nii.gz``.
    settings
        ``diffusion`` (b0_max, tensor_b_max, shell_gap, d_parallel, d_iso) and ``modalities`` (declarations).
    """
    measures: dict[str, float] = {}
    brain_mask = read_image(template_mask, what="template mask")
    if t1w and raw and mask:
        prepared = read_image(t1w, subject=subject, what="prepared T1w")
        brain = read_image(mask, subject=subject, what="brain mask").data > 0.5
        measures |= scan_measures(read_image(raw, subject=subject, what="t1w").data, prepared, brain)
        if affine and warp and inverse_warp and warped and jacobian:
            matrix = read_affine(affine)
            measures |= placement_measures(
                matrix,
                read_displacement(warp),
                read_image(warped, subject=subject, what="registered T1w").data,
                read_map(jacobian, subject, "Jacobian").data,
                Template(
                    read_image(template, what="template").data,
                    brain_mask.data > 0.5,
                    tuple(read_image(path, what="tissue prior").data for path in (grey, white, fluid)),
                ),
            )
            # A head's mask is the template's own, which says nothing of the person.
            if is_skull_stripped(t1w):
                theirs = resample_to_person(
                    brain_mask, prepared.grid, matrix, read_displacement(inverse_warp)
                )
                measures["mask_overlap"] = dice(brain, theirs > 0.5)
        if dwi and bval and bvec and b0 and fa and dwi_mask:
            without = read_map(b0, subject, "mean b0")
            scanned = read_image_mask(dwi_mask, subject, without.grid)
            measures |= alignment_measures(
                prepared,
                brain,
                without,
                scanned,
                read_map(fa, subject, "FA"),
                np.eye(4) if alignment is None else read_affine(alignment),
            )
            measures |= _series(
                subject,
                dwi,
                bval,
                bvec,
                scanned & (without.data > 0),
                without.grid,
                settings["diffusion"],
                (fwf, ndi, odi),
            )
    if grid_mask and maps:
        inside = read_map(grid_mask, "", "mask of the fusion grid").data > 0.5
        for path in maps:
            modality = path.name.split("_desc-")[1].removesuffix("_map.nii.gz")
            usual = usual_range(settings["modalities"][modality])
            measures |= map_measures(read_map(path, subject, modality).data, inside, modality, usual)
    table = pd.DataFrame(list(measures.items()), columns=["measure", "value"]).astype({"value": float})
    write_table(output, table.replace([np.inf, -np.inf], np.nan), columns=COLUMNS)


def _series(
    subject: str,
    dwi: Path,
    bval: Path,
    bvec: Path,
    inside: np.ndarray,
    grid: Grid,
    settings: dict[str, Any],
    noddi: tuple[Path | None, Path | None, Path | None],
) -> dict[str, float]:
    """Measure the diffusion series, and the maps that NODDI made of it where there are any."""
    gradients = read_gradients(bval, bvec, subject, b0_max=float(settings["b0_max"]))
    gap = float(settings["shell_gap"])
    measures, sample, fitted = series_measures(
        dwi, inside, grid, gradients, float(settings["tensor_b_max"]), gap
    )
    found = [path for path in noddi if path is not None]
    if len(found) == len(noddi):
        part = inside[:, :, sample.slices]
        water, density, dispersion = (
            read_map(path, subject, "NODDI map").data[:, :, sample.slices][part] for path in found
        )
        measures["noddi_residual"] = noddi_residual(
            sample,
            fitted,
            (water, density, dispersion),
            gradients,
            (float(settings["d_parallel"]), float(settings["d_iso"])),
        )
    return measures
