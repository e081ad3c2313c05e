"""Smooth invertible deformations: random and planted velocity fields, their flow and its volume change.

Fields are arrays (3, X, Y, Z) in mm along the axes R, A, S of a grid with equal spacing; points outside
the grid take the value at its edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

#: Full width at half maximum of a Gaussian, in standard deviations.
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


def _frequencies(shape: tuple[int, ...], spacing: float) -> list[np.ndarray]:
    """Return the angular frequencies (rad/mm) of ``rfftn`` along each axis, ready to broadcast."""
    last = len(shape) - 1
    axes = []
    for axis, size in enumerate(shape):
        values = fft.rfftfreq(size, spacing) if axis == last else fft.fftfreq(size, spacing)
        axes.append((2 * np.pi * values).reshape([-1 if k == axis else 1 for k in range(len(shape))]))
    return axes


def _padded(shape: tuple[int, ...], voxels: int) -> tuple[int, ...]:
    return tuple(fft.next_fast_len(size + voxels, real=True) for size in shape)


@lru_cache(maxsize=8)
def _amplitude(
    padded: tuple[int, ...], spacing: float, scales: tuple[tuple[float, float], ...]
) -> np.ndarray:
    """Return the factors, for each frequency of ``rfftn``, that turn white noise into a random field."""
    axes = _frequencies(padded, spacing)
    squared = axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2
    # in a real transform every frequency counts twice, except those of the first and the last plane
    weight = np.full(squared.shape[-1], 2.0)
    weight[0] = 1.0
    if padded[-1] % 2 == 0:
        weight[-1] = 1.0
    power = np.zeros_like(squared)
    for width, deviation in scales:
        part = np.exp(-squared * (width / FWHM_PER_SIGMA) ** 2)  # square of the Gaussian's transform
        power += deviation**2 * part / ((part * weight).sum() / np.prod(padded))
    return np.sqrt(power).astype(np.float32)


def random_field(
    shape: tuple[int, int, int], spacing: float, scales: Mapping[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Return a Gaussian random field that is a sum of independent fields of several widths.

    Parameters
    ----------
    shape, spacing
        Grid and its voxel size in mm.
    scales
        Width (FWHM of the smoothing kernel, mm) -> standard deviation of that part.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        `shape`, float32, in the units of the standard deviations.
    """
    # a field made by Fourier synthesis is periodic: a margin of one kernel separates its two ends
    padded = _padded(shape, int(np.ceil(max(scales) / spacing)))
    noise = fft.rfftn(rng.standard_normal(padded, dtype=np.float32), workers=1)
    noise *= _amplitude(padded, spacing, tuple(scales.items()))
    field = fft.irfftn(noise, s=padded, workers=1)
    return np.ascontiguousarray(field[tuple(slice(size) for size in shape)])


def random_velocity(
    shape: tuple[int, int, int], spacing: float, scales: Mapping[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Return a random velocity field (3, X, Y, Z); `scales` as in :func:`random_field`, in mm."""
    return np.stack([random_field(shape, spacing, scales, rng) for _ in range(3)])


def source_velocity(density: np.ndarray, spacing: float) -> np.ndarray:
    """Return the irrotational velocity field with a given divergence.

    The gradient of the solution of Poisson's equation, by Fourier transform. Carried along the flow of
    such a field for unit time, log J grows by the divergence along the path.

    Parameters
    ----------
    density
        Divergence (X, Y, Z), per unit time. Its mean over the box is subtracted (a closed box
        cannot grow), so it should be close to 0.
    spacing
        Voxel size in mm.

    Returns
    -------
    numpy.ndarray
        (3, X, Y, Z), mm, float32.
    """
    shape = density.shape
    padded = _padded(shape, max(shape) // 4)
    axes = _frequencies(padded, spacing)
    squared = axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2
    squared[0, 0, 0] = 1.0
    spectrum = fft.rfftn(density, s=padded, workers=1) / squared
    spectrum[0, 0, 0] = 0.0
    inside = tuple(slice(size) for size in shape)
    parts = [fft.irfftn(-1j * axis * spectrum, s=padded, workers=1)[inside] for axis in axes]
    return np.stack(parts).astype(np.float32)


def sample(volume: np.ndarray, index: np.ndarray, order: int = 1) -> np.ndarray:
    """Return the values of `volume` (X, Y, Z) at voxel positions `index` (3, ...), linear by default."""
    return ndimage.map_coordinates(volume, index, order=order, mode="nearest", output=np.float32)


def compose(first: np.ndarray, second: np.ndarray, spacing: float) -> np.ndarray:
    """Return the displacement of ``x -> second(first(x))``, both given as displacements in mm."""
    index = np.indices(first.shape[1:], dtype=np.float32) + first / np.float32(spacing)
    return first + np.stack([sample(part, index) for part in second])


def exponential(velocity: np.ndarray, spacing: float, largest_step: float = 0.5) -> np.ndarray:
    """Return the displacement at time 1 of the flow of a stationary velocity field.

    Scaling and squaring (Arsigny et al. 2006): the field is halved until no step is longer than
    `largest_step` voxels; the small deformation is then composed with itself as many times.

    Parameters
    ----------
    velocity
        (3, X, Y, Z), mm. The flow of ``-velocity`` is the inverse deformation.
    spacing
        Voxel size in mm.
    largest_step
        Length of the first step, voxels.

    Returns
    -------
    numpy.ndarray
        (3, X, Y, Z), mm: ``x -> x + u(x)``.
    """
    longest = float(np.abs(velocity).max(initial=0.0)) / spacing
    halvings = int(np.ceil(np.log2(longest / largest_step))) if longest > largest_step else 0
    displacement = (velocity / np.float32(2**halvings)).astype(np.float32)
    for _ in range(halvings):
        displacement = compose(displacement, displacement, spacing)
    return displacement


def jacobian_determinant(displacement: np.ndarray, spacing: float) -> np.ndarray:
    """Return det D(x + u(x)) by central differences, (X, Y, Z); > 1 where the deformation expands."""
    rows = [np.gradient(part, spacing) for part in displacement]
    a, b, c = (np.stack(row) for row in rows)
    a[0] += 1.0
    b[1] += 1.0
    c[2] += 1.0
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    ).astype(np.float32)
