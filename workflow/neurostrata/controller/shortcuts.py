"""Shortcuts for what Snakemake computes anew for each of thousands of jobs while it plans.

Each shortcut takes the place of a method of Snakemake (9.27) and gives the same result; where it does not apply, that method
is called. What is used is looked up at run time: without it, plans are the same and take longer. The plans with and without
shortcuts are compared in `tests/workflow/test_shortened_plans.py`. Standard library only.
"""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import os
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Names in a shell command for which a job has a value of its own.
_OF_JOBS: dict[str, Callable[[Any], Any]] = {
    "input": lambda job: job.input,
    "output": lambda job: job.output,
    "params": lambda job: job.params,
    "wildcards": lambda job: job._format_wildcards,
    "threads": lambda job: job.threads,
    "resources": lambda job: job.resources,
    "log": lambda job: job.log,
}
#: From so many inputs on, a job remembers their names, so that they need not be compared one by one.
_MANY = 50


def take_shortcuts(workflow: Any) -> None:
    """Let the plans of a workflow be made and shown in less time.

    In the main process, before anything is planned.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        The one that is being read.
    """
    for shortcut in (
        _parameters_once,
        _resources_once,
        _inputs_by_name,
        _followers_once,
        _folders_by_name,
        _commands_once,
        _plain_files,
    ):
        try:
            shortcut(workflow)
        except (ImportError, AttributeError, ValueError) as error:
            print(
                f"neurostrata: this release of Snakemake is unknown ({error}): planning takes longer",
                file=sys.stderr,
            )


def leave_the_plan() -> None:
    """Keep Python from taking a plan apart, object by object, when the process ends: a quarter of the time of a dry run.

    For dry runs alone: a file that is still open would not be closed either.
    """
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return Snakemake's own method, also where an earlier workflow of this process has replaced it."""
    return getattr(method, "__wrapped__", method)


def _parameters_once(workflow: Any) -> None:
    """Write down which parameters the evaluation of resources takes; they are looked up several times a job."""
    from snakemake.common import overwrite_function_params
    from snakemake.resources import Resource

    parameters = dict(inspect.signature(Resource.evaluate).parameters)
    del parameters["self"]
    overwrite_function_params(Resource.evaluate, parameters)


def _of_attempt_alone(resource: Any) -> bool:
    """Tell whether a rule's resource is the same for all its jobs at the same attempt."""
    return (
        not resource.is_evaluable()
        or getattr(resource._evaluator, "of_attempt_alone", False)
        or resource.raw == "system_tmpdir"
    )


def _resources_once(workflow: Any) -> None:
    """Evaluate the resources of a rule once for each attempt, where they depend on nothing else."""
    from snakemake.iocontainers import ResourceList
    from snakemake.rules import Rule

    plain = _plain(Rule.expand_resources)
    known: dict[Any, dict[str, Any] | None] = {}

    @functools.wraps(plain)
    def expand_resources(
        self: Any, wildcards: Any, input: Any, attempt: int, skip_evaluation: Any = None
    ) -> Any:
        key = (self.name, attempt, frozenset(skip_evaluation or ()))
        if self.workflow is not workflow or known.get(key, ()) is None:
            return plain(self, wildcards, input, attempt, skip_evaluation)
        if key in known:
            return ResourceList(fromdict=known[key])
        resources = plain(self, wildcards, input, attempt, skip_evaluation)
        shared = all(_of_attempt_alone(resource) for resource in self.resources.values())
        known[key] = dict(resources.items()) if shared else None
        return resources

    Rule.expand_resources = expand_resources


def _inputs_by_name(workflow: Any) -> None:
    """Look a file up among many inputs of a job by its name.

    For each file that a job makes for others, Snakemake asks whether it is among the job's inputs. Everybody's registration
    needs the template that was made of everybody's: comparing all with all takes time with the square of people.
    """
    from snakemake.iocontainers import InputFiles

    def contains(self: Any, file: Any) -> bool:
        if len(self) < _MANY:
            return list.__contains__(self, file)
        number, names = self.__dict__.get("_known_files", (0, frozenset()))
        if number != len(self):
            names = frozenset(self)
            self.__dict__["_known_files"] = (len(self), names)
        return file in names

    InputFiles.__contains__ = contains


def _followers_once(workflow: Any) -> None:
    """Mark what follows from jobs that have to run again once, not anew for each of them.

    Where everybody's images are prepared again, everything follows from each of these jobs: going through all of it for each
    takes time with the square of people.
    """
    from snakemake.dag import DAG

    plain = _plain(DAG.update_needrun)
    search = _plain(DAG.bfs)
    marked: list[set[Any] | None] = [None]  # while jobs are marked, those that are

    @functools.wraps(plain)
    async def update_needrun(self: Any, *arguments: Any, **options: Any) -> None:
        marked[0] = set()
        try:
            await plain(self, *arguments, **options)
        finally:
            marked[0] = None

    @functools.wraps(search)
    def bfs(self: Any, direction: Any, *jobs: Any, **options: Any) -> Iterator[Any]:
        found = marked[0]
        if found is None or direction is not self.depending or options:
            yield from search(self, direction, *jobs, **options)
            return
        # What follows from a job that is marked is marked as well.
        for job in search(self, direction, *jobs, stop=found.__contains__):
            found.add(job)
            yield job

    DAG.update_needrun = update_needrun
    DAG.bfs = bfs


def _folders_by_name(workflow: Any) -> None:
    """Compare outputs with each other only where one may lie in another, which is looked up by name."""
    from snakemake.dag import DAG

    plain = _plain(DAG.check_directory_outputs)

    @functools.wraps(plain)
    def check_directory_outputs(self: Any) -> None:
        outputs = {str(file) for job in self.jobs for file in job.output}
        paths = {os.path.abspath(name) for name in outputs}  # noqa: PTH100 - of a hundred thousand outputs
        folders = {os.path.dirname(path) for path in paths}  # noqa: PTH120
        above = {str(parent) for folder in folders for parent in (folder, *Path(folder).parents)}
        if paths & above or any(".." in name for name in outputs):
            plain(self)

    DAG.check_directory_outputs = check_directory_outputs


@functools.lru_cache(maxsize=1000)
def _names_in(command: str) -> frozenset[str] | None:
    """Return which names of :data:`_OF_JOBS` a shell command has; None when there is anything else in it."""
    names = set()
    for _, field, form, conversion in string.Formatter().parse(command):
        if field is not None:
            name = field.replace("[", ".").partition(".")[0]
            if name not in _OF_JOBS or conversion or "{" in (form or ""):
                return None
            names.add(name)
    return frozenset(names)


def _commands_once(workflow: Any) -> None:
    """Format the shell command of a job once when the job is shown, from what is in it, and not at all when nobody is shown it."""
    from snakemake.jobs import Job
    from snakemake.settings.enums import Quietness
    from snakemake.utils import QuotedFormatter, SequenceFormatter

    plain = _plain(Job.shellcmd.fget)
    plain_info = _plain(Job.log_info)
    formatter = SequenceFormatter(separator=" ", element_formatter=QuotedFormatter())
    shown: list[Any] = [None, None]  # the job that is shown, and its command

    def formatted(job: Any) -> Any:
        command = job.rule.shellcmd
        names = _names_in(command) if command else None
        if names is None:
            return plain(job)
        try:
            return formatter.vformat(command, (), {name: _OF_JOBS[name](job) for name in names})
        except Exception:
            return plain(job)  # which reports it

    @functools.wraps(plain)
    def shellcmd(self: Any) -> Any:
        if shown[0] is not self:
            return formatted(self)
        if shown[1] is None:
            shown[1] = formatted(self)
        return shown[1]

    @functools.wraps(plain_info)
    def log_info(self: Any, *arguments: Any, **options: Any) -> None:
        if (
            workflow.dryrun
            and Quietness.RULES in (workflow.output_settings.quiet or ())
            and not workflow.logger_manager.plugin_handlers
        ):
            return
        shown[:] = [self, None]
        try:
            plain_info(self, *arguments, **options)
        finally:
            shown[:] = [None, None]

    Job.shellcmd = property(shellcmd)
    Job.log_info = log_info


def _plain_files(workflow: Any) -> None:
    """Ask a file once for its flags, of which most files have none."""
    from snakemake import jobs
    from snakemake.io import _IOFile

    plain = _plain(jobs.fmt_iofile)

    @functools.wraps(plain)
    def fmt_iofile(f: Any, as_input: bool = False, as_output: bool = False) -> str:
        if isinstance(f, _IOFile) and not f.flags:
            return str(f)
        return plain(f, as_input=as_input, as_output=as_output)

    def is_storage(self: Any) -> bool:
        flags: dict[str, Any] = getattr(self._file, "flags", {})
        return bool(flags.get("storage_object"))

    jobs.fmt_iofile = fmt_iofile
    _IOFile.is_storage = property(is_storage)
