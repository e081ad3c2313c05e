"""Building the study template: its first average, and the update that keeps it at the mean shape of the people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import linalg, ndimage
from scipy.spatial.transform import Rotation

from neurostrata.imaging.anatomy.jacobian import log_jacobian, nonlinear_jacobian
from neurostrata.imaging.images.io import (
    Grid,
    Image,
    apply_affine,
    axis_aligned_grid,
    bounding_box,
    centre_of_mass,
    foreground,
    normalise_intensity,
)
from neurostrata.imaging.registration.chain import similarity
from neurostrata.imaging.registration.transforms import (
    Displacement,
    displace,
    invert_displacement,
    rigid_and_stretch,
    sample,
)

#: Voxels by which the pose of two templates is compared, about, and how often it is corrected at most.
POSE_VOXELS, POSE_STEPS = 200_000, 10


def start_grid(
    boxes: Sequence[tuple[np.ndarray, np.ndarray]], resolution_mm: float, margin_mm: float
) -> Grid:
    """Return the grid that covers the brains of all people.

    Parameters
    ----------
    boxes
        Per person the lowest and highest world coordinates of the brain, relative to its centre of mass.
    resolution_mm, margin_mm
        Voxel side; space added on every side.
    """
    low = np.min([box[0] for box in boxes], axis=0) - margin_mm
    high = np.max([box[1] for box in boxes], axis=0) + margin_mm
    return axis_aligned_grid(low, high, resolution_mm)


def centred_box(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Bounding box of an image's foreground, relative to its centre of mass (mm)."""
    low, high = bounding_box(foreground(image.data), image.grid.affine)
    centre = centre_of_mass(image)
    return low - centre, high - centre


def centred_on(image: Image, grid: Grid) -> np.ndarray:
    """Normalised image on `grid`, its centre of mass at the world's origin."""
    centre = centre_of_mass(image)
    normalised = Image(normalise_intensity(image.data), image.grid)
    result = np.zeros(grid.shape, dtype=np.float32)
    for start, stop in grid.slabs():
        result[start:stop] = sample(normalised, grid.points(start, stop) + centre)
    return result


def brain_of(template: np.ndarray) -> np.ndarray:
    """Support of a template: its foreground, largest piece, closed and filled."""
    mask = ndimage.binary_closing(foreground(template), iterations=2)
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + np.argmax(ndimage.sum_labels(mask, pieces, np.arange(1, count + 1)))
    return ndimage.binary_fill_holes(mask)


@dataclass
class Average:
    """Streaming means over people; memory does not grow with their number.

    Attributes
    ----------
    template
        The template that all people were registered to; its support is the mask of all measures.
    """

    template: Image
    people: int = 0
    similarities: list[float] = field(default_factory=list)
    mean_log_jacobians: list[float] = field(default_factory=list)
    log_scales: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = self.template.grid.shape
        self.mask = brain_of(self.template.data)
        self._image = np.zeros(shape, dtype=np.float64)
        self._warp = np.zeros((*shape, 3), dtype=np.float64)
        self._log_stretch = np.zeros((3, 3))

    def add(self, warped: np.ndarray, warp: Displacement, affine: np.ndarray) -> None:
        """Add one person: the image on the template's grid (normalised), the warp and the affine."""
        self.people += 1
        self._image += warped
        self._warp += warp.vectors
        stretch = rigid_and_stretch(affine)[1]
        # Logarithms of symmetric positive matrices average without swelling (Arsigny et al. 2006).
        self._log_stretch += linalg.logm(stretch).real
        self.similarities.append(similarity(warped, self.template.data, self.mask))
        self.mean_log_jacobians.append(float(log_jacobian(nonlinear_jacobian(warp))[self.mask].mean()))
        self.log_scales.append(float(np.log(np.linalg.det(stretch))))

    @property
    def image(self) -> np.ndarray:
        """Mean of the warped images."""
        return (self._image / self.people).astype(np.float32)

    @property
    def warp(self) -> Displacement:
        """Mean displacement u, template points to people's points before their affines."""
        return Displacement((self._warp / self.people).astype(np.float32), self.template.grid)

    @property
    def stretch(self) -> np.ndarray:
        """(3, 3) log-Euclidean mean of the affines' symmetric parts: scale and shear, no rotation."""
        return linalg.expm(self._log_stretch / self.people).real

    def measures(self) -> dict[str, float]:
        """Return the measures of this iteration, all inside the template's support."""
        vectors = self.warp.vectors[self.mask] / self.template.grid.spacing.mean()
        return {
            "people": self.people,
            "similarity": float(np.mean(self.similarities)),
            "similarity_worst": float(np.min(self.similarities)),
            "rms_mean_warp_vox": float(np.sqrt((vectors.astype(float) ** 2).sum(axis=1).mean())),
            "mean_log_jacobian": float(np.mean(self.mean_log_jacobians)),
            "mean_log_scale": float(np.mean(self.log_scales)),
        }


def updated_template(average: Average, settings: Mapping[str, Any]) -> np.ndarray:
    """Return the average image, moved into the average shape.

    A template point x stands for the people's points A_i(x + u_i(x)). With the mean warp u and the mean
    stretch S about the brain's centre c, its place in the average shape is y = c + S(x + s u(x) - c), s
    being ``shape_step``. The new template is therefore the average at the inverse of that map, in one
    interpolation. Rotations and translations of the affines are left out. With ``hold_pose`` the result is
    also turned and shifted to where the template was (:func:`pose_between`).

    Parameters
    ----------
    average
        Of all people.
    settings
        ``shape_step``, ``hold_pose`` and ``sharpening`` of section ``template``.
    """
    grid = average.template.grid
    step = float(settings["shape_step"])
    mean_warp = Displacement((average.warp.vectors * step).astype(np.float32), grid)
    inverse = invert_displacement(mean_warp)
    stretch = linalg.expm(step * linalg.logm(average.stretch).real).real
    back = np.eye(4)
    back[:3, :3] = np.linalg.inv(stretch)
    centre = apply_affine(grid.affine, np.array(ndimage.center_of_mass(average.mask.astype(float))))
    back[:3, 3] = centre - back[:3, :3] @ centre
    mean = Image(ndimage.spline_filter(average.image, 3, output=np.float32), grid)
    result = _moved(mean, back, inverse)
    if settings["hold_pose"]:
        pose = pose_between(average.template, Image(result, grid), average.mask)
        result = _moved(mean, back @ pose, inverse)
    if settings["sharpening"]:
        result += float(settings["sharpening"]) * (result - ndimage.gaussian_filter(result, 1.0))
    return np.clip(result, 0, None)


def _moved(coefficients: Image, matrix: np.ndarray, warp: Displacement) -> np.ndarray:
    """Return an image, given as cubic spline coefficients, at the points that a matrix (RAS, mm) and then a warp give."""
    grid = coefficients.grid
    to_voxel = np.linalg.inv(grid.affine)
    result = np.zeros(grid.shape, dtype=np.float32)
    for start, stop in grid.slabs():
        points = displace(warp, apply_affine(matrix, grid.points(start, stop)))
        index = np.moveaxis(apply_affine(to_voxel, points), -1, 0)
        result[start:stop] = ndimage.map_coordinates(coefficients.data, index, order=3, prefilter=False)
    return result


def pose_between(fixed: Image, moving: Image, mask: np.ndarray) -> np.ndarray:
    """Return the rigid map from points of one template to those of another that is nearly in the same pose.

    The mean warp has no linear trend over the brain's voxels, yet it may turn the edges by which people are aligned against
    the rest. The next registrations follow the edges, and what is left out of their affines adds up from iteration to
    iteration: half a degree each time in 12 brains of IXI. The images themselves say by how much.

    Gauss-Newton steps of the least-squares difference of both images, smoothed by one voxel, over rotation, shift, gain and offset.

    Parameters
    ----------
    fixed, moving
        On the same grid.
    mask
        (X, Y, Z) bool: where they are compared.

    Returns
    -------
    numpy.ndarray
        (4, 4), RAS mm: ``moving`` at the mapped points looks like ``fixed``. The identity where the mask is empty.
    """
    grid, pose = fixed.grid, np.eye(4)
    if not mask.any():
        return pose
    target, image = (ndimage.gaussian_filter(each.data.astype(np.float64), 1.0) for each in (fixed, moving))
    places = np.argwhere(mask)
    places = places[:: max(1, len(places) // POSE_VOXELS)]
    target = target[tuple(places.T)]
    points = apply_affine(grid.affine, places)
    centre = points.mean(axis=0)
    radius = np.sqrt(((points - centre) ** 2).sum(axis=1).mean())
    to_voxel, side = np.linalg.inv(grid.affine), float(grid.spacing.mean())

    def at(where: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(image, apply_affine(to_voxel, where).T, order=1, mode="nearest")

    for _ in range(POSE_STEPS):
        reached = apply_affine(pose, points)
        value = at(reached)
        slope = np.stack(
            [at(reached + side * axis) - at(reached - side * axis) for axis in np.eye(3)], axis=1
        )
        slope /= 2 * side
        # a rotation by 1 / radius moves points by about 1 mm
        turned = np.cross(reached - centre, slope) / radius
        columns = np.column_stack([slope, turned, value, np.ones(len(value))])
        products = columns.T @ columns
        # A rotation that changes nothing, such as that of a ball, is left at 0.
        products[range(6), range(6)] += 1e-2 * np.trace(products[:3, :3]) / 3
        solved = np.linalg.lstsq(products, columns.T @ (target - value), rcond=None)[0]
        if np.linalg.norm(solved[:6]) < 1e-3 * side:  # mm
            break
        shift, turn = solved[:3], solved[3:6] / radius
        step = np.eye(4)
        step[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
        step[:3, 3] = centre + shift - step[:3, :3] @ centre
        pose = step @ pose
    return pose


def relative_change(old: np.ndarray, new: np.ndarray) -> float:
    """Root mean square difference inside the old template's support, as a share of its mean there."""
    mask = brain_of(old)
    inside = old[mask].astype(float)
    return float(np.sqrt(((new[mask] - inside) ** 2).mean()) / inside.mean())


def has_converged(measures: Mapping[str, float], tolerance: float | None) -> bool:
    """Tell whether the template has stopped changing, with its mean warp within half a voxel."""
    return (
        tolerance is not None and measures["rms_change"] <= tolerance and measures["rms_mean_warp_vox"] <= 0.5
    )
