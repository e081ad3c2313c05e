"""The command that registers a person to the study template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.core.files import settings_record, write_sidecar
from neurostrata.imaging.images.io import (
    Image,
    check_same_grid,
    is_skull_stripped,
    normalise_intensity,
    read_image,
    write_image,
)
from neurostrata.imaging.registration.chain import register_images, similarity, warp_image
from neurostrata.imaging.registration.transforms import resample_to_person, write_affine, write_displacement


def register(
    *,
    t1w: Path,
    initial_mask: Path,
    template: Path,
    template_mask: Path,
    subject: str,
    affine: Path,
    warp: Path,
    inverse_warp: Path,
    warped: Path,
    mask: Path,
    settings: dict[str, Any],
    threads: int = 1,
) -> None:
    """Register one person to the final template; write the transforms, the warped image, the brain mask.

    Raises
    ------
    UserError
        When one of both shows the whole head and the other the brain alone: the skull would be fitted to the brain's edge.
    """
    stripped = is_skull_stripped(t1w)
    _refuse_other_kind(f"subject {subject}: t1w {t1w}", stripped, is_skull_stripped(template))
    moving = read_image(t1w, subject=subject, what="prepared T1w")
    fixed = read_image(template, what="template")
    brain = read_image(template_mask, what="template mask")
    check_same_grid(fixed, brain, f"template {template}", f"template mask {template_mask}")
    result = register_images(
        fixed,
        Image(normalise_intensity(moving.data), moving.grid),
        settings,
        seed=settings["seed"],
        threads=threads,
        balance_mask=brain.data > 0.5,
        label=subject,
    )
    assert result.warp is not None
    assert result.inverse_warp is not None
    image = warp_image(moving, fixed, result)
    write_affine(affine, result.affine)
    write_displacement(warp, result.warp)
    write_displacement(inverse_warp, result.inverse_warp)
    write_image(warped, image, fixed.grid)
    if stripped:
        inside = read_image(initial_mask, subject=subject, what="initial mask").data > 0.5
    else:
        inside = resample_to_person(brain, moving.grid, result.affine, result.inverse_warp) > 0.5
        if not inside.any():
            raise UserError(
                f"subject {subject}: the template's mask falls outside {t1w}; the registration failed, look "
                "at the image's orientation and field of view"
            )
    write_image(mask, inside, moving.grid, np.uint8)
    _register_sidecars(
        affine=affine,
        warp=warp,
        inverse_warp=inverse_warp,
        warped=warped,
        mask=mask,
        stripped=stripped,
        facts={
            "Sources": [t1w.name, template.name],
            "Settings": settings_record(settings),
            "SimilarityToTemplate": similarity(image, fixed.data, brain.data > 0.5),
            "AffineDeterminant": float(np.linalg.det(result.affine[:3, :3])),
        },
    )


def _refuse_other_kind(label: str, stripped: bool, template_stripped: bool) -> None:
    if stripped == template_stripped:
        return
    raise UserError(
        f"{label} "
        + (
            "shows the brain alone, and the template whole heads; give the image with its skull, "
            if stripped
            else "still has its skull, and the template does not; give it a t1w_mask, "
        )
        + "or exclude the person (decision exclude in the sheet of quality decisions)"
    )


def _register_sidecars(
    *,
    affine: Path,
    warp: Path,
    inverse_warp: Path,
    warped: Path,
    mask: Path,
    stripped: bool,
    facts: Mapping[str, Any],
) -> None:
    write_sidecar(
        affine, Description="ITK affine A; maps template points to T1w points after the warp", **facts
    )
    write_sidecar(
        warp,
        Description="ITK displacement field u on the template's grid; x_T1w = A(x + u(x))",
        Units="mm, LPS",
        Space="study",
        **facts,
    )
    write_sidecar(
        inverse_warp,
        Description="ITK displacement field v on the template's grid; x = z + v(z) with z = A^-1(x_T1w)",
        Units="mm, LPS",
        Space="study",
        **facts,
    )
    write_sidecar(
        warped, Description="T1-weighted image in template space", Units="arbitrary", Space="study", **facts
    )
    how = "the image's own" if stripped else "the template's mask, projected back"
    write_sidecar(mask, Description=f"Brain mask: {how}", Type="Brain", Space="T1w", **facts)
