"""Rigid alignment of a person's diffusion data with that person's T1-weighted image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Grid, Image, apply_affine, axis_aligned_grid, bounding_box
from neurostrata.imaging.registration.transforms import read_affine, resample

#: A larger rotation between two scans of one session means that a header is wrong.
_LARGEST_ROTATION_DEGREES = 60.0
#: Largest loss of mutual information (nats) from start to end that is accepted.
_LOST_INFORMATION = 0.02
#: Margin kept around the brain when images are cropped to it, mm.
_MARGIN_MM = 12.0


class Alignment(NamedTuple):
    """A rigid alignment.

    Attributes
    ----------
    matrix
        (4, 4), T1w world points to diffusion world points (RAS mm); it resamples dwi into T1w space.
    start
        Which start was used: "header" (scanner coordinates agree) or "centre" (centres of mass).
    information_before, information_after
        Mutual information (nats) inside the T1w mask, at the start and at the end.
    """

    matrix: np.ndarray
    start: str
    information_before: float
    information_after: float


def mutual_information(first: np.ndarray, second: np.ndarray, bins: int = 32) -> float:
    """Mutual information of two samples (n,) in nats, from their joint histogram; 0 for constant ones."""
    if not len(first):
        return 0.0
    joint = np.histogram2d(first, second, bins=bins)[0] / len(first)
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / product[filled])).sum())


def _brain(image: Image, mask: np.ndarray, resolution_mm: float, label: str) -> Image:
    """Crop an image to its brain and resample it to `resolution_mm`; the background is zero."""
    low, high = bounding_box(mask, image.grid.affine)
    # Stay inside the field of view: zeros outside it would count as background.
    first, last = bounding_box(np.ones(image.grid.shape, bool), image.grid.affine)
    low, high = np.maximum(low - _MARGIN_MM, first), np.minimum(high + _MARGIN_MM, last)
    grid = axis_aligned_grid(list(low), list(high), resolution_mm)
    inside = np.where(mask, np.clip(image.data, 0, None), 0).astype(np.float32)
    top = np.percentile(inside[mask], 99.5)
    if not top > 0:
        raise UserError(f"{label}: is zero inside its mask, nothing can be aligned; check image and mask")
    # smoothed by the size of the coarser voxels, so that resampling does not alias
    sigma = [max(0.0, 0.4 * (resolution_mm / side - 1.0)) for side in image.grid.spacing]
    smooth = ndimage.gaussian_filter(np.clip(inside / top, 0, 1), sigma)
    return Image(resample(Image(smooth, image.grid), grid), grid)


def _centre(mask: np.ndarray, grid: Grid) -> np.ndarray:
    return apply_affine(grid.affine, np.argwhere(mask).mean(axis=0))


def rotation_degrees(matrix: np.ndarray) -> float:
    """Angle of the rotation of a rigid (4, 4) matrix."""
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))


def check_alignment(matrix: np.ndarray, before: float, after: float, subject: str) -> None:
    """Raise a :class:`UserError` when a result is not a plausible alignment of two scans of one session.

    Parameters
    ----------
    matrix
        (4, 4) rigid transform.
    before, after
        Mutual information at the start and at the end (nats).
    subject
        For the message.
    """
    angle = rotation_degrees(matrix) if np.isfinite(matrix).all() else np.inf
    # Both are measured on coarse images, where a perfect start may lose a little.
    if angle > _LARGEST_ROTATION_DEGREES or not after >= before - _LOST_INFORMATION:
        raise UserError(
            f"subject {subject}: the diffusion data could not be aligned with the T1w image (rotation "
            f"{angle:.0f} degrees, mutual information {before:.3f} before and {after:.3f} after); check that both "
            "are of this person, their masks and their headers"
        )


def align_rigid(
    t1w: Image,
    t1w_mask: np.ndarray,
    b0: Image,
    b0_mask: np.ndarray,
    settings: Mapping[str, Any],
    *,
    subject: str,
    seed: int = 1,
) -> Alignment:
    """Align a mean b=0 image with a T1-weighted one by mutual information, six degrees of freedom.

    Both are masked and brought to `resolution_mm` first. The start is the better of two: the headers
    as they are (most scanners keep one coordinate system per session), or the centres of the masks aligned.

    Parameters
    ----------
    t1w, t1w_mask
        The fixed image and its brain mask (X, Y, Z).
    b0, b0_mask
        The moving image and its brain mask.
    settings
        Section ``diffusion.alignment``: resolution_mm, iterations, sampling.
    subject
        For messages.
    seed
        Seed of the jitter that ANTs adds to its sampling lattice; not 0.

    Raises
    ------
    UserError
        When the result is not a plausible alignment of two scans of one person.
    """
    import ants

    from neurostrata.imaging.images.antspy import to_ants

    fixed = _brain(t1w, t1w_mask, float(settings["resolution_mm"]), f"subject {subject}: T1w image")
    moving = _brain(b0, b0_mask, float(settings["resolution_mm"]), f"subject {subject}: mean b=0 image")
    inside = fixed.data > 0

    def information(matrix: np.ndarray) -> float:
        moved = resample(moving, fixed.grid, matrix)
        return mutual_information(fixed.data[inside], moved[inside])

    centres = np.eye(4)
    centres[:3, 3] = _centre(b0_mask, b0.grid) - _centre(t1w_mask, t1w.grid)
    starts = {"header": np.eye(4), "centre": centres}
    start = max(starts, key=lambda name: information(starts[name]))
    before = information(starts[start])
    # Both headers are shifted so that rotations are about the brain's centre and the start is the identity.
    centre = np.eye(4)
    centre[:3, 3] = _centre(t1w_mask, t1w.grid)
    fixed_centred = Image(fixed.data, Grid(fixed.grid.shape, np.linalg.inv(centre) @ fixed.grid.affine))
    back = np.linalg.inv(starts[start] @ centre)
    moving_centred = Image(moving.data, Grid(moving.grid.shape, back @ moving.grid.affine))
    os.environ["ANTS_RANDOM_SEED"] = str(seed)  # registration() has no argument for it
    with tempfile.TemporaryDirectory(prefix="neurostrata-align-") as folder:
        result = ants.registration(
            fixed=to_ants(fixed_centred),
            moving=to_ants(moving_centred),
            type_of_transform="Rigid",
            initial_transform="Identity",
            outprefix=f"{folder}/rigid_",
            aff_metric="mattes",
            aff_sampling=32,
            aff_random_sampling_rate=float(settings["sampling"]),
            aff_iterations=tuple(settings["iterations"]),
            aff_shrink_factors=tuple(2**level for level in reversed(range(len(settings["iterations"])))),
            aff_smoothing_sigmas=tuple(reversed(range(len(settings["iterations"])))),
        )
        found = read_affine(Path(result["fwdtransforms"][0]))
    matrix = starts[start] @ centre @ found @ np.linalg.inv(centre)
    after = information(matrix)
    check_alignment(matrix, before, after, subject)
    return Alignment(matrix, start, before, after)
