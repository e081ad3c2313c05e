"""Gradient tables in FSL's format: reading, checking, and finding the shells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurostrata.core.errors import UserError

#: Vectors whose length differs more than this from 1 are not unit vectors written with few digits.
_LENGTH_TOLERANCE = 0.05
#: Fewest shells, and directions of each, that can separate neurite density from free water.
_MINIMUM_SHELLS = 2
_MINIMUM_DIRECTIONS = 6
#: A tensor has six unknowns.
_TENSOR_DIRECTIONS = 6


@dataclass(frozen=True)
class Gradients:
    """The diffusion weighting of every image of a series.

    Attributes
    ----------
    bvals
        (measurements,), s/mm^2.
    bvecs
        (measurements, 3), unit vectors; zero where b is at most `b0_max`.
    b0_max
        Largest b-value that counts as not diffusion weighted, s/mm^2.
    """

    bvals: np.ndarray
    bvecs: np.ndarray
    b0_max: float

    @property
    def b0(self) -> np.ndarray:
        """(measurements,), true for images without diffusion weighting."""
        return self.bvals <= self.b0_max

    def select(self, chosen: np.ndarray) -> Gradients:
        """Return the table of the chosen measurements only."""
        return Gradients(self.bvals[chosen], self.bvecs[chosen], self.b0_max)


@dataclass(frozen=True)
class Shell:
    """Measurements of about the same b-value: mean b-value in s/mm^2, positions, number of directions."""

    bval: float
    members: np.ndarray
    directions: int


def _read_numbers(path: Path, subject: str, kind: str) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"subject {subject}: {kind} file {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"subject {subject}: {kind} file {path} is not a text file") from error
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    if not rows:
        raise UserError(f"subject {subject}: {kind} file {path} is empty")
    if len({len(row) for row in rows}) > 1:
        raise UserError(f"subject {subject}: {kind} file {path} has lines of different lengths")
    try:
        return np.array([[float(value) for value in row] for row in rows])
    except ValueError as error:
        text = str(error).partition(": ")[2]
        raise UserError(
            f"subject {subject}: {kind} file {path} has something that is not a number ({text})"
        ) from error


def read_gradients(
    bval: Path, bvec: Path, subject: str, measurements: int | None = None, b0_max: float = 50.0
) -> Gradients:
    """Read and check the bval and bvec files of one person.

    Parameters
    ----------
    bval
        b-values in s/mm^2, in one line or one column.
    bvec
        Three lines (x, y, z; FSL) or three columns, separated by blanks or commas. Where the b-value is at most
        `b0_max`, any value is allowed, NaN included.
    subject
        Named in messages.
    measurements
        Number of images that the series has, when known.
    b0_max
        Largest b-value that counts as not diffusion weighted (HCP's is 5), s/mm^2.

    Raises
    ------
    UserError
        When a file cannot be read, counts do not match, a value is impossible, a diffusion-weighted
        image has no unit vector, or there is no b = 0 image. The message names subject and file.
    """
    who = f"subject {subject}: "
    values = _read_numbers(bval, subject, "bval")
    if min(values.shape) != 1:
        raise UserError(f"{who}bval file {bval}: expected one line of numbers, got shape {values.shape}")
    bvals = values.ravel()
    if not np.isfinite(bvals).all() or bvals.min() < 0:
        raise UserError(f"{who}bval file {bval} has a negative or missing b-value")
    if measurements is not None and len(bvals) != measurements:
        raise UserError(f"{who}{bval} has {len(bvals)} b-values, the image has {measurements} volumes")
    vectors = _read_numbers(bvec, subject, "bvec")
    if vectors.shape[0] == 3:  # also of three measurements, since FSL's layout is the rule
        vectors = vectors.T
    elif vectors.shape[1] != 3:
        raise UserError(
            f"{who}bvec file {bvec}: expected three lines (or three columns), got shape {vectors.shape}"
        )
    if len(vectors) != len(bvals):
        raise UserError(f"{who}{bvec} has {len(vectors)} vectors, {bval} has {len(bvals)} b-values")

    b0 = bvals <= b0_max
    if not b0.any():
        raise UserError(
            f"{who}{bval} has no volume with b <= {b0_max:g} (smallest: {bvals.min():g}); "
            "a b=0 image is needed, or raise diffusion.b0_max"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = ~b0 & ~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{who}{bvec}: vector {first + 1} (b = {bvals[first]:g}) has length {lengths[first]:.3g}, "
            f"expected unit vectors ({int(wrong.sum())} are not)"
        )
    bvecs = np.zeros_like(vectors)
    bvecs[~b0] = vectors[~b0] / lengths[~b0, None]
    return Gradients(bvals, bvecs, b0_max)


def count_directions(bvecs: np.ndarray, degrees: float = 1.0) -> int:
    """Count the different directions among unit vectors (n, 3); a vector and its opposite count as one."""
    close = np.abs(bvecs @ bvecs.T) >= np.cos(np.radians(degrees))
    counted = np.zeros(len(bvecs), bool)
    number = 0
    for position in range(len(bvecs)):
        if not counted[position]:
            counted |= close[position]
            number += 1
    return number


def find_shells(gradients: Gradients, gap: float = 100.0) -> list[Shell]:
    """Return the shells of a gradient table by increasing b-value, without b = 0.

    Sorted b-values that differ by less than `gap` (s/mm^2) from one to the next are one shell: scanners
    write 990, 995, ... 1010 for a prescribed b-value of 1000.
    """
    weighted = np.flatnonzero(~gradients.b0)
    order = weighted[np.argsort(gradients.bvals[weighted], kind="stable")]
    cuts = np.flatnonzero(np.diff(gradients.bvals[order]) >= gap) + 1
    return [
        Shell(
            float(gradients.bvals[members].mean()),
            np.sort(members),
            count_directions(gradients.bvecs[members]),
        )
        for members in np.split(order, cuts)
        if members.size
    ]


def tensor_measurements(gradients: Gradients, b_max: float, subject: str) -> np.ndarray:
    """Return which measurements the tensor is fitted to: b = 0 and all up to `b_max`, as (measurements,) bool.

    The tensor's assumption of Gaussian diffusion fails at high b-values, so they are left out.

    Raises
    ------
    UserError
        When fewer than six directions (or only directions in one plane or cone) are left.
    """
    chosen = gradients.bvals <= b_max
    vectors = gradients.bvecs[chosen & ~gradients.b0]
    directions = count_directions(vectors)
    if directions < _TENSOR_DIRECTIONS:
        raise UserError(
            f"subject {subject}: {directions} directions with {gradients.b0_max:g} < b <= {b_max:g}; the tensor "
            f"needs {_TENSOR_DIRECTIONS} (the largest b-value is {gradients.bvals.max():g} s/mm^2, diffusion.tensor_b_max is "
            f"{b_max:g})"
        )
    x, y, z = vectors.T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    if np.linalg.cond(design) > 1e3:
        raise UserError(
            f"subject {subject}: the {directions} directions with b <= {b_max:g} do not determine a tensor "
            "(do they lie in one plane?); check the bvec file"
        )
    return chosen


def noddi_shells(gradients: Gradients, gap: float, subject: str) -> list[Shell]:
    """Return the shells that NODDI is fitted to.

    Raises
    ------
    UserError
        When there are fewer than two shells of six directions: single-shell data cannot separate a low
        neurite density from free water.
    """
    shells = [shell for shell in find_shells(gradients, gap) if shell.directions >= _MINIMUM_DIRECTIONS]
    if len(shells) < _MINIMUM_SHELLS:
        found = ", ".join(f"b={shell.bval:.0f}" for shell in shells) or "none"
        raise UserError(
            f"subject {subject}: NODDI needs at least two shells of {_MINIMUM_DIRECTIONS} directions, got {found}; "
            "leave out the modalities with 'from: noddi' or this person's dwi"
        )
    return shells
