"""What is shown of Snakemake's messages: in a terminal, in a file, for failures, clusters and dry runs."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import TestLogHandlerBase

from neurostrata.controller.plan import PLAN, read_plan, write_plan
from snakemake_logger_plugin_neurostrata import LogHandler, screens
from snakemake_logger_plugin_neurostrata.dryrun import reasons_of
from snakemake_logger_plugin_neurostrata.failures import ending_of, message_of
from snakemake_logger_plugin_neurostrata.reporter import Reporter
from snakemake_logger_plugin_neurostrata.screens import Plain, Terminal, screen_for


class TestTheInterface(TestLogHandlerBase):
    """The tests that Snakemake's interface has for every plugin."""

    __test__ = True

    def get_log_handler_cls(self) -> Any:
        return LogHandler

    def get_log_handler_settings(self) -> Any:
        return None


def test_a_reader_who_leaves_does_not_matter() -> None:
    """`| head`: no message of ours, and none of Python's when it ends."""
    lines = "import sys; from snakemake_logger_plugin_neurostrata.screens import Plain; screen = Plain(sys.stdout)"
    code = f"{lines}\nfor n in range(200_000): screen.say(str(n))\nprint('to the end', file=sys.stderr)"
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stderr is not None
    assert program.stdout.readline() == "0\n"
    program.stdout.close()
    assert program.stderr.read() == "to the end\n"
    assert program.wait() == 0


class Snakemake:
    """Sends what Snakemake sends; time passes when it is told to."""

    def __init__(self, folder: Path, screen: Callable[[io.StringIO], Any] = Plain, **settings: Any) -> None:
        usual = {"quiet": None, "verbose": False, "debug_dag": False, "dryrun": False}
        usual |= {"printshellcmds": False, "show_failed_logs": True}
        self.now = 1_000_000.0
        self.stream = io.StringIO()
        self.folder = folder
        self.reporter = Reporter(screen(self.stream), SimpleNamespace(**(usual | settings)), lambda: self.now)

    def send(self, text: str | None, event: LogEvent | None = None, level: int = 20, **fields: Any) -> None:
        record = logging.LogRecord("snakemake.logging", level, "", 0, text, None, None)
        record.__dict__.update(fields | ({"event": event} if event else {}))
        self.reporter.take(record)

    def plan(self, **jobs: int) -> None:
        self.send("Workflow has started!", LogEvent.WORKFLOW_STARTED, cwd=str(self.folder))
        self.send("Building DAG of jobs...")
        self.send("Job stats: ...", LogEvent.RUN_INFO, stats=jobs | {"total": sum(jobs.values())})
        self.send("Select jobs to execute...")

    def start(
        self, number: int, rule: str, reason: str = "Missing output files: x", **wildcards: str
    ) -> None:
        about = "-".join([rule, *wildcards.values()])
        self.send(
            f" Rule: {rule}, Jobid: {number}", LogEvent.JOB_INFO, jobid=number, rule_name=rule, rule_msg=None,
            wildcards=wildcards, benchmark=f"benchmarks/{rule}/{about}.tsv", reason=reason, log=[f"logs/{about}.log"],
        )  # fmt: skip

    def finish(self, number: int, seconds: float = 1.0) -> None:
        self.now += seconds
        self.send(f"Finished jobid: {number} (Rule: x)", LogEvent.JOB_FINISHED, job_id=number)
        self.send(None, LogEvent.PROGRESS, done=number, total=100)

    def fail(self, number: int, rule: str, written: str, status: str = "", **fields: Any) -> None:
        command = f"python -m neurostrata stage {rule} > {written}"
        if status:
            text = f"RuleException:\nCalledProcessError in file \"x.smk\", line 1:\nCommand 'set -e; {command}' {status}"
            self.send(text, LogEvent.ERROR, 40, exception="RuleException")
        self.send(
            f"Error in rule {rule}, jobid: {number}", LogEvent.JOB_ERROR, 40, jobid=number, rule_name=rule,
            shellcmd=command, **({"rule_msg": None, "log": [written], "aux": {}} | fields),
        )  # fmt: skip

    def said(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def snakemake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snakemake:
    monkeypatch.chdir(tmp_path)
    return Snakemake(tmp_path)


def test_a_long_run_is_a_few_lines(snakemake: Snakemake) -> None:
    """A thousand jobs of one second, and one of three hours: not more than a line for 5 percent or 2 minutes, then fewer."""
    snakemake.plan(register=1000, train=1)
    for number in range(1000):
        snakemake.start(number, "register", subject=f"{number:03d}")
        snakemake.reporter.refresh()
        snakemake.finish(number)
    snakemake.start(1000, "train", experiment="jac", fold="all")
    after = len(snakemake.said())
    for _ in range(2160):
        snakemake.now += 5
        snakemake.reporter.refresh()
    silent = len(snakemake.said()) - after
    snakemake.finish(1000)
    snakemake.reporter.close()
    said = snakemake.said()
    assert said[0] == "1001 jobs to do, in 2 stages"
    assert 18 <= after <= 22
    assert 5 <= silent <= 25
    assert re.search(
        r"\] 5\d of 1001 jobs done \(5%\), about 16 min left; registering to the template, 5\d of 1000 jobs",
        said[1],
    )
    assert re.search(r"1000 of 1001 jobs done \(99%\), about 2 h \d\d min left; training models$", said[-3])
    assert said[-2] == "Finished: 1001 of 1001 jobs are done, in 3 h 17 min."
    assert said[-1].startswith("Time and memory of each job: ")


def test_the_workflows_own_announcement_is_not_repeated(snakemake: Snakemake) -> None:
    snakemake.plan(register=2, all=1)
    snakemake.send("neurostrata: 2 jobs for 2 people: about 1 CPU hour")
    snakemake.start(1, "register", subject="01")
    snakemake.finish(1)
    snakemake.start(2, "register", subject="02")
    snakemake.finish(2)
    snakemake.start(0, "all")
    snakemake.finish(0)
    snakemake.reporter.close()
    assert snakemake.said()[:2] == [
        "neurostrata: 2 jobs for 2 people: about 1 CPU hour",
        "Finished: 2 of 2 jobs are done, in 3 s.",
    ]


def test_people_are_counted_where_the_plan_names_them(tmp_path: Path) -> None:
    """Two images each; one of three people was done by an earlier run."""

    def job(person: str, needed: bool) -> Any:
        return SimpleNamespace(
            wildcards_dict={"subject": person}, rule=SimpleNamespace(name="map_to_template"), needed=needed
        )

    jobs = [job("01", False), job("01", False), job("02", True), job("02", True), job("03", True)]
    jobs.append(SimpleNamespace(wildcards_dict={}, rule=SimpleNamespace(name="report"), needed=True))
    write_plan(
        tmp_path,
        SimpleNamespace(
            dag=SimpleNamespace(jobs=jobs, needrun=lambda job: job.needed),
            logger_manager=SimpleNamespace(get_logfile=lambda: ["/x/.snakemake/log/run.log"]),
        ),
    )
    plan = read_plan(tmp_path)
    assert (plan.process, plan.log, plan.people()) == (os.getpid(), "run.log", {"02", "03"})
    snakemake = Snakemake(tmp_path)
    snakemake.plan(map_to_template=3, report=1)
    snakemake.start(1, "map_to_template", subject="02", modality="jac")
    assert snakemake.said() == ["4 jobs to do for 2 people, in 2 stages"]

    def far() -> str:
        return snakemake.reporter.run.how_far("map_to_template").count

    assert far() == "1 of 3 people"
    snakemake.finish(1)
    assert far() == "1 of 3 people"  # one of sub-02's images is left
    snakemake.start(2, "map_to_template", subject="02", modality="ndi")
    snakemake.finish(2)
    assert far() == "2 of 3 people"
    (tmp_path / PLAN).write_text("{")
    assert read_plan(tmp_path).people() == set()


def test_a_failure_is_told_in_full(snakemake: Snakemake) -> None:
    log = snakemake.folder / "07.log"
    log.write_text(
        "---- neurostrata register: attempt 1\nsome library's warning\nneurostrata register: sub-07_T1w.nii.gz: is damaged; remove it\n"
    )
    snakemake.plan(register=2)
    snakemake.start(3, "register", subject="07")
    snakemake.fail(3, "register", str(log), "returned non-zero exit status 2.")
    assert snakemake.said()[1:] == [
        "FAILED  registering to the template: sub-07",
        "  neurostrata register: sub-07_T1w.nii.gz: is damaged; remove it",
        "  log: 07.log",
    ]
    snakemake.send("Removing output files of failed job register since they might be corrupted:\nx")
    snakemake.send("Trying to restart job 3.")
    assert snakemake.said()[-1] == "TRIED AGAIN (attempt 2)  registering to the template: sub-07"
    snakemake.start(3, "register", subject="07")
    snakemake.fail(3, "register", str(log), "returned non-zero exit status 2.")
    snakemake.send("Exiting because a job execution failed. Look above for error messages", level=40)
    snakemake.send("Complete log(s): /x/.snakemake/log/run.log")
    snakemake.send("WorkflowError:\nAt least one job did not complete successfully.", LogEvent.ERROR, 40)
    snakemake.reporter.close()
    end = snakemake.said()[-5:]
    assert end[0].startswith("1 job failed; 0 of 2 jobs are done, in ")
    assert end[1] == "  registering to the template: sub-07  07.log"
    assert end[2] == "The same command goes on from here."
    assert end[4] == "Snakemake's log: /x/.snakemake/log/run.log"


def test_a_job_that_did_not_say_why_it_failed_shows_the_end_of_its_log(snakemake: Snakemake) -> None:
    log = snakemake.folder / "x.log"
    lines = [f"  File line {number}" for number in range(40)]
    log.write_text(
        "neurostrata train: unexpected ValueError: odd (details in the job's log)\n"
        + "\n".join([*lines, "ValueError: odd"])
    )
    snakemake.plan(train=2)
    snakemake.start(1, "train", experiment="jac", fold="0")
    snakemake.fail(1, "train", str(log), "returned non-zero exit status 1.")
    said = snakemake.said()
    assert "FAILED  training models: jac, fold 0" in said
    assert "  neurostrata train: unexpected ValueError: odd (details in the job's log)" in said
    assert said[-1] == "  | ValueError: odd"
    assert 10 < sum(line.startswith("  | ") for line in said) < 20
    log.unlink()
    snakemake.start(2, "train", experiment="jac", fold="1")
    snakemake.fail(2, "train", str(log), "died with <Signals.SIGKILL: 9>.")
    assert snakemake.said()[-3:] == [
        "  it ended without a message",
        "  ended by SIGKILL; there was probably not enough memory",
        "  log: x.log",
    ]


def test_endings_and_messages() -> None:
    assert ending_of("... returned non-zero exit status 137.") == (
        "ended by SIGKILL; there was probably not enough memory",
        9,
    )
    assert ending_of("... returned non-zero exit status 1.") == ("exit status 1", 0)
    assert ending_of("something else") == ("", 0)
    assert message_of(["---- neurostrata x: attempt 1", "Killed"]) == ("Killed", False)
    assert message_of(["neurostrata stage register: no", "more"]) == (
        "neurostrata stage register: no",
        True,
    )


@pytest.mark.parametrize("quiet", [None, {Quietness.RULES}, {Quietness.ALL}])
def test_no_option_hides_a_failure_or_a_warning(tmp_path: Path, quiet: Any) -> None:
    """Snakemake's own output with --quiet rules leaves errors of jobs out."""
    snakemake = Snakemake(tmp_path, quiet=quiet)
    snakemake.plan(register=2)
    snakemake.start(1, "register", subject="01")
    snakemake.fail(1, "register", "nowhere.log", "returned non-zero exit status 1.")
    assert f"  log: {tmp_path / 'nowhere.log'}" in snakemake.said()  # called from another folder
    for _ in range(3):
        snakemake.send("No Slurm account given", level=30)
    assert "FAILED  registering to the template: sub-01" in snakemake.said()
    assert snakemake.said().count("No Slurm account given") == 1
    snakemake.now += 300
    snakemake.start(2, "register", subject="02")
    snakemake.reporter.refresh()
    assert any("jobs done" in line and "1 failed" in line for line in snakemake.said()) == (
        quiet != {Quietness.ALL}
    )
    snakemake.reporter.close()
    assert "Said 3 times: No Slurm account given" in snakemake.said()


def test_errors_that_belong_to_no_job_are_shown(snakemake: Snakemake) -> None:
    snakemake.plan(register=2)
    snakemake.start(1, "register", subject="01")
    snakemake.send("CalledProcessError in file x: Command 'other' failed", LogEvent.ERROR, 40)
    text = "MissingOutputException in rule register in file x, line 3:\nJob 1 completed successfully, but some output files are missing. a.nii.gz"
    snakemake.send(text, LogEvent.ERROR, 40)
    assert snakemake.said()[1] == "FAILED  registering to the template: sub-01"
    assert any("a.nii.gz" in line for line in snakemake.said())
    assert not snakemake.reporter.run.running
    snakemake.send("WorkflowError:\nsomething about storage", LogEvent.ERROR, 40)
    snakemake.reporter.close()
    assert "something about storage" in snakemake.said()
    assert "CalledProcessError in file x: Command 'other' failed" in snakemake.said()


def test_jobs_of_slurm(snakemake: Snakemake) -> None:
    snakemake.plan(train=1)
    snakemake.send("SLURM run ID: 1b2c")
    snakemake.start(1, "train", experiment="jac", fold="0")
    snakemake.send("Job 1 has been submitted with SLURM jobid 77 (log: .snakemake/slurm_logs/77.log).")
    hint = "For further error details see the cluster/cloud log and the log files of the involved rule(s)."
    snakemake.fail(
        1, "train", "logs/train.log", rule_msg=f"SLURM-job '77' failed, SLURM status is: 'OUT_OF_MEMORY'. Reason: Unknown. {hint}",
        log=["logs/train.log", ".snakemake/slurm_logs/77.log"], aux={"external_jobid": "77"},
    )  # fmt: skip
    assert snakemake.said() == [
        "1 job to do, in 1 stage",
        "FAILED  training models: jac, fold 0",
        "  it ended without a message",
        "  SLURM-job '77' failed, SLURM status is: 'OUT_OF_MEMORY'. Reason: Unknown.",
        "  log: logs/train.log",
        "  log: .snakemake/slurm_logs/77.log",
    ]


def test_a_run_that_is_stopped(snakemake: Snakemake) -> None:
    snakemake.plan(register=3)
    snakemake.start(1, "register", subject="01")
    snakemake.finish(1)
    snakemake.start(2, "register", subject="02")
    snakemake.start(3, "register", subject="03")
    snakemake.fail(3, "register", "nowhere.log", "died with <Signals.SIGINT: 2>.")
    snakemake.send("Terminating processes on user request, this might take some time.")
    snakemake.fail(2, "register", "nowhere.log", "died with <Signals.SIGINT: 2>.")
    snakemake.reporter.close()
    assert snakemake.said()[1:5] == [
        "Ended by Ctrl-C: registering to the template: sub-03",
        "Stopping, as you asked; what is finished is kept.",
        "Stopped: 1 of 3 jobs are done, in 1 s.",
        "The same command goes on from here.",
    ]


def test_a_dry_run_in_words(tmp_path: Path) -> None:
    snakemake = Snakemake(tmp_path, dryrun=True)
    snakemake.plan(register=8, train=2, all=1)
    for number in range(8):
        snakemake.start(number, "register", "Updated input files: images/x.nii.gz", subject=f"{number:02d}")
    why = "Params have changed since last execution: training.epochs: 40 -> 60; Input files updated by another job: a, b"
    for fold in ("0", "all"):
        snakemake.start(9, "train", why, experiment="jac", fold=fold)
    snakemake.start(11, "all", "Input files updated by another job: c")
    snakemake.send(
        "Job stats: ...", LogEvent.RUN_INFO, stats={"register": 8, "train": 2, "all": 1, "total": 11}
    )
    snakemake.send("Reasons:\n    (check individual jobs above for details)\n    params")
    snakemake.send("Would remove temporary output results/template/iter-1/sub-01")  # a line for each person
    snakemake.send("Changed since the results were made:\n    training.epochs: 40 -> 60  (train 2)")
    snakemake.send("This was a dry-run (flag -n). The order of jobs does not reflect the order of execution.")
    snakemake.send("neurostrata: something the workflow says last")
    snakemake.reporter.close()
    assert snakemake.said() == [
        "Changed since the results were made:",
        "    training.epochs: 40 -> 60  (train 2)",
        "10 jobs would run for 8 people:",
        "      8  registering to the template: sub-00, sub-01, sub-02, sub-03, sub-04, sub-05, 2 more",
        "         because: newer: images/x.nii.gz",
        "      2  training models: jac, all people; jac, fold 0",
        "         because: settings: training.epochs: 40 -> 60",
        "neurostrata: something the workflow says last",
        "This was a dry run (-n): nothing has been run.",
    ]
    assert reasons_of("Forced execution") == ["asked for by an option"]
    assert reasons_of("Something new: x; y") == ["Something new: x; y"]


def terminal(width: int, nocolor: bool = False) -> Callable[[io.StringIO], Terminal]:
    return lambda stream: Terminal(stream, nocolor, width=width, height=24)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_that_move_fit_into_the_terminal(tmp_path: Path, width: int) -> None:
    snakemake = Snakemake(tmp_path, terminal(width, nocolor=True))
    snakemake.plan(template_register=40, template_mask=1, train=3, register=10, jacobian=10, fit_noddi=2)
    for number in range(12):
        snakemake.start(number, "template_register", subject=f"long-name-{number}", iteration="2")
    for number, rule in enumerate(("template_mask", "train", "register", "jacobian", "fit_noddi")):
        snakemake.start(20 + number, rule)
    snakemake.finish(0)
    snakemake.reporter.refresh()
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", snakemake.stream.getvalue()).replace("\r", "\n")
    assert max(map(len, drawn.splitlines())) <= width
    last = drawn.splitlines()[-6:]
    assert last[0].startswith("registering to the template of the prev")
    if width == 120:
        assert (
            last[0].split("  ")[1:3]
            == ["1 of 40 jobs", "sub-long-name-1, iteration 2, sub-long-name-2, ite…"][:2]
            or "1 of 40 jobs" in last[0]
        )
    assert last[4] == "and 2 more stages"
    assert "jobs done (1%)" in last[5] or width == 40
    snakemake.send("neurostrata: a note")
    snakemake.reporter.close()
    assert "neurostrata: a note" in snakemake.stream.getvalue()


def test_colours_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    monkeypatch.setenv("TERM", "xterm-256color")
    for variable in ("NO_COLOR", "COLORTERM", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)

    def drawn(nocolor: bool) -> str:
        snakemake = Snakemake(tmp_path, terminal(80, nocolor))
        snakemake.plan(register=2)
        snakemake.start(1, "register", subject="01")
        snakemake.fail(1, "register", "nowhere.log", "returned non-zero exit status 1.")
        snakemake.reporter.close()
        return snakemake.stream.getvalue()

    assert colour.search(drawn(False))
    assert not colour.search(drawn(True))
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(False)
    assert not colour.search(text)
    assert "\x1b[?25l" not in text  # the cursor stays: a killed process could not bring it back


def test_where_lines_can_move(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(screen_for(Screen()), Terminal)
    assert isinstance(screen_for(io.StringIO()), Plain)
    monkeypatch.setitem(sys.modules, "rich.console", None)  # not installed
    assert isinstance(screen_for(Screen()), Plain)
    monkeypatch.delitem(sys.modules, "rich.console")
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(screen_for(Screen()), Plain)


def test_a_message_that_cannot_be_shown_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = SimpleNamespace(
        quiet=None, verbose=False, debug_dag=False, dryrun=False, printshellcmds=False, show_failed_logs=True, stdout=False, nocolor=True,
    )  # fmt: skip
    handler = LogHandler(settings, None)
    monkeypatch.setattr(handler, "handleError", lambda record: None)
    record = logging.LogRecord("x", 40, "", 0, "job 7 has failed", None, None)
    record.event = LogEvent.JOB_ERROR  # without what Snakemake tells of the job
    handler.handle(record)
    assert "job 7 has failed" in capsys.readouterr().err
    handler.close()
    handler.handle(record)  # what comes late is no error


def test_finding_the_plugin_costs_jobs_nothing(repository: Path) -> None:
    """Snakemake imports it in every process that finds it, jobs' own ones included."""
    code = (
        "import sys, snakemake_interface_logger_plugins.base; before = set(sys.modules); import snakemake_logger_plugin_neurostrata; "
        "print({m.split('.')[0] for m in set(sys.modules) - before} - {'__future__'})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(repository / "workflow")}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout.strip() == "{'snakemake_logger_plugin_neurostrata'}", run.stderr


def test_what_is_due() -> None:
    stream = io.StringIO()
    plain = Plain(stream)
    plain.show(screens.Status(done=50, total=100, left=None, elapsed=5))
    assert not stream.getvalue()  # half is done, but the run has just begun
    plain.show(screens.Status(done=50, total=100, left=None, elapsed=11))
    assert "50 of 100 jobs done (50%), too early to say how long" in stream.getvalue()
    plain.show(screens.Status(done=100, total=100, left=0, elapsed=500))
    assert stream.getvalue().count("\n") == 1  # the end is said otherwise
