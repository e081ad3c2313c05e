"""`neurostrata stage NAME`: its options, its messages, and what it leaves behind."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import anatomy_phantoms as phantoms
import numpy as np
import pytest

from neurostrata.cli import main
from neurostrata.cli.stages import FUNCTIONS, load_stage, stage_parser
from neurostrata.core.config import section_defaults
from neurostrata.core.locations import SCHEMAS
from neurostrata.imaging.images.io import write_image
from neurostrata.stages import STAGES, command_of

WORKFLOW = SCHEMAS.parent


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_stage_can_be_loaded_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stage", name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage\n  neurostrata stage {name} --")
    assert stage_parser(name, load_stage(name)).words.paragraphs[0][:40] in said


@pytest.mark.parametrize("name", [command_of(name) for name, stage in STAGES.items() if not stage.draws])
def test_what_no_seed_decides_reads_none(name: str) -> None:
    assert '["seed"]' not in inspect.getsource(load_stage(name))


def test_the_stages_are_listed_by_what_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stage"]) == 0
    said = capsys.readouterr().out
    for name, stage in STAGES.items():
        assert re.search(rf"^  {command_of(name)} +{re.escape(stage.words[:30])}", said, re.M), name
    assert re.search(r"^Strata\n  cluster .*\n  existence ", said, re.M)


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)} if env is None else env
    command = [sys.executable, "-m", "neurostrata", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


#: A stage that ends at once, with its one line.
BROKEN = ("stage", "list-people", "--group", "all", "--output", "x", "--settings", "[]")
LINE = "neurostrata list-people: --settings: a JSON object is needed (neurostrata stage list-people --help)"


def test_a_mistake_is_one_line_and_status_2() -> None:
    done = run(*BROKEN)
    assert done.returncode == 2
    assert done.stderr == f"{LINE}\n"


def test_an_option_without_a_value_is_an_absent_file() -> None:
    parser = stage_parser("prepare-t1w", load_stage("prepare-t1w"))
    given = "--t1w a --t1w-mask --subject 1 --output b --mask c --settings {}"
    assert parser.read(given.split())["t1w_mask"] is None


def test_a_message_reaches_the_terminal_past_the_log(tmp_path: Path) -> None:
    stage = f"{sys.executable} -m neurostrata {' '.join(BROKEN)} > {tmp_path}/log 2>&1"
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&2; export NEUROSTRATA_CONSOLE=3; {stage}"],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == f"{LINE}\n"
    assert (tmp_path / "log").read_text().splitlines()[1:] == [LINE]  # after when and where


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trane"], "neurostrata stage: trane: no such stage; did you mean 'train'?"),
        (["xxxxx"], "neurostrata stage: xxxxx: no such stage; they are listed by: neurostrata stage --help"),
        (["list-people", "--gruop", "x"], "neurostrata list-people: --gruop: no such option; did you mean '--group'?"),
    ],
)  # fmt: skip
def test_a_typo_is_one_line_with_what_was_meant(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stage", *words]) == 2
    assert capsys.readouterr().err == f"{said}\n"


def test_a_stage_needs_no_library_for_the_terminal(tmp_path: Path) -> None:
    """The conda environments of the rules do not have what help pages and progress are drawn with."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('rich', 'typer', 'cyclopts', 'click', 'snakemake'))); "
        "from neurostrata.cli import main; main(['stage']); main(['stage', 'list-people']); "
        "print(sorted({'numpy', 'pandas', 'jsonschema', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=WORKFLOW)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("neurostrata list-people: --settings is needed")
    assert "numpy" not in done.stdout.splitlines()[-1]
    assert "pandas" not in done.stdout.splitlines()[-1]


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
        *("stage", "register"),
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
