"""Brain mask and tissue priors in template space, from the MNI152 template that ships with nilearn."""

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
    register_images,
    similarity,
    warp_image,
)
from neurostrata.imaging.registration.transforms import resample_to_person
from neurostrata.imaging.template.building import brain_of

#: Where MNI152 has its lateral ventricles and white matter around them (mm): a box that any mask holds.
_VENTRICLE_BOX = np.array([[-24.0, -40.0, 2.0], [24.0, 20.0, 26.0]])

#: Volume of a template over MNI152's (a large adult's brain) between a newborn's and the impossible.
_SCALES = (0.1, 1.6)

#: How far above a head's centre of mass its brain's is looked for (mm).
_START_HEIGHTS_MM = (0.0, 20.0, 40.0)


@dataclass(frozen=True, eq=False)
class Standard:
    """MNI152 (2009c, nilearn's copy): brain, mask, grey and white matter probabilities, one grid."""

    brain: Image
    mask: np.ndarray
    grey: np.ndarray
    white: np.ndarray


def load_standard(resolution_mm: int = 2) -> Standard:
    """Load nilearn's MNI152 files; nothing is downloaded."""
    from nilearn import datasets

    template = datasets.load_mni152_template(resolution=resolution_mm)
    affine, shape = template.affine, template.shape
    grid = Grid((shape[0], shape[1], shape[2]), np.asarray(affine, float))

    def values(image: Any) -> np.ndarray:
        return np.asarray(image.get_fdata(), dtype=np.float32)

    mask = values(datasets.load_mni152_brain_mask(resolution=resolution_mm)) > 0.5
    return Standard(
        Image(values(template) * mask, grid),
        mask,
        values(datasets.load_mni152_gm_template(resolution=resolution_mm)),
        values(datasets.load_mni152_wm_template(resolution=resolution_mm)),
    )


def _project(data: np.ndarray, standard: Standard, template: Image, registration: Registration) -> np.ndarray:
    assert registration.inverse_warp is not None
    return resample_to_person(
        Image(data.astype(np.float32), standard.brain.grid),
        template.grid,
        registration.affine,
        registration.inverse_warp,
    )


def _best_start(
    standard: Standard,
    template: Image,
    settings: Mapping[str, Any],
    seed: int,
    threads: int,
) -> np.ndarray:
    """Affine from MNI152's brain into a head, the best of several starts.

    Face and neck pull a head's centre of mass below its brain's, by an amount that depends on the field
    of view, so the search begins at several heights. The similarity is looked at well inside the brain:
    were its edge in view, it would be fitted to the head's.
    """
    inner = ndimage.binary_erosion(standard.mask, iterations=_voxels(6, standard.brain))
    best, best_similarity = np.eye(4), -np.inf
    for height in _START_HEIGHTS_MM:
        start = centre_of_mass_shift(standard.brain, template)
        start[2, 3] += height
        found = register_images(
            standard.brain,
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
        reached = similarity(warp_image(template, standard.brain, found), standard.brain.data, standard.mask)
        if reached > best_similarity:
            best, best_similarity = found.affine, reached
    return best


def register_standard(
    template: Image,
    settings: Mapping[str, Any],
    *,
    skull_stripped: bool,
    seed: int,
    threads: int,
    standard: Standard | None = None,
) -> tuple[Standard, Registration]:
    """Register the template (moving) to MNI152 (fixed); parameters as in :func:`template_priors`."""
    standard = standard or load_standard(2 if template.grid.spacing.min() < 2.5 else 3)
    initial = None
    if not skull_stripped:
        initial = _best_start(standard, template, settings, seed, threads)
    registration = register_images(
        standard.brain,
        template,
        settings,
        seed=seed,
        threads=threads,
        fixed_mask=None if skull_stripped else ndimage.binary_dilation(standard.mask),
        initial=initial,
        steps="all" if initial is None else "deformation",
        label="template",
    )
    return standard, registration


def template_priors(
    template: Image,
    settings: Mapping[str, Any],
    *,
    skull_stripped: bool,
    seed: int,
    threads: int,
    standard: Standard | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Brain mask and GM, WM, CSF priors on the template's grid.

    MNI152 is the fixed image and the template the moving one, so that with a skull in the template the
    similarity is looked at in MNI's brain only. The inverse transform brings mask and maps back.

    Parameters
    ----------
    template
        The study template.
    settings
        Section ``registration``.
    skull_stripped
        Whether the template shows the brain alone; the mask is then also held to its support.

    Returns
    -------
    mask, grey, white, csf
        (X, Y, Z) bool and three float32 maps in [0, 1] that add up to 1 inside the mask; 0 outside.

    Raises
    ------
    UserError
        When the mask leaves out the ventricles or is far too large or small: the registration to MNI152 has failed.
    """
    standard, registration = register_standard(
        template, settings, skull_stripped=skull_stripped, seed=seed, threads=threads, standard=standard
    )
    mask = _project(standard.mask, standard, template, registration) > 0.5
    if skull_stripped:
        # The template's own support is the better outline where people were extracted generously or not.
        support = brain_of(template.data)
        wide = ndimage.binary_dilation(mask, iterations=_voxels(6, template))
        mask = support & wide if support.any() else mask
    mask = _closed(mask, _voxels(6, template))
    grid = standard.brain.grid
    box = np.zeros(grid.shape, bool)
    points = grid.points()
    box[((points >= _VENTRICLE_BOX[0]) & (points <= _VENTRICLE_BOX[1])).all(axis=-1)] = True
    ventricles = _project(box, standard, template, registration) > 0.5
    scale = abs(np.linalg.det(registration.affine[:3, :3]))
    if not ventricles.any() or mask[ventricles].mean() <= 0.99 or not _SCALES[0] < scale < _SCALES[1]:
        raise UserError(
            "template: its brain mask leaves out the ventricles or has an impossible size, so the registration to "
            "MNI152 has failed; "
            "look at template.nii.gz and at the brain extraction and orientation of the people in it"
        )
    grey = np.clip(_project(standard.grey, standard, template, registration), 0, 1)
    white = np.clip(_project(standard.white, standard, template, registration), 0, 1)
    total = np.maximum(grey + white, 1)
    grey, white = grey / total * mask, white / total * mask
    csf = np.clip(mask - grey - white, 0, 1)
    return mask, grey.astype(np.float32), white.astype(np.float32), csf.astype(np.float32)


def _voxels(distance_mm: float, image: Image) -> int:
    return max(1, round(distance_mm / float(image.grid.spacing.min())))


def _closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """Close gaps of a mask, keep its largest piece and fill its holes."""
    padded = np.pad(mask, radius)
    closed = ndimage.binary_closing(padded, iterations=radius)
    pieces, count = ndimage.label(closed)
    if count > 1:
        closed = pieces == 1 + np.argmax(ndimage.sum_labels(closed, pieces, np.arange(1, count + 1)))
    filled = ndimage.binary_fill_holes(closed)
    return filled[radius:-radius, radius:-radius, radius:-radius]
