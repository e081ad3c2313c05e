"""The `torch` engine: greedy diffeomorphic registration of our own, on a GPU where the job has one."""

from __future__ import annotations

import sys

import numpy as np
import torch
from scipy.ndimage import find_objects

from neurostrata.core.errors import UserError
from neurostrata.imaging.images.io import Image, foreground, read_image
from neurostrata.imaging.registration.engines import RegistrationJob, iterations_per_level
from neurostrata.imaging.registration.torch_registration import Pair, align, deform, invert, normalised
from neurostrata.imaging.registration.transforms import (
    Displacement,
    read_affine,
    write_affine,
    write_displacement,
)

#: Margin (voxels) kept around the brain; the rest of an image is background and is left out.
MARGIN = 6


def _brain(image: Image, what: str) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """Return the box around the foreground, with a margin, and the affine of an image cropped to it."""
    boxes = find_objects(foreground(image.data).astype(np.int8))
    if not boxes:
        raise UserError(f"registration: {what} image is 0 everywhere; look at its bias correction and mask")
    x, y, z = (
        slice(max(part.start - MARGIN, 0), min(part.stop + MARGIN, side))
        for part, side in zip(boxes[0], image.data.shape, strict=True)
    )
    affine = image.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [x.start, y.start, z.start]
    return (x, y, z), affine


def _displacement(voxels: torch.Tensor, image: Image, box: tuple[slice, slice, slice]) -> Displacement:
    """Return a displacement (3, x, y, z) in voxels, on a box of an image, as one in RAS mm on its whole grid.

    Outside the box the values at its edge are repeated.
    """
    vectors = np.einsum("ij,jxyz->xyzi", image.grid.affine[:3, :3], voxels.cpu().numpy())
    around = [(part.start, side - part.stop) for part, side in zip(box, image.data.shape, strict=True)]
    return Displacement(np.pad(vectors.astype(np.float32), [*around, (0, 0)], mode="edge"), image.grid)


def run(job: RegistrationJob) -> None:
    """Rigid and affine steps, then the deformation; see :class:`RegistrationJob`."""
    torch.set_num_threads(job.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch registration on {device}", file=sys.stderr)
    options = job.options
    fixed, moving = read_image(job.fixed), read_image(job.moving)
    mask = None if job.fixed_mask is None else read_image(job.fixed_mask).data > 0
    box, fixed_affine = _brain(fixed, "the fixed")
    moving_box, moving_affine = _brain(moving, "the moving")
    pair = Pair(
        normalised(fixed.data, device)[:, :, *box],
        normalised(moving.data, device)[:, :, *moving_box],
        fixed_affine,
        moving_affine,
        options["ncc_radius"],
        options["contrast_at_half_weight"],
        None if mask is None else torch.from_numpy(mask[box].astype(np.float32)).to(device)[None, None],
    )
    affine = read_affine(job.initial)
    if job.steps != "deformation":
        points = fixed.grid.points()[foreground(fixed.data)]
        centre = points.mean(axis=0)
        reach = float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean()))
        for name, freedom in (("rigid", 6), ("affine", 12)):
            iterations = iterations_per_level(options[f"{name}_iterations"], job.coarse)
            affine = align(pair, affine, freedom, iterations, centre, reach, options["linear_step_mm"])
    write_affine(job.affine, affine)
    if job.steps == "linear":
        return
    found = deform(
        pair,
        affine,
        iterations_per_level(options["iterations"], job.coarse),
        options["step_vox"],
        options["smooth_update_vox"],
        options["smooth_total_vox"],
    )
    write_displacement(job.warp, _displacement(found, fixed, box))
    if job.inverse_warp is not None:
        write_displacement(job.inverse_warp, _displacement(invert(found), fixed, box))
