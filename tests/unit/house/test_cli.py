from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anatomy_phantoms as phantoms
import numpy as np
import pytest

from neurostrata.cli import COMMANDS, command_parser, load_command, main
from neurostrata.core.config import section_defaults
from neurostrata.core.locations import SCHEMAS
from neurostrata.imaging.images.io import write_image

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
    assert done.stderr.splitlines() == (tmp_path / "log").read_text().splitlines()[1:]  # after when and where


def test_unknown_stage_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trane"])
    assert "train" in capsys.readouterr().err


def registration(folder: Path, engine: str) -> list[str]:
    """The arguments that register a small head to another one."""
    fixed = phantoms.grid(28, 6.5)
    write_image(folder / "template.nii.gz", phantoms.brain(fixed).data, fixed)
    write_image(folder / "template_mask.nii.gz", phantoms.brain(fixed).data > 40, fixed, np.uint8)
    moving = phantoms.brain(phantoms.grid(30, 6.2), deform=phantoms.bump(phantoms.grid(40, 6.0)))
    write_image(folder / "t1w.nii.gz", moving.data, moving.grid)
    write_image(folder / "mask.nii.gz", moving.data > 40, moving.grid, np.uint8)
    settings = json.dumps({**section_defaults("registration"), "engine": engine, "seed": 1})
    inputs = {"t1w": "t1w", "initial-mask": "mask", "template": "template", "template-mask": "template_mask"}
    outputs = ("warp", "inverse-warp", "warped", "mask")
    return [
        "register",
        *(word for name, file in inputs.items() for word in (f"--{name}", str(folder / f"{file}.nii.gz"))),
        *(word for name in outputs for word in (f"--{name}", str(folder / f"out_{name}.nii.gz"))),
        *("--affine", str(folder / "out.mat"), "--subject", "01", "--settings", settings),
    ]


def test_a_stage_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    """Not even what libraries put there: torch makes a folder for compiled kernels."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW), "TMPDIR": str(temporary)}
    done = run(*registration(tmp_path, "torch"), env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out_warp.nii.gz").is_file()
    assert list(temporary.iterdir()) == []


def test_a_stage_that_is_asked_to_end_leaves_nothing(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW), "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, "-m", "neurostrata", *registration(tmp_path, "torch")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("torch registration" in line for line in process.stderr)  # in the midst of it
    assert list(temporary.iterdir()) != []
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "out_warp.nii.gz").exists()
