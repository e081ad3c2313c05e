from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurostrata.cli import COMMANDS, command_parser, load_command, main
from neurostrata.core.config import SCHEMAS
from neurostrata.versions import VERSIONS

WORKFLOW = SCHEMAS.parent


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_can_be_loaded_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    function = load_command(name)
    assert inspect.getdoc(function)
    with pytest.raises(SystemExit) as caught:
        command_parser(name, function).parse_args(["--help"])
    assert caught.value.code == 0
    assert (inspect.getdoc(function) or "").splitlines()[0][:40] in capsys.readouterr().out


def test_every_stage_has_a_version() -> None:
    stages = {name.replace("-", "_") for name in COMMANDS} - {
        "simulate",
        "recovery",
        "summary",
        "resume",
        "progress",
    }
    assert stages == set(VERSIONS)


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    return subprocess.run(
        [sys.executable, "-m", "neurostrata", *arguments], env=environment, capture_output=True, text=True
    )


def test_a_mistake_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = run("summary", "--results", str(tmp_path))
    assert done.returncode == 2
    assert (
        done.stderr
        == f"neurostrata summary: {tmp_path}/report/index.html: no such file; run the workflow first\n"
    )


def test_an_option_without_a_value_is_an_absent_file() -> None:
    parser = command_parser("prepare-t1w", load_command("prepare-t1w"))
    options = [
        "--t1w",
        "a",
        "--t1w-mask",
        "--subject",
        "1",
        "--output",
        "b",
        "--mask",
        "c",
        "--settings",
        "{}",
    ]
    assert parser.parse_args(options).t1w_mask is None


def test_a_message_reaches_the_terminal_past_the_log(tmp_path: Path) -> None:
    command = f"exec 3>&2; export NEUROSTRATA_CONSOLE=3; {sys.executable} -m neurostrata summary --results {tmp_path} > {tmp_path}/log 2>&1"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        capture_output=True,
        text=True,
    )
    assert "no such file; run the workflow first" in done.stderr
    assert done.stderr == (tmp_path / "log").read_text()


def test_unknown_stage_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trane"])
    assert "train" in capsys.readouterr().err
