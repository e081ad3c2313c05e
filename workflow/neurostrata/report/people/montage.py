"""Slices of several images on the same points of space, as one picture file each, and outlines that lie on top of them.

A montage is a plan: which points of space each pixel shows. Every image is interpolated at these points, whatever its own
grid, so that layers of a viewer fit on top of each other to the pixel: a person and the template, or T1w and diffusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from contourpy import LineType, contour_generator  # matplotlib's own
from matplotlib.image import imsave

from neurostrata.core.files import atomic_path
from neurostrata.imaging.images.io import Grid, Image, apply_affine, sample
from neurostrata.report.figures.slices import bounding_box, positions

#: Pixels between slices.
GAP = 2
#: Smallest and largest side of a pixel in mm: a picture of a person stays at a few tens of kB.
PIXEL_MM = (0.8, 1.0)
#: Outlines of fewer points are specks.
SHORTEST_LINE = 4
#: Path coordinates are whole numbers of this part of a pixel.
STEPS_PER_PIXEL = 2


@dataclass(frozen=True, eq=False)
class Panel:
    """One slice of a montage.

    Attributes
    ----------
    plane
        Axis that it is cut across: 0 sagittal, 1 coronal, 2 axial.
    left, top, width, height
        Place in the picture, in pixels.
    points : array, shape (height, width, 3)
        RAS world coordinates in mm of every pixel.
    millimetres
        Place along the axis, in the image's world coordinates.
    """

    plane: int
    left: int
    top: int
    width: int
    height: int
    points: np.ndarray
    millimetres: float


@dataclass(frozen=True, eq=False)
class Montage:
    """A plan of slices in rows, one row per plane unless `flat`.

    Attributes
    ----------
    panels
        In reading order.
    width, height
        Of the whole picture in pixels.
    """

    panels: tuple[Panel, ...]
    width: int
    height: int

    def of_plane(self, plane: int) -> list[Panel]:
        """Return the panels that are cut across an axis."""
        return [panel for panel in self.panels if panel.plane == plane]


def canonical(grid: Grid) -> Grid:
    """Return a grid turned to the closest RAS axes, without moving any voxel."""
    import nibabel

    orientation = nibabel.orientations.io_orientation(grid.affine)
    turned = grid.affine @ nibabel.orientations.inv_ornt_aff(orientation, grid.shape)
    shape = [0, 0, 0]
    for axis, (to, _) in enumerate(orientation):
        shape[int(to)] = grid.shape[axis]
    return Grid((shape[0], shape[1], shape[2]), turned)


def plan_montage(mask: Image, *, per_plane: int = 3, flat: bool = False, pixel_mm: float = 0.0) -> Montage:
    """Plan the slices through what a mask covers.

    Parameters
    ----------
    mask
        What is in it decides which slices are shown and how far they reach; its axes are those of the slices.
    per_plane
        Slices per plane.
    flat
        All slices in one row, instead of one row per plane.
    pixel_mm
        Side of a pixel; 0 for the mask's voxel size within :data:`PIXEL_MM`.
    """
    grid = canonical(mask.grid)
    inside = _turned(mask, grid)
    spacing = grid.spacing
    pixel_mm = pixel_mm or float(np.clip(spacing.min(), *PIXEL_MM))
    box = bounding_box(inside, margin=round(4 / float(spacing.min())))
    panels, left, top, width, row_height = [], 0, 0, 0, 0
    for plane in range(3):
        across, up = (axis for axis in range(3) if axis != plane)
        columns = _pixels(box[across], float(spacing[across]), pixel_mm)
        rows = _pixels(box[up], float(spacing[up]), pixel_mm)[::-1]
        for index in positions(box, plane, per_plane):
            voxels = np.zeros((rows.size, columns.size, 3))
            voxels[..., across], voxels[..., up], voxels[..., plane] = columns[None, :], rows[:, None], index
            points = apply_affine(grid.affine, voxels)
            panels.append(
                Panel(plane, left, top, columns.size, rows.size, points, float(points[..., plane].mean()))
            )
            left += columns.size + GAP
            row_height = max(row_height, rows.size)
        width = max(width, left - GAP)
        if not flat:
            left, top, row_height = 0, top + row_height + GAP, 0
    return Montage(tuple(panels), width, top + row_height if flat else top - GAP)


def _turned(image: Image, grid: Grid) -> np.ndarray:
    """Return the voxels of an image in the order of its :func:`canonical` grid."""
    import nibabel

    orientation = nibabel.orientations.io_orientation(image.grid.affine)
    return nibabel.orientations.apply_orientation(image.data, orientation)


def _pixels(part: slice, spacing: float, pixel_mm: float) -> np.ndarray:
    """Return the voxel coordinates of the pixels along one axis of the box."""
    length = (part.stop - 1 - part.start) * spacing
    return part.start + np.arange(int(length / pixel_mm) + 1) * pixel_mm / spacing


def values_on(
    montage: Montage, image: Image, matrix: np.ndarray | None = None, order: int = 1
) -> list[np.ndarray]:
    """Interpolate an image at the points of every panel.

    Parameters
    ----------
    image
        Its values are 0 outside of its grid.
    matrix
        (4, 4) RAS matrix from the montage's world points to the image's; None where they share a space.
    order
        0 nearest neighbour, 1 linear.

    Returns
    -------
    list of array, shape (height, width)
        One per panel.
    """
    return [
        sample(image, panel.points if matrix is None else apply_affine(matrix, panel.points), order)
        for panel in montage.panels
    ]


def paint(
    montage: Montage,
    values: Sequence[np.ndarray],
    window: tuple[float, float],
    colours: str = "gray",
    inside: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Return the picture of a montage.

    Parameters
    ----------
    values
        From :func:`values_on`.
    window
        Values of the first and the last colour.
    colours
        matplotlib's colour map.
    inside
        Per panel where there is something to show; the rest is black.

    Returns
    -------
    array of uint8, shape (height, width, 3)
    """
    low, high = window
    picture = np.zeros((montage.height, montage.width, 3), np.uint8)
    table = (matplotlib.colormaps[colours](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    for position, (panel, part) in enumerate(zip(montage.panels, values)):
        scaled = np.nan_to_num((part - low) / ((high - low) or 1.0), nan=0.0)
        pixels = table[(scaled.clip(0, 1) * 255).astype(np.uint8)]
        if inside is not None:
            pixels = np.where(inside[position][..., None], pixels, np.uint8(0))
        rows = slice(panel.top, panel.top + panel.height)
        picture[rows, panel.left : panel.left + panel.width] = pixels
    return picture


def save_picture(picture: np.ndarray, path: Path, quality: int = 82) -> Path:
    """Write a picture of uint8, shape (height, width, 3), as WebP, atomically."""
    with atomic_path(path, record=False) as temporary:
        imsave(temporary, picture, format="webp", pil_kwargs={"quality": quality, "method": 4})
    return path


def outlines(values: Sequence[np.ndarray], level: float) -> list[list[np.ndarray]]:
    """Return the lines along which an image crosses a level.

    Returns
    -------
    list of list of array, shape (n, 2)
        Per panel its lines: columns and rows of the panel, in pixels.
    """
    found = []
    for part in values:
        crosses = part.min() < level < part.max()
        generator = contour_generator(z=np.nan_to_num(part), line_type=LineType.Separate)
        lines = [np.asarray(line) for line in generator.lines(level)] if crosses else []
        found.append([line for line in lines if len(line) > SHORTEST_LINE])
    return found


def svg_path(montage: Montage, lines: Sequence[Sequence[np.ndarray]], plane: int) -> str:
    """Return the outlines of one plane as the data of an SVG path, in units of a half pixel of the picture."""
    commands = []
    for panel, found in zip(montage.panels, lines):
        if panel.plane != plane:
            continue
        for line in found:
            corner = np.array([panel.left + 0.5, panel.top + 0.5])
            whole = np.rint((line + corner) * STEPS_PER_PIXEL).astype(int)
            steps = np.diff(whole, axis=0)
            steps = steps[np.any(steps != 0, axis=1)]
            if len(steps):
                moves = "".join(f"{x:+d}{y:+d}" for x, y in steps)
                commands.append(f"M{whole[0, 0]} {whole[0, 1]}l{moves}")
    return "".join(commands)


def draw_lines(
    picture: np.ndarray, montage: Montage, lines: Sequence[Sequence[np.ndarray]], colour: tuple[int, int, int]
) -> None:
    """Draw outlines into a picture, for one that has to do without a viewer."""
    for panel, found in zip(montage.panels, lines):
        for line in found:
            # a pixel at least every half pixel
            fine = np.concatenate([line[:-1] + (line[1:] - line[:-1]) * part for part in (0.0, 0.5)])
            place = np.rint(fine + 0.0).astype(int)
            picture[panel.top + place[:, 1], panel.left + place[:, 0]] = colour
