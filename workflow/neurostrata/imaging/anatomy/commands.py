"""Commands of the anatomy stages: prepare T1-weighted images, Jacobians and tissue maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.files import settings_record, write_sidecar
from neurostrata.imaging.images.io import Image, check_same_grid, read_image, write_image
from neurostrata.imaging.registration.transforms import read_affine, read_displacement, resample_to_person


def prepare_t1w(
    *,
    t1w: Path,
    subject: str,
    output: Path,
    mask: Path,
    settings: dict[str, Any],
    t1w_mask: Path | None = None,
) -> None:
    """Correct the bias field of a T1-weighted image and write its initial mask; both are on its grid."""
    from neurostrata.imaging.anatomy.bias import correct_bias
    from neurostrata.imaging.anatomy.brain import initial_mask

    image = read_image(t1w, subject=subject, what="t1w")
    given = None
    if t1w_mask is not None:
        given = read_image(t1w_mask, subject=subject, what="t1w_mask")
        check_same_grid(image, given, f"subject {subject}: t1w {t1w}", f"t1w_mask {t1w_mask}")
    inside, extracted = initial_mask(
        image, given, settings["brain_extracted"], label=f"subject {subject}: t1w {t1w}"
    )
    data = image.data
    if settings["n4"]["enabled"]:
        data = correct_bias(Image(data * inside if extracted else data, image.grid), inside, settings["n4"])
    if extracted:
        data = data * inside
    write_image(output, data, image.grid)
    write_image(mask, inside, image.grid, np.uint8)
    facts = {"Space": "T1w", "SkullStripped": extracted, "Settings": settings_record(settings)}
    write_sidecar(
        output,
        Description="T1-weighted image, bias field divided out" + (", background zero" if extracted else ""),
        Units="arbitrary",
        Sources=[t1w.name],
        **facts,
    )
    what = "Brain mask" if extracted else "Foreground of the head"
    write_sidecar(
        mask,
        Description=what,
        Type="Brain" if extracted else "Head",
        Sources=[(t1w_mask or t1w).name],
        **facts,
    )


def jacobian(
    *,
    affine: Path,
    warp: Path,
    subject: str,
    nonlinear: Path,
    absolute: Path,
    settings: dict[str, Any],
) -> None:
    """Write the Jacobian determinant of the non-linear part, and that times the affine's determinant."""
    from neurostrata.imaging.anatomy.jacobian import absolute_jacobian, nonlinear_jacobian

    field = read_displacement(warp)
    matrix = read_affine(affine)
    relative = nonlinear_jacobian(field)
    folded = int((relative <= 0).sum())
    if folded:
        print(f"subject {subject}: the warp folds at {folded} of {relative.size} voxels (determinant <= 0)")
    facts: dict[str, Any] = {
        "Units": "1 (ratio of volumes, person over template; > 1 where the person's region is larger)",
        "Space": "study",
        "Sources": [affine.name, warp.name],
        "FoldedVoxels": folded,
        "AffineDeterminant": float(abs(np.linalg.det(matrix[:3, :3]))),
    }
    write_image(nonlinear, relative, field.grid)
    write_sidecar(nonlinear, Description="Jacobian determinant of the non-linear part", **facts)
    write_image(absolute, absolute_jacobian(relative, matrix), field.grid)
    write_sidecar(absolute, Description="Jacobian determinant of the whole transform", **facts)


def segment_tissue(
    *,
    t1w: Path,
    mask: Path,
    affine: Path,
    inverse_warp: Path,
    gm_prior: Path,
    wm_prior: Path,
    csf_prior: Path,
    subject: str,
    gm: Path,
    wm: Path,
    csf: Path,
    settings: dict[str, Any],
) -> None:
    """Write native-space probabilities of grey matter, white matter and cerebrospinal fluid."""
    from neurostrata.imaging.anatomy.tissue import segment

    image = read_image(t1w, subject=subject, what="prepared T1w")
    inside = read_image(mask, subject=subject, what="brain mask").data > 0.5
    matrix, field = read_affine(affine), read_displacement(inverse_warp)
    grey, white, fluid = (
        resample_to_person(read_image(path, what="tissue prior"), image.grid, matrix, field)
        for path in (gm_prior, wm_prior, csf_prior)
    )
    maps = segment(image, inside, (grey, white, fluid), settings)
    facts = {"Units": "probability", "Space": "T1w", "Settings": settings_record(settings)}
    for path, data, label in zip((gm, wm, csf), maps, ("grey matter", "white matter", "cerebrospinal fluid")):
        write_image(path, data, image.grid)
        write_sidecar(
            path,
            Description=f"Probability of {label}",
            VolumeMillilitres=float(data.sum() * image.grid.voxel_volume / 1000),
            Sources=[t1w.name, mask.name],
            **facts,
        )
