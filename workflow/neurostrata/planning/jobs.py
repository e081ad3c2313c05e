"""What jobs ask for: memory and time that grow with the inputs' size and with every further attempt."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from neurostrata.cohort.sources.registry import SOURCES

Function = TypeVar("Function", bound=Callable[..., Any])


def per_job(function: Function) -> Function:
    """Mark a function that Snakemake calls for each of thousands of jobs.

    It looks up the function's signature some fifteen times a job, which is slow unless it is written down.
    """
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


def by_wildcards(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return an input or params function that calls `function` with the job's wildcards of its parameters' names."""
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]

    @per_job
    def of_job(wildcards: Any) -> Any:
        return function(**{name: getattr(wildcards, name) for name in names})

    return of_job


def memory(base: float, per_input: float = 0.0) -> Callable[..., int]:
    """Return a `mem_mb` function, doubled at each retry.

    Parameters
    ----------
    base
        Gigabytes.
    per_input
        Further memory as a multiple of the size of the inputs.
    """

    @per_job
    def fixed(wildcards: Any, attempt: int) -> int:
        return int(base * 1000 * 2 ** (attempt - 1))

    @per_job
    def growing(wildcards: Any, input: Any, attempt: int) -> int:
        return int((base * 1000 + per_input * input.size_mb) * 2 ** (attempt - 1))

    # Snakemake looks up the size of every input of every job where `input` is asked for.
    return growing if per_input else fixed


def minutes(base: int) -> Callable[..., int]:
    """Return a `runtime` function, doubled at each retry."""

    @per_job
    def runtime(wildcards: Any, attempt: int) -> int:
        return base * 2 ** (attempt - 1)

    return runtime


def registration_threads(config: Mapping[str, Any]) -> int:
    """Return the threads of a registration: many small jobs are faster than few wide ones."""
    # SyN gains nothing beyond 4 threads, greedy is quick on one.
    return 4 if config["registration"]["engine"] == "ants" else 1


def registration_memory(config: Mapping[str, Any]) -> Callable[..., int]:
    """Return the `mem_mb` function of a registration to the template."""
    # What counts is the template's grid, not the person's file: SyN at 1.25 mm stays below 6 GB.
    return memory(1 + 10 / config["template"]["resolution_mm"] ** 3)


def noddi_environment(config: Mapping[str, Any]) -> str:
    """Return the conda environment of the engine of NODDI."""
    return str(SOURCES["noddi"].environment(config))
