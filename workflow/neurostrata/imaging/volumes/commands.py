"""Commands of the volume stages: maps, mask and regions on the fusion grid, and one array per modality."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.core.files import settings_record, sidecar_path, write_json, write_sidecar
from neurostrata.core.tables import read_table, write_table
from neurostrata.imaging.images.io import (
    Grid,
    Image,
    check_same_grid,
    is_skull_stripped,
    read_image,
    write_image,
)
from neurostrata.imaging.images.series import read_map
from neurostrata.imaging.registration.transforms import read_affine, read_displacement
from neurostrata.imaging.volumes.arrays import MASK_LIMITS, limits, write_array
from neurostrata.imaging.volumes.grid import fusion_grid, map_to_grid, mask_to_grid, tissue_weighted_ndi
from neurostrata.imaging.volumes.intensity import brain_intensity, pet_intensity


def _volume_settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in ("resolution_mm", "downsample", "shape")}


def map_to_template(
    *,
    image: Path,
    template: Path,
    subject: str,
    modality: str,
    output: Path,
    settings: dict[str, Any],
    affine: Path | None = None,
    warp: Path | None = None,
    alignment: Path | None = None,
    jacobian: Path | None = None,
    fwf: Path | None = None,
) -> None:
    """Bring a person's native map onto the fusion grid with one interpolation.

    Template points go through the warp, the affine (to the T1w image) and the alignment (to the diffusion
    data); without them the image is assumed to be in template space. For an image in MNI152 space, warp and affine
    are those of ``template_to_mni``, and voxels without a value (NaN, as SPM writes outside the brain) are 0. With
    an (absolute) Jacobian the map is modulated; with a free water fraction, neurite density is averaged over tissue.
    `intensity: brain` divides the map by its mean inside the template's brain mask, which `template` is. `intensity: pet` is applied to the native image, because interpolation would dim its brightest voxels. A mask (`kind: mask`) becomes
    the share of each voxel that lies inside, and may be empty.
    """
    declared = settings["modality"]
    if declared.get("modulate") and jacobian is None:
        raise UserError(f"modality {modality}: 'modulate' needs the person's absolute Jacobian")
    if declared.get("tissue_weighted") and fwf is None:
        raise UserError(f"modality {modality}: 'tissue_weighted' needs the person's free water fraction")
    brain = read_map(template, subject, "template")
    fusion = fusion_grid(brain, settings)
    source = read_map(
        image,
        subject,
        f"modality {modality}",
        declared.get("component"),
        gaps=declared.get("space") == "mni",
    )
    if declared.get("intensity") == "pet":
        try:
            source = Image(pet_intensity(source.data), source.grid)
        except UserError as error:
            raise UserError(f"subject {subject}: modality {modality} {image}: {error}") from error
    if declared.get("kind") == "mask" and not (source.data.min() >= 0 and source.data.max() <= 1):
        raise UserError(
            f"subject {subject}: modality {modality} {image}: a mask holds values from 0 to 1, this one from "
            f"{source.data.min():g} to {source.data.max():g}; set voxels inside to 1 and all others to 0"
        )
    chain = np.eye(4)
    for path in (affine, alignment):
        if path is not None:
            chain = read_affine(path) @ chain
    field = None if warp is None else read_displacement(warp)
    if fwf is not None:
        water = read_map(fwf, subject, "free water fraction")
        check_same_grid(source, water, f"subject {subject}: {image}", str(fwf))
        data = tissue_weighted_ndi(source, water, fusion, chain, field)
    else:
        data = map_to_grid(
            source,
            fusion,
            chain,
            field,
            None if jacobian is None else read_map(jacobian, subject, "absolute Jacobian"),
            float(declared.get("smooth_fwhm_mm", 0.0)),
        )
    if declared.get("intensity") == "brain":
        try:
            data = brain_intensity(data, mask_to_grid(brain, fusion))
        except UserError as error:
            raise UserError(f"subject {subject}: modality {modality} {image}: {error}") from error
    empty = declared.get("kind") == "mask" and not source.data.any()  # such as a person without lesions
    if not (data.any() or empty):
        raise UserError(
            f"subject {subject}: modality {modality} is zero everywhere on the fusion grid; do the header of "
            f"{image} and the person's transforms belong together?"
        )
    write_image(output, data, fusion.grid)
    used = {
        "Image": image,
        "Template": template,
        "Warp": warp,
        "Affine": affine,
        "Alignment": alignment,
        "Jacobian": jacobian,
        "FreeWaterFraction": fwf,
    }
    write_sidecar(
        output,
        Description=f"Modality {modality}, unscaled, one linear interpolation then block means",
        Space="study template, fusion grid",
        Sources={key: str(path) for key, path in used.items() if path is not None},
        Settings=settings_record({**_volume_settings(settings), "modality": declared}),
    )


def grid_mask(*, mask: Path, template: Path, output: Path, settings: dict[str, Any]) -> None:
    """Bring the template's brain mask onto the fusion grid (voxels at least half inside)."""
    fusion = fusion_grid(read_map(template, "template", "template"), settings)
    inside = mask_to_grid(read_map(mask, "template", "mask"), fusion)
    write_image(output, inside, fusion.grid, np.uint8)
    write_sidecar(
        output,
        Description="Template brain mask on the fusion grid",
        Sources={"Mask": str(mask), "Template": str(template)},
        Voxels=int(inside.sum()),
        Settings=settings_record(_volume_settings(settings)),
    )


def _read_grid_map(path: Path, subject: str, modality: str, grid: Grid) -> np.ndarray:
    image = read_map(path, subject, f"modality {modality}")
    if not image.grid.same_as(grid, tolerance=0.01):
        raise UserError(
            f"subject {subject}: {path} has shape {image.grid.shape} and the fusion mask {grid.shape}, or their "
            "affines differ; remove the map so that it is made again on the present grid"
        )
    return image.data


def normalise(
    *,
    subjects: Path,
    pattern: str,
    mask: Path,
    modality: str,
    output: Path,
    settings: dict[str, Any],
) -> None:
    """Gather one modality of all people in one array and describe it, with its cohort limits, in JSON.

    Values stay unscaled; limits are applied when the array is used. People are written one at a time. A mask
    (`kind: mask`) has the limits 0 and 1.
    """
    kind = settings.get("kind", "image")
    people = [str(subject) for subject in read_table(subjects)["subject"]]
    if not people:
        raise UserError(
            f"modality {modality}: no person has it; remove it from the experiments or correct the cohort"
        )
    brain = read_map(mask, "template", "fusion mask")
    shape = brain.grid.shape
    description = sidecar_path(output)
    description.unlink(missing_ok=True)  # an old description must not stay next to a new array

    def cohort_limits(array: np.ndarray) -> tuple[float, float]:
        if kind == "mask":
            return MASK_LIMITS
        try:
            return limits(array, brain.data, None, settings["percentiles"])
        except UserError as error:
            raise UserError(f"modality {modality}: {error}") from error

    images = (
        _read_grid_map(Path(pattern.replace("{subject}", subject)), subject, modality, brain.grid)
        for subject in people
    )
    low, high = write_array(output, len(people), images, shape, cohort_limits)
    write_json(
        description,
        {
            "modality": modality,
            "kind": kind,
            "subjects": people,
            "shape": [len(people), *shape],
            "affine": brain.grid.affine.tolist(),
            "mask": os.path.relpath(mask, output.parent),
            "limits": {
                "low": low,
                "high": high,
                "percentiles": [float(value) for value in settings["percentiles"]],
                "scope": "cohort",
            },
            "description": "Unscaled values, people x X x Y x Z, float32, study template space (RAS mm affine)",
            "settings": settings_record(settings),
        },
    )


def grid_regions(
    *,
    mask: Path,
    template: Path,
    output: Path,
    table: Path,
    settings: dict[str, Any],
    atlas: Path | None = None,
    names: Path | None = None,
    threads: int = 1,
) -> None:
    """Write the brain's regions on the fusion grid (numbers) and a table of them.

    Parameters
    ----------
    mask
        Brain mask on the fusion grid; regions end where it does.
    template
        The study template, for an atlas in MNI space.
    output, table
        Image of region numbers; region, name, voxels, and centre (mm, study space).
    settings
        Section ``regions``; with an atlas in MNI space also ``registration``.
    atlas, names
        See section ``regions``.
    """
    from neurostrata.gate.region_names import region_names
    from neurostrata.imaging.volumes.regions import (
        REGION_COLUMNS,
        atlas_on_grid,
        parcels,
        region_table,
    )

    brain = read_map(mask, "template", "fusion mask")
    inside = brain.data > 0
    known = region_names(names)
    if atlas is None:
        numbers = parcels(inside, brain.grid, settings["parcels"], settings["seed"])
    else:
        image = read_map(atlas, "atlas", "regions.image")
        numbers = atlas_on_grid(
            image,
            settings["space"],
            read_image(template, what="template"),
            brain.grid,
            settings.get("registration", {}),
            skull_stripped=is_skull_stripped(template),
            seed=settings["seed"],
            threads=threads,
        )
        numbers = np.where(inside, numbers, 0)
        lost = sorted(set(np.unique(image.data).astype(int)) - set(np.unique(numbers)) - {0})
        if lost:
            print(f"regions: {len(lost)} regions have no voxel on the fusion grid: {lost}")
    write_image(output, numbers, brain.grid, np.int32)
    write_sidecar(
        output,
        Description="Region numbers on the fusion grid, 0 outside",
        Sources={"Atlas": str(atlas) if atlas else "parcels of the mask", "Mask": str(mask)},
        Settings=settings_record(settings),
    )
    write_table(
        table, region_table(numbers, brain.grid, known), REGION_COLUMNS, Settings=settings_record(settings)
    )
