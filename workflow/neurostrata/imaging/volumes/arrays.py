"""Cohort arrays: one file per modality with the volumes of all people, their limits, and checks on reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.core.files import atomic_path, read_json
from neurostrata.core.records import DamagedError, remember_rows, row_digest, rows_of

#: Limits of a mask, whose values are used without scaling.
MASK_LIMITS = (0.0, 1.0)
#: Length in bytes of the header of a four-dimensional ``.npy`` file.
HEADER_BYTES = 128

T = TypeVar("T")


def _sortable(values: np.ndarray) -> np.ndarray:
    """Map float32 onto uint32 so that integers sort as the numbers do."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))


def _unsortable(key: int) -> float:
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))


def order_statistics(
    array: np.ndarray | CheckedArray, mask: np.ndarray, rows: Sequence[int], ranks: Sequence[int]
) -> list[float]:
    """Return the values of given ranks (from 0) among array[rows] inside a mask, exactly.

    Two passes of counting by the upper and lower 16 bits; memory does not grow with the number of people.
    """
    upper = np.zeros(65536, dtype=np.int64)
    for row in rows:
        upper += np.bincount(_sortable(array[row][mask]) >> 16, minlength=65536)
    ends = np.cumsum(upper)
    buckets = [int(np.searchsorted(ends, rank, side="right")) for rank in ranks]
    lower = {bucket: np.zeros(65536, dtype=np.int64) for bucket in set(buckets)}
    for row in rows:
        keys = _sortable(array[row][mask])
        high = keys >> 16
        for bucket, counts in lower.items():
            counts += np.bincount(keys[high == bucket] & 0xFFFF, minlength=65536)
    values = []
    for rank, bucket in zip(ranks, buckets):
        before = int(ends[bucket]) - int(upper[bucket])
        low = int(np.searchsorted(np.cumsum(lower[bucket]), rank - before, side="right"))
        values.append(_unsortable((bucket << 16) | low))
    return values


def limits(
    array: np.ndarray | CheckedArray,
    mask: np.ndarray,
    rows: Sequence[int] | None = None,
    percentiles: tuple[float, float] | Sequence[float] = (0.1, 99.9),
) -> tuple[float, float]:
    """Return the intensity limits of a cohort array: percentiles over all voxels in the mask of some people.

    Parameters
    ----------
    array
        (people, X, Y, Z) float32, usually a memory map.
    mask
        (X, Y, Z), true or above zero inside.
    rows
        Rows of the people to use (such as the training people of a fold); None for all people.
    percentiles
        Lower and upper one; linear interpolation between order statistics, as ``numpy.percentile``.

    Raises
    ------
    UserError
        When no person is chosen, the mask is empty, values are not finite, or both limits coincide.
    """
    inside = np.asarray(mask) > 0
    chosen = list(range(len(array))) if rows is None else [int(row) for row in rows]
    count = len(chosen) * int(inside.sum())
    if not count:
        raise UserError("limits of a modality: no person or no voxel in the mask to take them from")
    positions = [(count - 1) * float(percentile) / 100.0 for percentile in percentiles]
    floors = [int(np.floor(position)) for position in positions]
    ranks = [rank for floor in floors for rank in (floor, min(floor + 1, count - 1))]
    found = order_statistics(array, inside, chosen, ranks)
    results = []
    for number, (position, floor) in enumerate(zip(positions, floors)):
        below, above = found[2 * number], found[2 * number + 1]
        share = position - floor
        results.append(
            above - (above - below) * (1 - share) if share >= 0.5 else below + (above - below) * share
        )
    low, high = results
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError("limits of a modality: its values are not finite inside the mask")
    if not high > low:
        raise UserError(
            f"limits of a modality: both percentiles {tuple(percentiles)} are {low:g}, so it is (almost) constant "
            "inside the mask; check the maps it was made from"
        )
    return low, high


def apply_limits(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale values so that `low` becomes 0 and `high` 1, clipped to [0, 1], float32."""
    return np.clip((np.asarray(array, dtype=np.float32) - low) / (high - low), 0.0, 1.0).astype(np.float32)


def write_array(
    path: Path,
    people: int,
    images: Iterable[np.ndarray],
    shape: Sequence[int],
    measure: Callable[[np.ndarray], T],
) -> T:
    """Write the images of all people one at a time as one array, with a checksum of each row.

    Parameters
    ----------
    path
        The ``.npy`` file.
    people
        How many images there are.
    images
        (X, Y, Z), one per person.
    shape
        Of each image.
    measure
        Called with the finished array; when it fails the file is not written.

    Returns
    -------
    T
        What `measure` returned.

    Raises
    ------
    UserError
        When the file cannot be written.
    """
    try:
        digests = []
        with atomic_path(path, record=False) as temporary:  # its rows are recorded one by one
            with open(temporary, "wb") as stream:
                # Plain writes rather than a writable memory map: a full disk then raises instead of a crash.
                np.lib.format.write_array_header_1_0(
                    stream, {"descr": "<f4", "fortran_order": False, "shape": (people, *shape)}
                )
                for image in images:
                    content = np.ascontiguousarray(image, dtype="<f4").tobytes()
                    digests.append(row_digest(content))
                    stream.write(content)
            array = np.load(temporary, mmap_mode="r")
            with open(temporary, "rb") as stream:
                header = row_digest(stream.read(HEADER_BYTES))
            try:
                measured = measure(array)
            finally:
                del array
        remember_rows(path, header, digests)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    return measured


class CheckedArray:
    """The rows of a large array on disk; each is compared with its checksum when it is first read.

    Hashing the whole file before each training would read a large cohort twice; checking a row when it is needed costs some
    milliseconds, once for each process.

    Parameters
    ----------
    path
        The ``.npy`` file.
    array
        Its memory map.
    digests
        The rows' checksums.
    """

    def __init__(self, path: Path, array: np.ndarray, digests: Sequence[str]) -> None:
        self.path, self._array, self._digests = path, array, digests
        self._rows = np.arange(len(array))
        self._checked = np.zeros(len(array), dtype=bool)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._array.shape

    @property
    def filename(self) -> Any:
        """Path of the file, as of a memory map."""
        return getattr(self._array, "filename", None)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> np.ndarray:
        first = index[0] if isinstance(index, tuple) else index
        rows = np.atleast_1d(self._rows[first])
        for row in rows[~self._checked[rows]]:
            if row_digest(np.ascontiguousarray(self._array[row]).data.cast("B")) != self._digests[row]:
                raise DamagedError(_array_damaged(self.path))
            self._checked[row] = True
        return self._array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype)


def _array_damaged(path: Path) -> str:
    return f"{path}: is not as normalise wrote it (damaged or edited); delete {path} and run again"


def load_volumes(path: Path) -> tuple[np.ndarray | CheckedArray, dict[str, Any]]:
    """Open a modality's cohort array, read-only and without loading it.

    Parameters
    ----------
    path
        ``{modality}.npy`` or ``{modality}.json``.

    Returns
    -------
    array
        (people, X, Y, Z) float32 memory map of unscaled values, or its rows, each checked when it is first read.
    description
        Its JSON file: modality, subjects (in the order of the rows), affine, mask, limits.

    Raises
    ------
    UserError
        When a file is missing, not as its stage wrote it, or the two do not belong together.
    """
    array_path, json_path = Path(path).with_suffix(".npy"), Path(path).with_suffix(".json")
    description = read_json(json_path)
    known = rows_of(array_path)
    if known is not None and array_path.is_file():
        with open(array_path, "rb") as stream:
            head = stream.read(HEADER_BYTES)
        if row_digest(head) != known[0] or len(known[1]) != len(description["subjects"]):
            raise DamagedError(_array_damaged(array_path))
    try:
        array = np.load(array_path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{array_path}: cannot be read ({error}); run the normalise stage again") from error
    if array.ndim != 4 or len(array) != len(description["subjects"]):
        raise UserError(f"{array_path} and {json_path} do not belong together; run the normalise stage again")
    if known is not None:
        array = CheckedArray(array_path, array, known[1])
    return array, description
