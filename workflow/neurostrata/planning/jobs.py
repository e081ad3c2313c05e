"""What jobs ask for: memory and time that grow with the inputs' size and with every further attempt."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from neurostrata.cohort.sources.registry import SOURCES

#: Threads of jobs that search for clusters.
SEARCH_THREADS = 8

Function = TypeVar("Function", bound=Callable[..., Any])


def per_job(function: Function) -> Function:
    """Mark a function that Snakemake calls for each of thousands of jobs.

    It looks up the function's parameters some fifteen times a job, which is slow unless they are written down, as
    `snakemake.common.overwrite_function_params` does.
    """
    function._overwrite_params = inspect.signature(function).parameters  # type: ignore[attr-defined]
    return function


def of_attempt(function: Function) -> Function:
    """Mark a function of a resource that looks at nothing but the attempt: all jobs of a rule ask for the same."""
    function.of_attempt_alone = True  # type: ignore[attr-defined]
    return per_job(function)


def by_wildcards(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return an input or params function that calls `function` with the job's wildcards of its parameters' names."""
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]

    @per_job
    def of_job(wildcards: Any) -> Any:
        return function(**{name: getattr(wildcards, name) for name in names})

    return of_job


def megabytes(files: Any) -> float:
    """Return the size of a job's inputs.

    `input.size_mb` of Snakemake starts an event loop for it, a millisecond for each job.

    Raises
    ------
    FileNotFoundError
        Where an input is not made yet: Snakemake then calls the resource undetermined.
    """
    if any(getattr(file, "is_storage", False) for file in files):
        return float(files.size_mb)
    return sum(map(os.path.getsize, files)) / 1024**2


def memory(base: float, per_input: float = 0.0) -> Callable[..., int]:
    """Return a `mem_mb` function, doubled at each retry.

    Parameters
    ----------
    base
        Gigabytes.
    per_input
        Further memory as a multiple of the size of the inputs.
    """

    @of_attempt
    def fixed(wildcards: Any, attempt: int) -> int:
        return int(base * 1000 * 2 ** (attempt - 1))

    @per_job
    def growing(wildcards: Any, input: Any, attempt: int) -> int:
        return int((base * 1000 + per_input * megabytes(input)) * 2 ** (attempt - 1))

    # The size of every input is looked up only where it is needed.
    return growing if per_input else fixed


def minutes(base: int) -> Callable[..., int]:
    """Return a `runtime` function, doubled at each retry."""

    @of_attempt
    def runtime(wildcards: Any, attempt: int) -> int:
        return base * 2 ** (attempt - 1)

    return runtime


def registration_threads(config: Mapping[str, Any]) -> int:
    """Return the threads of a registration: many small jobs are faster than few wide ones."""
    # SyN gains nothing beyond 4 threads, greedy is quick on one.
    return 4 if config["registration"]["engine"] == "ants" else 1


def noddi_environment(config: Mapping[str, Any]) -> str:
    """Return the conda environment of the engine of NODDI."""
    return str(SOURCES["noddi"].environment(config))
