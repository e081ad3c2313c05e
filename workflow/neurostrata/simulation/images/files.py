"""Writing of images and warps: the same content always gives the same bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from neurostrata.core.files import atomic_path

#: Coordinates of ITK (L, P, S) from those of NIfTI (R, A, S).
_FLIP = np.diag([-1.0, -1.0, 1.0])


def _write_compressed(path: Path, image: nib.Nifti1Image) -> None:
    # no time stamp and no name in the compressed file
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray, repetition_s: float | None = None) -> None:
    """Write an image in the data type of its array.

    Parameters
    ----------
    data
        (X, Y, Z) or (X, Y, Z, volumes).
    affine
        (4, 4), voxels to scanner (or MNI) mm along R, A, S.
    repetition_s
        Time between the volumes of a series, seconds.
    """
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    if repetition_s is not None:
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((*image.header.get_zooms()[:3], repetition_s))
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    _write_compressed(path, image)


def write_warp(path: Path, displacement: np.ndarray, affine: np.ndarray) -> None:
    """Write a displacement field (3, X, Y, Z), mm along R, A, S, as ITK reads it (vectors along L, P, S).

    Values are rounded to 1/128 mm, so that they compress better.
    """
    vectors = np.einsum("ij,jxyz->xyzi", _FLIP, displacement)[:, :, :, None, :]
    image = nib.Nifti1Image((np.round(vectors * 128) / 128).astype(np.float32), affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    _write_compressed(path, image)
