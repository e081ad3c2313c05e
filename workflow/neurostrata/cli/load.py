"""Loading the function of a command, and what must be set before its libraries are loaded. Standard library only."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any


def function_at(place: str) -> Callable[..., Any]:
    """Return the function at ``module:function``; this is what imports its module."""
    module, function = place.split(":")
    return getattr(importlib.import_module(module), function)


def limit_threads(arguments: Sequence[str]) -> None:
    """Set thread counts and ITK's seed in the environment; they are read when libraries load."""
    threads = "1"
    for position, argument in enumerate(arguments):
        if argument == "--threads" and position + 1 < len(arguments):
            threads = arguments[position + 1]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = threads
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = threads
    os.environ.setdefault("ANTS_RANDOM_SEED", "1")
