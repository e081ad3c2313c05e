"""The NODDI signal and its derivatives for many voxels at once, in torch.

Zhang et al. 2012 (NeuroImage 61:1000-1016), eq. 1-8. Two facts make it fast:

* A stick's signal ``exp(-b d x^2)`` and the Watson density are both symmetric about an axis, so their
  convolution multiplies Legendre coefficients: ``A_ic(x) = sum_l c_l(b d) w_l(kappa) P_l(x)`` with x the
  cosine of the angle between the gradient and the mean direction, ``c_l`` the stick's coefficients and
  ``w_l = <P_l>`` the density's.
* The tensor averaged over the density, with the tortuosity ``d_perp = d (1 - ndi)``, has the signal
  ``A_ec(x) = exp(-b d [1 - 2/3 ndi (1 - w_2 P_2(x))])``.

Both coefficients are tabulated by Gauss-Legendre quadrature. Arrays have voxels last, so that values
per voxel broadcast along contiguous memory.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import Polynomial
from numpy.polynomial.legendre import Legendre, leggauss, legvander

#: Range of the orientation dispersion index. At 1 the direction is undetermined; below
#: 0.005 (kappa above 127) the signal no longer changes.
ODI_RANGE = (0.005, 0.995)
#: Entries of the tables over the orientation dispersion index, linearly interpolated (error below 1e-5).
_ENTRIES = 8192
#: Nodes of the quadrature; 80 integrate the narrowest density to 1e-10.
_NODES = 80
#: Legendre orders whose coefficients stay below this are left out.
_ORDER_TOLERANCE = 1e-5
_MOST_ORDERS = 15


@functools.lru_cache
def _quadrature(orders: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return squares of the nodes in (0, 1), weights that sum to 1, and P_0, P_2, ... (nodes, orders) there."""
    nodes, weights = leggauss(_NODES)
    inside = nodes > 0
    return nodes[inside] ** 2, weights[inside], legvander(nodes[inside], 2 * orders - 2)[:, ::2]


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return a matrix product on torch's threads; numpy may use more threads than the job has."""
    return (torch.from_numpy(left) @ torch.from_numpy(np.ascontiguousarray(right))).numpy()


def stick_coefficients(attenuation: np.ndarray, orders: int = _MOST_ORDERS) -> np.ndarray:
    """Return the coefficients of P_0, P_2, ... of ``exp(-a x^2)``, (len(a), orders); a = b d."""
    square, weights, polynomials = _quadrature(orders)
    values = np.exp(-np.outer(attenuation, square)) * weights
    return _product(values, polynomials) * (2 * np.arange(0, 2 * orders, 2) + 1)


def watson_moments(odi: np.ndarray, orders: int = _MOST_ORDERS) -> tuple[np.ndarray, np.ndarray]:
    """Return <P_0>, <P_2>, ... of the Watson density and their derivatives with respect to the ODI.

    ``odi = (2 / pi) atan(1 / kappa)`` (eq. 9). Both are (len(odi), orders).
    """
    square, weights, polynomials = _quadrature(orders)
    angle = np.asarray(odi, dtype=np.float64) * np.pi / 2
    density = np.exp(np.outer(1 / np.tan(angle), square - 1)) * weights
    density /= density.sum(axis=1, keepdims=True)
    moments = _product(density, polynomials)
    # d<P>/dkappa is the covariance of P with x^2
    mean = (density * square).sum(axis=1, keepdims=True)
    change = _product(density * square, polynomials) - mean * moments
    return moments, change * (-(np.pi / 2) / np.sin(angle) ** 2)[:, None]


class Prediction(NamedTuple):
    """Signals (measurements, voxels) and derivatives (6, measurements, voxels).

    The derivatives are those by S0, FWF, NDI, ODI and turns of the direction towards `tangents`, two
    (3, voxels) unit vectors.
    """

    signal: torch.Tensor
    derivatives: torch.Tensor
    tangents: tuple[torch.Tensor, torch.Tensor]


def _tangents(direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two unit vectors perpendicular to each direction, (3, voxels) (Duff et al. 2017)."""
    x, y, z = direction
    sign = torch.where(z >= 0, 1.0, -1.0).to(z.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    return torch.stack([1 + sign * x * x * a, sign * b, -sign * x]), torch.stack([b, sign + y * y * a, -y])


@dataclass(frozen=True)
class Scheme:
    """The weighted measurements that a model is evaluated for, ordered by shell; b = 0 is left out.

    Attributes
    ----------
    bvals
        (measurements,), s/mm^2, increasing.
    bvecs
        (measurements, 3), unit vectors.
    """

    bvals: np.ndarray
    bvecs: np.ndarray


class NoddiModel:
    """The model for one gradient scheme that all voxels share.

    Parameters
    ----------
    scheme
        Gradients, b = 0 left out.
    d_parallel, d_iso
        Diffusivities, mm^2/s.
    device, dtype
        Device and data type of all computations.
    """

    def __init__(
        self,
        scheme: Scheme,
        d_parallel: float,
        d_iso: float,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.like: dict[str, Any] = {"device": torch.device(device), "dtype": dtype}
        self.scheme, self.d_parallel, self.d_iso = scheme, d_parallel, d_iso
        shells, first = np.unique(scheme.bvals, return_index=True)
        if (np.diff(scheme.bvals) < 0).any():
            raise ValueError("measurements must be ordered by b-value")
        self.shells = [slice(*ends) for ends in zip(first, [*first[1:], len(scheme.bvals)])]
        sticks = stick_coefficients(shells * d_parallel)
        self.orders = max(3, 1 + int(np.flatnonzero(np.abs(sticks).max(axis=0) > _ORDER_TOLERANCE)[-1]))
        moments, changes = watson_moments(np.linspace(*ODI_RANGE, _ENTRIES), self.orders)
        powers = _powers(self.orders)
        tables = []
        for table in (moments, changes):
            coefficients = np.einsum("nl,sl,lk->nsk", table, sticks[:, : self.orders], powers)
            tables += [coefficients.reshape(_ENTRIES, -1), table[:, 1:2]]
        self._table = torch.as_tensor(np.concatenate(tables, axis=1), **self.like).contiguous()
        self._columns = [len(shells) * self.orders, 1] * 2
        self._moments = torch.as_tensor(np.concatenate([moments, changes], axis=1), **self.like)
        self._gradients = torch.as_tensor(scheme.bvecs, **self.like)
        self._attenuation = torch.as_tensor(scheme.bvals * d_parallel, **self.like)[:, None]
        self._water = torch.as_tensor(np.exp(-scheme.bvals * d_iso), **self.like)[:, None]

    def subset(self, voxels: torch.Tensor | slice) -> NoddiModel:
        """Return the model of some of the voxels."""
        return self

    def _project(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the cosines (measurements, voxels) of gradients and vectors (3, voxels)."""
        return self._gradients @ vectors

    def _sticks(self, square: torch.Tensor, odi: torch.Tensor) -> _Sticks:
        """Return the dispersed sticks' signal at squared cosines."""
        values, w2, changes, w2_odi = (
            part.t().contiguous() for part in _interpolate(self._table, odi).split(self._columns, dim=1)
        )
        place = 2 * square - 1
        signal, slope, change = (torch.empty_like(place) for _ in range(3))
        for number, chosen in enumerate(self.shells):
            rows = slice(number * self.orders, (number + 1) * self.orders)
            _horner(place[chosen], values[rows], changes[rows], signal[chosen], slope[chosen], change[chosen])
        return _Sticks(signal, slope.mul_(2), change, w2[0], w2_odi[0])

    def predict(self, parameters: torch.Tensor, direction: torch.Tensor) -> Prediction:
        """Return signals and derivatives.

        Parameters
        ----------
        parameters
            (4, voxels): S0, FWF, NDI, ODI.
        direction
            (3, voxels), unit vectors.
        """
        s0, fwf, ndi, odi = parameters
        tangents = _tangents(direction)
        cosine = self._project(direction)
        square = cosine * cosine
        intra = self._sticks(square, odi)
        second = 1.5 * square - 0.5
        slope = (2 / 3) * self._attenuation
        drop = 1 - intra.w2 * second
        extra = torch.exp((slope * drop).mul_(ndi).sub_(self._attenuation))
        steep = slope * extra
        tissue = torch.lerp(extra, intra.signal, ndi)
        unit = torch.lerp(tissue, self._water, fwf)
        scale, rest = s0 * (1 - fwf), 1 - ndi
        mixed = ndi * rest
        rows = torch.empty((6, *unit.shape), **self.like)
        rows[0] = unit
        torch.mul(self._water - tissue, s0, out=rows[1])
        torch.mul((intra.signal - extra).addcmul_(steep, drop.mul_(rest)), scale, out=rows[2])
        second.mul_(mixed * intra.w2_odi)
        torch.mul((ndi * intra.change).addcmul_(steep, second, value=-1), scale, out=rows[3])
        along = (intra.slope * ndi).sub_(steep.mul_(1.5 * mixed * intra.w2)).mul_(cosine).mul_(2 * scale)
        torch.mul(along, self._project(tangents[0]), out=rows[4])
        torch.mul(along, self._project(tangents[1]), out=rows[5])
        return Prediction(unit * s0, rows, tangents)


class LocalNoddiModel(NoddiModel):
    """The model where gradients differ between voxels: gradient coils are not linear away from the centre.

    Parameters
    ----------
    model
        That of the nominal gradients.
    deviations
        (voxels, 3, 3), L: the gradients are ``(I + L) g`` and b grows by their squared length
        (Sotiropoulos et al. 2013, NeuroImage 80:125-143).
    """

    def __init__(self, model: NoddiModel, deviations: torch.Tensor) -> None:
        self.like, self.orders, self.shells = model.like, model.orders, model.shells
        self._moments = model._moments
        matrices = deviations.to(**self.like) + torch.eye(3, **self.like)
        vectors = torch.einsum("vij,mj->imv", matrices, model._gradients)
        lengths = vectors.norm(dim=0).clamp_min(1e-6)
        self._gradients = vectors / lengths
        bvals = torch.as_tensor(model.scheme.bvals, **self.like)[:, None] * lengths.square()
        self._attenuation, self._water = bvals * model.d_parallel, torch.exp(-bvals * model.d_iso)
        grid = np.linspace(0, max(float(self._attenuation.max()), 1e-3), _ENTRIES)
        table = torch.as_tensor(stick_coefficients(grid, self.orders), **self.like)
        places = self._attenuation.flatten()
        coefficients = _interpolate(table, places, (0.0, float(grid[-1])))
        self._coefficients = coefficients.t().reshape(self.orders, *bvals.shape).contiguous()

    def subset(self, voxels: torch.Tensor | slice) -> LocalNoddiModel:
        """Return the model of some of the voxels."""
        chosen = copy.copy(self)
        for name in ("_gradients", "_attenuation", "_water", "_coefficients"):
            setattr(chosen, name, getattr(self, name)[..., voxels])
        return chosen

    def _project(self, vectors: torch.Tensor) -> torch.Tensor:
        x, y, z = self._gradients
        return (x * vectors[0]).addcmul_(y, vectors[1].expand_as(y)).addcmul_(z, vectors[2].expand_as(z))

    def _sticks(self, square: torch.Tensor, odi: torch.Tensor) -> _Sticks:
        moments, changes = _interpolate(self._moments, odi).t().contiguous().split(self.orders)
        signal, slope, change = (torch.zeros_like(square) for _ in range(3))
        before, now = torch.zeros_like(square), torch.ones_like(square)
        steep_before, steep = torch.zeros_like(square), torch.zeros_like(square)
        for order in range(self.orders):
            part = self._coefficients[order] * now
            signal.addcmul_(part, moments[order].expand_as(part))
            change.addcmul_(part, changes[order].expand_as(part))
            slope.addcmul_(self._coefficients[order] * moments[order], steep)
            # (l+1)(l+2)/(2l+3) P_{l+2} = [(2l+1) x^2 - middle] P_l - l(l-1)/(2l-1) P_{l-2}
            even = 2 * order
            scale = (2 * even + 3) / ((even + 1) * (even + 2))
            middle = even**2 / (2 * even - 1) + (even + 1) ** 2 / (2 * even + 3)
            factor = scale * ((2 * even + 1) * square - middle)
            back = scale * even * (even - 1) / (2 * even - 1)
            following = (factor * now).sub_(before, alpha=back)
            steep_before, steep = (
                steep,
                (factor * steep).add_(now, alpha=scale * (2 * even + 1)).sub_(steep_before, alpha=back),
            )
            before, now = now, following
        return _Sticks(signal, slope, change, moments[1], changes[1])


class _Sticks(NamedTuple):
    """Signal, its slope by the squared cosine, its change with the ODI; <P_2> and its change with the ODI."""

    signal: torch.Tensor
    slope: torch.Tensor
    change: torch.Tensor
    w2: torch.Tensor
    w2_odi: torch.Tensor


def _powers(orders: int) -> np.ndarray:
    """Return P_0, P_2, ... as polynomials of t = 2 x^2 - 1, which lies in [-1, 1] and so keeps precision."""
    powers = np.zeros((orders, orders))
    for order in range(orders):
        even = Legendre.basis(2 * order).convert(kind=Polynomial).coef[::2]
        shifted = Polynomial(even)(Polynomial([0.5, 0.5])).coef
        powers[order, : len(shifted)] = shifted
    return powers


def _interpolate(
    table: torch.Tensor, places: torch.Tensor, ends: tuple[float, float] = ODI_RANGE
) -> torch.Tensor:
    """Interpolate rows of a table whose entries are evenly spread between two ends, (places, columns)."""
    position = (places - ends[0]) * ((len(table) - 1) / (ends[1] - ends[0]))
    below = position.long().clamp(0, len(table) - 2)
    return torch.lerp(table[below], table[below + 1], (position - below)[:, None])


def _horner(
    place: torch.Tensor,
    coefficients: torch.Tensor,
    coefficients_odi: torch.Tensor,
    value: torch.Tensor,
    slope: torch.Tensor,
    change: torch.Tensor,
) -> None:
    """Evaluate polynomials, their slopes and their changes with the ODI at `place`, into the last three."""
    value.copy_(coefficients[-1].expand_as(place))
    change.copy_(coefficients_odi[-1].expand_as(place))
    slope.zero_()
    for order in range(len(coefficients) - 2, -1, -1):
        slope.mul_(place).add_(value)
        value.mul_(place).add_(coefficients[order])
        change.mul_(place).add_(coefficients_odi[order])
