"""Dry runs of Snakemake as copies of a process that has loaded it: loading takes two thirds of a dry run's time.

The process loads Snakemake and nothing else, so a copy is what `python -m snakemake` is after its first line. The
workflow and neurostrata are read anew in each.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

#: What Python and its modules read while they are loaded; a run where it differs is no copy.
_READ_WHILE_LOADING = ("PYTHON", "XDG_", "HOME")


def _loaded_by(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pair for pair in environment.items() if pair[0].startswith(_READ_WHILE_LOADING)))


@functools.cache
def _process(loaded_by: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(_READ_WHILE_LOADING)}
    return subprocess.Popen(
        [sys.executable, __file__],
        env=others | dict(loaded_by),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def dry_run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Do what ``python -m snakemake ARGUMENTS`` does in `folder`; what it says is kept."""
    process = _process(_loaded_by(environment))
    with tempfile.TemporaryDirectory() as said:
        out, error = Path(said, "out"), Path(said, "error")
        asked = [list(arguments), str(folder), dict(environment), str(out), str(error)]
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), error.read_text())


def _become(
    arguments: Sequence[str], folder: str, environment: Mapping[str, str], out: str, error: str
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, out), (2, error)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.path.insert(0, folder)
    sys.argv = [str(Path(snakemake.__file__).with_name("__main__.py")), *arguments]
    snakemake.cli.main()


if __name__ == "__main__":
    del sys.path[0]  # the folder of the tests
    import snakemake.cli

    for line in sys.stdin:
        copy = os.fork()
        if copy == 0:
            _become(*json.loads(line))
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), flush=True)
