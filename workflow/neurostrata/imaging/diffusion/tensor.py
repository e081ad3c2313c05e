"""The diffusion tensor: fractional anisotropy and mean diffusivity, fitted in native space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurostrata.gate.gradients import Gradients

#: Voxels that are fitted at a time, so that memory does not grow with their number.
_CHUNK_VOXELS = 100_000


class TensorMaps(NamedTuple):
    """Fractional anisotropy in [0, 1] and mean diffusivity in mm^2/s, each (voxels,) float32."""

    fa: np.ndarray
    md: np.ndarray


def tensor_maps(signals: np.ndarray, gradients: Gradients) -> TensorMaps:
    """Fit tensors by weighted least squares (Chung et al. 2006, as dipy does it).

    Parameters
    ----------
    signals
        (voxels, measurements), unscaled, finite, with a positive mean b = 0 signal. Values below 0.1% of that
        mean are raised to it (their logarithm is needed).
    gradients
        The table of just these measurements (see :func:`neurostrata.gate.gradients.tensor_measurements`).

    Returns
    -------
    TensorMaps
        Finite everywhere; negative eigenvalues (noise) count as zero.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    table = gradient_table(bvals=gradients.bvals, bvecs=gradients.bvecs, b0_threshold=gradients.b0_max)
    model = TensorModel(table, fit_method="WLS")
    eigenvalues = np.zeros((len(signals), 3))
    for start in range(0, len(signals), _CHUNK_VOXELS):
        part = np.asarray(signals[start : start + _CHUNK_VOXELS], dtype=np.float64)
        floor = 1e-3 * part[:, gradients.b0].mean(axis=1, keepdims=True)
        eigenvalues[start : start + len(part)] = model.fit(np.maximum(part / floor, 1.0)).evals.reshape(-1, 3)
    eigenvalues = np.clip(np.nan_to_num(eigenvalues, posinf=0.0, neginf=0.0), 0.0, None)
    mean = eigenvalues.mean(axis=1)
    spread = ((eigenvalues - mean[:, None]) ** 2).sum(axis=1)
    squares = (eigenvalues**2).sum(axis=1)
    anisotropy = np.sqrt(1.5 * np.divide(spread, squares, out=np.zeros_like(spread), where=squares > 0))
    return TensorMaps(np.clip(anisotropy, 0, 1).astype(np.float32), mean.astype(np.float32))
