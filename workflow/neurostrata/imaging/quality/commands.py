"""The command that measures the quality of one person's images and registration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurostrata.core.tables import write_table
from neurostrata.gate.gradients import read_gradients
from neurostrata.imaging.images.io import Image, is_skull_stripped, read_image
from neurostrata.imaging.images.series import open_series, read_image_mask, read_map
from neurostrata.imaging.quality.diffusion import alignment_measures, noddi_residual, series_measures
from neurostrata.imaging.quality.ghosts import ghosting
from neurostrata.imaging.quality.maps import map_measures, usual_range
from neurostrata.imaging.quality.placement import Template, dice, mask_cut, placement_measures
from neurostrata.imaging.quality.scan import scan_measures
from neurostrata.imaging.registration.transforms import read_affine, read_displacement, several_to_person

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
        ``modalities`` (declarations of those that the person has); with diffusion data ``diffusion`` (b0_max, tensor_b_max,
        shell_gap; d_parallel and d_iso with NODDI's maps).
    """
    measures: dict[str, float] = {}
    scan = _all(raw, t1w, mask)
    transforms = _all(affine, warp, inverse_warp, warped, jacobian)
    if scan and transforms:
        person = _Person(subject, scan, transforms)
        study = Template(
            read_image(template, what="template"),
            read_image(template_mask, what="template mask").data > 0.5,
            tuple(read_image(path, what="tissue prior").data for path in (grey, white, fluid)),
        )
        measures |= _anatomy(person, study)
        diffusion = _all(dwi, bval, bvec, b0, fa, dwi_mask)
        if diffusion:
            measures |= _diffusion(person, diffusion, alignment, _all(fwf, ndi, odi), settings["diffusion"])
    if grid_mask and maps:
        inside = read_map(grid_mask, subject, "mask of the fusion grid").data > 0.5
        for path in maps:
            modality = path.name.split("_desc-")[1].removesuffix("_map.nii.gz")
            usual = usual_range(settings["modalities"][modality])
            measures |= map_measures(read_map(path, subject, modality).data, inside, modality, usual)
    table = pd.DataFrame(list(measures.items()), columns=["measure", "value"]).astype({"value": float})
    write_table(output, table.replace([np.inf, -np.inf], np.nan), columns=COLUMNS)


def _all(*paths: Path | None) -> list[Path]:
    """Return the paths, or none of them where one is missing."""
    found = [path for path in paths if path is not None]
    return found if len(found) == len(paths) else []


class _Person:
    """A person's prepared image, brain mask and affine, and where the rest is."""

    def __init__(self, subject: str, scan: list[Path], transforms: list[Path]) -> None:
        self.subject = subject
        self.raw, self.t1w, mask = scan
        affine, self.warp, self.inverse_warp, self.warped, self.jacobian = transforms
        self.image = read_image(self.t1w, subject=subject, what="prepared T1w")
        self.brain = read_image_mask(mask, subject, self.image.grid)
        self.affine = read_affine(affine)


def _anatomy(person: _Person, template: Template) -> dict[str, float]:
    """Measure the T1-weighted scan and its registration."""
    subject, image = person.subject, person.image
    measures = scan_measures(read_image(person.raw, subject=subject, what="t1w").data, image, person.brain)
    measures |= placement_measures(
        person.affine,
        read_displacement(person.warp),
        read_image(person.warped, subject=subject, what="registered T1w").data,
        read_map(person.jacobian, subject, "Jacobian").data,
        template,
    )
    mask = Image(template.mask.astype(np.float32), template.image.grid)
    inverse = read_displacement(person.inverse_warp)
    expected, theirs = several_to_person([template.image, mask], image.grid, person.affine, inverse)
    measures["ghosting"] = ghosting(image.data, expected, person.brain, image.grid.spacing)
    # The mask of a head is the template's, brought to the person: nothing to compare.
    if is_skull_stripped(person.t1w):
        measures["mask_cut"] = mask_cut(person.brain, expected, image.grid.spacing)
        measures["mask_overlap"] = dice(person.brain, theirs > 0.5)
    return measures


def _diffusion(
    person: _Person, paths: list[Path], alignment: Path | None, noddi: list[Path], settings: dict[str, Any]
) -> dict[str, float]:
    """Measure the diffusion series, its alignment, and the maps that NODDI made of it where there are any."""
    dwi, bval, bvec, b0, fa, dwi_mask = paths
    subject = person.subject
    without = read_map(b0, subject, "mean b0")
    scanned = read_image_mask(dwi_mask, subject, without.grid)
    matrix = np.eye(4) if alignment is None else read_affine(alignment)
    measures = alignment_measures(
        person.image, person.brain, without, scanned, read_map(fa, subject, "FA"), matrix
    )
    gradients = read_gradients(bval, bvec, subject, b0_max=float(settings["b0_max"]))
    inside = scanned & (without.data > 0)
    found, sample, fitted = series_measures(
        open_series(dwi, person.subject),
        inside,
        without.grid,
        gradients,
        (float(settings["tensor_b_max"]), float(settings["shell_gap"])),
        matrix @ person.affine,
    )
    measures |= found
    if noddi:
        part = inside[:, :, sample.slices]
        water, density, dispersion = (
            read_map(path, subject, "NODDI map").data[:, :, sample.slices][part] for path in noddi
        )
        diffusivities = (float(settings["d_parallel"]), float(settings["d_iso"]))
        measures["noddi_residual"] = noddi_residual(
            sample, fitted, (water, density, dispersion), gradients, diffusivities
        )
    return measures
