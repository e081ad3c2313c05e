"""Images and their voxel grids: reading with checks, writing, interpolation.

World coordinates are NIfTI's (RAS+, millimetres) everywhere in the library; only `transforms`
deals with ITK's files, which are LPS.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from scipy import ndimage

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, read_json, sidecar_path
from neurostrata.core.records import check, is_expected
from neurostrata.gate.headers import SAME_GRID_MM, affine_problem, corner_distance, implausible, type_problem

#: Number of voxels that are interpolated at a time, so that memory does not grow with the grid.
_CHUNK_VOXELS = 500_000
#: Errors raised while reading a damaged file or one that is not an image.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    OverflowError,
    zlib.error,
    ImageFileError,
    nib.spatialimages.HeaderDataError,
)


class VoxelTypeError(ValueError):
    """The voxel type of an image cannot be used: colours or complex numbers."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in space.

    Attributes
    ----------
    shape
        Number of voxels along the three axes.
    affine
        (4, 4) matrix from voxel indices to RAS world coordinates in mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Voxel sides in mm, shape (3,)."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm^3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def voxels_within(self, distance_mm: float) -> int:
        """Distance in voxels of the shortest side, at least 1."""
        return max(1, round(distance_mm / float(self.spacing.min())))

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both grids put every voxel at the same place, within `tolerance` mm."""
        if self.shape != other.shape:
            return False
        return corner_distance(self.shape, self.affine, other.affine) <= tolerance

    def points(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """World coordinates of the voxel centres of slabs start..stop of the first axis, (n, Y, Z, 3)."""
        stop = self.shape[0] if stop is None else stop
        index = np.stack(
            np.meshgrid(
                np.arange(start, stop), np.arange(self.shape[1]), np.arange(self.shape[2]), indexing="ij"
            ),
            axis=-1,
        )
        return apply_affine(self.affine, index)

    def slabs(self) -> list[tuple[int, int]]:
        """Ranges of the first axis with at most about 500,000 voxels each."""
        step = max(1, _CHUNK_VOXELS // (self.shape[1] * self.shape[2]))
        return [(start, min(start + step, self.shape[0])) for start in range(0, self.shape[0], step)]


@dataclass(frozen=True, eq=False)
class Image:
    """A 3-D image: `data` of shape (X, Y, Z) on `grid`."""

    data: np.ndarray
    grid: Grid


def apply_affine(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points of shape (..., 3) by a (4, 4) matrix."""
    return points @ affine[:3, :3].T + affine[:3, 3]


def read_voxels(path: Path) -> tuple[np.ndarray, Any]:
    """Read the voxels (float32, any shape) of an image, and the image itself for its header.

    A result of the study is first compared with its record. A compressed file is read to its end because its checksum
    comes after the image; a damaged byte would go unnoticed otherwise.

    Raises
    ------
    DamagedError
        When it is a result that has changed since its stage wrote it.
    OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError
        When it is not a readable image (:data:`UNREADABLE`).
    """
    with _voxels(path) as (data, source):
        return np.asarray(data, dtype=np.float32), source


def open_image(path: Path) -> tuple[Any, bool]:
    """Return an image of which the header alone is read, and whether the file is compressed; errors as :func:`read_voxels`."""
    check(path)
    source: Any = nib.load(path)
    compressed = Path(path).suffix in (".gz", ".mgz")
    dtype = source.get_data_dtype()
    if kind := type_problem(dtype):
        raise VoxelTypeError(kind)
    size = Path(source.file_map["image"].filename or path).stat().st_size  # .img, when .hdr was named
    if problem := implausible(source.shape, dtype.itemsize, size, compressed):
        raise ValueError(problem)
    return source, compressed


def read_volumes(path: Path) -> Iterator[np.ndarray]:
    """Yield the volumes of a 4-D image one after the other, each (X, Y, Z), float32; further dimensions have length 1.

    Memory is needed for one volume. A compressed file is decompressed once, and read to its end, as :func:`read_voxels` does.

    Raises
    ------
    DamagedError, OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError
        As :func:`read_voxels`.
    """
    with _voxels(path) as (data, source):
        last = (0,) * (len(source.shape) - 4)
        for number in range(source.shape[3]):
            yield np.asarray(data[(..., number, *last)], dtype=np.float32)


@contextmanager
def _voxels(path: Path) -> Iterator[tuple[Any, Any]]:
    """Give the voxels of an image, to be read once from front to back, and the image; read a compressed file to its end afterwards."""
    source, compressed = open_image(path)
    if not compressed:
        yield source.dataobj, source
        return
    with gzip.open(path) as stream:
        yield type(source).from_stream(stream).dataobj, source
        while stream.read(1 << 20):
            pass


def load_array(path: Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the voxels (float32, any shape) and the (4, 4) affine of a NIfTI file.

    Raises
    ------
    UserError
        When the file is missing, truncated, damaged or no image; `label` begins the message.
    """
    with readable(path, label):
        data, source = read_voxels(path)
        affine = np.asarray(source.affine, dtype=float)
    return data, affine


@contextmanager
def readable(path: Path, label: str) -> Iterator[None]:
    """Turn errors of reading an image into a :class:`UserError` that begins with `label` and says what to do."""
    if not is_expected(path):
        raise UserError(f"{label}: the file does not exist; check the path in the cohort sheet")
    try:
        yield
    except VoxelTypeError as e:
        raise UserError(f"{label}: {e}") from e
    except UNREADABLE as e:
        reason = " ".join(str(e).split())[:200]
        raise UserError(
            f"{label}: cannot be read, perhaps truncated or damaged ({reason}); {_remedy(path)}"
        ) from e


def _remedy(path: Path) -> str:
    """Return advice on a broken file: delete a result of the study, copy an input again."""
    output = json.loads(os.environ.get("NEUROSTRATA_SHEETS", "{}")).get("output")
    made = output is not None and Path(path).resolve().is_relative_to(Path(output).resolve())
    return "delete it and run again" if made else "copy it again"


def read_grid_array(path: Path, label: str) -> tuple[np.ndarray, Grid]:
    """Read voxels of three or more dimensions, trailing ones of length 1 dropped, and their grid.

    Raises
    ------
    UserError
        When the file cannot be read, has fewer than three dimensions, or its affine is unusable.
    """
    data, affine = load_array(path, label)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim < 3:
        raise UserError(f"{label}: is {data.ndim}-dimensional with shape {data.shape}; a 3-D image is needed")
    check_affine(affine, label)
    return data, Grid((data.shape[0], data.shape[1], data.shape[2]), affine)


def read_image(path: Path, *, subject: str | None = None, what: str = "image") -> Image:
    """Read an image with contrast, one to register or to segment: 3-D, float32.

    For maps, which may be 0 everywhere, there is :func:`neurostrata.imaging.images.series.read_map`.

    Parameters
    ----------
    path
        A NIfTI file. A fourth dimension of length 1 is dropped.
    subject, what
        Subject and kind of image, for error messages.

    Raises
    ------
    UserError
        When the file is missing, truncated, not an image, not 3-D, holds NaN or infinite values, is
        constant, or its affine is singular, sheared or not finite. The message names subject and file.
    """
    place = f"subject {subject}: " if subject else ""
    label = f"{place}{what} {path}"
    data, grid = read_grid_array(path, label)
    if data.ndim != 3:
        raise UserError(
            f"{label}: is {data.ndim}-dimensional with shape {data.shape}; one 3-D volume is needed"
        )
    if min(data.shape) < 8:
        raise UserError(f"{label}: has shape {data.shape}; at least 8 voxels are needed along every axis")
    bad = int(data.size - np.isfinite(data).sum())
    if bad:
        raise UserError(f"{label}: has {bad} NaN or infinite voxels; replace them and run again")
    if data.min() == data.max():
        raise UserError(f"{label}: every voxel is {data.flat[0]:g}, there is no image in it")
    return Image(data, grid)


def check_affine(affine: np.ndarray, label: str) -> None:
    """Raise a :class:`UserError` for an affine that is singular, sheared or not finite, or has implausible voxel sizes."""
    problem = affine_problem(affine)
    if problem:
        raise UserError(f"{label}: {problem}")


def check_same_grid(image: Image, other: Image, label: str, other_label: str) -> None:
    """Raise a :class:`UserError` when two images that belong together lie on different grids."""
    if not image.grid.same_as(other.grid, tolerance=SAME_GRID_MM):
        raise UserError(
            f"{label} has shape {image.grid.shape} and {other_label} {other.grid.shape}, or their affines "
            "differ; both must be on one grid"
        )


def is_skull_stripped(path: Path) -> bool:
    """Tell from an image's sidecar whether it shows the brain alone; an image without a sidecar is taken to."""
    sidecar = sidecar_path(path)
    return bool(read_json(sidecar).get("SkullStripped", True)) if is_expected(sidecar) else True


def write_image(path: Path, data: np.ndarray, grid: Grid, dtype: type = np.float32) -> None:
    """Write a NIfTI image atomically, with identical qform and sform."""
    image = nib.Nifti1Image(np.ascontiguousarray(data, dtype=dtype), grid.affine)
    image.header.set_xyzt_units("mm")
    # Tools differ in which form they use; they place the image alike only when both agree.
    image.set_qform(grid.affine, code=1)
    image.set_sform(grid.affine, code=1)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def centre_of_mass(image: Image) -> np.ndarray:
    """World coordinates (mm) of the centre of mass of the intensities; negative values count as zero."""
    weights = np.clip(image.data, 0, None)
    return apply_affine(image.grid.affine, np.array(ndimage.center_of_mass(weights)))


def bounding_box(mask: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest world coordinates (mm) of the voxels in a mask."""
    occupied = np.argwhere(mask)
    low, high = occupied.min(axis=0), occupied.max(axis=0)
    corners = np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    world = apply_affine(affine, corners.astype(float))
    return world.min(axis=0), world.max(axis=0)


def axis_aligned_grid(low: Sequence[float], high: Sequence[float], resolution_mm: float) -> Grid:
    """RAS grid of cubic voxels, an even number along each axis, centred on the box from `low` to `high` (mm)."""
    low_corner, high_corner = np.asarray(low, float), np.asarray(high, float)
    shape = np.ceil((high_corner - low_corner) / resolution_mm).astype(int) + 1
    shape += shape % 2
    affine = np.diag([resolution_mm, resolution_mm, resolution_mm, 1.0])
    affine[:3, 3] = (low_corner + high_corner) / 2 - (shape - 1) * resolution_mm / 2
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def sample(image: Image, points: np.ndarray, order: int = 1) -> np.ndarray:
    """Interpolate an image at world points (..., 3); 0 outside.

    Parameters
    ----------
    order
        0 nearest neighbour, 1 linear.
    """
    index = apply_affine(np.linalg.inv(image.grid.affine), points)
    return ndimage.map_coordinates(
        image.data, np.moveaxis(index, -1, 0), order=order, mode="constant", cval=0.0, output=np.float32
    )


def foreground(data: np.ndarray) -> np.ndarray:
    """Voxels that are clearly brighter than the background.

    The threshold is a tenth of a robust maximum: low enough to keep cerebrospinal fluid of most
    T1-weighted contrasts, high enough to leave out the noise around a head.
    """
    positive = data[data > 0]
    if positive.size == 0:
        return np.zeros(data.shape, bool)
    return data > 0.1 * np.percentile(positive, 99)


def normalise_intensity(data: np.ndarray, level: float = 100.0) -> np.ndarray:
    """Scale an image so that its foreground's mean is `level`; values above the 99.9th percentile are set to it."""
    inside = data[foreground(data)]
    if inside.size == 0:
        return data.astype(np.float32)
    limit = np.percentile(inside, 99.9)
    return (np.clip(data, 0, limit) * (level / inside.mean())).astype(np.float32)
