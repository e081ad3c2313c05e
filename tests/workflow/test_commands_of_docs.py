"""Every command in README and docs: run in a tiny study, or read by the program's own parser, or left out for a reason."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from bids_trees import fmriprep_person, plant, qsiprep_person, raw_person, settle
from documentation import ROOT, blocks, commands, inline_code
from image_trees import fill, people, write_table

from neurostrata.cli import main
from neurostrata.cli.commands import COMMANDS, parser_of
from neurostrata.cohort.discovery.layouts import HCP
from neurostrata.controller.session import read_nested
from neurostrata.core.config import load_schema, schema_problems
from neurostrata.core.errors import UserError
from neurostrata.stages import STAGES

#: Commands that no test can run, and why. Files that they name must be there.
NOT_RUN = {
    r"git clone \.\.\. neurostrata": "the address is the reader's",
    r"(cd|mkdir) \S+|\. \.venv/bin/activate|export PYTHONPATH=\$PWD/workflow": "the shell's own",
    r"\$EDITOR \S+": "the reader edits",
    r"tmux": "needs a terminal",
    r"pip install pre-commit|pre-commit install": "needs the network",
    r"conda activate neurostrata|conda env create -f envs/controller\.yaml -n neurostrata": "needs the network",
    r"apptainer build neurostrata\.sif envs/apptainer\.def": "needs root and the network",
    r"python -m pytest tests/\S+\.py -k name": "runs tests",
    r"find results -name \.sha256 .*": "run by tests/unit/core/test_core_records.py",
}
#: Words that stand for the reader's own.
READERS = {"STUDY", "DIR", "NAME", "TARGET", "STAGE"}


@cache
def makefile() -> str:
    """The Makefile."""
    return (ROOT / "Makefile").read_text()


def make(words: list[str]) -> None:
    """Targets and variables are in the Makefile."""
    for word in words:
        name, equals, _ = word.partition("=")
        assert re.search(
            rf"^{re.escape(name)} \?=" if equals else rf"^{re.escape(name)}:", makefile(), re.M
        ), word


def python(words: list[str]) -> None:
    """The script is there and knows the options."""
    script = ROOT / words[0]
    text = script.read_text()
    for word in words[1:]:
        if word.startswith("--") and word != "--help":
            assert f'"{word}"' in text, word
        elif "/" in word:
            assert (ROOT / word).exists() or (ROOT / "workflow/neurostrata" / word).exists(), word


@cache
def targets() -> set[str]:
    """Rules of the workflow."""
    files = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    return {
        name for file in files for name in re.findall(r"^(?:rule|checkpoint) (\w+):", file.read_text(), re.M)
    }


#: Options without one of which Snakemake itself refuses to run (`neurostrata run` takes all cores).
WHERE = {"-n", "--cores", "--profile", "--cleanup-metadata", "--unlock", "--help"}


def snakemake(words: list[str], cores: bool = True) -> None:
    """Snakemake's parser knows the options, the targets are rules, and it is said where or that nothing runs."""
    from snakemake.cli import get_argument_parser, parse_config

    for before, profile in pairwise(words):
        if before == "--profile":
            assert profile == "mysite" or (ROOT / profile / "config.yaml").exists(), profile
    try:
        arguments = get_argument_parser().parse_args(words)
    except SystemExit:
        pytest.fail("snakemake does not understand it")
    assert not cores or WHERE & set(words), (
        "without --cores Snakemake ends with an error; or: neurostrata run"
    )
    named = {*arguments.targets, *(arguments.forcerun or ())}
    assert named - READERS <= targets()
    given = {"cohort": {}} | parse_config(arguments.config)
    read_nested(given, parse_config(arguments.config))
    assert schema_problems(given, load_schema("config")) == []
    for file in arguments.configfile or ():
        assert (
            ROOT / str(file).replace("CLONE/", "").replace("clone/", "").replace("~/study/", "")
        ).exists(), file


def neurostrata(words: list[str]) -> None:
    """The command's parser knows the options."""
    if words[0] == "stage":
        assert not words[1:] or words[1] in {*READERS, "--help"} or words[1].replace("-", "_") in STAGES
        return
    assert words[0] in COMMANDS
    if len(words) == 1 or words[1:] == ["--help"]:
        return
    parser = parser_of(words[0])
    if parser.rest:  # options of Snakemake
        snakemake([w for w in words[1:] if w != "~/study" and w not in READERS], cores=False)
        return
    try:
        parser.read(words[1:])
    except UserError as error:
        pytest.fail(str(error))


def sbatch(words: list[str]) -> None:
    """What is wrapped is a command too."""
    check(words[words.index("--wrap") + 1])


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "make": make, "python": python, "snakemake": snakemake, "neurostrata": neurostrata, "sbatch": sbatch,
}  # fmt: skip


def check(command: str) -> None:
    """Fail when a command is not understood, or is of no kind that is known here."""
    for pattern in NOT_RUN:
        if re.fullmatch(pattern, command):
            for word in command.split():
                if re.fullmatch(r"(envs|tests)/[\w./]+", word):
                    assert (ROOT / word).exists(), word
            return
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z]+=\S+", words[0]):
        words.pop(0)
    assert words[0] in PROGRAMS, f"{command}: add it to NOT_RUN with a reason, or a way to check it"
    PROGRAMS[words[0]](words[1:])


@pytest.mark.parametrize("command", list(dict.fromkeys(command for _, command in commands())))
def test_a_command_is_understood(command: str) -> None:
    check(command)


def make_folder(folder: Path, command: str) -> None:
    """Make a folder below /data with the images, or the table, that a call of `neurostrata init` is about."""
    ids = people(12)
    two = {"session": ("1", "2")} if "--session-label" in command else {"session": ("",)}
    t1w = ("acq-mprage_", "acq-fast_") if "--filter-t1w" in command else ("",)
    match folder.name:
        case "bids" | "raw":
            plant(folder, [n for p in ids for s in two["session"] for n in raw_person(p, s, t1w)])
        case "derivatives":
            make_folder(folder / "fmriprep", command)
            make_folder(folder / "qsiprep", command)
        case "fmriprep":
            plant(folder, [n for p in ids for n in fmriprep_person(p)], "derivative", "fMRIPrep")
        case "qsiprep":
            plant(folder, [n for p in ids for n in qsiprep_person(p)], "derivative", "QSIPrep")
        case "HCP_1200":
            names = [name for column, name in HCP.items() if column != "grad_dev"]
            plant(folder, [f"1000{p}/T1w/{name}" for p in ids for name in names], kind=None)
        case "images":
            name = "mri/T1.nii.gz" if "--path-t1w" in command else "T1w.nii.gz"
            plant(folder, [f"{p}/{name}" for p in ids], kind=None)
            if "--table" not in command:
                write_table(folder / "people.tsv", ids, {"age": "number", "score": "number"})
        case "questionnaires.tsv":
            write_table(folder, ids, {f"v{n}": "number" for n in range(8)})
        case name:
            raise AssertionError(f"/data/{name}: add a tree for it")
    if folder.is_dir():
        settle(fill(folder))


@pytest.mark.parametrize(
    "command", dict.fromkeys(c for _, c in commands() if re.match(r"neurostrata init [^-]*/data", c))
)
def test_init_understands_the_folders_in_the_pages(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command.replace("~/", f"{tmp_path}/").replace("/data/", f"{tmp_path}/data/"))[1:]
    for word in words:
        if word.startswith(f"{tmp_path}/data/"):
            make_folder(Path(word), command)
    assert main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    asked = len(words) - words.index("--participant-label") - 1 if "--participant-label" in words else 12
    assert f"{asked} people" in said
    assert re.search(rf"\bt1w {asked}\b", said), said
    assert (Path(words[2]) / "config" / "config.yaml").exists()


def test_the_first_lines_of_readme_lead_to_a_plan(tmp_path: Path) -> None:
    make_folder(tmp_path / "data" / "bids", "")
    [lines] = [b.text for b in blocks("bash") if b.page == "README.md" and "git clone" in b.text]
    own = [line for line in lines.splitlines() if line.startswith("neurostrata ")]
    assert len(own) == 3
    own[-1] = re.sub(r"run \S+", r"\g<0> -n", own[-1])  # not for hours
    program = f'neurostrata() {{ {shlex.quote(sys.executable)} -m neurostrata "$@"; }}'
    script = "\n".join(["set -e", program, *own]).replace("/data/bids", str(tmp_path / "data" / "bids"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT / "workflow")}
    ran = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "12 people" in ran.stdout
    assert STAGES["template_register"].words in ran.stdout + ran.stderr
    assert (tmp_path / "study" / "config" / "config.yaml").exists()


def test_wrong_commands_are_found() -> None:
    for command in (
        "make demonstration", "snakemake strata", "snakemake --profle slurm", "snakemake --profile slurms", "snakemake stratas", "neurostrata beginn", "rm -rf results",
        "neurostrata init DIR STUDY --presets x", "python tests/none.py", "python tests/mutants/run.py --lists x",
        "neurostrata run --config 'quality={models: maybe}'",
        'sbatch --wrap "snakemake --coers 32"',
    ):  # fmt: skip
        with pytest.raises((AssertionError, pytest.fail.Exception, OSError)):
            check(command)


def test_no_reason_is_left_over() -> None:
    every = [command for _, command in commands()]
    assert [p for p in NOT_RUN if not any(re.fullmatch(p, command) for command in every)] == []


def test_options_in_the_text_are_ones() -> None:
    from snakemake.cli import get_argument_parser

    known = {o for a in get_argument_parser()._actions for o in a.option_strings}
    scripts = "".join(p.read_text() for p in ROOT.glob("tests/**/*.py")) + "".join(
        p.read_text() for p in (ROOT / "workflow" / "neurostrata").rglob("*.py")
    )
    for page, code in inline_code():
        if match := re.match(r"(--[a-z][\w-]*)", code):
            option = match[1]
            python_name = option[2:].replace("-", "_")
            known_to_ours = f'"{option}"' in scripts or re.search(rf"\b{python_name}:", scripts)
            assert option in known or known_to_ours or option in ("--gpus",), f"{page}: {code}"
