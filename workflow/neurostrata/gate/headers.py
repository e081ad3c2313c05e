"""Image headers, read and checked before memory of the size that they claim is allocated.

A header may claim anything, so its claims are compared with the size of the file first.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

#: Largest image in bytes (an hour of 7 T BOLD has 6 GiB as floating-point numbers).
LARGEST = 2**36
#: Deflate compresses at most 1032 bytes into one.
_DENSEST = 1040
#: Bytes read at a time.
CHUNK = 1 << 22

#: Images are on one grid when none of their corners lie farther apart than this, in mm along an axis.
SAME_GRID_MM = 0.05

Facts = dict[str, Any]


def implausible(shape: Iterable[int], itemsize: int, size: int, packed: bool) -> str | None:
    """Return what is wrong with the size that a header claims, None if it is plausible.

    Parameters
    ----------
    shape, itemsize
        Sides in voxels and bytes per voxel, as the header says.
    size
        Size of the file in bytes.
    packed
        Whether it is compressed.
    """
    claimed = itemsize
    for side in shape:
        claimed *= int(side)
    text = f"its header claims {'x'.join(map(str, shape))} voxels, {claimed / 1e9:.3g} GB"
    if claimed > LARGEST:
        return f"{text}, more than any image that can be used here"
    if claimed > size * (_DENSEST if packed else 1) + 4096:
        return f"{text}, which a file of {size} bytes cannot hold: the header is broken or the file truncated"
    return None


_NO_PLACE = (
    "its header's affine is singular, not finite or puts the image a kilometre away; repair the header"
)


def _invertible(affine: np.ndarray) -> bool:
    """Tell whether an affine has an inverse, and places the image within a kilometre of the scanner's centre."""
    within = bool((np.abs(affine) < 1e6).all())  # mm; not so of what is not finite either
    return within and abs(np.linalg.det(affine[:3, :3])) >= 1e-9


def affine_problem(affine: np.ndarray) -> str | None:
    """Return why no engine can use an affine (singular, not finite, sheared, absurd voxel sides), None if they can."""
    if not _invertible(affine):
        return _NO_PLACE
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if spacing.min() < 0.05 or spacing.max() > 25:
        sides = "x".join(f"{side:.3g}" for side in spacing)
        return f"its header gives voxels of {sides} mm; repair the header"
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-2:
        return "its header's affine has shears; resample it to a grid with right angles"
    return None


def corner_distance(shape: Sequence[int], affine: np.ndarray, other: np.ndarray) -> float:
    """Return how far apart two affines put the corners of a grid, in mm along the axis where it is most.

    Parameters
    ----------
    shape
        Number of voxels along the three axes.
    affine, other
        (4, 4) matrices from voxel indices to mm.
    """
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    corners *= np.array(shape) - 1
    apart = np.subtract(affine, other)
    return float(np.abs(corners @ apart[:3, :3].T + apart[:3, 3]).max())


def type_problem(dtype: np.dtype) -> str | None:
    """Return why voxels of a type cannot be used, None if they can."""
    if dtype.fields or dtype.kind == "V":
        return "has colours (RGB); convert it to one value per voxel"
    if dtype.kind == "c":
        return "has complex numbers, and their imaginary parts would be lost; take the magnitude"
    if dtype.kind not in "iufb":
        return f"has values of type {dtype}; convert it to numbers"
    return None


def read_facts(image: str, size: int) -> Facts:
    """Read the header of an image.

    Parameters
    ----------
    image
        Path of the file.
    size
        Its size in bytes.

    Returns
    -------
    dict
        ``shape``, ``affine``, ``placed`` (whether the header says how the image lies in space), ``dtype``, ``offset``, ``scale`` (slope and
        intercept that the stored values are scaled with), and ``print``, a fingerprint that two files with the same image
        have in common (of a gzip file: the checksum and length of its content; of others: a digest of the middle);
        or ``problem``.
    """
    if image.endswith((".mgz", ".mgh", ".img", ".hdr")):
        return _general_facts(image)
    try:
        with open(image, "rb") as stream:
            start = stream.read(1 << 16)
            stream.seek(max(0, size - 8))
            trailer = stream.read(8)
    except OSError as error:
        return {"problem": f"cannot be read ({error.strerror})"}
    if not start:
        return {"problem": "is empty (0 bytes); copy it again"}
    compressed = start[:2] == b"\x1f\x8b"
    if compressed != image.endswith(".gz"):
        reason = (
            "is compressed (gzip), but its name does not end in .gz"
            if compressed
            else "is not compressed (gzip), but its name ends in .gz"
        )
        return {"problem": f"is not a readable NIfTI image: it {reason}; rename it"}
    try:
        facts = _nifti_facts(zlib.decompressobj(31).decompress(start, 1024) if compressed else start)
    except zlib.error:
        return {"problem": "is not a readable NIfTI image: its compressed content is damaged; copy it again"}
    except Exception as error:  # nibabel and numpy raise a dozen kinds on bytes that are not a header
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        return {"problem": f"is not a readable NIfTI image ({reason})"}
    dtype = np.dtype(facts.pop("type"))
    problem = type_problem(dtype) or _shape_problem(facts["shape"])
    problem = problem or implausible(facts["shape"], dtype.itemsize, size, compressed)
    end = facts["offset"] + int(np.prod(facts["shape"], dtype=object)) * dtype.itemsize
    if not problem and not 0 <= facts["offset"] <= LARGEST:
        problem = f"its header says that the data begin at byte {facts['offset']}; repair the header"
    problem = problem or _truncation_problem(image, size, end, trailer if compressed else None)
    affine = np.asarray(facts["affine"], float)
    if not problem and not _invertible(affine):
        problem = _NO_PLACE
    if problem:
        return {"problem": problem}
    fingerprint = trailer.hex() if compressed else _middle(image, (facts["offset"] + end) // 2, size)
    return {
        **facts,
        "dtype": dtype.str,
        "print": fingerprint,
        "affine": affine.round(6).tolist(),
    }


def _truncation_problem(image: str, size: int, end: int, trailer: bytes | None) -> str | None:
    """Return what is wrong when a file ends before the data that its header claims, None if it does not.

    Parameters
    ----------
    size, end
        The file's size, and where its data must end, in bytes.
    trailer
        The last eight bytes of a gzip file.
    """
    present = size
    if trailer is not None:
        # The last four bytes of a gzip member are the length of its content modulo 2**32: a truncated
        # file is found without decompressing it. Several members (pigz, bgzip) are decompressed when they disagree.
        present = end
        if int.from_bytes(trailer[4:], "little") != end % 2**32:
            present = _decompressed_size(image, end)
    if present < 0:
        return "is truncated or damaged (its compressed data break off); copy it again"
    if present < end:
        return f"is truncated ({present} of {end} bytes of data); copy it again"
    return None


def _middle(image: str, place: int, size: int) -> str:
    """Return a digest of the middle of a file, and its size."""
    with open(image, "rb") as stream:
        stream.seek(place)
        return f"{hashlib.blake2b(stream.read(1 << 16), digest_size=8).hexdigest()}:{size}"


def _nifti_facts(raw: bytes) -> Facts:
    """Return what a NIfTI-1 or NIfTI-2 header says; nibabel raises on impossible values."""
    if len(raw) < 348:
        raise ValueError(f"{len(raw)} bytes are not a header")
    order: Any = next((o for o in ("little", "big") if int.from_bytes(raw[:4], o) in (348, 540)), None)
    if order is None:
        raise ValueError("it does not begin with a NIfTI header")
    second = int.from_bytes(raw[:4], order) == 540
    dimensions = int.from_bytes(raw[16:24] if second else raw[40:42], order, signed=True)
    if not 1 <= dimensions <= 7:
        raise ValueError(f"its header gives {dimensions} dimensions")
    kind: Any = nib.Nifti2Header if second else nib.Nifti1Header
    # nibabel raises what it also writes to its log
    quiet, nib.imageglobals.logger.disabled = nib.imageglobals.logger.disabled, True
    try:
        header = kind(raw[: kind.template_dtype.itemsize], check=True)
    finally:
        nib.imageglobals.logger.disabled = quiet
    if not bytes(header["magic"]).startswith((b"n+", b"ni")):
        raise ValueError("its header lacks the magic number of NIfTI")
    slope, intercept = header.get_slope_inter()
    return {
        "shape": [int(side) for side in header.get_data_shape()],
        "type": header.get_data_dtype(),
        "offset": int(header.get_data_offset()),
        "affine": header.get_best_affine().tolist(),
        "placed": _placed(header),
        "scale": [1.0 if slope is None else float(slope), float(intercept or 0.0)],
    }


def _placed(header: Any) -> bool:
    """Tell whether a header says how the image lies in space; else left and right are a guess."""
    if "goodRASFlag" in header:  # MGH
        return bool(header["goodRASFlag"])
    return "qform_code" in header and bool(header["qform_code"] > 0 or header["sform_code"] > 0)


def _general_facts(image: str) -> Facts:
    """Read the header of an image of another format."""
    try:
        loaded: Any = nib.load(image)
        shape, dtype = [int(side) for side in loaded.shape], loaded.get_data_dtype()
        affine = np.asarray(loaded.affine, float)
    except Exception as error:  # nibabel and its formats raise a dozen kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        return {"problem": f"is not a readable image ({reason})"}
    # SPM's .mat, beside an Analyze image, may be missing
    parts = [Path(part.filename) for part in loaded.file_map.values() if part.filename]
    sizes = [part.stat().st_size for part in parts if part.is_file()]
    problem = type_problem(dtype) or _shape_problem(shape)
    problem = (
        problem
        or implausible(shape, dtype.itemsize, sum(sizes), image.endswith("z"))
        or affine_problem(affine)
    )
    if problem:
        return {"problem": problem}
    return {
        "shape": shape,
        "affine": affine.round(6).tolist(),
        "placed": _placed(loaded.header),
        "scale": [1.0, 0.0],  # their contents are not looked at
    }


def trimmed(shape: Sequence[int]) -> tuple[int, ...]:
    """Return an image's shape without trailing ones beyond three dimensions."""
    kept = tuple(int(side) for side in shape)
    while len(kept) > 3 and kept[-1] == 1:
        kept = kept[:-1]
    return kept


def _shape_problem(shape: Sequence[int]) -> str | None:
    shape = trimmed(shape)
    if not 3 <= len(shape) <= 4 or min(shape) < 1:
        return f"has shape {shape}; expected an image of three dimensions, or a series of such images"
    return None


def _decompressed_size(image: str, enough: int) -> int:
    """Return the length of a gzip file's content, at least up to `enough` bytes; -1 when it breaks off."""
    total = 0
    try:
        with gzip.open(image) as stream:
            while total < enough and (chunk := stream.read(CHUNK)):
                total += len(chunk)
    except (OSError, EOFError, zlib.error):
        return -1
    return total
