"""Image contents, read to the end of the file.

A gzip file ends with a checksum of its content, which is compared only when the file is read to the end.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from neurostrata.gate.headers import CHUNK, Facts


def read_content(image: str, facts: Mapping[str, Any]) -> Facts:
    """Read an image to its end, which compares its checksum, and summarise its voxels.

    Parameters
    ----------
    image
        Path of the file.
    facts
        Its header (:func:`neurostrata.gate.headers.read_facts`).

    Returns
    -------
    dict
        ``digest`` of the voxels as stored, ``constant``, ``empty`` (all 0), ``same`` (all volumes of a series are equal) and
        ``gaps`` (voxels that are NaN or infinite) and ``range`` (lowest and highest stored value, None where all are gaps); or ``problem``, and ``passing`` where it is one of reading, not of the file.
    """
    try:
        with gzip.open(image) if image.endswith(("gz", ".mgz")) else open(image, "rb") as stream:
            found = _voxels(stream, facts) if "dtype" in facts else {}
            while stream.read(CHUNK):
                pass
    except gzip.BadGzipFile:
        return {"problem": "is damaged: its content does not match its checksum; copy it again"}
    except (EOFError, zlib.error):
        return {"problem": "is damaged: it ends too early, or a part of it is wrong; copy it again"}
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:  # of the system; those of gzip have none
            return {"problem": f"cannot be read ({error.strerror})", "passing": True}
        return {"problem": f"is damaged ({' '.join(str(error).split())[:120]}); copy it again"}
    return found


def _voxels(stream: Any, facts: Mapping[str, Any]) -> Facts:
    """Read the voxels chunk by chunk and summarise them."""
    dtype, shape = np.dtype(facts["dtype"]), facts["shape"]
    digest = hashlib.blake2b(f"{dtype.str} {shape}".encode(), digest_size=16)
    _skip(stream, facts["offset"])
    volume = int(np.prod(shape[:3])) * dtype.itemsize
    low = high = first = None
    same, gaps = len(shape) > 3 and shape[3] > 1, 0
    for _ in range(int(np.prod(shape[3:]))):
        volume_digest, left = hashlib.blake2b(digest_size=16), volume
        while left:
            part = _exactly(stream, min(left, CHUNK))
            left -= len(part)
            volume_digest.update(part)
            values = np.frombuffer(part, dtype)
            if dtype.kind == "f":
                finite = np.isfinite(values)
                gaps += int(values.size - finite.sum())
                values = values[finite]
            if values.size:
                least, most = values.min(), values.max()
                low = least if low is None else min(low, least)
                high = most if high is None else max(high, most)
        digest.update(volume_digest.digest())
        first = first or volume_digest.digest()
        same = same and volume_digest.digest() == first
    return {
        "digest": digest.hexdigest(),
        "constant": bool(low is None or low == high),
        "empty": bool(low is None or (low == 0 and high == 0)),
        "same": bool(same),
        "gaps": gaps,
        "range": None if low is None or high is None else [float(low), float(high)],
    }


def _skip(stream: BinaryIO, count: int) -> None:
    while count:
        count -= len(_exactly(stream, min(count, CHUNK)))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    """Read `count` bytes.

    Raises
    ------
    EOFError
        When the stream ends before.
    """
    parts = []
    while count:
        part = stream.read(min(count, CHUNK))
        if not part:
            raise EOFError("the file ends before its data do")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
