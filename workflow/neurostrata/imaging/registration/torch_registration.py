"""Greedy diffeomorphic registration in torch: the same numbers on a CPU and, much faster, on a GPU.

As greedy (Yushkevich) and the greedy SyN of ANTs do it: the gradient of the neighbourhood cross-correlation, smoothed,
is a small step that is composed with the map so far, coarse to fine. In this module all units are voxels of the fixed image;
tensors of images are (1, 1, x, y, z), of points and displacements (3, x, y, z).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.optim.adam import adam

#: Added to variances of images scaled to [0, 1], so that places without contrast do not count.
FLAT = 1e-5
#: Standard deviation of the smoothing before an image is shrunk by s, in units of s voxels.
ANTIALIASING = 0.42
#: Options of the linear steps' optimiser. Its function is called because the class, torch.optim.Adam, imports torch's compiler:
#: a second of each registration.
ADAM: dict[str, Any] = {
    "beta1": 0.8,
    "beta2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "maximize": False,
}
#: Longest of Newton's steps when a displacement is inverted, in voxels.
LONGEST_STEP = 1.5


def normalised(data: np.ndarray, device: str) -> torch.Tensor:
    """Return an image (1, 1, x, y, z) scaled to [0, 1], its brightest thousandth cut."""
    low, high = float(data.min()), float(np.quantile(data, 0.999))
    scaled = (np.asarray(data, np.float32) - low) / max(high - low, 1e-12)
    return torch.from_numpy(np.clip(scaled, 0, 1)).to(device)[None, None]


def smooth(volumes: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """Return volumes (n, channels, x, y, z) convolved with a Gaussian (`sigmas` in voxels along x, y, z); edges repeat."""
    for axis, sigma in enumerate(sigmas):
        if sigma <= 0:
            continue
        radius = max(1, math.ceil(3 * sigma))
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        weights /= weights.sum()
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        padded = functional.pad(volumes, padding, mode="replicate")
        total = torch.zeros_like(volumes)
        for shift, weight in enumerate(weights.tolist()):
            total.add_(padded.narrow(2 + axis, shift, volumes.shape[2 + axis]), alpha=weight)
        volumes = total
    return volumes


def sample(volume: torch.Tensor, points: torch.Tensor, outside: str = "zeros") -> torch.Tensor:
    """Return a volume (1, channels, x, y, z), trilinearly, at points (3, ...) in its voxels: (1, channels, ...)."""
    # Plain numbers: a tensor of them would be copied to a GPU, which waits for that, at each call.
    scales = [2 / max(side - 1, 1) for side in volume.shape[2:]]
    axes = [axis * scale - 1 for axis, scale in zip(points, scales, strict=True)]
    grid = torch.stack(axes[::-1], dim=-1)[None]  # torch counts the last axis first
    return functional.grid_sample(volume, grid, padding_mode=outside, align_corners=True)


def voxels(shape: Sequence[int], device: str | torch.device) -> torch.Tensor:
    """Return the indices (3, x, y, z) of a grid's voxels."""
    axes = [torch.arange(side, device=device, dtype=torch.float32) for side in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def transform(matrix: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Apply a (4, 4) matrix to points (3, x, y, z)."""
    return torch.einsum("ij,jxyz->ixyz", matrix[:3, :3], points) + matrix[:3, 3].view(3, 1, 1, 1)


class Box(torch.autograd.Function):
    """Means over cubes, with zeros outside the image; the gradient is the same operation."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, radius: int) -> torch.Tensor:
        """Add up shifted images, axis after axis: much faster on a CPU than pooling layers."""
        ctx.radius = radius
        for axis in range(2, 5):
            side = image.shape[axis]
            total = image.clone()
            for shift in range(1, min(radius, side - 1) + 1):
                kept = side - shift
                total.narrow(axis, shift, kept).add_(image.narrow(axis, 0, kept))
                total.narrow(axis, 0, kept).add_(image.narrow(axis, shift, kept))
            image = total
        return image.mul_((2 * radius + 1) ** -3)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Return the gradient of the image."""
        return Box.apply(gradients[0], ctx.radius), None


def box(image: torch.Tensor, radius: int) -> torch.Tensor:
    """Return the means over cubes of 2 radius + 1 voxels a side."""
    result: torch.Tensor = Box.apply(image, radius)
    return result


class Correlation:
    """The mean squared neighbourhood cross-correlation with a fixed image (Avants 2008, Eq. 7), weighted by contrast.

    The correlation of a neighbourhood without contrast is as large as that of one with an edge. A template, the mean of many
    images, fades out around the brain: with all voxels alike, its faint rim draws people's sharp edges outwards.

    Parameters
    ----------
    fixed
        (1, 1, x, y, z), in [0, 1].
    radius
        Of the cubic neighbourhood, in voxels.
    contrast
        Standard deviation of the fixed image within a neighbourhood at which a voxel counts half; 0: all count the same.
    weight
        (1, 1, x, y, z): weight of each voxel beside that.
    """

    def __init__(self, fixed: torch.Tensor, radius: int, contrast: float, weight: torch.Tensor) -> None:
        self.fixed, self.radius = fixed, radius
        self.mean = box(fixed, radius)
        variance = (box(fixed * fixed, radius) - self.mean**2).clamp_min(0)
        self.variance = variance + FLAT
        if contrast > 0:
            weight = weight * variance / (variance + contrast**2)
        self.weight = weight / weight.sum().clamp_min(1e-6)

    def __call__(self, moving: torch.Tensor) -> torch.Tensor:
        """Return the similarity of an image on the same grid, between 0 and 1."""
        mean = box(moving, self.radius)
        variance = (box(moving * moving, self.radius) - mean**2).clamp_min(0) + FLAT
        covariance = box(self.fixed * moving, self.radius) - self.mean * mean
        return (self.weight * covariance**2 / (self.variance * variance)).sum()


@dataclass(frozen=True, eq=False)
class Level:
    """One resolution of the pair.

    Attributes
    ----------
    correlation
        With the fixed image of this level.
    moving
        The moving image, as smooth as the fixed one, on its own grid.
    index
        (4, 4) from the level's voxels to those of the fixed image.
    shape
        Of the level's grid.
    """

    correlation: Correlation
    moving: torch.Tensor
    index: torch.Tensor
    shape: tuple[int, int, int]


class Pair:
    """Two images and the levels at which they are compared.

    Parameters
    ----------
    fixed, moving
        (1, 1, x, y, z), in [0, 1].
    fixed_affine, moving_affine
        (4, 4), voxels to RAS mm.
    radius
        Of the correlation's neighbourhood.
    contrast
        At which a voxel counts half; see :class:`Correlation`.
    mask
        (1, 1, x, y, z) where the similarity counts; None: everywhere.
    """

    def __init__(
        self,
        fixed: torch.Tensor,
        moving: torch.Tensor,
        fixed_affine: np.ndarray,
        moving_affine: np.ndarray,
        radius: int,
        contrast: float,
        mask: torch.Tensor | None = None,
    ) -> None:
        self.fixed, self.moving, self.radius, self.contrast = fixed, moving, radius, contrast
        self.device = fixed.device
        self.weight = torch.ones_like(fixed) if mask is None else mask
        self.fixed_affine, self.moving_affine = fixed_affine, moving_affine
        spacing = [np.linalg.norm(a[:3, :3], axis=0) for a in (fixed_affine, moving_affine)]
        self.ratio = spacing[0].mean() / spacing[1]  # moving voxels per fixed voxel

    def level(self, shrink: int) -> Level:
        """Return the pair at a `shrink`-th of the resolution."""
        index = np.diag([shrink, shrink, shrink, 1.0])
        index[:3, 3] = (shrink - 1) / 2
        placed = torch.tensor(index, dtype=torch.float32, device=self.device)
        if shrink == 1:
            shape = tuple(self.fixed.shape[2:])
            fixed, moving, weight = self.fixed, self.moving, self.weight
        else:
            sigma = ANTIALIASING * shrink
            shape = tuple(max(1, side // shrink) for side in self.fixed.shape[2:])
            points = transform(placed, voxels(shape, self.device))
            fixed = sample(smooth(self.fixed, [sigma] * 3), points, "border")
            weight = sample(self.weight, points, "border")
            moving = smooth(self.moving, [sigma * float(ratio) for ratio in self.ratio])
        correlation = Correlation(fixed, self.radius, self.contrast, weight)
        return Level(correlation, moving, placed, shape)  # type: ignore[arg-type]

    def to_moving(self, affine: np.ndarray) -> torch.Tensor:
        """Return the (4, 4) matrix from fixed voxels to moving voxels of an affine between RAS points."""
        matrix = np.linalg.inv(self.moving_affine) @ affine @ self.fixed_affine
        return torch.tensor(matrix, dtype=torch.float32, device=self.device)


def generators(freedom: int) -> np.ndarray:
    """Return the matrices (n, 3, 3) that span rotations (6 degrees of freedom with the shift) or all linear maps (12)."""
    rotations = np.zeros((3, 3, 3))
    for n, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        rotations[n, i, j], rotations[n, j, i] = -1, 1
    return rotations if freedom == 6 else np.eye(9).reshape(9, 3, 3)


def align(
    pair: Pair,
    affine: np.ndarray,
    freedom: int,
    iterations: Sequence[int],
    centre: np.ndarray,
    radius_mm: float,
    step_mm: float,
) -> np.ndarray:
    """Return the optimised affine, fixed to moving points, RAS mm.

    Parameters
    ----------
    affine
        (4, 4), to start with.
    freedom
        6 rigid, 12 affine.
    iterations
        Per level, coarse to fine; each level doubles the resolution.
    centre
        Centre of rotation and scaling, RAS mm.
    radius_mm
        Radius of the brain: rotations and scalings are measured by how far they move its edge.
    step_mm
        First step at the coarsest level, as the movement of that edge.
    """
    device = pair.device
    basis = torch.tensor(generators(freedom), dtype=torch.float32, device=device) / radius_mm
    about = np.eye(4)
    about[:3, 3] = centre
    before = torch.tensor(
        np.linalg.inv(pair.moving_affine) @ affine @ about, dtype=torch.float32, device=device
    )
    after = torch.tensor(np.linalg.inv(about) @ pair.fixed_affine, dtype=torch.float32, device=device)
    rotation = torch.zeros(len(basis), device=device, requires_grad=True)
    shift = torch.zeros(3, device=device, requires_grad=True)

    def current_update() -> torch.Tensor:
        matrix = torch.linalg.matrix_exp(torch.einsum("n,nij->ij", rotation, basis))
        return torch.cat([torch.cat([matrix, shift[:, None]], dim=1), torch.eye(4, device=device)[3:]], dim=0)

    for number, count in enumerate(iterations):
        if count == 0:
            continue
        level = pair.level(2 ** (len(iterations) - 1 - number))
        points = voxels(level.shape, device)
        parameters = [rotation, shift]
        means, squares = ([torch.zeros_like(one) for one in parameters] for _ in range(2))
        steps = [torch.tensor(0.0) for _ in parameters]
        rate = step_mm / 2**number
        for step in range(count):
            warped = sample(level.moving, transform(before @ current_update() @ after @ level.index, points))
            gradients = list(torch.autograd.grad(-level.correlation(warped), parameters))
            with torch.no_grad():
                adam(parameters, gradients, means, squares, [], steps, lr=rate, **ADAM)
            # cosine annealing to 0 at the last step
            rate *= (1 + math.cos(math.pi * (step + 1) / count)) / (1 + math.cos(math.pi * step / count))
    with torch.no_grad():
        found = current_update().cpu().numpy().astype(float)
    return affine @ about @ found @ np.linalg.inv(about)


def compose(first: torch.Tensor, second: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the displacement of x -> second(first(x)), both displacements (3, x, y, z) in voxels of one grid."""
    return first + sample(second[None], points + first, "border")[0]


def deform(
    pair: Pair,
    affine: np.ndarray,
    iterations: Sequence[int],
    step: float,
    smooth_update: float,
    smooth_total: float,
) -> torch.Tensor:
    """Return the displacement (3, x, y, z), in fixed voxels, that is applied before the affine.

    Parameters
    ----------
    affine
        (4, 4), fixed to moving points, RAS mm.
    iterations
        Per level, coarse to fine; each level doubles the resolution.
    step
        Largest movement of an iteration, in voxels of the level.
    smooth_update, smooth_total
        Standard deviations of the Gaussians for each step and for the whole displacement, in voxels of the level.
    """
    matrix = pair.to_moving(affine)
    total, at = torch.zeros((3, 1, 1, 1), device=pair.device), 1
    for number, count in enumerate(iterations):
        if count == 0:
            continue
        shrink = 2 ** (len(iterations) - 1 - number)
        level = pair.level(shrink)
        points = voxels(level.shape, pair.device)
        total, at = refine(total, level.shape, at / shrink), shrink
        to_moving = matrix @ level.index
        for _ in range(count):
            moved = total.detach().requires_grad_()
            similarity = level.correlation(sample(level.moving, transform(to_moving, points + moved)))
            (gradient,) = torch.autograd.grad(similarity, moved)
            update = smooth(gradient[None], [smooth_update] * 3)[0]
            length = update.square().sum(dim=0).max().sqrt()
            update = update * (step / length.clamp_min(1e-20))
            total = smooth(compose(update, total, points)[None], [smooth_total] * 3)[0]
    return refine(total, pair.fixed.shape[2:], at)


def refine(displacement: torch.Tensor, shape: Sequence[int], factor: float) -> torch.Tensor:
    """Bring a displacement (3, x, y, z) to a grid with `factor` times as many voxels a side, in voxels of that grid."""
    points = (voxels(shape, displacement.device) - (factor - 1) / 2) / factor
    return factor * sample(displacement[None], points, "border")[0]


def invert(displacement: torch.Tensor, iterations: int = 10, tolerance: float = 1e-3) -> torch.Tensor:
    """Return the inverse of x -> x + u(x) on the same grid.

    The first half of the iterations look for the fixed point v(y) = -u(y + v(y)), which is cheap but does not converge
    where u changes fast; the others are Newton's, with the gradient of u.

    Parameters
    ----------
    displacement
        u, (3, x, y, z) in voxels.
    iterations, tolerance
        Largest number of iterations; they end when the error is at most `tolerance` voxels everywhere.
    """
    points = voxels(displacement.shape[1:], displacement.device)
    inverse = -displacement
    for _ in range(iterations // 2):
        inverse = -sample(displacement[None], points + inverse, "border")[0]
    slopes = [torch.gradient(displacement, dim=axis)[0] for axis in (1, 2, 3)]  # each: of all components
    field_and_slopes = torch.cat([displacement, *slopes])[None]
    for _ in range(iterations - iterations // 2):
        reached, *along = sample(field_and_slopes, points + inverse, "border")[0].split(3)
        error = inverse + reached
        size = error.square().sum(dim=0)
        if size.max() <= tolerance**2:
            break
        for axis in range(3):
            along[axis][axis] += 1
        inverse = inverse - _solved(along, error)
    return inverse


def _solved(columns: Sequence[torch.Tensor], right: torch.Tensor) -> torch.Tensor:
    """Solve 3x3 systems by Cramer's rule; all (3, x, y, z). No solution is longer than :data:`LONGEST_STEP`."""

    def triple(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return (a * torch.linalg.cross(b, c, dim=0)).sum(dim=0)

    a, b, c = columns
    determinant = triple(a, b, c)
    solution = torch.stack([triple(right, b, c), triple(a, right, c), triple(a, b, right)])
    solution = solution / torch.where(determinant.abs() < 1e-3, 1e-3, determinant)
    length = solution.square().sum(dim=0).sqrt()
    return solution * (LONGEST_STEP / length.clamp_min(LONGEST_STEP))
