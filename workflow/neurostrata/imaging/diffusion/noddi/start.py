"""Start values for the maximum-likelihood fit of NODDI: the tensor's direction and a dictionary lookup."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss

from neurostrata.imaging.diffusion.noddi.signal import NoddiModel, Scheme

#: The tensor is fitted to shells up to this b-value (s/mm^2), or to the first shell.
_TENSOR_B_MAX = 1500.0
_FLOOR = 1e-3
_NDI = np.linspace(0.05, 0.95, 13)
_ODI = np.array([0.02, 0.06, 0.12, 0.2, 0.3, 0.42, 0.55, 0.7, 0.9])
_FWF = np.array([0.0, 0.08, 0.18, 0.3, 0.45, 0.6, 0.75, 0.9])


class StartValues:
    """Start values for voxels of one gradient scheme.

    Parameters
    ----------
    model
        The model, with nominal gradients.
    """

    def __init__(self, model: NoddiModel) -> None:
        self._model = model
        bvals, bvecs = model.scheme.bvals, model.scheme.bvecs
        low = bvals <= max(_TENSOR_B_MAX, bvals[0])
        x, y, z = bvecs[low].T
        design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
        self._low = int(low.sum())
        inverse = np.linalg.pinv(-bvals[low, None] * 1e-3 * design)
        self._tensor = torch.as_tensor(inverse, **model.like)
        self._gradients = torch.as_tensor(bvecs, **model.like)
        self._weights = [(shell.stop - shell.start) / np.array([1.0, 5.0, 9.0]) for shell in model.shells]

        grid = np.array(list(itertools.product(_FWF, _NDI, _ODI)))
        self._grid = torch.as_tensor(grid.T, **model.like)
        # every shell's signal along the axis: its first three Legendre coefficients
        nodes, weights = leggauss(24)
        cosine, weights = nodes[nodes > 0], weights[nodes > 0]
        second = 1.5 * cosine**2 - 0.5
        fourth = (35 * cosine**4 - 30 * cosine**2 + 3) / 8
        project = np.stack([weights, 5 * weights * second, 9 * weights * fourth])
        shells = [bvals[shell.start] for shell in model.shells]
        sine = np.sqrt(1 - cosine**2)
        axis = np.stack([sine, np.zeros_like(sine), cosine], axis=1)
        points = Scheme(np.repeat(shells, len(cosine)), np.tile(axis, (len(shells), 1)))
        aligned = NoddiModel(points, model.d_parallel, model.d_iso, **model.like)
        parameters = torch.cat([torch.ones_like(self._grid[:1]), self._grid])
        up = torch.zeros((3, parameters.shape[1]), **model.like)
        up[2] = 1
        signals = aligned.predict(parameters, up).signal.reshape(len(shells), len(cosine), -1)
        entries = torch.einsum("kn,snv->skv", torch.as_tensor(project, **model.like), signals)
        roots = torch.as_tensor(np.sqrt(np.concatenate(self._weights)), **model.like)[:, None]
        self._roots = roots
        self._entries = roots * entries.reshape(len(roots), -1)
        self._squares = self._entries.square().sum(dim=0)[:, None]

    def estimate(self, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the parameters (4, voxels) and direction (3, voxels) to start from.

        Parameters
        ----------
        observed
            (measurements, voxels), signals as fractions of the mean b = 0 signal.
        """
        direction = self._direction(observed)
        cosine = self._gradients @ direction
        square = cosine * cosine
        second = 1.5 * square - 0.5
        fourth = (4.375 * square - 3.75) * square + 0.375
        coefficients = torch.cat(
            [_legendre(observed[shell], second[shell], fourth[shell]) for shell in self._model.shells]
        )
        distance = self._squares - 2 * (self._entries.t() @ (self._roots * coefficients))
        chosen = self._grid[:, distance.argmin(dim=0)]
        return torch.cat([torch.ones_like(chosen[:1]), chosen]), direction

    def _direction(self, observed: torch.Tensor) -> torch.Tensor:
        """Return the main direction of a tensor fitted to the logarithm of the low shells' signals."""
        xx, yy, zz, xy, xz, yz = self._tensor @ observed[: self._low].clamp_min(_FLOOR).log()
        rows = torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz])
        return _main_axis(rows.t().reshape(-1, 3, 3)).t().contiguous()


def _main_axis(tensors: torch.Tensor) -> torch.Tensor:
    """Return the eigenvector (voxels, 3) of the largest eigenvalue, by squaring the matrices ten times.

    Accurate enough for start values, and fast on every device, unlike the batched eigensolvers.
    """
    identity = torch.eye(3, dtype=tensors.dtype, device=tensors.device)
    mean = tensors.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    powers = tensors - mean * identity
    # no eigenvalue of a traceless matrix is below -sqrt(2/3) of its norm
    shift = (2 / 3 * powers.square().sum(dim=(1, 2))).sqrt() + 1e-6
    powers = powers + shift[:, None, None] * identity
    for _ in range(10):
        powers = powers @ powers
        powers = powers / powers.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    column = powers.diagonal(dim1=1, dim2=2).argmax(dim=1)
    axes = powers.gather(2, column[:, None, None].expand(-1, 3, 1))[:, :, 0]
    return axes / axes.norm(dim=1, keepdim=True)


def _legendre(signal: torch.Tensor, second: torch.Tensor, fourth: torch.Tensor) -> torch.Tensor:
    """Return the least-squares coefficients (3, voxels) of 1, P_2 and P_4 in one shell's signals.

    A ridge about the size of a well-spread shell's noise stabilises shells with few directions.
    """
    count = len(signal)
    basis = [torch.ones_like(signal), second, fourth]
    a = [[(left * right).sum(dim=0) for right in basis] for left in basis]
    b = [(left * signal).sum(dim=0) for left in basis]
    for row, ridge in ((1, 0.02), (2, 0.05)):
        a[row][row] = a[row][row] + ridge * count / (4 * row + 1)
    for column in range(3):
        for row in range(column + 1, 3):
            factor = a[row][column] / a[column][column]
            for place in range(column, 3):
                a[row][place] = a[row][place] - factor * a[column][place]
            b[row] = b[row] - factor * b[column]
    fourth_order = b[2] / a[2][2]
    second_order = (b[1] - a[1][2] * fourth_order) / a[1][1]
    mean = (b[0] - a[0][1] * second_order - a[0][2] * fourth_order) / a[0][0]
    return torch.stack([mean, second_order, fourth_order])
