"""MNI152: the template that ships with nilearn, and its registration with the study template.

The template's mask and priors, images in MNI152 space and an atlas in MNI152 space all use the registration of
:func:`register_to_mni152`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, Image
from neurostrata.imaging.registration.chain import (
    Registration,
    centre_of_mass_shift,
    inverted,
    register_images,
    similarity,
    warp_image,
)
from neurostrata.imaging.registration.transforms import resample

#: Heights above a head's centre of mass (mm) from which the brain is searched for.
_START_HEIGHTS_MM = (0.0, 20.0, 40.0)

#: A correlation of MNI152's brain with the template of smaller size means that the registration has failed.
_LEAST_SIMILARITY = 0.3


@dataclass(frozen=True, eq=False)
class MNI152:
    """MNI152 (2009c, nilearn's copy): brain, mask, grey and white matter probabilities, one grid."""

    brain: Image
    mask: np.ndarray
    grey: np.ndarray
    white: np.ndarray


def load_mni152(resolution_mm: int = 2) -> MNI152:
    """Load nilearn's MNI152 files; nothing is downloaded."""
    from nilearn import datasets

    template = datasets.load_mni152_template(resolution=resolution_mm)
    affine, shape = template.affine, template.shape
    grid = Grid((shape[0], shape[1], shape[2]), np.asarray(affine, float))

    def values(image: Any) -> np.ndarray:
        return np.asarray(image.get_fdata(), dtype=np.float32)

    mask = values(datasets.load_mni152_brain_mask(resolution=resolution_mm)) > 0.5
    return MNI152(
        Image(values(template) * mask, grid),
        mask,
        values(datasets.load_mni152_gm_template(resolution=resolution_mm)),
        values(datasets.load_mni152_wm_template(resolution=resolution_mm)),
    )


def _best_start(
    mni152: MNI152,
    template: Image,
    settings: Mapping[str, Any],
    seed: int,
    threads: int,
) -> np.ndarray:
    """Return the affine from MNI152's brain to a head, the best of several starts.

    Face and neck pull a head's centre of mass below its brain's, by an amount that depends on the field
    of view, so the search begins at several heights. The similarity is computed well inside
    the brain, because the edge of the brain would be fitted to that of the head.
    """
    inner = ndimage.binary_erosion(mni152.mask, iterations=mni152.brain.grid.voxels_within(6))
    best, best_similarity = np.eye(4), -np.inf
    for height in _START_HEIGHTS_MM:
        start = centre_of_mass_shift(mni152.brain, template)
        start[2, 3] += height
        found = register_images(
            mni152.brain,
            template,
            settings,
            seed=seed,
            threads=threads,
            fixed_mask=inner,
            initial=start,
            steps="linear",
            coarse=True,
            label="template",
        )
        reached = similarity(warp_image(template, mni152.brain, found), mni152.brain.data, mni152.mask)
        if reached > best_similarity:
            best, best_similarity = found.affine, reached
    return best


def register_to_mni152(
    template: Image,
    settings: Mapping[str, Any],
    *,
    skull_stripped: bool,
    seed: int,
    threads: int,
) -> tuple[MNI152, Registration]:
    """Register the study template (moving) to MNI152 (fixed).

    MNI152 is the fixed image so that, with a skull in the template, the similarity is computed in MNI152's brain only.

    Parameters
    ----------
    template
        The study template.
    settings
        Section ``registration``.
    skull_stripped
        Whether the template shows the brain alone.
    seed, threads
        See :func:`neurostrata.imaging.registration.chain.register_images`.

    Returns
    -------
    mni152
        nilearn's, at 2 mm for a template finer than 2.5 mm, else at 3 mm.
    registration
        MNI152 points to template points, with the inverse warp.
    """
    mni152 = load_mni152(2 if template.grid.spacing.min() < 2.5 else 3)
    initial = None
    if not skull_stripped:
        initial = _best_start(mni152, template, settings, seed, threads)
    registration = register_images(
        mni152.brain,
        template,
        settings,
        seed=seed,
        threads=threads,
        fixed_mask=None if skull_stripped else ndimage.binary_dilation(mni152.mask),
        initial=initial,
        steps="all" if initial is None else "deformation",
        label="template",
    )
    return mni152, registration


def transform_from_mni152(
    template: Image, mni152: MNI152, registration: Registration
) -> tuple[Registration, float]:
    """Return the transform that brings MNI152 images to the template, and how alike both are after it.

    Parameters
    ----------
    template
        The study template.
    mni152, registration
        From :func:`register_to_mni152`.

    Returns
    -------
    transform
        Affine A and warp u on the template's grid; x_MNI152 = A(x + u(x)).
    likeness
        Correlation of the template with MNI152's brain.

    Raises
    ------
    UserError
        When MNI152 does not look like the template after the registration.
    """
    back = inverted(registration, template.grid)
    mask_image = Image(mni152.mask.astype(np.float32), mni152.brain.grid)
    mask = resample(mask_image, template.grid, back.affine, back.warp) > 0.5
    brain = resample(mni152.brain, template.grid, back.affine, back.warp)
    likeness = similarity(brain, template.data, mask)
    if abs(likeness) < _LEAST_SIMILARITY:
        raise UserError(
            f"template: MNI152 does not look like it after the registration (correlation {likeness:.2f}); look at "
            "template.nii.gz, or give the images with `space: template`"
        )
    return back, likeness
