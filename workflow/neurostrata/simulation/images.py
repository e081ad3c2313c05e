"""Writing images and transforms so that the same content always gives the same bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel as nib
import numpy as np

from neurostrata.core.files import atomic_path

#: Coordinates of ITK (L, P, S) from those of NIfTI (R, A, S).
_FLIP = np.diag([-1.0, -1.0, 1.0])


def _write_nifti(path: Path, image: nib.Nifti1Image) -> None:
    # no time stamp and no name in the compressed file
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


def write_image(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    """Write an image in the data type it has; `affine` (4, 4) maps voxels to scanner mm (R, A, S)."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    _write_nifti(path, image)


def write_warp(path: Path, displacement: np.ndarray, affine: np.ndarray) -> None:
    """Write a displacement field (3, X, Y, Z), mm along R, A, S, as ITK reads it (vectors along L, P, S).

    Rounded to 1/128 mm, which the compression rewards.
    """
    vectors = np.einsum("ij,jxyz->xyzi", _FLIP, displacement)[:, :, :, None, :]
    image = nib.Nifti1Image((np.round(vectors * 128) / 128).astype(np.float32), affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    _write_nifti(path, image)


def write_affine(path: Path, matrix: np.ndarray) -> None:
    """Write an affine map (4, 4) of points in mm (R, A, S) as ITK's ``.mat`` file.

    ``ants.apply_transforms`` with it resamples the image that the points are mapped INTO onto the grid
    that they come FROM.
    """
    from scipy.io import savemat

    linear = _FLIP @ matrix[:3, :3] @ _FLIP
    parameters = np.concatenate([linear.ravel(), _FLIP @ matrix[:3, 3]])[:, None]
    stream = io.BytesIO()
    savemat(stream, {"AffineTransform_double_3_3": parameters, "fixed": np.zeros((3, 1))}, format="4")
    with atomic_path(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def read_affine(path: Path) -> np.ndarray:
    """Read what :func:`write_affine` wrote: (4, 4), points in mm along R, A, S."""
    from scipy.io import loadmat

    parameters = np.asarray(loadmat(path)["AffineTransform_double_3_3"]).ravel()
    matrix = np.eye(4)
    matrix[:3, :3] = _FLIP @ parameters[:9].reshape(3, 3) @ _FLIP
    matrix[:3, 3] = _FLIP @ parameters[9:]
    return matrix
