"""Brain mask and tissue priors in template space, from the MNI152 template that ships with nilearn."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Image
from neurostrata.imaging.registration.chain import Registration
from neurostrata.imaging.registration.transforms import resample_to_person
from neurostrata.imaging.template.building import brain_of
from neurostrata.imaging.template.mni152 import MNI152

#: Box (mm) around the lateral ventricles of MNI152 and the white matter next to them, inside any brain mask.
_VENTRICLE_BOX = np.array([[-24.0, -40.0, 2.0], [24.0, 20.0, 26.0]])

#: Plausible volumes of a template relative to MNI152 (a large adult's brain), from a newborn's upwards.
_SCALES = (0.1, 1.6)


def _to_template(data: np.ndarray, mni152: MNI152, template: Image, registration: Registration) -> np.ndarray:
    """Bring a map of MNI152 to the template's grid."""
    assert registration.inverse_warp is not None
    return resample_to_person(
        Image(data.astype(np.float32), mni152.brain.grid),
        template.grid,
        registration.affine,
        registration.inverse_warp,
    )


def template_priors(
    template: Image, mni152: MNI152, registration: Registration, *, skull_stripped: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the brain mask and GM, WM, CSF priors on the template's grid.

    Parameters
    ----------
    template
        The study template.
    mni152, registration
        From :func:`neurostrata.imaging.template.mni152.register_to_mni152`; its inverse brings mask and maps back.
    skull_stripped
        Whether the template shows the brain alone; the mask is then also limited to its support.

    Returns
    -------
    mask, grey, white, csf
        (X, Y, Z) bool and three float32 maps in [0, 1] that add up to 1 inside the mask; 0 outside.

    Raises
    ------
    UserError
        When the mask leaves out the ventricles or is far too large or small: the registration to MNI152 has failed.
    """
    mask = _to_template(mni152.mask, mni152, template, registration) > 0.5
    if skull_stripped:
        # The template's own support is the better outline, however generously the brains were extracted.
        support = brain_of(template.data)
        wide = ndimage.binary_dilation(mask, iterations=template.grid.voxels_within(6))
        mask = support & wide if support.any() else mask
    mask = _closed(mask, template.grid.voxels_within(6))
    grid = mni152.brain.grid
    box = np.zeros(grid.shape, bool)
    points = grid.points()
    box[((points >= _VENTRICLE_BOX[0]) & (points <= _VENTRICLE_BOX[1])).all(axis=-1)] = True
    ventricles = _to_template(box, mni152, template, registration) > 0.5
    scale = abs(np.linalg.det(registration.affine[:3, :3]))
    if not ventricles.any() or mask[ventricles].mean() <= 0.99 or not _SCALES[0] < scale < _SCALES[1]:
        raise UserError(
            "template: its brain mask leaves out the ventricles or has an implausible size, so the registration to "
            "MNI152 has failed; look at template.nii.gz and at the brain extraction and orientation of the people in it"
        )
    grey = np.clip(_to_template(mni152.grey, mni152, template, registration), 0, 1)
    white = np.clip(_to_template(mni152.white, mni152, template, registration), 0, 1)
    total = np.maximum(grey + white, 1)
    grey, white = grey / total * mask, white / total * mask
    csf = np.clip(mask - grey - white, 0, 1)
    return mask, grey.astype(np.float32), white.astype(np.float32), csf.astype(np.float32)


def _closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """Close gaps of a mask, keep its largest piece and fill its holes."""
    padded = np.pad(mask, radius)
    closed = ndimage.binary_closing(padded, iterations=radius)
    pieces, count = ndimage.label(closed)
    if count > 1:
        closed = pieces == 1 + np.argmax(ndimage.sum_labels(closed, pieces, np.arange(1, count + 1)))
    filled = ndimage.binary_fill_holes(closed)
    return filled[radius:-radius, radius:-radius, radius:-radius]
