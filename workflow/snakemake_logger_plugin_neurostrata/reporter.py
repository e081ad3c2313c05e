"""What is shown of Snakemake's messages, and how it is worded."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from neurostrata.controller.plan import read_plan
from neurostrata.controller.progress import (
    ENOUGH,
    Run,
    benchmark_seconds,
    duration,
    job_seconds,
    job_words,
)
from neurostrata.core.wording import count
from snakemake_logger_plugin_neurostrata.dryrun import DryRun
from snakemake_logger_plugin_neurostrata.failures import ending_of, failure
from snakemake_logger_plugin_neurostrata.screens import Plain, Status, Terminal

#: Beginnings of messages that say nothing that is not said here in other words. All are in Snakemake's own log.
_LEFT_OUT = (
    "Assuming unrestricted shared filesystem usage", "Building DAG of jobs", "Updating checkpoint dependencies", "Using shell:",
    "Conda environments: ignored", "Singularity containers: ignored", "Group jobs: inactive", "Select jobs to execute",
    "Job rate limit reached", "Removing output files of failed job", "Removing temporary output", "Would remove temporary output", "Touching output file",
    "Write-protecting output file", "Waiting at most ", "Processed ", "SLURM run ID:", "Elapsed time:", "Reasons:", "Some jobs were triggered by provenance",
    "Cleaning up SLURM log files", "Exiting because a job execution failed", "WorkflowError:\nAt least one job did not complete successfully.",
)  # fmt: skip
#: The workflow's own line about what is going to be done, which says more.
_ANNOUNCED = re.compile(r"neurostrata: [\d,]+ jobs?\b")
_NOTHING = "Nothing to be done"
_STOPPING = "Terminating processes on user request"
_DRY = "This was a dry-run"
#: Of the Slurm plugin, for every job; a failed one's log is named when it fails.
_SUBMITTED = re.compile(r"Job \d+ has been submitted with SLURM jobid ")
_COMPLETE_LOG = re.compile(r"Complete log\(s\): (.*)")
_AGAIN = re.compile(r"Trying to restart job (\d+)\.")
_OUTPUT_MISSING = re.compile(r"Job (\d+) completed successfully, but some output files are missing")
#: Failed jobs that are listed again at the end; others are counted.
MOST_FAILED = 10


class Reporter:
    """Takes Snakemake's messages, one after another.

    Parameters
    ----------
    screen
        Where the run is shown.
    settings
        Snakemake's: quiet, verbose, printshellcmds, show_failed_logs, dryrun.
    clock
        Gives the time, in seconds since the epoch.
    """

    def __init__(
        self, screen: Plain | Terminal, settings: Any, clock: Callable[[], float] = time.time
    ) -> None:
        self.screen = screen
        self.settings = settings
        self.clock = clock
        self.run = Run()
        self.dry = DryRun()
        self.folder = Path()
        self._here = Path.cwd()  # where the command was called; Snakemake then goes to the study's folder
        self._took: dict[str, tuple[int, float]] = {}  # rule -> jobs whose time is known, their seconds
        self._note = ""
        self._benchmarks: dict[int, Path] = {}
        self._attempts: dict[int, int] = {}
        self._held: list[str] = []  # errors of commands whose job is not yet known
        self._failed: dict[int, tuple[str, str]] = {}  # what it was doing, its log
        self._texts: Counter[str] = Counter()
        self._warnings: dict[str, int] = {}  # how often each was given
        self._stopped = False
        self._log = ""
        self._last_words = ""
        quiet = {getattr(kind, "name", str(kind)).lower() for kind in settings.quiet or ()}
        self._shows_progress = not settings.dryrun and not quiet & {"progress", "all"}

    # ------------------------------------------------------------------------------------ messages

    def take(self, record: logging.LogRecord) -> None:
        """Show a message of Snakemake, or take down what it tells."""
        handlers: dict[LogEvent | None, Callable[[Any], None]] = {
            LogEvent.WORKFLOW_STARTED: self._workflow_started,
            LogEvent.RUN_INFO: self._run_info,
            LogEvent.JOB_INFO: self._job_info,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.JOB_ERROR: self._job_error,
            LogEvent.ERROR: self._error,
            LogEvent.SHELLCMD: self._shell_command,
            LogEvent.GROUP_INFO: self._nothing,
            LogEvent.GROUP_ERROR: self._nothing,  # each job of the group has an error of its own
            LogEvent.JOB_STARTED: self._nothing,
            LogEvent.PROGRESS: self._nothing,
            LogEvent.RESOURCES_INFO: self._nothing,
            LogEvent.RULEGRAPH: self._nothing,
        }
        handlers.get(getattr(record, "event", None), self._text)(record)

    def refresh(self) -> None:
        """Show how far the run is; called every few seconds."""
        if not self._shows_progress:
            return
        now = self.clock()
        if self._note:
            self.screen.show(Status(note=self._note))
        elif self.run.begun:
            left = self.run.remaining({rule: s / n for rule, (n, s) in self._took.items()}, now)
            done = sum(self.run.done.values())
            elapsed = now - self.run.begun
            self.screen.show(
                Status(done, self.run.total, left, self.run.at_work(), elapsed, len(self._failed))
            )

    def _nothing(self, record: Any) -> None:
        pass

    def _workflow_started(self, record: Any) -> None:
        self.folder = Path(getattr(record, "cwd", "") or "").absolute()
        self._note = "planning the work"

    def _run_info(self, record: Any) -> None:
        self._note = ""
        self.run.plan_jobs({str(name): number for name, number in record.stats.items() if name != "total"})

    def _job_info(self, record: Any) -> None:
        wildcards = {name: str(text) for name, text in record.wildcards.items()}
        if self.settings.dryrun:
            self.dry.add(record.rule_name, wildcards, record.reason)
            return
        if not self.run.begun:
            self._first_job()
        if record.benchmark:
            self._benchmarks[record.jobid] = self.folder / str(record.benchmark)
        self.run.begin(record.jobid, record.rule_name, wildcards, self.clock())

    def _first_job(self) -> None:
        """Say what there is to do."""
        plan = read_plan(self.folder)
        if plan.process == os.getpid():
            self.run.plan = plan
        for rule, seconds in job_seconds(self.folder / "benchmarks", ENOUGH).items():
            self._add(rule, seconds)
        people = len(self.run.plan.people())
        whom = f" for {count(people, 'person', 'people')}" if people else ""
        if self._shows_progress and not any(_ANNOUNCED.match(text) for text in self._texts):
            stages = count(len(self.run.planned), "stage")
            self.screen.say(f"{count(self.run.total, 'job')} to do{whom}, in {stages}")

    def _job_finished(self, record: Any) -> None:
        now = self.clock()
        job = self.run.end(record.job_id, now)
        path = self._benchmarks.pop(record.job_id, None)
        if job:
            # A cluster's job may have waited; its benchmark file knows how long it was at work.
            took = benchmark_seconds(path) if path else []
            self._add(job.rule, took or [now - job.begun])
        self._failed.pop(record.job_id, None)

    def _add(self, rule: str, seconds: Sequence[float]) -> None:
        """Take down how long jobs have taken."""
        if seconds:
            number, total = self._took.get(rule, (0, 0.0))
            self._took[rule] = (number + len(seconds), total + sum(seconds))

    # -------------------------------------------------------------------------------------- errors

    def _error(self, record: Any) -> None:
        text = record.getMessage()
        if "CalledProcessError" in text:
            self._held.append(text)  # the job's own message comes next, and says what the job was
            return
        if missing := _OUTPUT_MISSING.search(text):
            number = int(missing.group(1))
            job = self.run.fail(number)
            words = job_words(job.rule, job.wildcards) if job else f"job {number}"
            self._failed[number] = (words, "")
            self._say_error([f"FAILED  {words}", *(f"  {line}" for line in text.splitlines())])
            return
        self._text(record)

    def _job_error(self, record: Any) -> None:
        number = record.jobid
        job = self.run.fail(number)
        words = job_words(record.rule_name, job.wildcards if job else {})
        command = str(record.shellcmd or "").strip()
        held = next((text for text in self._held if command and command in text), "")
        if held:
            self._held.remove(held)
        signal = ending_of(held)[1]
        if signal == 2 or (signal and self._stopped):
            if not self._stopped:  # Ctrl-C reaches jobs before Snakemake says so
                self.screen.say(f"Ended by Ctrl-C: {words}")
            return
        failed = failure(words, record, held, self.folder)
        self._failed[number] = (words, str(self._short(failed.logs[0])) if failed.logs else "")
        self._attempts[number] = self._attempts.get(number, 1)
        self._say_error(failed.lines(bool(self.settings.show_failed_logs), self._short))

    def _say_error(self, lines: list[str]) -> None:
        self.screen.say(lines[0], "bold red")
        for line in lines[1:]:
            self.screen.say(line)

    # --------------------------------------------------------------------------------- other texts

    def _shell_command(self, record: Any) -> None:
        command = getattr(record, "shellcmd", None) or getattr(record, "cmd", None)
        if self.settings.printshellcmds and command:
            self.screen.say(str(command))

    def _text(self, record: Any) -> None:
        text = str(record.getMessage() or "")
        if text in ("", "None"):
            return
        if log := _COMPLETE_LOG.match(text):
            self._log = log.group(1)
        elif again := _AGAIN.match(text):
            number = int(again.group(1))
            self._attempts[number] = self._attempts.get(number, 1) + 1
            words, _ = self._failed.get(number, (f"job {number}", ""))
            self.screen.say(f"TRIED AGAIN (attempt {self._attempts[number]})  {words}", "yellow")
        elif _SUBMITTED.match(text) and not self.settings.verbose:
            pass
        elif text.startswith(_STOPPING):
            self._stopped = True
            self.screen.say("Stopping, as you asked; what is finished is kept.")
        elif text.startswith(_NOTHING):
            self._note = ""
            self.screen.say("Nothing to do: every result is there and up to date.")
        elif text.startswith(_DRY):
            for line in self.dry.lines():
                self.screen.say(line)
            self.dry = DryRun()
            self._last_words = "This was a dry run (-n): nothing has been run."
        elif record.levelno < logging.INFO:
            if self.settings.verbose or self.settings.debug_dag:
                self.screen.say(text, "dim")
        elif self.settings.verbose or not text.startswith(_LEFT_OUT):
            style = {logging.WARNING: "yellow", logging.ERROR: "bold red"}.get(record.levelno, "")
            if record.levelno >= logging.WARNING or self._shows_progress or self.settings.dryrun:
                self._texts[text] += 1
                if record.levelno >= logging.WARNING:
                    self._warnings[text] = self._texts[text]
                if self._texts[text] == 1:  # some are sent with every job
                    self.screen.say(text.rstrip(), style)

    # ---------------------------------------------------------------------------------------- end

    def _short(self, path: str | Path) -> Path:
        """Return a path of the study as seen from where the command was called."""
        whole = self.folder / path
        return whole.relative_to(self._here) if whole.is_relative_to(self._here) else whole

    def close(self) -> None:
        """Say how the run has ended."""
        self.screen.close()
        for text in self._held:
            self._say_error(text.splitlines())
        for text, number in self._warnings.items():
            if number > 1:
                self.screen.say(f"Said {number} times: {text.splitlines()[0]}")
        if self._last_words:
            self.screen.say(self._last_words)
        if self.run.begun:
            self._say_result()

    def _say_result(self) -> None:
        done, total = sum(self.run.done.values()), self.run.total
        took = f"{done} of {total} jobs are done, in {_exactly(self.clock() - self.run.begun)}"
        if self._failed:
            self.screen.say(f"{count(len(self._failed), 'job')} failed; {took}.", "bold red")
            for words, log in list(self._failed.values())[:MOST_FAILED]:
                self.screen.say(f"  {words}{'  ' if log else ''}{log}")
            if len(self._failed) > MOST_FAILED:
                self.screen.say(f"  and {len(self._failed) - MOST_FAILED} more")
        elif done < total:
            self.screen.say(f"Stopped: {took}.")
        elif self._shows_progress:
            self.screen.say(f"Finished: {took}.", "green")
        if done < total:
            self.screen.say("The same command goes on from here.")
        if self._shows_progress or self._failed:
            self.screen.say(f"Time and memory of each job: {self._short('benchmarks')}")
            if self._log:
                self.screen.say(f"Snakemake's log: {self._short(self._log)}")


def _exactly(seconds: float) -> str:
    if seconds >= 3600:
        return duration(seconds)
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s" if seconds >= 60 else f"{seconds:.0f} s"
