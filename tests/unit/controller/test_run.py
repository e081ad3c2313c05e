"""`neurostrata run`: the call of Snakemake that is made of what was asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_study import make_study

from neurostrata.controller import run as running
from neurostrata.controller.run import SNAKEFILE, call_of, named_folder, start
from neurostrata.controller.session import Session, complete_config
from neurostrata.core.config import check_config
from neurostrata.core.errors import UserError

OURS = ["--snakefile", str(SNAKEFILE)]
ALL = ["--cores", "all"]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study, "study", in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "_knows_logger", lambda: False)
    (tmp_path / "study" / "config").mkdir(parents=True)
    (tmp_path / "study" / "config" / "config.yaml").touch()
    return tmp_path / "study"


def test_the_study_stands_first_or_is_the_current_folder(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = call_of(["study", "-n", "--forcerun", "train", "--", "maps"])
    assert call.folder == Path("study")
    assert call.added == ["--directory", "study", *OURS, *ALL]
    assert call.given == ["-n", "--forcerun", "train", "--", "maps"]
    assert call_of(["-n", "study", "maps"]) == call_of(["study", "-n", "maps"])
    assert call_of(["-n", "-d", "study"]).added == [*OURS, *ALL]
    monkeypatch.chdir(study)
    call = call_of(["maps", "-n"])
    assert (call.folder, call.added, call.given) == (Path(), [*OURS, *ALL], ["maps", "-n"])


def test_the_folder_is_known_without_snakemakes_parser(study: Path) -> None:
    assert named_folder(["--profile", "slurm"]) == Path()
    assert named_folder(["study", "-n"]) == Path("study")
    for given in (
        ["-d", "there"],
        ["--profile", "slurm", "--directory=there"],
        ["maps", "--directory", "there"],
    ):
        assert named_folder(given) == Path("there")


@pytest.mark.parametrize(
    "given",
    [["--cores", "2"], ["-c2"], ["-j", "3"], ["--jobs=3"], ["--profile", "p"], ["--executor", "slurm", "-j", "5"], ["--executor", "slurm"]],
)  # fmt: skip
def test_all_cores_are_used_unless_something_says_otherwise(study: Path, given: list[str]) -> None:
    (study.parent / "p").mkdir()
    (study.parent / "p" / "config.yaml").write_text("cores: 1\n")
    call = call_of(["study", *given])
    assert call.added == ["--directory", "study", *OURS]
    assert call.given == given


def test_our_logger_is_used_where_snakemake_knows_it_and_none_is_named(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_knows_logger", lambda: True)
    assert call_of(["study", "maps"]).added[-1] == "--logger=neurostrata"
    monkeypatch.setattr(running, "_understood", lambda words: SimpleNamespace(
        directory="study", snakefile="other", executor=None, cores=1, jobs=None, logger=["snkmt"]
    ))  # fmt: skip
    assert call_of(["study", "--logger", "snkmt"]).added == ["--directory", "study", *OURS]


def test_a_profile_is_also_found_in_the_study_and_the_clone(study: Path, repository: Path) -> None:
    (study / "mysite").mkdir()
    (study / "mysite" / "config.yaml").write_text("cores: 1\n")
    call = call_of(["study", "--profile", "mysite", "--profile=slurm", "-n"])
    assert call.given == ["--profile", "study/mysite", f"--profile={repository / 'slurm'}", "-n"]
    with pytest.raises(UserError, match="--profile nowhere: no such profile"):
        call_of(["study", "--profile", "nowhere"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["-n"], r"the current folder is no study \(no config/config.yaml\); to make one .*neurostrata init IMAGES STUDY"),
        (["empty"], r"empty: is no study"),
        (["-d", "nowhere"], r"nowhere: no such folder"),
        (["stduy", "-n"], r"stduy: no such folder, and the current folder is no study"),
        (["study", "-d", "empty"], "two studies are named: study, and empty by --directory"),
        (["study", "--forcrun", "train"], "--forcrun: no such option of snakemake; did you mean '--forcerun'"),
        (["study", "--configfile", "nowhere.yaml"], "--configfile nowhere.yaml: no such file$"),
        (["study", "--configfile", "config/config.yaml"], "no such file; from the current folder it is study/config/config.yaml$"),
        (["study", "--configfile", "study/config/config.yaml", "report"], "--configfile report: no such file; what is to be made stands before this option$"),
        (["study", "strataa"], "^strataa: no such stage; did you mean 'strata'"),
        (["study", "--forcerun", "adjust-codes"], "--forcerun adjust-codes: no such stage; did you mean 'adjust_codes'"),
        (["study", "-U", "zzz"], r"--until zzz: no such stage \(docs/stages.md\)"),
        (["study", "--omit-from", "regster"], "--omit-from regster: no such stage; did you mean 'register'"),
        (["study", "--set-threads", "trian=2"], "--set-threads trian: no such stage; did you mean 'train'"),
        (["study", "--set-resources", "trian:mem_mb=2"], "--set-resources trian: no such stage; did you mean 'train'"),
        (["study", "--rerun-triggers", "x"], "--rerun-triggers: invalid choice: 'x'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(study: Path, given: list[str], said: str) -> None:
    (study.parent / "empty").mkdir()
    with pytest.raises(UserError, match=said) as told:
        call_of(given)
    assert "\n" not in str(told.value)


def test_a_configfile_makes_a_study_of_a_folder(study: Path) -> None:
    (study.parent / "empty").mkdir()
    (study.parent / "x.yaml").touch()
    assert call_of(["empty", "--configfile", "x.yaml"]).folder == Path("empty")


def test_jobs_for_conda_are_refused_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from snakemake.settings.types import DeploymentMethod as Method
    from snakemake.settings.types import DeploymentSettings

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("neurostrata.controller.session.asked_of_snakemake", lambda: "look")

    def begin(*methods: Method, base: Path | None = None) -> None:
        settings = DeploymentSettings(deployment_method=set(methods), conda_base_path=base)
        workflow = SimpleNamespace(
            is_main_process=True,
            deployment_settings=settings,
            modifier=SimpleNamespace(is_main_snakefile=lambda: False),
        )
        Session(workflow, {}).begin({})

    begin()
    begin(Method.ENV_MODULES)
    begin(Method.CONDA, Method.APPTAINER)
    begin(Method.CONDA, base=tmp_path)
    with pytest.raises(SystemExit) as ended:
        begin(Method.CONDA)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("neurostrata: conda is not on the PATH")
    assert "--software-deployment-method env-modules" in said
    assert said.count("\n") == 1
    (tmp_path / "conda").touch(0o755)
    begin(Method.CONDA)


@pytest.mark.parametrize("status", [0, 1])
def test_the_exit_status_is_snakemakes(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def main(arguments: list[str]) -> None:
        asked.append(arguments)
        raise SystemExit(status)

    monkeypatch.setattr("snakemake.cli.main", main)
    monkeypatch.setattr(sys, "argv", ["neurostrata", "run"])
    with pytest.raises(SystemExit) as ended:
        start(running.Call(Path(), OURS, ["-n"]))
    assert ended.value.code == status
    assert asked == [[*OURS, "-n"]]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def begun(folder: Path, repository: Path) -> tuple[subprocess.Popen[bytes], Path, int]:
    """A run whose first job lasts for ever: its process, the study, and the job."""
    study = make_study(folder / "study")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "python").write_text(f"#!/bin/bash\necho $$ > {folder}/job\nexec sleep 100\n")
    (programs / "python").chmod(0o755)
    environment = {**study.environment, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = [sys.executable, str(repository / "workflow" / "neurostrata"), "run", str(study.folder), "-c1"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # What a shell starts in the background ignores Ctrl-C, and so do all its children: the tests, and without this the run.
    process = subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **silent,
    )
    wait_for(lambda: (folder / "job").exists() and (folder / "job").read_text())
    return process, study.folder, int((folder / "job").read_text())


def test_signals_end_a_run_as_they_end_snakemake(tmp_path: Path, repository: Path) -> None:
    """Ctrl-C ends the job too, SIGTERM waits for it; nothing is left to resume."""
    interrupted, asked = (begun(tmp_path / name, repository) for name in ("interrupted", "asked"))
    os.killpg(interrupted[0].pid, signal.SIGINT)  # what a terminal does
    asked[0].terminate()
    assert interrupted[0].wait(60) == 1
    assert asked[0].poll() is None
    os.kill(asked[2], signal.SIGKILL)
    assert asked[0].wait(60) == 1
    for _, folder, job in (interrupted, asked):
        assert not Path(f"/proc/{job}").exists()
        assert len(list((folder / "logs").rglob("*.log"))) == 1  # no further job was begun
        assert not (folder / ".snakemake" / "neurostrata" / "controller.json").exists()


def test_values_inside_those_of_the_command_line_are_read() -> None:
    """Snakemake leaves them as text: --config 'quality={models: false}'."""
    from snakemake.cli import parse_config

    words = [
        "quality={models: false}", "strata={existence: {draws: 19}}", "template={tolerance: null}", "seed=3",
        "cohort={bids: [/data/bids], sessions: 01, participants: [01, 02]}",
    ]  # fmt: skip
    given = parse_config(words)
    main = SimpleNamespace(is_main_snakefile=lambda: True)
    config = parse_config(words)
    complete_config(SimpleNamespace(modifier=main, config_settings=SimpleNamespace(config=given)), config)
    checked = check_config(config)
    assert checked["quality"]["models"] is False
    assert checked["strata"]["existence"]["draws"] == 19
    assert checked["template"]["tolerance"] is None
    assert checked["cohort"]["sessions"] == "01"
    assert checked["cohort"]["participants"] == ["01", "02"]
    with pytest.raises(UserError, match="true or false is needed, 'perhaps' is none"):
        check_config({"quality": {"models": "perhaps"}})
