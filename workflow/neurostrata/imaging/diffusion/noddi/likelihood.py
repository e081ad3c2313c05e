"""Maximum-likelihood fit of NODDI to many voxels at once, in torch, on a CPU or a GPU.

Start values come from the tensor's main direction and a coarse dictionary of the signals' Legendre
coefficients about it; all parameters (S0, FWF, NDI, ODI, direction) are then refined together by
Levenberg-Marquardt steps within their bounds. Voxels that have converged leave the batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from neurostrata.gate.gradients import Gradients
from neurostrata.imaging.diffusion.noddi.signal import ODI_RANGE, LocalNoddiModel, NoddiModel, Scheme
from neurostrata.imaging.diffusion.noddi.start import StartValues

#: Voxels at a time: small enough for a processor's cache, large enough to fill a GPU.
_BLOCK = {"cpu": 2048, "cuda": 131072}
_LOWER = (0.01, 0.0, 0.0, ODI_RANGE[0])
_UPPER = (10.0, 1.0, 1.0, ODI_RANGE[1])
#: Longest step in S0, FWF, NDI, ODI (as fractions) and in the direction (radians).
_LONGEST_STEP = (0.5, 0.3, 0.3, 0.3, 0.5, 0.5)
#: A voxel whose next step is shorter than this in every parameter has converged.
_TOLERANCE = 5e-4
_ITERATIONS = 60
_DAMPING = (1e-2, 1e-6, 1e6)
#: Signals above this multiple of the mean b = 0 signal are set to it; the model cannot explain brighter ones.
_BRIGHTEST = 10.0
#: Voxels that the noise is estimated from.
_SAMPLE_VOXELS = 2000


class Estimates(NamedTuple):
    """Fitted parameters of many voxels.

    Attributes
    ----------
    parameters
        (voxels, 4), float32: S0 as a fraction of the mean b = 0 signal, FWF, NDI, ODI.
    direction
        (voxels, 3), mean neurite direction in the axes of the b-vectors; its sign means nothing.
    residual
        (voxels, 2), as fractions of the squared mean b = 0 signal: the sum of squared residuals, and their
        mean at the highest b-value.
    iterations
        (voxels,), steps until convergence.
    """

    parameters: np.ndarray
    direction: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray


def fit_likelihood(
    signals: np.ndarray,
    gradients: Gradients,
    settings: Mapping[str, Any],
    *,
    threads: int = 1,
    deviations: np.ndarray | None = None,
    device: str | None = None,
    block: int | None = None,
) -> Estimates:
    """Fit NODDI to the signals of many voxels.

    With ``likelihood: gaussian`` the squared residuals are minimised. With ``offset_gaussian`` the
    prediction m is replaced by ``sqrt(m^2 + sigma^2)``, the first-order account of the Rician floor
    (Alexander 2009, in Johansen-Berg & Behrens, Diffusion MRI; the default of MDT, Harms et al. 2017,
    NeuroImage 155:82-96); sigma is one number for all voxels, see :func:`noise_level`.

    Parameters
    ----------
    signals
        (voxels, measurements), unscaled.
    gradients
        b-values in s/mm^2, those of a shell all equal; 0 where not diffusion weighted.
    settings
        d_parallel and d_iso in mm^2/s, likelihood.
    threads
        Number of CPU threads.
    deviations
        (voxels, 3, 3) or None: see :class:`neurostrata.imaging.diffusion.noddi.signal.LocalNoddiModel`.
    device
        torch device; by default a GPU when one is available.
    block
        Number of voxels at a time; it does not change the estimates.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    order = np.argsort(gradients.bvals, kind="stable")
    order = order[~gradients.b0[order]]
    b0_count = int(gradients.b0.sum())
    mean_b0 = signals[:, gradients.b0].mean(axis=1)
    sigma = None
    if settings["likelihood"] == "offset_gaussian":
        sigma = noise_level(
            signals, gradients, settings, threads=threads, deviations=deviations, device=device
        )

    step = block or _BLOCK[torch.device(device).type]
    blocks = [slice(first, first + step) for first in range(0, len(signals), step)]
    with _one_thread_each():
        scheme = Scheme(gradients.bvals[order], gradients.bvecs[order])
        model = NoddiModel(scheme, float(settings["d_parallel"]), float(settings["d_iso"]), device)
        start = StartValues(model)

        def fit(rows: slice) -> list[np.ndarray]:
            scale = mean_b0[rows]
            scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
            relative = np.nan_to_num(signals[rows][:, order] / scale[:, None]).clip(0, _BRIGHTEST)
            torch.set_num_threads(1)  # holds for the calling thread
            with torch.inference_mode():
                observed = torch.as_tensor(relative.T, **model.like).contiguous()
                floor = None
                if sigma is not None:
                    floor = torch.as_tensor(np.minimum(sigma / scale, _BRIGHTEST), **model.like)
                local = model
                if deviations is not None:
                    local = LocalNoddiModel(model, torch.as_tensor(deviations[rows], **model.like))
                fitted = _refine(local, observed, b0_count, floor, *start.estimate(observed))
                return [part.cpu().numpy() for part in fitted]

        workers = max(1, threads) if torch.device(device).type == "cpu" else 1
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(fit, blocks))
    parts = [np.concatenate(part, axis=-1) for part in zip(*found)]
    return Estimates(*(np.ascontiguousarray(part.T) for part in parts))


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep torch's operations on the calling thread; the threads work on different blocks of voxels instead.

    There are thousands of short operations, and threads inside them would wait for each other after every one,
    which took twenty times as long on a busy machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def noise_level(
    signals: np.ndarray,
    gradients: Gradients,
    settings: Mapping[str, Any],
    *,
    threads: int = 1,
    deviations: np.ndarray | None = None,
    device: str | None = None,
) -> float:
    """Return the noise's standard deviation in the signals' units, one for all voxels.

    From the residuals of a Gaussian fit at the highest b-value: the median over at most 2,000 voxels.
    Pulsation and motion add little there; between repeated b = 0 images they can be five times the noise.
    Rician noise at a b = 0 SNR of 40 or 15 is estimated to within 2 or 8 per cent, a little too low.
    """
    b0 = signals[:, gradients.b0].mean(axis=1)
    chosen = np.flatnonzero(np.isfinite(b0) & (b0 > 0))
    if not len(chosen):
        return 0.0
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), _SAMPLE_VOXELS)).astype(int)]
    gaussian = {**settings, "likelihood": "gaussian"}
    deviations = None if deviations is None else deviations[chosen]
    fitted = fit_likelihood(
        signals[chosen], gradients, gaussian, threads=threads, deviations=deviations, device=device
    )
    # corrected for the six parameters that were fitted
    count = len(gradients.bvals) - int(gradients.b0.sum()) + 1
    variance = fitted.residual[:, 1] * count / max(1, count - len(_LONGEST_STEP))
    return float(np.median(np.sqrt(variance) * b0[chosen]))


class _Point(NamedTuple):
    """Cost, mean squared residual of the last shell, gradient and Gauss-Newton curvature at parameters.

    (voxels,) twice, (6, voxels) and (6, 6, voxels); and the directions' tangents (2, 3, voxels).
    """

    cost: torch.Tensor
    last: torch.Tensor
    gradient: torch.Tensor
    curvature: torch.Tensor
    tangents: torch.Tensor

    def subset(self, voxels: torch.Tensor) -> _Point:
        return _Point(*(part[..., voxels] for part in self))


def _evaluate(
    model: NoddiModel,
    observed: torch.Tensor,
    b0_count: int,
    floor: torch.Tensor | None,
    parameters: torch.Tensor,
    direction: torch.Tensor,
) -> _Point:
    signal, rows, tangents = model.predict(parameters, direction)
    b0, b0_slope = parameters[0], torch.ones_like(parameters[0])
    if floor is not None:
        raised = torch.sqrt(signal.square() + floor.square())
        rows.mul_(signal.div_(raised))
        signal = raised
        b0 = torch.sqrt(b0.square() + floor.square())
        b0_slope = parameters[0] / b0
    residual = signal.sub_(observed)
    b0_residual = b0 - 1
    size = len(rows)
    gradient = (rows * residual).sum(dim=1)
    curvature = torch.empty((size, size, residual.shape[1]), dtype=rows.dtype, device=rows.device)
    for row in range(size):
        products = (rows[row] * rows[row:]).sum(dim=1)
        curvature[row, row:] = products
        curvature[row:, row] = products
    gradient[0] += b0_count * b0_slope * b0_residual
    curvature[0, 0] += b0_count * b0_slope.square()
    squares = residual.square_()
    cost = squares.sum(dim=0) + b0_count * b0_residual.square()
    return _Point(cost, squares[model.shells[-1]].mean(dim=0), gradient, curvature, torch.stack(tangents))


def _solve(curvature: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return ``-curvature^-1 gradient`` by an LDL factorisation over all voxels at once; overwrites both."""
    size = len(gradient)
    for column in range(size):
        pivot = curvature[column, column]
        below = curvature[column + 1 :, column] / pivot
        curvature[column + 1 :, column + 1 :] -= below[:, None] * curvature[column, column + 1 :]
        gradient[column + 1 :] -= below * gradient[column]
    for row in range(size - 1, -1, -1):
        gradient[row] /= curvature[row, row]
        gradient[:row] -= curvature[:row, row] * gradient[row]
    return gradient.neg_()


def _refine(
    model: NoddiModel,
    observed: torch.Tensor,
    b0_count: int,
    floor: torch.Tensor | None,
    parameters: torch.Tensor,
    direction: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return parameters (4, voxels), direction (3, voxels), residuals (2, voxels) and steps (voxels,)."""
    like = model.like
    lower, upper = (torch.tensor(ends, **like)[:, None] for ends in (_LOWER, _UPPER))
    longest = torch.tensor(_LONGEST_STEP, **like)[:, None]
    first, least, most = _DAMPING
    count = observed.shape[1]
    results = torch.zeros((9, count), **like)
    steps_taken = torch.zeros(count, dtype=torch.int32, device=observed.device)
    members = torch.arange(count, device=observed.device)
    damping = torch.full((count,), first, **like)
    point = _evaluate(model, observed, b0_count, floor, parameters, direction)
    for iteration in range(1, _ITERATIONS + 1):
        # parameters at a bound that want to cross it stay where they are
        fixed = torch.zeros_like(point.gradient, dtype=torch.bool)
        fixed[:4] = ((parameters <= lower) & (point.gradient[:4] > 0)) | (
            (parameters >= upper) & (point.gradient[:4] < 0)
        )
        free = (~fixed).to(observed.dtype)
        curvature = point.curvature * (free[:, None] * free[None])
        diagonal = curvature.diagonal(dim1=0, dim2=1).t()
        diagonal += damping * (diagonal + 1e-2) + (1e-5 + fixed.to(observed.dtype))
        step = _solve(curvature, point.gradient * free).clamp_(-longest, longest)
        trial = torch.clamp(parameters + step[:4], lower, upper)
        turned = direction + step[4] * point.tangents[0] + step[5] * point.tangents[1]
        turned /= turned.norm(dim=0)
        size = torch.maximum((trial - parameters).abs().amax(dim=0), step[4:].abs().amax(dim=0))
        new = _evaluate(model, observed, b0_count, floor, trial, turned)
        better = new.cost < point.cost
        parameters = torch.where(better, trial, parameters)
        direction = torch.where(better, turned, direction)
        point = _Point(*(torch.where(better, after, before) for after, before in zip(new, point)))
        damping = torch.where(better, damping / 8, damping * 6).clamp_min(least)
        active = (size > _TOLERANCE) & (damping < most)
        remaining = int(active.sum())
        if iteration < _ITERATIONS and remaining > 0.8 * len(members):
            continue
        done = torch.cat([parameters, direction, point.cost[None], point.last[None]])
        results[:, members] = done
        steps_taken[members] = iteration
        if not remaining:
            break
        members, damping = members[active], damping[active]
        parameters, direction = parameters[:, active], direction[:, active]
        observed, point = observed[:, active], point.subset(active)
        floor = None if floor is None else floor[active]
        model = model.subset(active)
    return results[:4], results[4:7], results[7:], steps_taken
