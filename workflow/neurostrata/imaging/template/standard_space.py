"""The stage that joins the study template and MNI152, for images that come in MNI space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.core.files import settings_record, write_sidecar
from neurostrata.imaging.anatomy.commands import skull_stripped
from neurostrata.imaging.images.io import Image, read_image
from neurostrata.imaging.registration.chain import inverted, similarity
from neurostrata.imaging.registration.transforms import resample, write_affine, write_displacement
from neurostrata.imaging.template.priors import Standard, register_standard

#: Correlation of MNI152's brain with the template, of either sign, below which the registration must have failed.
_LEAST_SIMILARITY = 0.3


def template_to_mni(
    *,
    template: Path,
    affine: Path,
    warp: Path,
    settings: dict[str, Any],
    threads: int = 1,
    standard: Standard | None = None,
) -> None:
    """Register the study template to MNI152 and write the transform that brings MNI images to the template.

    The registration is that of the template's brain mask (:func:`neurostrata.imaging.template.priors.register_standard`), its
    inverse written in the form of a person's transform: ``antsApplyTransforms -r template -t warp -t affine``.

    Parameters
    ----------
    template
        The study template.
    affine, warp
        Where to write A and u on the template's grid; x_MNI = A(x + u(x)).
    settings
        ``registration`` (that section) and seed.
    standard
        MNI152; None loads nilearn's.

    Raises
    ------
    UserError
        When MNI152 does not look like the template after the registration.
    """
    image = read_image(template, what="template")
    stripped = skull_stripped(template)
    standard, found = register_standard(
        image,
        settings["registration"],
        skull_stripped=stripped,
        seed=settings["seed"],
        threads=threads,
        standard=standard,
    )
    back = inverted(found, image.grid)
    assert back.warp is not None
    inside = Image(standard.mask.astype(np.float32), standard.brain.grid)
    mask = resample(inside, image.grid, back.affine, back.warp) > 0.5
    alike = similarity(resample(standard.brain, image.grid, back.affine, back.warp), image.data, mask)
    if abs(alike) < _LEAST_SIMILARITY:
        raise UserError(
            f"template: MNI152 does not look like it after the registration (correlation {alike:.2f}); look at "
            "template.nii.gz, or give the images with `space: template`"
        )
    write_affine(affine, back.affine)
    write_displacement(warp, back.warp)
    facts = {
        "Sources": [template.name, "MNI152 (nilearn, 2009c)"],
        "Similarity": alike,
        "AffineDeterminant": float(np.linalg.det(back.affine[:3, :3])),
        "Settings": settings_record(settings),
    }
    write_sidecar(affine, Description="ITK affine A; maps template points to MNI152 after the warp", **facts)
    write_sidecar(
        warp,
        Description="ITK displacement field u on the template's grid; x_MNI152 = A(x + u(x))",
        Units="mm, LPS",
        Space="study",
        **facts,
    )
