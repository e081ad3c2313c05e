"""What the process that runs a study does before it plans and before it starts jobs.

Everything here is called by the workflow while it is parsed, or by its `onstart`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import shlex
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from importlib.util import find_spec
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from neurostrata.cohort.study import Study, load_study
from neurostrata.controller.announcing import say_plan
from neurostrata.controller.dataset import describe_derivatives
from neurostrata.controller.entry import asked_of_snakemake, refuse_beside, sign_in
from neurostrata.controller.former_defaults import given_settings, question
from neurostrata.controller.orphans import MARK, slurm_is_silent
from neurostrata.controller.plan import write_plan
from neurostrata.controller.planned_for import keep_study, kept_study
from neurostrata.controller.room import full
from neurostrata.controller.scheduling import no_hopeless_attempts, one_timer_at_a_time
from neurostrata.controller.state import FAILURES
from neurostrata.core.config import check_config, load_schema, overlaid, read_yaml
from neurostrata.core.errors import UserError
from neurostrata.core.files import writable_folder
from neurostrata.core.locations import DEFAULT_CONFIG, REPOSITORY
from neurostrata.planning.results import REPORT_METHODS, path_in


def end_with(error: object) -> None:
    """End before anything is planned: the user's mistake in plain words, exit status 2."""
    print(f"neurostrata: {error}", file=sys.stderr)
    sys.exit(2)


def check_files(own: str, named: Iterable[str | Path]) -> None:
    """End when a configuration file cannot be used.

    Parameters
    ----------
    own
        The study's own file, which need not be there.
    named
        The files of ``--configfile``.
    """
    try:
        for path in [*([own] if Path(own).exists() else []), *named]:
            read_yaml(path)
    except UserError as error:
        end_with(error)


def config_files(workflow: Any) -> list[str]:
    """Return the files that the configuration was read from, each over those before it.

    Empty where a value may come from somewhere else: another workflow, or ``--config`` on the command line.
    """
    if not workflow.modifier.is_main_snakefile() or workflow.config_settings.config:
        return []
    named = [str(path) for path in workflow.overwrite_configfiles]
    return [*(str(path) for path in workflow.configfiles if str(path) not in named), *named]


def complete_config(workflow: Any, config: dict[str, Any]) -> None:
    """Put the default configuration under the one that another workflow gives to this one, its module.

    Snakemake reads no configuration files of a module that is given a configuration.
    """
    if not workflow.modifier.is_main_snakefile():
        config.update(overlaid(read_yaml(DEFAULT_CONFIG), config))
    elif any(isinstance(value, dict | list) for value in workflow.config_settings.config.values()):
        read_nested(config, workflow.config_settings.config)


def read_nested(config: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Read numbers, true, false and null inside the values of ``--config``, which Snakemake leaves as text there.

    Only where the schema does not take text: ids and labels stay as they are written.

    Parameters
    ----------
    config
        The whole configuration; changed.
    given
        What was given by ``--config``.
    """
    from jsonschema import Draft202012Validator

    errors = list(Draft202012Validator(load_schema("config")).iter_errors(config))
    while errors:
        error = errors.pop()
        errors += error.context or []
        *parents, last = error.absolute_path or [None]
        # a value that is not one of `given` is left alone
        with contextlib.suppress(LookupError, TypeError, yaml.YAMLError):
            if isinstance(error.instance, str) and reduce(getitem, parents, given)[last] == error.instance:
                reduce(getitem, parents, config)[last] = yaml.safe_load(error.instance)


def caption_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the captions of Snakemake's own report read: the configuration with every default, and the report's methods.

    The methods, ``methods_text``, are "" until the report has been made.
    """
    methods = Path(path_in(config["output"], REPORT_METHODS))
    return {**config, "methods_text": methods.read_text(encoding="utf-8") if methods.is_file() else ""}


def refuse_other_paths(workflow: Any, config: Mapping[str, Any]) -> None:
    """End when a workflow that uses this one as a module moves its results past the configuration."""
    if workflow.modifier.is_main_snakefile():
        return
    moved = workflow.pathvars.apply("<results>") != config["output"]
    if moved or workflow.modifier.modify_path("logs") != "logs":
        end_with(
            "the results are where `output` of the configuration says: set that instead of pathvars or prefix"
        )


class Session:
    """One call of Snakemake on the study in the current folder.

    Attributes
    ----------
    main : bool
        Whether this is the process that plans; jobs parse the workflow again.
    mark : str
        What the jobs that this process starts carry in their environment: the jobs of a run whose controller died are
        found by it.
    asked : str
        What Snakemake was asked for; see :func:`neurostrata.controller.entry.asked_of_snakemake`.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        The one that is being read.
    config
        Its configuration, before defaults are put under that of a module.
    """

    def __init__(self, workflow: Any, config: Mapping[str, Any]) -> None:
        self.workflow = workflow
        self.main: bool = workflow.is_main_process
        self.mark = uuid.uuid4().hex if self.main else ""
        self.asked = asked_of_snakemake() if self.main else ""
        self._given = given_settings(workflow, config) if self.main else {}

    def study(self, config: Mapping[str, Any], files: Sequence[str]) -> Study:
        """Return the study, with its checked configuration; in a job, the one that the run was planned for.

        Parameters
        ----------
        config
            As it is read from files and command line.
        files
            See :func:`config_files`.

        Raises
        ------
        UserError
            When the configuration or a sheet cannot be used, or results cannot be written.
        """
        kept = None if self.main else kept_study()
        if kept:
            return kept
        checked = check_config(config, files)
        if self.checks:  # before people without a sheet are looked for, who are written there
            writable_folder(Path(checked["output"]) / "cohort")
        return load_study(checked, rescan=self.main)

    @property
    def checks(self) -> bool:
        """Whether the study is checked before anything is planned."""
        return self.main and self.asked not in ("aside", "unlock")

    def begin(self, config: Mapping[str, Any]) -> None:
        """Sign in before anything is checked: a run that is still checking must not look like a dead one.

        Parameters
        ----------
        config
            The configuration as it is read so far; it is looked up again at the end.
        """
        if self.asked in ("run", "look"):
            _refuse_without_conda(self.workflow.deployment_settings)
        if self.asked == "run":
            atexit.register(_say_if_full, config)
            self.sign_in()
        elif self.asked == "unlock":
            try:
                refuse_beside(Path())
            except UserError as error:
                end_with(error)

    def say(self, text: str) -> None:
        """Print a line for the user, past Snakemake's own messages."""
        print(f"neurostrata: {text}", file=sys.stderr)

    def sign_in(self) -> None:
        """Sign in; a study that somebody else runs, or whose orphaned jobs are at work, ends the run."""
        _write_or_end(partial(sign_in, Path(), self.mark))

    def obstacle(self, config: Mapping[str, Any], dag: Any) -> str:
        """Return why a plan cannot be run yet, or "".

        Parameters
        ----------
        config
            The checked configuration.
        dag : snakemake.dag.DAG
            Planned.
        """
        found = [question(dag, self._given), missing_amico(config, dag)]
        return "\n".join(text for text in found if text)

    def start(self, workflow: Any, study: Study) -> None:
        """Do what has to be done after planning and before the first job."""
        _refuse_shared_jobs(workflow)
        refuse_silent_slurm(workflow)
        self.sign_in()
        say_plan(workflow.dag, study)
        if text := self.obstacle(study.config, workflow.dag):
            end_with(text)
        _write_or_end(partial(keep_study, study))
        _write_or_end(partial(describe_derivatives, study.config))
        with contextlib.suppress(OSError):  # progress is then shown without people
            write_plan(Path(), workflow)
        one_timer_at_a_time(workflow.scheduler)
        no_hopeless_attempts(workflow.scheduler, FAILURES)


def _write_or_end(write: Callable[[], object]) -> None:
    """Write in the study's folder; a mistake of the user's, or a folder that cannot be written to, ends the run."""
    try:
        write()
    except UserError as error:
        end_with(error)
    except OSError as error:
        end_with(f"{Path.cwd()}: cannot be written to ({error.strerror})")


def missing_amico(config: Mapping[str, Any], dag: Any) -> str:
    """Return what to do when NODDI is to be fitted by a program that is not there, or "".

    Parameters
    ----------
    config
        The checked configuration.
    dag : snakemake.dag.DAG
        Planned.
    """
    # With conda or a container the rule brings its own; a study whose maps are fitted needs none.
    if config["diffusion"]["noddi"]["engine"] != "amico" or find_spec("amico") is not None:
        return ""
    if dag.workflow.deployment_settings.deployment_method:
        return ""
    if not any(job.rule.name == "fit_noddi" for job in dag.needrun_jobs(exclude_finished=False)):
        return ""
    return (
        "diffusion.noddi.engine is amico, and dmri-amico is not installed: `make env-amico`, or pip install -r "
        f"{REPOSITORY / 'requirements-amico.txt'} (its licence allows research and education only); or run with "
        "--software-deployment-method conda; or set engine: maximum_likelihood, which needs nothing more"
    )


def _say_if_full(config: Mapping[str, Any]) -> None:
    """Report a full disk; at the very end, since Snakemake's own messages and the logs are lost then."""
    if folders := full([Path(), Path(config.get("output") or "")]):
        print(
            f"neurostrata: no space left in {', '.join(map(str, folders))}: free some space, then run again",
            file=sys.stderr,
        )


def _refuse_without_conda(deployment: Any) -> None:
    """End when jobs are to run in conda's environments and there is no conda. Snakemake's own message comes after the check of the study."""
    methods = {method.name for method in deployment.deployment_method}
    found = (
        shutil.which("conda") or deployment.conda_base_path or "APPTAINER" in methods
    )  # it is then in the image
    if "CONDA" in methods and not found:
        end_with(
            "conda is not on the PATH, and `software-deployment-method: conda` (of a profile or an option) asks for it: load it, "
            "or go without: --software-deployment-method env-modules lets every job use the Python that is on the PATH now"
        )


def _refuse_shared_jobs(workflow: Any) -> None:
    """End when several jobs were to share one of Slurm's: what the others have finished would not be safe.

    When a member of a group fails, Snakemake (9.27) deletes the outputs of all and runs all again. In an array (of the Slurm
    plugin 2.8) every task waits for the output of the first, and all fail and are run again when that one has failed.
    """
    shared = {
        "groups": workflow.group_settings.overwrite_groups,
        "slurm-array-jobs": getattr(workflow.executor_settings, "array_jobs", None),
    }
    if not workflow.local_exec:
        for option, value in shared.items():
            if value:
                end_with(
                    f"{option} (on the command line or in a profile): when one of the jobs fails, the finished work of the others is "
                    "deleted with it. Leave it out; for many short jobs see docs/cluster.md"
                )


def refuse_silent_slurm(workflow: Any) -> None:
    """End when no job could be handed to Slurm: its plugin would show an exception for each."""
    if workflow.executor_plugin.name == "slurm" and (reason := slurm_is_silent()):
        end_with(
            f"Slurm does not answer on this host: {reason}. Run on a host from which jobs are submitted, or again when Slurm is up; "
            "what is finished is kept"
        )


def job_environment(config: Mapping[str, Any], library: str, mark: str) -> dict[str, str]:
    """Return what every job finds in its environment, whichever conda environment that is.

    The library (Snakemake strips PYTHONPATH from conda jobs), the terminal as descriptor 3 for its one-line message besides
    its log, where the people are listed (results depend on what stands there, by each rule's digest, not on where), the notes
    of jobs that failed by a mistake in their input, and the mark of this run.
    """
    return {
        "NEUROSTRATA_CONSOLE": "3",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": library,
        "NEUROSTRATA_SHEETS": json.dumps({key: config[key] for key in ("output", "cohort", "qc")}),
        "NEUROSTRATA_FAILURES": str(FAILURES),
        MARK: mark,
    }


def shell_prefix(environment: Mapping[str, str], shown: bool = False) -> str:
    """Return what stands before the shell command of every job, to be formatted by Snakemake.

    Parameters
    ----------
    environment
        What every job finds in its environment.
    shown
        Whether this process shows the jobs' messages (:func:`shows_messages`), so that jobs do not write to the terminal.
    """
    exports = " ".join(f"{name}={shlex.quote(text)}" for name, text in environment.items())
    exports = exports.replace("{", "{{").replace("}", "}}")
    # Words end with lines, so that a command's output that is not quoted may be a path with blanks.
    console = ">/dev/null" if shown else ">&2"
    return f"set -euo pipefail; IFS=$'\\n\\t'; exec 3{console}; export {exports}; "


def shows_messages(workflow: Any) -> bool:
    """Tell whether our logger plugin is at work, which shows a failed job's message from its log."""
    handlers = getattr(workflow.logger_manager, "plugin_handlers", [])
    return any(getattr(handler, "shows_messages", False) for handler in handlers)


def collect_garbage_rarely() -> None:
    """Keep Python from searching a plan for garbage: ten thousand jobs are millions of objects that all stay."""
    gc.set_threshold(200_000, 50, 100)
