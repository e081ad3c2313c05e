"""Diffusion-weighted signals of known microstructure: the NODDI forward model, noise and schemes.

Written from the model's equations (Zhang et al. 2012, NeuroImage 61) and numerical integration alone; no
fitting software's tables enter, so that a fit to these signals is a test of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial.legendre import leggauss

#: Parallel diffusivity of neurites and diffusivity of free water, mm^2/s (in vivo values of the model).
PARALLEL_DIFFUSIVITY = 1.7e-3
FREE_DIFFUSIVITY = 3.0e-3

#: Nodes of the quadrature over the cosine of the angle to the symmetry axis. They cluster at the ends,
#: where a narrow Watson density has its mass, so that 160 of them integrate kappa up to about 2,000.
_NODES = 160
#: Concentrations above this one (odi < 0.0004) are taken as this one.
_MAX_KAPPA = 1500.0
#: Highest Legendre order, and the size below which a further order of a stick's signal is left out.
_MAX_ORDER = 60
_ORDER_TOLERANCE = 1e-9
_CHUNK = 4096


def kappa_from_odi(odi: np.ndarray) -> np.ndarray:
    """Return the Watson concentration of an orientation dispersion index, odi = (2/pi) atan(1/kappa)."""
    odi = np.asarray(odi, dtype=np.float64)
    with np.errstate(divide="ignore"):
        kappa = 1.0 / np.tan(np.clip(odi, 0.0, 1.0) * np.pi / 2)
    return np.clip(kappa, 0.0, _MAX_KAPPA)


def _even_legendre(squared: np.ndarray, orders: int) -> list[np.ndarray]:
    """Return P_0, P_2, ... P_{2 (orders - 1)} of x, given x squared."""
    values = [np.ones_like(squared), 1.5 * squared - 0.5]
    for half in range(1, orders - 1):
        order = 2 * half  # from P_{l-2}, P_l to P_{l+2}, a recurrence in x squared only
        scale = (2 * order + 3) / ((order + 1) * (order + 2))
        middle = (2 * order + 1) * squared - order**2 / (2 * order - 1) - (order + 1) ** 2 / (2 * order + 3)
        # (l+1)(l+2)/(2l+3) P_{l+2} = [(2l+1) x^2 - ...] P_l - l(l-1)/(2l-1) P_{l-2}
        values.append(scale * (middle * values[-1] - order * (order - 1) / (2 * order - 1) * values[-2]))
    return values[:orders]


def noddi_signal(
    bvals: np.ndarray,
    bvecs: np.ndarray,
    ndi: np.ndarray,
    odi: np.ndarray,
    fwf: np.ndarray,
    direction: np.ndarray,
    d_parallel: float = PARALLEL_DIFFUSIVITY,
    d_iso: float = FREE_DIFFUSIVITY,
) -> np.ndarray:
    """Return the noise-free NODDI signal of many voxels, 1 at b = 0.

    ``S = fwf exp(-b d_iso) + (1 - fwf) [ndi A_ic + (1 - ndi) A_ec]`` (Zhang et al. 2012, eq. 1 and 2).
    A_ic: sticks of diffusivity `d_parallel` whose orientations follow a Watson density (eq. 4-6), integrated
    as a product of Legendre coefficients, each by Gauss-Legendre quadrature (error below 1e-6 for
    b <= 5,000 s/mm^2, tested against quadrature over the sphere). A_ec: the Gaussian signal of the tensor
    averaged over the same density (eq. 8), perpendicular diffusivity d_parallel (1 - ndi) (tortuosity).

    Parameters
    ----------
    bvals
        (measurements,), s/mm^2.
    bvecs
        (measurements, 3), unit vectors (any value where b = 0), in the same axes as `direction`.
    ndi, odi, fwf
        (voxels,), each in [0, 1]: neurite density, orientation dispersion, free water fraction.
    direction
        (voxels, 3), mean neurite direction; normalised here.
    d_parallel, d_iso
        Diffusivities in mm^2/s.

    Returns
    -------
    numpy.ndarray
        (voxels, measurements), float64.

    Raises
    ------
    ValueError
        When shapes do not match or a fraction lies outside [0, 1].
    """
    bvals = np.asarray(bvals, dtype=np.float64)
    bvecs = np.asarray(bvecs, dtype=np.float64)
    direction = np.atleast_2d(np.asarray(direction, dtype=np.float64))
    voxels = len(direction)
    fractions = [np.broadcast_to(np.asarray(x, dtype=np.float64), (voxels,)) for x in (ndi, odi, fwf)]
    if bvecs.shape != (len(bvals), 3) or direction.shape != (voxels, 3):
        raise ValueError("bvecs must be (measurements, 3) and direction (voxels, 3)")
    if any(x.size and not (x.min() >= 0 and x.max() <= 1) for x in fractions):
        raise ValueError("ndi, odi and fwf must lie in [0, 1]")
    vic, dispersion, viso = fractions
    lengths = np.linalg.norm(bvecs, axis=1, keepdims=True)
    gradients = np.divide(bvecs, lengths, out=np.zeros_like(bvecs), where=lengths > 0)
    axes = direction / np.linalg.norm(direction, axis=1, keepdims=True)

    nodes, weights = leggauss(_NODES)
    node_squared = nodes**2
    # Legendre coefficients of a stick's signal for every measurement: (2l + 1)/2 int exp(-b d x^2) P_l(x) dx
    polynomials = np.array(_even_legendre(node_squared, _MAX_ORDER // 2 + 1))
    attenuation = np.exp(-np.outer(bvals * d_parallel, node_squared)) * weights
    factors = np.arange(0, _MAX_ORDER + 1, 2) + 0.5
    sticks = attenuation @ polynomials.T * factors
    large = np.flatnonzero(np.abs(sticks).max(axis=0, initial=0.0) > _ORDER_TOLERANCE)
    orders = max(int(large[-1]) + 1 if large.size else 1, 2)
    sticks, polynomials = sticks[:, :orders], polynomials[:orders]
    free = np.exp(-bvals * d_iso)

    signal = np.empty((voxels, len(bvals)))
    for start in range(0, voxels, _CHUNK):
        rows = slice(start, min(start + _CHUNK, voxels))
        kappa = kappa_from_odi(dispersion[rows])[:, None]
        density = np.exp(kappa * (node_squared - 1.0)) * weights
        density /= density.sum(axis=1, keepdims=True)
        moments = density @ polynomials.T  # <P_l> of the Watson density; <cos^2> = (2 <P_2> + 1) / 3
        squared = np.clip(axes[rows] @ gradients.T, -1.0, 1.0) ** 2
        intra = np.zeros_like(squared)
        for order, legendre in enumerate(_even_legendre(squared, orders)):
            intra += moments[:, order, None] * (sticks[:, order] * legendre)
        spread = (2.0 * moments[:, 1, None] + 1.0) / 3.0
        volume = vic[rows, None]
        tortuous = d_parallel * (1.0 - volume)
        along = tortuous + (d_parallel - tortuous) * spread
        across = tortuous + (d_parallel - tortuous) * (1.0 - spread) / 2.0
        extra = np.exp(-bvals * (across + (along - across) * squared))
        water = viso[rows, None]
        signal[rows] = water * free + (1.0 - water) * (volume * intra + (1.0 - volume) * extra)
    return signal


def rician_noise(signal: np.ndarray, sigma: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the magnitude of a signal after complex Gaussian noise.

    Parameters
    ----------
    signal
        Noise-free magnitudes, any shape.
    sigma
        Standard deviation of each channel in the units of the signal, broadcast against it; with a b0
        signal S0 the signal-to-noise ratio is S0 / sigma.
    rng
        Source of randomness.
    """
    real = signal + sigma * rng.standard_normal(signal.shape)
    return np.hypot(real, sigma * rng.standard_normal(signal.shape))


def even_directions(count: int, seed: int, steps: int = 300) -> np.ndarray:
    """Return unit vectors (count, 3) spread evenly over the sphere, a vector and its opposite being one.

    Electrostatic repulsion (Jones et al. 1999) from a random start, with a shrinking step.
    """
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    if count == 1:
        return points
    for step in range(steps):
        force = np.zeros_like(points)
        for sign in (1.0, -1.0):
            away = points[:, None] - sign * points[None]
            distance = np.linalg.norm(away, axis=2)
            np.fill_diagonal(distance, np.inf)
            force += (away / distance[..., None] ** 3).sum(axis=1)
        force -= (force * points).sum(axis=1, keepdims=True) * points
        largest = np.linalg.norm(force, axis=1).max()
        # the mean distance between neighbours sets the scale of a step
        points += force / max(largest, 1e-12) * (0.3 / np.sqrt(count)) * (1.0 - step / steps)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def demo_scheme(
    directions_per_shell: int = 30,
    shells: Sequence[float] = (1000.0, 2000.0),
    b0: int = 6,
    seed: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient table of the simulated cohort.

    Parameters
    ----------
    directions_per_shell
        Evenly spread directions of each shell; every shell has its own set.
    shells
        b-values in s/mm^2.
    b0
        Number of images without diffusion weighting, spread over the series (the first is one of them).
    seed
        Start of the repulsion.

    Returns
    -------
    bvals
        (measurements,), s/mm^2.
    bvecs
        (measurements, 3), unit vectors, zero where b = 0. As rows they are what :func:`format_fsl` writes.
    """
    values = np.repeat(np.asarray(shells, dtype=np.float64), directions_per_shell)
    vectors = np.concatenate(
        [even_directions(directions_per_shell, seed + 1000 * shell) for shell in range(len(shells))]
    )
    # shells take turns, so that a cut series still has all of them
    turn = np.arange(len(values)).reshape(len(shells), directions_per_shell).T.ravel()
    values, vectors = values[turn], vectors[turn]
    places = np.floor(np.arange(b0) * len(values) / max(b0, 1)).astype(int)
    return np.insert(values, places, 0.0), np.insert(vectors, places, 0.0, axis=0)


def format_fsl(bvals: np.ndarray, bvecs: np.ndarray) -> tuple[str, str]:
    """Return the texts of FSL's bval file (one line) and bvec file (three lines: x, y, z).

    FSL's vectors are in voxel axes, the first one negated when the image's affine has a positive
    determinant. Maps that do not depend on orientation (FA, MD, NDI, ODI, FWF) are the same either way.
    """
    bval = " ".join(f"{value:g}" for value in bvals) + "\n"
    bvec = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in np.asarray(bvecs).T) + "\n"
    return bval, bvec
