"""Going on after a crash, and saying how far a study is, on logs and commands made here."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.cli import get_argument_parser

from neurostrata.cli import stages
from neurostrata.controller import entry, orphans
from neurostrata.controller.entry import INSIDE, refuse_beside, sign_in, sign_out
from neurostrata.controller.orphans import MARK, cancel_slurm_jobs, end_local_jobs, local_jobs
from neurostrata.controller.plan import PLAN
from neurostrata.controller.progress import duration, job_seconds, progress, read_run, seconds_left
from neurostrata.controller.resume import resume
from neurostrata.controller.room import full
from neurostrata.controller.scheduling import no_hopeless_attempts
from neurostrata.controller.session import refuse_silent_slurm, shell_prefix, shows_messages
from neurostrata.controller.state import (
    CONTROLLER,
    FAILURES,
    born,
    controller_of,
    is_alive,
    own_facts,
    slurm_run_ids,
)
from neurostrata.core.errors import UserError
from neurostrata.core.failures import VARIABLE, failed_before, is_lasting, is_noted, note_failure
from neurostrata.core.files import read_json

LOG = """SLURM run ID: 1b2c
Job stats:
job            count
-----------  -------
register           4
train              1
total              5

[Sat Nov 21 12:00:00 2026]
rule register:
[Sat Nov 21 12:10:00 2026]
Finished jobid: 1 (Rule: register)
1 of 5 steps (20%) done
[Sat Nov 21 12:10:00 2026]
Finished jobid: 2 (Rule: register)
2 of 5 steps (40%) done
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").touch()
    (tmp_path / ".snakemake" / "log").mkdir(parents=True)
    (tmp_path / ".snakemake" / "log" / "2026-11-21T120000.snakemake.log").write_text(LOG)
    (tmp_path / "benchmarks" / "register").mkdir(parents=True)
    for number, seconds in ((1, 580.0), (2, 620.0)):
        (tmp_path / "benchmarks" / "register" / f"{number}.tsv").write_text(f"s\th:m:s\n{seconds}\tx\n")
    return tmp_path


def test_a_log_tells_what_was_planned_and_done(study: Path) -> None:
    run = read_run(next((study / ".snakemake" / "log").iterdir()))
    assert run.planned == {"register": 4, "train": 1}
    assert [rule for _, rule in run.finished] == ["register", "register"]
    assert run.finished[0][0] - run.begun == 600
    assert slurm_run_ids(study) == ["1b2c"]


def test_time_left_weighs_jobs_by_how_long_they_take() -> None:
    each = {"register": 600.0, "page": 6.0, "train": 3000.0}
    done = Counter(register=4)  # 2,400 s of work in 1,200 s: two at a time
    left = {"register": 2, "page": 100, "train": 1}
    assert seconds_left(left, each, done, 1200) == pytest.approx((1200 + 600 + 3000) / 2)
    assert seconds_left(left, {}, done, 1200) is None
    # jobs that are running are partly done; one that takes longer than others is nearly finished
    running = [("register", 500.0), ("register", 700.0)]
    assert seconds_left({"register": 2}, each, done, 1200, running) == pytest.approx(100 / 3)
    # an unknown one that takes longer than others is halfway
    assert seconds_left(
        {"explain": 1}, {"register": 600.0}, done, 6000, [("explain", 4800.0)]
    ) == pytest.approx(4800 / 1.2)
    assert [duration(s) for s in (20, 600, 7260, 400000)] == [
        "less than a minute",
        "10 min",
        "2 h 01 min",
        "4.6 days",
    ]


def test_progress_of_a_dead_and_of_a_living_run(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert job_seconds(study / "benchmarks") == {"register": [580.0, 620.0]}
    progress(directory=study)
    said = capsys.readouterr().out
    assert said.startswith("2 of 5 jobs done (40%)")
    assert "nobody is running this study now" in said
    assert "train" in said
    assert "not yet run" in said
    with pytest.raises(UserError, match="no run of Snakemake has left a log"):
        progress(directory=study / "benchmarks")


RUNNING = """[Sat Nov 21 12:00:00 2026]
rule register:
    input: a.nii.gz
    jobid: 1
    wildcards: subject=01
[Sat Nov 21 12:00:01 2026]
localrule train:
    jobid: 2
    wildcards: experiment=jac, fold=all
[Sat Nov 21 12:00:02 2026]
rule register:
    jobid: 3
    wildcards: subject=02
[Sat Nov 21 12:00:03 2026]
Error in rule register:
    jobid: 3
[Sat Nov 21 12:00:04 2026]
rule register:
    jobid: 4
    wildcards: subject=03
[Sat Nov 21 12:05:00 2026]
Finished jobid: 1 (Rule: register)
"""


def test_progress_names_what_is_running(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = next((study / ".snakemake" / "log").iterdir())
    log.write_text(LOG[: LOG.index("[Sat")] + RUNNING)
    plan = {
        "process": 1,
        "log": log.name,
        "everybody": {"register": 9},
        "waiting": {"register": {"01": 1, "02": 1, "03": 1, "04": 1}},
    }
    (study / PLAN).parent.mkdir(parents=True)
    (study / PLAN).write_text(json.dumps(plan))
    signed_in(study)
    progress(directory=study)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("1 of 5 jobs done (20%), about ")
    assert said[1] == "  registering to the template · 6 of 9 people · sub-03"
    assert said[2] == "  training models · jac, all people"
    assert re.search(r"registering to the template +1 +3 +10\.0", said[5])
    plan["log"] = "of another run"
    (study / PLAN).write_text(json.dumps(plan))
    progress(directory=study)
    assert "registering to the template · 1 of 4 jobs · sub-03" in capsys.readouterr().out


def test_jobs_write_to_the_terminal_unless_their_messages_are_shown() -> None:
    ours = SimpleNamespace(
        logger_manager=SimpleNamespace(plugin_handlers=[SimpleNamespace(shows_messages=True)])
    )
    others = SimpleNamespace(logger_manager=SimpleNamespace(plugin_handlers=[SimpleNamespace()]))
    for workflow, console in ((ours, "exec 3>/dev/null;"), (others, "exec 3>&2;")):
        assert console in shell_prefix({"A": "b"}, shows_messages(workflow))


@pytest.fixture
def living() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is at work, called anything."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def signed_in(study: Path, mark: str = "", **facts: object) -> dict[str, object]:
    """Write down some controller as this study's."""
    facts = {**own_facts(), "started": 0.0, "mark": mark, "before": [], **facts}
    (study / CONTROLLER).parent.mkdir(parents=True, exist_ok=True)
    (study / CONTROLLER).write_text(json.dumps(facts))
    return facts


def test_nobody_is_resumed_while_the_controller_lives(study: Path, living: subprocess.Popen[bytes]) -> None:
    facts = signed_in(study, pid=living.pid, born=born(living.pid))
    for start in (lambda: resume("--directory", str(study)), lambda: sign_in(study, uuid.uuid4().hex)):
        with pytest.raises(UserError, match=f"process {living.pid} on this host"):
            start()
    assert controller_of(study) == facts
    signed_in(study, pid=living.pid, host=f"not-{socket.gethostname()}")
    with pytest.raises(UserError, match="continue there"):
        resume(f"--directory={study}")


def test_a_process_id_that_was_given_again_is_no_controller(
    study: Path, living: subprocess.Popen[bytes]
) -> None:
    now = born(living.pid)
    assert now is not None
    assert is_alive(signed_in(study, pid=living.pid, born=now)) is True
    assert is_alive(signed_in(study, pid=living.pid, born=now - 1)) is False
    assert (
        is_alive(signed_in(study, pid=living.pid, born=now, boot="before the host was started anew")) is False
    )
    assert is_alive(signed_in(study, pid=living.pid, born=now, process_ids="of a container")) is None
    living.kill()
    deadline = time.monotonic() + 10
    while born(living.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert born(living.pid) is None  # it has ended, though nobody has asked for its exit status yet


def test_a_controller_in_a_slurm_job_lives_as_long_as_the_job(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    squeue = tmp_path / "squeue"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    facts = signed_in(study, host=f"not-{socket.gethostname()}", slurm_job="7")
    answers = {
        "echo '7 main x RUNNING'": True,
        "true": False,
        "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1": False,
        "echo 'Unable to contact slurm controller' >&2; exit 1": None,
    }
    for answer, alive in answers.items():
        squeue.write_text(f'#!/bin/sh\n[ "$2" = --jobs=7 ] || exit 2\n{answer}\n')
        squeue.chmod(0o755)
        assert is_alive(facts) is alive, answer
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert is_alive(facts) is False  # queued again on another node
    assert is_alive({**facts, "slurm_job": ""}) is None


def test_signing_in_and_out(study: Path) -> None:
    mark = uuid.uuid4().hex
    assert sign_in(study, mark) == []
    assert controller_of(study)["mark"] == mark  # type: ignore[index]
    refuse_beside(study)  # oneself is nobody else
    assert sign_in(study, mark) == []
    sign_out(study)
    assert controller_of(study) is None


def test_of_many_that_sign_in_at_once_one_wins(study: Path) -> None:
    code = (
        "import sys, time, uuid; from pathlib import Path\n"
        "from neurostrata.controller.entry import sign_in\n"
        "from neurostrata.core.errors import UserError\n"
        "while time.time() < float(sys.argv[2]): pass\n"
        "try: sign_in(Path(sys.argv[1]), uuid.uuid4().hex, resuming=len(sys.argv) > 3); print('in', flush=True)\n"
        "except UserError: print('out', flush=True)\n"
        "sys.stdin.read()"
    )
    signed_in(study, pid=2**22 + 1, born=1)  # a dead one's place is free
    at = str(time.time() + 1)
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(study), at, *(["resuming"] if number % 2 else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    said = [process.stdout.readline().strip() for process in several]  # type: ignore[union-attr]
    for process in several:
        process.communicate("")
    assert sorted(said) == ["in", *["out"] * 5]


def at_work(mark: str) -> subprocess.Popen[bytes]:
    """A job of a run: a shell that sets the mark for a child."""
    script = f"set -euo pipefail; exec 3>&2; export {MARK}={mark} A=b; sleep 60; true"
    shell = subprocess.Popen(["bash", "-c", script], start_new_session=True)
    deadline = time.monotonic() + 10
    while len(local_jobs([mark])) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return shell


def test_orphans_of_a_dead_controller_are_found_and_ended(study: Path) -> None:
    mark, other = uuid.uuid4().hex, uuid.uuid4().hex
    shell, bystander = at_work(mark), at_work(other)
    named = subprocess.Popen(
        ["tail", "-f", "/dev/null", f"{MARK}={mark}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert {job.pid for job in local_jobs([mark])} > {shell.pid}
        signed_in(study, mark, pid=2**22 + 1, born=1)
        with pytest.raises(UserError, match=r"still running: .*sleep \(process \d+\).*resume"):
            sign_in(study, uuid.uuid4().hex)
        assert controller_of(study)["mark"] == mark  # type: ignore[index]
        assert sign_in(study, uuid.uuid4().hex, resuming=True) == [mark]
        os.killpg(shell.pid, signal.SIGSTOP)  # it must end all the same
        assert end_local_jobs([mark], grace=2) == 2
        assert shell.wait(10) != 0
        assert local_jobs([mark]) == []
        assert named.poll() is None  # it names the mark, but does not carry it
        assert len(local_jobs([other])) == 2
        sign_out(study)
        assert controller_of(study) is None
        assert end_local_jobs([]) == 0
    finally:
        for process in (shell, bystander):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        named.kill()
        named.wait()


def test_who_leaves_jobs_behind_stays_signed_in(study: Path) -> None:
    mark = uuid.uuid4().hex
    sign_in(study, mark)
    shell = at_work(mark)
    try:
        sign_out(study)
        assert controller_of(study)["mark"] == mark  # type: ignore[index]
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    sign_out(study)
    assert controller_of(study) is None


def test_what_resume_starts_may_unlock(
    study: Path, living: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(study, "a" * 32, pid=living.pid, born=born(living.pid))
    with pytest.raises(UserError):
        refuse_beside(study)
    monkeypatch.setenv(INSIDE, "a" * 32)
    refuse_beside(study)


def test_the_options_with_which_snakemake_only_looks_are_its_own() -> None:
    known = {action.dest for action in get_argument_parser()._actions}
    assert {*entry._ASIDE, *entry._LOOKING, "unlock", "report_after_run"} <= known

    def args_to_api(args: object) -> str:
        return entry.asked_of_snakemake()

    parser = get_argument_parser()
    asked = {
        "": "run", "-n": "look", "--unlock": "unlock", "--summary": "look", "--lint": "aside", "--touch": "run",
        "-l": "aside", "--list-target-rules": "aside", "--conda-create-envs-only": "aside", "--dag": "look",
        "--report": "aside", "--report --report-after-run": "run", "--delete-all-output": "run",
    }  # fmt: skip
    for words, expected in asked.items():
        assert args_to_api(parser.parse_args(["--cores", "1", *words.split()])) == expected, words
    assert entry.asked_of_snakemake() == ""


def test_what_is_no_study_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r": is no study \(no config/config.yaml\); to make one .* init IMAGES STUDY"
    ):
        resume("--directory", str(tmp_path))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").touch()
    with pytest.raises(UserError, match="nothing to resume"):
        resume(str(tmp_path))


def test_orphans_are_cancelled_by_the_names_of_their_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    answers = ["7\n9\n", "", "9\n", ""]  # squeue, scancel, squeue, squeue

    def slurm(*command: str) -> str:
        asked.append(command)
        return answers.pop(0)

    monkeypatch.setattr(orphans, "_slurm", slurm)
    monkeypatch.setattr(orphans.time, "sleep", lambda seconds: None)
    assert cancel_slurm_jobs(["1b2c", "3d"]) == 2
    assert asked[0] == ("squeue", "--noheader", "--format=%i", "--name=1b2c,3d")
    assert asked[1] == ("scancel", "7", "9")
    assert cancel_slurm_jobs([]) == 0
    answers[:] = ["7\n", "", *["7\n"] * 50]
    with pytest.raises(UserError, match="a node does not answer"):
        cancel_slurm_jobs(["1b2c"], patience=0)


def test_jobs_are_not_handed_to_a_slurm_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its plugin showed an exception for each job."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    sinfo = tmp_path / "sinfo"
    on_slurm = SimpleNamespace(executor_plugin=SimpleNamespace(name="slurm"))
    for answer, said in {
        "echo main": "",
        "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1": "Unable to contact slurm controller. Run on a host",
        "exit 1": "on this host: failed. Run on a host",
    }.items():
        sinfo.write_text(f"#!/bin/sh\n{answer}\n")
        sinfo.chmod(0o755)
        with contextlib.nullcontext() if not said else pytest.raises(SystemExit, match="2"):
            refuse_silent_slurm(on_slurm)
        assert said in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(SystemExit, match="2"):
        refuse_silent_slurm(on_slurm)
    assert "there is no sinfo on the PATH" in capsys.readouterr().err
    refuse_silent_slurm(SimpleNamespace(executor_plugin=SimpleNamespace(name="local")))


def test_a_mistake_in_the_input_is_remembered_for_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ["train", "--fold", "1", "--threads", "2", "--memory-mb", "500"]
    note_failure(first, "nothing is kept outside a workflow")
    monkeypatch.setenv(VARIABLE, str(tmp_path / FAILURES))
    assert failed_before(first) is None
    note_failure(first, "the image is broken")
    again = ["train", "--fold", "1", "--threads", "4", "--memory-mb", "1000"]
    assert failed_before(again) == "the image is broken"
    assert failed_before(["train", "--fold", "2", "--threads", "2"]) is None
    sign_in(tmp_path, uuid.uuid4().hex)  # a new run
    assert failed_before(first) is None


class OutOfMemoryError(RuntimeError):
    """PyTorch's, which this test need not load."""


def caused(error: Exception) -> UserError:
    """The error of a reader that could not read."""
    try:
        try:
            raise error
        except type(error):
            raise UserError("x.nii.gz: cannot be read") from None
    except UserError as reader:
        return reader


LASTING = [
    UserError("subject 02: has NaN"),
    caused(FileNotFoundError(errno.ENOENT, "No such file")),
    caused(PermissionError(errno.EACCES, "Permission denied")),
    caused(OSError("not a gzip file")),
    caused(ValueError("no number")),
]
PASSING = [
    OSError(code, os.strerror(code))
    for code in (
        errno.ESTALE,
        errno.EIO,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ETIMEDOUT,
        errno.ENOMEM,
    )
]
PASSING += [
    MemoryError(),
    OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes. out of memory"),
]


@pytest.mark.parametrize("error", LASTING, ids=lambda error: repr(error.__context__ or error))
def test_only_a_mistake_in_the_input_is_met_again(error: Exception) -> None:
    assert is_lasting(error)


@pytest.mark.parametrize("error", [*PASSING, *map(caused, PASSING)], ids=lambda e: repr(e.__context__ or e))
def test_what_the_machine_did_gets_its_next_attempt(error: Exception) -> None:
    assert not is_lasting(error)


def test_a_bug_gets_its_next_attempt_and_a_stale_file_under_a_reader_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_lasting(KeyError("x"))

    def stale(*arguments: object, **options: object) -> str:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "read_text", stale)
    with pytest.raises(UserError) as told:
        read_json(tmp_path / "x.json")
    assert not is_lasting(told.value)


def test_the_controller_gives_up_what_is_noted_and_nothing_else(tmp_path: Path, repository: Path) -> None:
    notes, log = tmp_path / FAILURES, tmp_path / "job.log"
    environment = {**os.environ, "PYTHONPATH": str(repository / "workflow"), VARIABLE: str(notes)}
    command = ["python", str(repository / "workflow/neurostrata"), "stage", "list-people"]
    with open(log, "ab") as stream:
        assert subprocess.run(command, env=environment, stderr=stream).returncode == 2
    assert is_noted(notes, log)
    tried: list[int] = []
    scheduler = SimpleNamespace(_handle_error=lambda job, postprocess_job=True: tried.append(job.attempt))
    no_hopeless_attempts(scheduler, notes)
    for path in (log, tmp_path / "other.log"):
        scheduler._handle_error(SimpleNamespace(log=[str(path)], attempt=1, restart_times=2))
    assert tried == [3, 1]
    no_hopeless_attempts(SimpleNamespace(), notes)


def run_in_job(repository: Path, redirection: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a stage that fails as a rule does: its output to a log, the terminal as descriptor 3."""
    line = f"exec 3>&2; python {repository}/workflow/neurostrata stage list-people {redirection}"
    variables = {**os.environ, "NEUROSTRATA_CONSOLE": "3", **environment}
    return subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True)


def test_a_full_disk_does_not_silence_the_message(repository: Path) -> None:
    run = run_in_job(repository, "> /dev/full 2>&1")
    assert run.returncode == 2
    assert "neurostrata list-people: --settings is needed" in run.stderr


def test_the_second_attempt_keeps_what_the_first_has_logged(tmp_path: Path, repository: Path) -> None:
    log, notes = tmp_path / "job.log", tmp_path / "notes"
    for _ in range(2):
        log.unlink(missing_ok=True)  # as Snakemake does before each attempt
        run_in_job(repository, f"> {log} 2>&1", **{"SLURM_JOB_ID": "12", VARIABLE: str(notes)})
    lines = log.read_text().splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("----")] == [
        "---- neurostrata list-people: attempt 1",
        "---- neurostrata list-people: attempt 2",
    ]
    assert f"{socket.gethostname()}, Slurm job 12" in lines[2]
    assert [line.startswith("neurostrata list-people: --settings") for line in lines[1::2]] == [True, True]
    assert len(list(notes.glob("attempt-*"))) == 1
    code = "from neurostrata.cli import stages; stages.load_stage = lambda name: lambda: None; stages.run_stage(['list-people'])"
    variables = {**os.environ, "NEUROSTRATA_CONSOLE": "3", VARIABLE: str(notes)}
    log.unlink()
    for note in set(notes.iterdir()) - set(notes.glob("attempt-*")):
        note.unlink()  # it would be repeated
    with open(log, "wb") as stream:
        subprocess.run([sys.executable, "-c", code], env=variables, stderr=stream, check=True)
    assert log.read_text().count("---- neurostrata list-people: attempt ") == 3
    assert not list(notes.glob("attempt-*"))  # what ended well is not kept


def test_a_second_attempt_repeats_the_message_and_ends(tmp_path: Path, repository: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository / "workflow"),
        VARIABLE: str(tmp_path / "failures"),
    }
    command = ["python", str(repository / "workflow/neurostrata"), "stage", "list-people"]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True) for _ in range(2)
    )
    assert first.returncode == second.returncode == 2
    assert second.stderr.startswith(first.stderr)
    assert "not retried" in second.stderr


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    folders = [tmp_path, tmp_path / "results", tmp_path / "not there"]
    assert full(folders) == []

    def no_room(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", no_room)
    assert full(folders) == [tmp_path]


def test_a_stage_that_meets_a_full_disk_says_so_and_is_no_mistake_in_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill() -> None:
        raise UserError("x.npy: cannot be written") from OSError(
            errno.ENOSPC, "No space left on device", "x.npy"
        )

    monkeypatch.setattr(stages, "load_stage", lambda name: fill)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert stages.run_stage(["list-people"]) == 2
    assert "No space left on device (x.npy): make room" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
