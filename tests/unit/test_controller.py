"""Going on after a crash, and saying how far a study is, on logs and commands made here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from neurostrata.controller import resume as resume_module
from neurostrata.controller.progress import duration, job_seconds, progress, read_run, seconds_left
from neurostrata.controller.resume import cancel_orphans, resume, study_folder
from neurostrata.controller.state import CONTROLLER, FAILURES, sign_in, sign_out, slurm_run_ids
from neurostrata.core.errors import UserError
from neurostrata.core.failures import VARIABLE, failed_before, note_failure

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
    seconds = {"register": [600.0], "page": [6.0], "train": [3000.0]}
    done = Counter(register=4)  # 2,400 s of work in 1,200 s: two at a time
    left = {"register": 2, "page": 100, "train": 1}
    assert seconds_left(left, seconds, done, 1200) == pytest.approx((1200 + 600 + 3000) / 2)
    assert seconds_left(left, {}, done, 1200) is None
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


def test_nobody_is_resumed_while_the_controller_lives(study: Path) -> None:
    living = subprocess.Popen(["bash", "-c", "exec -a snakemake sleep 60"])
    try:
        sign_in(study)
        facts = json.loads((study / CONTROLLER).read_text())
        time.sleep(0.3)
        (study / CONTROLLER).write_text(json.dumps({**facts, "pid": living.pid}))
        with pytest.raises(UserError, match=f"process {living.pid} on this host"):
            resume("--directory", str(study))
    finally:
        living.kill()
        living.wait()
    (study / CONTROLLER).write_text(json.dumps({**facts, "host": f"not-{socket.gethostname()}"}))
    with pytest.raises(UserError, match="resume there"):
        resume(f"--directory={study}")
    sign_out(study)
    assert not (study / CONTROLLER).exists()


def test_what_is_no_study_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to resume"):
        resume("--directory", str(tmp_path))
    assert study_folder(["--profile", "slurm"]) == Path()
    assert study_folder(["-d", "there", "--profile", "slurm"]) == Path("there")


def test_orphans_are_cancelled_by_the_names_of_their_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    answers = ["7\n9\n", "", "9\n", ""]  # squeue, scancel, squeue, squeue

    def slurm(*command: str) -> str:
        asked.append(command)
        return answers.pop(0)

    monkeypatch.setattr(resume_module, "_slurm", slurm)
    monkeypatch.setattr(resume_module.time, "sleep", lambda seconds: None)
    assert cancel_orphans(["1b2c", "3d"]) == 2
    assert asked[0] == ("squeue", "--noheader", "--format=%i", "--name=1b2c,3d")
    assert asked[1] == ("scancel", "7", "9")
    assert cancel_orphans([]) == 0
    answers[:] = ["7\n", "", *["7\n"] * 50]
    with pytest.raises(UserError, match="a node does not answer"):
        cancel_orphans(["1b2c"], patience=0)


def test_what_failed_by_itself_is_remembered_for_the_run(
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
    sign_in(tmp_path)  # a new run
    assert failed_before(first) is None


def test_a_second_attempt_repeats_the_message_and_ends(tmp_path: Path, repository: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository / "workflow"),
        VARIABLE: str(tmp_path / "failures"),
    }
    command = ["python", str(repository / "workflow/neurostrata"), "summary", "--results", str(tmp_path)]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True) for _ in range(2)
    )
    assert first.returncode == second.returncode == 2
    assert second.stderr.startswith(first.stderr)
    assert "not tried again" in second.stderr
