"""Register one image to another: centre of mass, then an engine's linear steps and deformation."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.imaging.anatomy.jacobian import log_jacobian, nonlinear_jacobian
from neurostrata.imaging.images.io import Grid, Image, apply_affine, centre_of_mass, foreground, write_image
from neurostrata.imaging.registration.engines import RegistrationJob, Steps, load_engine
from neurostrata.imaging.registration.transforms import (
    Displacement,
    displace,
    inverse_with_linear_part,
    linear_part,
    read_affine,
    read_displacement,
    resample,
    without_linear_part,
    write_affine,
)


@dataclass(frozen=True, eq=False)
class Registration:
    """The transform from fixed points to moving points, x_moving = A(x + u(x)), all RAS mm.

    Attributes
    ----------
    affine
        (4, 4) matrix A.
    warp
        u on the fixed grid; None after a linear registration.
    inverse_warp
        v with z + v(z) the inverse of x + u(x), applied to A^-1(x_moving); None when it was not requested.
    """

    affine: np.ndarray
    warp: Displacement | None
    inverse_warp: Displacement | None


def inverted(registration: Registration, grid: Grid) -> Registration:
    """Return the transform from moving points to fixed points in the form of a registration.

    Parameters
    ----------
    registration
        With its inverse warp: z + v(z), z = A^-1(y), maps a moving point y to its fixed point.
    grid
        Grid of the moving image and of the returned warp.

    Returns
    -------
    Registration
        Affine A^-1 and warp u with A^-1(y + u(y)) the fixed point of y; no inverse warp.
    """
    assert registration.inverse_warp is not None
    back = np.linalg.inv(registration.affine)
    vectors = np.empty((*grid.shape, 3), dtype=np.float32)
    for start, stop in grid.slabs():
        points = grid.points(start, stop)
        reached = displace(registration.inverse_warp, apply_affine(back, points))
        vectors[start:stop] = apply_affine(registration.affine, reached) - points
    return Registration(back, Displacement(vectors, grid), None)


def centre_of_mass_shift(fixed: Image, moving: Image) -> np.ndarray:
    """Translation (4, 4) that takes the fixed image's centre of mass to the moving image's."""
    shift = np.eye(4)
    shift[:3, 3] = centre_of_mass(moving) - centre_of_mass(fixed)
    return shift


def register_images(
    fixed: Image,
    moving: Image,
    settings: Mapping[str, Any],
    *,
    seed: int = 1,
    threads: int = 1,
    fixed_mask: np.ndarray | None = None,
    initial: np.ndarray | None = None,
    steps: Steps = "all",
    coarse: bool = False,
    inverse: bool = True,
    balance_mask: np.ndarray | None = None,
    label: str = "",
) -> Registration:
    """Register `moving` to `fixed` with the engine that the settings name.

    Parameters
    ----------
    fixed, moving
        The images, each on its own grid.
    settings
        Section ``registration``: ``engine``, ``balance`` and one entry of options per engine.
    seed, threads
        Passed to the engine. On one thread the same seed gives the same transform, bit by bit; on several threads
        the order of summation varies from run to run, and the transform with it.
    fixed_mask
        (X, Y, Z) bool: where the similarity is computed; None is everywhere.
    initial
        (4, 4) RAS matrix to start with; None aligns the centres of mass.
    steps
        ``all``, ``linear`` (only the affine) or ``deformation`` (keep the initial affine).
    coarse
        Leave out the full-resolution level.
    inverse
        Whether to compute the inverse warp too.
    balance_mask
        (X, Y, Z) bool on the fixed grid: where :func:`balance` fits the linear part; None is the fixed image's foreground.
    label
        Subject or image, for error messages.

    Raises
    ------
    UserError
        When the engine is unknown or missing, or the result is not a usable transform.
    """
    engine = load_engine(settings["engine"])
    if initial is None:
        initial = centre_of_mass_shift(fixed, moving)
    with tempfile.TemporaryDirectory(prefix="neurostrata-") as name:
        folder = Path(name)
        if any(character in name for character in " ,[]"):
            raise UserError(
                f"the folder for temporary files, {name}, has a space, comma or bracket; set TMPDIR"
            )
        job = RegistrationJob(
            fixed=folder / "fixed.nii.gz",
            moving=folder / "moving.nii.gz",
            initial=folder / "initial_itk.mat",
            folder=folder,
            affine=folder / "result_affine.mat",
            warp=folder / "result_warp.nii.gz",
            inverse_warp=folder / "result_inverse.nii.gz" if inverse and steps != "linear" else None,
            options=settings[settings["engine"]],
            threads=threads,
            seed=seed,
            fixed_mask=folder / "fixed_mask.nii.gz" if fixed_mask is not None else None,
            steps=steps,
            coarse=coarse,
        )
        write_image(job.fixed, fixed.data, fixed.grid)
        write_image(job.moving, moving.data, moving.grid)
        if job.fixed_mask is not None and fixed_mask is not None:
            write_image(job.fixed_mask, fixed_mask, fixed.grid, np.uint8)
        write_affine(job.initial, initial)
        # The command line sets this for libraries that read it when they are loaded; some engines read it again.
        os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
        engine(job)
        affine = read_affine(job.affine)
        warp = None if steps == "linear" else read_displacement(job.warp)
        backward = None if job.inverse_warp is None else read_displacement(job.inverse_warp)
    _check_result(affine, warp, label)
    result = Registration(affine, warp, backward)
    if not settings["balance"]:
        return result
    return balance(result, foreground(fixed.data) if balance_mask is None else balance_mask)


def balance(registration: Registration, mask: np.ndarray) -> Registration:
    """Move the linear part of the warp into the affine; the whole transform stays the same.

    Engines stop their affine step early, each with a bias of its own (on small images greedy's volumes were about
    2% too small for everybody). The warp then compensates, and the "non-linear" Jacobian contains a global scale
    that is unrelated to the person. Afterwards the warp has no linear trend in the mask, up to a scale chosen so
    that its mean log-Jacobian there is 0: the person's overall size is only in the affine's determinant.

    Parameters
    ----------
    registration
        One without a warp is returned unchanged.
    mask
        (X, Y, Z) bool on the warp's grid: where the linear part is fitted by least squares.
    """
    if registration.warp is None or mask.sum() < 100:
        return registration
    warp = registration.warp
    linear = linear_part(warp, mask)
    mean_log_jacobian = float(
        log_jacobian(nonlinear_jacobian(without_linear_part(warp, linear)))[mask].mean()
    )
    linear = linear @ scaling(np.exp(mean_log_jacobian / 3), warp.grid, mask)
    inverse = registration.inverse_warp
    return Registration(
        registration.affine @ linear,
        without_linear_part(warp, linear),
        None if inverse is None else inverse_with_linear_part(inverse, linear),
    )


def _check_result(affine: np.ndarray, warp: Displacement | None, label: str) -> None:
    prefix = f"subject {label}: " if label else ""
    advice = "look at the image's orientation, field of view and brain extraction"
    if not np.isfinite(affine).all() or not 0.05 < abs(np.linalg.det(affine[:3, :3])) < 20:
        raise UserError(f"{prefix}the registration failed: its affine is unusable; {advice}")
    if warp is not None and not np.isfinite(warp.vectors).all():
        raise UserError(f"{prefix}the registration failed: its warp has NaN; {advice}")


def scaling(factor: float, grid: Grid, mask: np.ndarray) -> np.ndarray:
    """Scaling (4, 4) by a factor about the centre of a mask."""
    centre = apply_affine(grid.affine, np.array(ndimage.center_of_mass(mask)))
    matrix = np.diag([factor, factor, factor, 1.0])
    matrix[:3, 3] = centre * (1 - factor)
    return matrix


def warp_image(moving: Image, fixed: Image, registration: Registration) -> np.ndarray:
    """Resample the moving image onto the fixed grid with one interpolation."""
    return resample(moving, fixed.grid, registration.affine, registration.warp)


def similarity(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """Pearson correlation of two images over the voxels of a mask; 0 when either is constant there."""
    a, b = first[mask].astype(float), second[mask].astype(float)
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
