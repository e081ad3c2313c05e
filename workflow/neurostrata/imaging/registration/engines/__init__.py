"""Registration engines behind one interface: each turns two image files into ITK transform files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neurostrata.core.errors import UserError

#: Engine -> module with a function ``run(job) -> None``. Imported only when the engine is used.
ENGINES = {
    "ants": "neurostrata.imaging.registration.engines.syn",
    "greedy": "neurostrata.imaging.registration.engines.greedy",
    "torch": "neurostrata.imaging.registration.engines.torch_greedy",
}

Steps = Literal["all", "linear", "deformation"]


@dataclass(frozen=True)
class RegistrationJob:
    """Files and options of one registration.

    Attributes
    ----------
    fixed, moving
        Image files; their paths have no spaces, commas or brackets.
    initial
        ITK affine file, fixed points to moving points, where the chain of linear steps begins.
    folder
        A private folder for all files that the engine writes.
    affine, warp, inverse_warp
        Files that the engine must write: an ITK affine (fixed to moving points), the displacement field on the
        fixed grid that is applied before the affine, and that field's inverse (None when it is not needed:
        it takes a quarter of the time), float32.
    options
        The engine's own section of the configuration.
    fixed_mask
        Where the similarity is computed; None is everywhere.
    steps
        ``all``; ``linear``: stop after the affine, no displacement fields are written; ``deformation``: keep
        the initial affine.
    coarse
        Leave out the iterations at full resolution, of the affine and of the deformation.
    """

    fixed: Path
    moving: Path
    initial: Path
    folder: Path
    affine: Path
    warp: Path
    inverse_warp: Path | None
    options: Mapping[str, Any]
    threads: int = 1
    seed: int = 1
    fixed_mask: Path | None = None
    steps: Steps = "all"
    coarse: bool = False


def load_engine(name: str) -> Callable[[RegistrationJob], None]:
    """Return the engine's ``run`` function.

    Raises
    ------
    UserError
        When there is no such engine or its library is not installed.
    """
    if name not in ENGINES:
        raise UserError(f"registration.engine: '{name}' is none of {', '.join(sorted(ENGINES))}")
    try:
        return importlib.import_module(ENGINES[name]).run
    except ImportError as error:
        raise UserError(
            f"registration.engine: '{name}' cannot be loaded ({error}); install its library or choose another"
        ) from error


def iterations_per_level(iterations: list[int], coarse: bool) -> list[int]:
    """Return the iterations per level, none at the finest one when a coarse result is enough."""
    return [*iterations[:-1], 0] if coarse and len(iterations) > 1 else list(iterations)
